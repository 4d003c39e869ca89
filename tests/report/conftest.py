from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from naslora.report.tables import ablations, table1, table2, table3
from naslora.report.tables.model import TableSpec
from naslora.results.aggregate import Aggregate
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS, FileHash, Provenance, Receipt, Record, write_document
from naslora.study.settings import Study, load_study

CONFIG = Path(__file__).parents[2] / "config"
# The study sample, on one task.
ONE_TASK: dict[str, Any] = {
    "tasks": ["kvasir"],
    "methods": ["decoder_only", "lora", "nas_lora", "nas_pc_lora"],
    "networks": [],
    "network_tasks": {},
    "variants": {"lora_rank_92": None},
    "task_training": {},
    "training": {
        "epochs": 8,
        "learning_rate": 1e-3,
        "architecture": {"start_epoch": 2, "learning_rate": 1e-3},
        "precision": "32-true",
    },
    "seeds": [0, 1, 2],
}
METRICS = ("S_measure", "E_measure", "IoU")
TASKS = (
    *("kvasir", "cvc_clinicdb", "isic2017", "cod", "sbu", "leaf", "road"),
    *("trans10k_v1", "trans10k_v2"),
)
SPECS: tuple[TableSpec, ...] = (
    *(module.TABLE for module in (table1, table2, table3)),
    *(ablations.TABLE6, ablations.TABLE7, ablations.TABLE8, ablations.TABLE9, ablations.TABLE_D1),
)
_SCORES = ["task", "test_set", "variant", "method", "seed", "metric", "value"]
_EPOCHS = ["task", "variant", "seed", "epoch", "loss", "seconds", "searching"]
_RUNS = ["task", "variant", "method", "title", "seed", "status", "trainable_parameters"]
Scores = Mapping[str, Mapping[str, float]]
WriteRun = Callable[..., Path]


def make_study(results: Path, **overrides: Any) -> Study:
    settings = {"results": str(results), **ONE_TASK, **overrides}
    return load_study("sample", settings, CONFIG)


