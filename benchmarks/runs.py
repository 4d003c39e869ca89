"""The runs of a study, one after the other in one process.

    python benchmarks/runs.py --study sample --set archives=FOLDER --output build/runs.json

It needs neither Snakemake nor DVC. Runs that are done are skipped, so that the same command resumes
after an interruption. The output is rewritten after each run.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from naslora.core.errors import DivergedError
from naslora.core.files import write_json
from naslora.data.prepare import prepare
from naslora.evaluation.evaluate import evaluate
from naslora.evaluation.loading import evaluation_device
from naslora.study.layout import Layout
from naslora.study.provenance import provenance
from naslora.study.settings import Study, load_study, parse_overrides
from naslora.training.train import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--study", default="sample")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--output", type=Path, required=True, help="write what was done as JSON")
    options = parser.parse_args()
    study = load_study(options.study, parse_overrides(options.set))
    about = provenance(torch.device("cpu")).model_dump(mode="json")
    about["hardware"] = provenance(evaluation_device(study)).hardware
    done: list[dict[str, Any]] = []
    for task, variant, seed in study.runs():
        done.append(run(study, task, variant, seed))
        found = {"runs": done, "of": len(study.runs()), "study": options.study, **about}
        write_json(options.output, found)
        print(done[-1], flush=True)


def run(study: Study, task: str, variant: str, seed: int) -> dict[str, Any]:
    """Prepare, train and evaluate, each unless it is done; returns the outcome."""
    layout, began = Layout.of(study), time.perf_counter()
    found: dict[str, Any] = {"task": task, "variant": variant, "seed": seed}
    record = layout.record(task, variant, seed)
    if record.is_file():
        return {**found, "status": "was done", "seconds": 0.0}
    if not layout.manifest(task).is_file():
        prepare(study, task)
    try:
        receipt = train(study, task, variant, seed)
    except DivergedError as error:
        return {**found, "status": "diverged", "message": error.what}
    trained = time.perf_counter() - began
    metrics = evaluate(study, task, variant, seed).metrics
    return {
        **{**found, "status": receipt.status, "metrics": metrics},
        **{"training_seconds": trained, "seconds": time.perf_counter() - began},
        "peak_memory_bytes": receipt.peak_memory_bytes,
    }


if __name__ == "__main__":
    main()
