from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from naslora.core.errors import DiskError, RecordError, SettingsError
from naslora.report.figures.catalogue import FIGURES, write_figures
from naslora.report.tables.catalogue import TABLES, write_tables
from naslora.study.layout import Layout
from naslora.study.settings import Study


def test_a_table_is_written_in_three_formats(full_study: Study) -> None:
    paths = write_tables(full_study, ["table1"])
    layout = Layout.of(full_study)
    assert paths == [layout.table("table1", suffix) for suffix in ("csv", "md", "tex")]
    before = [path.read_bytes() for path in paths]
    assert all(before)
    assert not pd.read_csv(paths[0]).empty
    write_tables(full_study, ["table1"])
    assert [path.read_bytes() for path in paths] == before


def test_a_study_without_records_has_no_table_of_scores(study: Study) -> None:
    with pytest.raises(RecordError, match="no record of the tasks of table1") as caught:
        write_tables(study, ["table1"])
    assert caught.value.where == Layout.of(study).records
    assert caught.value.remedy == "run the study first: naslora run --study sample"
    with pytest.raises(RecordError, match="no record of the tasks of ranking, table1, scores"):
        write_tables(study, ["all"])
    assert not Layout.of(study).table("table1", "md").exists()
    assert [path.suffix for path in write_tables(study, ["status"])] == [".csv", ".md"]


def test_records_that_are_left_out_are_no_records(full_study: Study) -> None:
    for path in Layout.of(full_study).records.rglob("*.json"):
        path.write_text("{")
    with pytest.raises(RecordError, match="16 records are left out"):
        write_tables(full_study, ["table1"])


def test_no_names_no_files(full_study: Study) -> None:
    assert write_tables(full_study, []) == []
    assert write_figures(full_study, []) == []
    assert not (Layout.of(full_study).root / "tables").exists()


def test_unknown_names_are_refused_before_anything_is_written(full_study: Study) -> None:
    with pytest.raises(SettingsError, match="no table named 'table0'") as caught:
        write_tables(full_study, ["table1", "table0"])
    assert caught.value.remedy == f"choose from {', '.join(TABLES)}, all"
    with pytest.raises(SettingsError, match="no figure named 'lines'") as caught:
        write_figures(full_study, ["figureC1", "lines"])
    assert caught.value.remedy == f"choose from {', '.join(FIGURES)}, all"
    root = Layout.of(full_study).root
    assert not (root / "tables").exists()
    assert not (root / "figures").exists()


def test_tables_need_no_torch(full_study: Study, one_task: dict[str, Any]) -> None:
    overrides = {"results": str(full_study.results), **one_task}
    code = (
        "import sys; from pathlib import Path; from naslora.study.settings import load_study;"
        "from naslora.report.tables.catalogue import write_tables;"
        f"study = load_study('sample', {overrides!r},"
        f" Path({str(Path(__file__).parents[3] / 'config')!r}));"
        "write_tables(study, ['all']);"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_full_disk(
    make_study: Callable[..., Study], write_run: Callable[..., Path], mounted: Callable[[int], Path]
) -> None:
    disk = mounted(1024)
    study = make_study(disk)
    write_run(study, "lora", 0)
    filler = os.open(disk / "filler", os.O_CREAT | os.O_WRONLY)
    with contextlib.suppress(OSError):
        while True:
            os.write(filler, bytes(4096))
    os.close(filler)
    before = sorted(disk.rglob("*"))
    with pytest.raises(DiskError, match="No space left"):
        write_tables(study, ["table1"])
    assert [path for path in disk.rglob("*") if path.is_file() and path not in before] == []
