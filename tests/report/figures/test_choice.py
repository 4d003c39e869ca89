"""The rule by which figures choose their images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from naslora.core.errors import ManifestError
from naslora.core.files import sha256
from naslora.data.manifest import Manifest, ManifestSample, write_manifest
from naslora.report.figures.choice import RANKS, Choice, Rank, choose
from naslora.results.aggregate import Aggregate, aggregate
from naslora.study.layout import Layout
from naslora.study.records import FileHash, Record, write_document
from naslora.study.settings import Study

WriteRun = Callable[..., Path]
NAMES = "abcdefghij"
SHOWN: tuple[Rank, ...] = ("best", "median", "worst")


def write_images(study: Study, count: int) -> None:
    """A manifest of so many test images, and one to train on."""
    samples = [
        ManifestSample(
            id=name,
            split="train" if name == "z" else "test",
            image=f"{name}.jpg",
            mask=f"{name}.png",
            width=8,
            height=8,
            image_sha256="0" * 64,
            mask_sha256="0" * 64,
        )
        for name in (*NAMES[:count], "z")
    ]
    manifest = Manifest(
        task="kvasir",
        classes=["polyp"],
        test_sets=["test"],
        generated=True,
        archives=[],
        split_seed=0,
        samples=samples,
    )
    write_manifest(Layout.of(study).manifest("kvasir"), manifest)


def write_scores(study: Study, write_run: WriteRun, runs: dict[str, list[float]]) -> Aggregate:
    """A run per method at seed 0 with these scores of the images a, b, c and so on."""
    count = len(next(iter(runs.values())))
    write_images(study, count)
    layout = Layout.of(study)
    for method, scores in runs.items():
        path = write_run(study, method, 0, images=count)
        parquet = layout.per_image("kvasir", method, 0)
        ids = list(NAMES[:count])
        frame = pd.DataFrame({"test_set": "test", "id": ids, "S_measure": scores, "IoU": 0.5})
        frame.sample(frac=1, random_state=1).to_parquet(parquet)
        record = read_record_of(path, parquet, sha256(layout.manifest("kvasir")))
        write_document(path, record)
    return aggregate(study)


def read_record_of(path: Path, parquet: Path, manifest: str) -> Record:
    content = json.loads(path.read_text())
    content["per_image"] = FileHash.of(parquet).model_dump()
    means = pd.read_parquet(parquet)[["S_measure", "IoU"]].mean()
    content["metrics"] = {"test": means.to_dict()}
    content["manifest_sha256"] = content["training"]["manifest_sha256"] = manifest
    return Record.model_validate(content)


def chosen(study: Study, records: Aggregate) -> Choice:
    choice = choose(study, records, "kvasir")
    assert choice is not None
    return choice


def test_by_the_mean_over_methods(study: Study, write_run: WriteRun) -> None:
    """No method alone would rank them so."""
    runs = {"lora": [0.9, 0.5, 0.1, 0.2, 0.6], "nas_lora": [0.1, 0.7, 0.2, 0.9, 0.7]}
    choice = chosen(study, write_scores(study, write_run, runs))
    assert [choice.chosen[rank] for rank in RANKS] == ["e", "b", "d", "a", "c"]
    assert choice.metric == "S_measure"  # the first that the task's table has
    assert choice.score("median", "lora", 0) == pytest.approx(20)
    assert choice.score("median", "nas_lora", 0) == pytest.approx(90)
    assert (choice.runs, choice.images) == (2, 5)
    assert choice.distinct() == RANKS
    assert choice.distinct(SHOWN) == SHOWN
    assert choice.caption(SHOWN) == (
        "Best, median and worst of 5 test images of Kvasir by S, averaged over 2 runs."
    )


def test_networks_do_not_count_in_the_choice(
    make_study: Callable[..., Study], write_run: WriteRun, tmp_path: Path
) -> None:
    study = make_study(tmp_path, networks=["unet"])
    runs = {"unet": [0.1, 0.9, 0.8], "lora": [0.9, 0.5, 0.1]}
    choice = chosen(study, write_scores(study, write_run, runs))
    assert [choice.chosen[rank] for rank in SHOWN] == ["a", "b", "c"]
    assert (choice.runs, choice.images) == (1, 3)
    assert choice.score("best", "unet", 0) == pytest.approx(10)
    assert choice.score("worst", "unet", 0) == pytest.approx(80)


def test_ties_and_few_images(study: Study, write_run: WriteRun) -> None:
    choice = chosen(study, write_scores(study, write_run, {"lora": [0.5, 0.5, 0.5]}))
    assert [choice.chosen[rank] for rank in SHOWN] == ["a", "b", "c"]
    choice = chosen(study, write_scores(study, write_run, {"lora": [0.5, 0.7]}))
    assert [choice.chosen[rank] for rank in SHOWN] == ["b", "b", "a"]
    assert choice.distinct() == choice.distinct(SHOWN) == ("best", "worst")
    assert choice.caption().startswith("Best and worst of 2 test images of Kvasir by S")
    choice = chosen(study, write_scores(study, write_run, {"lora": [0.5]}))
    assert choice.distinct() == ("best",)
    assert choice.caption() == "Best of 1 test image of Kvasir by S, averaged over 1 run."


def test_an_image_without_a_score_does_not_count(study: Study, write_run: WriteRun) -> None:
    runs = {"lora": [0.9, 0.5, 0.1], "nas_lora": [np.nan, 0.7, 0.2]}
    choice = chosen(study, write_scores(study, write_run, runs))
    assert (choice.chosen["best"], choice.images) == ("b", 2)


def test_without_runs_or_images(study: Study, write_run: WriteRun) -> None:
    assert choose(study, aggregate(study), "kvasir") is None
    write_run(study, "lora", 0, status="diverged")
    assert choose(study, aggregate(study), "kvasir") is None
    write_run(study, "nas_lora", 0)
    with pytest.raises(ManifestError, match="manifest not found"):
        choose(study, aggregate(study), "kvasir")
