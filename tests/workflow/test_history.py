"""Snakemake's notes about results, kept beside them and taken back where they were copied."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from snakemake.persistence import MetadataRecord
from snakemake.persistence.file import FilePersistence

from naslora.core.errors import RecordError
from naslora.study.layout import Layout
from naslora.workflow.history import PARTS, History

LONG = f"records/kvasir/{'long_' * 40}/seed0.json"  # a name that Snakemake cuts
FILES = ("manifests/kvasir.json", "runs/kvasir/lora/seed0/training.json", LONG, "report.html")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], History]:
    """The history of the same study in folders by name, each of which becomes the current one."""

    def at(name: str) -> History:
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / name)
        return History(Layout(Path("results/sample")))

    return at


def make(path: str, settings: str = "a", rule: str = "train") -> None:
    """Write a result, and the note that Snakemake would write about it."""
    file = Path("results/sample") / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{path} {settings}")
    note(file, settings, rule)


def note(file: Path, settings: str, rule: str = "train") -> None:
    record = MetadataRecord(
        rule=rule,
        params=[repr(settings)],
        input=["results/sample/backbone/sam.pth"],
        input_checksums={"results/sample/backbone/sam.pth": "sha256:00"},
        code="naslora train",
        shellcmd="naslora train --study sample",
        record_format_version=6,
        endtime=1.0,
    )
    FilePersistence()._write_record(str(file), record)


def params(path: str) -> list[Any] | None:
    """What Snakemake knows of a result."""
    record = FilePersistence()._read_record(f"results/sample/{path}")
    return record.params if record else None


def copy(source: str, target: str) -> None:
    shutil.copytree(f"../{source}/results", f"../{target}/results", dirs_exist_ok=True)


def test_what_was_copied_is_known(here: Callable[[str], History]) -> None:
    history = here("one")
    for path in FILES:
        make(path)
    history.keep()
    names = [f"{part}.json" for part in (*PARTS, "report")]
    assert sorted(path.name for path in Path("results/sample/history").iterdir()) == sorted(names)
    other = here("two")
    copy("one", "two")
    other.settle()
    assert [params(path) for path in FILES] == [["'a'"]] * len(FILES)
    record = FilePersistence()._read_record(f"results/sample/{LONG}")
    assert record is not None
    assert (record.rule, record.code, record.record_format_version) == ("train", "naslora train", 6)
    assert record.input_checksums == {"results/sample/backbone/sam.pth": "sha256:00"}
    # Writing it out here gives the same files.
    before = [(Path("results/sample/history") / name).read_bytes() for name in names]
    other.keep()
    assert [(Path("results/sample/history") / name).read_bytes() for name in names] == before
    assert b"shellcmd" not in b"".join(before)


def test_a_file_that_is_another_is_not_known(here: Callable[[str], History]) -> None:
    history = here("one")
    for path in FILES:
        make(path)
    history.keep()
    other = here("two")
    copy("one", "two")
    Path("results/sample", FILES[1]).write_text("changed by hand")
    Path("results/sample", FILES[0]).unlink()
    other.settle()
    assert [params(path) for path in FILES] == [None, None, ["'a'"], ["'a'"]]


def test_newer_copies_replace_notes_and_unfinished_marks(here: Callable[[str], History]) -> None:
    history = here("one")
    make(FILES[1], "new")
    history.keep()
    other = here("two")
    make(FILES[1], "old")
    other.keep()
    unfinished = Path("results/sample", FILES[1])
    FilePersistence()._mark_incomplete(str(unfinished), None)
    copy("one", "two")
    other.settle()
    assert params(FILES[1]) == ["'new'"]
    assert not FilePersistence()._filter_incomplete_keys([str(unfinished)])
    # Once seen, a history says nothing about what is made here later.
    make(FILES[1], "newest")
    other.settle()
    assert params(FILES[1]) == ["'newest'"]


def test_unfinished_files_have_no_history(here: Callable[[str], History]) -> None:
    history = here("one")
    make(FILES[0])
    make(FILES[1])
    FilePersistence()._mark_incomplete(f"results/sample/{FILES[1]}", None)
    history.keep()
    assert json.loads(Path("results/sample/history/runs.json").read_text()) == []


def test_after_a_kill_the_history_is_written_at_the_next_start(
    here: Callable[[str], History],
) -> None:
    history = here("one")
    make(FILES[0])
    history.keep()
    history.forget()
    make(FILES[1])
    history.settle()
    (job,) = json.loads(Path("results/sample/history/runs.json").read_text())
    assert list(job["outputs"]) == [f"results/sample/{FILES[1]}"]


def test_notes_about_images_come_without_them(here: Callable[[str], History]) -> None:
    history = here("one")
    make("manifests/kvasir.json", rule="prepare")
    images = Path("results/sample/prepared/kvasir")
    images.mkdir(parents=True)
    (images / "a.jpg").write_bytes(b"an image")
    note(images, "a", "prepare")
    history.keep()
    text = Path("results/sample/history/data.json").read_text()
    assert "a.jpg" not in text
    assert json.loads(text)[0]["outputs"][str(images)] is None
    other = here("two")
    copy("one", "two")
    shutil.rmtree(images)
    other.settle()
    assert params("prepared/kvasir") == ["'a'"]


@pytest.mark.parametrize("text", ["[{", "{}x", '[{"outputs": 3}]', "[{}]"])
def test_a_damaged_history_is_named(here: Callable[[str], History], text: str) -> None:
    path = Path("results/sample/history/runs.json")
    history = here("one")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(RecordError, match="history of results is damaged") as caught:
        history.settle()
    assert caught.value.where == path.absolute()


def test_paths_outside_the_study_are_left_alone(here: Callable[[str], History]) -> None:
    history = here("one")
    Path("other.txt").write_text("x")
    note(Path("other.txt"), "a")
    make(FILES[0])
    history.keep()
    file = Path("results/sample/history/data.json")
    assert "other.txt" not in file.read_text()
    jobs = json.loads(file.read_text())
    jobs[0]["outputs"] = {"other.txt": jobs[0]["outputs"].popitem()[1], "../up": None}
    other = here("two")
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(jobs))
    Path("other.txt").write_text("x")
    other.settle()
    assert FilePersistence()._read_record("other.txt") is None
    assert FilePersistence()._read_record("../up") is None


def test_a_fresh_project_is_left_as_it_is(here: Callable[[str], History]) -> None:
    here("one").settle()
    assert not list(Path().iterdir())
