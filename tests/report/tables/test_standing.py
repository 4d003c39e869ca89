"""Marks of a table, and what it says of rows that are no better than what they must beat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from naslora.study.layout import Layout
from naslora.study.settings import Study
from tests.report.tables.of_table1 import latex_of, markdown, rows_of, section

WriteRun = Callable[..., Path]


def test_standing_against_the_controls(study: Study, write_run) -> None:  # type: ignore[no-untyped-def]
    write_run(study, "control_blank", 0, (0.40, 0.30, 0.1))
    write_run(study, "control_foreground", 0, (0.20, 0.30, 0.2))
    write_run(study, "control_mean_mask", 0, (0.70, 0.73, 0.3))
    write_run(study, "control_mean_mask_best", 0, (0.69, 0.72, 0.3))
    spread = {"decoder_only": 0.60, "lora": 0.70, "nas_lora": 0.80}
    for method, base in spread.items():
        for seed in study.seeds:
            write_run(study, method, seed, (base + 0.01 * (seed - 1), base, base))
    text = markdown(study)
    lines = section(text, "What a method must beat")
    assert (
        "- Best prediction that does not use the image: Mean training mask: Kvasir S 70.0, "
        "Kvasir E (mean) 73.0.\n"
    ) in lines
    assert "- Decoder-only: no better than mean training mask.\n" in lines
    assert "- NAS-LoRA: " not in lines
    ours = {
        line.split("|")[1].strip(): line
        for line in section(text, "Measured here").splitlines()
        if line.startswith("|")
    }
    assert ours["Decoder-only"].count("†") == ours["LoRA"].count("†") == 2
    assert ours["NAS-LoRA"].count("†") == 0
    assert ours["LoRA"].rstrip(" |").endswith("no better than mean training mask")
    assert rows_of(study)["nas_lora"]["standing"] == ""


def with_network(make_study, write_run, results: Path, network: list[float]) -> Study:  # type: ignore[no-untyped-def]
    """A control at 30 %, a network with these scores by seed, and methods at 50 and 80 %."""
    study = make_study(results, networks=["unet"], seeds=[0, 1])
    write_run(study, "control_blank", 0, (0.30, 0.30, 0.30))
    for seed, score in enumerate(network):
        write_run(study, "unet", seed, (score, score, score))
    for method, base in {"decoder_only": 0.2, "lora": 0.5, "nas_lora": 0.8}.items():
        for seed in study.seeds:
            write_run(study, method, seed, [base + 0.002 * (seed - 0.5)] * 3)
    return study


def test_a_network_is_no_prediction_without_an_image(  # type: ignore[no-untyped-def]
    make_study, write_run, tmp_path: Path
) -> None:
    study = with_network(make_study, write_run, tmp_path, [0.600, 0.602])
    table = rows_of(study)
    found = {name: table[name]["kvasir_S_no_better_than"] for name in table}
    assert found["decoder_only"] == "control network"
    assert found["lora"] == "network"
    assert found["nas_lora"] == found["unet"] == ""
    text = markdown(study)
    lines = [line for line in section(text, "Measured here").splitlines() if line[:1] == "|"]
    rows = {line.split("|")[1].strip(): line for line in lines}
    assert "†‡" in rows["Decoder-only"]
    assert "‡" in rows["LoRA"]
    assert "†" not in rows["LoRA"]
    assert "no better than unet" in rows["LoRA"]
    assert (
        "†: not significantly better than the best prediction that does not use the image." in text
    )
    assert "‡: not significantly better than the best network trained from scratch" in text
    assert "seeds are too few to tell" not in text
    latex = (Layout.of(study).table("table1", "tex")).read_text(encoding="utf-8")
    assert r"$^{\dagger\ddagger}$" in latex
    assert r"$^{\ddagger}$" in latex
    assert r"$\ddagger$: not significantly better than the best network" in latex


def test_too_few_seeds_to_tell_a_network_are_said(  # type: ignore[no-untyped-def]
    make_study, write_run, tmp_path: Path
) -> None:
    """A network that varies by 8 points over two seeds: Welch's interval is wider than 20."""
    study = with_network(make_study, write_run, tmp_path, [0.56, 0.64])
    assert rows_of(study)["nas_lora"]["kvasir_S_no_better_than"] == "network"
    text = markdown(study)
    columns = 2
    assert f"In {columns} of the {3 * columns} cells with ‡ the test images show" in text
    assert "2 seeds are too few to tell" in text
    lines = section(text, "What a method must beat")
    assert "- LoRA: no better than unet.\n" in lines
    assert "- NAS-LoRA: " not in lines


