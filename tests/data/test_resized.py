"""The file of resized images: complete, correct, shared by all jobs, and never required."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from naslora.core.arrays import ArrayFile
from naslora.core.errors import ManifestError
from naslora.data.resized import resized_images

SHAPE = (4, 8, 8)
COUNT = 20
KEY, OTHER = "a" * 64, "b" * 64


def pixels(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, SHAPE, np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "resized" / "train-8.pixels"


def opened(path: Path, key: str = KEY, load: Callable = pixels) -> ArrayFile:
    found = resized_images(path, key, COUNT, SHAPE, load)
    assert found is not None
    return found


def never(index: int) -> np.ndarray:
    raise AssertionError("the file is there")


def test_what_was_written_is_read_by_all(path: Path, kit: SimpleNamespace) -> None:
    first = opened(path)
    assert kit.tree(path.parent) == [path.name]
    for images in (first, opened(path, load=never), pickle.loads(pickle.dumps(first))):
        assert all(np.array_equal(images[i], pixels(i)) for i in reversed(range(COUNT)))
        assert np.array_equal(images[3], pixels(3)), "and read again, unchecked"


def test_another_key_or_number_is_written_anew(path: Path) -> None:
    old = opened(path)
    new = opened(path, OTHER, lambda index: pixels(index + 100))
    assert np.array_equal(new[0], pixels(100))
    assert np.array_equal(old[0], pixels(0)), "who has it open keeps it"
    fewer = resized_images(path, OTHER, 3, SHAPE, pixels)
    assert fewer is not None
    assert path.stat().st_size == 64 + 3 * 4 + 3 * 256
    assert np.array_equal(fewer[2], pixels(2))


@pytest.mark.parametrize("at", [64 + 4 * COUNT, 64 + 4 * COUNT + 7 * 256 + 200, 64 + 5])
def test_a_damaged_byte_is_found(path: Path, at: int) -> None:
    opened(path)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    images = opened(path, load=never)
    with pytest.raises(ManifestError, match=r"damaged(.|\n)*delete it") as caught:
        [images[index] for index in range(COUNT)]
    assert str(path) in str(caught.value)
    path.unlink()
    assert np.array_equal(opened(path)[7], pixels(7))


def test_a_truncated_file_is_written_anew_and_missed_when_open(path: Path) -> None:
    images = opened(path)
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - 1)
    assert np.array_equal(images[0], pixels(0))
    with pytest.raises(ManifestError, match="damaged"):
        images[COUNT - 1]
    assert np.array_equal(opened(path)[COUNT - 1], pixels(COUNT - 1))


def test_an_error_leaves_nothing(path: Path, kit: SimpleNamespace) -> None:
    def broken(index: int) -> np.ndarray:
        if index == 17:
            raise ManifestError("image 17 is gone")
        return pixels(index)

    with pytest.raises(ManifestError, match="17"):
        opened(path, load=broken)
    assert kit.tree(path.parent) == []
    opened(path)
    with pytest.raises(ManifestError, match="17"):
        opened(path, OTHER, broken)
    assert kit.tree(path.parent) == [path.name]
    opened(path, load=never)


def _counted(path: Path, barrier, made) -> None:  # type: ignore[no-untyped-def]
    def load(index: int) -> np.ndarray:
        made[index] += 1
        return pixels(index)

    barrier.wait()
    images = opened(path, load=load)
    assert all(np.array_equal(images[i], pixels(i)) for i in range(COUNT))


def test_of_many_jobs_one_writes(path: Path, kit: SimpleNamespace) -> None:
    fork = multiprocessing.get_context("fork")
    barrier, made = fork.Barrier(6), fork.Array("i", COUNT)
    jobs = [fork.Process(target=_counted, args=(path, barrier, made)) for _ in range(6)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0] * 6
    assert list(made) == [1] * COUNT
    assert kit.tree(path.parent) == [path.name]


def test_a_short_disk_is_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    size = 64 + COUNT * (4 + 256)
    usage = SimpleNamespace(free=2 * size - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with caplog.at_level(logging.WARNING):
        assert resized_images(path, KEY, COUNT, SHAPE, never) is None
    assert "decoded in every epoch" in caplog.text
    assert str(path) in caplog.text
    usage.free = 2 * size
    opened(path)


def test_a_disk_that_cannot_be_written_is_done_without(
    mounted: Callable[[int], Path], caplog: pytest.LogCaptureFixture, monkeypatch, kit
) -> None:
    folder = mounted(16)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 40))
    with caplog.at_level(logging.WARNING):
        found = resized_images(folder / "x.pixels", KEY, 200, SHAPE, pixels)
    assert found is None
    assert "No space left" in caplog.text
    assert kit.tree(folder) == []
