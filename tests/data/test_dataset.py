from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from naslora.core.errors import AuditError, ManifestError
from naslora.data.dataset import SegmentationDataset, mean_mask
from naslora.data.manifest import Manifest, read_manifest
from naslora.data.prepare import prepare
from naslora.study.layout import Layout
from naslora.study.settings import Study


@pytest.fixture
def prepared(kit: SimpleNamespace, study: Study, config) -> tuple[Manifest, Path]:
    (study.archives / "kvasir-seg.zip").write_bytes(kit.zipped(kit.kvasir_files(12)))
    return prepare(study, "kvasir", config()), Layout.of(study).prepared("kvasir")


def test_items_equal_pillow(prepared: tuple[Manifest, Path]) -> None:
    manifest, root = prepared
    data = SegmentationDataset(manifest, root, "train", 16)
    assert len(data) == len(manifest.of("train")) == len(data.samples)
    for index, sample in enumerate(data.samples):
        image, labels = data[index]
        assert (image.dtype, labels.dtype) == (torch.uint8, torch.uint8)
        assert (image.shape, labels.shape) == ((3, 16, 16), (16, 16))
        wanted = Image.open(root / sample.image).resize((16, 16), Image.Resampling.BILINEAR)
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(wanted))
        native = data.native_mask(index)
        assert native.shape == (sample.height, sample.width) == (20, 24)
        assert np.array_equal(native, np.asarray(Image.open(root / sample.mask)) > 127)
        assert set(labels.unique().tolist()) == {0, 1}
        assert abs(labels.float().mean().item() - native.mean()) < 0.05
        assert data.native_image(index).shape == (20, 24, 3)


def test_the_cache_changes_nothing_but_the_reading(prepared, tmp_path: Path) -> None:
    manifest, root = prepared
    plain = SegmentationDataset(manifest, root, "train", 16)
    cached = SegmentationDataset(manifest, root, "train", 16, tmp_path / "cache")
    pairs = [plain[i] for i in range(len(plain))]
    again = SegmentationDataset(manifest, root, "train", 16, tmp_path / "cache")
    for data in (cached, again):
        assert all(
            torch.equal(a, b)
            for i in range(len(plain))
            for a, b in zip(pairs[i], data[i], strict=True)
        )
    shutil.rmtree(root / "kvasir_seg")
    assert torch.equal(cached[0][0], pairs[0][0])
    with pytest.raises(ManifestError, match="No such file") as caught:
        plain[0]
    assert str(root / plain.samples[0].image) in str(caught.value)


def test_an_item_is_the_callers_own(prepared, tmp_path: Path) -> None:
    data = SegmentationDataset(*prepared, "train", 16, tmp_path)
    image, labels = data[0]
    image.zero_()
    labels.fill_(9)
    assert data[0][0].any()
    assert data[0][1].max() == 1


def test_the_cache_holds_what_was_prepared(prepared, tmp_path: Path, kit: SimpleNamespace) -> None:
    manifest, root = prepared
    sample = manifest.of("train")[3]
    (root / sample.image).write_bytes(kit.pair(77)[0])
    with pytest.raises(ManifestError, match="not the one that was prepared") as caught:
        SegmentationDataset(manifest, root, "train", 16, tmp_path / "cache")
    assert str(root / sample.image) in str(caught.value)
    assert kit.tree(tmp_path / "cache") == []


