"""Every method's steps in training, in each precision, on the CPU and on a GPU."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from naslora.evaluation.evaluate import evaluate
from naslora.methods.registry import adapt, method_names, trainable_parameters
from naslora.methods.state import load_adapter, save_adapter
from naslora.sam.building import Sam, build_sam
from naslora.study.layout import Layout
from naslora.study.settings import Study, load_study
from naslora.training.device import launch_fabric
from naslora.training.learner import Learner
from naslora.training.losses import task_loss
from naslora.training.resume.state import Progress, capture, restore
from naslora.training.train import train

METHODS = method_names()
# Conv-LoRA waits for the device, to know which expert gets how many maps.
UNROUTED = [name for name in METHODS if name != "conv_lora"]
GPU = pytest.param("cuda", marks=pytest.mark.gpu)
TRAINING = load_study(
    "rehearsal",
    {"training.architecture.start_epoch": 0},
    Path(__file__).parents[2] / "config",
).training
SIZE = 64


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Convolutions in full single precision, and torch's settings as they were."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


class Training:
    """A method on a tiny SAM, in training on a batch of noise with blobs."""

    def __init__(
        self,
        method: str,
        device: str,
        precision: str = "32-true",
        *,
        classes: int = 1,
        checkpointing: bool = False,
        seed: int = 0,
    ):
        changes = {"accelerator": device, "precision": precision, "threads": 1}
        self.settings = TRAINING.model_copy(update=changes)
        self.fabric = launch_fabric(self.settings)
        torch.manual_seed(seed)
        sam = build_sam("tiny", SIZE, classes=classes)
        adapt(sam, method, seed=seed)
        sam.image_encoder.gradient_checkpointing = checkpointing
        self.learner = Learner(self.fabric, self.settings, sam, classes)
        draw = torch.Generator().manual_seed(7)
        images = torch.randint(0, 256, (2, 3, SIZE, SIZE), generator=draw, dtype=torch.uint8)
        labels = torch.zeros(2, SIZE, SIZE, dtype=torch.uint8)
        labels[:, 10:40, 20:50] = 1
        labels[1, 45:, :15] = classes - 1
        images[:, 0][labels > 0] = 255
        self.batch = images, labels
        self.steps = 0

    @property
    def sam(self) -> Sam:
        return self.learner.sam

    def step(self) -> Tensor:
        """One step of Algorithm 1 in its second phase; returns the loss."""
        self.steps += 1
        optimiser = self.learner.optimiser
        with optimiser.weights_step(1, self.steps):
            loss = self.learner.loss(self.batch)
            self.fabric.backward(loss)
        if optimiser.second_pass(1, self.steps):
            with optimiser.alpha_step():
                self.fabric.backward(self.learner.loss(self.batch))
        return loss.detach()

    def gradients(self) -> tuple[Tensor, dict[str, Tensor]]:
        torch.manual_seed(1)
        loss = self.learner.loss(self.batch)
        self.fabric.backward(loss)
        found = trainable_parameters(self.sam)
        return loss.detach(), {n: p.grad for n, p in found.items() if p.grad is not None}

    def weights(self) -> dict[str, Tensor]:
        return {n: p.detach().cpu().clone() for n, p in trainable_parameters(self.sam).items()}


def near(some: dict[str, Tensor], others: dict[str, Tensor], tolerance: float) -> None:
    assert some.keys() == others.keys()
    for name, tensor in some.items():
        other = others[name].cpu()
        scale = max(float(other.abs().max()), 1e-3)
        assert float((tensor.cpu() - other).abs().max()) <= tolerance * scale, name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("device", "precision"),
    [
        ("cpu", "bf16-mixed"),
        pytest.param("cuda", "32-true", marks=pytest.mark.gpu),
        pytest.param("cuda", "bf16-mixed", marks=pytest.mark.gpu),
        pytest.param("cuda", "16-mixed", marks=pytest.mark.gpu),
    ],
)
def test_steps_lower_the_loss_in_every_precision(method: str, device: str, precision: str) -> None:
    reference = Training(method, "cpu")
    with torch.no_grad():
        full = reference.learner.loss(reference.batch)
    training = Training(method, device, precision)
    before = training.weights()
    # In half precision the first steps may be left out, until the gradients' scale fits.
    losses = torch.stack([training.step() for _ in range(16 if precision == "16-mixed" else 5)])
    assert losses.isfinite().all()
    if method not in ("mona", "conv_lora"):  # which draw random numbers
        assert float(losses[0]) == pytest.approx(float(full), rel=0.05)
    assert losses[-1] < losses[0]
    after = training.weights()
    assert all(tensor.isfinite().all() for tensor in after.values())
    assert all(tensor.dtype == torch.float32 for tensor in after.values())
    assert any(not torch.equal(after[name], before[name]) for name in after)


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_a_multiclass_step(device: str) -> None:
    training = Training("nas_pc_lora", device, "bf16-mixed", classes=4)
    losses = torch.stack([training.step() for _ in range(5)])
    assert losses.isfinite().all()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("device", ["cpu", GPU])
def test_checkpointing_changes_no_gradient(method: str, device: str) -> None:
    (loss, gradients), (other_loss, others) = (
        Training(method, device, checkpointing=checkpointing).gradients()
        for checkpointing in (True, False)
    )
    tolerance = 0.0 if device == "cpu" else 1e-4
    near({"loss": loss, **gradients}, {"loss": other_loss, **others}, tolerance)


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_loss_and_gradients_on_a_gpu_are_those_of_the_cpu(method: str) -> None:
    (loss, gradients), (other_loss, others) = (
        Training(method, device).gradients() for device in ("cuda", "cpu")
    )
    if method in ("mona", "conv_lora"):  # whose random numbers are another generator's there
        assert float(loss) == pytest.approx(float(other_loss), rel=0.1)
        return
    near({"loss": loss, **gradients}, {"loss": other_loss, **others}, 1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("device", "precision"),
    [("cpu", "32-true"), pytest.param("cuda", "16-mixed", marks=pytest.mark.gpu)],
)
def test_a_restored_state_goes_on_as_it_would_have(
    method: str, device: str, precision: str
) -> None:
    first = Training(method, device, precision)
    first.step()
    live = capture(first.fabric, first.sam, first.learner.optimiser, Progress())
    state = copy.deepcopy(live)
    first.step()
    other = Training(method, device, precision)
    for _ in range(2):  # so that it has another state
        other.step()
    restore(state, other.fabric, other.sam, other.learner.optimiser)
    other.steps = 1
    other.step()
    near(other.weights(), first.weights(), 0.0 if device == "cpu" else 1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("device", ["cpu", GPU])
def test_weights_saved_there_load_on_the_cpu(method: str, device: str, tmp_path: Path) -> None:
    training = Training(method, device)
    training.step()
    save_adapter(training.sam, tmp_path / "adapter.safetensors")
    torch.manual_seed(0)
    loaded = build_sam("tiny", SIZE)
    load_adapter(loaded, tmp_path / "adapter.safetensors")
    images = training.batch[0]
    with torch.no_grad():
        masks = loaded.eval()(images).masks
        theirs = training.sam.eval()(images.to(training.fabric.device)).masks
    near({"masks": theirs}, {"masks": masks}, 0.0 if device == "cpu" else 1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_evaluation_on_a_gpu_is_that_of_the_cpu(
    method: str, copied: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    training = {"epochs": 1, "accelerator": "auto", "precision": "bf16-mixed"}
    study = copied({"methods": [method], "training": training})
    receipt = train(study, "kvasir", method, 0)
    assert "gpu" in receipt.provenance.hardware
    metrics = []
    for gpu in (True, False):
        Layout.of(study).record("kvasir", method, 0).unlink(missing_ok=True)
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        metrics.append(evaluate(study, "kvasir", method, 0).metrics["test"])
    assert metrics[0] == pytest.approx(metrics[1], abs=2e-3)


@pytest.mark.parametrize("method", UNROUTED)
def test_a_step_reads_nothing_from_the_device(method: str) -> None:
    """On the device meta, which has shapes and no values, whatever needs a value fails."""
    sam = build_sam("tiny", SIZE)
    adapt(sam, method)
    sam.to("meta").train()
    images = torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8, device="meta")
    labels = torch.zeros(2, SIZE, SIZE, dtype=torch.uint8, device="meta")
    loss = task_loss(sam(images), labels, 1, TRAINING)
    loss.backward()
    assert loss.shape == ()
    assert any(p.grad is not None for p in trainable_parameters(sam).values())


@pytest.mark.gpu
@pytest.mark.parametrize("method", UNROUTED)
def test_a_step_does_not_wait_for_the_gpu(method: str) -> None:
    training = Training(method, "cuda", "bf16-mixed")
    images, labels = training.batch
    training.batch = images.pin_memory(), labels.pin_memory()
    training.step()  # the optimisers' state is made
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        training.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_batches_are_pinned_for_a_gpu(
    device: str, prepared_study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    from naslora.data.manifest import read_manifest
    from naslora.training.loaders import build_loaders

    study, layout = prepared_study, Layout.of(prepared_study)
    training = Training("lora", device)
    loaders, _ = build_loaders(
        training.fabric,
        study.run("kvasir", "lora", 0),
        read_manifest(layout.manifest("kvasir")),
        layout.prepared("kvasir"),
        layout.resized("kvasir"),
        training.sam,
        alpha_data="batch",
    )
    assert loaders.validation is not None
    batches: list[Any] = [next(iter(loaders.weights.epoch(1))), next(iter(loaders.validation))]
    pinned = {tensor.is_pinned() for batch in batches for tensor in batch}
    assert pinned == {device == "cuda"}
