"""The audit of the paper's claims: its arithmetic, and what records say of them."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from naslora.report.aggregate import Aggregate
from naslora.report.claims import ablations, costs, counts, scores
from naslora.report.claims.audit import audit_claims, claims_json, claims_markdown
from naslora.report.claims.claim import Claim, Judgement, value
from naslora.report.claims.evidence import Evidence
from naslora.settings import Study, load_study

NO_RUNS = pd.DataFrame(
    columns=["task", "test_set", "variant", "method", "seed", "metric", "value", "status"]
)
EPOCHS = ["task", "variant", "seed", "epoch", "loss", "seconds", "searching"]


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study("paper")


def records(
    scored: list[dict[str, object]] | None = None, epochs: list[tuple[object, ...]] | None = None
) -> Aggregate:
    return Aggregate(
        scores=pd.DataFrame(scored) if scored else NO_RUNS,
        runs=pd.DataFrame(),
        losses=pd.DataFrame(epochs or [], columns=EPOCHS),
        problems=(),
    )


def timed(variant: str, seconds: float, searching: float | None = None) -> list[tuple[object, ...]]:
    """Four epochs, the first of them slow; alpha is trained in the last two."""
    times = [9 * seconds, seconds, searching or seconds, searching or seconds]
    return [
        ("leaf", variant, 0, epoch, 1.0, time, searching is not None and epoch > 2)
        for epoch, time in enumerate(times, start=1)
    ]


def scored(task: str, metric: str, **values: float) -> list[dict[str, object]]:
    return [
        {
            "task": task,
            "test_set": "test",
            "variant": variant,
            "method": variant,
            "seed": seed,
            "metric": metric,
            "value": score + seed / 100,
            "status": "done",
        }
        for variant, score in values.items()
        for seed in (0, 1)
    ]


def text(claim: Claim) -> str:
    return " ".join(claim.arithmetic)


def test_the_headline_is_an_increase(study: Study) -> None:
    claim = costs.training_cost(Evidence(study, records()))
    assert claim.paper is Judgement.CONTRADICTED
    assert "25.2 / 20.3 = 1.2414" in text(claim)
    assert "24.14 % more" in text(claim)
    assert "(10 x 21.1 + 30 x 25.2) / (40 x 20.3) = 1.191" in text(claim)
    assert "0.886 of Conv-LoRA" in text(claim)
    assert claim.ours is Judgement.NOT_MEASURED
    assert not claim.measured


@pytest.mark.parametrize(
    ("searching", "judgement", "shown"),
    [(3.0, Judgement.CONTRADICTED, "1.50"), (1.5, Judgement.HOLDS, "0.75")],
)
def test_the_cost_is_measured_from_warm_epochs(
    study: Study, searching: float, judgement: Judgement, shown: str
) -> None:
    epochs = timed("lora", 2.0) + timed("nas_pc_lora", 2.2, searching)
    claim = costs.training_cost(Evidence(study, records(epochs=epochs)))
    assert claim.ours is judgement
    alone, both, note = claim.measured
    assert "w alone take 1.10 " in alone
    assert f"w and alpha take {shown} " in both
    assert "shared the machine" in note


def test_ratios_are_of_runs_of_one_task_and_seed(study: Study) -> None:
    epochs = timed("lora", 2.0) + [
        ("road", *row[1:]) for row in timed("vera", 50.0) if row[0] == "leaf"
    ]
    assert Evidence(study, records(epochs=epochs)).epoch_ratio("vera", "lora", searching=False) is (
        None
    )


def test_times_of_an_epoch_agree_with_iterations(study: Study) -> None:
    claim = costs.epoch_times(Evidence(study, records()))
    assert "2000 / (1.64 x 60) = 20.3" in text(claim)
    assert "NAS-PC-LoRA (update w) (21.23 against 21.1)" in text(claim)
    assert "Conv-LoRA" not in text(claim)


def test_the_mious_of_table_3_are_of_two_kinds(study: Study) -> None:
    claim = scores.two_mious(Evidence(study, records()))
    assert claim.paper is Judgement.CONTRADICTED
    assert "Mean over 12 classes: Translab, Trans2Seg." in text(claim)
    assert "without background: Decoder-only, VPT, LoRA, Conv-LoRA." in text(claim)
    for row, both in (("DoRA", "68.91 and 66.30"), ("NAS-LoRA", "70.58 and 68.11")):
        assert f"{row} ({both}" in text(claim)
    assert "Trans2Seg is first with 72.15, and NAS-PC-LoRA has 70.80" in text(claim)


def test_partial_connection_counts_columns_and_data_sets(study: Study) -> None:
    claim = scores.partial_connection(Evidence(study, records()))
    assert "better in 11 of 14 columns, in every column of 5 of 7 data sets" in text(claim)
    assert "in none of isic2017, sbu" in text(claim)
    assert claim.paper is Judgement.HOLDS


def test_scores_are_compared_as_means_over_seeds_and_by_direction(study: Study) -> None:
    better = scored("leaf", "IoU", nas_lora=0.5, nas_pc_lora=0.6)
    worse = scored("sbu", "BER", nas_lora=5.0, nas_pc_lora=6.0)
    claim = scores.partial_connection(Evidence(study, records(better)))
    assert claim.ours is Judgement.HOLDS
    assert claim.measured == ("Better in 1 of 1 columns (Leaf IoU).",)
    claim = scores.partial_connection(Evidence(study, records(better + worse)))
    assert claim.ours is Judgement.CONTRADICTED
    assert claim.measured == ("Better in 1 of 2 columns (Leaf IoU).",)


def test_the_best_method_is_sought_among_all(study: Study) -> None:
    found = scored("leaf", "IoU", nas_lora=0.5, nas_pc_lora=0.6, mona=0.65)
    claim = scores.best_of_all(Evidence(study, records(found)))
    assert claim.ours is Judgement.CONTRADICTED
    assert "leads 0 of 1 columns (none)" in claim.measured[0]
    assert "leads 10 of 14 columns" in text(claim)


def test_dice_is_bounded_by_iou(study: Study) -> None:
    assert "53 of 53 printed pairs do." in text(scores.dice_and_iou(Evidence(study, records())))


def test_ratio_columns_that_do_not_follow_are_named(study: Study) -> None:
    claim = counts.ratios(Evidence(study, records()))
    assert claim.paper is Judgement.PARTLY
    assert "32 of 38 printed ratios follow" in text(claim)
    assert "100 x 4.009 / 641.09 = 0.6253" in text(claim)
    assert "Table D1, 2/3: 0.62" in text(claim)


def test_counts_are_counted(study: Study) -> None:
    half = counts.half_of_the_layers(Evidence(study, records()))
    assert "= 3.760" in text(half)
    assert "3,753,856" in half.measured[0]
    others = counts.vera_and_mona(Evidence(study, records()))
    assert "15,023,488" in " ".join(others.measured)
    ranks = counts.ranks(Evidence(study, records()))
    assert "0.012 (rank 3), 0.011 (rank 6)" in text(ranks)
    assert ranks.ours is Judgement.PARTLY


def test_ablations(study: Study) -> None:
    evidence = Evidence(study, records())
    assert ablations.operations(evidence).paper is Judgement.HOLDS
    rank = ablations.rank(evidence)
    assert rank.paper is Judgement.PARTLY
    assert "95.77 -> 95.76, not rising" in text(rank)
    bias = text(ablations.inductive_bias(evidence))
    assert "116.5 px" in bias
    assert "534 px" in bias
    assert ablations.simultaneous(evidence).paper is Judgement.OPEN


def test_cells_that_the_paper_leaves_empty_are_no_numbers() -> None:
    with pytest.raises(KeyError, match="prints nothing"):
        value("5", "NAS-PC-LoRA (update w and alpha)", "inference_iter_per_s")


def test_the_documents_hold_every_claim_once(study: Study) -> None:
    claims = audit_claims(study, records())
    assert len({claim.key for claim in claims}) == len(claims) >= 15
    document = claims_markdown(study, claims)
    assert all(document.count(f"## {claim.text}") == 1 for claim in claims)
    read = json.loads(claims_json(claims))
    assert [entry["key"] for entry in read] == [claim.key for claim in claims]
    assert read[0]["paper"] == "contradicted"
