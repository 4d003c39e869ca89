"""The audit of the paper's claims: the arithmetic of its own numbers."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest

from naslora.paper.published import columns, rows
from naslora.report.claims import ablations, costs, counts, features, multi_class, scores
from naslora.report.claims.audit import audit_claims, claims_json, claims_markdown, summary
from naslora.report.claims.claim import Claim, Judgement, value
from naslora.report.claims.evidence import Evidence
from naslora.report.tables.table4 import RANDOM_VIT_H
from naslora.results.aggregate import aggregate
from naslora.study.settings import Study, load_study

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "results" / "random_vit-vit_h.json"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return load_study("paper", {"results": str(tmp_path_factory.mktemp("none"))})


@pytest.fixture(scope="module")
def nothing(study: Study) -> Evidence:
    """A study without any record."""
    return Evidence(study, aggregate(study))


def text(claim: Claim) -> str:
    return " ".join(claim.arithmetic)


def test_the_headline_is_an_increase(nothing: Evidence) -> None:
    claim = costs.training_cost(nothing)
    assert claim.paper is Judgement.CONTRADICTED
    assert "25.2 / 20.3 = 1.2414" in text(claim)
    assert "24.14 % more" in text(claim)
    assert "(10 x 21.1 + 30 x 25.2) / (40 x 20.3) = 1.191" in text(claim)
    assert "0.886 of Conv-LoRA" in text(claim)
    assert "the nearest is DoRA against Conv-LoRA, 24.18 %" in text(claim)
    minutes = [value("5", row, "train_min_per_epoch") for row in rows("5")]
    assert all(round(100 * (1 - a / b), 2) != 24.14 for a in minutes for b in minutes)


def test_times_of_an_epoch_agree_with_iterations(nothing: Evidence) -> None:
    claim = costs.epoch_times(nothing)
    assert "2000 / (1.64 x 60) = 20.3" in text(claim)
    assert "differs for NAS-PC-LoRA (update w) (21.23 against 21.1)." in text(claim)
    # Not even the least that both roundings leave: 1.575 images a second, and 21.15 minutes.
    assert 2000 / 1.575 / 60 > 21.15
    assert claim.ours is Judgement.PRINT_ALONE


def test_vera_cannot_train_faster_than_it_infers(nothing: Evidence) -> None:
    claim = costs.vera_timing(nothing)
    assert "2.8 times" in text(claim)
    assert "0.12 of LoRA's time" in text(claim)
    assert claim.text == "VeRA trains at 13.14 images per second, 8 times as fast as LoRA."


def test_forty_steps_are_no_training(nothing: Evidence) -> None:
    claim = costs.steps_or_epochs(nothing)
    assert "40 steps of 4 images are 160 images" in text(claim)
    assert "This study counts epochs: 40, 10 of them without alpha." in text(claim)


def test_the_mious_of_table_3_are_of_two_kinds(nothing: Evidence) -> None:
    claim = multi_class.two_mious(nothing)
    assert claim.paper is Judgement.CONTRADICTED
    assert "Mean over 12 classes: Translab, Trans2Seg." in text(claim)
    assert "without background: Decoder-only, VPT, LoRA, Conv-LoRA." in text(claim)
    for row, both in (
        ("DoRA", "68.91 and 66.30"),
        ("VeRA", "66.09 and 63.25"),
        ("NAS-LoRA", "70.58 and 68.11"),
        ("NAS-PC-LoRA", "70.80 and 68.35"),
    ):
        assert f"{row} ({both}" in text(claim)
    assert "Trans2Seg is first with 72.15, and NAS-PC-LoRA has 70.80" in text(claim)


def test_an_adapted_sam_is_ahead_of_translab_on_one_definition(nothing: Evidence) -> None:
    claim = multi_class.below_networks(nothing)
    assert claim.paper is Judgement.PARTLY
    assert "ahead of Translab (69.00): Conv-LoRA (69.64)" in text(claim)
    assert "ahead of Trans2Seg (72.15): none" in text(claim)
    classes = columns("3")[2:14]
    assert classes[0] == "background"
    assert classes[-1] == "box"
    conv_lora, translab = (
        fmean(value("3", row, c) for c in classes) for row in ("Conv-LoRA", "Translab")
    )
    assert conv_lora > translab
    assert value("3", "Conv-LoRA", "mIoU") < value("3", "Translab", "mIoU")


def test_both_lead_all_columns_of_table_2(nothing: Evidence) -> None:
    claim = multi_class.three_classes(nothing)
    assert claim.paper is Judgement.HOLDS
    assert "Both lead all 8 columns." in text(claim)


def test_nine_categories(nothing: Evidence) -> None:
    claim = multi_class.nine_categories(nothing)
    assert claim.paper is Judgement.HOLDS
    assert "9 of 12 classes, background among them (NAS-LoRA 2, NAS-PC-LoRA 7)" in text(claim)


def test_partial_connection_counts_columns_and_data_sets(nothing: Evidence) -> None:
    claim = scores.partial_connection(nothing)
    assert "better in 11 of 14 columns, in every column of 5 of 7 data sets" in text(claim)
    assert "in none of ISIC 2017, SBU." in text(claim)
    assert "0.2 points apart in the median, and 0.5 at most" in text(claim)
    assert claim.paper is Judgement.HOLDS


def test_two_draws_are_more_than_one(nothing: Evidence) -> None:
    claim = scores.best_of_all(nothing)
    assert "leads 10 of 14 columns" in text(claim)
    assert (
        "NAS-LoRA alone leads 11 columns and is behind Conv-LoRA in CAMO S, CAMO E, CAMO Fw; "
        "NAS-PC-LoRA alone leads 14 columns." in text(claim)
    )


def test_dice_is_bounded_by_iou(nothing: Evidence) -> None:
    assert "53 of 53 printed pairs do." in text(scores.dice_and_iou(nothing))


def test_ratio_columns_that_do_not_follow_are_named(nothing: Evidence) -> None:
    claim = counts.ratios(nothing)
    assert claim.paper is Judgement.PARTLY
    assert "32 of 38 printed ratios follow" in text(claim)
    assert "100 x 4.009 / 641.09 = 0.6253" in text(claim)
    assert "Table D1, channels 2/3: 0.62" in text(claim)
    # Of the adapted model's total instead: 4.009 / (641.09 + 0.499), and 17.08 / 654.66.
    assert "then not Table 1, Mona (2.61) and Table 7, rank 12 (0.85)." in text(claim)
    assert round(100 * 4.009 / (641.09 + 4.009 - 3.51), 2) == 0.62


def test_counts_are_counted(nothing: Evidence) -> None:
    half = counts.half_of_the_layers(nothing)
    assert "= 3.760" in text(half)
    assert "3,753,856" in half.measured[0]
    others = counts.vera_and_mona(nothing)
    assert "15,023,488" in " ".join(others.measured)
    ranks = counts.ranks(nothing)
    assert "0.012 (rank 3), 0.011 (rank 6), 0.018 (rank 12), 0.022 (rank 24)" in text(ranks)
    assert ranks.ours is Judgement.PARTLY
    alike = counts.one_count_for_all_tasks(nothing)
    assert "8 of 8 methods have one count in all three tables" in text(alike)
    assert alike.ours is Judgement.NOT_MEASURED


def test_what_is_said_of_sam_s_decoder_is_so() -> None:
    """A token and a hypernetwork per mask, and a linear layer's share of a class."""
    from naslora.sam.building import build_sam
    from naslora.sam.mask_decoder import Hypernetworks

    def trained(classes: int, tokens: int, hypernetworks: Hypernetworks = "per_token") -> int:
        decoder = build_sam(
            "tiny", 64, classes=classes, mask_tokens=tokens, hypernetworks=hypernetworks
        ).mask_decoder
        # The head that predicts IoU is frozen.
        named = decoder.named_parameters()
        return sum(p.numel() for name, p in named if "iou_prediction_head" not in name)

    width = 64
    assert trained(4, 10) - trained(3, 10) == width + 1
    hypernetwork = 2 * (width * width + width) + width * (width // 8) + width // 8
    assert trained(3, 10) - trained(3, 9) == hypernetwork + width
    assert trained(3, 10, "shared") - trained(3, 9, "shared") == width
    width = 256
    assert 2 * (width * width + width) + width * 32 + 32 == 139_808


def test_ablations(nothing: Evidence) -> None:
    operations = ablations.operations(nothing)
    assert operations.paper is Judgement.HOLDS
    assert "Without convolution: -1.3, -2.6, -1.2, -1.3 points" in text(operations)
    rank = ablations.rank(nothing)
    assert rank.paper is Judgement.PARTLY
    assert "95.77 -> 95.76, not rising" in text(rank)
    assert "exceeds 0.17 points" in text(rank)
    place = ablations.place(nothing)
    assert place.paper is Judgement.HOLDS
    assert "+1.8, +1.5, +0.9 points (IoU, Dice, Acc)" in text(place)
    assert "against the first: +0.6, +0.5, +0.2" in text(place)
    channels = ablations.channels(nothing)
    assert channels.paper is Judgement.HOLDS
    assert "3/3: +0.3, +0.1, +0.2 points (IoU, Dice, Acc); against 1/3: +0.6, +0.3, +0.4" in text(
        channels
    )
    simultaneous = ablations.simultaneous(nothing)
    assert simultaneous.paper is Judgement.OPEN
    assert "-0.7, -1.1, -0.9, -0.7 points" in text(simultaneous)
    assert "from the start: -0.4, -0.5, -0.5, -0.5" in text(simultaneous)


def test_attention_distances(nothing: Evidence) -> None:
    claim = features.inductive_bias(nothing)
    assert claim.paper is Judgement.HOLDS
    assert "116.5 px" in text(claim)
    assert "534 px" in text(claim)
    assert RANDOM_VIT_H in text(claim)
    # What is said of the random ViT-H is what the benchmark measured.
    measured = json.loads(BENCHMARK.read_text())["rows"]
    distances = [f"{number:.1f}" for number in measured["1024 px, layers from 1"][:3]]
    amplitudes = [f"{number:.2f}" for number in measured["1024 px, layers from 1"][3:]]
    small = [f"{number:.2f}" for number in measured["224 px, layers from 1"][3:]]
    for numbers in (distances, amplitudes, small):
        assert "{}, {} and {}".format(*numbers) in RANDOM_VIT_H
    assert f"{measured['1024 px, layers from 0'][1]:.1f} px" in RANDOM_VIT_H


def test_cells_that_the_paper_leaves_empty_are_no_numbers() -> None:
    with pytest.raises(KeyError, match="prints nothing"):
        value("5", "NAS-PC-LoRA (update w and alpha)", "inference_iter_per_s")


def test_the_documents_hold_every_claim_once(study: Study, nothing: Evidence) -> None:
    claims = audit_claims(study, nothing.records)
    assert len({claim.key for claim in claims}) == len(claims) >= 25
    document = claims_markdown(study, claims)
    assert all(document.count(f"## {claim.text}\n") == 1 for claim in claims)
    assert summary(claims) in document
    read = json.loads(claims_json(claims))
    assert [entry["key"] for entry in read] == [claim.key for claim in claims]
    assert read[0]["paper"] == "contradicted"


def test_without_records_only_counts_are_measured(study: Study, nothing: Evidence) -> None:
    for claim in audit_claims(study, nothing.records):
        if claim.key not in ("half_of_the_layers", "vera_and_mona", "ranks"):
            assert claim.measured == ()
            assert claim.ours in (Judgement.NOT_MEASURED, Judgement.PRINT_ALONE)


def test_every_claim_is_measured_where_all_was_run(every_task: Study) -> None:
    claims = audit_claims(every_task, aggregate(every_task))
    left = {claim.key for claim in claims if claim.ours is Judgement.NOT_MEASURED}
    # Records of these tests have neither times nor timings, analyses nor real alphas.
    assert left == {
        *("training_cost", "vera_timing", "inference_cost", "merging"),
        *("inductive_bias", "preferences"),
    }
