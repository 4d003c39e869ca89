"""`naslora params`: the counts of every row on ViT-H, and its formats."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pandas as pd
import pytest

from naslora.paper.counts import Count, counted_on_vit_h
from naslora.report.tables.parameters import count_parameters, counts_text
from naslora.study.settings import Variant

Naslora = Callable[..., tuple[int, str, str]]

# Derived by hand from the layers' shapes; the paper prints them rounded.
EXACT = {
    "Decoder-only": 3_505_536,
    "LoRA": 3_997_056,
    "Conv-LoRA": 4_020_096,
    "DoRA": 4_038_016,
    "BitFit": 3_957_888,
    "VPT": 3_997_056,
    "SAM-Adapter": 3_980_576,
    "Mona": 15_023_488,
    "VeRA": 3_505_536 + 319_488,
    "NAS-LoRA, paper's count": 4_016_000,
    "NAS-PC-LoRA, paper's count": 4_009_344,
    "NAS-LoRA, 1/3 of the channels, paper's count": 4_003_200,
}
AGREEING = set(EXACT) - {"Mona", "VeRA"}


@pytest.fixture(scope="module")
def counts() -> list[Count]:
    return count_parameters("vit_h")


def test_rows_count_exactly_what_their_layers_have(counts: list[Count]) -> None:
    found = {count.title: count.trainable for count in counts}
    assert {title: found[title] for title in EXACT} == EXACT


def test_the_counts_kept_as_data_are_these(counts: list[Count]) -> None:
    """After a change of a method, write `counts_text(counts, "json")` to counted/vit_h.json."""
    assert counted_on_vit_h() == counts


def test_rows_that_should_agree_round_to_the_papers_number(counts: list[Count]) -> None:
    for count in counts:
        if count.title not in AGREEING:
            continue
        assert count.paper_params_m is not None
        decimals = len(count.paper_params_m.partition(".")[2])
        assert f"{count.trainable / 1e6:.{decimals}f}" == count.paper_params_m, count.title


def test_rows_that_disagree_have_a_footnote(counts: list[Count]) -> None:
    for count in counts:
        if count.paper_params_m and count.title not in {"NAS-LoRA", "NAS-PC-LoRA"}:
            gap = abs(count.trainable / 1e6 - float(count.paper_params_m))
            assert gap < 0.01 or count.note, count.title


def test_formats_hold_the_same_numbers(counts: list[Count]) -> None:
    from_json = pd.DataFrame(json.loads(counts_text(counts, "json")))
    from_csv = pd.read_csv(io.StringIO(counts_text(counts, "csv")))
    assert from_json["trainable"].tolist() == from_csv["trainable"].tolist()
    text = counts_text(counts, "md")
    for count in counts:
        assert f"{count.trainable:,}" in text
        assert count.note is None or count.note in text


def test_other_backbones_are_not_compared_with_the_paper() -> None:
    for count in count_parameters("tiny"):
        assert count.paper_params_m is None


def test_variants_of_a_study_are_counted_too() -> None:
    variants = {"wide": Variant(method="lora", settings={"rank": 6})}
    wide = next(c for c in count_parameters("vit_h", variants) if c.title == "wide")
    assert wide.trainable == 3_505_536 + 2 * (EXACT["LoRA"] - 3_505_536)


def test_the_command_prints_them(naslora: Naslora) -> None:
    code, output, _ = naslora("params", "--backbone", "vit_h", "--format", "json")
    assert code == 0
    assert {row["title"]: row["trainable"] for row in json.loads(output)}["LoRA"] == EXACT["LoRA"]
