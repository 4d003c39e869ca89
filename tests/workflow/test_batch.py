"""All runs of a task in one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from naslora.core.errors import SettingsError, StoppedError
from naslora.results.freshness import Freshness
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS, read_receipt, read_record
from naslora.workflow.batch import run_batch
from naslora.workflow.jobs import Jobs, analysed_models, seeds_option

if TYPE_CHECKING:
    from naslora.study.settings import Study

Copy = Callable[..., "Study"]
TASK = "kvasir"


@pytest.mark.slow
def test_a_batch_is_its_runs_one_by_one(copied: Copy, trained_study: Study) -> None:
    """Weights and metrics are the same, bit for bit, and up-to-date results are not made again."""
    study = copied({"analysis": {"images": 2}})
    told: list[str] = []
    assert run_batch(study, TASK, [0], told.append) == []
    assert told == [
        "== controls on kvasir",
        *(f"== {name} on kvasir, seed 0" for name in study.run_names(TASK)),
        *(f"== analysis of {model}" for model in analysed_models(study)),
    ]
    here, there = Layout.of(study), Layout.of(trained_study)
    for name in study.run_names(TASK):
        assert here.adapter(TASK, name, 0).read_bytes() == there.adapter(TASK, name, 0).read_bytes()
    for name in (*study.run_names(TASK), *CONTROLS):
        mine, theirs = (read_record(layout.record(TASK, name, 0)) for layout in (here, there))
        assert mine.metrics == theirs.metrics
    fresh = Freshness(study)
    assert all(fresh.record(*run) for run in study.runs())
    told.clear()
    assert run_batch(study, TASK, [0], told.append) == []
    assert told == []


@pytest.mark.slow
def test_an_error_ends_one_run_and_a_signal_all(
    copied: Copy, trained_study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = copied({"analysis": {"images": 2}}, of=trained_study)
    layout = Layout.of(study)
    first, *others = study.run_names(TASK)
    for name in (first, *others):
        layout.record(TASK, name, 0).unlink()
    whole = layout.adapter(TASK, first, 0).read_bytes()
    layout.adapter(TASK, first, 0).write_bytes(b"damaged")
    told: list[str] = []

    def fail(*arguments: object) -> None:
        raise SettingsError("the GPU's memory is too small")

    with monkeypatch.context() as patched:
        patched.setattr("naslora.evaluation.train_and_evaluate.train", fail)
        failed = run_batch(study, TASK, [0], told.append)
    assert failed == [f"{first} on kvasir, seed 0"]
    assert "error: the GPU's memory is too small" in told
    assert all(layout.record(TASK, name, 0).is_file() for name in others)

    def stop(*arguments: object) -> None:
        raise StoppedError("training was stopped")

    assert run_batch(study, TASK, [0], told.append) == []
    assert layout.adapter(TASK, first, 0).read_bytes() == whole  # damaged weights are made again

    layout.receipt(TASK, first, 0).unlink()
    for name in (first, others[0]):
        layout.record(TASK, name, 0).unlink()
    monkeypatch.setattr("naslora.evaluation.train_and_evaluate.train", stop)
    told.clear()
    with pytest.raises(StoppedError):
        run_batch(study, TASK, [0], told.append)
    assert told == [f"== {first} on kvasir, seed 0"]


@pytest.mark.slow
def test_a_batch_that_is_killed_goes_on_from_its_last_step(
    copied: Copy, options: Callable[..., list[str]]
) -> None:
    overrides = {
        "methods": ["lora"],
        "analysis": {"images": 2},
        "training": {"epochs": 16, "architecture": {"start_epoch": 1}, "checkpoint_minutes": 0},
    }
    study = copied(overrides)
    layout = Layout.of(study)
    command = ["batch", "--task", TASK, "--seed", "0", *options(study, overrides)]
    with subprocess.Popen(
        [sys.executable, "-m", "naslora", *command],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while not any(layout.run(TASK, "lora", 0).glob("checkpoint-*")):
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    assert not layout.receipt(TASK, "lora", 0).exists()
    told: list[str] = []
    assert run_batch(study, TASK, [0], told.append) == []
    assert told[0] == "== lora on kvasir, seed 0"  # the controls are done
    assert read_receipt(layout.receipt(TASK, "lora", 0)).attempts == 2
    assert read_record(layout.record(TASK, "lora", 0)).status == "done"


def test_runs_that_were_interrupted_come_last(
    copied: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that crashes the process does not prevent the others."""
    study = copied()
    first, second = study.run_names(TASK)
    note = Layout.of(study).attempt(TASK, first, 0)
    note.parent.mkdir(parents=True)
    note.write_text("{}")
    order: list[tuple[str, int]] = []
    monkeypatch.setattr(
        "naslora.evaluation.train_and_evaluate.train_and_evaluate",
        lambda study, task, variant, seed: order.append((variant, seed)),
    )
    monkeypatch.setattr("naslora.evaluation.controls.evaluate_controls", lambda *_: None)
    monkeypatch.setattr("naslora.analysis.analyse.analyse", lambda *_: None)
    run_batch(study, TASK, [0, 1], lambda text: None)
    assert order == [(second, 0), (first, 1), (second, 1), (first, 0)]


