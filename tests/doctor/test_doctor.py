"""The doctor: everything that a study needs, in each state, and the exit code."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from naslora.core.errors import SettingsError
from naslora.data.prepare import prepare
from naslora.doctor.check import Check
from naslora.doctor.examine import examine
from naslora.doctor.report import can_run, print_checks
from naslora.sam.backbones import BACKBONES
from naslora.study.layout import Layout
from naslora.study.settings import Study, load_study

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
WHOLE_DISK = SimpleNamespace(free=10**15)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """An empty PATH, and a function that installs programs there that print a text."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    shell = shutil.which("sh", path="/bin:/usr/bin")

    def install(name: str, text: str = "") -> None:
        (folder / name).write_text(f"#!{shell}\necho '{text}'\n")
        (folder / name).chmod(0o755)

    return install


@pytest.fixture
def study(tmp_path: Path, path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Study]:
    """A study on a machine with plenty of disk space and memory, and nothing else."""
    monkeypatch.setattr("naslora.doctor.machine.shutil.disk_usage", lambda place: WHOLE_DISK)
    monkeypatch.setattr("naslora.doctor.machine._available_memory", lambda: 10**12)
    (tmp_path / "archives").mkdir()
    places = {"archives": str(tmp_path / "archives"), "results": str(tmp_path / "results")}
    places["sam.checkpoints"] = str(tmp_path / "checkpoints")

    def load(name: str = "sample", **overrides: object) -> Study:
        return load_study(name, {**places, **overrides}, CONFIG)

    return load


def one(checks: list[Check], name: str) -> Check:
    (found,) = [check for check in checks if check.name == name]
    return found


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


