"""Downloads from a server on this machine: whole files, and every failure."""

from __future__ import annotations

import email
import hashlib
import io
import os
import socket
import threading
import time
import urllib.request
import urllib.response
from types import SimpleNamespace

import pytest

from naslora.core.download import looks_like_html
from naslora.core.errors import ArchiveError, CheckpointError, DiskError

BODY = bytes(range(256)) * 4096  # 1 MiB
NEW = bytes(len(BODY))
DIGEST = hashlib.sha256(BODY).hexdigest()
PAGE = b"\r\n <!DOCTYPE html><html>Sign in</html>"
PARTIAL, NOTE = ".file.bin.partial", ".file.bin.partial.json"


@pytest.fixture(autouse=True)
def server(file_server):
    file_server.body = BODY
    return file_server


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "to"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("known", [{}, {"size": None}, {"sha256": None}, {"sha256": DIGEST[:6]}])
@pytest.mark.parametrize("length", [True, False])
def test_whole(download, server, folder, known, length):
    server.answers = [{"length": length}]
    assert download(**known) == BODY
    assert names(folder) == ["file.bin"]
    umask = os.umask(0)
    os.umask(umask)
    assert (folder / "file.bin").stat().st_mode & 0o777 == 0o666 & ~umask
    assert download() == BODY
    assert len(server.requests) == 1, "a file that is there is not fetched again"


@pytest.mark.parametrize(
    "trouble",
    [
        503,
        500,
        429,
        408,
        {"cut": 0},
        {"cut": 10},
        {"body": b""},
        {"pause": 0.5},
        {"cut": 10, "stall": 0.5},
        {"status": 204},
    ],
)
def test_temporary_errors_are_retried(download, server, trouble, capsys):
    server.answers = [trouble, trouble, {}]
    assert download(timeout=0.2) == BODY
    assert len(server.requests) == 3
    assert capsys.readouterr().err.count("next try in") == 2


def test_growing_pauses_and_the_servers_wish(download, server, monkeypatch):
    pauses = []
    clock = SimpleNamespace(sleep=pauses.append, monotonic=time.monotonic)
    monkeypatch.setattr("naslora.core.download.time", clock)
    asked = [{"status": 429, "headers": {"Retry-After": wish}} for wish in ("7", "soon", "9999")]
    server.answers = [503, 503, *asked, 503]
    with pytest.raises(ArchiveError, match="HTTP Error 503"):
        download(attempts=6, pause=1)
    assert pauses == [1, 2, 7, 8, 120]
    assert len(server.requests) == 6


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416])
def test_permanent_errors_are_not_retried(download, server, folder, status):
    server.answers = [status]
    with pytest.raises(CheckpointError, match=f"cannot download http://.*{status}") as caught:
        download(error=CheckpointError)
    assert caught.value.where == folder / "file.bin"
    assert "carry it here" in caught.value.remedy
    assert len(server.requests) == 1
    assert names(folder) == []


@pytest.mark.parametrize("cut", [0, 300_000])
def test_a_server_that_ignores_ranges_and_breaks(download, server, folder, cut):
    server.answers = [{"ranges": False, "cut": cut}]
    with pytest.raises(ArchiveError, match=f"broke off after {cut} of {len(BODY)} bytes"):
        download(attempts=3)
    assert len(server.requests) == 3
    assert names(folder) == ([PARTIAL, NOTE] if cut else [])


OTHER = {
    "short": (dict(body=BODY[:-1]), {}, "it has 1048575 bytes, not 1048576"),
    "long": (dict(body=BODY + b"!"), {}, "it has 1048577 bytes, not 1048576"),
    "long, unannounced": (dict(body=BODY + b"!", length=False), {}, "more than 1048576 bytes"),
    "hash": (dict(body=NEW), {}, "its SHA-256 is [0-9a-f]{64}, not"),
    "prefix": (dict(body=NEW), {"sha256": DIGEST[:6]}, f"not {DIGEST[:6]}"),
    "page": (dict(body=PAGE), {}, "answered with a web page"),
}


