"""Everything that needs a GPU, in one command of 25 minutes, the most important parts first.

    python benchmarks/gpu.py --minutes 25 --out build/gpu

Each part (`gpu_parts.py`) is a command with its own time limit. Its result, `<part>.json` with the
hardware, the versions, the missing packages and the end of its output, is written when it starts
and again when it ends, so that only the running part is lost if the machine is taken away early. If
a part fails or takes too long, its result says so, and the next one starts. Measurements of a part
are written beside its result.

Only torch is needed to start; parts need further packages, which can be provided in a folder
(--packages). On a machine without a GPU, --dry-run tries all parts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from gpu_parts import ROOT, Part, parts

_TAIL = 6000  # characters of a part's output that its result contains
_LEAST = 30  # a part is not started with fewer seconds left
_GRACE = 20  # seconds for a part to save its state


def run(part: Part, seconds: float, folder: Path, packages: Path, about: dict[str, Any]) -> str:
    """Run a part for at most `seconds`; write its result, and return its status.

    The status is `done`, `failed` or `out of time`, and `running` until the part ends.
    """
    result = {
        **{"part": part.name, "about": part.about, "command": part.command[1:]},
        **{"status": "running", "limit_seconds": seconds, **about},
    }
    path, log = folder / f"{part.name}.json", folder / f"{part.name}.log"
    write(path, result)
    paths = [str(ROOT), str(packages), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            part.command,
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its child processes are ended too
        )
        try:
            code: int | None = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    result["status"] = "out of time" if code is None else "failed" if code else "done"
    result |= {"exit_code": code, "seconds": time.monotonic() - began}
    result["output_tail"] = log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
    if part.name == "tests":
        result["tests"] = _tests(folder / "tests.xml")
    write(path, result)
    return str(result["status"])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a part with all of its processes; trainings save a checkpoint first."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tests(path: Path) -> dict[str, Any] | None:
    """The numbers of tests that passed and were skipped, and the names of those that failed."""
    if not path.is_file():
        return None
    cases = list(ElementTree.parse(path).iter("testcase"))
    failed = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skipped = [c for c in cases if c.find("skipped") is not None]
    return {
        "passed": len(cases) - len(failed) - len(skipped),
        "failed": [f"{case.get('classname')}::{case.get('name')}" for case in failed],
        "skipped": len(skipped),
    }


def describe(device: torch.device) -> dict[str, Any]:
    """The hardware, the versions of the packages, those that are missing, and the revision."""
    hardware: dict[str, Any] = {"device": device.type, "processor": platform.machine()}
    hardware["cores"] = os.cpu_count()
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        hardware |= {"gpu": facts.name, "gpu_bytes": facts.total_memory, "cuda": torch.version.cuda}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        wanted += extra
    versions, missing = {"python": platform.python_version()}, []
    for name in sorted({re.split(r"[<>=!\[; ]", line, maxsplit=1)[0] for line in wanted}):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    versions["torch"] = torch.__version__  # with the version of CUDA that it was built for
    return {"hardware": hardware, "versions": versions, "missing_packages": missing, **_revision()}


def _revision() -> dict[str, Any]:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"git_revision": git("rev-parse", "HEAD"), "git_dirty": bool(git("status", "-s"))}
    except (OSError, subprocess.CalledProcessError):
        return {"git_revision": None, "git_dirty": None}


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a result atomically; without naslora.core, so that no other package is needed."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=25, help="for all parts together (25)")
    parser.add_argument("--parts", nargs="+", metavar="PART", help="by name; default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu", metavar="FOLDER")
    parser.add_argument(
        "--packages",
        type=Path,
        default=ROOT / "build" / "gpu-packages",
        metavar="FOLDER",
        help="packages that are not installed (build/gpu-packages)",
    )
    parser.add_argument(
        "--archives",
        type=Path,
        default=ROOT / "data" / "archives",
        metavar="FOLDER",
        help="of the study sample (data/archives)",
    )
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, in miniature")
    options = parser.parse_args()
    if not options.dry_run and not torch.cuda.is_available():
        sys.exit(
            "error: torch sees no CUDA device on this machine\n"
            "  what to do: run this on a machine with an NVIDIA GPU; --dry-run tries all parts on"
            " the CPU"
        )
    folder = options.out.absolute()
    known = parts(folder, options.archives.absolute(), dry_run=options.dry_run)
    names = [part.name for part in known]
    if unknown := sorted(set(options.parts or ()) - set(names)):
        sys.exit(f"error: no part {', '.join(unknown)}\n  what to do: choose {', '.join(names)}")
    folder.mkdir(parents=True, exist_ok=True)
    packages = options.packages.absolute()
    if packages.is_dir():
        sys.path.append(str(packages))  # so that `describe` finds their versions
    about = describe(torch.device("cpu" if options.dry_run else "cuda"))
    if about["missing_packages"]:
        print(f"missing here: {', '.join(about['missing_packages'])}", flush=True)
    end = time.monotonic() + 60 * options.minutes
    for part in known:
        if options.parts and part.name not in options.parts:
            continue
        left = end - time.monotonic() - _GRACE
        if left < _LEAST:
            skipped = {"part": part.name, "about": part.about, "status": "no time left", **about}
            write(folder / f"{part.name}.json", skipped)
            print(f"{part.name}: no time left", flush=True)
            continue
        print(f"{part.name}: {part.about}", flush=True)
        began = time.monotonic()
        status = run(part, min(60 * part.minutes, left), folder, packages, about)
        print(f"{part.name}: {status} after {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
