from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main

from naslora.cli import app
from naslora.cli.app import show
from naslora.core.errors import DiskError
from naslora.planning.estimate import make_plan
from naslora.planning.report import plan_text
from naslora.report.tables.parameters import count_parameters, counts_text
from naslora.study.layout import Layout
from naslora.study.records import read_receipt, read_record
from naslora.study.settings import Study

Run = Callable[..., tuple[int, str, str]]
Copy = Callable[..., Study]
Options = Callable[..., list[str]]
TASK = ("--task", "kvasir")
LORA = (*TASK, "--variant", "lora")


def test_help_lists_every_step(naslora: Run) -> None:
    code, output, _ = naslora("--help")
    assert code == 0
    for command in (
        "generate", "prepare", "fetch", "pretrain", "train", "evaluate", "controls", "analyse",
        "time", "table", "figure",
    ):  # fmt: skip
        assert command in output


def test_tables_fit_a_terminal(
    prepared_study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {
        counts_text(count_parameters("vit_h"), "text"): "640,531,840",
        plan_text(make_plan(prepared_study), [1, 8]): "method or variant",
    }
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")  # no colours
    for text, whole in texts.items():
        show(text)
        assert capsys.readouterr().out == text, "to a pipe it goes as it is"
        with monkeypatch.context() as terminal:
            terminal.setattr(sys.stdout, "isatty", lambda: True)
            show(text)
        shown = capsys.readouterr().out
        assert max(map(len, shown.splitlines())) <= 80
        assert whole in shown
        assert "|" not in shown
        assert "\\" not in shown


def test_the_whole_pipeline_by_hand(
    naslora: Run, prepared_study: Study, tmp_path: Path, copied: Copy, options: Options
) -> None:
    overrides = {"methods": ["lora"], "training": {"epochs": 1}}
    study = copied(overrides)
    shutil.rmtree(study.results)
    layout, flags = Layout.of(study), options(study, overrides)
    steps = [
        (("generate", *TASK), layout.archives / "kvasir" / "kvasir-seg.zip"),
        (("prepare", *TASK), layout.manifest("kvasir")),
        (("pretrain",), layout.backbone()),
        (("train", *LORA), layout.receipt("kvasir", "lora", 0)),
        (("evaluate", *LORA), layout.record("kvasir", "lora", 0)),
        (("controls", *TASK), layout.record("kvasir", "control_mean_mask", 0)),
        (("table", "table1"), layout.table("table1", "md")),
        (("figure", "figureC1", "gallery"), layout.figure("gallery_kvasir", "pdf")),
    ]
    for arguments, product in steps:
        assert not product.exists()
        code, output, errors = naslora(*arguments, *flags)
        assert code == 0, errors
        assert product.is_file()
        assert str(product) in output
    for path in ("manifests/kvasir.json", "backbone/sam.pth"):
        mine, fixture = (s.results / "rehearsal" / path for s in (study, prepared_study))
        assert mine.read_bytes() == fixture.read_bytes()


def test_an_error_is_one_message_and_exit_1(
    naslora: Run, prepared_study: Study, options: Options
) -> None:
    code, output, errors = naslora("evaluate", *LORA, *options(prepared_study))
    assert code == 1
    assert output == ""
    assert errors.startswith("error: receipt not found\n  where: /")
    assert "what to do: " in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--task", "moon", "--variant", "lora"), "no task named 'moon'"),
        (("train", *TASK, "--variant", "lor"), "no method or variant named 'lor'"),
        (("train", *LORA, "--seed", "-1"), "seed"),
        (("train", *LORA, "--set", "training.epoch=3"), "did you mean training.epochs?"),
        (("train", *LORA, "--set", "training.epochs"), "write key=value"),
        (("train", *LORA, "--study", "nowhere"), "no study named 'nowhere'"),
        (("table", "table0"), "no table named 'table0'"),
        (("figure", "lines"), "no figure named 'lines'"),
    ],
)
def test_wrong_input(naslora: Run, arguments: tuple[str, ...], message: str) -> None:
    code, _, errors = naslora(*arguments)
    assert code == 1
    assert errors.startswith("error: ")
    assert message in errors
    assert "Traceback" not in errors


def test_nothing_to_draw_is_exit_1(
    naslora: Run, copied: Copy, trained_study: Study, options: Options
) -> None:
    study = copied(of=trained_study)
    for variant in study.methods:  # the controls' records stay
        shutil.rmtree(Layout.of(study).record("kvasir", variant, 0).parent)
    layout, flags = Layout.of(study), options(study)
    shutil.rmtree(layout.figures, ignore_errors=True)  # of other tests that drew this study
    code, output, error = naslora("figure", "figureC1", "figure3", *flags)
    assert (code, output) == (1, "")
    assert "figureC1: no run has finished an epoch\n" in error
    assert "figure3, figure3_best, figure3_worst: no run is done" in error
    assert "what to do: run the study first" in error
    assert not (layout.root / "figures").exists()
    code, output, _ = naslora("figure", "figureC1", "--allow-empty", *flags)
    assert code == 0
    assert f"figure: {layout.figure('figureC1')}" in output.splitlines()
    assert layout.figure("figureC1", "md").read_text().startswith("Nothing to show: no run has")


