"""Figures that are made from records, timings and analyses alone."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text
from PIL import Image

from naslora.core.errors import SettingsError
from naslora.evaluation.names import metric_name
from naslora.report.figures.catalogue import (
    FIGURES,
    SUFFIXES,
    figure_paths,
    figures_of,
    reasons,
    write_figures,
)
from naslora.report.figures.inputs import NothingToDrawError
from naslora.report.figures.style import METHOD_STYLES, WIDTH
from naslora.results.aggregate import aggregate
from naslora.results.ranking import Ranking, rank
from naslora.results.shares import read_shares
from naslora.study.layout import Layout
from naslora.study.records import Receipt, Record, read_record, write_document
from naslora.study.settings import Study
from tests.report.figures.conftest import Drawn
from tests.report.figures.pages import check_page, smallest_size

MakeStudy = Callable[..., Study]
# Pictures without intervals over seeds, whatever the number of seeds.
NO_INTERVALS = ("figure1b_paper", "figure1c", "figureC2_blocks")


def change(path: Path, **training: Any) -> None:
    """Rewrite a record with another receipt, or another time of evaluation."""
    record = read_record(path).model_dump()
    if "evaluation_time_s" in training:
        record["evaluation_time_s"] = training.pop("evaluation_time_s")
    record["training"] = Receipt.model_validate(record["training"] | training)
    write_document(path, Record.model_validate(record))


def add_validation(study: Study) -> None:
    """Validation scores 0.2, 0.4, ... of four epochs, and a bit more with each seed."""
    layout = Layout.of(study)
    for run in study.runs():
        seed = run[2]
        history = [
            {
                "epoch": float(e),
                "loss": 2.0 / e + 0.1 * seed,
                "val_score": 0.2 * e + 0.01 * seed,
                "seconds": 1.0 + seed,
            }
            for e in (1, 2, 3, 4)
        ]
        change(layout.record(*run), history=history)


def alpha_of(projections: tuple[str, ...], shift: float) -> list[dict[str, list[float]]]:
    """Two epochs of twelve blocks with a cell per projection."""
    epochs = []
    for epoch in (0.0, 1.0):
        cells = {}
        for block in range(12):
            for index, name in enumerate(projections):
                weights = [math.exp(epoch * (block + i + index + shift * i) / 9) for i in range(8)]
                key = f"image_encoder.blocks.{block}.attn.qkv.branches.{name}.middle"
                cells[key] = [w / sum(weights) for w in weights]
        epochs.append(cells)
    return epochs


def add_shares(study: Study, projections: tuple[str, ...] = ("qkv",)) -> None:
    layout = Layout.of(study)
    for task, method, seed in study.runs():
        if method in ("nas_lora", "nas_pc_lora"):
            alpha = alpha_of(projections, seed)
            change(layout.record(task, method, seed), alpha=alpha)


def test_subscripts_count_as_text() -> None:
    assert smallest_size(Text(0, 0, "T_B", fontsize=7)) == 7
    assert smallest_size(Text(0, 0, "$T_B$ = 2", fontsize=7)) == pytest.approx(0.7 * 7)


def test_every_figure_of_the_paper_is_there() -> None:
    wanted = {"figure1b", "figure1c", "figure3", "figure4", "figureC1", "figureC2"}
    further = {"attention_distance", "log_amplitude", "ranking", "adaptation", "gallery"}
    assert wanted | further == set(FIGURES)


def test_sources_say_which_figures_need_weights(study: Study) -> None:
    assert figures_of(study, weights=True) == ["figure3", "adaptation", "figure4", "gallery"]
    apart = figures_of(study, weights=False) + figures_of(study, weights=True)
    assert sorted(apart) == sorted(figures_of(study))


def test_pages_of_all_tasks(every_task: Study, tmp_path: Path, drawn: dict[str, Drawn]) -> None:
    shutil.copytree(every_task.results, tmp_path / "copy")
    study = every_task.model_copy(update={"results": tmp_path / "copy"})
    add_validation(study)
    add_shares(study)
    names = ["ranking", "figure1b", "figure1c", "figureC1", "figureC2"]
    write_figures(study, names)
    pictures = [p.name for name in names for p in FIGURES[name].pictures(study)]
    assert list(drawn) == pictures
    assert {"figure1b_paper", "figure1b_radar", "figureC2_blocks"} < set(pictures)
    for name, picture in drawn.items():
        check_page(name, picture)
        assert "ne seed" not in picture.caption
    panels = {axes.get_title(): axes.get_xlim() for axes in drawn["figure1b"].canvas.axes}
    assert panels["SBU"][0] > panels["SBU"][1]  # of errors, less is better
    assert panels["Kvasir"][0] < panels["Kvasir"][1]
    assert "the axis of BER (set) is reversed" in drawn["figure1b"].caption
    check_panels(drawn["figure1b"])
    check_radar(drawn["figure1b_radar"])
    check_ranking(drawn["ranking"], rank(study, aggregate(study)))


def test_pages_of_one_task_and_seed(full_study: Study, drawn: dict[str, Drawn]) -> None:
    study = full_study.model_copy(update={"seeds": [0]})
    add_validation(study)
    add_shares(study)
    names = ["ranking", "figure1b", "figure1c", "figureC1", "figureC2"]
    write_figures(study, names)
    for name, picture in drawn.items():
        check_page(name, picture)
        assert ("ne seed" in picture.caption) is (name not in NO_INTERVALS), name
    assert "figure1b_radar" not in drawn, "one spoke is no radar"
    assert "Mean ranks need 3 tasks" in drawn["ranking"].caption
    titles = [axes.get_title() for axes in drawn["ranking"].canvas.axes if axes.axison]
    assert titles == ["Kvasir\nS"]


def check_panels(picture: Drawn) -> None:
    """A panel per data set, with the metric that stands for it."""
    panels = [(axes.get_title(), axes.get_xlabel()) for axes in picture.canvas.axes]
    assert len(panels) == 10
    assert panels[0] == ("Kvasir", "S ↑")
    assert panels[4] == ("SBU", f"{metric_name('BER').title} ↓")
    assert panels[-1] == ("Trans10K-v2", f"{metric_name('mIoU_foreground').title} ↑")
    assert "no run is done" not in picture.words


def check_radar(picture: Drawn) -> None:
    """A spoke per data set, ours and the paper's, each with its own scale."""
    ours, theirs = picture.canvas.axes
    for axes in (ours, theirs):
        lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 11]
        colours = {to_hex(line.get_color()) for line in lines}
        wanted = ("lora", "nas_lora", "nas_pc_lora")
        assert colours == {METHOD_STYLES[method].colour.lower() for method in wanted}
        radii = np.array([line.get_ydata() for line in lines])
        np.testing.assert_allclose(np.nanmax(radii, 0), 1)
        assert np.nanmin(radii) == pytest.approx(0.2)


