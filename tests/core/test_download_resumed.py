"""Downloads that break off and are continued, or must not be."""

from __future__ import annotations

import json

import pytest

from naslora.core.errors import ArchiveError, DiskError

BODY = bytes(range(256)) * 4096  # 1 MiB
NEW = bytes(len(BODY))
DATE = "Sat, 01 Aug 2026 10:00:00 GMT"
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


def ranges(server):
    return [request.get("Range") for request in server.requests]


def interrupted(download, server, folder, cut=700_000, **answer):
    """Break off a download after `cut` bytes; forget the request."""
    server.answers = [{"cut": cut, **answer}]
    with pytest.raises(ArchiveError, match=f"broke off after {cut}"):
        download(attempts=1)
    assert names(folder) == [PARTIAL, NOTE]
    assert (folder / PARTIAL).read_bytes() == BODY[:cut]
    server.requests.clear()
    server.answers = [{**answer}]


def test_an_interrupted_download_is_continued(download, server, folder):
    interrupted(download, server, folder)
    assert download() == BODY
    assert names(folder) == ["file.bin"]
    (request,) = server.requests
    assert request["Range"] == "bytes=700000-"
    assert request["If-Range"] == '"1"'


def test_each_new_byte_gives_all_attempts_again(download, server):
    server.answers = [{"cut": 150_000}]
    assert download(attempts=2, sha256=None) == BODY
    assert ranges(server) == [None] + [f"bytes={150_000 * n}-" for n in range(1, 7)]


CHANGED = {
    "another ETag": (dict(etag='"2"'), 1),
    "another ETag, If-Range ignored": (dict(etag='"2"', if_range=False), 2),
    "another date": (dict(etag=None, modified=DATE), 1),
    "another size": (dict(body=BODY + BODY), 2),
    "shorter than the part": (dict(body=BODY[:999]), 2),
    "ranges ignored": (dict(ranges=False), 1),
    "another place": (dict(place=f"bytes 0-9/{len(BODY)}"), 2),
    "nonsense place": (dict(place="all"), 2),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_file_is_fetched_from_the_start(download, server, folder, name):
    interrupted(download, server, folder)
    answer, requests = CHANGED[name]
    server.answers = [{"body": NEW, **answer}]
    assert download(size=None, sha256=None) == server.answers[0]["body"]
    assert len(server.requests) == requests
    assert names(folder) == ["file.bin"]


def test_a_date_or_weak_etag(download, server, folder):
    interrupted(download, server, folder, etag='W/"1"', modified=DATE)
    assert download() == BODY
    assert server.requests[0]["If-Range"] == DATE


def test_without_validator_only_a_hash_allows_to_continue(download, server, folder):
    interrupted(download, server, folder, etag=None)
    assert download() == BODY
    assert ranges(server) == ["bytes=700000-"]
    (folder / "file.bin").unlink()
    interrupted(download, server, folder, etag=None)
    assert download(sha256=None) == BODY
    assert ranges(server) == [None]


@pytest.mark.parametrize("note", [None, b"{", b"[]", b"{}", b'{"url": "http://other/"}'])
def test_a_part_of_unknown_origin_is_not_used(download, server, folder, note):
    interrupted(download, server, folder)
    (folder / PARTIAL).write_bytes(b"?" * 700_000)
    (folder / NOTE).unlink() if note is None else (folder / NOTE).write_bytes(note)
    assert download(sha256=None) == BODY
    assert ranges(server) == [None]


def test_a_part_of_another_address_is_not_used(download, server, folder):
    interrupted(download, server, folder)
    assert download(url=server.url + "?2") == BODY
    assert ranges(server) == [None]


def test_a_whole_part_is_verified_before_it_is_taken(download, server, folder):
    interrupted(download, server, folder)
    (folder / PARTIAL).write_bytes(BODY)
    assert download() == BODY
    assert server.requests == []
    (folder / "file.bin").unlink()
    interrupted(download, server, folder)
    (folder / PARTIAL).write_bytes(NEW)
    assert download(sha256=None) == BODY, "nothing vouches for a part without a hash"


def test_a_body_that_ends_early_without_its_length(download, server, folder):
    server.answers = [{"length": False, "cut": 1000}, {}]
    assert download() == BODY
    assert ranges(server) == [None, "bytes=1000-"]


def test_a_wrong_hash_after_continuing_deletes_the_part(download, server, folder):
    interrupted(download, server, folder)
    (folder / PARTIAL).write_bytes(NEW[:700_000])
    with pytest.raises(ArchiveError, match="its SHA-256 is"):
        download()
    assert names(folder) == []
    assert download() == BODY


def test_a_sign_in_page_does_not_cost_the_part(download, server, folder):
    interrupted(download, server, folder)
    server.answers = [{"body": b"<html>Sign in</html>", "ranges": False}]
    with pytest.raises(ArchiveError, match="web page"):
        download()
    server.answers = [{}]
    server.requests.clear()
    assert download() == BODY
    assert ranges(server) == ["bytes=700000-"]


def test_redirections_keep_the_range(download, server, folder):
    interrupted(download, server, folder)
    server.answers = [{"status": 302, "headers": {"Location": server.url}}, {}]
    assert download() == BODY
    assert ranges(server) == ["bytes=700000-"] * 2


def test_a_full_disk_keeps_what_was_written(download, server, mounted):
    small = mounted(600)
    with pytest.raises(DiskError, match=r"cannot write file\.bin: No space"):
        download(target=small / "file.bin")
    assert names(small) == [PARTIAL, NOTE]
    done = (small / PARTIAL).read_bytes()
    assert len(done) > 400_000
    assert BODY.startswith(done)


def test_a_line_for_every_tenth(download, server, folder, capsys):
    interrupted(download, server, folder)
    capsys.readouterr()
    download()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("file.bin: 66 % of 1.0 MB")
    assert lines[-1].startswith("file.bin: 100 % of 1.0 MB, ")
    assert lines[-1].endswith(" MB/s, 0 s left")
    assert 2 <= len(lines) <= 5


def test_the_note_names_the_file_it_is_part_of(download, server, folder):
    interrupted(download, server, folder)
    note = json.loads((folder / NOTE).read_bytes())
    assert note == {"url": server.url, "validator": '"1"', "total": len(BODY)}


def test_a_silent_server_loses_no_bytes(download, server):
    server.answers = [{"cut": 1000, "stall": 0.5}, {}]
    assert download(timeout=0.2) == BODY
    assert ranges(server) == [None, "bytes=1000-"]
