"""Predictions before and after adaptation: of the pretrained SAM from prompts, and of methods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from naslora.data.masks import IGNORE
from naslora.report.figures.captions import setting
from naslora.report.figures.choice import Rank
from naslora.report.figures.figure3 import class_legend, error_legend, rank_of
from naslora.report.figures.grid import Cell, Row, draw_grid
from naslora.report.figures.inputs import Inputs, NothingToDrawError, TaskImages, chosen_images
from naslora.report.figures.overlays import Contour, Picture, class_map, error_map
from naslora.report.figures.saving import save_figure
from naslora.report.figures.style import PROMPT
from naslora.report.tables.model import run_title

if TYPE_CHECKING:
    from matplotlib.artist import Artist

    from naslora.study.settings import Study
    from naslora.training.pretraining.model import PromptableSam

METHODS = ("decoder_only", "lora", "nas_pc_lora", "mona")
_PROMPTS = {"click": "Clicks, no training", "box": "Boxes, no training"}
_RADIUS = 0.03  # of the circle around a click, relative to the image's longer side
_RANK: Rank = "median"

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class _Line:
    """The image of one task.

    Attributes:
        found: the task's images.
        rank: of this image.
        truth: class numbers (H, W), 0 where pixels are void.
        marks: the prompts as lines on the image.
        predicted: class numbers (H, W) by kind of prompt or method.
    """

    found: TaskImages
    rank: Rank
    truth: Labels
    marks: tuple[tuple[Contour, str], ...]
    predicted: dict[str, Labels]

    def score(self, name: str) -> float:
        """IoU in percent: of the foreground, or the mean of the classes in truth or prediction."""
        valid = self.found.truths[self.rank] != IGNORE
        truth, mine = self.truth[valid], self.predicted[name][valid]
        numbers = np.union1d(truth, mine)
        shares = [
            np.sum((truth == n) & (mine == n)) / np.sum((truth == n) | (mine == n))
            for n in numbers[numbers > 0]
        ]
        return 100 * float(np.mean(shares)) if shares else float("nan")

    def note(self, name: str) -> str:
        """The score as text; there is none where neither truth nor prediction has a class."""
        score = self.score(name)
        return "no score" if np.isnan(score) else f"{score:.0f}"


def draw_adaptation(inputs: Inputs, path: Path) -> None:
    """Draw a row per task: the image with prompts, the truth, and predictions.

    The image is the median one of `naslora.report.figures.choice`. The prompts are those with which
    pretrained weights are evaluated: a click at the centre of each of the largest regions of the
    truth, or its box. Each method's prediction is that of its first seed that is done.

    Raises:
        NothingToDrawError: no run is done, or no image may be shown.
        RecordError: weights, checkpoint or images are not those of the records.
        CheckpointError: the weights that runs start from are missing or damaged.
        DiskError: a file cannot be written.
    """
    study = inputs.study
    shown = {task: found for task in study.tasks if (found := inputs.images(task)) is not None}
    if not shown:
        raise NothingToDrawError("no run is done, or no image may be shown")
    model = pretrained_model(study)
    methods = [method for method in METHODS if method in study.methods]
    lines = [_line(study, found, model, methods) for found in shown.values()]
    names = [*_PROMPTS, *methods]
    headings = ["Image and prompts", "Truth", *_PROMPTS.values()]
    headings += [run_title(inputs.records, method) for method in methods]
    legend = [*_mark_legend(), *error_legend(), *_class_legends(lines)]
    with draw_grid([_row(line, names) for line in lines], headings, legend=legend) as canvas:
        caption = [
            "The median test image of each task, by its score averaged over methods and seeds. "
            "Without training, the pretrained SAM gets a click at the centre of each of the "
            "largest regions of the truth, or its box, and with it the region's class; the "
            "adapted ones get the image alone.",
            "Under each mask its IoU with the truth in percent, of several classes the mean.",
            setting(study),
            inputs.left_out(study.tasks),
        ]
        save_figure(canvas, path, " ".join(filter(None, caption)), _frame(lines, names))


def pretrained_model(study: Study) -> PromptableSam:
    """The promptable SAM that the study's runs start from, in evaluation mode.

    Raises:
        CheckpointError: its weights are missing or damaged.
    """
    from naslora.evaluation.loading import evaluation_device
    from naslora.sam.checkpoints import load_checkpoint
    from naslora.training.initial import checkpoint_of
    from naslora.training.pretraining.model import PromptableSam

    model = PromptableSam(study.sam.backbone, study.sam.image_size, study.sam.attention)
    load_checkpoint(model.sam, checkpoint_of(study), study.sam.checkpoints)
    return model.to(evaluation_device(study)).eval()


def _line(study: Study, found: TaskImages, model: PromptableSam, methods: Sequence[str]) -> _Line:
    from naslora.training.pretraining.prompts import largest_regions

    rank = rank_of(found, _RANK)
    images, places = chosen_images(study, found.choice, [rank])
    pixels, labels = images[places[rank]]
    wanted = np.where(labels.numpy() == IGNORE, 0, labels.numpy()).astype(np.uint8)
    truth = found.shown_truth(rank)
    regions = largest_regions(wanted)
    classes = [int(wanted[region][0]) for region in regions]
    predicted = dict.fromkeys(_PROMPTS, np.zeros_like(truth))
    if classes:
        predicted = _from_prompts(model, pixels.numpy(), regions, classes, truth.shape)
    for method in methods:
        if method in found.predicted:
            predicted[method] = found.predicted[method][rank]
    marks = tuple(_marks(regions, truth.shape))
    return _Line(found, rank, truth, marks, predicted)


def _from_prompts(
    model: PromptableSam,
    pixels: NDArray[np.uint8],
    regions: NDArray[np.bool_],
    classes: Sequence[int],
    size: tuple[int, ...],
) -> dict[str, Labels]:
    """Class numbers by kind of prompt; where masks overlap, the highest logit counts.

    Args:
        model: the pretrained SAM.
        pixels: (3, S, S).
        regions: the prompted regions, (N, S, S).
        classes: the class number of each.
        size: height and width of the answer.
    """
    import torch
    import torch.nn.functional as F

    from naslora.training.pretraining.validation import prompted_logits

    with torch.inference_mode():
        images = torch.from_numpy(pixels)[None].to(model.sam.pixel_mean.device)
        found = prompted_logits(model, model.encode(images), regions)
        answers = {}
        for kind, logits in found.items():
            sized = F.interpolate(logits[:, None], size, mode="bilinear", align_corners=False)
            highest, index = sized[:, 0].max(0)
            labels = torch.tensor(classes, device=index.device)[index] * (highest > 0)
            answers[kind] = labels.to(torch.uint8).cpu().numpy()
    return answers


def _marks(regions: NDArray[np.bool_], size: tuple[int, ...]) -> Iterator[tuple[Contour, str]]:
    """A circle around each click, and each box, in pixels of a picture of this size."""
    from naslora.training.pretraining.prompts import boxed, centre_click

    around = np.linspace(0, 2 * np.pi, 24)
    circle = _RADIUS * max(size) * np.stack([np.cos(around), np.sin(around)], 1)
    for region in regions:
        scale = np.array([size[1] / region.shape[1], size[0] / region.shape[0]])
        (left, top), (right, bottom) = boxed(None, region)[0]
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        yield np.array(corners) * scale - 0.5, PROMPT
        yield (np.array(centre_click(region)[0][0]) + 0.5) * scale - 0.5 + circle, PROMPT


def _row(line: _Line, names: Sequence[str]) -> Row:
    cells: list[Cell | None] = [
        Cell(line.found.images[line.rank], outlines=line.marks),
        Cell(_drawn(line, line.truth)),
    ]
    for name in names:
        mine = line.predicted.get(name)
        cells.append(None if mine is None else Cell(_drawn(line, mine), line.note(name)))
    return Row(line.found.choice.title, cells)


def _drawn(line: _Line, labels: Labels) -> Picture:
    return (
        error_map(labels > 0, line.truth > 0)
        if line.found.binary
        else class_map(labels, line.found.colours)
    )


def _mark_legend() -> list[tuple[Artist, str]]:
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import Normal, Stroke

    rim = [Stroke(linewidth=2, foreground="black"), Normal()]
    look: dict[str, Any] = {"linestyle": "", "markerfacecolor": "none", "path_effects": rim}
    return [
        (Line2D([], [], marker=marker, markeredgecolor=PROMPT, markersize=5, **look), name)
        for marker, name in (("o", "click"), ("s", "box"))
    ]


def _class_legends(lines: Sequence[_Line]) -> list[tuple[Artist, str]]:
    legend = []
    for line in (line for line in lines if not line.found.binary):
        benchmark = line.found.choice.benchmark
        numbers = np.unique(np.stack([line.truth, *line.predicted.values()])).tolist()
        entries = class_legend(line.found, numbers)
        legend += [(handle, f"{benchmark.title}: {name}") for handle, name in entries]
    return legend


def _frame(lines: Sequence[_Line], names: Sequence[str]) -> pd.DataFrame:
    columns = ["task", "test_set", "image", "prediction", "iou"]
    rows = [
        (
            *(line.found.choice.benchmark.name, line.found.choice.test_set),
            *(line.found.choice.chosen[line.rank], name, line.score(name)),
        )
        for line in lines
        for name in names
        if name in line.predicted
    ]
    return pd.DataFrame(rows, columns=columns)
