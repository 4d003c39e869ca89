"""Time and peak memory of `naslora table all` over thousands of records of the study `paper`.

    python benchmarks/aggregate.py --records 10000 --output benchmarks/results/aggregate-10000.json

Records are synthetic and of full size: nine tasks, twelve methods and all ablations, with as many
seeds as needed; 40 epochs of losses, the shares of eight operations in 32 cells after every epoch
for methods with cells, and a per-image file with as many rows as the official test sets have
images. They are written to a temporary folder first, so that the files are in the page cache when
the command starts. The command runs in a separate process, and is measured from start to end.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from naslora.core.files import write_json
from naslora.data.benchmarks.contract import get_benchmark
from naslora.report.tables.catalogue import tables_of
from naslora.study.layout import Layout
from naslora.study.provenance import provenance
from naslora.study.records import CONTROLS, FileHash, Receipt, Record
from naslora.study.settings import Study, load_study

EPOCHS, BLOCKS, OPERATIONS = 40, 32, 8
_ABOUT = provenance(torch.device("cpu"))
_LAUNCHER = """
import json, resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"peak": used.ru_maxrss, "processor": used.ru_utime + used.ru_stime}))
sys.exit(code)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="write the results to this JSON file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study, seeds = study_of(options.records, folder)
        sizes = write_records(study, options.records)
        command = [sys.executable, "-m", "naslora", "table", "all", "--study", study.study]
        for setting in (f"results={folder}", f"seeds={list(seeds)}"):
            command += ["--set", setting]
        repeats = [measure(command) for _ in range(options.repeats)]
        check(study, options.records)
    for one in repeats:
        cpu = one["processor_seconds"]
        print(f"{one['seconds']:6.2f} s, {cpu:6.2f} s of CPU time, {one['peak_gib']:.2f} GiB")
    if options.output:
        settings: dict[str, Any] = {"records": options.records, "seeds": len(seeds), **sizes}
        settings["tables"] = tables_of(study)
        about = _ABOUT.model_dump(mode="json")
        write_json(options.output, {"settings": settings, "repeats": repeats, **about})


