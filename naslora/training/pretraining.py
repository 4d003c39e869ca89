"""Training of a whole small SAM on generated images.

The official checkpoints are of backbones that take a GPU. The small ones get their weights here,
so that there is something to adapt on a CPU: all parameters are trained, on images drawn by the
benchmarks' generators and on nothing else. No real image and no image of a run is seen.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from PIL import Image
from torch import Tensor

from naslora.core.errors import DivergedError, SettingsError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.generated import drawing_of
from naslora.data.images import resized, resized_labels
from naslora.sam.building import build_sam
from naslora.sam.checkpoints import save_checkpoint
from naslora.study.layout import Layout
from naslora.study.settings import Study
from naslora.synthetic.streams import streams
from naslora.training.device import launch_fabric
from naslora.training.losses import binary_loss
from naslora.training.progress import EpochProgress

_ALONE = {"devices": 1, "num_nodes": 1, "precision": "32-true"}


def pretrain(study: Study) -> None:
    """Train the study's backbone and write it as a checkpoint with Meta's parameter names.

    A multi-class benchmark counts as foreground against background. The learning rate rises
    over the first tenth of the steps, then falls to zero along a half cosine.

    Raises:
        SettingsError: the settings ask for no images or no epochs.
        DivergedError: a loss was not finite.
        DiskError: the checkpoint cannot be written.
    """
    settings = study.pretraining
    if not settings.images or not settings.epochs:
        raise SettingsError(
            "sam.checkpoint is pretrained, but pretraining.images or pretraining.epochs is 0",
            remedy="set both, or choose another sam.checkpoint",
        )
    fabric = launch_fabric(
        study.training.model_copy(update={**_ALONE, "threads": settings.threads})
    )
    torch.manual_seed(settings.seed)
    images, labels = _draw(study)
    sam = build_sam(study.sam.backbone, study.sam.image_size, attention=study.sam.attention)
    sam.mask_decoder.iou_prediction_head.requires_grad_(False)
    sam.prompt_encoder.requires_grad_(False)
    trained = [p for p in sam.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=0.05)
    batch = settings.batch_size
    steps = settings.epochs * -(-len(images) // batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, partial(_rate, steps=steps))
    model, wrapped = fabric.setup(sam.train(), optimiser)
    generator = torch.Generator().manual_seed(settings.seed)

    with EpochProgress(
        f"{study.sam.backbone} SAM on generated images", settings.epochs
    ) as progress:
        for _ in range(settings.epochs):
            total = 0.0
            order = torch.randperm(len(images), generator=generator)
            for chosen in (order[at : at + batch] for at in range(0, len(order), batch)):
                flip = torch.rand(len(chosen), generator=generator) < 0.5
                x, y = _flipped(images[chosen], flip), _flipped(labels[chosen], flip)
                x, y = fabric.to_device((x, y))
                loss = binary_loss(model(x), y)
                if not torch.isfinite(loss):
                    raise DivergedError(
                        f"pretraining diverged: the loss is {float(loss.detach())}",
                        remedy="lower pretraining.learning_rate",
                    )
                fabric.backward(loss)
                torch.nn.utils.clip_grad_norm_(trained, 1.0)
                wrapped.step()
                schedule.step()
                wrapped.zero_grad()
                total += float(loss.detach()) * len(chosen)
            progress.epoch({"loss": total / len(images)})
    save_checkpoint(sam, Layout.of(study).backbone())


def _draw(study: Study) -> tuple[Tensor, Tensor]:
    """Generated images (N, 3, S, S) and foreground masks (N, S, S), uint8, of all tasks."""
    size = study.sam.image_size
    images, labels = [], []
    for task in study.pretraining.tasks:
        draw = drawing_of(get_benchmark(task))
        for rng in streams(study.pretraining.seed, study.pretraining.images):
            image, mask = draw(rng)
            images.append(
                torch.from_numpy(resized(Image.fromarray(image), size).transpose(2, 0, 1).copy())
            )
            labels.append(torch.from_numpy((resized_labels(mask, size) > 0).astype("uint8")))
    return torch.stack(images), torch.stack(labels)


def _rate(step: int, steps: int) -> float:
    """Factor on the learning rate."""
    warm_up = max(1, steps // 10)
    return min(1.0, (step + 1) / warm_up) * (1 + math.cos(math.pi * step / steps)) / 2


def _flipped(batch: Tensor, flip: Tensor) -> Tensor:
    batch = batch.clone()
    batch[flip] = batch[flip].flip(-1)
    return batch
