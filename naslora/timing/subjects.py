"""The models that are timed: every method on a random SAM, in training and in inference."""

from __future__ import annotations

import copy
import gc
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from naslora.core.errors import DivergedError, SettingsError
from naslora.methods.merge import merge
from naslora.methods.registry import adapt, get_method, trainable_parameters
from naslora.methods.state import save_adapter
from naslora.nas.cell import architecture_parameters
from naslora.sam.building import Sam, build_sam
from naslora.study.settings import Study
from naslora.timing.document import Form
from naslora.timing.protocol import Call, DroppedError
from naslora.training.learner import Learner
from naslora.training.loaders import Batch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_CLASSES = 1  # ISIC 2017 is binary


class Subject:
    """A method on a SAM with random weights.

    Args:
        study: its settings are those of training.
        method: one of the study's.
        fabric: device and precision.
        base: a SAM whose memory the frozen parameters share; by default they have their own.

    Attributes:
        form: the form of the method in inference, set by `finalize`.
    """

    def __init__(self, study: Study, method: str, fabric: Fabric, base: Sam | None = None):
        run = study.run(study.tasks[0], method, study.seeds[0])
        self.title = get_method(method).title
        self.form: Form = "as trained"
        shared = base is not None and get_method(method).pretrained
        self._sam = _sharing(base) if base and shared else random_sam(study, fabric)
        adapt(self._sam, run.method, run.method_settings, seed=run.seed)
        if shared:
            for parameter in trainable_parameters(self._sam).values():
                parameter.data = parameter.data.clone()
        self._sam.image_encoder.gradient_checkpointing = run.training.gradient_checkpointing
        self._architecture = run.training.architecture
        self._device = fabric.device
        self._learner: Learner | None = Learner(fabric, run.training, self._sam, _CLASSES)
        self._backward = fabric.backward

    def training(self, batch: Batch, *, searching: bool) -> tuple[Call, int]:
        """Training as a call: loss, gradients and the optimisers' steps.

        Args:
            batch: images and labels on the CPU, as a loader returns them.
            searching: whether alpha is updated too.

        Returns:
            The call, and the number of images that it processes: a batch; when searching, all
            batches from one update of alpha to the next. The call raises `DroppedError` if there is
            not enough memory, or the loss is not finite.
        """
        learner, schedule = self._learner, self._architecture
        assert learner is not None
        epoch = schedule.start_epoch + searching  # alpha is fixed up to and including start_epoch
        steps = schedule.every_n_steps if searching else 1

        def loss() -> Tensor:
            value = learner.loss(batch)
            if not bool(value.isfinite()):
                raise DroppedError("diverged")
            return value

        def iterate() -> None:
            for step in range(1, steps + 1):
                learner.optimiser.step(epoch, step, loss, backward=self._backward)

        return self._guarded(iterate), steps * len(batch[0])

    def finalize(self) -> int:
        """Save the adapter, then merge or collapse the method for inference, if that is exact.

        Returns:
            The size of the saved file, bytes.
        """
        self._learner = None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "adapter.safetensors"
            save_adapter(self._sam, path)
            size = path.stat().st_size
        self.form = _merged(self._sam)
        self._sam.eval()
        return size

    def inference(self, images: Tensor) -> Call:
        """One forward pass of the whole model as a call, from images on the CPU to mask logits."""

        @torch.inference_mode()
        def predict() -> None:
            self._sam(images.to(self._device, non_blocking=True))

        return self._guarded(predict)

    def _guarded(self, call: Call) -> Call:
        def guarded() -> None:
            problem = None
            try:
                call()
            except torch.OutOfMemoryError:
                problem = "out of memory"
            except DivergedError:
                problem = "diverged"
            if problem is not None:  # outside the handlers, whose traceback would keep tensors
                self._sam.zero_grad(set_to_none=True)
                free_memory()
                raise DroppedError(problem)

        return guarded


def searches(study: Study, method: str) -> bool:
    """Whether a method has architecture parameters alpha."""
    run = study.run(study.tasks[0], method, study.seeds[0])
    with torch.device("meta"):
        sam = build_sam(study.sam.backbone, study.sam.image_size, classes=_CLASSES)
        adapt(sam, run.method, run.method_settings, seed=run.seed)
    return bool(architecture_parameters(sam))


def random_sam(study: Study, fabric: Fabric) -> Sam:
    """The study's SAM with random weights, on the device."""
    with torch.random.fork_rng(devices=[]), torch.device(fabric.device):
        torch.default_generator.manual_seed(study.seeds[0])
        return build_sam(
            study.sam.backbone,
            study.sam.image_size,
            classes=_CLASSES,
            attention=study.sam.attention,
        )


def random_batch(study: Study, size: int) -> Batch:
    """Images (size, 3, S, S) and labels (size, S, S) of noise, uint8, on the CPU."""
    side = study.sam.image_size
    generator = torch.Generator().manual_seed(study.seeds[0])
    images = torch.randint(0, 256, (size, 3, side, side), dtype=torch.uint8, generator=generator)
    return images, (images[:, 0] > 127).to(torch.uint8)


def free_memory() -> None:
    """Release memory that no tensor uses any more."""
    gc.collect()
    torch.cuda.empty_cache()


def _sharing(base: Sam) -> Sam:
    """A SAM with parameters of its own that share the memory of another's.

    Otherwise, a dozen ViT-H models would not fit on one GPU. Parameters that a method trains get
    memory of their own.
    """
    memo = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in base.parameters()}
    return copy.deepcopy(base, memo)


def _merged(sam: Sam) -> Form:
    try:
        merge(sam, "exact")
    except SettingsError:
        try:
            merge(sam, "collapsed")
        except SettingsError:  # neither is possible without a change of the outputs
            return "as trained"
        return "collapsed"
    return "merged"
