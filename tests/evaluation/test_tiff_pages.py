"""Pages of TIFF files: compressed ones, overviews, orientations and places on the ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, TiffImagePlugin

from naslora.data.images import decode
from naslora.evaluation import image_files
from naslora.evaluation.image_files import read_pages

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 40), dtype=np.uint8)
SCALE, PLACE = (0.5, 0.5, 0.0), (0.0, 0.0, 0.0, 350000.0, 5600000.0, 0.0)


def saved_by_pillow(path: Path, compression: str) -> Path:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for code, value in ((33550, SCALE), (33922, PLACE)):
        tags.tagtype[code] = 12  # double
        tags[code] = value
    Image.fromarray(PIXELS).save(path, compression=compression, tiffinfo=tags)
    return path


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "raw"])
def test_compressed_pages_keep_their_place(compression: str, tmp_path: Path) -> None:
    (page,) = read_pages(saved_by_pillow(tmp_path / "a.tif", compression))
    assert np.array_equal(page.pixels if page.pixels.ndim == 2 else page.pixels[..., 0], PIXELS)
    assert {code: value for code, _, _, value, _ in page.geo} == {33550: SCALE, 33922: PLACE}


def test_each_page_is_read_once_whatever_its_compression(tmp_path: Path) -> None:
    path = tmp_path / "mixed.tif"
    pages = [PIXELS, PIXELS[::-1].copy(), PIXELS[:, ::-1].copy()]
    saved_by_pillow(tmp_path / "lzw.tif", "tiff_lzw")
    first, second, third = (Image.fromarray(page) for page in pages)
    first.save(path, save_all=True, append_images=[second, third], compression="tiff_lzw")
    found = list(read_pages(path))
    assert [page.number for page in found] == [1, 2, 3]
    for page, pixels in zip(found, pages, strict=True):
        assert np.array_equal(page.pixels[..., 0], pixels)
    raw = tmp_path / "raw_then_lzw.tif"
    with tifffile.TiffWriter(raw) as writer:
        writer.write(pages[0], photometric="minisblack")
    second.save(tmp_path / "second.tif", compression="tiff_lzw")
    with (
        Image.open(tmp_path / "second.tif") as image,
        raw.open("rb+") as file,
        TiffImagePlugin.AppendingTiffWriter(file) as appending,
    ):
        image.save(appending, "TIFF", compression="tiff_lzw")
        appending.newFrame()
    found = list(read_pages(raw))
    assert [page.number for page in found] == [1, 2]
    assert np.array_equal(found[0].pixels, pages[0])
    assert np.array_equal(found[1].pixels[..., 0], pages[1])


def test_overviews_are_no_pages(tmp_path: Path) -> None:
    path = tmp_path / "overview.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(PIXELS, photometric="minisblack")
        writer.write(PIXELS[::2, ::2], photometric="minisblack", subfiletype=1)
    (page,) = read_pages(path)
    assert (page.number, page.pixels.shape) == (None, PIXELS.shape)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_pages_that_are_white_at_zero_are_inverted(dtype: type, tmp_path: Path) -> None:
    """Including the lowest signed value, which has no negative."""
    limits = (0, 255) if dtype is np.uint8 else (-32768, 32767)
    pixels = np.array([[limits[0], 7, limits[1]]], dtype)
    tifffile.imwrite(tmp_path / "white.tif", pixels, photometric="miniswhite")
    (page,) = read_pages(tmp_path / "white.tif")
    assert page.pixels.dtype == dtype
    assert (np.diff(page.pixels.astype(float)) < 0).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_every_orientation_is_turned_as_in_training(
    orientation: int, compression: str, tmp_path: Path
) -> None:
    path = tmp_path / "turned.tif"
    rgb = np.stack([PIXELS, PIXELS // 2, 255 - PIXELS], axis=2)
    Image.fromarray(rgb).save(path, compression=compression, tiffinfo={274: orientation})
    (page,) = read_pages(path)
    assert np.array_equal(page.pixels, np.asarray(decode(path.read_bytes()).convert("RGB")))


def test_the_depth_of_a_volume_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = np.stack([PIXELS] * 16)
    tifffile.imwrite(tmp_path / "volume.tif", volume, volumetric=True, tile=(16, 16, 16))
    with pytest.raises(image_files.UnreadableImageError, match="neither grey nor RGB"):
        list(read_pages(tmp_path / "volume.tif"))
    monkeypatch.setattr(image_files, "MAX_PIXELS", volume.size - 1)
    with pytest.raises(image_files.UnreadableImageError, match="more than 15,359 pixels"):
        list(read_pages(tmp_path / "volume.tif"))


def test_the_limit_of_pillow_is_as_before_while_pages_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    before = Image.MAX_IMAGE_PIXELS
    for _ in read_pages(tmp_path / "a.png"):
        assert before == Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(image_files, "MAX_PIXELS", PIXELS.size - 1)
    for name, compression in (("b.png", None), ("c.tif", "tiff_lzw"), ("d.tif", "raw")):
        Image.fromarray(PIXELS).save(tmp_path / name, compression=compression)
        with pytest.raises(image_files.UnreadableImageError, match="pixels"):
            list(read_pages(tmp_path / name))
