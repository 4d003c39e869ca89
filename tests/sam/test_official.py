"""Meta's files: the table, and fetching them from a server on this machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml

from naslora.core.errors import CheckpointError, SettingsError
from naslora.sam.official import fetch_checkpoint, find_checkpoint, official_checkpoints

CONTENT = b"PK weights " * 400_000
NAME = f"sam_vit_b_{hashlib.sha256(CONTENT).hexdigest()[:6]}.pth"
BROKEN = {"cut": 1_000_000}
CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
def server(file_server):
    file_server.body = CONTENT
    return file_server


@pytest.fixture
def config(server, tmp_path):
    folder = tmp_path / "config"
    folder.mkdir()
    entry = {"url": server.url.replace("file.bin", NAME), "bytes": len(CONTENT)}
    (folder / "checkpoints.yaml").write_text(yaml.safe_dump({"vit_b": entry}))
    return folder


def fetch(config, tmp_path, **options):
    return fetch_checkpoint("vit_b", tmp_path / "to", config=config, pause=0.01, **options)


def test_the_table_lists_metas_three_files():
    table = official_checkpoints(CONFIG)
    assert {name: entry.name for name, entry in table.items()} == {
        "vit_h": "sam_vit_h_4b8939.pth",
        "vit_l": "sam_vit_l_0b3195.pth",
        "vit_b": "sam_vit_b_01ec64.pth",
    }
    assert table["vit_h"].bytes == 2_564_550_879


def test_download_then_found_without_asking_again(server, config, tmp_path):
    path = fetch(config, tmp_path)
    assert path == tmp_path / "to" / NAME
    assert path.read_bytes() == CONTENT
    assert fetch(config, tmp_path) == path
    assert find_checkpoint("official", "vit_b", tmp_path / "to", config) == path
    assert len(server.requests) == 1


@pytest.mark.parametrize("trouble", [[503, {}], [BROKEN, 500, {}]])
def test_trouble_on_the_way_is_tried_again(server, config, tmp_path, trouble):
    server.answers = trouble
    assert fetch(config, tmp_path).read_bytes() == CONTENT
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
def test_failures_leave_nothing(server, config, tmp_path, answer, asked, message):
    server.answers = [answer]
    with pytest.raises(CheckpointError, match=message):
        fetch(config, tmp_path, attempts=3)
    assert len(server.requests) == asked
    assert not list((tmp_path / "to").iterdir())


def test_a_broken_download_is_continued_by_the_next_call(server, config, tmp_path):
    server.answers = [BROKEN, {}]
    with pytest.raises(CheckpointError, match="cannot download http"):
        fetch(config, tmp_path, attempts=1)
    assert not (tmp_path / "to" / NAME).exists()
    assert fetch(config, tmp_path).read_bytes() == CONTENT
    assert server.requests[1]["Range"] == "bytes=1000000-"


def test_no_server(config, tmp_path):
    text = (config / "checkpoints.yaml").read_text()
    port = text.split("127.0.0.1:")[1].split("/")[0]
    (config / "checkpoints.yaml").write_text(text.replace(port, "9"))
    with pytest.raises(CheckpointError, match="cannot download") as caught:
        fetch(config, tmp_path, attempts=1)
    assert "by other means" in caught.value.remedy


def test_a_damaged_file_in_the_folder_is_not_replaced_in_silence(server, config, tmp_path):
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / NAME).write_bytes(b"else")
    with pytest.raises(CheckpointError, match="damaged or not Meta's file"):
        fetch(config, tmp_path)
    assert len(server.requests) == 0


def test_missing_official_file_says_how_to_get_it(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        find_checkpoint("official", "vit_b", tmp_path, CONFIG)
    text = str(caught.value)
    assert "sam_vit_b_01ec64.pth" in text
    assert str(tmp_path) in text
    assert "naslora fetch --backbone vit_b" in text
    assert "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth" in text


def test_small_backbones_have_no_official_file(tmp_path):
    for call in (
        lambda: find_checkpoint("official", "tiny", tmp_path, CONFIG),
        lambda: fetch_checkpoint("tiny", tmp_path, config=CONFIG),
    ):
        with pytest.raises(CheckpointError, match="no official checkpoint of tiny"):
            call()


def test_a_file_by_its_path(tmp_path):
    path = tmp_path / "own.pth"
    with pytest.raises(CheckpointError, match=r"checkpoint not found: own\.pth"):
        find_checkpoint(str(path), "tiny", tmp_path, CONFIG)
    path.touch()
    assert find_checkpoint(str(path), "tiny", tmp_path, CONFIG) == path


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "settings file not found"), ("vit_b: {url: x}", "invalid table"), ("{", "invalid")],
)
def test_a_bad_table(tmp_path, text, message):
    if text is not None:
        (tmp_path / "checkpoints.yaml").write_text(text)
    with pytest.raises(SettingsError, match=message):
        official_checkpoints(tmp_path)
