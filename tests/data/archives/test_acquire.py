"""All archives of a study at once, from a server that is slow and drops connections."""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from naslora.core.errors import ArchiveError
from naslora.data.archives.acquire import acquire, check_complete
from naslora.study.settings import Study

KNOWN = Path(__file__).parents[3] / "config" / "archives.yaml"
TASKS = ["kvasir", "cvc_clinicdb", "sbu", "leaf"]


@pytest.fixture
def server(file_server, kit: SimpleNamespace, monkeypatch):
    clock = SimpleNamespace(sleep=lambda seconds: None, monotonic=time.monotonic)
    monkeypatch.setattr("naslora.core.download.time", clock)
    file_server.body = kit.zipped(kit.kvasir_files())
    return file_server


@pytest.fixture
def served(server, tmp_path: Path) -> Callable[..., Path]:
    """The shipped archives.yaml with the server's address and hash; returns its folder."""

    def write(**changes: dict) -> Path:
        entries = yaml.safe_load(KNOWN.read_text())
        for key in ("kvasir_seg", "sbu_shadow"):
            entries[key] |= {"url": server.url, "sha256": hashlib.sha256(server.body).hexdigest()}
            entries[key] |= {"size": len(server.body)} | changes.get(key, {})
        folder = tmp_path / "config"
        folder.mkdir(exist_ok=True)
        (folder / "archives.yaml").write_text(yaml.safe_dump(entries))
        return folder

    return write


@pytest.fixture
def wanted(study: Study) -> Study:
    return study.model_copy(update={"tasks": TASKS})


def test_downloads_what_it_can_and_lists_the_rest_at_once(
    server, served, wanted: Study, kit: SimpleNamespace
) -> None:
    # A slow start, a broken connection, a busy server, then the rest; and the second file whole.
    server.answers = [{"pause": 0.1, "cut": 4000}, 503, {"cut": 4000}, {}]
    said: list[str] = []
    outcomes = acquire(wanted, served(), said.append)
    assert [request.get("Range") for request in server.requests] == [
        None,
        "bytes=4000-",
        "bytes=4000-",
        "bytes=8000-",
        None,
    ]
    assert kit.tree(wanted.archives) == ["SBU-shadow.zip", "kvasir-seg.zip"]
    assert [outcome.problem is None for outcome in outcomes] == [True, False, True, False]
    assert said == [
        f"here: {wanted.archives / 'kvasir-seg.zip'} (official)",
        "MISSING: CVC-ClinicDB",
        f"here: {wanted.archives / 'SBU-shadow.zip'} (official)",
        "MISSING: Leaf Disease Segmentation",
    ]
    with pytest.raises(ArchiveError, match="2 of 4 archives of study sample") as caught:
        check_complete(outcomes, wanted, "naslora data --study sample")
    message = str(caught.value)
    for text in (
        "CVC-ClinicDB (for cvc_clinicdb)",
        f"place:      {wanted.archives / 'CVC-ClinicDB.rar'} (or CVC-ClinicDB.zip)",
        "page:       https://polyp.grand-challenge.org/CVCClinicDB/",
        "terms:      research and education only",
        "or:         use AutoGluon's bundle of polyps, without a login: "
        "--set bundles=[cvc_clinicdb]",
        "Leaf Disease Segmentation (for leaf)",
        f"place:      {wanted.archives / 'leaf-disease-segmentation.zip'}",
        "page:       https://www.kaggle.com/",
        "terms:      none stated",
        "then run: naslora data --study sample",
    ):
        assert text in message
    assert "Kvasir" not in message


