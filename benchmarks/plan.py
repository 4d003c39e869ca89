"""The time that Snakemake needs to plan the study `paper`, and one with ten times as many runs.

    python benchmarks/plan.py --output benchmarks/results/plan.json

Each plan is `snakemake -n --profile PROFILE all_tables` in a separate process, from its start to
its end, in a copy of the workflow without results: every job has to be done, and nothing is read.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from naslora.core.files import write_json
from naslora.study.provenance import provenance

ROOT = Path(__file__).parents[1]
WORKFLOW = ("Snakefile", "workflow", "config", "environment.yml", "local", "slurm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 30])
    parser.add_argument("--output", type=Path, help="write the results to this JSON file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in WORKFLOW:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, Path(folder) / name)
        plans = [
            measure(Path(folder), profile, seeds)
            for profile in ("local", "slurm")
            for seeds in options.seeds
            for _ in range(options.repeats)
        ]
    if options.output:
        about = provenance(torch.device("cpu")).model_dump(mode="json")
        write_json(options.output, {"settings": {"study": "paper"}, "plans": plans, **about})


def measure(folder: Path, profile: str, seeds: int) -> dict[str, Any]:
    """Plan once; returns the number of jobs, wall time and CPU time."""
    command = [sys.executable, "-m", "snakemake", "-n", "--profile", profile, "all_tables"]
    command += ["--config", "study=paper", f"seeds={json.dumps(list(range(seeds)))}"]
    before, load = resource.getrusage(resource.RUSAGE_CHILDREN), os.getloadavg()[0]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    counted = re.search(r"^(\d+) jobs? to do", done.stdout, re.MULTILINE)
    assert counted is not None
    jobs = int(counted[1])
    print(f"{profile:5} {jobs:5} jobs: {seconds:6.2f} s, {cpu:6.2f} s of CPU time", flush=True)
    return {
        "profile": profile,
        "jobs": jobs,
        "seconds": seconds,
        "processor_seconds": cpu,
        "load_average_before": load,
    }


if __name__ == "__main__":
    main()
