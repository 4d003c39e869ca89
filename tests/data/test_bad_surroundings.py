"""Failures around an archive: a clear message, and everything that existed stays unchanged."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from naslora.core.errors import (
    ArchiveError,
    AuditError,
    DiskError,
    ManifestError,
    NasloraError,
    SettingsError,
)
from naslora.data.dataset import SegmentationDataset
from naslora.data.manifest import read_manifest
from naslora.data.prepare import prepare
from naslora.study.layout import Layout
from naslora.study.settings import Study

Scene = SimpleNamespace  # kit, study, config, archive, layout, tmp_path, server, mounted, patch


def preparing(scene: Scene) -> None:
    prepare(scene.study, "kvasir", scene.folder)


def reading_the_manifest(scene: Scene) -> None:
    read_manifest(scene.layout.manifest("kvasir"))


def loading(scene: Scene, cache: bool = False) -> None:
    layout = scene.layout
    data = SegmentationDataset(
        read_manifest(layout.manifest("kvasir")),
        layout.prepared("kvasir"),
        "train",
        32,
        layout.resized("kvasir") if cache else None,
    )
    for index in range(len(data)):
        data[index]


def loading_resized(scene: Scene) -> None:
    loading(scene, cache=True)


@dataclass(frozen=True)
class Case:
    """`arrange` causes the failure; if it returns a context, the failure lasts as long as that."""

    error: type[NasloraError]
    says: str
    arrange: Callable[[Scene], AbstractContextManager[object] | None]
    act: Callable[[Scene], None] = preparing


def folder_instead(scene: Scene) -> None:
    scene.archive.unlink()
    scene.archive.mkdir()


def link_to(target: str):
    def arrange(scene: Scene) -> None:
        scene.archive.unlink()
        scene.archive.symlink_to(target)

    return arrange


@contextmanager
def as_another_user(scene: Scene, closed: Path) -> Iterator[None]:
    """Remove all permissions of a file or folder, and be a user other than root, who needs none."""
    parents = [path for path in scene.tmp_path.parents if path != Path("/")] + [scene.tmp_path]
    modes = {path: path.stat().st_mode for path in (*parents, closed)}
    root = os.geteuid() == 0
    if root:
        for path in parents:
            path.chmod(modes[path] | 0o555)
    closed.chmod(0)
    try:
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)
        for path, mode in modes.items():
            path.chmod(mode)


def closed(find: Callable[[Scene], Path]):
    return lambda scene: as_another_user(scene, find(scene))


def results_are_a_file(scene: Scene) -> None:
    path = scene.tmp_path / "other"
    path.write_text("mine")
    results_in(scene, path)


def results_in(scene: Scene, folder: Path) -> None:
    scene.study = scene.study.model_copy(update={"results": folder})


def small_disk(scene: Scene) -> None:
    results_in(scene, scene.mounted(8))


def disk_fills_up(scene: Scene) -> None:
    """The disk looks large enough, but others write to it meanwhile."""
    results_in(scene, scene.mounted(32))
    usage = SimpleNamespace(total=1 << 40, used=0, free=1 << 40)
    scene.patch.setattr(shutil, "disk_usage", lambda _: usage)


def other_than_pinned(scene: Scene) -> None:
    pin = {"kvasir_seg": {"kvasir-seg.zip": {"bytes": 99, "sha256": "0" * 64}}}
    (scene.study.archives / "archives.lock.json").write_text(json.dumps(pin))


def published(**changes: object):
    def arrange(scene: Scene) -> None:
        size = scene.archive.stat().st_size
        scene.config(**{k: size if v == "its size" else v for k, v in changes.items()})

    return arrange


def written(name: str, text: str):
    return lambda scene: (scene.folder / name).write_text(text) and None


def served(**answer: object):
    """The archive is missing, but can be downloaded from a server that gives this answer."""

    def arrange(scene: Scene) -> None:
        scene.server.body = scene.archive.read_bytes()
        scene.server.answers = [answer]
        scene.archive.unlink()
        scene.patch.setattr("naslora.core.download.time.sleep", lambda _: None)
        size = len(scene.server.body)
        scene.config(access="http", url=scene.server.url, size=size, sha256="0" * 64)

    return arrange


def manifest_as(change: Callable[[str], str]):
    def arrange(scene: Scene) -> None:
        path = scene.layout.manifest("kvasir")
        path.write_text(change(path.read_text()))

    return arrange


def prepared_file(kind: str, change: Callable[[Scene, Path], object]):
    """Something happens to the first training image, or its mask."""

    def arrange(scene: Scene) -> None:
        sample = read_manifest(scene.layout.manifest("kvasir")).of("train")[0]
        change(scene, scene.layout.prepared("kvasir") / getattr(sample, kind))

    return arrange


def resized_file_damaged(scene: Scene) -> None:
    loading_resized(scene)
    path = scene.layout.resized("kvasir") / "train-32.pixels"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")


CASES = {
    "folder in its place": Case(ArchiveError, "is a folder, not an archive", folder_instead),
    "link to nowhere": Case(ArchiveError, "missing", link_to("nowhere.zip")),
    "link to itself": Case(ArchiveError, "missing|cannot look", link_to("kvasir-seg.zip")),
    "archive that is closed": Case(
        ArchiveError, "cannot read .*Permission denied", closed(lambda scene: scene.archive)
    ),
    "folder that is closed": Case(
        ArchiveError, "cannot look for .*Permission denied", closed(lambda s: s.study.archives)
    ),
    "results that are closed": Case(
        DiskError,
        "cannot write .*Permission denied",
        closed(lambda scene: scene.layout.root / "prepared"),
    ),
    "results that are a file": Case(DiskError, "Not a directory|File exists", results_are_a_file),
    "disk too small": Case(DiskError, "bytes, but only [0-9,]+ are free", small_disk),
    "disk that fills up": Case(DiskError, "No space left", disk_fills_up),
    "archive changed since": Case(ArchiveError, "not the file that was pinned", other_than_pinned),
    "archive of another hash": Case(
        ArchiveError,
        "damaged: it has the official size",
        published(size="its size", sha256="0" * 64),
    ),
    "pins that are cut": Case(
        SettingsError,
        "pins .*cannot be read",
        lambda s: (s.study.archives / "archives.lock.json").write_text('{"kvas') and None,
    ),
    "list of archives that is cut": Case(
        SettingsError, "invalid archive", written("archives.yaml", "kvasir_seg: {title: Kvas}")
    ),
    "download cut off each time": Case(ArchiveError, "kvasir-seg.zip", served(cut=0)),
    "download of a web page": Case(
        ArchiveError, "web page|size", served(body=b"<!DOCTYPE html><html>Log in</html>")
    ),
    "download of another file": Case(ArchiveError, "SHA-256|hash", served()),
    "download that is not there": Case(ArchiveError, "404", served(status=404)),
    "download that is not allowed": Case(ArchiveError, "403", served(status=403)),
    "manifest that is gone": Case(
        ManifestError,
        "not found",
        lambda scene: scene.layout.manifest("kvasir").unlink(),
        reading_the_manifest,
    ),
    "manifest that is cut": Case(
        ManifestError, "damaged", manifest_as(lambda text: text[:300]), reading_the_manifest
    ),
    "manifest of tomorrow": Case(
        ManifestError,
        "schema version 7",
        manifest_as(lambda text: text.replace('"schema_version": 1', '"schema_version": 7')),
        reading_the_manifest,
    ),
    "manifest with another split": Case(
        ManifestError,
        "unknown splits",
        manifest_as(lambda text: text.replace('"split": "val"', '"split": "vla"')),
        reading_the_manifest,
    ),
    "prepared image gone": Case(
        ManifestError,
        "No such file",
        prepared_file("image", lambda _, path: path.unlink()),
        loading,
    ),
    "prepared image cut": Case(
        AuditError,
        "cannot be decoded",
        prepared_file("image", lambda _, path: path.write_bytes(path.read_bytes()[:300])),
        loading,
    ),
    "prepared mask empty": Case(
        AuditError,
        "is empty",
        prepared_file("mask", lambda _, path: path.write_bytes(b"")),
        loading,
    ),
    "prepared mask that is none": Case(
        AuditError,
        "is not a mask",
        prepared_file(
            "mask", lambda _, path: Image.fromarray(np.full((20, 24), 99, np.uint8)).save(path)
        ),
        loading,
    ),
    "prepared image replaced": Case(
        ManifestError,
        "not the one that was prepared",
        prepared_file("image", lambda scene, path: path.write_bytes(scene.kit.pair(40)[0])),
        loading_resized,
    ),
    "resized images damaged": Case(
        ManifestError, "resized images is damaged", resized_file_damaged, loading_resized
    ),
}


@pytest.fixture
def scene(kit, study: Study, config, tmp_path: Path, file_server, mounted, monkeypatch) -> Scene:
    """A study with an archive and all that was prepared from it."""
    archive = study.archives / "kvasir-seg.zip"
    archive.write_bytes(kit.zipped(kit.kvasir_files()))
    layout = Layout.of(study)
    prepare(study, "kvasir", config())
    return Scene(
        kit=kit,
        study=study,
        config=config,
        folder=config(),
        archive=archive,
        layout=layout,
        tmp_path=tmp_path,
        server=file_server,
        mounted=mounted,
        patch=monkeypatch,
    )


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file, link and temporary folder, but for what a broken download continues with."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if ".partial" not in path.name and (not path.is_dir() or path.name.startswith("."))
    }


@pytest.mark.parametrize("name", CASES)
def test_bad_surroundings(name: str, scene: Scene) -> None:
    case = CASES[name]
    trouble = case.arrange(scene) or nullcontext()
    before = contents(scene.tmp_path)
    with pytest.raises(case.error) as caught, trouble:
        case.act(scene)
    message = str(caught.value)
    assert re.search(case.says, message), message
    assert f"  where: {scene.tmp_path}" in message
    assert "Traceback" not in message
    assert contents(scene.tmp_path) == before


@pytest.mark.parametrize("step", ["unpack", "audit", "_manifest", "pin_all"])
def test_an_interruption_changes_nothing(scene: Scene, step: str) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    scene.patch.setattr(f"naslora.data.prepare.{step}", interrupt)
    if step == "pin_all":
        scene.patch.setattr("naslora.data.archives.sources.Choice.pairs", 13)
    scene.archive.write_bytes(scene.kit.zipped(scene.kit.kvasir_files(13)))
    before = contents(scene.tmp_path)
    with pytest.raises(KeyboardInterrupt):
        preparing(scene)
    assert contents(scene.tmp_path) == before
