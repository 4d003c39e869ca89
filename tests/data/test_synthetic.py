"""What the generators of several benchmarks share."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from naslora.synthetic import encoding
from naslora.synthetic.encoding import tiff
from naslora.synthetic.painting import blend, photograph
from naslora.synthetic.streams import apportion, part_streams

SIZES = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 5000), min_size=1).filter(
    lambda sizes: any(sizes.values())
)


@given(SIZES, st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_apportioned_shares(sizes: dict[str, int], count: int) -> None:
    shares = apportion(count, sizes)
    assert sum(shares.values()) == count
    assert list(shares) == list(sizes)
    filled = [part for part, size in sizes.items() if size]
    assert all(shares[part] == 0 for part in sizes if part not in filled)
    if count >= len(filled):
        assert all(shares[part] for part in filled), "none goes without"
    one_more = apportion(count + 1, sizes)
    assert all(one_more[part] >= shares[part] for part in sizes), "none is taken away"


def test_shares_are_in_proportion() -> None:
    shares = apportion(2750, {"train": 2000, "val": 150, "test": 600})
    assert shares == {"train": 2000, "val": 150, "test": 600}
    assert apportion(40, {"train": 498, "val": 0, "test": 90}) == {
        "train": 34,
        "val": 0,
        "test": 6,
    }


def test_streams_of_parts() -> None:
    sizes = {"train": 3, "test": 1}
    many = [(part, rng.random()) for part, rng in part_streams(5, 12, sizes)]
    assert len({value for _, value in many}) == 12
    for part, share in (("train", 9), ("test", 3)):
        assert sum(name == part for name, _ in many) == share
    few = [(part, rng.random()) for part, rng in part_streams(5, 4, sizes)]
    assert set(few) < set(many)


def test_blend() -> None:
    image = np.full((1, 3, 3), 0.5, np.float32)
    cover = np.array([[0, 0.5, 2]], np.float32)
    blended = blend(image, cover, (1.0, 0.5, 0.0))
    assert blended[0].tolist() == [[0.5, 0.5, 0.5], [0.75, 0.5, 0.25], [1, 0.5, 0]]


def test_photographs_are_clipped_not_wrapped() -> None:
    image = np.concatenate([np.full((9, 9, 3), -0.3), np.full((9, 9, 3), 1.3)], axis=1)
    pixels = photograph(np.random.default_rng(0), image.astype(np.float32), 0.3, 0.001)
    assert pixels.dtype == np.uint8
    assert set(pixels[:, :8].ravel()) == {0}
    assert set(pixels[:, 10:].ravel()) == {255}


@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw"])
def test_tiff_without_libtiff(compression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    assert _opened(tiff(image, compression)).info["compression"] == compression
    monkeypatch.setattr(encoding.features, "check", lambda feature: False)
    plain = _opened(tiff(image, compression))
    assert plain.info["compression"] == "raw"
    assert np.array_equal(np.asarray(plain), np.asarray(image))


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))
