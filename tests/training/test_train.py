from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from naslora.core.errors import DiskError, DivergedError, RecordError, SettingsError
from naslora.core.files import sha256
from naslora.data.dataset import SegmentationDataset
from naslora.data.manifest import read_manifest
from naslora.evaluation.evaluate import evaluate
from naslora.methods.registry import adapt
from naslora.nas.alternation import AlternatingOptimizer
from naslora.nas.cell import operation_shares
from naslora.sam.building import original_parameters
from naslora.study.layout import Layout
from naslora.study.records import Receipt, read_attempt, read_receipt, read_record
from naslora.study.settings import Study
from naslora.training import learner
from naslora.training.initial import initial_sam
from naslora.training.order import halves
from naslora.training.train import train

ROOT = Path(__file__).parents[2]
Copy = Callable[..., Study]
TASK = "kvasir"


def losses(receipt: Receipt) -> list[dict[str, float]]:
    return [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in receipt.history]


def adapter_bytes(study: Study, variant: str, seed: int = 0) -> bytes:
    return Layout.of(study).adapter(TASK, variant, seed).read_bytes()


@pytest.mark.parametrize("variant", ["lora", "nas_lora"])
def test_the_same_seed_gives_the_same_bytes(
    trained_study: Study, copied: Copy, variant: str
) -> None:
    study = copied()
    torch.rand(11)  # what ran before must not matter
    receipt = train(study, TASK, variant, 0)
    before = read_receipt(Layout.of(trained_study).receipt(TASK, variant, 0))
    assert losses(receipt) == losses(before)
    assert receipt.alpha == before.alpha
    assert adapter_bytes(study, variant) == adapter_bytes(trained_study, variant)
    record = read_record(Layout.of(trained_study).record(TASK, variant, 0))
    assert evaluate(study, TASK, variant, 0).metrics == record.metrics


def test_another_seed_differs(trained_study: Study, copied: Copy) -> None:
    study = copied({"seeds": [1], "training.epochs": 1, "training.architecture.start_epoch": 0})
    receipt = train(study, TASK, "nas_lora", 1)
    other = read_receipt(Layout.of(trained_study).receipt(TASK, "nas_lora", 0))
    assert receipt.history[0]["loss"] != other.history[0]["loss"]
    assert receipt.fingerprint != other.fingerprint


def test_the_receipt_says_what_was_done(trained_study: Study) -> None:
    layout = Layout.of(trained_study)
    receipt = read_receipt(layout.receipt(TASK, "nas_lora", 0))
    assert receipt.status == "done"
    assert receipt.fingerprint == trained_study.run(TASK, "nas_lora", 0).fingerprint()
    assert receipt.manifest_sha256 == sha256(layout.manifest(TASK))
    assert receipt.checkpoint_sha256 == sha256(layout.backbone())
    assert [epoch["epoch"] for epoch in receipt.history] == [1, 2]
    assert receipt.adapter is not None
    tensors = load_file(layout.adapter(TASK, "nas_lora", 0))
    assert sum(t.numel() for t in tensors.values()) == receipt.trainable_parameters
    assert receipt.trainable_parameters < receipt.total_parameters
    assert receipt.original_parameters == original_parameters("tiny", 64)
    assert sorted(path.name for path in layout.run(TASK, "nas_lora", 0).iterdir()) == [
        "adapter.safetensors",
        "training.json",
    ]


def test_alpha_moves_after_the_start_epoch_only(trained_study: Study) -> None:
    receipt = read_receipt(Layout.of(trained_study).receipt(TASK, "nas_lora", 0))
    sam, _ = initial_sam(trained_study, classes=1, seed=0)
    adapt(sam, "nas_lora", {}, seed=0)
    first, second = receipt.alpha
    assert first == operation_shares(sam)
    assert first.keys() == second.keys()
    assert all(first[cell] != second[cell] for cell in first)
    assert "architecture_loss" not in receipt.history[0]
    assert "architecture_loss" in receipt.history[1]
    assert read_receipt(Layout.of(trained_study).receipt(TASK, "lora", 0)).alpha == []


def test_the_loss_falls(copied: Copy) -> None:
    receipt = train(copied({"training.epochs": 6}), TASK, "lora", 0)
    values = [epoch["loss"] for epoch in receipt.history]
    assert values[-1] < 0.9 * values[0]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """The batches of the first and of the second passes."""
    batches: dict[str, list[Any]] = {"weights": [], "alpha": []}
    passes: list[str] = []
    for name in ("weights", "alpha"):
        original = getattr(AlternatingOptimizer, f"{name}_step")

        def watched_step(*arguments: Any, name: str = name, original: Any = original) -> Any:
            passes.append(name)
            return original(*arguments)

        monkeypatch.setattr(AlternatingOptimizer, f"{name}_step", watched_step)
    loss = learner.Learner.loss

    def watched(self: Any, batch: Any) -> torch.Tensor:
        batches[passes[-1]].append(batch[0])
        return loss(self, batch)

    monkeypatch.setattr(learner.Learner, "loss", watched)
    return batches


