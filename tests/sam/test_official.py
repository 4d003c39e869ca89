"""Meta's files: the table, and fetching them from a server on this machine."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from naslora.core.errors import CheckpointError
from naslora.sam.backbones import BACKBONES, OfficialCheckpoint, official_checkpoints
from naslora.sam.official import fetch_checkpoint, find_checkpoint

CONTENT = b"PK weights " * 400_000
NAME = "sam_vit_b_abcdef.pth"
BROKEN = {"cut": 1_000_000}


@pytest.fixture
def server(file_server):
    file_server.body = CONTENT
    return file_server


@pytest.fixture
def served(server, monkeypatch):
    """The official checkpoint of vit_b is a small file on the local server."""
    url = server.url.replace("file.bin", NAME)
    known = OfficialCheckpoint(url, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setitem(BACKBONES, "vit_b", replace(BACKBONES["vit_b"], checkpoint=known))
    return known


def fetch(tmp_path, **options):
    return fetch_checkpoint("vit_b", tmp_path / "to", pause=0.01, **options)


def test_the_table_lists_metas_three_files():
    table = official_checkpoints()
    assert {name: entry.name for name, entry in table.items()} == {
        "vit_h": "sam_vit_h_4b8939.pth",
        "vit_l": "sam_vit_l_0b3195.pth",
        "vit_b": "sam_vit_b_01ec64.pth",
    }
    assert table["vit_h"].bytes == 2_564_550_879


def test_download_then_found_without_asking_again(server, served, tmp_path):
    path = fetch(tmp_path)
    assert path == tmp_path / "to" / NAME
    assert path.read_bytes() == CONTENT
    assert fetch(tmp_path) == path
    assert find_checkpoint("official", "vit_b", tmp_path / "to") == path
    assert len(server.requests) == 1


@pytest.mark.parametrize("trouble", [[503, {}], [BROKEN, 500, {}]])
def test_broken_downloads_are_retried(server, served, tmp_path, trouble):
    server.answers = trouble
    assert fetch(tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == len(trouble)


@pytest.mark.parametrize(
    ("answer", "asked", "message"),
    [
        (404, 1, "cannot download http.*404"),
        (503, 3, "cannot download http.*503"),
        ({"body": b"<html>sign in</html>"}, 1, "answered with a web page"),
        ({"body": CONTENT[:-1] + b"!"}, 1, "not the official sam_vit_b"),
    ],
)
def test_failures_leave_nothing(server, served, tmp_path, answer, asked, message):
    server.answers = [answer]
    with pytest.raises(CheckpointError, match=message):
        fetch(tmp_path, attempts=3)
    assert len(server.requests) == asked
    assert not list((tmp_path / "to").iterdir())


def test_a_broken_download_is_continued_by_the_next_call(server, served, tmp_path):
    server.answers = [BROKEN, {}]
    with pytest.raises(CheckpointError, match="cannot download http"):
        fetch(tmp_path, attempts=1)
    assert not (tmp_path / "to" / NAME).exists()
    assert fetch(tmp_path).read_bytes() == CONTENT
    assert server.requests[1]["Range"] == "bytes=1000000-"


def test_no_server(served, monkeypatch, tmp_path):
    nowhere = replace(served, url=f"http://127.0.0.1:9/{NAME}")
    monkeypatch.setitem(BACKBONES, "vit_b", replace(BACKBONES["vit_b"], checkpoint=nowhere))
    with pytest.raises(CheckpointError, match="cannot download") as caught:
        fetch(tmp_path, attempts=1)
    assert "by other means" in caught.value.remedy


def test_a_damaged_file_in_the_folder_is_not_replaced_in_silence(server, served, tmp_path):
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / NAME).write_bytes(b"else")
    with pytest.raises(CheckpointError, match="damaged or not Meta's file"):
        fetch(tmp_path)
    assert len(server.requests) == 0


def test_missing_official_file_says_how_to_get_it(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        find_checkpoint("official", "vit_b", tmp_path)
    text = str(caught.value)
    assert "sam_vit_b_01ec64.pth" in text
    assert str(tmp_path) in text
    assert "naslora fetch --backbone vit_b" in text
    assert "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth" in text


def test_small_backbones_have_no_official_file(tmp_path):
    for call in (
        lambda: find_checkpoint("official", "tiny", tmp_path),
        lambda: fetch_checkpoint("tiny", tmp_path),
    ):
        with pytest.raises(CheckpointError, match="no official checkpoint of tiny"):
            call()


def test_a_file_by_its_path(tmp_path):
    path = tmp_path / "own.pth"
    with pytest.raises(CheckpointError, match=r"checkpoint not found: own\.pth"):
        find_checkpoint(str(path), "tiny", tmp_path)
    path.touch()
    assert find_checkpoint(str(path), "tiny", tmp_path) == path
