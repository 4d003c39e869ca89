"""Time of training and inference by method, from the timing protocol or else from records.

The wall times in records are those of jobs that shared a machine, and include loading, metrics and
checkpoints; they show how long a study took, and are not a benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from naslora.paper.published import printed
from naslora.results.aggregate import Aggregate
from naslora.study.layout import Layout
from naslora.study.records import read_record
from naslora.study.settings import Study
from naslora.timing.document import Measurement, PassName, Timing, hardware_title, read_timings

# By row of the paper's Table 5: our method, and its pass of training.
PAPER_ROWS: Mapping[str, tuple[str, PassName]] = {
    "BitFit": ("bitfit", "training"),
    "Adapter": ("sam_adapter", "training"),
    "VPT": ("vpt", "training"),
    "LoRA": ("lora", "training"),
    "Conv-LoRA": ("conv_lora", "training"),
    "DoRA": ("dora", "training"),
    "VeRA": ("vera", "training"),
    "NAS-PC-LoRA (update w)": ("nas_pc_lora", "training"),
    "NAS-PC-LoRA (update w and alpha)": ("nas_pc_lora", "searching"),
}
PAPER_EPOCHS, PAPER_START_EPOCH = 40, 10


@dataclass(frozen=True)
class Cost:
    """Seconds per epoch of training, and seconds per image of inference.

    Training is the mean over the schedule, with and without updates of alpha.

    Attributes:
        epoch_s: seconds per epoch.
        image_s: seconds per image.
        epoch_range, image_range: minimum and maximum of the measurements.
    """

    epoch_s: float
    image_s: float
    epoch_range: tuple[float, float]
    image_range: tuple[float, float]

    @classmethod
    def of(
        cls,
        epochs: Sequence[float],
        images: Sequence[float],
        middle: Callable[[Sequence[float]], float],
    ) -> Cost:
        """The cost of several measurements, by their mean or median."""
        return cls(
            middle(epochs),
            middle(images),
            (min(epochs), max(epochs)),
            (min(images), max(images)),
        )


@dataclass(frozen=True)
class Costs:
    """Costs by method, and their source.

    Attributes:
        by_method: without methods that have no numbers.
        source: where they are from; a phrase.
        spread: the statistics that a cost and its range are; a phrase.
        inference: what `image_s` measures.
        problems: files that could not be used, and why.
    """

    by_method: dict[str, Cost]
    source: str
    spread: str
    inference: str
    problems: tuple[str, ...] = ()


def read_costs(study: Study, records: Aggregate, task: str) -> Costs:
    """Costs of the study's methods: from timings if there are any, else from records.

    Of several machines, the first with a GPU is used, else the first.

    Args:
        study: the study.
        records: its records.
        task: the task whose records are used if nothing was timed.

    Raises:
        RecordError: a record changed since the records were read.
    """
    timings, left_out = read_timings(study)
    problems = tuple(f"{name}: {what}" for name, what in left_out.items())
    for timing in timings.values():
        measured = {}
        for measurement in timing.methods:
            training = schedule_seconds(study, measurement, timing.batch_size)
            inference = measurement.passes["inference"].batches[timing.batch_size].seconds
            if measurement.method in study.methods and training and inference:
                epochs = [seconds * timing.images_per_epoch for seconds in training]
                measured[measurement.method] = Cost.of(epochs, inference, median)
        if measured:
            machine = hardware_title(timing.provenance.hardware)
            source = f"measured by the timing protocol on {machine}"
            spread = "median, minimum and maximum of the repeats"
            return Costs(measured, source, spread, "inference", problems)
    found = {
        method: cost
        for method in study.methods
        if (cost := _from_records(study, records, task, method)) is not None
    }
    source = f"wall times of the runs on {task}, jobs sharing the machine: not a benchmark"
    spread = "mean, minimum and maximum over seeds"
    return Costs(found, source, spread, "evaluation, metrics included", problems)


def machine_titles(timings: Mapping[str, Timing]) -> dict[str, str]:
    """The hardware of each file of timings, with the file's name where that is ambiguous."""
    titles = {file: hardware_title(t.provenance.hardware) for file, t in timings.items()}
    named = list(titles.values())
    return {
        file: title if named.count(title) == 1 else f"{title} ({file})"
        for file, title in titles.items()
    }


def schedule_seconds(study: Study, measurement: Measurement, batch_size: int) -> list[float]:
    """Training seconds per image, mean over the study's epochs with and without updates of alpha.

    One number per repeat; empty if a pass is not done.
    """

    def seconds(name: PassName) -> Sequence[float]:
        return measurement.passes[name].batches[batch_size].seconds

    training = seconds("training")
    if "searching" not in measurement.passes:
        return list(training)
    searching = seconds("searching")
    if not training or not searching:
        return []
    epochs = study.training.epochs
    start = min(study.training.architecture.start_epoch, epochs)
    return [
        (start * one + (epochs - start) * both) / epochs
        for one, both in zip(training, searching, strict=True)
    ]


def paper_costs() -> dict[str, Cost]:
    """Table 5 by method; NAS-PC-LoRA as the mean over the paper's epochs, 10 of 40 without alpha.

    An iteration is one image.
    """
    minutes: dict[tuple[str, PassName], float] = {}
    rates: dict[str, float] = {}
    for row, (method, training) in PAPER_ROWS.items():
        if number := printed("5", row, "train_min_per_epoch"):
            minutes[method, training] = number.value
        if number := printed("5", row, "inference_iter_per_s"):
            rates[method] = number.value
    costs = {}
    for method, rate in rates.items():
        without = minutes[method, "training"]
        searching = minutes.get((method, "searching"), without)
        mean = PAPER_START_EPOCH * without + (PAPER_EPOCHS - PAPER_START_EPOCH) * searching
        costs[method] = Cost.of([60 * mean / PAPER_EPOCHS], [1 / rate], fmean)
    return costs


def _from_records(study: Study, records: Aggregate, task: str, method: str) -> Cost | None:
    """The mean over a method's runs that are done."""
    losses = records.losses[
        (records.losses["task"] == task) & (records.losses["variant"] == method)
    ].dropna(subset=["seconds"])
    epochs, images = [], []
    for seed in study.seeds:
        seconds = losses.loc[losses["seed"] == seed, "seconds"]
        if records.status(task, method, seed) == "done" and len(seconds):
            record = read_record(Layout.of(study).record(task, method, seed))
            epochs.append(float(seconds.mean()))
            images.append(record.evaluation_time_s / sum(record.images.values()))
    return Cost.of(epochs, images, fmean) if epochs else None
