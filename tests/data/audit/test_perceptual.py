"""Near-duplicates: the same content in another file keeps its hash; other content has another."""

from __future__ import annotations

import io
import os
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy import fft

from naslora.data.audit.perceptual import (
    BITS,
    MOST_BITS,
    ImageFeatures,
    image_features,
    near_duplicates,
)
from naslora.synthetic.generators import find_generator

COUNT = 24
REAL = "CVC-ClinicDB.zip"


@pytest.fixture(scope="module")
def drawn() -> list[Image.Image]:
    kvasir = find_generator("kvasir")
    draws = (kvasir.draw(np.random.default_rng([5, index]))[0] for index in range(COUNT))
    return [Image.fromarray(pixels) for pixels in draws]


def seen(image: Image.Image) -> ImageFeatures:
    found = image_features(image)
    assert found is not None
    return found


def distance(one: ImageFeatures, other: ImageFeatures) -> int:
    return int(np.bitwise_count(one.bits ^ other.bits).sum())


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


@settings(max_examples=25, deadline=None)
@given(
    index=st.integers(0, COUNT - 1),
    quality=st.integers(30, 95),
    scale=st.floats(0.5, 2.0),
    bright=st.floats(0.8, 1.1),
)
def test_the_same_picture_in_another_file(drawn, index, quality, scale, bright) -> None:
    image = drawn[index]
    size = tuple(round(side * scale) for side in image.size)
    other = jpeg(ImageEnhance.Brightness(image.resize(size)).enhance(bright), quality)
    assert distance(seen(image), seen(other)) <= MOST_BITS // 2
    assert len(near_duplicates([seen(image), seen(other)])) == 1


def test_grey_and_colour_look_alike(drawn) -> None:
    assert distance(seen(drawn[0]), seen(drawn[0].convert("L"))) == 0


def test_other_pictures_are_far(drawn) -> None:
    looks = [seen(image) for image in drawn]
    assert near_duplicates(looks) == []
    apart = [distance(a, b) for i, a in enumerate(looks) for b in looks[:i]]
    assert min(apart) > MOST_BITS
    # Half of the bits are set, by the median: unrelated hashes differ in about half of them.
    assert all(np.bitwise_count(one.bits).sum() == BITS // 2 for one in looks)
    assert np.median(apart) > BITS / 4


def test_the_hash_by_hand() -> None:
    """An image of the thumbnail's size, so that its pixels give the bits without resizing."""
    pixels = np.random.default_rng(1).integers(0, 255, (32, 32), np.uint8)
    waves = fft.dctn(pixels.astype(float))
    values = [waves[row, column] for row in range(16) for column in range(16)][1:]
    middle = sorted(values)[BITS // 2]
    bits = np.unpackbits(seen(Image.fromarray(pixels)).bits.view(np.uint8))
    assert bits.tolist() == [*(int(value > middle) for value in values), 0]


def test_the_closest_come_first_and_alone(drawn) -> None:
    images = [*drawn, jpeg(drawn[3], 20), drawn[7].copy()]
    moved = np.roll(np.asarray(drawn[5]), 1, axis=1)
    images.append(Image.fromarray(moved))
    found = near_duplicates([seen(image) for image in images])
    pairs = [(one.first, one.second) for one in found]
    assert pairs[0] == (7, COUNT + 1)
    assert set(pairs) == {(7, COUNT + 1), (3, COUNT), (5, COUNT + 2)}
    assert [one.distance for one in found] == sorted(one.distance for one in found)
    assert found[0].distance == 0
    assert found[0].correlation == pytest.approx(1, abs=1e-5)


def test_alike_hashes_of_unlike_thumbnails_are_not_reported(drawn) -> None:
    one, other = seen(drawn[0]), seen(drawn[1])
    assert near_duplicates([one, ImageFeatures(other.thumbnail, one.bits, one.colours)]) == []
    assert len(near_duplicates([one, ImageFeatures(one.thumbnail, one.bits, one.colours)])) == 1


def test_an_image_of_one_colour_looks_like_nothing() -> None:
    assert image_features(Image.new("RGB", (50, 40), (200, 10, 10))) is None
    assert near_duplicates([]) == []


def test_blocks_miss_no_pair() -> None:
    """More images than one block holds: pairs within a block, and across blocks."""
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 1 << 63, (700, 4), np.uint64)
    thumbnail = np.zeros(1024, np.float32)
    thumbnail[0] = 1
    wanted = {(3, 8), (0, 255), (255, 256), (10, 699), (511, 512)}
    for first, second in wanted:
        bits[second] = bits[first]
    bits[600] = bits[20]
    bits[600, 0] ^= np.uint64((1 << 40) - 1)
    bits[600, 1] ^= np.uint64((1 << 9) - 1)  # 49 bits: one too many
    found = near_duplicates(
        [ImageFeatures(thumbnail, row, np.zeros(6, np.float32)) for row in bits]
    )
    assert {(one.first, one.second) for one in found} == wanted | {(0, 256)}


def test_ten_thousand_images_in_seconds() -> None:
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 1 << 63, (10_000, 4), np.uint64)
    thumbnail = np.ones(1024, np.float32) / 32
    began = time.process_time()
    near_duplicates([ImageFeatures(thumbnail, row, np.zeros(6, np.float32)) for row in bits])
    assert time.process_time() - began < 10  # about half a second, unless the machine is slow


def test_neighbouring_frames_of_a_video(kit: SimpleNamespace) -> None:
    """CVC-ClinicDB numbers its frames by sequence: near-duplicates are neighbours."""
    archive = Path(os.environ.get("NASLORA_ARCHIVES", kit.root / "data" / "archives")) / REAL
    if not archive.is_file():
        pytest.skip(f"no {REAL} in {archive.parent}; set NASLORA_ARCHIVES to its folder")
    looks, numbers = [], []
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist():
            if "/Original/" in f"/{name}" and name.endswith(".tif"):
                looks.append(seen(Image.open(io.BytesIO(file.read(name))).convert("RGB")))
                numbers.append(int(Path(name).stem))
    apart = [abs(numbers[one.first] - numbers[one.second]) for one in near_duplicates(looks)]
    assert len(apart) > 20
    assert np.mean(np.asarray(apart) < 25) > 0.9
