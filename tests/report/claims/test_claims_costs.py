"""What timings, records' times, counts and analyses say of the paper's claims."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from naslora.analysis.document import Analysis
from naslora.report.claims import costs, counts, features
from naslora.report.claims import merge_loss as merging
from naslora.report.claims.claim import Claim, Judgement
from naslora.report.claims.evidence import Evidence
from naslora.report.tables import table4
from naslora.report.tables.cells import Cell
from naslora.report.tables.model import Row, Table
from naslora.results.aggregate import Aggregate
from naslora.results.shares import LABELS, Shares
from naslora.study.layout import Layout
from naslora.study.records import Provenance
from naslora.study.settings import Study, load_study
from naslora.timing.document import Measurement, Pass, Timed, Timing, write_timing

SomeRecords = Callable[..., Aggregate]
V100 = {"device": "cuda", "gpu": "Tesla V100"}
CPU = {"device": "cpu", "processor": "Some Processor", "threads": 2}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return load_study("paper", {"results": str(tmp_path)})


def epochs_of(variant: str, seconds: float, searching: float | None = None) -> list[Any]:
    """Four epochs, the first of them slow; alpha is trained in the last two."""
    times = [9 * seconds, seconds, searching or seconds, searching or seconds]
    return [
        ("leaf", variant, 0, epoch, 1.0, time, searching is not None and epoch > 2)
        for epoch, time in enumerate(times, start=1)
    ]


def time_on(study: Study, name: str, hardware: dict[str, Any], **methods: dict[str, float]) -> None:
    """Write timings of methods: three turns of 1, 1.01 and 0.98 times these seconds per image."""

    def timed(seconds: float) -> Pass:
        turns = [factor * seconds for factor in (1, 1.01, 0.98)]
        return Pass(batches={4: Timed(status="done", seconds=turns)})

    timing = Timing(
        study=study.study,
        hardware=name,
        backbone="vit_h",
        image_size=1024,
        batch_size=4,
        images_per_epoch=2000,
        settings={},
        data="noise",
        memory="none",
        methods=[
            Measurement(
                method=method,
                title=method,
                settings=study.method_settings.get(method, {}),
                passes={kind: timed(seconds) for kind, seconds in passes.items()},
                inference_form="collapsed" if method.startswith("nas") else "merged",
                adapter_bytes=1,
            )
            for method, passes in methods.items()
        ],
        load_average=(0.0, 1.0),
        wall_time_s=1.0,
        provenance=Provenance(hardware=hardware, versions={}, git_revision=None, git_dirty=None),
    )
    folder = Layout.of(study).timing
    folder.mkdir(parents=True, exist_ok=True)
    write_timing(folder / f"{name}.json", timing)


def said(claim: Claim) -> str:
    return " ".join(claim.measured)


@pytest.mark.parametrize(
    ("searching", "judgement", "shown"),
    [
        (3.0, Judgement.CONTRADICTED, "1.50"),
        (1.8, Judgement.CONTRADICTED, "0.90"),
        (1.7, Judgement.PARTLY, "0.85"),
        (1.5, Judgement.HOLDS, "0.75"),
    ],
)
def test_without_timings_warm_epochs_count(
    study: Study, searching: float, judgement: Judgement, shown: str, some_records: SomeRecords
) -> None:
    epochs = epochs_of("lora", 2.0) + epochs_of("nas_pc_lora", 2.2, searching)
    claim = costs.training_cost(Evidence(study, some_records(epochs=epochs)))
    assert claim.ours is judgement
    alone, both = claim.measured
    assert "epochs that train w alone take 1.10 times LoRA's time (median of 1 pairs" in alone
    assert f"w and alpha take {shown} " in both
    assert "shared a machine" in both


def test_ratios_are_of_runs_of_one_task_and_seed(study: Study, some_records: SomeRecords) -> None:
    epochs = epochs_of("lora", 2.0) + [("road", *row[1:]) for row in epochs_of("vera", 50.0)]
    evidence = Evidence(study, some_records(epochs=epochs))
    assert evidence.epoch_ratio("vera", "lora", searching=False) is None


def test_the_timing_protocol_counts_first_and_a_gpu_before_others(
    study: Study, some_records: SomeRecords
) -> None:
    lora = {"training": 0.6, "inference": 0.2}
    own = {"training": 0.66, "searching": 0.9, "inference": 0.2}
    vera = {"training": 0.63, "inference": 0.2}
    time_on(study, "a-cpu", CPU, lora=lora, nas_pc_lora={**own, "searching": 0.3}, vera=vera)
    time_on(study, "b-gpu", V100, lora=lora, nas_pc_lora=own, vera=vera)
    epochs = epochs_of("lora", 2.0) + epochs_of("nas_pc_lora", 1.0, 1.0)
    evidence = Evidence(study, some_records(epochs=epochs))
    claim = costs.training_cost(evidence)
    assert claim.ours is Judgement.CONTRADICTED
    gpu, cpu, *runs = claim.measured
    assert gpu == (
        "Training time over LoRA's, Tesla V100: 1.10 (median of 3 turns, 1.10 to 1.10) with w "
        "alone; 1.50 (median of 3 turns, 1.50 to 1.50) with w and alpha; 1.40 over the schedule "
        "of 40 epochs, 10 of them without alpha."
    )
    assert cpu.startswith("Training time over LoRA's, Some Processor, 2 threads: 1.10")
    assert len(runs) == 2
    vera_claim = costs.vera_timing(evidence)
    assert vera_claim.ours is Judgement.CONTRADICTED
    assert "VeRA, Tesla V100: it trains 0.32 times as fast as it infers" in said(vera_claim)


@pytest.mark.parametrize(
    ("seconds", "judgement"),
    [(0.2, Judgement.HOLDS), (0.204, Judgement.HOLDS), (0.25, Judgement.CONTRADICTED)],
)
def test_inference_is_timed_beside_lora_s(
    study: Study, seconds: float, judgement: Judgement, some_records: SomeRecords
) -> None:
    time_on(
        study,
        "gpu",
        V100,
        lora={"training": 1.0, "inference": 0.2},
        nas_pc_lora={"training": 1.0, "searching": 1.0, "inference": seconds},
    )
    claim = costs.inference_cost(Evidence(study, some_records()))
    assert claim.ours is judgement
    assert f"Tesla V100: {seconds / 0.2:.2f} (median of 3 turns" in said(claim)
    assert "collapsed into one convolution and a max-pool" in said(claim)


def test_a_timing_with_other_settings_does_not_count(
    study: Study, some_records: SomeRecords
) -> None:
    time_on(
        study,
        "gpu",
        V100,
        lora={"training": 1.0, "inference": 0.2},
        vera={"training": 1.0, "inference": 0.2},
    )
    changed = study.model_copy(update={"method_settings": {"vera": {"rank": 4}}})
    assert costs.vera_timing(Evidence(study, some_records())).ours is Judgement.CONTRADICTED
    assert costs.vera_timing(Evidence(changed, some_records())).ours is Judgement.NOT_MEASURED


@pytest.mark.parametrize(
    ("errors", "judgement"),
    [
        ({"a": 0.2, "b": 0.1, "c": 0.4}, Judgement.CONTRADICTED),
        ({"a": 0.0, "b": 0.0005}, Judgement.HOLDS),
        ({}, Judgement.NOT_MEASURED),
    ],
)
def test_what_merging_loses(
    study: Study,
    monkeypatch: pytest.MonkeyPatch,
    errors: dict[str, float],
    judgement: Judgement,
    some_records: SomeRecords,
) -> None:
    analysis = Analysis.model_construct(
        merge_errors=errors, images=["one", "two"], seed=0, task="kvasir"
    )
    monkeypatch.setattr(merging, "analyses", lambda study: ({"nas_lora": analysis}, {}))
    claim = merging.merging(Evidence(study, some_records()))
    assert claim.ours is judgement
    if judgement is Judgement.CONTRADICTED:
        assert "on 2 test images of Kvasir: with the best plain layer in place of each of 3" in (
            said(claim)
        )
        assert "an error of 20.0 % in the median, 10.0 % to 40.0 %" in said(claim)


# Counts and features.


def test_parameters_of_tasks_are_compared(study: Study, some_records: SomeRecords) -> None:
    def claim(v2: int) -> Claim:
        runs = [
            (task, "nas_pc_lora", "nas_pc_lora", "NAS-PC-LoRA", 0, "done", count)
            for task, count in (("leaf", 4_000), ("road", 4_000), ("trans10k_v2", v2))
        ]
        return counts.one_count_for_all_tasks(Evidence(study, some_records(runs=runs)))

    assert claim(5_000).ours is Judgement.CONTRADICTED
    assert claim(4_000).ours is Judgement.HOLDS
    assert said(claim(5_000)) == (
        "NAS-PC-LoRA in this study: 4,000 on binary tasks, 5,000 on trans10k_v2."
    )


def table_of(study: Study, *rows: list[float]) -> Table:
    """Table 4 with these means in every column; images differ by constants."""
    spread = np.linspace(-1, 1, 5)
    whole = table4.table4(study)
    return Table(
        **{**vars(whole), "rows": tuple(
            Row(name=str(i), title=str(i), kind="method", cells=tuple(
                Cell(tuple(mean + spread), "done", None, False) for mean in means
            ))
            for i, means in enumerate(rows)
        )}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("last", "judgement"),
    [
        ([60, 60, 60, -1, -1, -1], Judgement.HOLDS),
        ([60, 60, 80, -1, -1, -1], Judgement.OPEN),
        ([60, 60, 90, -1, -1, -1], Judgement.PARTLY),
    ],
)
def test_inductive_bias_is_told_from_images(
    study: Study,
    monkeypatch: pytest.MonkeyPatch,
    last: list[float],
    judgement: Judgement,
    some_records: SomeRecords,
) -> None:
    table = table_of(study, [100, 100, 100, -5, -5, -5], [80, 80, 80, -4, -4, -4], last)
    monkeypatch.setattr(features, "table4", lambda study: table)
    claim = features.inductive_bias(Evidence(study, some_records()))
    assert claim.ours is judgement
    assert claim.measured[0] == (
        "Distance (px), layer 10: 100.0 -> 80.0 -> 60.0; steps -20.00 ± 0.00, -20.00 ± 0.00 "
        "(n = 5 images)."
    )


def test_shares_of_operations_are_told_from_seeds(
    study: Study, monkeypatch: pytest.MonkeyPatch, some_records: SomeRecords
) -> None:
    def shares(best: tuple[str, ...]) -> Shares:
        values = np.array([0.2 if name.startswith(best) else 0.1 for name in LABELS])
        values = np.stack([values + 0.001 * seed for seed in (0, 1)])[:, None]
        return Shares(tuple(LABELS), (0,), ("qkv",), (0, 1), values)

    def judged(leaf: tuple[str, ...], glass: tuple[str, ...]) -> Claim:
        found = {"leaf": shares(leaf), "trans10k_v2": shares(glass)}
        monkeypatch.setattr(features, "read_shares", lambda s, r, task, m: found[task])
        return features.preferences(Evidence(study, some_records()))

    claim = judged(("sep",), ("sep", "dil"))
    assert claim.ours is Judgement.HOLDS
    assert re.match(r"Leaf: separable convolutions 40\.\d+ %, dilated", claim.measured[0])
    assert judged(("max", "skip"), ("sep", "dil")).ours is Judgement.CONTRADICTED
    assert judged(("sep", "dil"), ("sep", "dil")).ours is Judgement.OPEN


def test_the_operations_are_those_of_the_cell() -> None:
    from naslora.nas.settings import OPERATIONS

    assert tuple(LABELS) == OPERATIONS
