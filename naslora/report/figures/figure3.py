"""Figure 3: an image of every task, its ground truth, and the prediction of each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from naslora.core.wording import counted
from naslora.data.benchmarks.contract import get_benchmark
from naslora.evaluation.names import metric_name
from naslora.report.figures.captions import setting, trained_rows
from naslora.report.figures.choice import Rank
from naslora.report.figures.grid import Cell, Row, draw_grid
from naslora.report.figures.inputs import Inputs, NothingToDrawError, TaskImages
from naslora.report.figures.overlays import (
    Picture,
    class_map,
    error_map,
)
from naslora.report.figures.saving import save_figure
from naslora.report.figures.style import FALSE_ALARM, MISSED, RIGHT
from naslora.report.tables.model import run_title

if TYPE_CHECKING:
    from matplotlib.artist import Artist


def draw_comparison(inputs: Inputs, path: Path, rank: Rank = "median") -> None:
    """Draw a row per task with its image of a rank.

    Images are ranked by their mean score over methods and seeds in the task's first test set. Each
    method's prediction is that of its first seed that is done.

    Args:
        inputs: the study with its records.
        path: where to write the PNG.
        rank: of the images.

    Raises:
        NothingToDrawError: no run is done, or no image may be shown.
        RecordError: weights, checkpoint or images are not those of the records.
        DiskError: a file cannot be written.
    """
    study = inputs.study
    shown = {task: found for task in study.tasks if (found := inputs.images(task)) is not None}
    if not shown:
        raise NothingToDrawError("no run is done, or no image may be shown")
    names = trained_rows(study)
    ranks = {task: rank_of(found, rank) for task, found in shown.items()}
    rows = [_row(found, ranks[task], names) for task, found in shown.items()]
    headings = ["Image", "Truth", *(run_title(inputs.records, name) for name in names)]
    one_class = any(found.binary for found in shown.values())
    legend = [*(error_legend() if one_class else []), *_class_legends(shown, ranks)]
    with draw_grid(rows, headings, legend=legend) as canvas:
        caption = [
            f"The {rank} test image of each task, by its score averaged over methods and seeds; "
            "under each mask its score, in percent.",
            setting(study),
            f"Images ranked: {_counts(shown)}.",
            inputs.left_out(study.tasks),
        ]
        frame = image_frame(shown, {task: [one] for task, one in ranks.items()})
        save_figure(canvas, path, " ".join(filter(None, caption)), frame)


def image_frame(
    shown: Mapping[str, TaskImages], ranks: Mapping[str, Sequence[Rank]]
) -> pd.DataFrame:
    """The images of a figure, and the score of each method on them in the unit of tables."""
    lines = [
        (
            *(task, found.choice.test_set, rank, found.choice.chosen[rank], found.choice.metric),
            *(method, seed, found.choice.score(rank, method, seed)),
        )
        for task, found in shown.items()
        for rank in ranks[task]
        for method, seed in found.seeds.items()
    ]
    columns = ["task", "test_set", "rank", "image", "metric", "method", "seed", "score"]
    return pd.DataFrame(lines, columns=columns)


def error_legend() -> list[tuple[Artist, str]]:
    """Legend of the colours of `error_map`."""
    from matplotlib.patches import Patch

    names = {RIGHT: "right", MISSED: "missed", FALSE_ALARM: "false alarm"}
    return [
        (Patch(facecolor=colour, edgecolor="0.4", linewidth=0.5), f"one class: {name}")
        for colour, name in names.items()
    ]


def class_legend(found: TaskImages, numbers: Sequence[int]) -> list[tuple[Artist, str]]:
    """Legend of the colours of a task's classes; the background has none."""
    from matplotlib.patches import Patch

    classes = found.choice.benchmark.classes
    return [(Patch(color=found.colours[n - 1]), f"{n} {classes[n]}") for n in numbers if n]


def classes_shown(found: TaskImages, ranks: Sequence[Rank]) -> list[int]:
    """The class numbers in the truths and predictions of these images."""
    maps = [found.shown_truth(rank) for rank in ranks]
    maps += [labels[rank] for labels in found.predicted.values() for rank in ranks]
    return sorted(set[int]().union(*(np.unique(labels).tolist() for labels in maps)))


def rank_of(found: TaskImages, rank: Rank) -> Rank:
    """The rank under which an image is stored: with few images, one image has several ranks."""
    wanted = found.choice.chosen[rank]
    return next(kept for kept in found.ranks if found.choice.chosen[kept] == wanted)


def _row(found: TaskImages, rank: Rank, methods: Sequence[str]) -> Row:
    truth = found.shown_truth(rank)
    draw = partial(_binary, truth) if found.binary else partial(class_map, colours=found.colours)
    cells: list[Cell | None] = [Cell(found.images[rank]), Cell(draw(truth))]
    for method in methods:
        mine = found.predicted.get(method)
        cells.append(Cell(draw(mine[rank]), found.note(rank, method)) if mine else None)
    metric = metric_name(found.choice.metric).title
    return Row(f"{found.choice.title}\n{metric}", cells)


def _binary(truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> Picture:
    return error_map(predicted > 0, truth > 0)


def _class_legends(
    shown: Mapping[str, TaskImages], ranks: Mapping[str, Rank]
) -> list[tuple[Artist, str]]:
    legend = []
    for task, found in shown.items():
        if not found.binary:
            numbers = classes_shown(found, [ranks[task]])
            entries = class_legend(found, numbers)
            legend += [(handle, f"{get_benchmark(task).title}: {name}") for handle, name in entries]
    return legend


def _counts(shown: Mapping[str, TaskImages]) -> str:
    return ", ".join(
        f"{found.choice.title} {counted(found.choice.images, 'image')}" for found in shown.values()
    )
