"""Test images of one task with what methods predict, chosen by rule and predicted anew."""

from __future__ import annotations

from pathlib import Path

from naslora.core.errors import ManifestError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.methods.registry import get_method, load_method_files
from naslora.report.figures.choice import choose, first_done
from naslora.report.figures.class_maps import draw_class_maps
from naslora.report.figures.outlines import draw_outlines
from naslora.report.figures.predictions import chosen_images, predict
from naslora.report.figures.style import figure, save_figure, say
from naslora.results.aggregate import Aggregate
from naslora.study.settings import Study


def draw_visual_comparison(
    study: Study, records: Aggregate, path: Path, task: str | None = None
) -> None:
    """Draw the best, median and worst test image of a task, with all methods that are done.

    Outlines for a binary task, class maps for another; for the choice see `choose`. Predictions
    are those of each method's first seed that is done.

    Args:
        study: the study.
        records: its records.
        path: where to write the PNG; the PDF lies beside it.
        task: by default the study's first binary task, or if it has none its first.

    Raises:
        RecordError: weights, checkpoint or images are not those of the records.
        DiskError: a file cannot be written.
    """
    load_method_files(study.method_files.values())
    task = task or _default_task(study)
    try:
        choice = choose(study, records, task)
    except ManifestError:
        choice = None  # records without images
    if choice is None:
        with figure(5, 1.2) as canvas:
            say(canvas, f"Study {study.study}: no run on {task} is done here.")
            save_figure(canvas, path)
        return
    images, indices = chosen_images(study, choice, choice.distinct)
    done = {
        method: seed
        for method in study.methods
        if (seed := first_done(study, records, task, method)) is not None
    }
    predictions = {
        get_method(method).title: predict(study, choice, method, seed, images, indices)
        for method, seed in done.items()
    }
    missing = [method for method in study.methods if method not in done]
    caption = choice.caption + (f"; not done: {', '.join(missing)}" if missing else "")
    pictures = [images.native_image(i) for i in indices]
    truths = [images.native_mask(i) for i in indices]
    labels, classes = list(choice.distinct), choice.benchmark.classes
    if len(classes) == 1:
        draw_outlines(pictures, truths, predictions, labels, path, caption)
    else:
        draw_class_maps(pictures, truths, predictions, labels, classes, path, caption)


def _default_task(study: Study) -> str:
    binary = [task for task in study.tasks if len(get_benchmark(task).classes) == 1]
    return (binary or study.tasks)[0]
