"""Results that were copied here, in any order: only missing and changed ones are made."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

# One worker runs all of these tests, so that the ledger is made once.
pytestmark = pytest.mark.xdist_group("dvc")

FOLDERS = ("manifests", "backbone", "runs", "records", "tables", "metrics", "figures")
RANK = ("--config", "method_settings={lora: {rank: 9}}")
SIZE = ("--config", "evaluation={size: input}")


def copy_results(here: Project, there: Project) -> None:
    """Copy everything except archives, images and logs; reverse the order of file times."""
    source, target = here.records.parent, there.records.parent
    for name in FOLDERS:
        shutil.copytree(source / name, target / name, dirs_exist_ok=True)
    for name in ("report.html", "sources.json"):
        shutil.copy(source / name, target)
    paths = (path for path in target.rglob("*") if path.is_file())
    for age, path in enumerate(sorted(paths, key=lambda path: path.stat().st_mtime_ns)):
        os.utime(path, (1.7e9 - age, 1.7e9 - age))


@pytest.fixture(scope="module")
def planned(ledger: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Counter[str]]:
    """Dry runs in copies of the ledger's results."""
    folder = tmp_path_factory.mktemp("copies")
    copy = ledger.clone(folder / "copy")
    copy_results(ledger, copy)
    # Results that were made elsewhere, with another setting.
    elsewhere, here = ledger.copy(folder / "elsewhere"), ledger.copy(folder / "here")
    assert elsewhere.snakemake("--profile", "local", *RANK).code == 0
    copy_results(elsewhere, here)
    ahead = ledger.copy(folder / "ahead")  # copied from a machine whose clock is ahead
    for path in ahead.records.parent.rglob("*"):
        os.utime(path, (4e9, 4e9))
    checkout = ledger.copy(folder / "checkout")  # as git checks files out, in order of name
    for path in checkout.records.parent.rglob("*"):
        if path.name == ".snakemake_timestamp":
            path.unlink()
    for age, name in enumerate(sorted(FOLDERS, reverse=True)):
        for path in (checkout.records.parent / name, *(checkout.records.parent / name).rglob("*")):
            os.utime(path, (1.7e9 - age, 1.7e9 - age))
    runs = {
        "copy": (copy, ()),
        "checkout": (checkout, ()),
        "copy, rank": (copy, RANK),
        "copy, size": (copy, SIZE),
        "here, rank": (here, RANK),
        "here": (here, ()),
        "ahead": (ahead, ()),
        "ahead, rank": (ahead, RANK),
    }
    plans = copy.plans(*(["--directory", str(p.root), *line] for p, line in runs.values()))
    return dict(zip(runs, plans, strict=True))


def test_a_copy_is_up_to_date(planned: dict[str, Counter[str]]) -> None:
    assert planned["copy"] == planned["ahead"] == planned["checkout"] == {}


def test_a_changed_setting_reruns_what_depends_on_it(planned: dict[str, Counter[str]]) -> None:
    again = {"batch": 1, "tables": 1, "timing_tables": 1, "figures": 1, "pictures": 1, "report": 1}
    assert planned["copy, size"] == again
    # The cost of a method depends on its rank.
    assert planned["copy, rank"] == planned["ahead, rank"] == {**again, "timing": 1}


def test_newer_results_replace_those_made_here(planned: dict[str, Counter[str]]) -> None:
    assert planned["here, rank"] == {}
    assert planned["here"]["batch"] == 1
