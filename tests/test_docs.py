"""The documentation is correct about settings, claims and one number."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from naslora.study.layout import Layout
from naslora.study.settings import Study, load_study
from tests.documented import PAGES, arguments, commands, in_sentences

ROOT = Path(__file__).parents[1]
Run = Callable[..., tuple[int, str, str]]


def test_studies_and_settings_that_pages_name_exist() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in PAGES.values())
    for name in set(re.findall(r"--study (\w+)", text)):
        load_study(name, {}, ROOT / "config")
    settings = load_study("paper", {}, ROOT / "config").model_dump()
    for key in set(re.findall(r"--set '?((?:training|sam|evaluation|data|timing)\.[\w.]+)=", text)):
        place = settings
        for part in key.split("."):
            assert part in place, key
            place = place[part]


def test_check_a_number(
    naslora: Run,
    trained_study: Study,
    copied: Callable[..., Study],
    options: Callable[..., list[str]],
) -> None:
    page = "docs/how-to/check_a_number.md"
    study = copied(of=trained_study)
    layout = Layout.of(study)
    record = layout.record("kvasir", "lora", 0)
    before = json.loads(record.read_text())["metrics"]
    text = PAGES[page].read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert block
    code = "\n".join(line.strip() for line in block[1].splitlines())
    code = code.replace("results/rehearsal", str(layout.root))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    mean = float(printed.getvalue().split()[0])
    assert mean == pytest.approx(before["test"]["S_measure"], rel=1e-9)
    layout.record("kvasir", "lora", 0).unlink()
    for command in [*commands(page), *in_sentences(page)]:
        code_, output, errors = naslora(*arguments(command), *options(study))
        if " check " in command:  # such a small study does not pass
            assert (code_, "at least 24 test images" in output) == (1, True), errors
        else:
            assert code_ == 0, f"{command}\n{errors}"
    assert json.loads(record.read_text())["metrics"] == before
    named = re.findall(r"results/rehearsal/([\w/.]+\.\w+)", text)
    assert len(named) >= 4
    for path in named:
        assert (layout.root / path).exists(), path


def test_readme_counts_the_claims() -> None:
    code = (
        "from tempfile import mkdtemp; from naslora.report.claims.audit import *;"
        "from naslora.results.aggregate import aggregate;"
        "from naslora.study.settings import load_study;"
        "s = load_study('paper', {'results': mkdtemp()});"
        "print(claims_markdown(s, audit_claims(s, aggregate(s))))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    counted = re.search(
        r"(\d+) claims\. By the paper's own numbers: holds: (\d+), holds in part: (\d+), "
        r"contradicted: (\d+), undecided: (\d+)",
        done.stdout,
    )
    assert counted, done.stderr
    readme = " ".join(PAGES["README.md"].read_text(encoding="utf-8").split())
    all_, holds, part, against, open_ = counted.groups()
    assert f"{holds} of {all_} of its claims hold, {part} hold in part, {against} are" in readme
    assert f"are contradicted and {open_} are undecided" in readme
