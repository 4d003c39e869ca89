"""The example and the tables of docs/how-to/own_data.md."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from naslora.data.own import OwnOptions
from naslora.data.prepare import prepare

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "own_data.md").read_text(encoding="utf-8")


def test_the_example(
    own: SimpleNamespace, tmp_path: Path, registries, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    own.write(tmp_path / "leaves", own.levels(0, 1))
    monkeypatch.chdir(tmp_path)
    example = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert example
    names: dict[str, object] = {}
    exec(example[1], names)
    assert "grey levels 0 and 1: background and disease" in capsys.readouterr().out
    assert Path("runs/leaves.py").is_file()
    manifest = prepare(names["study"], "leaves")  # type: ignore[arg-type]
    assert manifest.classes == ["disease"]
    assert len(manifest.samples) == own.COUNT


def test_every_option_is_listed_and_can_be_read() -> None:
    listed = {name.replace("-", "_") for name in re.findall(r"`--([a-z-]+)", PAGE)}
    assert listed - {"set"} == set(OwnOptions.model_fields) - {"name"}
    for option, value in re.findall(r"^\| `--([a-z-]+) ([^`]+)`", PAGE, re.MULTILINE):
        OwnOptions.model_validate({option.replace("-", "_"): value})
