from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from naslora.data.archives import Archive, load_archives, obtain, verify
from naslora.data.benchmark import benchmark_names, get_benchmark
from naslora.errors import ArchiveError, SettingsError


@pytest.fixture
def server(file_server, kit, monkeypatch):
    monkeypatch.setattr("naslora.download.time.sleep", lambda seconds: None)
    file_server.body = kit.zipped(kit.kvasir_files())
    return file_server


@pytest.fixture
def wanted(server, archive) -> Archive:
    """The server's file."""
    digest = hashlib.sha256(server.body).hexdigest()
    return archive(access="http", url=server.url, sha256=digest, size=len(server.body))


def test_download_verifies_and_keeps(server, wanted, kit, tmp_path: Path) -> None:
    path = obtain(wanted, tmp_path / "new")
    assert path.read_bytes() == server.body
    assert kit.tree(tmp_path) == ["new", "new/kvasir-seg.zip"]
    assert verify(wanted, path).official is True
    assert obtain(wanted, tmp_path / "new") == path
    assert len(server.requests) == 1, "not fetched again"


BAD = {
    "not found": (404, "HTTP Error 404"),
    "server error": (503, "HTTP Error 503"),
    "login page": (dict(body=b"<!doctype html><p>Log in" + bytes(2000)), "web page"),
    "other file": (dict(body=b"PK\x05\x06" + bytes(18)), r"not the official kvasir-seg\.zip"),
    "nothing": (dict(body=b""), "empty"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_downloads_leave_nothing(name, server, wanted, kit, tmp_path: Path) -> None:
    answer, says = BAD[name]
    server.answers = [answer]
    with pytest.raises(ArchiveError, match=says) as caught:
        obtain(wanted, tmp_path)
    assert caught.value.where == tmp_path / "kvasir-seg.zip"
    assert wanted.page in str(caught.value)
    assert kit.tree(tmp_path) == []


def test_a_broken_download_is_continued(server, wanted, tmp_path: Path) -> None:
    server.answers = [dict(cut=500), 503, dict(cut=500), {}]
    assert obtain(wanted, tmp_path).read_bytes() == server.body
    assert [request.get("Range") for request in server.requests[:3]] == [
        None,
        "bytes=500-",
        "bytes=500-",
    ]


def test_without_hash_and_size_it_has_to_be_a_whole_archive(
    server, archive, kit, tmp_path: Path
) -> None:
    server.answers = [dict(cut=500, length=False)]
    with pytest.raises(ArchiveError, match=r"kvasir-seg\.zip is truncated"):
        obtain(archive(access="http", url=server.url), tmp_path)
    assert kit.tree(tmp_path) == []


def test_a_manual_archive_tells_all_that_is_needed(archive, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError) as caught:
        obtain(archive(), tmp_path)
    for part in ("Kvasir-SEG", str(tmp_path / "kvasir-seg.zip"), "example.org", "research only"):
        assert part in str(caught.value)


def test_official_unofficial_and_damaged(
    archive: Callable[..., Archive], kit: SimpleNamespace, tmp_path: Path, caplog
) -> None:
    path = tmp_path / "kvasir-seg.zip"
    path.write_bytes(kit.zipped(kit.kvasir_files()))
    size, digest = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
    assert verify(archive(sha256=digest, size=size), path).official is True
    assert verify(archive(), path).official is None
    assert not caplog.records
    reduced = verify(archive(sha256="0" * 64, size=size + 1), path)
    assert (reduced.official, reduced.sha256, reduced.bytes) == (False, digest, size)
    assert "not the official archive" in caplog.text
    with pytest.raises(ArchiveError, match="official size, but another SHA-256"):
        verify(archive(sha256="0" * 64, size=size), path)


def test_a_folder_in_the_archives_place(archive, tmp_path: Path) -> None:
    (tmp_path / "kvasir-seg.zip").mkdir()
    with pytest.raises(ArchiveError, match="cannot read"):
        verify(archive(), obtain(archive(), tmp_path))


def test_the_shipped_file_serves_every_benchmark(kit: SimpleNamespace) -> None:
    archives = load_archives(kit.root / "config")
    for name in benchmark_names():
        for key in get_benchmark(name).archives:
            assert archives[key].licence


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (dict(access="ftp"), "kvasir_seg.access"),
        (dict(file="../x.zip"), "kvasir_seg.file"),
        (dict(sha256="12"), "kvasir_seg.sha256"),
        (dict(access="http"), "needs a url"),
        (dict(colour="red"), "kvasir_seg.colour"),
        (dict(licence=None), "kvasir_seg.licence"),
    ],
)
def test_invalid_entries(changes, says, config) -> None:
    with pytest.raises(SettingsError, match=says):
        load_archives(config(**changes))
