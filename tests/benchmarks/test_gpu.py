"""The benchmark for GPUs: the results of its parts, and each part in miniature on a CPU."""

from __future__ import annotations

import json
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gpu
import psutil
import pytest
import torch
from gpu_parts import ROOT, Part, parts

IN_MINIATURE = {part.name: part for part in parts(Path("OUT"), Path("archives"), dry_run=True)}


def call(*arguments: str) -> None:
    before, sys.argv = sys.argv, ["gpu.py", *arguments]
    try:
        gpu.main()
    finally:
        sys.argv = before


def results(folder: Path) -> dict[str, dict[str, Any]]:
    found = (json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json"))
    return {result["part"]: result for result in found}


def script(name: str, text: str, minutes: float = 1) -> Part:
    return Part(name, minutes, [sys.executable, "-c", text], "?")


def test_without_a_gpu_it_ends_with_one_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        call("--out", str(tmp_path / "out"))
    assert "torch sees no CUDA device" in str(ended.value)
    assert "--dry-run" in str(ended.value)
    assert not (tmp_path / "out").exists()


def test_an_unknown_part_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no part encode\n  what to do: choose tests, attention"):
        call("--dry-run", "--out", str(tmp_path), "--parts", "encode")


SLEEPING = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
time.sleep(600)
"""


def test_parts_that_fail_or_take_too_long_say_so_and_the_next_one_begins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chosen = [
        script("broken", "print('so far'); raise ValueError('no such thing')"),
        script("slow", SLEEPING, minutes=0.1),
        script("unchosen", "print('not this one')"),
        script("fine", "import json, sys; print(sys.path)"),
    ]
    monkeypatch.setattr(gpu, "parts", lambda *_, **__: chosen)
    packages = tmp_path / "packages"
    packages.mkdir()
    names = ["broken", "slow", "fine"]
    call("--dry-run", "--out", str(tmp_path), "--packages", str(packages), "--parts", *names)
    found = results(tmp_path)
    assert {name: result["status"] for name, result in found.items()} == {
        "broken": "failed",
        "slow": "out of time",
        "fine": "done",
    }
    assert found["broken"]["exit_code"] == 1
    assert "no such thing" in found["broken"]["output_tail"]
    assert found["slow"]["exit_code"] is None
    assert found["slow"]["seconds"] >= 6
    child = int(found["slow"]["output_tail"].split()[1])
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"
    assert str(packages) in found["fine"]["output_tail"]
    for result in found.values():
        assert result["hardware"]["device"] == "cpu"
        assert result["versions"]["torch"] == torch.__version__
        assert isinstance(result["missing_packages"], list)


def test_what_there_is_no_time_for_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu, "parts", lambda *_, **__: [script("late", "pass")])
    call("--dry-run", "--out", str(tmp_path), "--minutes", "0.5")
    assert results(tmp_path)["late"]["status"] == "no time left"


def test_a_part_at_work_is_noted_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The result that remains if the machine is taken away."""
    seen = []
    original = gpu.subprocess.Popen

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append(results(tmp_path)["fine"]["status"])
        return original(*arguments, **options)

    monkeypatch.setattr(gpu.subprocess, "Popen", watched)
    status = gpu.run(script("fine", "pass"), 60, tmp_path, tmp_path, {})
    assert (seen, status) == (["running"], "done")


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    version = gpu.metadata.version

    def without(name: str) -> str:
        if name in ("snakemake", "pytest"):
            raise gpu.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(gpu.metadata, "version", without)
    found = gpu.describe(torch.device("cpu"))
    assert {"snakemake", "pytest"} <= set(found["missing_packages"])
    assert "pydantic" in found["versions"]


def test_the_parts_fill_the_time_by_their_worth() -> None:
    known = parts(Path("OUT"), Path("archives"), dry_run=False)
    assert [part.name for part in known] == list(IN_MINIATURE)
    assert sum(part.minutes for part in known[:5]) <= 25
    (tests,) = [part.command for part in known if part.name == "tests"]
    assert "tests/training/test_devices.py" in tests
    assert all((ROOT / name).is_file() for name in tests if name.startswith("tests/"))
    for part in known:
        assert not {"--dry-run", "--one-process", "tiny"} & set(part.command)


@pytest.fixture
def torch_settings() -> Iterator[None]:
    threads, exact = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(exact)


@pytest.mark.parametrize(
    "name", ["attention", "encoder", "table5", "layouts", "pretrain", "sample"]
)
@pytest.mark.usefixtures("torch_settings")
def test_each_part_runs_in_miniature(
    name: str,
    naslora: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """In this process, which has imported all that it needs."""
    (part,) = (p for p in parts(tmp_path, tmp_path, dry_run=True) if p.name == name)
    _, first, *arguments = part.command
    if first == "-m":
        code, output, errors = naslora(*arguments[1:])
        assert code == 0, output + errors
    else:
        monkeypatch.setattr(sys, "argv", [first, *arguments])
        monkeypatch.chdir(ROOT)
        runpy.run_path(str(ROOT / first), run_name="__main__")
    written = [path for path in tmp_path.rglob("*.json") if path.stat().st_mtime <= time.time()]
    assert written
    if name in ("attention", "encoder"):
        (found,) = (json.loads(path.read_text(encoding="utf-8")) for path in written)
        sides = [side for sides in found["sides"].values() for side in sides.values()]
        refused = {side["failed"] for side in sides if "failed" in side}
        assert refused <= {"the attention backend flex can be trained on a GPU only"}
        assert len(found["ratios"]) > 1
    if name == "layouts":
        found = json.loads((tmp_path / "layouts-forms.json").read_text(encoding="utf-8"))
        assert set(found["sides"]["nas_pc_lora"]) == {"plain", "channels_last"}
        assert all(side["median_s"] > 0 for side in found["sides"]["nas_pc_lora"].values())
    if name == "sample":
        found = json.loads((tmp_path / "sample-runs.json").read_text(encoding="utf-8"))
        assert [run["status"] for run in found["runs"]] == ["done"]
        assert found["of"] == 1


SUITE = """
import pytest

def test_passes(): pass
def test_fails(): assert 1 == 2
@pytest.mark.skip(reason="no")
def test_is_left_out(): pass
"""


def test_the_tests_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(SUITE, encoding="utf-8")
    command = list(IN_MINIATURE["tests"].command[:-3])
    report = next(word for word in command if word.startswith("--junit-xml"))
    command[command.index(report)] = f"--junit-xml={tmp_path / 'tests.xml'}"
    command += [str(tmp_path / "test_some.py")]
    monkeypatch.setattr(gpu, "parts", lambda *_, **__: [Part("tests", 2, command, "?")])
    call("--dry-run", "--out", str(tmp_path))
    result = results(tmp_path)["tests"]
    assert result["status"] == "failed"
    assert result["tests"] == {"passed": 1, "failed": ["test_some::test_fails"], "skipped": 1}