def study_of(records: int, folder: str) -> tuple[Study, range]:
    """The study `paper` with enough seeds for this number of records."""
    one = load_study("paper", {"seeds": [0]})
    controls = len(CONTROLS) * len(one.tasks)
    seeds = range(max(1, -(-(records - controls) // len(one.runs()))))
    return load_study("paper", {"seeds": list(seeds), "results": folder}), seeds


def write_records(study: Study, count: int) -> dict[str, int]:
    """Write `count` records; returns the bytes of records and of per-image files."""
    layout = Layout.of(study)
    per_image = {task: per_image_file(task) for task in study.tasks}
    rng = np.random.default_rng(0)
    bytes_of = {"record_bytes": 0, "per_image_bytes": 0}
    for task, variant, seed in itertools.islice(runs(study), count):
        path = layout.record(task, variant, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = layout.per_image(task, variant, seed)
        rows.write_bytes(per_image[task])
        text = json.dumps(record(study, task, variant, seed, rows, rng), indent=2, sort_keys=True)
        path.write_text(text)
        bytes_of["record_bytes"] += len(text)
        bytes_of["per_image_bytes"] += len(per_image[task])
    return bytes_of


def runs(study: Study) -> Iterator[tuple[str, str, int]]:
    """Controls first, then all tasks and methods seed by seed."""
    yield from ((task, control, 0) for task in study.tasks for control in CONTROLS)
    yield from sorted(study.runs(), key=lambda run: run[2])


def record(
    study: Study, task: str, variant: str, seed: int, rows: Path, rng: np.random.Generator
) -> dict[str, Any]:
    """A record as `naslora evaluate` writes it, with random numbers."""
    benchmark = get_benchmark(task)
    one = Record(
        status="done",
        study=study.study,
        task=task,
        variant=variant,
        method=variant if variant in CONTROLS else study.run(task, variant, seed).method,
        title=variant,
        seed=seed,
        training=None if variant in CONTROLS else receipt(study, task, variant, seed, rng),
        evaluation=study.evaluation.model_dump(mode="json"),
        manifest_sha256="0" * 64,
        metrics={
            test_set: {metric: rng.random() for metric in benchmark.metrics}
            for test_set in benchmark.test_sets
        },
        images={test_set: test_images(task)[test_set] for test_set in benchmark.test_sets},
        per_image=FileHash.of(rows),
        evaluation_time_s=rng.random(),
        provenance=_ABOUT,
    )
    return one.model_dump(mode="json")


def receipt(study: Study, task: str, variant: str, seed: int, rng: np.random.Generator) -> Receipt:
    run = study.run(task, variant, seed)
    cells = BLOCKS if run.method.startswith("nas") else 0
    names = [f"image_encoder.blocks.{i}.attn.qkv.branches.qkv.middle" for i in range(cells)]
    shares = rng.dirichlet(np.ones(OPERATIONS), (EPOCHS, len(names))).tolist()
    return Receipt(
        status="done",
        settings=run.model_dump(mode="json"),
        fingerprint=run.fingerprint(),
        manifest_sha256="0" * 64,
        checkpoint_sha256="0" * 64,
        adapter=FileHash(name="adapter.safetensors", sha256="0" * 64, bytes=16_000_000),
        trainable_parameters=4_000_000,
        total_parameters=642_000_000,
        original_parameters=641_090_608,
        history=[
            {"epoch": float(epoch), "loss": rng.random(), "seconds": rng.random()}
            for epoch in range(1, EPOCHS + 1)
        ],
        alpha=[dict(zip(names, epoch, strict=True)) for epoch in shares if names],
        wall_time_s=rng.random(),
        peak_memory_bytes=1 << 34,
        provenance=_ABOUT,
    )


def test_images(task: str) -> dict[str, int]:
    """Images of each test set; if the paper counts two together, half of them each."""
    counts = {}
    for names, count in get_benchmark(task).expected.items():
        parts = names.split("+")
        counts |= {name: count // len(parts) for name in parts}
    return counts


def per_image_file(task: str) -> bytes:
    """A per-image file of a task as Parquet, with random numbers."""
    benchmark, images = get_benchmark(task), test_images(task)
    rng = np.random.default_rng(0)
    names = [name for name in benchmark.test_sets for _ in range(images[name])]
    frame = pd.DataFrame({metric: rng.random(len(names)) for metric in benchmark.metrics})
    frame.insert(0, "test_set", names)
    frame.insert(1, "id", [str(index) for index in range(len(names))])
    for kind in ("true_positives", "false_positives", "false_negatives"):
        for name in benchmark.classes:
            frame[f"{kind}_{name}"] = rng.integers(0, 100_000, len(names)).astype(float)
    data: bytes = frame.to_parquet(index=False)
    return data


def measure(command: list[str]) -> dict[str, float]:
    """Wall time, CPU time and peak memory of a command, from its start to its end.

    A small process starts it, since a process inherits the peak of the one that it was forked from.
    The command may read records in one process per core. The peak is an upper bound: that of the
    largest process, times the number of cores plus one.
    """
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCHER, *command], capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"the command ended with status {done.returncode}:\n{done.stderr}")
    usage = json.loads(done.stdout.splitlines()[-1])
    processes = 1 + (os.cpu_count() or 1)
    unit = 1 if sys.platform == "darwin" else 1024
    peak = usage["peak"] * unit * processes / 2**30
    return {"seconds": seconds, "processor_seconds": usage["processor"], "peak_gib": peak}


def check(study: Study, count: int) -> None:
    """Check that every record was counted, so that a wrong result is not taken for a fast one."""
    with Layout.of(study).table("status", "csv").open() as file:
        done = sum(int(row["done"]) for row in csv.DictReader(file))
    if done != count:
        sys.exit(f"the status table counts {done} records, not {count}")


if __name__ == "__main__":
    main()
