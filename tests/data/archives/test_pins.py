"""Pins: the first whole archive without a published hash is pinned, and others are refused."""

from __future__ import annotations

import errno
import json
import logging
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from naslora.core.errors import ArchiveError, SettingsError
from naslora.core.files import sha256
from naslora.data.archives import pins
from naslora.data.archives.acquire import acquire
from naslora.data.archives.catalogue import load_archives, verify
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.generated import generate_archives
from naslora.data.manifest import ManifestArchive
from naslora.data.prepare import prepare
from naslora.study.layout import Layout
from naslora.study.settings import Study

WHOLE = 12


@pytest.fixture(autouse=True)
def small_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kvasir-SEG with twelve images."""
    benchmark = type(get_benchmark("kvasir"))
    monkeypatch.setattr(benchmark, "expected", {"train": 9, "val": 2, "test": 1})


@pytest.fixture
def archive(study: Study, kit: SimpleNamespace) -> Path:
    path = study.archives / "kvasir-seg.zip"
    path.write_bytes(kit.zipped(kit.kvasir_files(WHOLE)))
    return path


def pinned(study: Study) -> dict:
    path = study.archives / "archives.lock.json"
    return json.loads(path.read_text()) if path.exists() else {}


def test_the_first_whole_archive_is_pinned(study: Study, archive: Path, config, caplog) -> None:
    manifest = prepare(study, "kvasir", config())
    assert manifest.archives[0].official is None
    expected = {"bytes": archive.stat().st_size, "sha256": sha256(archive)}
    assert pinned(study) == {"kvasir_seg": {"kvasir-seg.zip": expected}}
    assert "pinned kvasir-seg.zip in" in caplog.text
    caplog.clear()
    assert prepare(study, "kvasir", config()) == manifest
    assert "pinned" not in caplog.text


def test_a_later_change_is_an_error(
    study: Study, archive: Path, config, kit: SimpleNamespace
) -> None:
    prepare(study, "kvasir", config())
    before = pinned(study), Layout.of(study).manifest("kvasir").read_bytes()
    archive.write_bytes(archive.read_bytes() + b"longer")
    with pytest.raises(ArchiveError, match="not the file that was pinned") as caught:
        prepare(study, "kvasir", config())
    assert caught.value.where == archive
    assert "naslora data --repin kvasir_seg" in str(caught.value.remedy)
    assert (pinned(study), Layout.of(study).manifest("kvasir").read_bytes()) == before


def test_a_set_that_has_grown_is_pinned_anew(
    study: Study, archive: Path, config, kit: SimpleNamespace
) -> None:
    own = study.model_copy(update={"tasks": ["kvasir"]})
    prepare(own, "kvasir", config())
    archive.write_bytes(kit.zipped(kit.kvasir_files(WHOLE + 1)))
    (outcome,) = acquire(own, config())
    assert "not the file that was pinned" in str(outcome.problem)
    (outcome,) = acquire(own, config(), repinned=["kvasir_seg"])
    assert outcome.problem is None
    assert pinned(study)["kvasir_seg"]["kvasir-seg.zip"]["sha256"] == sha256(archive)
    assert len(prepare(own, "kvasir", config()).samples) == WHOLE + 1
    with pytest.raises(
        SettingsError, match="coins is not an archive of study sample that can be pinn"
    ):
        acquire(own, config(), repinned=["coins"])
    with pytest.raises(SettingsError, match="kvasir_seg is not an archive"):
        acquire(own, config(md5="0" * 32), repinned=["kvasir_seg"])


def test_a_smaller_whole_archive_is_refused_after_the_audit(
    study: Study, archive: Path, config, kit: SimpleNamespace
) -> None:
    archive.write_bytes(archive.read_bytes() + b"longer")
    prepare(study, "kvasir", config())
    before = Layout.of(study).manifest("kvasir").read_bytes()
    archive.write_bytes(archive.read_bytes().removesuffix(b"longer"))
    with pytest.raises(ArchiveError, match="not the file that was pinned"):
        prepare(study, "kvasir", config())
    assert Layout.of(study).manifest("kvasir").read_bytes() == before


def test_a_reduced_copy_beside_a_pin_says_that_it_is_not_official(
    study: Study, archive: Path, config, kit: SimpleNamespace, caplog
) -> None:
    prepare(study, "kvasir", config())
    before = pinned(study)
    archive.write_bytes(kit.zipped(kit.kvasir_files(WHOLE - 1)))
    assert prepare(study, "kvasir", config()).archives[0].official is False
    assert "not the official archive" in caplog.text
    assert pinned(study) == before


def test_what_is_never_pinned(study: Study, archive: Path, config, kit: SimpleNamespace) -> None:
    archive.write_bytes(kit.zipped(kit.kvasir_files(WHOLE - 1)))
    prepare(study, "kvasir", config())
    assert pinned(study) == {}, "a reduced copy"
    generating = study.model_copy(update={"generated": {"kvasir": WHOLE}})
    prepare(generating, "kvasir", config())
    assert pinned(study) == {}, "a generated archive"
    archive.write_bytes(generate_archives(generating, "kvasir")[0].read_bytes())
    assert prepare(study, "kvasir", config()).generated
    assert pinned(study) == {}, "a generated archive in the place of the real one"
    archive.write_bytes(kit.zipped(kit.kvasir_files(WHOLE)))
    prepare(study, "kvasir", config(md5="0" * 32))
    assert pinned(study) == {}, "an archive with a published hash"


def test_each_name_has_its_own_pin(
    study: Study, archive: Path, config, kit: SimpleNamespace
) -> None:
    folder = config(other_names=["Kvasir-SEG.tar"])
    prepare(study, "kvasir", folder)
    archive.unlink()
    (study.archives / "Kvasir-SEG.tar").write_bytes(kit.zipped(kit.kvasir_files(WHOLE)) + b"!")
    prepare(study, "kvasir", folder)
    assert sorted(pinned(study)["kvasir_seg"]) == ["Kvasir-SEG.tar", "kvasir-seg.zip"]


def test_a_lock_file_that_cannot_be_written_stops_nothing(
    study: Study, archive: Path, config, caplog, monkeypatch
) -> None:
    def refuse(path: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(pins, "exclusive", refuse)
    assert prepare(study, "kvasir", config()).archives[0].official is None
    assert "kvasir-seg.zip could not be pinned: cannot write archives.lock.json" in caplog.text
    assert pinned(study) == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"kvasir_seg": {"x": {"bytes": 0}}}'])
def test_a_damaged_lock_file(text: str, study: Study, archive: Path, config) -> None:
    (study.archives / "archives.lock.json").write_text(text)
    with pytest.raises(SettingsError, match="pins of archives cannot be read"):
        prepare(study, "kvasir", config())


def test_many_at_once_lose_no_pin(tmp_path: Path) -> None:
    logging.disable(logging.WARNING)

    def pin(index: int) -> None:
        record = ManifestArchive(file="x", sha256=f"{index:064}", bytes=1, official=None)
        pins.pin_all({f"key{index}": (tmp_path / "x.zip", record)})

    threads = [threading.Thread(target=pin, args=(index,)) for index in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logging.disable(logging.NOTSET)
    assert sorted(pins.read_pins(tmp_path)) == sorted(f"key{index}" for index in range(12))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archives.lock.json"]


def test_two_that_differ_cannot_both_be_first(tmp_path: Path) -> None:
    records = [
        ManifestArchive(file="x", sha256=digit * 64, bytes=1, official=None) for digit in "ab"
    ]
    path = tmp_path / "x.zip"
    assert pins.pin_all({"key": (path, records[0])}) == ["key"]
    assert pins.pin_all({"key": (path, records[0])}) == []
    with pytest.raises(ArchiveError, match="not the file that was pinned"):
        pins.pin_all({"key": (path, records[1])})


def test_verify_looks_at_pins_only_where_nothing_is_published(
    archive: Path, config, kit: SimpleNamespace
) -> None:
    lock = {"kvasir_seg": {"kvasir-seg.zip": {"bytes": 1, "sha256": "0" * 64}}}
    (archive.parent / "archives.lock.json").write_text(json.dumps(lock))
    plain = load_archives(config())["kvasir_seg"]
    with pytest.raises(ArchiveError, match="pinned"):
        verify(plain, archive)
    assert verify(plain, archive, pinned=False).official is None
    published = plain.model_copy(update={"sha256": sha256(archive)})
    assert verify(published, archive).official is True