PEAKS = """
import numpy as np
import torch
from naslora.study.provenance import peak_memory_bytes, reset_peak_memory
block = np.ones(400_000_000, np.uint8)
print(peak_memory_bytes(torch.device("cpu")))
del block
reset_peak_memory()
print(peak_memory_bytes(torch.device("cpu")))
"""


def test_each_run_has_a_peak_of_memory_of_its_own() -> None:
    """In a separate process, whose peak does not include that of other tests."""
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < before - 200_000_000


@pytest.mark.slow
def test_freshness_follows_settings_and_contents(copied: Copy, trained_study: Study) -> None:
    """The study's settings are compared with what its results state about themselves."""

    def fresh(changes: dict[str, object] | None = None) -> tuple[bool, ...]:
        study = copied(changes, of=trained_study) if changes is not None else copy
        asked = Freshness(study)
        return (
            asked.manifest(TASK),
            asked.run(TASK, "lora", 0),
            asked.record(TASK, "lora", 0),
            asked.controls(TASK),
        )

    copy = copied(of=trained_study)
    assert fresh({}) == (True, True, True, True)
    training = {"epochs": 2, "architecture": {"start_epoch": 1}}  # as it was trained
    assert fresh({"training": {**training, "epochs": 3}}) == (True, False, False, True)
    assert fresh({"training": {**training, "workers": 2}}) == (True, True, True, True)
    assert fresh({"evaluation": {"size": "input"}}) == (True, True, False, False)
    assert fresh({"sam": {"image_size": 128}}) == (True, False, False, False)
    assert fresh({"generated": {"kvasir": 25}}) == (False, False, False, False)
    assert fresh({"data": {"split_seed": 1}}) == (False, False, False, False)
    copy = copied(of=trained_study)
    layout = Layout.of(copy)
    receipt = layout.receipt(TASK, "lora", 0)
    trained_again = read_receipt(receipt).model_copy(update={"wall_time_s": 1.0})
    receipt.write_text(trained_again.model_dump_json())
    assert fresh() == (True, True, False, True)  # evaluated before
    receipt.write_text("damaged")
    assert fresh() == (True, False, False, True)
    receipt.unlink()
    assert fresh() == (True, False, True, True)  # as in a copy of records
    layout.manifest(TASK).unlink()
    assert fresh() == (False, False, True, True)


def test_a_pretrained_backbone_is_up_to_date_as_long_as_its_settings_are(copied: Copy) -> None:
    def fresh(changes: dict[str, object]) -> bool:
        return Freshness(copied(changes)).backbone()

    assert fresh({})
    assert fresh({"pretraining.checkpoint_minutes": 0})
    assert not fresh({"pretraining.steps": 2})
    assert not fresh({"sam.image_size": 128})
    study = copied({})
    Layout.of(study).backbone().with_suffix(".json").write_text("[]")
    assert not Freshness(study).backbone()


@pytest.mark.parametrize(
    ("backbone", "local", "names"),
    [
        ("tiny", True, ["all"]),
        ("tiny", False, ["seed0", "seed1"]),
        ("small", True, ["seed0", "seed1"]),
    ],
)
def test_whose_runs_share_a_job(copied: Copy, backbone: str, local: bool, names: list[str]) -> None:
    study = copied({"seeds": [0, 1], "sam.backbone": backbone, "sam.image_size": 64})
    batches = [
        path for path in Jobs(study, is_local=lambda: local).records() if "batch" in path.parts
    ]
    assert [path.stem for path in batches] == names
    options = {"all": "", "seed0": "--seed 0", "seed1": "--seed 1"}
    assert [seeds_option(name) for name in names] == [options[name] for name in names]