def check_ranking(picture: Drawn, ranking: Ranking) -> None:
    """Differences with both intervals, and mean ranks, where the frames have them."""
    pd.testing.assert_frame_equal(picture.data, ranking.differences)
    (axes,) = (one for one in picture.canvas.axes if one.get_title().startswith("Kvasir"))
    rows = ranking.differences.query("task == 'kvasir' and method == 'nas_lora'")
    assert len(rows) == 1
    row = rows.iloc[0]
    colour = METHOD_STYLES["nas_lora"].colour.lower()
    lines = [line for line in axes.get_lines() if to_hex(line.get_color()) == colour]
    ends = [line.get_xdata() for line in lines if len(line.get_xdata()) == 2]
    wanted = [[row["images_low"], row["images_high"]], [row["seeds_low"], row["seeds_high"]]]
    np.testing.assert_allclose(sorted(map(list, ends)), sorted(wanted))
    (point,) = (line for line in lines if len(line.get_xdata()) == 1)
    assert point.get_xdata()[0] == row["difference"]
    assert (to_hex(point.get_markerfacecolor()) == "#ffffff") == (row["significant"] == 0)
    for method, mean in ranking.mean_ranks.items():
        colour = METHOD_STYLES[str(method)].colour.lower()
        places = [
            points.get_offsets()[0][0]
            for points in picture.canvas.axes[-1].collections
            if to_hex(points.get_facecolor()[0]) == colour
        ]
        assert places == [pytest.approx(mean)]


def test_all_files_are_written_and_the_same_again(full_study: Study) -> None:
    paths = write_figures(full_study, ["figureC1"])
    assert paths == figure_paths(full_study, "figureC1")
    assert [path.suffix for path in paths] == [f".{suffix}" for suffix in SUFFIXES]
    before = [path.read_bytes() for path in paths]
    with matplotlib.rc_context({"font.size": 30, "figure.dpi": 33, "axes.titleweight": "bold"}):
        write_figures(full_study, ["figureC1"])
    assert [path.read_bytes() for path in paths] == before
    assert b"Software" not in before[0]
    assert b"CreationDate" not in before[1]
    with Image.open(paths[0]) as picture:
        assert picture.size[0] == round(WIDTH * 200)
        assert np.asarray(picture.convert("L")).std() > 5
    frame = pd.read_csv(paths[2])
    assert len(frame) == 4 * 3 * 4  # methods, seeds, epochs
    caption = paths[3].read_text()
    assert caption.startswith("Training loss per epoch.")
    latex = paths[4].read_text()
    assert r"\includegraphics[width=\textwidth]{figureC1.pdf}" in latex
    assert r"T\_B" in latex


