"""Results that are copied by `dvc push` and `dvc pull`, and the jobs that then remain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from naslora.report.figures.catalogue import FIGURES, SUFFIXES, figures_of
from naslora.study.settings import load_study

if TYPE_CHECKING:
    from conftest import Project

# One worker runs all of these tests, so that the ledger is made once.
pytestmark = pytest.mark.xdist_group("dvc")

# Results that no command can make from a study's other results.
RUNS = ("backbone", "runs", "records")
COPIED = ("archives", "manifests", *RUNS, "tables", "metrics", "figures")


def contents(project: Project) -> dict[str, bytes]:
    root = project.records.parent
    paths = (path for name in COPIED for path in (root / name).rglob("*"))
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in paths
        if path.is_file() and path.name != ".snakemake_timestamp"
    }


@pytest.fixture(scope="module")
def pushed(ledger: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The ledger, its results in a folder next to it."""
    project = ledger.copy(tmp_path_factory.mktemp("pushed") / "project")
    answer = project.dvc(f"remote add --default folder {project.root.parent / 'remote'}", "push")
    assert answer.code == 0, answer.text
    project.commit()
    return project


def test_repro_makes_everything_once(ledger: Project) -> None:
    text = (ledger.root / "repro.txt").read_text()
    first, _, again = text.partition("Stage 'data' didn't change, skipping")
    stages = ["data", "runs", "tables", "figures"]
    assert [line for line in first.splitlines() if line.startswith("Running stage")] == [
        f"Running stage '{name}':" for name in stages
    ]
    assert again.splitlines()[1:4] == [f"Stage '{n}' didn't change, skipping" for n in stages[1:]]
    commands = [call.split()[0] for call in (ledger.root / "calls.txt").read_text().splitlines()]
    assert commands.count("train") == commands.count("evaluate") == 2
    assert commands.count("time") == 1
    assert commands.count("table") == 2
    assert contents(ledger)


def test_a_pulled_copy_is_complete_and_makes_its_report_alone(
    pushed: Project, tmp_path: Path
) -> None:
    clone = pushed.clone(tmp_path / "clone")
    answer = clone.dvc("pull", "status")
    assert answer.code == 0, answer.text
    assert "Data and pipelines are up to date." in answer.text
    assert contents(clone) == contents(pushed)
    planned = clone.snakemake("--profile", "local", "--dry-run", "all_tables")
    assert planned.planned() == {"report": 1}, planned.text
    # The dry run left the copy as it was.
    assert "Data and pipelines are up to date." in clone.dvc("status").text


def test_repro_in_a_fresh_clone_takes_all_from_the_remote(pushed: Project, tmp_path: Path) -> None:
    clone = pushed.clone(tmp_path / "clone")
    answer = clone.dvc("repro --pull")
    assert answer.code == 0, answer.text
    assert "Running stage" not in answer.text
    assert clone.calls() == []
    assert contents(clone) == contents(pushed)


def test_results_are_pushed_to_and_pulled_from_s3(
    ledger: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dvc_s3", reason="S3 needs the package dvc-s3")
    boto3 = pytest.importorskip("boto3", reason="S3 needs the package boto3")
    server = pytest.importorskip(
        "moto.server", reason="a local S3 needs the packages moto and flask"
    )
    secrets = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    moto = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        address = "http://{}:{}".format(*moto.get_host_and_port())
        client = boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id="nobody",
            aws_secret_access_key="nothing",
        )
        client.create_bucket(Bucket="results")
        project = ledger.copy(tmp_path / "project")
        answer = project.dvc(
            "remote add --default bucket s3://results/naslora",
            f"remote modify bucket endpointurl {address}",
            "push runs",
            **secrets,
        )
        assert answer.code == 0, answer.text
        project.commit()
        clone = project.clone(tmp_path / "clone")
        answer = clone.dvc("pull runs", **secrets)
    finally:
        moto.stop()
    assert answer.code == 0, answer.text
    weights_and_records = {
        name: content for name, content in contents(ledger).items() if name.split("/")[0] in RUNS
    }
    assert len(weights_and_records) >= 5
    assert contents(clone) == weights_and_records


def test_data_with_terms_of_its_own_are_not_pushed(ledger: Project, tmp_path: Path) -> None:
    """Official archives, prepared and resized images, pictures and reports of real images."""
    project = ledger.copy(tmp_path / "project")
    secret = b"an image that may not be handed on"
    results = project.root / "results"
    (results / "rehearsal").rename(results / "sample")
    for name in (*COPIED, "logs", "prepared"):
        (results / "sample" / name).mkdir(exist_ok=True)
    (results / "sample" / "archives" / "kvasir").rename(tmp_path / "generated")
    study = load_study("sample", {"tasks": ["kvasir"]}, project.root / "config")
    shown = [
        f"figures/{picture.name}.png"
        for name in figures_of(study, weights=True)
        for picture in FIGURES[name].pictures(study)
    ]
    places = ["prepared/kvasir/a.jpg", "resized/kvasir/a.npy", "report.html", *shown]
    for path in [
        project.root / "data/archives/kvasir-seg.zip",
        *(results / "sample" / p for p in places),
    ]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(secret)
    settings = project.root / "workflow" / "ledger.yaml"
    settings.write_text("profile: local\nstudy: sample\n")
    remote = tmp_path / "remote"
    answer = project.dvc("commit --force", f"remote add --default folder {remote}", "push")
    assert answer.code == 0, answer.text
    stored = [path.read_bytes() for path in remote.rglob("*") if path.is_file()]
    assert b"figure\n" in stored  # those without images
    assert secret not in stored
    listed = yaml.safe_load((project.root / "dvc.lock").read_text())["stages"]["figures"]["outs"]
    kept = len(list((results / "sample" / "figures").iterdir())) - len(SUFFIXES) * len(shown)
    assert {out["path"]: out.get("nfiles") for out in listed}["results/sample/figures"] == kept