WHOLE = zipped({"a": b"1" * 1000})
# Format 5, one compressed file.
RAR = bytes.fromhex(
    "526172211a070100c51a333203010000b8913c1a110202010401a48302b7efdc8380030101613119b23a3503050000"
)
ARCHIVES = {
    # task, title, file, contents, state, finding
    "missing, http": ("kvasir", "Kvasir-SEG", None, b"", "note", "from datasets.simula.no, 46 MB"),
    "missing, manual": ("leaf", "Leaf Disease Segmentation", None, b"", "problem", "missing: "),
    "here": ("leaf", "Leaf Disease Segmentation", "leaf-disease-segmentation.zip", WHOLE, "ok", ""),
    "reduced": ("kvasir", "Kvasir-SEG", "kvasir-seg.zip", WHOLE, "warning", "instead of 46 MB"),
    "other name": ("cvc_clinicdb", "CVC-ClinicDB", "CVC-ClinicDB.zip", WHOLE, "warning", "47 MB"),
    "truncated": ("kvasir", "Kvasir-SEG", "kvasir-seg.zip", WHOLE[:50], "problem", "truncated"),
    "page": ("kvasir", "Kvasir-SEG", "kvasir-seg.zip", b"<html>Log in", "problem", "a web page"),
    "empty": ("kvasir", "Kvasir-SEG", "kvasir-seg.zip", b"", "problem", "is empty"),
    "other": ("kvasir", "Kvasir-SEG", "kvasir-seg.zip", b"x" * 600, "problem", "neither a zip"),
    "rar": ("cvc_clinicdb", "CVC-ClinicDB", "CVC-ClinicDB.rar", RAR, "problem", "no program"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives(name: str, study, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    task, title, file, data, state, says = ARCHIVES[name]
    if file:
        (tmp_path / "archives" / file).write_bytes(data)
    checks = examine(study(tasks=[task]), config=CONFIG)
    check = one(checks, title)
    assert (check.state, check.group) == (state, "data")
    assert says in check.finding
    assert can_run(checks) is (state != "problem")
    if state == "problem":
        assert check.remedy


def test_a_missing_archive_comes_with_everything_to_get_it(study, tmp_path: Path) -> None:
    check = one(examine(study(tasks=["cvc_clinicdb"]), config=CONFIG), "CVC-ClinicDB")
    assert str(tmp_path / "archives" / "CVC-ClinicDB.rar") in check.finding
    assert "terms: research and education only" in check.finding
    assert "(or CVC-ClinicDB.zip)" in check.finding
    for text in ("https://polyp.grand-challenge.org", "naslora data", "AutoGluon's bundle"):
        assert text in check.remedy


def test_rar_with_a_program_to_unpack_it(study, path, tmp_path: Path) -> None:
    (tmp_path / "archives" / "CVC-ClinicDB.rar").write_bytes(RAR)
    path("unrar")
    assert one(examine(study(tasks=["cvc_clinicdb"]), config=CONFIG), "CVC-ClinicDB").state != (
        "problem"
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The shipped settings, with an official Kvasir-SEG of its own."""
    folder = tmp_path / "config"
    shutil.copytree(CONFIG, folder)
    entries = yaml.safe_load((folder / "archives.yaml").read_text())
    entries["kvasir_seg"] |= {"size": len(WHOLE), "sha256": hashlib.sha256(WHOLE).hexdigest()}
    (folder / "archives.yaml").write_text(yaml.safe_dump(entries))
    return folder


@pytest.mark.parametrize("verifying", [False, True])
def test_hashes_are_read_on_demand(verifying: bool, study, config: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archives" / "kvasir-seg.zip"
    archive.write_bytes(WHOLE)
    check = one(examine(study(), verifying, config), "Kvasir-SEG")
    assert (check.state, "official" in check.finding) == ("ok", verifying)
    archive.write_bytes(WHOLE[:40] + bytes([WHOLE[40] ^ 1]) + WHOLE[41:])
    check = one(examine(study(), verifying, config), "Kvasir-SEG")
    assert check.state == ("problem" if verifying else "ok")
    assert ("another SHA-256" in check.finding) is verifying


def test_pins(study, config: Path, tmp_path: Path) -> None:
    (tmp_path / "archives" / "leaf-disease-segmentation.zip").write_bytes(WHOLE)
    pin = {"bytes": len(WHOLE) - 1, "sha256": "0" * 64}
    lock = {"leaf_disease": {"leaf-disease-segmentation.zip": pin}}
    (tmp_path / "archives" / "archives.lock.json").write_text(json.dumps(lock))
    checks = examine(study(tasks=["leaf"]), config=config)
    check = one(checks, "Leaf Disease Segmentation")
    assert (check.state, can_run(checks)) == ("problem", False)
    assert "pinned" in check.finding
    lock["leaf_disease"]["leaf-disease-segmentation.zip"]["bytes"] += 2
    (tmp_path / "archives" / "archives.lock.json").write_text(json.dumps(lock))
    check = one(examine(study(tasks=["leaf"]), config=config), "Leaf Disease Segmentation")
    assert check.state == "warning"
    assert "not the pinned archive" in check.finding


def test_bundles_are_named(study, tmp_path: Path) -> None:
    files = {f"camo_sem_seg/{part}.csv": b"image,label\n" for part in ("train", "val")}
    (tmp_path / "archives" / "camo_sem_seg.zip").write_bytes(zipped(files))
    check = one(examine(study(tasks=["cod"]), config=CONFIG), "AutoGluon's bundle of CAMO")
    assert check.state == "warning"
    assert "not official" in check.finding
    assert "not comparable" in check.finding


def test_published_results_need_no_archives(study) -> None:
    """A copy of records, without archives and images; then one record is damaged."""
    copied = study(tasks=["leaf"])
    layout = Layout.of(copied)
    shutil.copytree(ROOT / "results" / "sample" / "records" / "leaf", layout.records / "leaf")
    archive = "Leaf Disease Segmentation"
    checks = examine(copied, config=CONFIG)
    assert one(checks, "leaf").finding == "all runs are done, without their images here"
    assert one(checks, archive).state == "warning"
    assert one(checks, archive).finding.endswith("not needed for runs that are done")
    next(layout.records.rglob("seed0.json")).write_text("{}")
    assert one(examine(copied, config=CONFIG), archive).state == "problem"


def test_generated_and_prepared_tasks(study) -> None:
    generating = study(generated={"leaf": 8}, tasks=["leaf"])
    checks = examine(generating, config=CONFIG)
    assert one(checks, "leaf").state == "note"
    prepare(generating, "leaf", CONFIG)
    later = study(tasks=["leaf"])
    checks = examine(later, config=CONFIG)
    assert can_run(checks)
    assert one(checks, "leaf").finding == "prepared: 8 images, generated"
    assert (
        "not needed while the task is prepared" in one(checks, "Leaf Disease Segmentation").finding
    )
    (later.results / "sample" / "manifests" / "leaf.json").write_text("{")
    assert one(examine(later, config=CONFIG), "leaf").state == "problem"


def test_unknown_tasks_are_errors_of_the_settings(study) -> None:
    with pytest.raises(SettingsError, match="no benchmark named 'mars'"):
        examine(study(tasks=["mars"]), config=CONFIG)


CHECKPOINTS = {
    "to download": ({}, None, "note", "will be downloaded, 375 MB"),
    "truncated": ({}, b"x" * 1000, "problem", "1,000 bytes instead of 375,042,383"),
    "random": ({"sam.checkpoint": "random"}, None, "warning", "random weights"),
    "pretrained": (
        {"sam.checkpoint": "pretrained", "pretraining.steps": 700},
        None,
        "note",
        "will be trained in 700 steps",
    ),
    "no checkpoint": (
        {"sam.checkpoint": str(ROOT / "README.md")},
        None,
        "problem",
        "README.md is no checkpoint",
    ),
    "no file": ({"sam.checkpoint": "mine.pth"}, None, "problem", "checkpoint not found: mine.pth"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints(name: str, study, tmp_path: Path) -> None:
    overrides, data, state, says = CHECKPOINTS[name]
    if data:
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "sam_vit_b_01ec64.pth").write_bytes(data)
    settings = {"sam.backbone": "vit_b", "sam.checkpoint": "official", **overrides}
    check = one(examine(study(**settings), config=CONFIG), "SAM vit_b")
    assert (check.state, check.group) == (state, "model")
    assert says in check.finding


def test_no_official_checkpoint_of_a_small_backbone(study) -> None:
    check = one(examine(study(**{"sam.checkpoint": "official"}), config=CONFIG), "SAM small")
    assert check.state == "problem"
    assert "no official checkpoint of small" in check.finding


@pytest.mark.parametrize("verifying", [False, True])
def test_a_checkpoint_of_another_hash(
    verifying: bool, study, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vit_b = BACKBONES["vit_b"]
    other = zipped({"sam/data.pkl": b"nope"})
    known = replace(vit_b, checkpoint=replace(vit_b.checkpoint, bytes=len(other)))
    monkeypatch.setitem(BACKBONES, "vit_b", known)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "sam_vit_b_01ec64.pth").write_bytes(other)
    settings = study(**{"sam.backbone": "vit_b", "sam.checkpoint": "official"})
    check = one(examine(settings, verifying, config), "SAM vit_b")
    assert check.state == ("problem" if verifying else "ok")


def test_disk(study, monkeypatch: pytest.MonkeyPatch) -> None:
    paper = study("paper", tasks=["kvasir"])
    free = SimpleNamespace(free=10**9)
    monkeypatch.setattr("naslora.doctor.machine.shutil.disk_usage", lambda place: free)
    check = one(examine(paper, config=CONFIG), "disk")
    assert check.state == "problem"
    assert "1.0 GB free" in check.finding
    need = float(check.finding.partition("about ")[2].split()[0])
    assert 10 < need < 40, "three whole SAMs of 2.6 GB and the moments of one, images, adapters"


def test_memory(study, path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("naslora.doctor.machine._available_memory", lambda: 2 * 10**9)
    check = one(examine(study(), config=CONFIG), "memory")
    assert check.state == "warning"
    assert check.finding.startswith("2.0 GB available")
    assert check.finding.endswith("a job asks for 4.0 GB")
    two = one(examine(study(**{"training.devices": 2}), config=CONFIG), "memory")
    assert two.finding.endswith("a job asks for 8.0 GB")
    path("sbatch", "slurm 24.05")
    checks = examine(study(), config=CONFIG)
    assert one(checks, "memory").state == "note"
    assert one(checks, "SLURM").finding == "slurm 24.05: naslora run --profile slurm"


def torch_with(gpus: int, mps: bool = False) -> SimpleNamespace:
    return SimpleNamespace(
        __version__="2.9",
        cuda=SimpleNamespace(device_count=lambda: gpus),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)),
    )


def test_gpu(study, path, monkeypatch: pytest.MonkeyPatch) -> None:
    def state(**overrides: object) -> tuple[str, str]:
        check = one(examine(study(**overrides), config=CONFIG), "GPU")
        return check.state, check.finding

    wanted = {"training.accelerator": "gpu", "training.devices": 2}
    assert state() == ("note", "none; not needed: training.accelerator is cpu")
    assert state(**wanted) == ("problem", "none; the study asks for 2")
    path("nvidia-smi", "NVIDIA H100, 81559 MiB\nNVIDIA H100, 81559 MiB")
    monkeypatch.setitem(sys.modules, "torch", torch_with(2))
    assert state(**wanted)[0] == "ok"
    assert "NVIDIA H100, 81559 MiB" in state(**wanted)[1]
    monkeypatch.setitem(sys.modules, "torch", torch_with(0))
    assert state(**wanted)[0] == "problem"
    assert "torch 2.9 sees 0, the study asks for 2" in state(**wanted)[1]
    path("sbatch")
    assert state(**wanted)[0] == "note"


@pytest.mark.parametrize(
    ("accelerator", "system", "expected"),
    [
        ("gpu", "Darwin", "ok"),
        ("mps", "Darwin", "ok"),
        ("cuda", "Darwin", "problem"),
        ("gpu", "Linux", "problem"),
    ],
)
def test_the_gpu_of_a_mac(
    accelerator: str, system: str, expected: str, study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch_with(0, mps=True))
    monkeypatch.setattr("platform.system", lambda: system)
    checks = examine(study(**{"training.accelerator": accelerator}), config=CONFIG)
    assert one(checks, "GPU").state == expected


def test_packages(study, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = examine(study(), config=CONFIG)
    assert one(checks, "packages").state == "ok"
    assert "torch" in one(checks, "packages").finding
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0.1")
    checks = examine(study(), config=CONFIG)
    assert one(checks, "packages").state == "problem"
    assert "torch 0.0.1 is not >=" in one(checks, "packages").finding
    monkeypatch.setattr(platform, "python_version", lambda: "3.10.0")
    assert one(examine(study(), config=CONFIG), "Python").state == "problem"


def test_the_command(naslora, tmp_path: Path, path) -> None:
    places = ["--set", f"archives={tmp_path}", "--set", f"results={tmp_path}"]
    code, output, _ = naslora("doctor", "--study", "rehearsal", *places)
    assert code == 0
    assert output.rstrip().endswith("Study rehearsal can run.")
    assert "\x1b" not in output
    code, output, _ = naslora("doctor", "--study", "paper", *places, "--set", "tasks=[leaf]")
    assert code == 1
    assert "cannot run" in output
    assert "✗   Leaf Disease" in output
    code, output, _ = naslora("doctor", "--study", "rehearsal", *places, "--format", "json")
    report = json.loads(output)
    assert (code, report["can_run"], report["study"]) == (0, True, "rehearsal")
    assert {check["group"] for check in report["checks"]} == {"machine", "model", "data"}
    assert {"name", "state", "finding", "remedy"} < set(report["checks"][0])


def test_addresses_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    address = "https://example.org/a-page/" + "of-an-archive/" * 5
    remedy = f"get it from {address} and put it there, where the other archives of the study are"
    output = io.StringIO()
    print_checks([Check("data", "An archive", "problem", "missing", remedy)], "mine", output)
    lines = output.getvalue().splitlines()
    assert sum(address in line for line in lines) == 1
    assert all(len(line) <= 80 for line in lines if address not in line)


def test_plain_letters_where_there_are_no_others() -> None:
    checks = [Check("data", "x", state, state, "do it") for state in ("ok", "warning", "problem")]
    buffer = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_checks(checks, "mine", buffer)
    buffer.seek(0)
    text = buffer.read()
    assert sum(line.startswith("ok ") for line in text.splitlines()) == 1
    assert sum(line.startswith(("!! ", "NO ")) for line in text.splitlines()) == 2
    assert text.count("-> do it") == 2
    assert "Study mine cannot run: 1 problem, 1 warning." in text


def test_the_picture(naslora, tmp_path: Path) -> None:
    target = tmp_path / "docs" / "doctor.svg"
    places = ["--set", f"archives={tmp_path}", "--set", f"results={tmp_path}"]
    naslora("doctor", "--study", "rehearsal", *places, "--picture", str(target))
    text = target.read_text()
    ElementTree.fromstring(text)
    assert "naslora&#160;doctor" in text or "naslora doctor" in text
    assert "url(" not in text.replace("url(#", "")
    assert "@font-face" not in text


def test_nothing_slow_is_imported() -> None:
    code = (
        "import sys; sys.argv[1:] = ['doctor', '--study', 'rehearsal', '--format', 'json']\n"
        "from naslora.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.exit(bool({'lightning_fabric', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0
    )
