"""Training of a whole small SAM on generated scenes, as SAM was trained.

The official checkpoints are for backbones that need a GPU. The weights of the small ones, which can
be adapted on a CPU, come from here. All parameters are trained, on scenes that belong to no
benchmark's domain (`naslora.synthetic.scenes`), so no real image and no image of a run is seen.
"""

from __future__ import annotations

import json
import math
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from naslora import __version__
from naslora.core.errors import DivergedError, SettingsError, StoppedError
from naslora.core.files import canonical_json, sha256, write_json
from naslora.sam.checkpoints import load_checkpoint, save_checkpoint
from naslora.study.layout import Layout
from naslora.study.sections import PretrainingSettings
from naslora.study.settings import Study
from naslora.training.device import launch_fabric
from naslora.training.pending import READ_EVERY, PendingLosses
from naslora.training.pretraining.batches import SceneBatch, SceneBatches, held_out
from naslora.training.pretraining.losses import foreground_loss, prompt_loss
from naslora.training.pretraining.model import PromptableSam
from naslora.training.pretraining.prompts import CORNER, draw_prompts, error_points
from naslora.training.pretraining.validation import validate
from naslora.training.progress import EpochProgress
from naslora.training.resume.checkpoints import Checkpoints
from naslora.training.resume.locking import RunLock
from naslora.training.resume.signals import StopRequests

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_ONE_PROCESS = {"devices": 1, "num_nodes": 1}
_CLIP = 1.0  # largest norm of a step's gradient
_CORRECTED = 2  # one prompt in two gets a second click


def pretrain(study: Study) -> list[dict[str, float]]:
    """Train the study's backbone and write it as a checkpoint with Meta's parameter names.

    Beside it, `<name>.json` holds the settings and the learning curve, and those of the pretraining
    that it started from. A pretraining that was stopped continues from its last checkpoint; on a
    CPU the result is the same as without the stop.

    Returns:
        The learning curve: for every `validate_every` steps, the mean losses and, by prompt, the
        mean IoU on held-out scenes.

    Raises:
        SettingsError: the settings ask for no scenes or no steps.
        DivergedError: a loss was not finite.
        StoppedError: a signal asked to stop.
        LockError: another process is pretraining the backbone, or has taken it over.
        DiskError: the checkpoint cannot be written.
    """
    settings = study.pretraining
    if not settings.scenes or not settings.steps:
        raise SettingsError(
            "sam.checkpoint is pretrained, but pretraining.scenes or pretraining.steps is 0",
            remedy="set both, or choose another sam.checkpoint",
        )
    fabric = launch_fabric(
        study.training.model_copy(
            update={**_ONE_PROCESS, "threads": settings.threads, "precision": settings.precision}
        )
    )
    lock = RunLock.acquire(Layout.of(study).backbone().parent)
    try:
        with StopRequests() as signals:
            return _Pretraining(study, fabric, lock).train(signals)
    finally:
        lock.release()


class _Pretraining:
    """Model, optimiser and learning curve of a pretraining."""

    def __init__(self, study: Study, fabric: Fabric, lock: RunLock):
        settings = study.pretraining
        self._settings, self._fabric, self._lock = settings, fabric, lock
        self._path = Layout.of(study).backbone()
        size = study.sam.image_size
        torch.manual_seed(settings.seed)
        self._model = PromptableSam(study.sam.backbone, size, study.sam.attention)
        start = None
        if settings.start is not None:
            start = load_checkpoint(self._model.sam, settings.start)
        self._about = {
            "settings": settings.recorded(),
            "backbone": study.sam.backbone,
            "image_size": size,
            "start": start,
            "naslora": __version__,
            "torch": torch.__version__,
        }
        self._checkpoints = Checkpoints(
            self._path.parent, {"pretraining": canonical_json(self._about)}
        )
        self._batches = SceneBatches(
            settings.scenes, size, settings.seed, settings.batch_size, self._path.parent
        )
        self._held_out = held_out(settings.seed, settings.validation_scenes, size)
        self._parameters = list(self._model.parameters())
        self._optimiser = torch.optim.AdamW(
            self._parameters,
            lr=settings.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=settings.weight_decay,
        )
        self._model.to(fabric.device)
        self._step = 0
        self._curve: list[dict[str, float]] = []
        self._losses: list[dict[str, float]] = []
        self._pending = PendingLosses(fabric, _diverged)

    def train(self, signals: StopRequests) -> list[dict[str, float]]:
        """Train to the end, or to a signal, and write the results."""
        settings = self._settings
        state = self._checkpoints.load()
        if state is not None:
            self._restore(state)
        every = settings.validate_every
        parts = -(-settings.steps // every)
        title = f"{self._about['backbone']} SAM on generated scenes"
        saved = time.perf_counter()
        done = self._step // every
        with EpochProgress(title, parts, done=done, noun="part") as progress:
            while self._step < settings.steps:
                self._train_step()
                self._step += 1
                if self._step % READ_EVERY == 0:
                    self._pending.read()
                if self._step % every == 0 or self._step == settings.steps:
                    self._curve.append(self._measured())
                    progress.epoch(self._curve[-1])
                if signals.received is not None:
                    self._save()
                    raise StoppedError(
                        f"pretraining was stopped by {signals.received}"
                        f" after step {self._step} of {settings.steps}",
                        remedy="run the same command again: it goes on from there",
                    )
                if time.perf_counter() - saved >= 60 * settings.checkpoint_minutes:
                    self._save()
                    saved = time.perf_counter()
        with self._lock.guard():
            save_checkpoint(self._model.sam, self._path)
            document = {**self._about, "sha256": sha256(self._path), "curve": self._curve}
            if earlier := _earlier(self._settings.start):
                document["earlier"] = earlier
            write_json(self._path.with_suffix(".json"), document)
            self._checkpoints.remove()
        return self._curve

    def _train_step(self) -> None:
        """Update all parameters once. The losses stay on the device, so that nothing waits."""
        settings, step = self._settings, self._step
        factor = rate(step, settings.warm_up, settings.steps)
        for group in self._optimiser.param_groups:
            group["lr"] = settings.learning_rate * factor
        with self._fabric.autocast():
            losses = step_losses(
                self._model, self._batches[step], settings, step, self._fabric.device
            )
        self._fabric.backward(torch.stack(list(losses.values())).sum())
        torch.nn.utils.clip_grad_norm_(self._parameters, _CLIP)
        self._optimiser.step()
        self._optimiser.zero_grad()
        values: dict[str, float] = {}
        self._losses.append(values)
        for name, loss in losses.items():
            self._pending.add(loss, partial(values.__setitem__, name), f"step {step + 1}")

    def _measured(self) -> dict[str, float]:
        """The mean losses since the last call, and the model's current scores."""
        self._pending.read()
        names = self._losses[0]
        means = {
            name: math.fsum(x[name] for x in self._losses) / len(self._losses) for name in names
        }
        self._losses = []
        scores = validate(self._model, self._held_out)
        return {"step": float(self._step), "loss": sum(means.values()), **means, **scores}

    def _save(self) -> None:
        state = self._state()
        with self._lock.guard():
            self._checkpoints.save(self._step, state)

    def _state(self) -> dict[str, Any]:
        self._pending.read()
        return {
            "step": self._step,
            "curve": self._curve,
            "losses": self._losses,
            "model": self._model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._step, self._curve, self._losses = state["step"], state["curve"], state["losses"]
        self._model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])


