"""Faults within and between the attempts at a run, and their messages."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from naslora.core.errors import DiskError, LockError, StoppedError
from naslora.methods.registry import adapt
from naslora.nas.alternation import AlternatingOptimizer
from naslora.sam.building import build_sam
from naslora.study.layout import Layout
from naslora.study.records import read_attempt, read_receipt
from naslora.study.settings import Study
from naslora.training.resume import saving
from naslora.training.resume.checkpoints import Checkpoints
from naslora.training.resume.saving import Saver
from naslora.training.resume.state import Progress, capture, restore
from naslora.training.train import train

Copy = Callable[..., Study]
At = Callable[..., None]
RUN = ("kvasir", "lora", 0)
SAVING = {"training.checkpoint_minutes": 0}
CLEAN = ["adapter.safetensors", "training.json"]


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> At:
    """Perform an action after the n-th step from now; by default, ask the run to stop."""

    def arrange(
        count: int, action: Callable[[], None] = lambda: signal.raise_signal(signal.SIGTERM)
    ) -> None:
        original, steps = Saver.after_step, []

        def after_step(self: Saver, *arguments: Any) -> None:
            steps.append(1)
            if len(steps) == count:
                action()
            original(self, *arguments)

        monkeypatch.setattr(Saver, "after_step", after_step)

    return arrange


def folder(study: Study) -> Path:
    return Layout.of(study).run(*RUN)


def files(study: Study) -> list[str]:
    return sorted(path.name for path in folder(study).iterdir())


def checkpoints(study: Study) -> list[Path]:
    return sorted(folder(study).glob("checkpoint-*"))


def stop(study: Study, at_step: At, step: int) -> None:
    at_step(step)
    with pytest.raises(StoppedError, match=r"stopped by SIGTERM after epoch \d, step \d"):
        train(study, *RUN)


def as_never_stopped(study: Study, reference: Study) -> None:
    first, second = Layout.of(study), Layout.of(reference)
    assert first.adapter(*RUN).read_bytes() == second.adapter(*RUN).read_bytes()
    mine, other = read_receipt(first.receipt(*RUN)), read_receipt(second.receipt(*RUN))
    assert [epoch["loss"] for epoch in mine.history] == [epoch["loss"] for epoch in other.history]
    assert files(study) == CLEAN


def test_short_runs_have_no_checkpoint(
    copied: Copy, monkeypatch: pytest.MonkeyPatch, trained_study: Study
) -> None:
    monkeypatch.setattr(Checkpoints, "save", lambda *_: pytest.fail("saved"))
    study = copied()
    assert train(study, *RUN).attempts == 1
    as_never_stopped(study, trained_study)


def test_times_add_up_over_attempts(
    copied: Copy, at_step: At, trained_study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    study = copied()
    began = time.perf_counter()
    stop(study, at_step, 7)
    receipt = train(study, *RUN)
    spent = time.perf_counter() - began
    assert receipt.attempts == 2
    assert 0 < sum(epoch["seconds"] for epoch in receipt.history) < receipt.wall_time_s < spent
    assert receipt.peak_memory_bytes > 0
    assert "attempt 2 resumes after epoch 2, step 2" in capsys.readouterr().out
    as_never_stopped(study, trained_study)


def test_an_error_is_noted_and_the_next_attempt_goes_on(
    copied: Copy, at_step: At, trained_study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise RuntimeError("out of memory, perhaps")

    study = copied(SAVING)
    at_step(4, fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        train(study, *RUN)
    note = read_attempt(Layout.of(study).attempt(*RUN))
    assert (note.status, note.attempts) == ("failed", 1)
    assert note.message == "RuntimeError: out of memory, perhaps"
    assert [name.split("-")[0] for name in files(study)] == ["attempt.json", *2 * ["checkpoint"]]
    assert train(study, *RUN).attempts == 2
    assert "resumes after epoch 1, step 3" in capsys.readouterr().out
    as_never_stopped(study, trained_study)


def test_a_second_ctrl_c_is_noted(
    copied: Copy, at_step: At, trained_study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    def press_twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    study = copied(SAVING)
    at_step(4, press_twice)
    with pytest.raises(KeyboardInterrupt):
        train(study, *RUN)
    note = read_attempt(Layout.of(study).attempt(*RUN))
    assert (note.status, note.message) == ("interrupted", "interrupted at once by Ctrl-C")
    assert train(study, *RUN).attempts == 2
    assert "resumes after epoch 1, step 3" in capsys.readouterr().out
    as_never_stopped(study, trained_study)


def test_a_closed_output_saves_and_stops(
    copied: Copy, monkeypatch: pytest.MonkeyPatch, trained_study: Study
) -> None:
    study = copied()
    reader, writer = os.pipe()
    os.close(reader)
    with monkeypatch.context() as patched, os.fdopen(writer, "w") as closed:
        patched.setattr(sys, "stdout", closed)
        with pytest.raises(StoppedError, match="by its closed output after epoch 1, step 1") as e:
            train(study, *RUN)
        assert "resumes after epoch 1, step 1" in str(e.value.remedy)
    assert train(study, *RUN).attempts == 2
    as_never_stopped(study, trained_study)


def test_a_folder_that_is_deleted_during_the_run(copied: Copy, at_step: At) -> None:
    study = copied()

    def delete() -> None:
        shutil.rmtree(folder(study))
        signal.raise_signal(signal.SIGTERM)

    at_step(2, delete)
    with pytest.raises(LockError, match="was deleted or emptied during the run"):
        train(study, *RUN)
    assert not folder(study).exists()
    assert train(study, *RUN).attempts == 1


def test_an_attempt_that_only_finishes_writes_the_same_receipt(
    copied: Copy, at_step: At, trained_study: Study
) -> None:
    """It computes no attention, but its receipt still says how attention was computed."""
    study = copied(SAVING)
    stop(study, at_step, 10)  # of 10
    receipt = train(study, *RUN)
    assert receipt.attempts == 2
    reference = read_receipt(Layout.of(trained_study).receipt(*RUN))
    assert receipt.provenance == reference.provenance
    assert receipt.provenance.hardware["attention"]
    as_never_stopped(study, trained_study)


def test_a_damaged_checkpoint_costs_a_step(
    copied: Copy, at_step: At, trained_study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    study = copied(SAVING)
    stop(study, at_step, 6)
    last = checkpoints(study)[-1]
    last.write_bytes(last.read_bytes()[:-100] + bytes(100))
    train(study, *RUN)
    output = capsys.readouterr().out
    assert "this checkpoint is damaged: its SHA-256 differs" in output
    assert "attempt 2 resumes after epoch 1, step 5" in output
    as_never_stopped(study, trained_study)


def test_without_checkpoints_a_run_begins_anew(
    copied: Copy, at_step: At, trained_study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    study = copied(SAVING)
    stop(study, at_step, 6)
    for path in checkpoints(study):
        path.write_bytes(b"damaged")
    Layout.of(study).attempt(*RUN).write_text("{")
    capsys.readouterr()
    assert train(study, *RUN).attempts == 1
    output = capsys.readouterr().out
    assert output.count("this checkpoint is damaged") == 2
    assert "this attempt is damaged" in output
    assert "resumes after" not in output
    as_never_stopped(study, trained_study)


def test_other_settings_begin_anew_and_the_old_go_on(
    copied: Copy, at_step: At, trained_study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    study = copied(SAVING)
    stop(study, at_step, 6)
    other = copied({**SAVING, "training.learning_rate": 0.007})
    stop(other, at_step, 2)
    assert "of other settings, images, weights or versions" in capsys.readouterr().out
    assert len(checkpoints(study)) == 4
    assert read_attempt(Layout.of(other).attempt(*RUN)).attempts == 1
    train(study, *RUN)
    assert "resumes after epoch 2, step 1" in capsys.readouterr().out
    as_never_stopped(study, trained_study)


def test_a_clock_that_jumps(
    copied: Copy, at_step: At, trained_study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing depends on the clock or on the age of a file."""
    study = copied(SAVING)
    stop(study, at_step, 6)
    now = time.time()
    for path, age in zip(checkpoints(study), (-(10**8), 10**8), strict=True):
        os.utime(path, (now - age, now - age))
    monkeypatch.setattr(time, "time", lambda: now - 10**9)
    stop(study, at_step, 1)
    monkeypatch.setattr(time, "time", lambda: now + 10**9)
    receipt = train(study, *RUN)
    assert receipt.attempts == 3
    assert 0 < receipt.wall_time_s < 600
    as_never_stopped(study, trained_study)