def test_where_training_from_scratch_is_ahead_it_is_said_and_why(  # type: ignore[no-untyped-def]
    make_study, write_run, tmp_path: Path
) -> None:
    study = make_study(tmp_path, methods=["scratch", "decoder_only", "lora", "nas_lora"])
    ahead = {"decoder_only": 0.40, "scratch": 0.55, "lora": 0.50, "nas_lora": 0.60}
    for method, base in ahead.items():
        for seed in study.seeds:
            write_run(study, method, seed, (base, 1 - base, base))
    text = section(markdown(study), "What a method must beat")
    (line,) = (one for one in text.splitlines() if "better than the median" in one)
    assert line.startswith("- SAM (scratch) is better than the median of the methods that adapt: ")
    assert "Kvasir S" in line
    assert "Kvasir E" not in line
    assert "pretraining on generated scenes helps little" in line
    write_run(study, "decoder_only", 0, (0.9, 0.9, 0.9))
    write_run(study, "lora", 0, (0.9, 0.9, 0.9))
    assert "better than the median" not in markdown(study)


def test_marks_tell_the_best_and_second_from_the_rest(full_study: Study) -> None:
    """Seeds move all methods alike, so any difference between them is significant."""
    text = latex_of(full_study)
    assert text.count(r"\textbf{76.0}") == text.count(r"\underline{71.0}") == 1
    assert text.count(r"\textbf") == text.count(r"\underline") == 2
    shown = markdown(full_study)
    assert shown.count("**76.0 ± 1.0**") == shown.count("*71.0 ± 1.0*") == 1
    row = rows_of(full_study)
    assert (row["nas_pc_lora"]["kvasir_S_mark"], row["nas_lora"]["kvasir_S_mark"]) == (
        "best",
        "second",
    )


def test_nothing_is_bold_where_nothing_is_significant(study: Study, write_run: WriteRun) -> None:
    for method in study.methods:
        for seed in study.seeds:
            write_run(study, method, seed, (0.7, 0.8, 0.7))
    assert r"\textbf" not in latex_of(study)
    assert "Nothing is bold" in markdown(study)
    write_run(study, "lora", 0, (0.8, 0.8, 0.7))  # one seed of three, by chance
    assert r"\textbf" not in latex_of(study)


def test_no_marks_with_one_seed(study: Study, make_study: Any, write_run: WriteRun) -> None:
    once = make_study(study.results, seeds=[0])
    for index, method in enumerate(once.methods):
        write_run(once, method, 0, (0.5 + 0.1 * index,) * 3)
    text = markdown(once)
    assert "Nothing is bold" in text
    assert "of one seed" in text
    assert "1 seeds" not in text
    assert "±" not in text


def test_a_method_like_the_decoder_alone_says_so(study: Study, write_run: WriteRun) -> None:
    """As with a branch that is forced to zero: the same scores, seed by seed."""
    write_run(study, "control_blank", 0, (0.1, 0.1, 0.1))
    for seed in study.seeds:
        for method, base in (("decoder_only", 0.6), ("lora", 0.6), ("nas_lora", 0.7)):
            write_run(study, method, seed, (base + 0.01 * seed, base, base))
    rows = rows_of(study)
    assert rows["lora"]["standing"] == "no better than the mask decoder alone"
    assert rows["nas_lora"]["standing"] == rows["decoder_only"]["standing"] == ""
    ours = section(markdown(study), "Measured here")
    assert "no better than the mask decoder alone" in ours
    assert "LoRA: no better than the mask decoder alone." in latex_of(study)