def test_every_kind_of_failure_is_told_apart_at_once(
    server, served, wanted: Study, kit: SimpleNamespace
) -> None:
    whole = kit.zipped(kit.kvasir_files())
    damaged = whole[:-1] + bytes([whole[-1] ^ 1])
    folder = served(sbu_shadow={"sha256": "0" * 64})
    (wanted.archives / "kvasir-seg.zip").write_bytes(damaged)
    (wanted.archives / "CVC-ClinicDB.zip").write_bytes(whole[:500])
    (wanted.archives / "leaf-disease-segmentation.zip").write_bytes(b"<!doctype html><p>Log in")
    study = wanted.model_copy(update={"tasks": [*TASKS, "road", "trans10k_v1", "trans10k_v2"]})
    (wanted.archives / "massachusetts-roads.zip").write_bytes(b"")
    (wanted.archives / "Trans10K.zip").write_bytes(b"hello" * 400)
    outcomes = acquire(study, folder, lambda line: None)
    found = {outcome.archive.key: outcome.problem for outcome in outcomes}
    for key, says in {
        "kvasir_seg": "damaged: it has the official size, but another SHA-256",
        "cvc_clinicdb": "CVC-ClinicDB.zip is truncated",
        "sbu_shadow": "not the official SBU-shadow.zip: its SHA-256 is",
        "leaf_disease": "leaf-disease-segmentation.zip is a web page, not an archive",
        "massachusetts_roads": "massachusetts-roads.zip is empty (0 bytes)",
        "trans10k_v1": "Trans10K.zip is neither a zip nor a tar nor a RAR file",
        "trans10k_v2": "Trans10K-v2 is missing",
    }.items():
        assert says in found[key].what, key
    with pytest.raises(ArchiveError, match="7 of 7") as caught:
        check_complete(outcomes, study, "again")
    for problem in list(found.values())[:-1]:
        assert problem.what in str(caught.value)
        assert str(problem.where) in str(caught.value)


def test_a_download_that_breaks_is_continued_by_the_next_command(
    server, served, wanted: Study
) -> None:
    one = wanted.model_copy(update={"tasks": ["kvasir"]})
    server.answers = [{"cut": 3000}, 503, 503, 503, 503]
    (outcome,) = acquire(one, served(), lambda line: None)
    assert "HTTP Error 503" in outcome.problem.what
    server.answers = [{}]
    server.requests.clear()
    (outcome,) = acquire(one, served(), lambda line: None)
    assert outcome.record.official is True
    assert server.requests[0]["Range"] == "bytes=3000-"


def test_a_host_that_fails_is_not_tried_again_at_length(server, served, wanted: Study) -> None:
    server.answers = [503]
    acquire(wanted, served(), lambda line: None)
    assert len(server.requests) == 4 + 1


def test_a_wrong_file_from_a_host_says_nothing_of_its_connection(
    server, served, wanted: Study
) -> None:
    server.answers = [{}, 503]
    first, _, second, _ = acquire(
        wanted, served(kvasir_seg={"sha256": "0" * 64}), lambda line: None
    )
    assert "not the official kvasir-seg.zip" in first.problem.what
    assert "HTTP Error 503" in second.problem.what
    assert len(server.requests) == 1 + 4


def test_a_bad_file_here_says_nothing_of_the_host(server, served, wanted: Study) -> None:
    (wanted.archives / "kvasir-seg.zip").write_bytes(b"PK cut short")
    server.answers = [503]
    acquire(wanted, served(), lambda line: None)
    assert len(server.requests) == 4  # for the other archive of the same host


def test_generated_tasks_need_nothing(served, wanted: Study) -> None:
    study = wanted.model_copy(update={"generated": dict.fromkeys(TASKS, 4)})
    assert acquire(study, served(), pytest.fail) == []
    check_complete([], study, "again")


def test_an_archive_of_two_tasks_is_listed_once(served, wanted: Study) -> None:
    tasks = ["kvasir", "cvc_clinicdb"]
    study = wanted.model_copy(update={"tasks": tasks, "bundles": tasks})
    folder = served(polyp_bundle={})
    entries = yaml.safe_load((folder / "archives.yaml").read_text())
    entries["polyp_bundle"]["url"] = "http://127.0.0.1:1/polyp.zip"
    (folder / "archives.yaml").write_text(yaml.safe_dump(entries))
    (outcome,) = acquire(study, folder, lambda line: None)
    assert outcome.tasks == tasks
    assert "refused" in outcome.problem.what


def test_the_command(naslora, tmp_path: Path) -> None:
    overrides = {
        "tasks": ["cvc_clinicdb", "leaf"],
        "archives": str(tmp_path / "a b"),
        "results": str(tmp_path / "results"),
    }
    pairs = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
    words = ["--study", "sample", *(word for pair in pairs for word in ("--set", pair))]
    code, output, errors = naslora("data", *words)
    assert code == 1
    assert output.splitlines() == ["MISSING: CVC-ClinicDB", "MISSING: Leaf Disease Segmentation"]
    assert errors.startswith("error: 2 of 2 archives of study sample are missing or unusable")
    assert f"then run: naslora data {shlex.join(words)}\n" in errors
    generated = ["--set", 'generated={"cvc_clinicdb": 4, "leaf": 4}']
    assert naslora("data", *words, *generated) == (0, "", "")
