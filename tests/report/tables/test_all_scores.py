"""All scores of all tasks, including those that no table of the paper has."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest

from naslora.data.benchmarks.contract import get_benchmark
from naslora.report.tables.catalogue import write_tables
from naslora.report.tables.markdown import DASH
from naslora.results.aggregate import aggregate
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS
from naslora.study.settings import Study


def read(study: Study) -> dict[tuple[str, str, str, str], dict[str, str]]:
    """The CSV's lines by task, test set, metric and method."""
    write_tables(study, ["scores"])
    text = Layout.of(study).table("scores", "csv").read_text(encoding="utf-8")
    return {
        (row["task"], row["test_set"], row["metric"], row["method"]): row
        for row in csv.DictReader(text.splitlines())
    }


def test_every_metric_of_every_test_set_with_images_is_in_it(copied_study: Study) -> None:
    lines, records = read(copied_study), aggregate(copied_study)
    for task in copied_study.tasks:
        benchmark = get_benchmark(task)
        for place in ((t, m) for t in benchmark.test_sets for m in benchmark.metrics):
            expected = records.has_images(task, place[0])
            assert ((task, *place, "lora") in lines) is expected
            assert ((task, *place, "control_blank") in lines) is expected
    assert {method for task, _, _, method in lines if task == "leaf"} == {
        *CONTROLS,
        *copied_study.run_names("leaf"),
    }


@pytest.mark.parametrize(
    ("task", "metric", "scale"), [("kvasir", "S_measure", 100), ("sbu", "BER", 1)]
)
def test_means_are_those_of_the_records(
    task: str, metric: str, scale: float, copied_study: Study
) -> None:
    line = read(copied_study)[(task, "test", metric, "lora")]
    values = aggregate(copied_study).values(task, "test", "lora", metric).values()
    assert float(line["mean"]) == pytest.approx(scale * fmean(values))
    assert int(line["n"]) == len(copied_study.seeds)
    text = Layout.of(copied_study).table("scores", "md").read_text(encoding="utf-8")
    digits = 1 if scale == 100 else 2
    assert f" {float(line['mean']):.{digits}f} ± {float(line['std']):.{digits}f} |" in text


def test_what_is_missing_has_no_number(study: Study, write_run: Callable[..., Path]) -> None:
    write_run(study, "nas_lora", 0)
    line = read(study)[("kvasir", "test", "Dice", "lora")]
    assert (line["mean"], line["std"], line["n"]) == ("", "", "0")
    assert f"{DASH} (missing)" in Layout.of(study).table("scores", "md").read_text(encoding="utf-8")
