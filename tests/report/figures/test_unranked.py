"""Rows of models that are not ranked, in the ranking and in Figure 1b."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.colors import to_hex

from naslora.report.figures.catalogue import write_figures
from naslora.report.figures.style import METHOD_STYLES
from naslora.study.settings import Study
from tests.report.figures.conftest import Drawn
from tests.report.figures.pages import check_page

MakeStudy = Callable[..., Study]


@pytest.fixture
def networks(make_study: MakeStudy, write_run: Callable[..., Path], tmp_path: Path) -> Study:
    """Four methods, a variant, and three networks, of which two run on one of two tasks."""
    study = make_study(
        tmp_path / "networks",
        tasks=["kvasir", "leaf"],
        methods=["lora", "nas_lora", "scratch", "full_finetuning"],
        networks=["unet", "deeplabv3", "linknet34"],
        network_tasks={"deeplabv3": ["kvasir"], "linknet34": ["leaf"]},
        variants={"lora_rank_92": {"method": "lora", "settings": {"rank": 92}}},
    )
    bases = {"lora": 0.6, "nas_lora": 0.61, "full_finetuning": 0.65, "lora_rank_92": 0.62}
    for task, name, seed in study.runs():
        base = bases.get(name, 0.3) + 0.001 * seed
        metrics = ["S_measure", "E_measure", "IoU"] if task == "kvasir" else ["IoU", "Acc"]
        write_run(study, name, seed, {"test": dict.fromkeys(metrics, base)}, task=task)
    return study


def row_labels(picture: Drawn, title: str) -> list[str]:
    """The labels of the rows of a panel; those of others in its row are the same."""
    (axes,) = (one for one in picture.canvas.axes if one.get_title().startswith(title))
    return [label.get_text() for label in axes.get_yticklabels()]


def test_the_ranking_has_models_that_are_not_ranked(
    networks: Study, drawn: dict[str, Drawn]
) -> None:
    """Full fine-tuning has its intervals; a network has a number where it is beyond the scale."""
    write_figures(networks, ["ranking"])
    picture = drawn["ranking"]
    check_page("ranking", picture)
    labels = row_labels(picture, "Kvasir")
    assert labels[:4] == ["NAS-LoRA", "LoRA, rank 92", "full_finetuning", "unet"]
    assert labels[-2:] == ["deeplabv3 (Kvasir)", "linknet34 (Leaf)"]
    axes = picture.canvas.axes[0]
    colour = METHOD_STYLES["full_finetuning"].colour.lower()
    lines = [line for line in axes.get_lines() if to_hex(line.get_color()) == colour]
    assert [len(line.get_xdata()) for line in lines] == [2, 2, 1]
    assert to_hex(lines[-1].get_markerfacecolor()) == colour, "significantly better"
    numbers = [text.get_text() for text in axes.texts]
    assert numbers == ["\N{MINUS SIGN}30.0"] * 3, "U-Net, DeepLabv3 and SAM from scratch"
    low, high = axes.get_xlim()
    assert low > -10, "the scale is that of models that start from pretrained weights"
    assert high > 5
    bands = [patch for patch in axes.patches if patch.get_width() == 1]
    assert len(bands) == 4, "none behind the row of a network that has another task"
    assert "On grey: full_finetuning, unet, SAM (scratch)" in picture.caption
    data = picture.data
    rows = {*networks.methods, *networks.networks, "lora_rank_92"}
    assert set(data["method"]) == rows - {"lora"}
    (line,) = data.query("method == 'unet' and task == 'leaf'").to_dict("records")
    assert line["difference"] == pytest.approx(-30)


def test_a_network_of_one_task_has_no_row_beside_panels_of_others(
    networks: Study, drawn: dict[str, Drawn], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("ranking", "figure1b"):
        monkeypatch.setattr(f"naslora.report.figures.{module}._ACROSS", 1)
    monkeypatch.setattr("naslora.report.figures.ranking._FEWEST", 1)
    write_figures(networks, ["ranking", "figure1b"])
    for name in ("ranking", "figure1b"):
        for title, others in {"Kvasir": "linknet34", "Leaf": "deeplabv3"}.items():
            labels = " ".join(row_labels(drawn[name], title))
            assert "unet" in labels
            assert f"({title})" in labels
            assert others not in labels


def test_scores_have_a_row_for_every_method_that_has_some(
    networks: Study, drawn: dict[str, Drawn]
) -> None:
    write_figures(networks, ["figure1b"])
    labels = row_labels(drawn["figure1b"], "Kvasir")
    further = ["full_finetuning", "LoRA, rank 92", "deeplabv3 (Kvasir)", "linknet34 (Leaf)"]
    assert labels == ["unet", "LoRA", "NAS-LoRA", "SAM (scratch)", *further]
    printed = row_labels(drawn["figure1b_paper"], "Kvasir")
    assert printed == ["LoRA", "NAS-LoRA", "SAM (scratch)"], "the paper has no full fine-tuning"
    assert "the best prediction that does not use the image" in drawn["figure1b"].caption
