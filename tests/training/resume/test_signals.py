from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from naslora.core.errors import TRY_AGAIN
from naslora.study.records import read_attempt, read_receipt
from naslora.training.resume.signals import STOP_SIGNALS, StopRequests, ignore_stop_signals

ROOT = Path(__file__).parents[2]
NewRun = Callable[..., Any]


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_signals_are_noted_and_handlers_come_back(number: signal.Signals) -> None:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    with StopRequests() as signals:
        assert signals.received is None
        signal.raise_signal(number)
        assert signals.received == number.name
        signal.raise_signal(signal.SIGTERM)
        assert signals.received == number.name  # the first one
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_a_second_interrupt_stops_at_once() -> None:
    with StopRequests() as signals:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signals.received == "SIGINT"


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopRequests() as signals:
            signal.raise_signal(signal.SIGINT)
        assert signals.received is None
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_leaves_signals_alone() -> None:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    inside: list[Any] = []

    def enter() -> None:
        with StopRequests():
            inside.extend(signal.getsignal(number) for number in STOP_SIGNALS)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert inside == before


def test_image_loading_processes_outlive_signals() -> None:
    child = os.fork()
    if child == 0:
        ignore_stop_signals(0)
        for number in STOP_SIGNALS:
            signal.raise_signal(number)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_stopped_by_each_signal_and_gone_on_with(
    new_run: NewRun, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without a checkpoint in between, so that each stop has to save."""
    settings = {"workers": 1, "architecture": {"start_epoch": 1}}
    reference = new_run("conv_lora", "whole", **settings)
    assert reference.attempt() == 0
    stopped = new_run("conv_lora", "stopped", **settings)
    steps = [
        ("SIGTERM step 2 group", 2),
        ("SIGUSR1 step 1", 3),
        ("SIGINT step 4", 7),
        ("SIGHUP step 1", 8),
    ]
    for fault, step in steps:
        capfd.readouterr()
        assert stopped.attempt(fault) == TRY_AGAIN
        _, errors = capfd.readouterr()
        where = f"epoch {(step - 1) // 5 + 1}, step {(step - 1) % 5 + 1}"
        message = f"training was stopped by {fault.split()[0]} after {where}"
        assert errors.startswith(f"error: {message}\n")
        assert f"run the same command again: it resumes after {where}" in errors
        note = read_attempt(stopped.note)
        assert (note.status, note.message) == ("interrupted", message)
        assert [name.split("-")[0] for name in stopped.files()] == [
            "attempt.json",
            *["checkpoint"] * min(2, [s for _, s in steps].index(step) + 1),
        ]
    assert stopped.attempt() == 0
    assert "attempt 5 resumes after epoch 2, step 3" in capfd.readouterr().out
    assert stopped.outcome() == reference.outcome()
    assert stopped.files() == ["adapter.safetensors", "training.json"]
    assert read_receipt(stopped.receipt).attempts == 5


def processes(run: Any, port: int, faults: tuple[str, str]) -> list[tuple[int, str, str]]:
    """Train in two processes, begun one by one as a scheduler does."""
    clients = [
        subprocess.Popen(
            [sys.executable, "-m", "naslora", *run.command],
            cwd=ROOT,
            env={
                **os.environ,
                "NASLORA_TEST_FAULT": fault,
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "NODE_RANK": "0",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, fault in enumerate(faults)
    ]
    outputs = [client.communicate(timeout=120) for client in clients]
    return [(c.returncode, *output) for c, output in zip(clients, outputs, strict=True)]


def test_two_processes_stop_at_the_same_step(new_run: NewRun) -> None:
    settings = {"devices": 2, "architecture": {"start_epoch": 1}}
    reference = new_run("nas_lora", "whole", **settings)
    port = 29000 + os.getpid() % 1000
    assert [code for code, *_ in processes(reference, port, ("", ""))] == [0, 0]
    stopped = new_run("nas_lora", "stopped", checkpoint_minutes=0, **settings)
    first, second = processes(stopped, port + 1, ("", "SIGUSR1 step 3"))
    assert (first[0], second[0]) == (TRY_AGAIN, 0)
    assert "stopped by a signal to one of its processes after epoch 1, step 3" in first[2]
    first, second = processes(stopped, port + 2, ("", "SIGKILL step 4"))
    assert first[0] != 0
    assert second[0] == -signal.SIGKILL
    done = processes(stopped, port + 3, ("", ""))
    assert [code for code, *_ in done] == [0, 0]
    assert "resumes after epoch 2, step 1" in done[0][1]
    assert "resumes after" not in done[1][1]
    assert stopped.outcome() == reference.outcome()
    assert stopped.files() == ["adapter.safetensors", "training.json"]
