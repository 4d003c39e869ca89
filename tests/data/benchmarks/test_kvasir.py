from __future__ import annotations

import io
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from naslora.data.benchmarks.contract import get_benchmark
from naslora.synthetic.archive import generated_mark, write_zip
from naslora.synthetic.generators import find_generator
from naslora.synthetic.streams import streams

KVASIR = get_benchmark("kvasir")
GENERATOR = find_generator("kvasir")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return GENERATOR.generate(tmp_path_factory.mktemp("generated"), 24, seed=3)[0]


@pytest.fixture(scope="module")
def pairs(archive: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images (H, W, 3) and raw masks (H, W, 3) of the archive."""
    with zipfile.ZipFile(archive) as file:
        names = [name for name in file.namelist() if "/images/" in name]
        return [
            tuple(
                np.asarray(Image.open(io.BytesIO(file.read(n))))
                for n in (name, name.replace("/images/", "/masks/"))
            )
            for name in names
        ]


def test_same_seed_same_bytes(archive: Path, tmp_path: Path) -> None:
    assert GENERATOR.generate(tmp_path, 24, seed=3)[0].read_bytes() == archive.read_bytes()
    assert GENERATOR.generate(tmp_path, 24, seed=4)[0].read_bytes() != archive.read_bytes()


def test_fewer_images_are_the_first_ones(archive: Path, tmp_path: Path) -> None:
    few = GENERATOR.generate(tmp_path, 4, seed=3)[0]
    with zipfile.ZipFile(few) as some, zipfile.ZipFile(archive) as all_:
        assert set(some.namelist()) < set(all_.namelist())
        assert all(some.read(name) == all_.read(name) for name in some.namelist())


def test_official_layout_and_quirks(archive: Path, pairs) -> None:
    with zipfile.ZipFile(archive) as file:
        names = file.namelist()
    assert len(names) == 48
    assert all(len(Path(n).stem) == 25 and Path(n).stem.startswith("cju") for n in names)
    assert len({image.shape for image, _ in pairs}) > 15, "sizes vary"
    for image, mask in pairs:
        assert image.shape == mask.shape, "masks are RGB files"
        values = np.unique(mask)
        assert 8 <= len(values) <= 80, "JPEG masks hold grey values"
        clear = (mask < 32) | (mask > 223)
        assert clear.mean() > 0.998
    assert generated_mark(archive) == "generated: kvasir, 24 images, seed 3"


def test_polyps_vary_and_colour_alone_does_not_find_them(pairs) -> None:
    shares = [(mask[..., 0] > 127).mean() for _, mask in pairs]
    assert min(shares) > 0.005
    assert max(shares) > 3 * min(shares)
    assert max(shares) < 0.6
    for channel in range(3):
        best = max(
            np.mean(
                [
                    _iou(sign * (image[..., channel] - 255.0 * cut) > 0, mask)
                    for image, mask in pairs
                ]
            )
            for cut in np.linspace(0.05, 0.95, 19)
            for sign in (1, -1)
        )
        assert best < 0.4


def test_polyps_can_be_seen(pairs) -> None:
    """The relief's edge shows: gradients on the outline are stronger than elsewhere."""
    ratios = []
    for image, mask in pairs:
        inside = mask[..., 0] > 127
        grey = image.mean(axis=2)
        edge = np.hypot(*np.gradient(grey))
        outline = np.hypot(*np.gradient(inside.astype(float))) > 0
        view = grey > 30
        ratios.append(edge[outline & view].mean() / np.median(edge[view & ~outline]))
    assert np.median(ratios) > 1.3


def _iou(found: np.ndarray, mask: np.ndarray) -> float:
    truth = mask[..., 0] > 127
    return float((found & truth).sum() / (found | truth).sum())


def test_streams_are_independent_of_the_count() -> None:
    few = [rng.random() for rng in streams(1, 3)]
    assert few == [rng.random() for rng in streams(1, 9)][:3]
    assert len(set(few)) == 3


def test_an_archive_from_elsewhere_is_not_generated(kit: SimpleNamespace, tmp_path: Path) -> None:
    other = tmp_path / "x.zip"
    other.write_bytes(kit.zipped({"a": b"b"}))
    assert generated_mark(other) is None
    with pytest.raises(ValueError, match="starts with"):
        write_zip(other, iter([]), "kvasir")
