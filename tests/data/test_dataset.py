from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from naslora.data.dataset import SegmentationDataset, mean_mask
from naslora.data.manifest import Manifest
from naslora.data.prepare import prepare
from naslora.errors import AuditError, ManifestError
from naslora.layout import Layout
from naslora.settings import Study


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


def test_the_cache_changes_nothing_but_the_reading(prepared, monkeypatch) -> None:
    manifest, root = prepared
    plain = SegmentationDataset(manifest, root, "train", 16, cache=False)
    small = SegmentationDataset(manifest, root, "train", 16, cache_bytes=4 * 16 * 16 * 8)
    cached = SegmentationDataset(manifest, root, "train", 16)
    pairs = [plain[i] for i in range(len(plain))]
    assert all(
        torch.equal(a, b)
        for i in range(len(plain))
        for a, b in zip(pairs[i], cached[i], strict=True)
    )
    (root / plain.samples[0].image).unlink()
    assert torch.equal(cached[0][0], pairs[0][0])
    for uncached in (plain, small):
        with pytest.raises(ManifestError, match="No such file") as caught:
            uncached[0]
        assert str(root / plain.samples[0].image) in str(caught.value)


def test_a_damaged_file_is_named(prepared: tuple[Manifest, Path]) -> None:
    manifest, root = prepared
    sample = manifest.of("val")[0]
    (root / sample.image).write_bytes((root / sample.image).read_bytes()[:300])
    with pytest.raises(AuditError, match="cannot be decoded") as caught:
        SegmentationDataset(manifest, root, "val", 16)
    assert str(root / sample.image) in str(caught.value)
    (root / sample.mask).write_bytes(b"")
    data = SegmentationDataset(manifest, root, "val", 16, cache=False)
    with pytest.raises(AuditError, match="is empty"):
        data.native_mask(0)
    with pytest.raises(ManifestError, match="no split 'vla'"):
        SegmentationDataset(manifest, root, "vla", 16)


def test_mean_mask(prepared: tuple[Manifest, Path]) -> None:
    manifest, root = prepared
    # All masks hold the same rectangle: rows 4 to 11 of 20, columns 3 to 10 of 24.
    mean = mean_mask(manifest, root, 40)
    assert mean.dtype == np.float32
    assert mean.shape == (40, 40)
    assert set(np.unique(mean)) == {0.0, 1.0}
    assert mean.mean() == pytest.approx(8 * 8 / (20 * 24), abs=0.02)
    assert mean[16, 12] == 1
    first = manifest.of("train")[0]
    Image.fromarray(np.zeros((20, 24), np.uint8)).save(root / first.mask)
    count = len(manifest.of("train"))
    assert mean_mask(manifest, root, 40).max() == pytest.approx(1 - 1 / count)


def test_verify_names_missing_files(prepared: tuple[Manifest, Path]) -> None:
    manifest, root = prepared
    manifest.verify(root)
    (root / manifest.samples[2].mask).unlink()
    with pytest.raises(ManifestError, match=r"1 of 24 files .*id02\.jpg"):
        manifest.verify(root)
