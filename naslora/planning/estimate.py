"""The remaining runs of a study, with estimates of their time."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.manifest import Manifest, read_manifest
from naslora.planning.disk import Disk, disk_needed
from naslora.planning.rates import Rate, known_rates
from naslora.results.freshness import Freshness
from naslora.study.layout import Layout
from naslora.study.settings import CONFIG_FOLDER, Study

Counted = Literal["prepared", "published", "to be generated"]


@dataclass(frozen=True)
class Images:
    """Numbers of images of a task, and their source."""

    train: int
    test: int
    counted: Counted


@dataclass(frozen=True)
class PlannedRun:
    """A run, and its remaining time.

    Attributes:
        trained, evaluated: whether `naslora run` would not train or evaluate it again. A copy of
            records counts, without the weights of the runs.
        training_s, evaluation_s: remaining seconds; None if no rate is known.
        devices: GPUs (or processes on CPUs) that training uses for that time.
        source: of the rate, if one is known.
    """

    task: str
    variant: str
    seed: int
    trained: bool
    evaluated: bool
    training_s: float | None
    evaluation_s: float | None
    devices: int
    source: str | None

    @property
    def known(self) -> bool:
        return self.training_s is not None and self.evaluation_s is not None

    @property
    def seconds(self) -> float:
        """Seconds that the run still takes; 0 if no rate is known."""
        return (self.training_s or 0.0) + (self.evaluation_s or 0.0)

    @property
    def device_seconds(self) -> float:
        return self.devices * (self.training_s or 0.0) + (self.evaluation_s or 0.0)


@dataclass(frozen=True)
class Plan:
    """The estimates for a study.

    Attributes:
        on: the device that the hours are of.
        images: by task.
        runs: all runs of the study.
        disk: by task.
        rates: by method or variant, if one is known.
    """

    study: Study
    on: Literal["GPU", "CPU", "device"]
    images: Mapping[str, Images]
    runs: Sequence[PlannedRun]
    disk: Mapping[str, Disk]
    rates: Mapping[str, Rate]

    @property
    def unknown(self) -> list[str]:
        """Methods and variants without a known rate."""
        return [name for name in self.study.run_names() if name not in self.rates]

    def wall_s(self, jobs: int) -> float:
        """Wall time with this many parallel jobs, if none has to wait in a queue."""
        return makespan((run.seconds for run in self.runs), jobs)


def make_plan(study: Study, config: Path = CONFIG_FOLDER) -> Plan:
    """Estimate the remaining time and disk space of a study.

    Args:
        study: the study.
        config: the folder of archives.yaml.

    Raises:
        SettingsError: no such benchmark, or a setting of a variant is invalid.
        ArchiveError: the archives folder cannot be read.
        RecordError: a receipt is damaged.
        ManifestError: a manifest is damaged.
    """
    layout = Layout.of(study)
    paths = {task: layout.manifest(task) for task in study.tasks}
    manifests = {task: read_manifest(path) for task, path in paths.items() if path.is_file()}
    images = {task: _images(study, task, manifests.get(task)) for task in study.tasks}
    rates, fresh = known_rates(study, manifests), Freshness(study, config)
    return Plan(
        study=study,
        on={"cpu": "CPU", "gpu": "GPU", "cuda": "GPU"}.get(study.training.accelerator, "device"),  # type: ignore[arg-type]
        images=images,
        runs=[_run(study, fresh, images, rates, *names) for names in study.runs()],
        disk=disk_needed(study, config),
        rates=rates,
    )


def makespan(seconds: Iterable[float], jobs: int) -> float:
    """Total time of tasks, longest first, each run by the first of `jobs` workers to be free.

    Raises:
        ValueError: `jobs` is less than 1.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    longest_first = sorted(seconds, reverse=True)
    free = [0.0] * max(1, min(jobs, len(longest_first)))
    for one in longest_first:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def _images(study: Study, task: str, manifest: Manifest | None) -> Images:
    if manifest is not None:
        test = sum(len(manifest.of(name)) for name in manifest.test_sets)
        return Images(len(manifest.of("train")), test, "prepared")
    expected = get_benchmark(task).expected
    total = sum(expected.values())
    test = total - expected["train"] - expected.get("val", 0)
    if task not in study.generated:
        return Images(expected["train"], test, "published")
    share = study.generated[task] / total
    return Images(round(expected["train"] * share), round(test * share), "to be generated")


def _run(
    study: Study,
    fresh: Freshness,
    images: Mapping[str, Images],
    rates: Mapping[str, Rate],
    task: str,
    variant: str,
    seed: int,
) -> PlannedRun:
    settings = study.run(task, variant, seed)
    evaluated = fresh.record(task, variant, seed)
    trained = evaluated or fresh.run(task, variant, seed)
    rate = rates.get(variant)
    training = settings.training
    of = images[task]
    devices = training.devices * training.num_nodes
    training_s = rate.training_s * of.train * training.epochs / devices if rate else None
    evaluation_s = rate.evaluation_s * of.test if rate else None
    return PlannedRun(
        task=task,
        variant=variant,
        seed=seed,
        trained=trained,
        evaluated=evaluated,
        training_s=0.0 if trained else training_s,
        evaluation_s=0.0 if evaluated else evaluation_s,
        devices=devices,
        source=rate.source if rate else None,
    )
