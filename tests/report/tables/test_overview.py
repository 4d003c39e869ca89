from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pandas as pd
import pytest
from rich.console import Console

from naslora.data.benchmarks.contract import get_benchmark
from naslora.evaluation.names import main_metric, metric_name
from naslora.report.tables.catalogue import tables_of, write_tables
from naslora.report.tables.console import print_results
from naslora.results.aggregate import aggregate
from naslora.study.layout import Layout
from naslora.study.settings import Study


def test_it_has_the_main_metric_of_every_test_set_with_images(copied_study: Study) -> None:
    records = aggregate(copied_study)
    write_tables(copied_study, ["overview"])
    path = Layout.of(copied_study).table("overview", "csv")
    table = pd.read_csv(path).set_index("method")
    compared = 0
    for task in copied_study.tasks:
        benchmark = get_benchmark(task)
        metric = main_metric(benchmark.metrics)
        for test_set in benchmark.test_sets:
            values = records.values(task, test_set, "lora", metric).values()
            assert (f"{task}_{test_set}_mean" in table) == bool(values)
            if values:
                shown = table.loc["lora", f"{task}_{test_set}_mean"]
                assert shown == pytest.approx(fmean(values) * metric_name(metric).scale)
                compared += 1
    assert compared >= 8
    with (console := Console(width=300, no_color=True)).capture() as printed:
        print_results(copied_study, records, console)
    text = printed.get()
    mean, std = (table.loc["lora", f"kvasir_test_{what}"] for what in ("mean", "std"))
    assert f"{mean:.1f} ± {std:.1f}" in text
    assert "±: standard deviation over seeds." in text
    assert "bold" not in text.lower(), "it cannot be shown here"
    with (console := Console(width=60, no_color=True)).capture() as printed:
        print_results(copied_study, records, console)
    assert f"{mean:.1f}" in printed.get()
    assert "±" not in printed.get()
    with (
        console := Console(width=300, force_terminal=True, color_system="standard")
    ).capture() as printed:
        print_results(copied_study, records, console)
    assert "bold" in printed.get().lower()


def test_a_study_of_one_task_has_none(study: Study) -> None:
    assert "overview" not in tables_of(study)


def test_test_sets_without_images_have_no_columns(
    tmp_path: Path, make_study: Callable[..., Study], write_run: Callable[..., Path]
) -> None:
    study = make_study(tmp_path, tasks=["kvasir", "cod"])
    write_run(study, "lora", 0)
    write_run(study, "lora", 0, {"camo": {"S_measure": 0.6}}, task="cod")
    write_tables(study, ["overview", "scores"])
    layout = Layout.of(study)
    text = layout.table("overview", "md").read_text(encoding="utf-8")
    columns = text.partition("\n|")[2].partition("\n")[0]
    assert "CAMO S" in columns
    assert "COD10K" not in columns
    assert "CHAMELEON" not in columns
    assert "have no images for COD10K S and CHAMELEON S." in text
    assert set(pd.read_csv(layout.table("scores", "csv"))["test_set"]) == {"test", "camo"}
