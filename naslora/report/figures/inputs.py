"""Inputs of figures: a study, its records, and its runs' predictions for some images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from naslora.core.errors import ManifestError, NasloraError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.manifest import read_manifest
from naslora.data.masks import IGNORE
from naslora.report.figures.captions import trained_rows
from naslora.report.figures.choice import RANKS, Choice, Rank, choose, first_done
from naslora.report.figures.overlays import Picture, smaller_labels, thumbnail
from naslora.report.figures.style import class_colours
from naslora.results.aggregate import Aggregate
from naslora.study.layout import Layout
from naslora.study.settings import Study

if TYPE_CHECKING:
    from naslora.data.dataset import SegmentationDataset
    from naslora.sam.building import Sam

LONGEST = 1000  # pixels of a stored picture's longer side, more than a figure shows


class NothingToDrawError(NasloraError):
    """A figure has nothing to show."""


@dataclass(frozen=True)
class TaskImages:
    """Chosen test images of a task with ground truth and predictions.

    Pictures and label maps of one rank have one size, at most `LONGEST` a side. Labels are class
    numbers, uint8 (H, W), of a binary task 0 and 1; in truths void pixels are `IGNORE`.

    Attributes:
        choice: the rule, and the images that it chose.
        ranks: those that are shown, each image once.
        images: RGB, in [0, 1], by rank.
        truths: labels by rank.
        predicted: labels by method or network, then rank; those without a finished run are missing.
        seeds: the seed of each method's run.
        colours: of the foreground classes, in the order of their numbers; none for a binary task.
    """

    choice: Choice
    ranks: tuple[Rank, ...]
    images: dict[Rank, Picture]
    truths: dict[Rank, NDArray[np.uint8]]
    predicted: dict[str, dict[Rank, NDArray[np.uint8]]]
    seeds: dict[str, int]
    colours: tuple[str, ...] = ()

    @property
    def binary(self) -> bool:
        return len(self.choice.benchmark.classes) == 1

    def shown_truth(self, rank: Rank) -> NDArray[np.uint8]:
        """The truth of an image as it is drawn: void pixels are background."""
        truth = self.truths[rank]
        return np.where(truth == IGNORE, np.uint8(0), truth)

    def note(self, rank: Rank, method: str) -> str:
        """The score of a method on an image, in the unit and with the digits of tables."""
        score = self.choice.score(rank, method, self.seeds[method])
        return "no score" if np.isnan(score) else f"{score:.1f}"


class Inputs:
    """A study and its records; choices and predictions are made on first use, and cached."""

    def __init__(self, study: Study, records: Aggregate):
        self.study = study
        self.records = records
        self._choices: dict[str, Choice | None] = {}
        self._images: dict[str, TaskImages | None] = {}

    def choice(self, task: str) -> Choice | None:
        """The images of a task; None where no run is done, or nothing is prepared."""
        if task not in self._choices:
            try:
                self._choices[task] = choose(self.study, self.records, task)
            except ManifestError:  # records without images
                self._choices[task] = None
        return self._choices[task]

    def may_show(self, task: str) -> bool:
        """Whether figures may show a task's images: they are generated, or their terms allow it."""
        manifest = read_manifest(Layout.of(self.study).manifest(task))
        return manifest.generated or get_benchmark(task).may_be_shown

    def images(self, task: str) -> TaskImages | None:
        """The images of a task with predictions; None without a choice, or if terms forbid it.

        Raises:
            RecordError: weights, checkpoint or images are not those of the records.
        """
        if task not in self._images:
            choice = self.choice(task)
            shown = choice is not None and self.may_show(task)
            self._images[task] = self._predict(choice) if choice and shown else None
        return self._images[task]

    def left_out(self, tasks: Sequence[str]) -> str:
        """Sentences that name the tasks whose images are not shown, and why."""
        undone = [get_benchmark(task).title for task in tasks if self.choice(task) is None]
        barred = [
            get_benchmark(task).title
            for task in tasks
            if self.choice(task) is not None and not self.may_show(task)
        ]
        sentences = [
            *([f"No run is done: {', '.join(undone)}."] if undone else []),
            *([f"Not shown, by the terms of the data: {', '.join(barred)}."] if barred else []),
        ]
        return " ".join(sentences)

    def _predict(self, choice: Choice) -> TaskImages:
        binary = len(choice.benchmark.classes) == 1
        ranks = choice.distinct(RANKS)
        images, places = chosen_images(self.study, choice, ranks)
        found = TaskImages(
            choice=choice,
            ranks=ranks,
            images={r: thumbnail(images.native_image(places[r]), LONGEST) for r in ranks},
            truths={r: smaller_labels(images.native_mask(places[r]), LONGEST) for r in ranks},
            predicted={},
            seeds={},
            colours=task_colours(self.study.tasks, choice.benchmark.name),
        )
        names = trained_rows(self.study)
        for method, seed, sam in trained_sams(self.study, self.records, choice, names):
            found.seeds[method] = seed
            found.predicted[method] = {
                rank: smaller_labels(_labels(sam, images, place, binary), LONGEST)
                for rank, place in places.items()
            }
        return found


def task_colours(tasks: Sequence[str], task: str) -> tuple[str, ...]:
    """The colours of a task's foreground classes, which no other of these tasks has."""
    earlier = tasks[: list(tasks).index(task)]
    before = sum(len(get_benchmark(name).classes) - 1 for name in earlier)
    return class_colours(len(get_benchmark(task).classes) - 1, before)


def chosen_images(
    study: Study, choice: Choice, ranks: Sequence[Rank]
) -> tuple[SegmentationDataset, dict[Rank, int]]:
    """The test set of a choice, and the indices of its images of these ranks."""
    from naslora.evaluation.predictions import test_images

    manifest = read_manifest(Layout.of(study).manifest(choice.benchmark.name))
    images = test_images(study, manifest, choice.test_set)
    places = {sample.id: index for index, sample in enumerate(images.samples)}
    return images, {rank: places[choice.chosen[rank]] for rank in ranks}


def trained_sams(
    study: Study, records: Aggregate, choice: Choice, names: Sequence[str]
) -> Iterator[tuple[str, int, Sam]]:
    """Each of these methods that is done, with its first seed that is done and the trained SAM.

    Raises:
        RecordError: weights, checkpoint or images are not those of the records.
    """
    from naslora.evaluation.loading import evaluation_device, trained_sam
    from naslora.evaluation.receipts import current_receipt
    from naslora.methods.registry import load_method_files

    load_method_files(study.method_files.values())
    task = choice.benchmark.name
    for method in names:
        seed = first_done(study, records, task, method)
        if seed is not None:
            receipt = current_receipt(study, task, method, seed)
            sam = trained_sam(study, choice.benchmark, method, seed, receipt)
            yield method, seed, sam.to(evaluation_device(study))


def _labels(sam: Sam, images: SegmentationDataset, place: int, binary: bool) -> NDArray[np.uint8]:
    """The predicted class numbers of an image at its own size; of a binary task 0 and 1."""
    import torch

    from naslora.evaluation.binary import THRESHOLD
    from naslora.evaluation.predictions import predicted_map

    sample = images.samples[place]
    with torch.inference_mode():
        prediction = sam(images[place][0][None].to(sam.pixel_mean.device))
        found: NDArray[Any] = predicted_map(prediction, (sample.height, sample.width))
    return (found > THRESHOLD).astype(np.uint8) if binary else found
