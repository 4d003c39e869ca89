"""What a study needs of a machine: memory of a job, and disk. Estimates, on the large side."""

from __future__ import annotations

from collections.abc import Sequence

from naslora.data.archives.catalogue import Archive
from naslora.data.benchmarks.contract import Benchmark
from naslora.sam.backbones import BACKBONES
from naslora.study.layout import Layout
from naslora.study.settings import Study

# Images hardly shrink in an archive, and masks are small.
_UNPACKED = 1.2
_ADAPTER = 64_000_000
_UNKNOWN = 1_000_000_000


def archive_bytes(archive: Archive) -> int:
    """Size of an archive: as published, as reported, or a guess."""
    return archive.size or archive.rough_size or _UNKNOWN


def unpacked_bytes(archives: Sequence[Archive]) -> int:
    """Bytes that archives unpack to."""
    return int(_UNPACKED * sum(map(archive_bytes, archives)))


def resized_bytes(benchmark: Benchmark, image_size: int) -> int:
    """Bytes of a whole benchmark's training images and labels as kept at training size."""
    return benchmark.expected["train"] * 4 * image_size**2


def runs_bytes(study: Study) -> int:
    """Bytes of the weights and checkpoints of all runs of a study that have no receipt yet.

    A run that trains everything leaves all weights, and holds two moments of each until it ends.
    """
    layout = Layout.of(study)
    whole = BACKBONES[study.sam.backbone].weights_bytes
    total = running = 0
    for task, variant, seed in study.runs():
        if not layout.receipt(task, variant, seed).is_file():
            method = study.variants[variant].method if variant in study.variants else variant
            final = whole if method == "scratch" else min(_ADAPTER, whole)
            total, running = total + final, max(running, 3 * final)
    return total + running
