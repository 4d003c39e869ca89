"""Differences of a study from the paper's setting, which rule out verdicts on its numbers."""

from __future__ import annotations

from naslora.nas.settings import PAPER_COUNT
from naslora.paper.published import METHOD_ROWS, NAS_METHODS
from naslora.report.tables.model import Column
from naslora.results.aggregate import Aggregate
from naslora.study.settings import Study

PAPER_BACKBONE, PAPER_IMAGE_SIZE = "vit_h", 1024
PAPER_TRAINING = {
    "epochs": 40,
    "batch_size": 4,
    "learning_rate": 1e-4,
    "decay_start": 1.0,
    "weight_decay": 1e-4,
    "horizontal_flip": 0.5,
    "lambda_seg": 1.0,
    "lambda_cls": 2.0,
}
PAPER_ARCHITECTURE = {
    "start_epoch": 10,
    "alternation": "stage_wise",
    "learning_rate": 1e-3,
    "weight_decay": 1e-3,
}
# The paper leaves their cells open: both the default cell and the one with its counts are accepted.
PAPER_CELLS = NAS_METHODS


def why_sam_differs(backbone: str, image_size: int) -> list[str]:
    """How a backbone and its image size differ from the paper's; empty if they do not."""
    reasons = []
    if backbone != PAPER_BACKBONE:
        reasons.append(f"the backbone is {backbone}, not {PAPER_BACKBONE}")
    if image_size != PAPER_IMAGE_SIZE:
        reasons.append(f"images have {image_size} px, not {PAPER_IMAGE_SIZE}")
    return reasons


def why_not_comparable(study: Study, task: str) -> list[str]:
    """Differences of the study's setting of a task from the paper's; empty if there are none."""
    reasons = why_sam_differs(study.sam.backbone, study.sam.image_size)
    if study.sam.checkpoint != "official":
        reasons.append(f"the checkpoint is {study.sam.checkpoint}, not SAM's official one")
    if task in study.generated:
        reasons.append("the images are generated")
    elif task in study.bundles:
        reasons.append("the images are from a bundle, not the official archive")
    training = study.training_of(task)
    for settings, paper, prefix in (
        (training, PAPER_TRAINING, "training."),
        (training.architecture, PAPER_ARCHITECTURE, "training.architecture."),
    ):
        for name, value in paper.items():
            ours = getattr(settings, name)
            if ours != value:
                reasons.append(f"{prefix}{name} is {ours}, not {value}")
    if changed := changed_methods(study):
        reasons.append(f"method_settings changes {', '.join(changed)}")
    return reasons


def changed_methods(study: Study) -> list[str]:
    """The methods whose settings in the study match no reading of the paper."""
    return sorted(
        method
        for method, settings in study.method_settings.items()
        if settings
        and method in METHOD_ROWS
        and (settings != PAPER_COUNT or method not in PAPER_CELLS)
    )


def same_images(records: Aggregate, column: Column) -> bool:
    """Whether the records have the same number of test images as the paper."""
    counts = records.image_counts(column.task, *column.sets_counted)
    return all(count in column.test_images for count in counts)
