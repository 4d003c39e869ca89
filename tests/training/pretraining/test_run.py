from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import torch

from naslora.core.errors import DivergedError, LockError, SettingsError, StoppedError
from naslora.core.files import sha256
from naslora.sam.building import build_sam
from naslora.sam.checkpoints import load_checkpoint
from naslora.study.layout import Layout
from naslora.study.settings import Study
from naslora.training.pending import READ_EVERY, PendingLosses
from naslora.training.pretraining import run
from naslora.training.pretraining.batches import SceneBatches, held_out
from naslora.training.pretraining.model import PromptableSam
from naslora.training.pretraining.run import pretrain, rate, step_losses
from naslora.training.resume.locking import RunLock

Copy = Callable[..., Study]
TINY = {"scenes": 8, "steps": 4, "batch_size": 4, "validation_scenes": 2, "validate_every": 2}


def settings(**changes: Any) -> dict[str, Any]:
    return {"pretraining": {**TINY, **changes}}


def test_the_same_settings_give_the_same_weights(copied: Copy) -> None:
    study = copied(settings())
    pretrain(study)
    first = sha256(Layout.of(study).backbone())
    torch.rand(5)
    pretrain(study)
    assert sha256(Layout.of(study).backbone()) == first
    pretrain(copied(settings(seed=1)))
    assert sha256(Layout.of(study).backbone()) != first


