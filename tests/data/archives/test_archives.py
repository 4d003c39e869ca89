from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from naslora.core.errors import ArchiveError, SettingsError
from naslora.data.archives.catalogue import Archive, find, load_archives, obtain, verify
from naslora.data.benchmarks.contract import benchmark_names, get_benchmark


@pytest.fixture
def server(file_server, kit, monkeypatch):
    monkeypatch.setattr("naslora.core.download.time.sleep", lambda seconds: None)
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


def test_other_names(archive: Callable[..., Archive], kit: SimpleNamespace, tmp_path: Path) -> None:
    cvc = archive(file="CVC-ClinicDB.rar", other_names=["CVC-ClinicDB.zip", "cvc.tar"])
    assert find(cvc, tmp_path) is None
    with pytest.raises(ArchiveError) as caught:
        obtain(cvc, tmp_path)
    assert "under this name or as CVC-ClinicDB.zip or cvc.tar" in str(caught.value)
    (tmp_path / "cvc.tar").write_bytes(kit.zipped({"a": b"1"}))
    assert obtain(cvc, tmp_path) == tmp_path / "cvc.tar"
    assert verify(cvc, tmp_path / "cvc.tar").file == "cvc.tar"
    (tmp_path / "CVC-ClinicDB.rar").write_bytes(kit.zipped({"a": b"1"}))
    assert find(cvc, tmp_path) == tmp_path / "CVC-ClinicDB.rar"


def test_a_published_md5(server, archive, kit: SimpleNamespace, tmp_path: Path, caplog) -> None:
    known = {"access": "http", "url": server.url}
    isic = archive(md5=hashlib.md5(server.body).hexdigest(), **known)
    path = obtain(isic, tmp_path)
    assert verify(isic, path).official is True
    assert not caplog.records
    damaged = isic.model_copy(update={"md5": "0" * 32, "size": path.stat().st_size})
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    with pytest.raises(ArchiveError, match=rf"official size, but another MD5 \({digest}\)"):
        verify(damaged, path)
    path.write_bytes(kit.zipped({"a": b"1"}))
    assert verify(isic, path).official is False
    assert "not the official archive" in caplog.text
    path.unlink()
    with pytest.raises(ArchiveError, match=r"its MD5 is .*, not 00000"):
        obtain(archive(md5="0" * 32, **known), tmp_path)
    assert kit.tree(tmp_path) == []


def test_a_folder_in_the_archives_place(archive, tmp_path: Path) -> None:
    (tmp_path / "kvasir-seg.zip").mkdir()
    with pytest.raises(ArchiveError, match="is a folder, not an archive"):
        verify(archive(), obtain(archive(), tmp_path))
    other = archive(other_names=["other.zip"])
    (tmp_path / "other.zip").write_bytes(b"PK")
    assert find(other, tmp_path) == tmp_path / "other.zip", "a file comes first"


def test_the_shipped_file_serves_every_benchmark(kit: SimpleNamespace) -> None:
    archives = load_archives(kit.root / "config")
    for name in benchmark_names():
        for key in get_benchmark(name).archives:
            assert archives[key].licence
            assert archives[key].layout
            assert not archives[key].replaces


def test_the_shipped_file_counts_what_appendix_b_counts(kit: SimpleNamespace) -> None:
    archives = load_archives(kit.root / "config")
    for name in benchmark_names():
        benchmark = get_benchmark(name)
        whole = [key for key in benchmark.archives if not key.endswith("_masks")]
        assert sum(archives[key].pairs for key in whole) == sum(benchmark.expected.values()), name
        for key in benchmark.archives:
            if key.endswith("_masks"):
                assert archives[key].pairs == archives[key.replace("_masks", "_data")].pairs


def test_the_shipped_bundles(kit: SimpleNamespace) -> None:
    archives = load_archives(kit.root / "config")
    bundles = [archive for archive in archives.values() if archive.replaces]
    assert len(bundles) == 6
    assert {task for bundle in bundles for task in bundle.replaces} < set(benchmark_names())
    official = {name for a in archives.values() if not a.replaces for name in a.names}
    assert not official & {name for bundle in bundles for name in bundle.names}
    assert all(bundle.access == "http" for bundle in bundles)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (dict(access="ftp"), "kvasir_seg: access"),
        (dict(file="../x.zip"), "kvasir_seg: file"),
        (dict(sha256="12"), "kvasir_seg: sha256"),
        (dict(access="http"), "needs a url"),
        (dict(colour="red"), "kvasir_seg: colour"),
        (dict(licence=None), "kvasir_seg: licence"),
        (dict(md5="12"), "kvasir_seg: md5"),
        (dict(other_names=["a/b"]), "kvasir_seg: other_names.0"),
        (dict(folder="x"), "both folder and replaces"),
        (dict(replaces={"leaf": {}}), "both folder and replaces"),
        (dict(folder="x", replaces={"leaf": {"stems": "("}}), "not a regular expression"),
    ],
)
def test_invalid_entries(changes, says, config) -> None:
    with pytest.raises(SettingsError, match=says):
        load_archives(config(**changes))
