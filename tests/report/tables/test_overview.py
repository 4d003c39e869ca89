from __future__ import annotations

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


def test_it_has_the_main_metric_of_every_test_set(copied_study: Study) -> None:
    records = aggregate(copied_study)
    write_tables(copied_study, ["overview"])
    path = Layout.of(copied_study).table("overview", "csv")
    table = pd.read_csv(path).set_index("method")
    compared = 0
    for task in copied_study.tasks:
        benchmark = get_benchmark(task)
        metric = main_metric(benchmark.metrics)
        for test_set in benchmark.test_sets:
            shown = table.loc["lora", f"{task}_{test_set}_mean"]
            values = list(records.values(task, test_set, "lora", metric).values())
            assert pd.isna(shown) == (not values)
            if values:
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
    with (console := Console(width=80, no_color=True)).capture() as printed:
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
