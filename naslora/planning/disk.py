"""Upper estimates of the disk space that a study will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from naslora.data.archives.catalogue import Archive, find
from naslora.data.archives.sources import choose
from naslora.data.benchmarks.contract import Benchmark
from naslora.methods.names import NETWORK_NAMES
from naslora.paper.published import NOT_PEFT
from naslora.results.freshness import Freshness
from naslora.sam.backbones import BACKBONES
from naslora.study.layout import Layout
from naslora.study.settings import CONFIG_FOLDER, Study

# Unpacked size over archive size: archives hardly compress images, and masks are small.
_UNPACKED = 1.2
_ADAPTER = 64_000_000
_NETWORK = 160_000_000  # DeepLabv3, the largest
_UNKNOWN = 1_000_000_000


@dataclass(frozen=True)
class Disk:
    """Bytes still to be written.

    Attributes:
        archives: downloads.
        images: unpacked and resized images of tasks that are not prepared yet.
        runs: weights of runs that have neither a receipt nor an up-to-date record yet.
        checkpoint: the largest training checkpoint, of which each job has one at a time.
    """

    archives: int
    images: int
    runs: int
    checkpoint: int

    @property
    def total(self) -> int:
        return self.archives + self.images + self.runs + self.checkpoint


def disk_needed(study: Study, config: Path = CONFIG_FOLDER) -> dict[str, Disk]:
    """Bytes still to be written for each task of a study.

    Raises:
        SettingsError, ArchiveError: see `naslora.data.archives.sources.choose`.
    """
    fresh = Freshness(study, config)
    return {task: _of_task(study, task, config, fresh) for task in study.tasks}


def whole(disks: Sequence[Disk]) -> Disk:
    """The sum over tasks; of training checkpoints the largest, since they are temporary."""
    return Disk(
        archives=sum(disk.archives for disk in disks),
        images=sum(disk.images for disk in disks),
        runs=sum(disk.runs for disk in disks),
        checkpoint=max((disk.checkpoint for disk in disks), default=0),
    )


def archive_bytes(archive: Archive) -> int:
    """Size of an archive: as published, as reported, or a guess."""
    return archive.size or archive.rough_size or _UNKNOWN


def _of_task(study: Study, task: str, config: Path, fresh: Freshness) -> Disk:
    layout = Layout.of(study)
    download = images = 0
    if task not in study.generated and not layout.manifest(task).is_file():
        choice = choose(study, task, config)
        download = sum(
            archive_bytes(archive)
            for archive in choice.archives
            if archive.url is not None and find(archive, study.archives) is None
        )
        images = int(_UNPACKED * sum(map(archive_bytes, choice.archives)))
        images += _resized_bytes(choice.benchmark, study.sam.image_size)
    runs, checkpoint = _runs_bytes(study, layout, task, fresh)
    return Disk(download, images, runs, checkpoint)


def _resized_bytes(benchmark: Benchmark, image_size: int) -> int:
    """Bytes of a benchmark's training images and labels at training size."""
    return benchmark.expected["train"] * 4 * image_size**2


def _runs_bytes(study: Study, layout: Layout, task: str, fresh: Freshness) -> tuple[int, int]:
    """Bytes of the weights of a task's unfinished runs, and of the largest checkpoint among them.

    A checkpoint contains the trained weights and Adam's two moments of each.
    """
    weights = BACKBONES[study.sam.backbone].weights_bytes
    total = checkpoint = 0
    for variant in study.run_names(task):
        method = study.variants[variant].method if variant in study.variants else variant
        if method in NETWORK_NAMES:
            final = _NETWORK
        else:
            final = weights if method in NOT_PEFT else min(_ADAPTER, weights)
        open_runs = sum(
            not layout.receipt(task, variant, seed).is_file()
            and not fresh.record(task, variant, seed)
            for seed in study.seeds
        )
        total += open_runs * final
        if open_runs:
            checkpoint = max(checkpoint, 3 * final)
    return total, checkpoint
