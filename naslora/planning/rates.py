"""Seconds per image of each method's training and evaluation, and their sources."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median

from naslora.core.errors import RecordError
from naslora.core.wording import counted
from naslora.data.manifest import Manifest
from naslora.results.costs import paper_costs, schedule_seconds
from naslora.sam.backbones import BACKBONES
from naslora.study.layout import Layout
from naslora.study.records import Receipt, Record, read_receipt, read_record
from naslora.study.settings import Study
from naslora.timing.document import hardware_title, read_timings

# The epochs of the paper's Table 5 are over the 2,000 training images of ISIC 2017.
PAPER_SAM = ("vit_h", 1024)
PAPER_SOURCE = "the paper's Table 5, on a V100"
_PAPER_IMAGES = 2000
# Methods that Table 5 does not list, and the method whose rate they take; "lora" for others.
_LIKE = {"nas_lora": "nas_pc_lora"}
# Table 5 has VeRA eight times as fast as every other method, with the same forward pass.
_DOUBTFUL = frozenset({"vera"})


@dataclass(frozen=True)
class Rate:
    """Time per image on one device.

    Attributes:
        training_s: seconds per training image and epoch, averaged over the schedule.
        evaluation_s: seconds per test image.
        source: the source of both.
    """

    training_s: float
    evaluation_s: float
    source: str


def known_rates(study: Study, manifests: Mapping[str, Manifest]) -> dict[str, Rate]:
    """Rates by method or variant, as far as they are known.

    The sources, in this order: wall times of the study's own runs, of the variant or else of its
    method; measurements of the timing protocol for this model (`naslora time`); the paper's Table
    5, for SAM ViT-H at 1024 px, scaled by the multiply-adds of the image encoder for another
    official backbone or image size. A method that is in none of them takes the slowest rate of the
    first source that has any, and its `source` says so.

    Args:
        study: the study.
        manifests: of the tasks that are prepared.

    Raises:
        RecordError: a receipt or record is damaged.
    """
    sources = [_from_runs(study, manifests), *_from_timings(study), _from_paper(study)]
    rates = {}
    for name in study.run_names():
        method = study.variants[name].method if name in study.variants else name
        found = [rate for source in sources if (rate := source.get(name) or source.get(method))]
        found += [_slowest(source) for source in sources if source]
        if found:
            rates[name] = found[0]
    return rates


def _slowest(source: Mapping[str, Rate]) -> Rate:
    name = max(source, key=lambda name: source[name].training_s)
    return replace(source[name], source=f"{source[name].source}: as {name}, the slowest there")


def _from_runs(study: Study, manifests: Mapping[str, Manifest]) -> dict[str, Rate]:
    """Medians over the study's finished runs, by variant and by its method."""
    layout = Layout.of(study)
    training: dict[str, list[float]] = defaultdict(list)
    evaluation: dict[str, list[float]] = defaultdict(list)
    for task, variant, seed in study.runs():
        manifest = manifests.get(task)
        path = layout.receipt(task, variant, seed)
        if manifest is None or not path.is_file():
            continue
        receipt = read_receipt(path)
        if receipt.status != "done" or not receipt.history or not _of_this_model(study, receipt):
            continue
        names = {variant, str(receipt.settings["method"])}
        settings = receipt.settings["training"]
        devices = settings["devices"] * settings["num_nodes"]
        images = len(manifest.of("train")) * len(receipt.history)
        record = _record_of(layout, task, variant, seed)
        for name in names:
            training[name].append(devices * receipt.wall_time_s / images)
            if record is not None and record.images:
                seconds = record.evaluation_time_s / sum(record.images.values())
                evaluation[name].append(seconds)
    every = [seconds for times in evaluation.values() for seconds in times]
    unknown = "" if every else "; evaluation, not yet done, is assumed to cost as much as training"
    return {
        name: Rate(
            median(times),
            median(evaluation[name] or every or times),
            f"wall times of {counted(len(times), 'run')} of this study{unknown}",
        )
        for name, times in training.items()
    }


def _of_this_model(study: Study, receipt: Receipt) -> bool:
    sam = receipt.settings["sam"]
    return (sam["backbone"], sam["image_size"]) == (study.sam.backbone, study.sam.image_size)


def _record_of(layout: Layout, task: str, variant: str, seed: int) -> Record | None:
    path = layout.record(task, variant, seed)
    if not path.is_file():
        return None
    try:
        return read_record(path)
    except RecordError:  # for example, its per-image file is missing; the tables report it
        return None


def _from_timings(study: Study) -> list[dict[str, Rate]]:
    """Rates from the timing protocol, one mapping per measured machine."""
    timings, _ = read_timings(study)
    found = []
    for timing in timings.values():
        source = f"the timing protocol, on {hardware_title(timing.provenance.hardware)}"
        rates = {}
        for measured in timing.methods:
            training = schedule_seconds(study, measured, timing.batch_size)
            inference = measured.passes["inference"].batches[timing.batch_size].seconds
            if training and inference:
                rates[measured.method] = Rate(median(training), median(inference), source)
        found.append(rates)
    return found


def _from_paper(study: Study) -> dict[str, Rate]:
    """Rates from Table 5; methods that it does not list, or not credibly, take another's rate."""
    if BACKBONES[study.sam.backbone].checkpoint is None or study.training.accelerator == "cpu":
        return {}
    backbone, size = PAPER_SAM
    scale = BACKBONES[study.sam.backbone].multiply_adds(study.sam.image_size)
    scale /= BACKBONES[backbone].multiply_adds(size)
    source = PAPER_SOURCE
    if (study.sam.backbone, study.sam.image_size) != PAPER_SAM:
        source = f"{source}, times {scale:.2g} for the encoder's multiply-adds"
    rates = {
        method: Rate(scale * cost.epoch_s / _PAPER_IMAGES, scale * cost.image_s, source)
        for method, cost in paper_costs().items()
        if method not in _DOUBTFUL
    }
    for method in (*study.methods, *study.networks):
        like = _LIKE.get(method, "lora")
        rates.setdefault(method, replace(rates[like], source=f"{source}: as {like}"))
    return rates
