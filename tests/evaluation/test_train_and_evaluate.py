from __future__ import annotations

from collections.abc import Callable

import pytest

from naslora.core.errors import SettingsError
from naslora.evaluation import train_and_evaluate as module
from naslora.evaluation.train_and_evaluate import train_and_evaluate
from naslora.study.layout import Layout
from naslora.study.records import read_receipt, read_record
from naslora.study.settings import Study

Copy = Callable[..., Study]
RUN = ("kvasir", "lora", 0)


def test_the_same_results_as_one_after_the_other(copied: Copy, trained_study: Study) -> None:
    study = copied()
    record = train_and_evaluate(study, *RUN)
    before = read_record(Layout.of(trained_study).record(*RUN))
    assert record.metrics == before.metrics
    assert record.training is not None
    assert before.training is not None
    assert record.training.adapter == before.training.adapter


def test_what_is_trained_already_is_not_trained_again(
    copied: Copy, trained_study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = copied(of=trained_study)
    record = read_record(Layout.of(study).record(*RUN))
    Layout.of(study).record(*RUN).unlink()
    with monkeypatch.context() as patched:
        patched.setattr(module, "train", lambda *_: pytest.fail("trained"))
        assert train_and_evaluate(study, *RUN).metrics == record.metrics
    changed = copied({"training.learning_rate": 0.007}, of=trained_study, folder="changed")
    assert train_and_evaluate(changed, *RUN).metrics != record.metrics
    damaged = Layout.of(study).adapter(*RUN)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert train_and_evaluate(study, *RUN).metrics == record.metrics


def test_a_run_that_diverges_has_a_record(copied: Copy) -> None:
    study = copied({"training.learning_rate": 1e30})
    assert train_and_evaluate(study, *RUN).status == "diverged"
    assert read_receipt(Layout.of(study).receipt(*RUN)).status == "diverged"


def test_a_distributed_run_is_refused(copied: Copy) -> None:
    with pytest.raises(SettingsError, match="a run in 2 processes"):
        train_and_evaluate(copied({"training.devices": 2}), *RUN)