def test_a_stopped_pretraining_goes_on_to_the_same_weights(
    copied: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = copied(settings())
    curve = pretrain(study)
    whole = sha256(Layout.of(study).backbone())
    Layout.of(study).backbone().unlink()

    def ask_to_stop_in_the_third(*args: Any) -> dict[str, torch.Tensor]:
        if args[3] == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step_losses(*args)

    monkeypatch.setattr(run, "step_losses", ask_to_stop_in_the_third)
    with pytest.raises(StoppedError, match="after step 3 of 4"):
        pretrain(study)
    assert not Layout.of(study).backbone().exists()
    monkeypatch.undo()
    steps: list[int] = []
    monkeypatch.setattr(run, "step_losses", lambda *a: steps.append(a[3]) or step_losses(*a))
    assert pretrain(study) == curve
    assert steps == [3]
    assert sha256(Layout.of(study).backbone()) == whole
    assert not list(Layout.of(study).backbone().parent.glob("checkpoint-*"))


def test_one_process_at_a_time(copied: Copy) -> None:
    study = copied(settings(steps=1))
    folder = Layout.of(study).backbone().parent
    before = sorted(path.name for path in folder.iterdir())
    other = RunLock.acquire(folder)
    with pytest.raises(LockError, match="another process is working on this run"):
        pretrain(study)
    other.release()
    pretrain(study)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_progress_counts_parts(copied: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    pretrain(copied(settings(objective="prompt_free")))
    output = capsys.readouterr().out
    assert "on generated scenes: 2 parts" in output
    assert "part 2/2  loss" in output
    assert "finished after 2 parts" in output
    assert "epoch" not in output


def test_losses_stay_on_the_device_for_many_steps(
    copied: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, seen = PendingLosses.read, []

    def counted(pending: PendingLosses) -> None:
        seen.append(len(pending._pending))
        read(pending)

    monkeypatch.setattr(PendingLosses, "read", counted)
    steps = READ_EVERY + 2
    study = copied(settings(steps=steps, validate_every=steps, objective="prompt_free"))
    (point,) = pretrain(study)
    assert [count for count in seen if count] == [READ_EVERY, 2]
    assert point["loss"] == point["prompt_free_loss"] > 0


def test_a_loss_that_is_not_finite_is_never_saved(
    copied: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_after_nan(*args: Any) -> dict[str, torch.Tensor]:
        losses = step_losses(*args)
        if args[3] == 1:
            os.kill(os.getpid(), signal.SIGTERM)
            return {name: loss * float("nan") for name, loss in losses.items()}
        return losses

    monkeypatch.setattr(run, "step_losses", stop_after_nan)
    study = copied(settings(validate_every=4))
    with pytest.raises(DivergedError, match="the loss is nan at step 2"):
        pretrain(study)
    assert not list(Layout.of(study).backbone().parent.glob("checkpoint-*"))


@pytest.mark.parametrize("objective", ["promptable", "prompt_free", "both"])
def test_steps_lower_the_loss(copied: Copy, objective: str, tmp_path: Any) -> None:
    chosen = copied(settings(objective=objective)).pretraining
    torch.manual_seed(0)
    model = PromptableSam("tiny", 64)
    batch = SceneBatches(4, 64, 0, 4, tmp_path)[0]
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    values = []
    for _ in range(12):
        losses = step_losses(model, batch, chosen, 0, torch.device("cpu"))
        total = torch.stack(list(losses.values())).sum()
        total.backward()
        optimiser.step()
        optimiser.zero_grad()
        values.append(float(total.detach()))
    assert values[-1] < 0.9 * values[0]
    names = {"prompt_loss", "correction_loss"} if objective != "prompt_free" else set()
    assert set(losses) == names | ({"prompt_free_loss"} if objective != "promptable" else set())


def test_every_parameter_of_the_prompted_parts_is_trained(copied: Copy, tmp_path: Any) -> None:
    chosen = copied(settings(objective="promptable")).pretraining
    model = PromptableSam("tiny", 64)
    batch = SceneBatches(8, 64, 0, 8, tmp_path)[0]
    losses = step_losses(model, batch, chosen, 0, torch.device("cpu"))
    torch.stack(list(losses.values())).sum().backward()
    untouched = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    # The embedding of a background click has a gradient only where a mask was too large, and of the
    # three candidates for a mask only the best one has.
    untouched -= {"sam.prompt_encoder.point_embeddings.0.weight"}
    candidates = {name.split(".")[3] for name in untouched}
    assert all("output_hypernetworks_mlps" in name for name in untouched)
    assert candidates < {"1", "2", "3"}


def test_the_curve_and_its_settings_lie_beside_the_weights(copied: Copy) -> None:
    study = copied(settings())
    curve = pretrain(study)
    path = Layout.of(study).backbone()
    document = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert document["curve"] == curve
    assert document["sha256"] == sha256(path)
    assert [entry["step"] for entry in curve] == [2, 4]
    assert document["settings"]["scenes"] == 8
    for entry in curve:
        parts = ("prompt_loss", "correction_loss", "prompt_free_loss")
        assert entry["loss"] == pytest.approx(sum(entry[name] for name in parts))
        assert all(0 <= entry[name] <= 1 for name in ("click", "box", "prompt_free"))


def test_weights_can_go_on_at_another_size(copied: Copy, tmp_path: Any) -> None:
    study = copied(settings())
    pretrain(study)
    start = tmp_path / "start.pth"
    Layout.of(study).backbone().rename(start)
    beside = Layout.of(study).backbone().with_suffix(".json").rename(start.with_suffix(".json"))
    larger = copied({**settings(start=str(start), steps=1), "sam.image_size": 128})
    pretrain(larger)
    about = json.loads(Layout.of(larger).backbone().with_suffix(".json").read_text("utf-8"))
    assert about["earlier"] == json.loads(beside.read_text("utf-8"))
    fresh, trained = build_sam("tiny", 128), build_sam("tiny", 128)
    load_checkpoint(fresh, start)
    load_checkpoint(trained, Layout.of(larger).backbone())
    pairs = zip(fresh.parameters(), trained.parameters(), strict=True)
    # One step of AdamW moves every weight by about the learning rate of that step.
    assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 1e-3


def test_scenes_of_validation_are_not_trained_on(tmp_path: Any) -> None:
    batches = SceneBatches(8, 64, 0, 8, tmp_path)
    seen = {image.numpy().tobytes() for step in range(2) for image in batches[step].images}
    for stack in held_out(0, 8, 64):
        assert stack[:3].tobytes() not in seen


def test_a_batch_depends_on_its_step_alone(tmp_path: Any) -> None:
    batches = SceneBatches(6, 64, 3, 4, tmp_path / "a")
    there = [batches[step] for step in range(4)]
    again = SceneBatches(6, 64, 3, 4, tmp_path / "b")[3]
    assert torch.equal(again.images, there[3].images)
    assert (again.instances == there[3].instances).all()
    assert len({batch.images.numpy().tobytes() for batch in there}) == 4


def test_the_rate_rises_then_falls_to_nothing() -> None:
    rates = [rate(step, 10, 100) for step in range(101)]
    assert rates.index(max(rates)) in (9, 10)
    assert 0 < rates[0] < rates[5] < rates[9] <= 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0)
    assert rate(0, 0, 1) == 1


def test_divergence_leaves_no_weights(copied: Copy) -> None:
    study = copied(settings(learning_rate=1e30, warm_up=0, steps=24, validate_every=24))
    backbone = Layout.of(study).backbone()
    backbone.unlink()
    with pytest.raises(DivergedError, match="pretraining diverged") as caught:
        pretrain(study)
    assert "pretraining.learning_rate" in (caught.value.remedy or "")
    assert not backbone.exists()


@pytest.mark.parametrize("name", ["scenes", "steps"])
def test_nothing_to_train_on(copied: Copy, name: str) -> None:
    study = copied(settings(**{name: 0}))
    with pytest.raises(SettingsError, match=r"pretraining\.scenes or pretraining\.steps is 0"):
        pretrain(study)