def names(study: Study, split: str, batches: list[torch.Tensor]) -> list[str]:
    """The images of a split that batches contain; images of other splits are left out."""
    layout = Layout.of(study)
    images = SegmentationDataset(
        read_manifest(layout.manifest(TASK)), layout.prepared(TASK), split, study.sam.image_size
    )
    known = {images[i][0].numpy().tobytes(): images.samples[i].id for i in range(len(images))}
    keys = [image.numpy().tobytes() for batch in batches for image in batch]
    return [known[key] for key in keys if key in known]


MOVING = {
    "training.epochs": 2,
    "training.horizontal_flip": 0,
    "training.architecture.start_epoch": 0,
    "methods": ["lora", "nas_lora"],
}


def test_alpha_on_the_training_batch(copied: Copy, seen: dict[str, list[Any]]) -> None:
    train(copied(MOVING), TASK, "nas_lora", 0)
    assert len(seen["weights"]) == len(seen["alpha"]) == 10
    for first, second in zip(seen["weights"], seen["alpha"], strict=True):
        assert torch.equal(first, second)


def test_alpha_on_validation_images(copied: Copy, seen: dict[str, list[Any]]) -> None:
    study = copied({**MOVING, "training.architecture.data": "val"})
    manifest = read_manifest(Layout.of(study).manifest(TASK))
    train(study, TASK, "nas_lora", 0)
    weights = names(study, "train", seen["weights"])
    assert sorted(weights) == sorted(2 * [sample.id for sample in manifest.of("train")])
    assert names(study, "val", seen["weights"]) == []
    assert names(study, "train", seen["alpha"]) == []
    alpha = names(study, "val", seen["alpha"])
    assert len(alpha) == 2 * 5 * 4  # a batch of the four per step, round and round
    assert set(alpha) == {sample.id for sample in manifest.of("val")}
    orders = {tuple(alpha[at : at + 4]) for at in range(0, len(alpha), 4)}
    assert len(orders) > 3


def test_alpha_on_the_other_half(copied: Copy, seen: dict[str, list[Any]]) -> None:
    study = copied({**MOVING, "training.architecture.data": "held_out"})
    ids = [sample.id for sample in read_manifest(Layout.of(study).manifest(TASK)).of("train")]
    train(study, TASK, "nas_lora", 0)
    first, second = halves(len(ids), 0)
    weights, alpha = (names(study, "train", seen[kind]) for kind in ("weights", "alpha"))
    assert sorted(weights) == sorted(2 * [ids[i] for i in first])
    assert sorted(alpha) == sorted(2 * [ids[i] for i in second])


def test_a_method_without_cells_trains_on_all_images(
    copied: Copy, seen: dict[str, list[Any]]
) -> None:
    study = copied({**MOVING, "training.architecture.data": "held_out", "training.epochs": 1})
    ids = [sample.id for sample in read_manifest(Layout.of(study).manifest(TASK)).of("train")]
    train(study, TASK, "lora", 0)
    assert sorted(names(study, "train", seen["weights"])) == sorted(ids)
    assert seen["alpha"] == []


def test_alpha_on_every_third_step(copied: Copy, seen: dict[str, list[Any]]) -> None:
    changes = {**MOVING, "training.architecture.every_n_steps": 3, "training.epochs": 1}
    train(copied(changes), TASK, "nas_lora", 0)
    assert (len(seen["weights"]), len(seen["alpha"])) == (5, 1)
    assert torch.equal(seen["weights"][2], seen["alpha"][0])


