"""Provenance of a result: hardware, versions of packages, revision of the code."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch

from naslora.study.records import Provenance

if TYPE_CHECKING:
    from naslora.sam.building import Sam

_PACKAGES = ("naslora", "torch", "numpy", "pillow", "pysodmetrics", "lightning-fabric", "pandas")


def provenance(device: torch.device, sam: Sam | None = None) -> Provenance:
    """Describe this machine, `device` and the versions of the packages; see `hardware`."""
    revision, dirty = _git_state()
    return Provenance(
        hardware=hardware(device, sam),
        versions={"python": platform.python_version(), **_versions()},
        git_revision=revision,
        git_dirty=dirty,
    )


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory of this process so far: what torch allocated on a GPU, or else the resident
    memory.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")  # psutil has no peak on Linux; getrusage has no reset
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return int(getattr(psutil.Process().memory_info(), "peak_wset"))  # noqa: B009
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_memory() -> None:
    """Reset the peak, so that `peak_memory_bytes` covers only what follows.

    Freed memory that the process still holds is returned to the system first: it would count
    towards the new peak, and later allocations could reuse it without raising the peak.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):  # on Linux only
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def hardware(device: torch.device, sam: Sam | None = None) -> dict[str, Any]:
    """The properties of this machine and `device` that affect the last bits of a result.

    Args:
        device: the device that computes.
        sam: the model, for the backend of its attention. In a run with mixed precision, call this
            under the run's autocast.
    """
    described: dict[str, Any] = {
        "device": str(device.type),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
    if sam is not None:
        described["attention"] = sam.image_encoder.backend_in_use()
    if device.type == "cuda":
        described["gpu"] = torch.cuda.get_device_name(device)
        described["cuda"] = torch.version.cuda
    return described


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")  # psutil and platform do not give the name on Linux
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _git_state() -> tuple[str | None, bool | None]:
    """Revision of the checkout that holds this file and whether it has uncommitted changes."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, None
    command = ["git", "-C", str(root), "status", "--porcelain=v2", "--branch"]
    try:
        done = subprocess.run(
            [*command, "--untracked-files=no"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None, None
    lines = done.stdout.splitlines()
    revision = next((x.split()[2] for x in lines if x.startswith("# branch.oid ")), None)
    return revision, any(not line.startswith("#") for line in lines)
