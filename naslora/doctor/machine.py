"""Checks of the machine: Python, packages, memory, disk, GPU, SLURM."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from naslora.core.files import gigabytes
from naslora.core.processors import available_cores
from naslora.doctor.check import Check, short
from naslora.planning.disk import Disk
from naslora.sam.backbones import BACKBONES
from naslora.study.settings import Study

_SHOWN = ("torch", "lightning-fabric", "numpy", "pillow", "pandas", "snakemake")
_INSTALL = "install the environment again: make env, or see the README"


def environment_checks() -> list[Check]:
    """Python and the packages, compared with what naslora's own package asks for."""
    return [_python(), _packages()]


def _python() -> Check:
    found = f"{platform.python_version()}, {short(Path(sys.executable))}"
    try:
        wanted = importlib.metadata.metadata("naslora")["Requires-Python"]
    except importlib.metadata.PackageNotFoundError:  # which is reported with the packages
        return Check("machine", "Python", "note", found)
    if SpecifierSet(wanted).contains(platform.python_version(), prereleases=True):
        return Check("machine", "Python", "ok", found)
    return Check("machine", "Python", "problem", found, f"use a Python that is {wanted}")


def _packages() -> Check:
    """The packages that naslora depends on, without its extras."""
    name = "packages"
    try:
        asked = importlib.metadata.requires("naslora") or []
    except importlib.metadata.PackageNotFoundError:
        return Check("machine", name, "problem", "naslora itself is not installed", _INSTALL)
    bad, versions = [], {}
    for text in asked:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            bad.append(f"{requirement.name} is not installed")
            continue
        versions[requirement.name] = found
        if not requirement.specifier.contains(found, prereleases=True):
            bad.append(f"{requirement.name} {found} is not {requirement.specifier}")
    if bad:
        return Check("machine", name, "problem", "; ".join(bad), _INSTALL)
    shown = [f"{key} {versions[key]}" for key in _SHOWN if key in versions]
    return Check("machine", name, "ok", f"{', '.join(shown)}; all {len(versions)} fit")


def memory_check(study: Study) -> Check:
    """Memory, compared with what one job of the study is given: so much for each device."""
    need = BACKBONES[study.sam.backbone].memory_mb * 1_000_000 * study.training.devices
    free = _available_memory()
    finding = f"{gigabytes(free)} available, {available_cores()} cores; a job asks for"
    finding = f"{finding} {gigabytes(need)}"
    if free >= need:
        return Check("machine", "memory", "ok", finding)
    if shutil.which("sbatch"):
        return Check("machine", "memory", "note", f"{finding}, which SLURM gives it elsewhere")
    remedy = "run on a larger machine, or a smaller backbone (sam.backbone)"
    return Check("machine", "memory", "warning", finding, remedy)


def _available_memory() -> int:
    """Memory available to new processes, in bytes."""
    return int(psutil.virtual_memory().available)


def disk_checks(study: Study, disk: Disk) -> list[Check]:
    """Free disk space, compared with an estimate of what the study will write."""
    results, download = disk.images + disk.runs + disk.checkpoint, disk.archives
    places = {"results": (study.results, results), "archives": (study.archives, download)}
    existing = {name: _existing(path) for name, (path, _) in places.items()}
    if existing["results"].stat().st_dev == existing["archives"].stat().st_dev:
        return [_disk("disk", study.results, existing["results"], results + download)]
    return [_disk(f"disk, {n}", path, existing[n], need) for n, (path, need) in places.items()]


def _disk(name: str, path: Path, existing: Path, need: int) -> Check:
    free = shutil.disk_usage(existing).free
    finding = f"{gigabytes(free)} free for {short(path)}; about {gigabytes(need)} to be written"
    if need and not os.access(existing, os.W_OK):
        return Check("machine", name, "problem", f"{short(existing)} cannot be written to")
    if free < need:
        remedy = "free some space, or choose another folder (archives, results)"
        return Check("machine", name, "problem", finding, remedy)
    return Check("machine", name, "ok", finding)


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def gpu_check(study: Study) -> Check:
    """GPUs, compared with the study's accelerator; on a cluster, this machine's are ignored."""
    accelerator, devices = study.training.accelerator, study.training.devices
    wanted = accelerator in ("gpu", "cuda", "mps")
    found = _gpus()
    if not wanted:
        why = f"not needed: training.accelerator is {accelerator}"
        return Check("machine", "GPU", "note", ", ".join(found) or f"none; {why}")
    if shutil.which("sbatch"):
        here = ", ".join(found) or "none on this machine"
        return Check("machine", "GPU", "note", f"{here}; SLURM gives each job its own")
    apple = accelerator == "mps" or (accelerator == "gpu" and platform.system() == "Darwin")
    if not found and not apple:
        remedy = (
            "run on a machine with an NVIDIA GPU or on a cluster (SLURM); on a CPU, a study of its "
            "own with a small backbone, such as sample"
        )
        finding = f"none; the study asks for {devices}"
        return Check("machine", "GPU", "problem", finding, remedy)
    return _seen_by_torch(study, found)


def _seen_by_torch(study: Study, found: list[str]) -> Check:
    import torch  # takes seconds, so only where there is a GPU to see

    count = torch.cuda.device_count()
    if study.training.accelerator == "mps" or not found:
        count, found = int(torch.backends.mps.is_available()), ["Apple GPU"]
    text = f"{', '.join(found)}; torch {torch.__version__} sees {count}"
    if count < study.training.devices:
        remedy = "install a torch for this driver, or lower training.devices"
        finding = f"{text}, the study asks for {study.training.devices}"
        return Check("machine", "GPU", "problem", finding, remedy)
    return Check("machine", "GPU", "ok", text)


def _gpus() -> list[str]:
    """Names and memory of the NVIDIA GPUs that the driver lists."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    text = _output(command)
    return [line.strip() for line in text.splitlines() if line.strip()] if text else []


def slurm_check() -> Check:
    """Whether jobs can be submitted from here."""
    if shutil.which("sbatch") is None:
        return Check("machine", "SLURM", "note", "no sbatch here: snakemake --profile local")
    version = (_output(["sbatch", "--version"]) or "").strip() or "sbatch of unknown version"
    return Check("machine", "SLURM", "ok", f"{version}: naslora run --profile slurm")


def _output(command: list[str]) -> str | None:
    """The output of a command; None if there is no such command, or it fails."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