def test_a_warning_if_alpha_is_never_trained(
    copied: Copy, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {**MOVING, "training.epochs": 1, "training.architecture.every_n_steps": 6}
    receipt = train(copied(changes), TASK, "nas_lora", 0)
    assert "architecture_loss" not in receipt.history[0]
    assert "alpha is never trained" in capsys.readouterr().out
    train(copied(changes), TASK, "lora", 0)
    assert "alpha" not in capsys.readouterr().out


def test_too_little_memory_is_an_error_with_a_remedy(
    copied: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nAnd so on")

    monkeypatch.setattr(learner.Learner, "loss", full)
    study = copied()
    with pytest.raises(SettingsError, match=r"too small for this run: CUDA .* GiB\.\n") as caught:
        train(study, TASK, "lora", 0)
    assert "gradient_checkpointing" in str(caught.value.remedy)
    assert read_attempt(Layout.of(study).attempt(TASK, "lora", 0)).status == "failed"


def test_simultaneous_has_one_pass(copied: Copy, seen: dict[str, list[Any]]) -> None:
    changes = {**MOVING, "training.architecture.alternation": "simultaneous"}
    receipt = train(copied(changes), TASK, "nas_lora", 0)
    assert seen["alpha"] == []
    assert receipt.alpha[0] != receipt.alpha[1]
    assert "architecture_loss" not in receipt.history[1]


def test_mixed_precision(trained_study: Study, copied: Copy) -> None:
    receipt = train(copied({"training.precision": "bf16-mixed"}), TASK, "nas_lora", 0)
    full = read_receipt(Layout.of(trained_study).receipt(TASK, "nas_lora", 0))
    for mine, theirs in zip(receipt.history, full.history, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=0.05)
        assert mine["loss"] != theirs["loss"]


def diverged(study: Study) -> None:
    """A diverged run has a receipt and nothing else, and its record says so."""
    layout = Layout.of(study)
    receipt = read_receipt(layout.receipt(TASK, "lora", 0))
    assert (receipt.status, receipt.adapter) == ("diverged", None)
    assert "training diverged" in (receipt.message or "")
    assert [path.name for path in layout.run(TASK, "lora", 0).iterdir()] == ["training.json"]
    record = evaluate(study, TASK, "lora", 0)
    written = read_record(layout.record(TASK, "lora", 0))
    assert written == record.model_copy(update={"digest": written.digest})
    assert (record.status, record.metrics, record.per_image) == ("diverged", {}, None)
    assert record.message == receipt.message
    assert not layout.per_image(TASK, "lora", 0).exists()


def test_a_loss_that_is_not_finite_ends_the_run(trained_study: Study, copied: Copy) -> None:
    # Results of an earlier run lie there.
    study = copied({"training.learning_rate": 1e30}, of=trained_study)
    with pytest.raises(DivergedError, match="the loss is nan at epoch 1, step 2") as caught:
        train(study, TASK, "lora", 0)
    assert "learning_rate" in (caught.value.remedy or "")
    diverged(study)


def test_divergence_in_a_later_epoch_keeps_the_history(
    copied: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, steps = learner.Learner.loss, []

    def broken(self: Any, batch: Any) -> torch.Tensor:
        steps.append(1)
        return original(self, batch) * (float("inf") if len(steps) == 7 else 1)

    monkeypatch.setattr(learner.Learner, "loss", broken)
    study = copied()
    with pytest.raises(DivergedError, match="the loss is inf at epoch 2, step 2"):
        train(study, TASK, "lora", 0)
    assert len(steps) == 10, "losses are read at the end of the epoch"
    assert len(read_receipt(Layout.of(study).receipt(TASK, "lora", 0)).history) == 1
    diverged(study)


def test_weights_that_are_not_finite_after_the_last_step_diverge(
    copied: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = AlternatingOptimizer.weights_step

    @contextmanager
    def broken(self: AlternatingOptimizer, epoch: int, step: int) -> Iterator[None]:
        with original(self, epoch, step):
            yield
        if (epoch, step) == (2, 5):
            with torch.no_grad():
                self.weights.param_groups[0]["params"][-1].fill_(float("nan"))

    monkeypatch.setattr(AlternatingOptimizer, "weights_step", broken)
    study = copied({"training.validate_every_n_epochs": 0})
    with pytest.raises(DivergedError, match="not finite after the last step"):
        train(study, TASK, "lora", 0)
    diverged(study)


def test_a_full_disk(copied: Copy, mounted: Callable[[int], Path]) -> None:
    disk = mounted(16 * 1024)
    study = copied(folder="disk")
    (disk / "filler").write_bytes(b"\0" * (shutil.disk_usage(disk).free - 64 * 1024))
    before = sorted(disk.rglob("*"))
    with pytest.raises(DiskError, match=r"cannot write adapter\.safetensors: No space left"):
        train(study, TASK, "lora", 0)
    left = set(disk.rglob("*")) - set(before)
    note = Layout.of(study).attempt(TASK, "lora", 0)
    assert [path for path in left if path.is_file()] == [note]
    assert read_attempt(note).status == "failed"
    with pytest.raises(RecordError, match="receipt not found"):
        evaluate(study, TASK, "lora", 0)


@pytest.mark.slow
def test_two_processes_train_as_one_does(copied: Copy, options: Callable[..., list[str]]) -> None:
    """Two processes see the batches of one, half of each."""
    changes = {"training": {"epochs": 2, "architecture": {"start_epoch": 1}, "devices": 2}}
    study, alone = copied(changes, folder="two"), copied(folder="one")
    command = ["train", "--task", TASK, "--variant", "nas_lora", *options(study, changes)]
    done = subprocess.run(
        [sys.executable, "-m", "naslora", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^epoch 2/2", done.stdout, re.MULTILINE)) == 1
    together = read_receipt(Layout.of(study).receipt(TASK, "nas_lora", 0))
    one = train(alone, TASK, "nas_lora", 0)
    for mine, theirs in zip(losses(together), losses(one), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3)
    for cell, shares in together.alpha[-1].items():
        assert shares == pytest.approx(one.alpha[-1][cell], abs=2e-4)
    assert evaluate(study, TASK, "nas_lora", 0).status == "done"


def test_the_learning_rate_falls_over_all_steps_of_the_run(
    copied: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = AlternatingOptimizer.weights_step

    def spy(self: AlternatingOptimizer, *arguments: int) -> AbstractContextManager[None]:
        rates.append(self.weights.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(AlternatingOptimizer, "weights_step", spy)
    study = copied({"training.decay_start": 0.0})
    train(study, "kvasir", "lora", 0)
    done = np.arange(len(rates)) / len(rates)
    expected = study.training.learning_rate * (1 + np.cos(np.pi * done)) / 2
    assert len(rates) > study.training.epochs
    assert rates == pytest.approx(expected)
