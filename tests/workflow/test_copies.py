"""Results that were copied here, in whatever order: only what was not, or has changed, is made."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from naslora.workflow.history import PARTS

if TYPE_CHECKING:
    from conftest import Project

# One worker runs all of these, so that the ledger is made once.
pytestmark = pytest.mark.xdist_group("dvc")

RANK = ("--config", "method_settings={lora: {rank: 9}}")
SIZE = ("--config", "evaluation={size: input}")


def copy_results(here: Project, there: Project, history: bool = True) -> None:
    """Copy all but images and logs; the newest files become the oldest."""
    source, target = here.records.parent, there.records.parent
    folders = [folder for folders in PARTS.values() for folder in folders]
    for name in (*folders, *(["history"] if history else [])):
        shutil.copytree(source / name, target / name, dirs_exist_ok=True)
    shutil.copy(source / "report.html", target)
    paths = (path for path in target.rglob("*") if path.is_file())
    for age, path in enumerate(sorted(paths, key=lambda path: path.stat().st_mtime_ns)):
        os.utime(path, (1.7e9 - age, 1.7e9 - age))


@pytest.fixture(scope="module")
def planned(ledger: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Counter[str]]:
    """Dry runs in copies of the ledger's results."""
    folder = tmp_path_factory.mktemp("copies")
    copy, bare = ledger.clone(folder / "copy"), ledger.clone(folder / "bare")
    copy_results(ledger, copy)
    copy_results(ledger, bare, history=False)
    # Made elsewhere with another setting, by jobs that write something else.
    elsewhere, here = ledger.copy(folder / "elsewhere"), ledger.copy(folder / "here")
    naslora = elsewhere.root / "bin" / "naslora"
    naslora.write_text(naslora.read_text().replace('echo "$command" >', 'echo "$command anew" >'))
    assert elsewhere.snakemake("--profile", "local", *RANK).code == 0
    copy_results(elsewhere, here)
    runs = {
        "copy": (copy, ()),
        "copy, rank": (copy, RANK),
        "copy, size": (copy, SIZE),
        "copy, record": (copy, ("--forcerun", "evaluate")),
        "bare": (bare, ()),
        "here, rank": (here, RANK),
        "here": (here, ()),
    }
    plans = copy.plans(*(["--directory", str(p.root), *line] for p, line in runs.values()))
    return dict(zip(runs, plans, strict=True))


def test_a_copy_is_up_to_date(planned: dict[str, Counter[str]]) -> None:
    assert planned["copy"] == {}
    # Not so without its history, as the times are those of the copying.
    assert planned["bare"]["train"] == planned["bare"]["evaluate"] == 1


def test_a_changed_setting_reruns_what_depends_on_it(planned: dict[str, Counter[str]]) -> None:
    def jobs(name: str) -> tuple[int, ...]:
        return tuple(planned[name][rule] for rule in ("train", "evaluate", "controls", "analyse"))

    assert jobs("copy, rank") == (1, 1, 0, 0)
    assert jobs("copy, size") == (0, 1, 1, 0)


def test_what_needs_images_is_made_and_nothing_else_of_them(
    planned: dict[str, Counter[str]],
) -> None:
    """Images are no part of a copy; the job sees to them."""
    shown = dict.fromkeys(("tables", "timing_tables", "figures", "pictures", "report"), 1)
    made = {"evaluate": 1, **shown}
    assert planned["copy, record"] == made


def test_newer_results_replace_those_made_here(planned: dict[str, Counter[str]]) -> None:
    assert planned["here, rank"] == {}
    assert planned["here"]["train"] == planned["here"]["evaluate"] == 1
