"""The documentation: the site builds, its commands can be read, and those of short pages run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer.main

from naslora.cli import app
from naslora.study.layout import Layout
from naslora.study.settings import Study, load_study

ROOT = Path(__file__).parents[1]
PAGES = {str(path.relative_to(ROOT)): path for path in sorted((ROOT / "docs").rglob("*.md"))}
PAGES |= {name: ROOT / name for name in ("README.md", "CONTRIBUTING.md")}
Run = Callable[..., tuple[int, str, str]]


def commands(page: str) -> list[list[str]]:
    """The `naslora` commands in code blocks of a page, as lists of arguments."""
    text = PAGES[page].read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    lines = [
        line.strip()
        for block in blocks
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip().startswith("naslora ")
    ]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def all_commands() -> Iterator[tuple[str, list[str]]]:
    for page in PAGES:
        for command in commands(page):
            yield page, command


def test_every_command_of_every_page_can_be_read() -> None:
    group = typer.main.get_command(app)
    found = list(all_commands())
    assert len(found) > 20
    for page, (name, *arguments) in found:
        command = group.commands.get(name)  # type: ignore[attr-defined]
        assert command is not None, f"{page}: naslora {name}"
        command.make_context(name, list(arguments))  # ends in an error for an unknown option


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
    for command in commands(page):
        name, *arguments = command
        code_, _, errors = naslora(name, *arguments, *options(study))
        assert code_ == 0, f"{command}\n{errors}"
    assert json.loads(record.read_text())["metrics"] == before
    named = re.findall(r"results/rehearsal/([\w/.]+\.\w+)", text)
    assert len(named) >= 4
    for path in named:
        if not path.startswith("tables"):
            assert (layout.root / path).exists(), path


@pytest.mark.slow
def test_export(naslora: Run, trained_study: Study, tmp_path: Path) -> None:
    layout = Layout.of(trained_study)
    image = next((trained_study.results / "rehearsal" / "prepared" / "kvasir").rglob("*.jpg"))
    for command in commands("docs/how-to/export.md"):
        cell = "--estimator" in command
        run = layout.adapter("kvasir", "nas_lora" if cell else "lora", 0).parent
        places = {"RUN": str(run), "IMAGES": str(image)}
        code, output, errors = naslora(*(places.get(w, w) for w in command), folder=tmp_path)
        if "meta" in command:  # a run with the semantic decoder has no place in Meta's format
            assert code == 1
            assert "sam.decoder" in errors
            continue
        assert code == 0, f"{command}\n{errors}"
        assert (tmp_path / command[command.index("--out") + 1]).exists()
        assert not cell or "are off by" in output  # the loss of the merge


def test_workstation_is_planned_as_the_page_says(naslora: Run) -> None:
    (plan,) = [c for c in commands("docs/how-to/workstation.md") if c[0] == "plan"]
    code, output, errors = naslora(*plan)
    assert code == 0, errors
    assert "GPU" in output


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


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    audit = (tmp_path / "paper_audit.html").read_text(encoding="utf-8")
    assert "Training costs 24.14" in audit
    reference = (tmp_path / "reference.html").read_text(encoding="utf-8")
    assert 'id="naslora.predict"' in reference
    method = (tmp_path / "how-to" / "new_method.html").read_text(encoding="utf-8")
    assert "ScaledLinear" in method
