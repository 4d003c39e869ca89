"""The paths of a study's files, for the workflow and the commands alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from naslora.study.settings import Study


@dataclass(frozen=True)
class Layout:
    """File names under `root`, which is `results/<study>`."""

    root: Path

    @classmethod
    def of(cls, study: Study) -> Layout:
        return cls(study.results / study.study)

    @property
    def archives(self) -> Path:
        """Folder of the archives that this study generates."""
        return self.root / "archives"

    def prepared(self, task: str) -> Path:
        """Folder with the unpacked images and masks of a task."""
        return self.root / "prepared" / task

    def resized(self, task: str) -> Path:
        """Folder of a task's images at training size; missing files are created again."""
        return self.root / "resized" / task

    def manifest(self, task: str) -> Path:
        return self.root / "manifests" / f"{task}.json"

    def audit(self, task: str) -> Path:
        """The audit's findings as JSON; the readable report is beside it, as `.md`."""
        return self.root / "manifests" / f"{task}.audit.json"

    def backbone(self) -> Path:
        """The backbone that this study pretrains, with Meta's parameter names."""
        return self.root / "backbone" / "sam.pth"

    def run(self, task: str, variant: str, seed: int | str) -> Path:
        """Folder of a training run: adapter weights, training receipt, checkpoints."""
        return self.root / "runs" / task / variant / f"seed{seed}"

    def receipt(self, task: str, variant: str, seed: int | str) -> Path:
        return self.run(task, variant, seed) / "training.json"

    def adapter(self, task: str, variant: str, seed: int | str) -> Path:
        return self.run(task, variant, seed) / "adapter.safetensors"

    def attempt(self, task: str, variant: str, seed: int | str) -> Path:
        """State of the last attempt at a run; the file exists until the run has a receipt."""
        return self.run(task, variant, seed) / "attempt.json"

    def record(self, task: str, variant: str, seed: int | str) -> Path:
        return self.root / "records" / task / variant / f"seed{seed}.json"

    def per_image(self, task: str, variant: str, seed: int | str) -> Path:
        return self.record(task, variant, seed).with_suffix(".parquet")

    @property
    def records(self) -> Path:
        return self.root / "records"

    def table(self, name: str, suffix: str) -> Path:
        return self.tables / f"{name}.{suffix}"

    @property
    def tables(self) -> Path:
        return self.root / "tables"

    @property
    def figures(self) -> Path:
        return self.root / "figures"

    @property
    def analyses(self) -> Path:
        """Folder of attention distances and log amplitudes, within that of the records: tables
        need no other folder.
        """
        return self.records / "analysis"

    def analysis(self, task: str, model: str, seed: int | str) -> Path:
        return self.analyses / f"{task}-{model}-seed{seed}.json"

    @property
    def timing(self) -> Path:
        """Folder of measurements of speed and memory, one JSON per machine; within the records."""
        return self.records / "timing"

    def figure(self, name: str, suffix: str = "png") -> Path:
        return self.figures / f"{name}.{suffix}"

    @property
    def report(self) -> Path:
        """All results on one page."""
        return self.root / "report.html"

    @property
    def metrics(self) -> Path:
        """Folder of mean scores for `dvc metrics`, one JSON per method or variant."""
        return self.root / "metrics"

    @property
    def settings(self) -> Path:
        """The study's settings when the workflow last found a result that is not up to date."""
        return self.root / "settings.json"

    def log(self, *parts: str) -> Path:
        return self.root.joinpath("logs", *parts).with_suffix(".log")

    def batch(self, task: str, seeds: str) -> Path:
        """Marker that a batch is done: all runs of a task with one seed (`seed0`), or `all`."""
        return self.root / "logs" / "batch" / task / f"{seeds}.done"