@pytest.mark.parametrize("name", OTHER)
def test_another_file_is_refused_at_once_and_leaves_nothing(download, server, folder, name):
    answer, options, says = OTHER[name]
    server.answers = [answer]
    with pytest.raises(ArchiveError, match=says):
        download(**options)
    assert len(server.requests) == 1
    assert names(folder) == []


def test_the_callers_check(download, server, folder):
    def refuse(path):
        assert path.read_bytes() == BODY
        raise ArchiveError("no archive")

    with pytest.raises(ArchiveError, match="no archive"):
        download(check=refuse)
    assert names(folder) == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://127.0.0.1/file.bin", "only http and https"),
        ("file:///etc/hostname", "only http and https"),
        ("/etc/hostname", "only http and https"),
        ("http://127.0.0.1:port/", "port"),
        ("http://[::1/", "Invalid IPv6"),
        ("http://127.0.0.1/a b", "control characters"),
    ],
)
def test_addresses_that_are_none(download, folder, url, says):
    with pytest.raises(ArchiveError, match=says):
        download(url=url)
    assert names(folder) == []


@pytest.mark.parametrize(
    ("to", "says"), [("ftp://127.0.0.1/file.bin", "ftp"), ("file:///etc/hostname", "not allowed")]
)
def test_redirections_stay_with_http(download, server, to, says):
    server.answers = [{"status": 302, "headers": {"Location": to}}]
    with pytest.raises(ArchiveError, match=says):
        download()
    assert len(server.requests) == 1


def test_redirections_keep_the_encryption(download, server, monkeypatch):
    """A redirect from https to http, which a third party could answer, is not followed."""

    def redirecting(self: object, request: urllib.request.Request) -> urllib.response.addinfourl:
        headers = email.message_from_string(f"Location: {server.url}\n\n")
        answer = urllib.response.addinfourl(io.BytesIO(), headers, request.full_url, 302)
        answer.msg = "Found"
        return answer

    monkeypatch.setattr(urllib.request.HTTPSHandler, "https_open", redirecting)
    with pytest.raises(ArchiveError, match="leads from https to an address without it"):
        download(url="https://127.0.0.1/file.bin")
    assert server.requests == []


def test_no_server(download, folder):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}/"
    with pytest.raises(ArchiveError, match=r"cannot download http://127\.0\.0\.1.*refused") as e:
        download(url=url)
    assert "check the network" in e.value.remedy
    assert names(folder) == []


def test_two_at_once(download, server, folder):
    server.answers = [{"pause": 0.2}]
    results = []
    threads = [threading.Thread(target=lambda: results.append(download())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [BODY] * 3
    assert len(server.requests) == 1
    assert names(folder) == ["file.bin"]


def test_no_permission(download, folder):
    folder.mkdir(mode=0o500)
    user = os.geteuid()
    if user == 0:  # root may write everywhere
        os.seteuid(65534)
    try:
        with pytest.raises(DiskError, match=r"cannot write file\.bin: Permission denied"):
            download()
    finally:
        os.seteuid(user)


def test_a_file_in_the_folders_place(download, folder):
    folder.write_bytes(b"")
    with pytest.raises(DiskError, match=r"cannot write file\.bin"):
        download()


def test_a_bar_on_a_terminal(download, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    download()
    for part in ("file.bin", "1.0/1.0 MB", "0:00:00"):
        assert part in terminal.getvalue()


@pytest.mark.parametrize(
    ("head", "page"),
    [
        (PAGE, True),
        (b"\xef\xbb\xbf<HTML>", True),
        (b"<?xml ?>", True),
        (b"", False),
        (b"PK", False),
    ],
)
def test_web_pages_by_their_first_bytes(head, page):
    assert looks_like_html(head) is page