def test_nothing_to_draw_is_an_error_and_no_file(study: Study) -> None:
    names = ["figure1b", "figure1c", "figureC1", "figureC2", "ranking", "attention_distance"]
    with pytest.raises(NothingToDrawError) as caught:
        write_figures(study, names)
    assert caught.value.exit_code == 1
    assert caught.value.what == "study sample has neither records nor timings to draw"
    assert not (Layout.of(study).root / "figures").exists()


def test_empty_figures_say_why_if_allowed(study: Study) -> None:
    """As in a copy with records alone, which has neither weights nor images."""
    paths = write_figures(study, figures_of(study), allow_empty=True)
    assert all(path.stat().st_size > 0 for path in paths)
    captions = [path.read_text() for path in paths if path.suffix == ".md"]
    assert any("no run has finished an epoch" in caption for caption in captions)
    assert any("No run is done: Kvasir" in caption for caption in captions)


def test_a_figure_that_the_study_cannot_have(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study(tmp_path, methods=["lora", "vpt"])
    assert "figureC2" not in figures_of(study)
    with pytest.raises(SettingsError, match="figureC2"):
        write_figures(study, ["figureC2"])


def test_scores_stand_where_they_should(full_study: Study, drawn: dict[str, Drawn]) -> None:
    write_figures(full_study, ["figure1b"])
    picture = drawn["figure1b"]
    (axes,) = picture.canvas.axes
    titles = [label.get_text() for label in axes.get_yticklabels()]
    assert titles == ["Decoder-only", "LoRA", "NAS-LoRA", "NAS-PC-LoRA"]
    for place, (method, mean) in enumerate(zip(full_study.methods, (61, 66, 71, 76), strict=True)):
        colour = METHOD_STYLES[method].colour.lower()
        lines = [line for line in axes.get_lines() if to_hex(line.get_color()) == colour]
        found = {
            line.get_marker(): points
            for line in lines
            if len(points := line.get_xydata()[np.isfinite(line.get_xydata()).all(1)])
        }
        assert found[METHOD_STYLES[method].marker].tolist() == [[pytest.approx(mean), place]]
        # The standard deviation of 0, 1 and 2 points is 1.
        np.testing.assert_allclose(found["None"], [[mean - 1, place], [mean + 1, place]])
    control = max(
        float(line.get_xdata()[0]) for line in axes.get_lines() if line.get_linestyle() == ":"
    )
    assert control == pytest.approx(62)
    paper = drawn["figure1b_paper"].data.set_index("method")["value"]
    assert paper.to_dict() == {
        "decoder_only": 86.5,
        "lora": 91.2,
        "nas_lora": 92.3,
        "nas_pc_lora": 92.4,
    }
    assert "one seed" not in picture.caption.lower()
    assert set(picture.data["source"]) == {"study", "control"}


def test_losses_without_validation_scores(full_study: Study, drawn: dict[str, Drawn]) -> None:
    """Losses of three seeds are 2 / epoch + 0, 0.1, 0.2: their standard deviation is 0.1."""
    write_figures(full_study, ["figureC1"])
    picture = drawn["figureC1"]
    (axes,) = picture.canvas.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "training loss")
    curves = [line for line in axes.get_lines() if len(line.get_xdata()) == 4]
    lines = {to_hex(line.get_color()): line for line in curves}
    for style in (METHOD_STYLES[method] for method in full_study.methods):
        line = lines[style.colour.lower()]
        np.testing.assert_allclose(line.get_xdata(), [1, 2, 3, 4])
        np.testing.assert_allclose(line.get_ydata(), 2 / np.arange(1, 5) + 0.1)
    bands = axes.collections
    assert len(bands) == 3  # not of decoder-only
    for band in bands:
        corners = band.get_paths()[0].vertices
        np.testing.assert_allclose([corners[:, 1].min(), corners[:, 1].max()], [0.5, 2.2])
    start = full_study.training.architecture.start_epoch
    assert start + 0.5 in [line.get_xdata()[0] for line in axes.get_lines()]
    assert axes.get_title().endswith(f", $T_B$ = {start}")
    assert "no validation scores" in picture.caption


