"""Runs that are killed at any moment end with the same result as if they had not been."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from typing import Any

import pytest

from naslora.study.records import read_attempt, read_receipt
from naslora.study.settings import load_study

KILLED = -signal.SIGKILL
KILLS = 5
INTERRUPTIONS = 9
METHODS = load_study("paper").methods[:12]  # without the rows that others add
NewRun = Callable[..., Any]


def ends_the_same(killed: Any, faults: list[str], reference: Any) -> None:
    """Kill one attempt after the other, each by a fault, and let the next one finish."""
    for number, fault in enumerate(faults, start=1):
        assert killed.attempt(fault) == KILLED, f"attempt {number} was not hit by {fault}"
        if killed.note.exists():  # or it was killed before it could write that
            note = read_attempt(killed.note)
            assert note.status == "interrupted"
            assert "killed" in note.message
            assert note.attempts <= number
    assert killed.attempt() == 0
    assert killed.outcome() == reference.outcome()
    assert killed.files() == ["adapter.safetensors", "training.json"]
    assert 1 <= read_receipt(killed.receipt).attempts <= len(faults) + 1


@pytest.mark.parametrize("method", ["conv_lora", "nas_pc_lora", "unet"])
def test_killed_at_random_moments(method: str, new_run: NewRun) -> None:
    """At steps and stages of writing: six for each of the ten steps, and six before the first."""
    reference = new_run(method, "whole")
    assert reference.attempt() == 0
    draw = random.Random(method)
    faults = [f"SIGKILL any {draw.randint(1, 30)}" for _ in range(KILLS)]
    ends_the_same(new_run(method, "killed", checkpoint_minutes=0), faults, reference)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_interrupted_by_random_signals(method: str, new_run: NewRun) -> None:
    """Nine times each, 108 in all: killed or told to stop, while setting up, training or writing.

    Attempts save after every step or, by chance, only when they are told to stop.
    """
    reference = new_run(method, "whole")
    assert reference.attempt() == 0
    draw = random.Random(f"{method} interrupted")
    run, interruptions = new_run(method, "interrupted"), 0
    while interruptions < INTERRUPTIONS:
        signal = draw.choice(("SIGKILL", "SIGKILL", "SIGTERM", "SIGHUP", "SIGINT"))
        saving = ["--set", "training.checkpoint_minutes=0"] if draw.random() < 0.7 else []
        code = run.attempt(f"{signal} any {draw.randint(1, 25)}", *saving)
        interruptions += 1
        if run.receipt.exists():  # the signal came when the results were written
            assert run.outcome() == reference.outcome()
            shutil.rmtree(run.folder)
        else:
            assert code != 0
    assert run.attempt() == 0
    assert run.outcome() == reference.outcome()
    assert run.files() == ["adapter.safetensors", "training.json"]


def test_killed_while_it_writes_its_results(new_run: NewRun) -> None:
    """With few images for alpha, which are repeated; a resumed run finds its place among them."""
    settings = {
        "workers": 1,
        "architecture": {"start_epoch": 0, "data": "val"},
    }
    moments = ["step 2", "step 1", "results 1", "adapter 1", "receipt 1", "receipt 1"]
    faults = [f"SIGKILL {moment}" for moment in moments]
    reference = new_run("nas_lora", "whole", **settings)
    assert reference.attempt() == 0
    assert "architecture_loss" in reference.outcome()[1]["history"][0]
    ends_the_same(
        new_run("nas_lora", "killed", checkpoint_minutes=0, **settings), faults, reference
    )
