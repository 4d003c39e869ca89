"""Figure 3: an image of every task, its truth, and what each method predicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist

from naslora.core.errors import ManifestError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.evaluation.binary import THRESHOLD, Counts
from naslora.evaluation.multiclass import MultiClassMetrics
from naslora.evaluation.predictions import Predicted
from naslora.methods.registry import load_method_files
from naslora.report.figures.choice import RANKS, Choice, Rank, choose, first_done
from naslora.report.figures.predictions import chosen_images, predict
from naslora.report.figures.thumbnails import (
    Cell,
    class_legend,
    class_map,
    draw_grid,
    error_legend,
    error_map,
)
from naslora.report.tables.model import run_title
from naslora.results.aggregate import Aggregate
from naslora.study.settings import Study

Row = tuple[str, list[Cell | None]]


def draw_comparisons(study: Study, records: Aggregate, path: Path) -> None:
    """Draw a row per task with its median image, and beside it with the best and the worst.

    Images are ranked by their mean IoU, or mIoU, over methods and seeds in the task's first test
    set. Each method's prediction is that of its first seed that is done.

    Args:
        study: the study.
        records: its records.
        path: of the figure with the median images; the others are `<stem>_best.png` and
            `<stem>_worst.png`. Each has a PDF beside it.

    Raises:
        RecordError: weights, checkpoint or images are not those of the records.
        DiskError: a file cannot be written.
    """
    load_method_files(study.method_files.values())
    rows: dict[Rank, list[Row]] = {rank: [] for rank in RANKS}
    classes: dict[Rank, dict[str, set[int]]] = {rank: {} for rank in RANKS}
    left_out = []
    counts = []
    for task in study.tasks:
        try:
            choice = choose(study, records, task)
        except ManifestError:
            choice = None  # records without images
        if choice is None:
            left_out.append(task)
            continue
        counts.append(f"{task} {choice.images}")
        for rank, (row, seen) in _task_rows(study, records, choice).items():
            rows[rank].append(row)
            if len(choice.benchmark.classes) > 1:
                classes[rank][task] = seen
    headings = ["Image", "Truth", *(run_title(records, method) for method in study.methods)]
    for rank in RANKS:
        captions = [
            f"Study {study.study}. Of each task the {rank} test image by its mean IoU (mIoU for "
            "several classes) over methods and seeds; in the corner this image's.",
            f"Images ranked: {', '.join(counts) or 'none'}."
            + (f" No run is done: {', '.join(left_out)}." if left_out else ""),
        ]
        target = path if rank == "median" else path.with_stem(f"{path.stem}_{rank}")
        legend = [*error_legend(), *_class_legends(classes[rank])] if rows[rank] else []
        draw_grid(rows[rank], headings, target, legend=legend, captions=captions)


def _task_rows(
    study: Study, records: Aggregate, choice: Choice
) -> Mapping[Rank, tuple[Row, set[int]]]:
    """A row for each rank, with the class numbers that are in its pictures."""
    images, indices = chosen_images(study, choice)
    task, names = choice.benchmark.name, choice.benchmark.classes
    binary = len(names) == 1
    truths = [images.native_mask(i) for i in indices]
    seen = [set(np.unique(truth).tolist()) for truth in truths]
    cells: list[list[Cell | None]] = [
        [Cell(images.native_image(i)), _truth_cell(truth, binary)]
        for i, truth in zip(indices, truths, strict=True)
    ]
    for method in study.methods:
        seed = first_done(study, records, task, method)
        if seed is None:
            for row in cells:
                row.append(None)
            continue
        predicted = predict(study, choice, method, seed, images, indices)
        for place, prediction in enumerate(predicted):
            if binary:
                found, true = prediction > THRESHOLD, truths[place] > 0
                cell = Cell(error_map(found, true), f"{Counts.of(found, true).iou():.2f}")
            else:
                seen[place] |= set(np.unique(prediction).tolist())
                metrics = MultiClassMetrics(names, ["mIoU"])
                miou = metrics.update(prediction, truths[place])["mIoU"]
                cell = Cell(class_map(prediction), f"{miou:.2f}")
            cells[place].append(cell)
    several = f", {choice.test_set}" if len(choice.benchmark.test_sets) > 1 else ""
    label = f"{choice.benchmark.title}{several}"
    return {
        rank: ((label, row), numbers) for rank, row, numbers in zip(RANKS, cells, seen, strict=True)
    }


def _truth_cell(truth: Predicted, binary: bool) -> Cell:
    return Cell(error_map(truth > 0, truth > 0) if binary else class_map(truth))


def _class_legends(classes: Mapping[str, set[int]]) -> list[tuple[Artist, str]]:
    legend = []
    for task, numbers in classes.items():
        benchmark = get_benchmark(task)
        entries = class_legend(sorted(numbers), benchmark.classes)
        legend += [(handle, f"{benchmark.title}: {name}") for handle, name in entries]
    return legend
