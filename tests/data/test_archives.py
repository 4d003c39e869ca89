from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from naslora.data.archives import Archive, load_archives, obtain, verify
from naslora.data.benchmark import benchmark_names, get_benchmark
from naslora.errors import ArchiveError, SettingsError


class Server(ThreadingHTTPServer):
    """Serves `body` for every path; `cut` bytes of it are missing, `status` is the answer."""

    daemon_threads = True
    body = b""
    cut = 0
    status = 200
    lengths = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/kvasir-seg.zip"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Server = self.server  # type: ignore[assignment]
        self.send_response(server.status)
        if server.lengths:
            self.send_header("Content-Length", str(len(server.body)))
        self.end_headers()
        self.wfile.write(server.body[: len(server.body) - server.cut])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_download_verifies_and_keeps(server, archive, kit, tmp_path: Path) -> None:
    server.body = kit.zipped(kit.kvasir_files())
    digest = hashlib.sha256(server.body).hexdigest()
    wanted = archive(access="http", url=server.url, sha256=digest, size=len(server.body))
    path = obtain(wanted, tmp_path / "new")
    assert path.read_bytes() == server.body
    assert kit.tree(tmp_path) == ["new", "new/kvasir-seg.zip"]
    assert verify(wanted, path).official is True
    server.body = b""
    assert obtain(wanted, tmp_path / "new") == path, "not fetched again"


BAD = {
    "connection cut": (dict(cut=500), "broke off after"),
    "cut, length unknown": (dict(cut=500, lengths=False), "broke off after|truncated"),
    "not found": (dict(status=404), "HTTP Error 404"),
    "server error": (dict(status=503), "HTTP Error 503"),
    "login page": (dict(body=b"<!doctype html><p>Log in" + bytes(2000)), "web page"),
    "other file": (dict(body=b"PK\x05\x06" + bytes(18)), "not the official kvasir-seg.zip"),
    "nothing": (dict(body=b""), "empty|broke off"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_downloads_leave_nothing(name, server, archive, kit, tmp_path: Path) -> None:
    changes, says = BAD[name]
    server.body = kit.zipped(kit.kvasir_files())
    digest = hashlib.sha256(server.body).hexdigest()
    size = len(server.body)
    for key, value in changes.items():
        setattr(server, key, value)
    wanted = archive(access="http", url=server.url, sha256=digest, size=size)
    with pytest.raises(ArchiveError, match=says) as caught:
        obtain(wanted, tmp_path)
    assert str(tmp_path / "kvasir-seg.zip") in str(caught.value)
    assert kit.tree(tmp_path) == []


def test_no_server(archive, kit, tmp_path: Path) -> None:
    with Server(("127.0.0.1", 0), Handler) as gone:
        url = gone.url
    with pytest.raises(ArchiveError, match=r"cannot download Kvasir-SEG from 127\.0\.0\.1"):
        obtain(archive(access="http", url=url), tmp_path)
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
