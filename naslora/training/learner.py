"""An adapted SAM in training: on its device, in its precision, with the loss of its task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from naslora.core.errors import DivergedError
from naslora.methods.auxiliary import collect_auxiliary_losses
from naslora.nas.alternation import AlternatingOptimizer
from naslora.sam.building import Sam
from naslora.sam.mask_decoder import Prediction
from naslora.study.settings import TrainingSettings
from naslora.training.embeddings import embed, has_fixed_embeddings
from naslora.training.labels import check_labels
from naslora.training.loaders import Batch
from naslora.training.losses import task_loss

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Learner:
    """A SAM that Fabric has set up, and the optimiser of its trainable parameters.

    Batches have images (B, 3, S, S), uint8, or stored embeddings (B, C, S/p, S/p), and labels
    (B, S, S), uint8, all on the CPU.

    Args:
        fabric: device, precision and processes.
        settings: of the training.
        sam: with the method on it. It is moved to the device.
        classes: 1 for a binary task, else the number of classes with the background.

    Attributes:
        sam: the model.
        settings: of the training.
        classes: of the task.
        optimiser: of w and alpha.
        class_weights: of the losses, on the device; None for none.
    """

    def __init__(self, fabric: Fabric, settings: TrainingSettings, sam: Sam, classes: int):
        self.sam = sam
        self.settings = settings
        self.classes = classes
        self.optimiser = AlternatingOptimizer(
            sam, settings, keep_frozen_gradients=fabric.world_size > 1
        )
        self.class_weights: Tensor | None = None
        self._fabric = fabric
        self._modules = tuple(sam.modules())
        self._fixed_embeddings = has_fixed_embeddings(fabric, sam)
        self._model = fabric.setup_module(sam.train())
        self._model.mark_forward_method("decode")
        self.optimiser.wrap(fabric.setup_optimizers)

    def loss(self, batch: Batch) -> Tensor:
        """The loss of a training batch, including auxiliary losses of the method's layers."""
        images, labels = batch
        check_labels(labels, self.classes)
        images, labels = self._on_device(images), self._on_device(labels)
        prediction: Prediction
        if not self._fixed_embeddings:
            prediction = self._model(images)
        else:
            prediction = self._model.decode(self._embeddings(images))
        loss = self._task_loss(prediction, labels)
        auxiliary = collect_auxiliary_losses(self._modules)
        return loss if auxiliary is None else loss + auxiliary

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> tuple[Prediction, Tensor, Tensor]:
        """Predict a batch in evaluation mode.

        The processes of a distributed run may call it different numbers of times.

        Returns:
            The prediction, the labels, and the loss of the task, all on the device.
        """
        images, labels = batch
        check_labels(labels, self.classes)
        images, labels = self._on_device(images), self._on_device(labels)
        with self._fabric.autocast():
            prediction = self.sam.decode(self._embeddings(images))
        return prediction, labels, self._task_loss(prediction, labels)

    def _task_loss(self, prediction: Prediction, labels: Tensor) -> Tensor:
        return task_loss(prediction, labels, self.classes, self.settings, self.class_weights)

    def _embeddings(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8:
            return images
        if self._fixed_embeddings:
            return embed(self._fabric, self.sam, images)
        with self._fabric.autocast():
            return self.sam.encode(images)

    def _on_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._fabric.device, non_blocking=True)


def diverged(what: str) -> DivergedError:
    """The error for a loss or a weight that is not finite."""
    return DivergedError(
        f"training diverged: {what}",
        remedy="lower training.learning_rate, or train with precision 32-true",
    )