@pytest.mark.parametrize("arguments", [("train",), ("tables",), ("train", *LORA, "--seed", "a")])
def test_wrong_usage_is_exit_2(naslora: Run, arguments: tuple[str, ...]) -> None:
    assert naslora(*arguments)[0] == 2


def test_divergence_is_exit_3_or_a_record(naslora: Run, copied: Copy, options: Options) -> None:
    overrides = {"training": {"learning_rate": 1e30, "epochs": 2}}
    study = copied(overrides)
    flags, layout = options(study, overrides), Layout.of(study)
    code, output, errors = naslora("train", *LORA, *flags)
    assert code == 3
    assert errors.startswith("error: training diverged: the loss is nan at epoch 1")
    assert "receipt: " not in output
    assert read_receipt(layout.receipt("kvasir", "lora", 0)).status == "diverged"
    code, output, errors = naslora("train", *LORA, *flags, "--record-divergence")
    assert (code, errors) == (0, "")
    assert "training diverged" in output
    assert f"receipt: {layout.receipt('kvasir', 'lora', 0)}" in output
    assert naslora("evaluate", *LORA, *flags)[0] == 0
    assert read_record(layout.record("kvasir", "lora", 0)).status == "diverged"


def test_results_that_cannot_be_written(
    naslora: Run, copied: Copy, options: Options, tmp_path: Path
) -> None:
    study = copied()
    runs = Layout.of(study).root / "runs"
    runs.write_text("a file in the way")
    code, _, errors = naslora("train", *LORA, *options(study))
    assert code == DiskError.exit_code
    message, where, _ = errors.splitlines()[-3:]
    assert message == "error: cannot write run.lock: Not a directory"
    assert str(runs) in where


def test_seed_and_study_reach_the_run(naslora: Run, copied: Copy, options: Options) -> None:
    study = copied()
    flags = [*options(study), "--set", "training.epochs=1", "--seed", "5"]
    assert naslora("train", *LORA, *flags)[0] == 0
    receipt = json.loads(Layout.of(study).receipt("kvasir", "lora", 5).read_text())
    assert receipt["settings"]["seed"] == 5
    assert len(receipt["history"]) == 1


def test_only_an_official_checkpoint_is_fetched(
    naslora: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(
        "naslora.sam.official.fetch_checkpoint",
        lambda backbone, folder: fetched.append(backbone) or tmp_path,
    )
    vit_b = ("--set", "sam.backbone=vit_b", "--set", "sam.checkpoint=README.md")
    code, output, _ = naslora("fetch", *vit_b)
    assert (code, fetched) == (0, [])
    assert output.startswith("nothing to fetch: sam.checkpoint is README.md")
    assert naslora("fetch", *vit_b, "--backbone", "vit_b")[0] == 0
    assert naslora("fetch", "--study", "workstation")[0] == 0
    assert fetched == ["vit_b", "vit_b"]


def test_an_unknown_backbone_is_named(naslora: Run) -> None:
    code, _, errors = naslora("params", "--backbone", "vit_x")
    assert code == 1
    wanted = (
        "error: no backbone 'vit_x'\n  what to do: choose one of vit_h, vit_l, vit_b, small, tiny"
    )
    assert errors.startswith(wanted)


def test_an_unknown_variant_is_named_with_the_nearest(naslora: Run) -> None:
    code, _, errors = naslora("train", *TASK, "--variant", "lorra", "--study", "paper")
    assert code == 1
    assert "no method or variant named 'lorra' in study 'paper'\n" in errors
    assert "what to do: did you mean lora? There are scratch, decoder_only, " in errors
    assert "nas_pc_lora, unet and 14 more" in errors


@pytest.mark.parametrize("command", [("check",), ("figure", "all")])
def test_without_results_there_is_one_message(
    naslora: Run, copied: Copy, options: Options, command: tuple[str, ...]
) -> None:
    study = copied()
    code, output, errors = naslora(*command, *options(study))
    assert (code, output) == (1, "")
    assert errors.startswith("error: study rehearsal has n")
    assert "run the study first: naslora run --study rehearsal" in errors
    assert len(errors.splitlines()) == 3
    assert not Layout.of(study).figures.exists()


def test_all_tables_and_figures_are_counted_in_a_line(
    naslora: Run, copied: Copy, trained_study: Study, options: Options
) -> None:
    study = copied(of=trained_study)
    layout, flags = Layout.of(study), options(study)
    _, output, _ = naslora("table", "all", *flags)
    lines = output.splitlines()
    count = len({path.stem for path in layout.tables.iterdir()} - {"sources", "metrics"})
    assert lines[0] == f"{count} tables: {layout.tables}"
    assert not any(line.startswith("table: ") for line in lines)
    _, output, _ = naslora("figure", "all", "--allow-empty", *flags)
    count = len(list(layout.figures.glob("*.png")))
    assert output.splitlines() == [f"{count} figures: {layout.figures}"]


def test_help_has_no_names_of_types(naslora: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    for command in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        code, output, _ = naslora(command, "--help")
        assert code == 0
        for name in ("bool", "int", "float", "str", "path", "Path", "list"):
            assert f"<{name}" not in output, command
        assert not re.search(r"Usage: .*[{}]", output), command
        assert not re.search(r"<[\w|]*\s", output), f"{command}: a list of values is broken"