def test_leftovers_of_killed_processes_are_removed(copied: Copy, trained_study: Study) -> None:
    study = copied()
    folder(study).mkdir(parents=True)
    for name in ("adapter", "training", "attempt", "checkpoint-0123456789ab-000000004"):
        (folder(study) / f".{name}-a1_b2c3d.json").write_text("half of")
    train(study, *RUN)
    as_never_stopped(study, trained_study)


def test_a_disk_that_fills_up_and_is_emptied(
    copied: Copy,
    at_step: At,
    trained_study: Study,
    mounted: Callable[[int], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Training continues without checkpoints; results fail, and the next attempt writes them."""
    disk = mounted(32 * 1024)
    study = copied(SAVING, folder="disk")
    filler = disk / "filler"

    def fill() -> None:
        filler.write_bytes(b"\0" * (shutil.disk_usage(disk).free - 64 * 1024))

    at_step(4, fill)
    with pytest.raises(DiskError, match=r"cannot write adapter\.safetensors: No space left"):
        train(study, *RUN)
    output = capsys.readouterr().out
    assert output.count("training continues without this checkpoint") == 7
    assert "epoch 2/2" in output
    assert len(checkpoints(study)) == 2
    note = read_attempt(Layout.of(study).attempt(*RUN))
    assert (note.status, note.message) == (
        "failed",
        "cannot write adapter.safetensors: No space left on device",
    )
    filler.unlink()
    assert train(study, *RUN).attempts == 2
    assert "resumes after epoch 1, step 3" in capsys.readouterr().out
    as_never_stopped(study, trained_study)


def test_stopped_with_a_full_disk(
    copied: Copy, at_step: At, mounted: Callable[[int], Path]
) -> None:
    disk = mounted(32 * 1024)
    study = copied(folder="disk")

    def fill() -> None:
        (disk / "filler").write_bytes(b"\0" * (shutil.disk_usage(disk).free - 64 * 1024))
        signal.raise_signal(signal.SIGTERM)

    at_step(2, fill)
    with pytest.raises(
        StoppedError, match="run the same command again: it restarts from the beginning"
    ):
        train(study, *RUN)
    assert checkpoints(study) == []


def test_a_process_that_lost_the_run_stops(
    copied: Copy, at_step: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before it writes; and it records no error, since the run is not its own."""
    monkeypatch.setattr(saving, "_CHECK_LOCK_S", 0.0)
    study = copied()

    def lose() -> None:
        (folder(study) / "owner.json").unlink()
        Layout.of(study).attempt(*RUN).write_text("of another process")

    at_step(2, lose)
    with pytest.raises(LockError, match="was deleted or emptied"):
        train(study, *RUN)
    assert files(study) == ["attempt.json"]
    assert Layout.of(study).attempt(*RUN).read_text() == "of another process"


def test_saving_takes_a_hundredth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a simulated clock: steps of one second, and checkpoints that take seven."""
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    saved: list[float] = []

    class Slow:
        def save(self, *_: Any) -> None:
            clock[0] += 7
            saved.append(clock[0])

    lock = SimpleNamespace(check=lambda: None, guard=lambda: pytest.MonkeyPatch.context())
    alone = SimpleNamespace(world_size=1)
    signals = SimpleNamespace(received=None)
    for minutes, least in ((1.0, 700), (20.0, 1200), (0.0, 8)):
        clock[0] = 0.0
        saved.clear()
        every: Any = (alone, Slow(), SimpleNamespace(lock=lock), signals, minutes, dict, None)
        kept = Saver(*every)
        while clock[0] < 20_000:
            clock[0] += 1
            kept.after_step(Progress(), lambda: None)
        assert saved[0] == 60 * minutes + 7 + (minutes == 0)
        pauses = [later - earlier for earlier, later in itertools.pairwise(saved)]
        assert min(pauses) == max(pauses) == pytest.approx(least + 7 * (minutes > 0), abs=1)


def test_the_scale_of_losses_in_half_precision_comes_back() -> None:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.precision import MixedPrecision

    def build() -> tuple[Any, Any, AlternatingOptimizer, Any]:
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
        fabric = Fabric(
            accelerator="cpu", plugins=MixedPrecision("16-mixed", device="cpu", scaler=scaler)
        )
        sam = build_sam("tiny", 32)
        adapt(sam, "bitfit")
        settings = SimpleNamespace(
            learning_rate=0.001, decay_start=1.0, weight_decay=0.0, architecture=SimpleNamespace()
        )
        optimiser: Any = AlternatingOptimizer(sam, settings)  # type: ignore[arg-type]
        fabric.setup_module(sam)
        optimiser.wrap(fabric.setup_optimizers)
        return fabric, sam, optimiser, scaler

    fabric, sam, optimiser, scaler = build()
    for _ in range(4):
        fabric.backward(sum(p.sum() for p in sam.parameters() if p.requires_grad))
        optimiser.weights.step()
    state = capture(fabric, sam, optimiser, Progress(steps=4))
    assert (scaler.get_scale(), state["precision"]["_growth_tracker"]) == (2048.0, 1)
    fabric, sam, optimiser, scaler = build()
    assert restore(state, fabric, sam, optimiser).steps == 4
    assert scaler.get_scale() == 2048.0
    assert scaler.state_dict() == state["precision"]
