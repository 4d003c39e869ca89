"""Images of a task whose manifest was copied here without them."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from naslora.core.errors import ArchiveError, ManifestError
from naslora.core.files import sha256
from naslora.data.prepare import prepare, prepared_images
from naslora.study.layout import Layout
from naslora.study.settings import Study


@pytest.fixture
def place(study: Study, kit: SimpleNamespace, config: Callable[..., Path]) -> SimpleNamespace:
    """A prepared task whose images were deleted."""
    archive = study.archives / "kvasir-seg.zip"
    archive.write_bytes(kit.zipped(kit.kvasir_files()))
    folder = config()
    manifest = prepare(study, "kvasir", folder)
    root = Layout.of(study).prepared("kvasir")
    shutil.rmtree(root)
    return SimpleNamespace(
        study=study, manifest=manifest, config=folder, root=root, archive=archive
    )


def test_images_are_unpacked_again_and_the_manifest_stays(place: SimpleNamespace) -> None:
    path = Layout.of(place.study).manifest("kvasir")
    written = path.stat().st_mtime_ns
    assert prepared_images(place.study, place.manifest, place.config) == place.root
    assert path.stat().st_mtime_ns == written
    for sample in place.manifest.samples:
        assert sha256(place.root / sample.image) == sample.image_sha256
        assert sha256(place.root / sample.mask) == sample.mask_sha256
    assert [path.name for path in place.root.parent.iterdir()] == ["kvasir"]


def test_images_that_are_there_are_left_alone(place: SimpleNamespace) -> None:
    place.root.mkdir()
    place.archive.unlink()
    assert prepared_images(place.study, place.manifest, place.config) == place.root


def test_other_archives_are_refused(place: SimpleNamespace, kit: SimpleNamespace) -> None:
    place.archive.write_bytes(kit.zipped(kit.kvasir_files(15)))
    with pytest.raises(ManifestError, match="not those of its manifest") as caught:
        prepared_images(place.study, place.manifest, place.config)
    assert "kvasir-seg.zip (SHA-256 " in caught.value.remedy
    assert not place.root.exists()


def test_no_archive_no_images(place: SimpleNamespace) -> None:
    place.archive.unlink()
    with pytest.raises(ArchiveError):
        prepared_images(place.study, place.manifest, place.config)
    assert not place.root.exists()


def test_of_many_processes_one_unpacks(
    place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from naslora.data import prepare as module

    context = multiprocessing.get_context("fork")
    unpacked = context.Value("i", 0)
    original = module.unpack

    def counted(*arguments: object) -> int:
        with unpacked.get_lock():
            unpacked.value += 1
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "unpack", counted)
    arguments = (place.study, place.manifest, place.config)
    processes = [context.Process(target=prepared_images, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert unpacked.value == 1
    place.manifest.verify(place.root)
    assert [path.name for path in place.root.parent.iterdir()] == ["kvasir"]
