"""Runs against each other: what a study's scores say of the paper's claims."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naslora.report.claims import ablations, multi_class, scores
from naslora.report.claims.claim import Claim, Judgement
from naslora.report.claims.comparison import judge, most
from naslora.report.claims.evidence import Evidence, PairedDifference
from naslora.report.tables import ablations as tables
from naslora.report.tables.table3 import CLASSES
from naslora.results.aggregate import Aggregate
from naslora.study.layout import Layout
from naslora.study.settings import Study, load_study

SomeRecords = Callable[..., Aggregate]
EvidenceOf = Callable[[list[tuple[Any, ...]]], Evidence]
FEW = settings(max_examples=60, deadline=None)
NUMBERS = st.lists(st.floats(-1, 1), min_size=2, max_size=5)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return load_study("paper", {"results": str(tmp_path)})


@pytest.fixture
def evidence_of(study: Study, some_records: SomeRecords) -> EvidenceOf:
    """Evidence of rows of scores. All test images have the same values, so that seeds decide."""

    def make(rows: list[tuple[Any, ...]]) -> Evidence:
        runs: dict[tuple[str, str, int], dict[str, dict[str, float]]] = {}
        for task, test_set, variant, _, seed, metric, value in rows:
            runs.setdefault((task, variant, seed), {}).setdefault(test_set, {})[metric] = value
        for (task, variant, seed), values in runs.items():
            path = Layout.of(study).per_image(task, variant, seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            frames = [
                pd.DataFrame({"test_set": test_set, "id": ["a", "b", "c"], **metrics})
                for test_set, metrics in values.items()
            ]
            pd.concat(frames).to_parquet(path)
        return Evidence(study, replace(some_records(rows), study=study))

    return make


def scored(
    task: str, metrics: str | list[str], test_set: str = "test", **values: list[float]
) -> list[tuple[Any, ...]]:
    """Runs of methods, a value per seed, alike in all metrics."""
    return [
        (task, test_set, variant, variant, seed, metric, value)
        for variant, by_seed in values.items()
        for seed, value in enumerate(by_seed)
        for metric in ([metrics] if isinstance(metrics, str) else metrics)
    ]


def said(claim: Claim) -> str:
    return " ".join(claim.measured)


# Differences between runs, and what is made of many of them.


@FEW
@given(NUMBERS, st.integers(1, 20))
def test_what_is_better_one_way_is_worse_the_other_way(values: list[float], among: int) -> None:
    one, other = (
        PairedDifference(tuple(values)),
        PairedDifference(tuple(-value for value in values)),
    )
    assert one.significant_sign(among) == -other.significant_sign(among)
    # Sharing the level makes nothing easier.
    assert abs(one.significant_sign(among)) <= abs(one.significant_sign())


@FEW
@given(st.lists(NUMBERS, min_size=1, max_size=6), st.data())
def test_a_judgement_and_its_contrary_exclude_each_other(
    values: list[list[float]], data: st.DataObject
) -> None:
    differences = [PairedDifference(tuple(one)) for one in values]
    against = [PairedDifference(tuple(-value for value in one)) for one in values]
    needed = data.draw(st.integers(1, len(values)))
    judged = judge(differences, needed)
    if judged is Judgement.HOLDS:
        assert judge(against, len(values) - needed + 1) is Judgement.CONTRADICTED
        assert needed == 1 or judge(differences, needed - 1) is not Judgement.CONTRADICTED


def test_a_difference_needs_repeats_and_little_scatter() -> None:
    assert PairedDifference((0.3,)).significant_sign() == 0
    assert PairedDifference((0.3, 0.3, 0.3)).significant_sign() == 1
    assert PairedDifference((-0.3, -0.31, -0.29)).significant_sign() == -1
    assert PairedDifference((0.9, -0.3, 0.3)).significant_sign() == 0
    # Its t-interval is 0.3 +- 0.0248: not so for one of a hundred comparisons.
    close = PairedDifference((0.31, 0.30, 0.29))
    assert (close.significant_sign(), close.significant_sign(comparisons=1000)) == (1, 0)
    assert close.text == "+0.30 ± 0.02"
    assert most(14) == 8
    assert most(7) == 4


def test_one_of_many_comparisons_may_be_chance() -> None:
    clear, doubtful = PairedDifference((0.3, 0.3, 0.3)), PairedDifference((-0.31, -0.3, -0.15))
    assert (clear.significant_sign(), doubtful.significant_sign()) == (1, -1)
    assert judge([doubtful], 1) is Judgement.CONTRADICTED
    assert judge([clear] * 9 + [doubtful], 10) is Judgement.OPEN
    for few in (8, 5):  # of which nine cannot be positive
        assert judge([clear] * few, 9) is Judgement.OPEN
    assert judge([clear] * 9 + [PairedDifference((-0.3, -0.3, -0.3))], 10) is Judgement.CONTRADICTED
    # Nor does one of ten that is better make one of ten better.
    better = PairedDifference(tuple(-value for value in doubtful.values))
    assert judge([PairedDifference((0.1, -0.1))] * 9 + [better], 1) is Judgement.OPEN


# Scores.


def test_differences_are_of_runs_of_one_seed(evidence_of: EvidenceOf) -> None:
    """Seeds differ much, and the two methods by a constant."""
    base = [0.3, 0.5, 0.9]
    found = scored("leaf", "IoU", nas_lora=base, nas_pc_lora=[value + 0.01 for value in base])
    claim = scores.partial_connection(evidence_of(found))
    assert claim.ours is Judgement.HOLDS
    assert "better in 1 (Leaf IoU) of 1 columns" in said(claim)
    assert "n = 3 seeds" in said(claim)
    assert "1.0 points apart in the median" in said(claim)


def test_scores_are_compared_by_direction(evidence_of: EvidenceOf) -> None:
    better = scored("leaf", "IoU", nas_lora=[0.5, 0.5], nas_pc_lora=[0.6, 0.6])
    worse = scored("sbu", "BER", nas_lora=[5.0, 5.0], nas_pc_lora=[6.0, 6.0])
    claim = scores.partial_connection(evidence_of(better + worse))
    assert "better in 1 (Leaf IoU) of 2 columns, worse in 1 (SBU BER (set))" in said(claim)
    assert claim.ours is Judgement.CONTRADICTED


def test_seeds_of_another_study_do_not_count(evidence_of: EvidenceOf) -> None:
    found = scored("leaf", "IoU", nas_lora=[0.5] * 4, nas_pc_lora=[0.6, 0.6, 0.6, 0.0])
    claim = scores.partial_connection(evidence_of(found))
    assert claim.ours is Judgement.HOLDS


def test_one_seed_decides_nothing(evidence_of: EvidenceOf) -> None:
    found = scored("leaf", "IoU", nas_lora=[0.1], nas_pc_lora=[0.9])
    claim = scores.partial_connection(evidence_of(found))
    assert claim.ours is Judgement.OPEN
    assert "n = 1 seed)" in said(claim)


def test_too_few_images_decide_nothing(study: Study, evidence_of: EvidenceOf) -> None:
    """Significance is that of the tables: the interval over test images must exclude zero, too."""
    evidence = evidence_of(scored("leaf", "IoU", nas_lora=[0.5] * 3, nas_pc_lora=[0.51] * 3))
    assert scores.partial_connection(evidence).ours is Judgement.HOLDS
    for seed in range(3):
        path = Layout.of(study).per_image("leaf", "nas_pc_lora", seed)
        pd.read_parquet(path).assign(IoU=[0.21, 0.51, 0.81]).to_parquet(path)
    again = Evidence(study, replace(evidence.records))
    assert scores.partial_connection(again).ours is Judgement.OPEN


def test_the_best_method_is_sought_among_all(evidence_of: EvidenceOf) -> None:
    found = scored(
        "leaf", "IoU", nas_lora=[0.5] * 3, nas_pc_lora=[0.6] * 3, mona=[0.65] * 3, lora=[0.64] * 3
    )
    claim = scores.best_of_all(evidence_of(found))
    assert claim.ours is Judgement.CONTRADICTED
    assert "is better in 0 of 1 columns, worse in 1 (Leaf IoU)" in said(claim)
    assert "Ahead there: Mona in 1." in said(claim)


def test_classes_are_counted(evidence_of: EvidenceOf) -> None:
    def found(lost: int) -> list[tuple[Any, ...]]:
        rows = scored("trans10k_v2", "Acc", nas_lora=[0.8] * 3, lora=[0.7] * 3)
        for index, name in enumerate(CLASSES.values()):
            ours = 0.2 if index < lost else 0.6
            rows += scored("trans10k_v2", f"IoU_{name}", nas_lora=[ours] * 3, lora=[0.5] * 3)
        return rows

    for lost, judgement in ((3, Judgement.HOLDS), (4, Judgement.PARTLY)):
        claim = multi_class.nine_categories(evidence_of(found(lost)))
        assert claim.ours is judgement
        assert f"better in {12 - lost} (" in said(claim)
        assert "In accuracy it differs from the best of all others by +10.00 ± 0.00" in said(claim)


def test_the_definition_of_a_mean_moves_it(evidence_of: EvidenceOf) -> None:
    found = scored("trans10k_v2", "mIoU", lora=[0.6, 0.6], vpt=[0.58, 0.58])
    found += scored("trans10k_v2", "mIoU_foreground", lora=[0.55, 0.55], vpt=[0.53, 0.53])
    claim = multi_class.two_mious(evidence_of(found))
    assert "is 5.00 points above that over 11 of the same run (mean over 2 methods" in said(claim)
    assert "two best methods are 2.00 points apart" in said(claim)


# Ablations.


def ablated(task: str, spec: str, **values: list[float]) -> list[tuple[Any, ...]]:
    metrics = [column.metric for column in getattr(tables, spec).columns]
    return scored(task, metrics, **values)


@pytest.mark.parametrize(
    ("pooling", "judgement"),
    [([0.69, 0.68], Judgement.HOLDS), ([0.55, 0.54], Judgement.CONTRADICTED)],
)
def test_what_operations_contribute(
    pooling: list[float], judgement: Judgement, evidence_of: EvidenceOf
) -> None:
    found = ablated(
        "isic2017",
        "TABLE6",
        nas_pc_lora=[0.70, 0.69],
        no_convolution=[0.60, 0.59],
        no_skip_zero=[0.65, 0.64],
        no_pooling=pooling,
    )
    claim = ablations.operations(evidence_of(found))
    assert claim.ours is judgement
    assert claim.measured[0].startswith("Without convolution: IoU -10.00 ± 0.00, T-Jac -10.00")
    assert "mean of these -10.00 ± 0.00 (n = 2 seeds)" in claim.measured[0]
    assert "convolutions give +5.00 ± 0.00 points more than skip" in claim.measured[-1]


def test_an_ablation_with_a_missing_row_is_not_judged(evidence_of: EvidenceOf) -> None:
    found = ablated("isic2017", "TABLE6", nas_pc_lora=[0.7, 0.7], no_pooling=[0.6, 0.6])
    claim = ablations.operations(evidence_of(found))
    assert claim.ours is Judgement.NOT_MEASURED
    assert len(claim.measured) == 1


def test_the_rank(evidence_of: EvidenceOf) -> None:
    def claim(miou: list[float]) -> Claim:
        names = ("nas_pc_lora", "rank_6", "rank_12", "rank_24")
        accuracy = {name: [0.9 + i / 100] * 2 for i, name in enumerate(names)}
        found = scored("trans10k_v2", "Acc", **accuracy)
        found += scored(
            "trans10k_v2", "mIoU", **{n: [m] * 2 for n, m in zip(names, miou, strict=True)}
        )
        return ablations.rank(evidence_of(found))

    rising, falling = claim([0.5, 0.6, 0.7, 0.8]), claim([0.5, 0.6, 0.7, 0.65])
    assert rising.ours is Judgement.HOLDS
    assert "Acc: 90.00 -> 91.00 -> 92.00 -> 93.00; steps +1.00 ± 0.00" in said(rising)
    assert falling.ours is Judgement.PARTLY
    assert claim([0.5, 0.6, 0.7, 0.7]).ours is Judgement.OPEN


def test_places_channels_and_stages(evidence_of: EvidenceOf) -> None:
    found = ablated(
        "leaf",
        "TABLE8",
        nas_pc_lora=[0.75, 0.76],
        nas_lora=[0.74, 0.75],
        layers_first_half=[0.70, 0.71],
        layers_last_half=[0.72, 0.73],
        channels_1_of_3=[0.76, 0.77],
    )
    found += ablated(
        "isic2017", "TABLE9", nas_pc_lora=[0.7, 0.7], alpha_simultaneous=[0.7, 0.69],
        alpha_from_start=[0.7, 0.7],
    )  # fmt: skip
    evidence = evidence_of(found)
    assert ablations.place(evidence).ours is Judgement.HOLDS
    assert "The last half against the first: IoU +2.00" in said(ablations.place(evidence))
    assert ablations.channels(evidence).ours is Judgement.CONTRADICTED
    assert "2/3 against 1/3: IoU -1.00" in said(ablations.channels(evidence))
    simultaneous = ablations.simultaneous(evidence)
    assert simultaneous.ours is Judgement.OPEN
    assert "Stage-wise with T_B = 10 against simultaneous: IoU +0.50 ± 6.35" in said(simultaneous)
