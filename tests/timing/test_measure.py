"""A real timing of two methods on a tiny SAM, and of methods that do not fit into memory."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from naslora.core.errors import SettingsError
from naslora.study.layout import Layout
from naslora.study.settings import Study, load_study
from naslora.timing import measure, memory, subjects
from naslora.timing.document import Timing, read_timings, timing_fingerprint
from naslora.timing.measure import time_methods
from naslora.timing.protocol import DroppedError
from naslora.timing.subjects import Subject, random_batch, random_sam
from naslora.training.device import launch_fabric

CONFIG = Path(__file__).parents[2] / "config"
SETTINGS: dict[str, Any] = {
    "methods": ["lora", "nas_pc_lora"],
    "sam": {"image_size": 64, "checkpoint": "random"},
    "training": {"batch_size": 2},
    "timing": {"repeats": 2, "warm_up": 0, "steps": 1, "batch_sizes": [1]},
}


def study_in(results: Path, **overrides: Any) -> Study:
    return load_study("rehearsal", {**SETTINGS, "results": str(results), **overrides}, CONFIG)


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path, list[str]]:
    study = study_in(tmp_path_factory.mktemp("timed"))
    said: list[str] = []
    return study, time_methods(study, log=said.append), said


def test_every_pass_is_timed_with_every_batch_size(timed: tuple[Study, Path, list[str]]) -> None:
    study, path, said = timed
    timings, problems = read_timings(study)
    assert not problems
    [(name, timing)] = timings.items()
    assert path == Layout.of(study).timing / name
    assert name == f"{timing.hardware}.json"
    assert timing.hardware.endswith("-1-thread")
    assert [m.method for m in timing.methods] == ["lora", "nas_pc_lora"]
    lora, cells = timing.methods
    assert set(lora.passes) == {"training", "inference"}
    assert set(cells.passes) == {"training", "searching", "inference"}
    for one in (*lora.passes.values(), *cells.passes.values()):
        assert set(one.batches) == {2, 1}
        assert all(len(t.seconds) == 2 and t.status == "done" for t in one.batches.values())
    assert (lora.inference_form, cells.inference_form) == ("merged", "collapsed")
    assert said[0] == "memory is measured"
    assert said[-1] == "inference is timed, 1 image per batch"


def test_what_else_is_in_the_file(timed: tuple[Study, Path, list[str]]) -> None:
    study, path, _ = timed
    timing = Timing.model_validate(json.loads(path.read_text()))
    assert (timing.backbone, timing.image_size, timing.batch_size) == ("tiny", 64, 2)
    assert timing.images_per_epoch == 2000
    assert timing.settings["timing"] == study.timing.model_dump()
    assert timing.settings["training"]["threads"] == timing.provenance.hardware["threads"] == 1
    assert "noise" in timing.data
    assert "Python and torch" in timing.memory
    for measurement in timing.methods:
        assert measurement.adapter_bytes > 100_000  # the decoder is in it
        for name, one in measurement.passes.items():
            assert (one.peak_bytes is None) == (name == "inference")
    lora, cells = timing.methods
    assert cells.adapter_bytes > lora.adapter_bytes


def test_training_with_alpha_moves_alpha_and_without_it_does_not() -> None:
    study = study_in(Path("unused"))
    fabric = launch_fabric(study.training)
    subject = Subject(study, "nas_pc_lora", fabric, random_sam(study, fabric))
    batch = random_batch(study, 2)

    def state() -> dict[str, torch.Tensor]:
        return {n: p.detach().clone() for n, p in subject._sam.named_parameters()}

    start = state()
    call, images = subject.training(batch, searching=False)
    call()
    assert images == 2
    plain = state()
    call, _ = subject.training(batch, searching=True)
    call()
    both = state()
    alphas = [name for name in start if name.endswith("alpha")]
    assert alphas
    assert all(torch.equal(start[name], plain[name]) for name in alphas)
    assert not any(torch.equal(plain[name], both[name]) for name in alphas)
    changed = [name for name in start if not torch.equal(start[name], plain[name])]
    assert any("lora_B" in name for name in changed)


def test_a_call_counts_the_images_from_one_update_of_alpha_to_the_next() -> None:
    architecture = {"every_n_steps": 3}
    study = study_in(Path("unused"), training={"batch_size": 2, "architecture": architecture})
    fabric = launch_fabric(study.training)
    subject = Subject(study, "nas_pc_lora", fabric)
    batch = random_batch(study, 2)
    assert subject.training(batch, searching=True)[1] == 6
    assert subject.training(batch, searching=False)[1] == 2


def test_methods_share_what_is_frozen_and_nothing_that_they_train() -> None:
    study = study_in(Path("unused"), methods=["lora", "bitfit"])
    fabric = launch_fabric(study.training)
    base = random_sam(study, fabric)
    before = {name: p.detach().clone() for name, p in base.named_parameters()}
    models = [Subject(study, method, fabric, base) for method in study.methods]
    for model in models:
        model.training(random_batch(study, 1), searching=False)[0]()
    for name, parameter in base.named_parameters():
        assert torch.equal(parameter, before[name]), name
    theirs = dict(models[0]._sam.named_parameters())
    name = "image_encoder.blocks.0.mlp.lin1.weight"
    assert theirs[name].data_ptr() == dict(base.named_parameters())[name].data_ptr()
    assert theirs[name] is not dict(base.named_parameters())[name]


def test_what_does_not_fit_is_named_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """LoRA's peak cannot be found; NAS-PC-LoRA's training runs out of memory with one batch."""
    real = subjects.Learner.loss

    def peak(study: Study, method: str, fabric: Any, *, searching: bool) -> int:
        if method == "lora":
            raise DroppedError("diverged")
        return 1

    def loss(self: Any, batch: Any) -> Any:
        if len(batch[0]) == 1:
            raise torch.OutOfMemoryError
        return real(self, batch)

    monkeypatch.setattr(measure, "training_peak", peak)
    monkeypatch.setattr(subjects.Learner, "loss", loss)
    study = study_in(tmp_path)
    time_methods(study, tmp_path / "elsewhere.json")
    timing = Timing.model_validate(json.loads((tmp_path / "elsewhere.json").read_text()))
    lora, cells = timing.methods
    assert {t.status for t in lora.passes["training"].batches.values()} == {"diverged"}
    assert lora.passes["training"].best() is None
    assert lora.passes["inference"].batches[2].status == "done"
    assert cells.passes["training"].batches[1].status == "out of memory"
    best = cells.passes["searching"].best()
    assert best is not None
    assert best[0] == 2


def test_a_fork_that_fails_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_in(Path("unused"))
    fabric = launch_fabric(study.training)

    def dies(*_: Any) -> None:
        raise KeyError("a bug")

    def diverges(*_: Any) -> None:
        raise DroppedError("diverged")

    def killed(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def peak(train: Callable[..., None]) -> int | None:
        monkeypatch.setattr(memory, "_train", train)
        return memory.training_peak(study, "lora", fabric, searching=False)

    with pytest.raises(RuntimeError, match="training lora in a fork ended with exit code 1"):
        peak(dies)
    for train, status in ((diverges, "diverged"), (killed, "out of memory")):
        with pytest.raises(DroppedError) as caught:
            peak(train)
        assert caught.value.status == status


def test_growth_of_memory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_in(Path("unused"))
    fabric = launch_fabric(study.training)
    monkeypatch.setattr(memory, "_train", lambda *_: torch.ones(256 << 18).sum())  # 256 MiB
    freed = [bytearray(1 << 16) for _ in range(6000)]  # 375 MiB, which stay in the heap
    pin = bytearray(1 << 16)
    del freed
    grown = memory.training_peak(study, "lora", fabric, searching=False)
    assert grown is not None
    assert 240 << 20 < grown < 320 << 20
    assert pin


def test_settings_that_a_timing_depends_on(tmp_path: Path) -> None:
    base = timing_fingerprint(study_in(tmp_path))
    assert timing_fingerprint(study_in(tmp_path / "elsewhere", seeds=[5])) == base
    assert timing_fingerprint(study_in(tmp_path, training={"batch_size": 2, "epochs": 9})) == base
    for other in (
        {"training": {"batch_size": 3}},
        {"methods": ["lora"]},
        {"method_settings": {"lora": {"rank": 2}}},
        {"timing": {"steps": 7}},
    ):
        assert timing_fingerprint(study_in(tmp_path, **other)) != base


def test_settings_of_the_protocol_are_checked() -> None:
    with pytest.raises(SettingsError, match=r"timing\.repeats"):
        study_in(Path("unused"), timing={"repeats": 0})