def _diverged(what: str) -> DivergedError:
    return DivergedError(f"pretraining diverged: {what}", remedy="lower pretraining.learning_rate")


def _earlier(start: Path | None) -> dict[str, Any] | None:
    """How the weights to start from were pretrained, if the file beside them says so."""
    if start is None or not start.with_suffix(".json").is_file():
        return None
    about: dict[str, Any] = json.loads(start.with_suffix(".json").read_text(encoding="utf-8"))
    return about if about.get("sha256") == sha256(start) else None


def rate(step: int, warm_up: int, steps: int) -> float:
    """The factor on the learning rate: linear warm-up, then half a cosine down to zero."""
    return min(1.0, (step + 1) / max(warm_up, 1)) * (1 + math.cos(math.pi * step / steps)) / 2


def step_losses(
    model: PromptableSam,
    batch: SceneBatch,
    settings: PretrainingSettings,
    step: int,
    device: torch.device,
) -> dict[str, Tensor]:
    """The losses of a step by name; their sum is trained.

    Each image is embedded once for all of its prompts. Prompts alternate between clicks and boxes;
    one in two then gets another click, on a wrong pixel, together with the mask to correct.

    Args:
        model: to train.
        batch: scenes.
        settings: `objective` says which losses there are, `prompts` how many an image gets.
        step: the prompts are drawn from the seed and this number.
        device: of the model.
    """
    embeddings = model.encode(batch.images.to(device))
    losses: dict[str, Tensor] = {}
    if settings.objective != "prompt_free":
        rng = np.random.default_rng([settings.seed, 3, step])
        prompts, masks = draw_prompts(rng, list(batch.instances), settings.prompts)
        predicted = model(embeddings, prompts.to(device))
        size = (predicted.logits.shape[-2], predicted.logits.shape[-1])
        target = shrunk(masks, size).to(device)
        boxes = (prompts.kinds == CORNER).any(1).to(device)
        losses["prompt_loss"], answers = prompt_loss(predicted, target, boxes)
        losses["prompt_loss"] = losses["prompt_loss"] * 2 / 3

        first = torch.arange(len(masks)).view(len(batch.images), -1)
        some = first[:, : -(-settings.prompts // _CORRECTED)].flatten()
        answers = answers.detach()[some]
        full = F.interpolate(
            answers[:, None], masks.shape[-2:], mode="bilinear", align_corners=False
        )
        points, kinds = error_points(rng, (full[:, 0] > 0).cpu().numpy(), masks[some.numpy()])
        again = prompts.chosen(some).corrected(points, kinds, answers.cpu()).to(device)
        single = torch.ones(len(some), dtype=torch.bool, device=device)
        corrected, _ = prompt_loss(model(embeddings, again), target[some.to(device)], single)
        losses["correction_loss"] = corrected / 3
    if settings.objective != "promptable":
        logits = model.without_prompts(embeddings)
        target = shrunk(batch.foreground, (logits.shape[-2], logits.shape[-1])).to(device)
        losses["prompt_free_loss"] = foreground_loss(logits, target)
    return losses


def shrunk(masks: NDArray[np.bool_], size: tuple[int, int]) -> Tensor:
    """Masks (N, S, S) at a lower resolution: the share of each pixel that they cover."""
    return F.adaptive_avg_pool2d(torch.from_numpy(masks.astype(np.float32)), size)
