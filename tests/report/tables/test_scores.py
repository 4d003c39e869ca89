"""Mean scores for `dvc metrics`."""

from __future__ import annotations

import json
from statistics import fmean

import pytest

from naslora.data.benchmarks.contract import get_benchmark
from naslora.report.tables.catalogue import write_tables
from naslora.report.tables.scores import write_scores
from naslora.results.aggregate import aggregate
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS
from naslora.study.settings import Study


def test_files_are_rows_and_means_over_seeds_are_cells(full_study: Study) -> None:
    records = aggregate(full_study)
    paths = write_scores(full_study, records)
    names = [*CONTROLS, *full_study.methods]
    assert [path.name for path in paths] == [f"{name}.json" for name in names]
    lora = json.loads((Layout.of(full_study).metrics / "lora.json").read_text())
    assert set(lora) == {"kvasir"}
    assert {"S_measure", "E_measure"} <= set(lora["kvasir"]) <= set(get_benchmark("kvasir").metrics)
    by_seed = records.values("kvasir", "test", "lora", "S_measure")
    assert len(by_seed) == len(full_study.seeds)
    assert lora["kvasir"]["S_measure"] == pytest.approx(fmean(by_seed.values()))


def test_a_task_with_several_test_sets_has_a_level_for_them(copied_study: Study) -> None:
    write_tables(copied_study, ["table1"])
    records = aggregate(copied_study)
    blank = json.loads((Layout.of(copied_study).metrics / "control_blank.json").read_text())
    assert set(blank) == set(copied_study.tasks)
    assert isinstance(blank["kvasir"]["S_measure"], float)
    assert set(blank["trans10k_v1"]) == {"easy", "hard"}
    for test_set, scores in blank["trans10k_v1"].items():
        for metric, value in scores.items():
            expected = records.values("trans10k_v1", test_set, "control_blank", metric)[0]
            assert value == pytest.approx(expected)


def test_missing_scores_are_left_out_and_files_of_old_methods_removed(study: Study) -> None:
    folder = Layout.of(study).metrics
    folder.mkdir(parents=True)
    (folder / "gone.json").write_text("{}")
    write_scores(study, aggregate(study))
    assert not (folder / "gone.json").exists()
    assert json.loads((folder / "lora.json").read_text()) == {}