def test_another_preparation_or_size_is_cached_anew(
    prepared, tmp_path: Path, kit: SimpleNamespace, study: Study, config
) -> None:
    manifest, root = prepared
    first = SegmentationDataset(manifest, root, "train", 16, tmp_path / "cache")
    before = [first[i] for i in range(len(first))]
    SegmentationDataset(manifest, root, "train", 32, tmp_path / "cache")
    SegmentationDataset(manifest, root, "val", 16, tmp_path / "cache")
    names = ["train-16.pixels", "train-32.pixels", "val-16.pixels"]
    assert kit.tree(tmp_path / "cache") == names
    files = {name.replace("id", "other"): data for name, data in kit.kvasir_files(12).items()}
    files["Kvasir-SEG/images/other00.jpg"] = kit.pair(50)[0]
    (study.archives / "kvasir-seg.zip").write_bytes(kit.zipped(files))
    second = SegmentationDataset(
        prepare(study, "kvasir", config()), root, "train", 16, tmp_path / "cache"
    )
    assert kit.tree(tmp_path / "cache") == names
    plain = SegmentationDataset(
        read_manifest(Layout.of(study).manifest("kvasir")), root, "train", 16
    )
    assert all(torch.equal(second[i][0], plain[i][0]) for i in range(len(plain)))
    assert any(not torch.equal(second[i][0], before[i][0]) for i in range(len(plain)))
    # A data set that has the old file open still reads the old images.
    assert all(torch.equal(first[i][0], before[i][0]) for i in range(len(first)))


@pytest.mark.parametrize("workers", [0, 2])
def test_memory_stays_flat_over_epochs(prepared, tmp_path: Path, workers: int) -> None:
    """After the first epoch five more are read, and none of them stays in memory."""
    manifest, root = prepared
    data = SegmentationDataset(manifest, root, "train", 1024, tmp_path)
    loader = DataLoader(data, batch_size=2, num_workers=workers, persistent_workers=workers > 0)
    resident = []
    for _ in range(6):
        for images, labels in loader:
            assert images.shape[1:] == (3, 1024, 1024)
            assert labels.shape[1:] == (1024, 1024)
        resident.append(sum(resident_bytes(pid) for pid in [os.getpid(), *children()]))
    assert resident[-1] - resident[0] < len(data) * 4 * 1024**2


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def children() -> list[int]:
    task = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(pid) for pid in task.read_text().split()] if task.is_file() else []


def test_a_damaged_file_is_named(prepared: tuple[Manifest, Path]) -> None:
    manifest, root = prepared
    sample = manifest.of("val")[0]
    (root / sample.image).write_bytes((root / sample.image).read_bytes()[:300])
    with pytest.raises(AuditError, match="cannot be decoded") as caught:
        SegmentationDataset(manifest, root, "val", 16, root.parent / "cache")
    assert str(root / sample.image) in str(caught.value)
    (root / sample.mask).write_bytes(b"")
    data = SegmentationDataset(manifest, root, "val", 16)
    with pytest.raises(AuditError, match="is empty"):
        data.native_mask(0)
    with pytest.raises(ManifestError, match="no split 'vla'"):
        SegmentationDataset(manifest, root, "vla", 16)


def test_mean_mask(prepared: tuple[Manifest, Path]) -> None:
    manifest, root = prepared
    # All masks hold the same rectangle: rows 4 to 11 of 20, columns 3 to 10 of 24.
    mean, valid = mean_mask(manifest, root, 40)
    assert mean.dtype == np.float32
    assert mean.shape == (40, 40)
    assert set(np.unique(mean)) == {0.0, 1.0}
    assert mean.mean() == pytest.approx(8 * 8 / (20 * 24), abs=0.02)
    assert mean[16, 12] == 1
    assert (valid == len(manifest.of("train"))).all()
    first = manifest.of("train")[0]
    Image.fromarray(np.zeros((20, 24), np.uint8)).save(root / first.mask)
    count = len(manifest.of("train"))
    assert mean_mask(manifest, root, 40)[0].max() == pytest.approx(1 - 1 / count)


def test_verify_names_missing_files(prepared: tuple[Manifest, Path]) -> None:
    manifest, root = prepared
    manifest.verify(root)
    (root / manifest.samples[2].mask).unlink()
    with pytest.raises(ManifestError, match=r"1 of 24 files .*id02\.jpg"):
        manifest.verify(root)