def test_validation_scores_stand_over_the_losses(
    full_study: Study, drawn: dict[str, Drawn]
) -> None:
    add_validation(full_study)
    write_figures(full_study, ["figureC1"])
    score, loss = drawn["figureC1"].canvas.axes
    assert (score.get_ylabel(), loss.get_ylabel()) == ("validation score (%)", "training loss")
    colour = METHOD_STYLES["nas_lora"].colour.lower()
    (line,) = (line for line in score.get_lines() if to_hex(line.get_color()) == colour)
    np.testing.assert_allclose(line.get_ydata(), [21, 41, 61, 81])
    assert "no validation scores" not in drawn["figureC1"].caption


def test_a_run_without_validation_scores_among_others(
    full_study: Study, drawn: dict[str, Drawn]
) -> None:
    add_validation(full_study)
    history = [{"epoch": 1.0, "loss": 1.0}, {"epoch": 2.0, "loss": 0.5}]
    for seed in full_study.seeds:
        change(Layout.of(full_study).record("kvasir", "lora", seed), history=history)
    write_figures(full_study, ["figureC1"])
    score, loss = drawn["figureC1"].canvas.axes
    colours = [{to_hex(line.get_color()) for line in axes.get_lines()} for axes in (score, loss)]
    assert [METHOD_STYLES["lora"].colour in found for found in colours] == [False, True]


@pytest.mark.parametrize("projections", [("qkv",), ("q", "k", "v")])
def test_shares(full_study: Study, drawn: dict[str, Drawn], projections: tuple[str, ...]) -> None:
    add_shares(full_study, projections)
    records = aggregate(full_study)
    shares = read_shares(full_study, records, "kvasir", "nas_pc_lora")
    assert shares is not None
    assert shares.operations[0] == "sep_conv_3x3"
    assert shares.operations[-1] == "zero"
    # Blocks in the order of their numbers, not of their names; and of the last epoch.
    assert shares.blocks == tuple(b for b in range(12) for _ in projections)
    assert shares.projections[: len(projections)] == projections
    assert shares.values.shape == (3, 12 * len(projections), 8)
    last = alpha_of(projections, 2)[-1]
    name = f"image_encoder.blocks.10.attn.qkv.branches.{projections[-1]}.middle"
    np.testing.assert_allclose(shares.values[2, 11 * len(projections) - 1], last[name])
    assert read_shares(full_study, records, "kvasir", "lora") is None
    write_figures(full_study, ["figureC2"])
    bars, blocks = drawn["figureC2"], drawn["figureC2_blocks"]
    deviation = 100 * shares.values - 12.5
    _, pc = bars.canvas.axes[0].containers[:2]
    np.testing.assert_allclose([bar.get_width() for bar in pc], deviation.mean((0, 1)))
    spread = bars.data[bars.data["method"] == "nas_pc_lora"].groupby("operation", sort=False)
    np.testing.assert_allclose(spread["deviation"].std(), deviation.mean(1).std(0, ddof=1))
    mesh = blocks.canvas.axes[0].collections[0]
    cells = np.asarray(mesh.get_array()).reshape(8, -1)
    np.testing.assert_allclose(cells, deviation.mean(0).T)
    assert mesh.get_clim()[0] == -mesh.get_clim()[1], "white is uniform"


def test_the_lowest_panel_of_every_column_has_the_label_of_the_axis(
    every_task: Study, tmp_path: Path, drawn: dict[str, Drawn]
) -> None:
    """Seven tasks: three columns, and one panel in the last row."""
    shutil.copytree(every_task.results, tmp_path / "copy")
    study = every_task.model_copy(
        update={"results": tmp_path / "copy", "tasks": every_task.tasks[:7]}
    )
    add_shares(study)
    write_figures(study, ["figureC2"])
    panels = [axes for axes in drawn["figureC2"].canvas.axes if axes.axison]
    labelled = [axes.xaxis.label.get_visible() and axes.get_xlabel() != "" for axes in panels]
    assert labelled == [False] * 4 + [True] * 3


def test_reasons_are_five_lines_at_most() -> None:
    same = {f"gallery_{n}": "no run is done" for n in range(9)}
    assert reasons(same) == (
        "gallery_0, gallery_1, gallery_2, gallery_3 and 5 more: no run is done"
    )
    lines = reasons({f"figure{n}": f"reason {n}" for n in range(9)}).splitlines()
    assert len(lines) == 5
    assert lines[-1].strip() == "and 5 more reasons"
