"""Time from the start of a run's process to its first training step, with a tiny model.

    python benchmarks/startup.py --output benchmarks/results/startup.json

The first step is over when its checkpoint exists: here, one is written after every step. A batch of
runs (`naslora batch`) pays for the imports only once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ratios import ratio, write

from naslora.data.prepare import prepare
from naslora.study.layout import Layout
from naslora.study.settings import load_study

TASK, METHOD = "kvasir", "lora"
LIMIT_S = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, help="write the results to this JSON file")
    options = parser.parse_args()
    settings = {k: v for k, v in vars(options).items() if k != "output"}
    with tempfile.TemporaryDirectory() as folder:
        overrides = {
            "results": folder,
            "tasks": [TASK],
            "methods": [METHOD],
            "generated": {TASK: 24},
            "sam.checkpoint": "random",
            "training.checkpoint_minutes": 0,
            "training.epochs": 1000,
        }
        study = load_study("rehearsal", overrides)
        prepare(study, TASK)
        run = Layout.of(study).run(TASK, METHOD, 0)
        command = [sys.executable, "-m", "naslora", "train", "--study", "rehearsal"]
        command += ["--task", TASK, "--variant", METHOD, "--seed", "0"]
        for name, value in overrides.items():
            command += ["--set", f"{name}={json.dumps(value)}"]
        seconds = [first_step(command, run) for _ in range(options.repeats)]
    title = "seconds to the first step of a run"
    ratios = [ratio(title, statistics.median(seconds), 3.0)]
    write(options.output, settings, seconds=seconds, ratios=ratios)


def first_step(command: list[str], run: Path) -> float:
    """Seconds from the start of the command to the first checkpoint; then the run is stopped."""
    shutil.rmtree(run, ignore_errors=True)
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # the message that it was stopped
    )
    try:
        while not any(run.glob("checkpoint-*")):
            if process.poll() is not None or time.perf_counter() - began > LIMIT_S:
                sys.exit("the run made no step")
            time.sleep(0.005)
        return time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