@pytest.fixture
def one_task() -> dict[str, Any]:
    """Settings of `make_study` beside the study's own."""
    return dict(ONE_TASK)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Kvasir, decoder_only, lora, nas_lora and nas_pc_lora, three seeds, no record yet."""
    return make_study(tmp_path / "results")


def write_run(
    study: Study,
    variant: str,
    seed: int,
    scores: Sequence[float] | Scores = (0.8, 0.9, 0.7),
    *,
    task: str = "kvasir",
    status: str = "done",
    message: str | None = None,
    images: int = 100,
    trainable: int = 4_000_000,
) -> Path:
    """Write a synthetic record and its per-image file, whose means are `scores`.

    Scores are of `METRICS` on the test set "test", or by test set and metric; there are `images`
    of each test set.
    """
    layout = Layout.of(study)
    path = layout.record(task, variant, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(scores, Mapping):
        scores = {"test": dict(zip(METRICS, scores, strict=True))}
    done, control = status == "done", variant.startswith("control_")
    metrics: dict[str, dict[str, float]] = {}
    per_image = None
    if done:
        spread = np.linspace(-0.05, 0.05, images)
        frames = {
            test_set: pd.DataFrame({name: value + spread for name, value in values.items()})
            for test_set, values in scores.items()
        }
        parquet = layout.per_image(task, variant, seed)
        pd.concat(frames, names=["test_set"]).reset_index(level=0).to_parquet(parquet)
        per_image = FileHash.of(parquet)
        metrics = {
            test_set: {name: float(frame[name].mean()) for name in frame}
            for test_set, frame in frames.items()
        }
    provenance = Provenance(hardware={}, versions={}, git_revision=None, git_dirty=None)
    training = None
    if not control:
        run = study.run(task, variant, seed)
        training = Receipt(
            status=status,
            settings=run.model_dump(mode="json"),
            fingerprint=run.fingerprint(),
            manifest_sha256="0" * 64,
            checkpoint_sha256=None,
            adapter=FileHash(name="a", sha256="0" * 64, bytes=1) if done else None,
            trainable_parameters=trainable,
            total_parameters=110_000_000,
            original_parameters=100_000_000,
            history=[
                {"epoch": float(epoch), "loss": 2.0 / epoch + 0.1 * seed} for epoch in (1, 2, 3, 4)
            ],
            alpha=[{"cell": [0.5, 0.5]}] if run.method.startswith("nas") else [],
            wall_time_s=1.0,
            peak_memory_bytes=1,
            provenance=provenance,
        )
    record = Record(
        status=status,
        message=message,
        study=study.study,
        task=task,
        variant=variant,
        method=training.settings["method"] if training else variant,
        title=variant,
        seed=seed,
        training=training,
        evaluation={
            **study.evaluation.model_dump(mode="json"),
            **({"image_size": study.sam.image_size} if variant in CONTROLS else {}),
        },
        manifest_sha256="0" * 64,
        metrics=metrics,
        images={test_set: images for test_set in metrics},
        per_image=per_image,
        evaluation_time_s=1.0,
        provenance=provenance,
    )
    write_document(path, record)
    return path


@pytest.fixture
def full_study(study: Study) -> Study:
    """All runs and controls are there; scores differ by method and seed."""
    write_run(study, "control_blank", 0, (0.4, 0.3, 0.1))
    write_run(study, "control_foreground", 0, (0.2, 0.3, 0.2))
    write_run(study, "control_mean_mask", 0, (0.62, 0.73, 0.35))
    write_run(study, "control_mean_mask_best", 0, (0.61, 0.72, 0.36))
    for index, variant in enumerate(study.methods):
        for seed in study.seeds:
            base = 0.6 + 0.05 * index + 0.01 * seed
            scores = (base, base + 0.05, base - 0.1)
            write_run(study, variant, seed, scores, trainable=4_000_000 + 1000 * index)
    return study


def scores_of(task: str, base: float) -> Scores:
    """A score for every metric that a table shows of a task, each a different one."""
    scores: dict[str, dict[str, float]] = {}
    columns = (column for spec in SPECS for column in spec.columns if column.task == task)
    for index, column in enumerate(columns):
        scores.setdefault(column.test_set, {})[column.metric] = base + 0.001 * index
    return scores


@pytest.fixture(scope="session")
def every_task(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Four methods on all tasks and all ablations, two seeds, all done. Not to be written to."""
    study = make_study(tmp_path_factory.mktemp("every"), tasks=list(TASKS), seeds=[0, 1])
    for task in TASKS:
        for control in CONTROLS:
            write_run(study, control, 0, scores_of(task, 0.3), task=task, images=10)
    for index, (task, variant, seed) in enumerate(study.runs()):
        scores = scores_of(task, 0.5 + 0.003 * index)
        count = 4_000_000 + 1000 * study.run_names().index(variant)
        write_run(study, variant, seed, scores, task=task, images=10, trainable=count)
    return study


@pytest.fixture
def copied_study(every_task: Study, tmp_path: Path) -> Study:
    """A copy of `every_task` to write to."""
    shutil.copytree(every_task.results, tmp_path / "copy")
    return every_task.model_copy(update={"results": tmp_path / "copy"})


def some_records(
    scored: list[tuple[Any, ...]] | None = None,
    epochs: list[tuple[Any, ...]] | None = None,
    runs: list[tuple[Any, ...]] | None = None,
) -> Aggregate:
    """Records without files: rows of scores, epochs and runs, in the order of these columns."""
    frame = pd.DataFrame(runs or [], columns=_RUNS)
    frame["original_parameters"] = frame["trainable_parameters"]
    return Aggregate(
        scores=pd.DataFrame(scored or [], columns=_SCORES),
        runs=frame,
        losses=pd.DataFrame(epochs or [], columns=_EPOCHS),
        problems=(),
    )


@pytest.fixture(name="some_records")
def _some_records() -> Callable[..., Aggregate]:
    return some_records


@pytest.fixture(name="write_run")
def _write_run() -> WriteRun:
    return write_run


@pytest.fixture(name="make_study")
def _make_study() -> Callable[..., Study]:
    return make_study
