"""Images of every kind that people have, and images of any size."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco

from naslora.core.errors import AuditError, SettingsError
from naslora.evaluation.image_files import find_images, read_pages
from naslora.evaluation.predict import PredictOptions, predict_files, predict_image
from naslora.evaluation.rescaling import choose_rescaling
from naslora.evaluation.tiles import predict_tiled, tile_size, tile_starts
from tests.evaluation.brightness import Brightness

NDArray = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def sam() -> Any:
    return Brightness()


@pytest.fixture
def bright(tmp_path: Path) -> Callable[..., NDArray]:
    """A ramp from 0 to 1, (48, 64): its right half is foreground."""
    return lambda: np.tile(np.linspace(0, 1, 64), (48, 1))


def share(mask: Path) -> float:
    picture = tifffile.imread(mask) if mask.suffix == ".tif" else np.asarray(Image.open(mask))
    return float((picture > 0).mean())


@given(
    length=st.integers(1, 3000), tile=st.integers(1, 700), overlap=st.sampled_from([0, 0.25, 0.5])
)
def test_tiles_cover_all_pixels_and_overlap(length: int, tile: int, overlap: float) -> None:
    starts = tile_starts(length, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] + tile == length or len(starts) == 1
    if length > tile:
        assert all(b - a <= max(1, tile * (1 - overlap)) for a, b in pairwise(starts))


def test_a_tiled_prediction_is_that_of_its_tiles(sam: Any) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 17, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((340, 240), Image.Resampling.BICUBIC))
    strips = list(predict_tiled(sam, pixels, 64))
    whole = np.concatenate(strips)
    assert len(strips) > 1
    assert whole.shape == (240, 340)
    # At the model's own scale, the stand-in's prediction is the image: tiles neither shift nor
    # scale it, and blending keeps it.
    assert np.abs(whole - pixels[..., 0].clip(1, 254) / 255).max() < 0.01


def test_one_tile_is_the_prediction_of_the_whole(sam: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    assert np.array_equal(predict_image(sam, pixels), predict_image(sam, pixels, tile=70))


def test_classes_are_chosen_after_blending() -> None:
    pixels = np.zeros((200, 300, 3), np.uint8)
    pixels[:, 150:] = 255
    numbers = np.concatenate(list(predict_tiled(Brightness(3), pixels, 64)))  # type: ignore[arg-type]
    assert numbers.dtype == np.uint8
    assert np.array_equal(numbers, np.repeat([[0, 1]], 150, axis=1).repeat(200, axis=0))


def test_small_objects_of_a_large_image_are_not_lost(sam: Any, tmp_path: Path) -> None:
    pixels = np.zeros((1500, 1500, 3), np.uint8)
    for row, column in np.random.default_rng(1).integers(0, 1490, (12, 2)):
        pixels[row : row + 8, column : column + 8] = 255
    Image.fromarray(pixels).save(tmp_path / "large.png")
    (mask,) = predict_files(sam, [tmp_path / "large.png"], tmp_path / "tiles")
    found = np.asarray(Image.open(mask)) > 0
    assert np.array_equal(found, pixels[..., 0] > 0)
    whole = PredictOptions(tile=0)
    (mask,) = predict_files(sam, [tmp_path / "large.png"], tmp_path / "whole", whole)
    assert share(mask) < 0.5 * found.mean()


@pytest.mark.parametrize("tile", [None, 32])
def test_too_little_memory_is_an_error_with_a_remedy(sam: Any, tile: int | None) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nAnd so on")

    sam.forward = full
    pixels = np.zeros((48, 64, 3), np.uint8)
    with pytest.raises(SettingsError, match="memory is too small: CUDA") as caught:
        predict_image(sam, pixels, tile)
    assert "so on" not in caught.value.what
    assert caught.value.remedy == "choose another --device, or a smaller --tile"


def test_images_are_tiled_above_twice_their_natural_size() -> None:
    assert tile_size((600, 1024), 512) is None
    assert tile_size((600, 1025), 512) == 512


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rgb.jpg", {"quality": 95}),
        ("upper case.v2.GIF", {}),
        ("j2k.jp2", {}),
        ("webp.webp", {"lossless": True}),
        ("cmyk.jpg", {"mode": "CMYK", "quality": 95}),
        ("palette.png", {"mode": "P"}),
        ("alpha.png", {"mode": "RGBA"}),
        ("grey.bmp", {"mode": "L"}),
        ("packed.tif", {"compression": "tiff_lzw"}),
        ("jpeg.tif", {"compression": "jpeg"}),
    ],
)
def test_formats_named_and_in_a_folder(
    name: str, options: dict[str, Any], sam: Any, bright: Any, tmp_path: Path
) -> None:
    options = dict(options)
    picture = Image.fromarray(np.rint(bright() * 255).astype(np.uint8)).convert("RGB")
    picture = picture.convert(options.pop("mode", "RGB"))
    (tmp_path / "in").mkdir()
    picture.save(tmp_path / "in" / name, **options)
    (one,) = predict_files(sam, [tmp_path / "in" / name], tmp_path / "named")
    (two,) = predict_files(sam, [tmp_path / "in"], tmp_path / "folder")
    assert one.name == two.name == f"{Path(name).stem}.png"
    assert one.read_bytes() == two.read_bytes()
    assert share(one) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("dtype", "top"),
    [(np.uint16, 65535), (np.uint16, 4095), (np.float32, 1), (np.int32, 10**6), (np.float64, 7)],
)
@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_deep_pixels_are_rescaled(
    dtype: type, top: int, suffix: str, sam: Any, bright: Any, tmp_path: Path
) -> None:
    if suffix == ".png" and dtype is not np.uint16:
        pytest.skip("PNG has no such pixels")
    pixels = (bright() * top).astype(dtype)
    path = tmp_path / f"deep{suffix}"
    if suffix == ".png":
        Image.fromarray(pixels).save(path)
    else:
        tifffile.imwrite(path, pixels)
    lines: list[str] = []
    (mask,) = predict_files(sam, [path], tmp_path / "out", log=lines.append)
    assert share(mask) == pytest.approx(0.5, abs=0.03)
    assert lines[0].startswith(f"pixels of type {np.dtype(dtype).name}: ")


def test_values_beyond_single_precision_are_rescaled(sam: Any, bright: Any, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "large.tif", bright() * 1e300)
    (mask,) = predict_files(sam, [tmp_path / "large.tif"], tmp_path / "out")
    assert share(mask) == pytest.approx(0.5, abs=0.03)
    counts = np.array([[2**31, 2**31 + 1, 2**31 + 2]], np.uint32)
    rescaling = choose_rescaling(f"{2**31},{2**31 + 2}", [])
    assert rescaling(counts)[..., 0].tolist() == [[0, 128, 255]]


def test_one_range_for_all_images_of_a_call_unless_asked_otherwise(
    sam: Any, bright: Any, tmp_path: Path
) -> None:
    for name, factor in (("dark.tif", 0.25), ("bright.tif", 1)):
        tifffile.imwrite(tmp_path / name, (bright() * factor * 4000).astype(np.uint16))
    dark, light = predict_files(
        sam, [tmp_path / "dark.tif", tmp_path / "bright.tif"], tmp_path / "a"
    )
    assert share(dark) == 0
    assert share(light) == pytest.approx(0.5, abs=0.03)
    each = PredictOptions(rescale="image")
    (dark,) = predict_files(sam, [tmp_path / "dark.tif"], tmp_path / "b", each)
    assert share(dark) == pytest.approx(0.5, abs=0.03)
    (dark,) = predict_files(
        sam, [tmp_path / "dark.tif"], tmp_path / "c", PredictOptions(rescale="0,500")
    )
    assert share(dark) == pytest.approx(0.75, abs=0.03)


def test_each_type_of_pixels_has_its_range(sam: Any, bright: Any, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "float.tif", bright().astype(np.float32))
    tifffile.imwrite(tmp_path / "int.tif", (bright() * 60000).astype(np.uint16))
    masks = predict_files(sam, [tmp_path / "float.tif", tmp_path / "int.tif"], tmp_path / "out")
    assert [share(mask) for mask in masks] == pytest.approx([0.5, 0.5], abs=0.03)


@pytest.mark.parametrize("text", ["", "8bit", "5,5", "9,2", "1,2,3", "0,inf", "-inf,5", "nan,1"])
def test_an_invalid_rescaling_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="cannot rescale"):
        choose_rescaling(text, [])


def test_each_page_has_its_mask(sam: Any, bright: Any, tmp_path: Path) -> None:
    grey = np.rint(bright() * 255).astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "stack.tif", np.stack([grey, 0 * grey, grey]), photometric="minisblack"
    )
    masks = predict_files(sam, [tmp_path / "stack.tif"], tmp_path / "out")
    assert [mask.name for mask in masks] == [f"stack_page{n}.png" for n in (1, 2, 3)]
    assert [share(mask) > 0.4 for mask in masks] == [True, False, True]


def test_pages_that_fail_count_as_one_image(sam: Any, bright: Any, tmp_path: Path) -> None:
    fine = bright().astype(np.float32)
    pages = np.stack([fine, np.full_like(fine, np.nan), np.full_like(fine, np.inf)])
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    with pytest.raises(AuditError, match="1 of 1 images have no mask") as caught:
        predict_files(sam, [tmp_path / "stack.tif"], tmp_path / "out")
    for number in (2, 3):
        assert f"stack.tif, page {number} holds 3,072 values" in caught.value.what
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["stack_page1.png"]


def test_the_mask_of_a_geotiff_lies_where_its_image_lies(
    sam: Any, bright: Any, tmp_path: Path
) -> None:
    tags = [
        (33550, "d", 3, (0.5, 0.5, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 350000.0, 5600000.0, 0.0), True),
        (34735, "H", 8, (1, 1, 0, 1, 3072, 0, 1, 25832), True),
    ]
    rgb = np.repeat(np.rint(bright() * 255).astype(np.uint8)[..., None], 3, axis=2)
    tifffile.imwrite(tmp_path / "geo.tif", rgb, photometric="rgb", extratags=tags)
    (mask,) = predict_files(sam, [tmp_path / "geo.tif"], tmp_path / "out")
    assert mask.name == "geo.tif"
    with tifffile.TiffFile(tmp_path / "geo.tif") as image, tifffile.TiffFile(mask) as written:
        for code, *_ in tags:
            assert written.pages[0].tags[code].value == image.pages[0].tags[code].value
    assert share(mask) == pytest.approx(0.5, abs=0.03)


def test_trees_are_kept(sam: Any, tmp_path: Path) -> None:
    for name in ("p1/001.png", "p2/001.png", "p2/deep/er/001.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), "white").save(tmp_path / "in" / name)
    (tmp_path / "in" / "__MACOSX").mkdir()
    (tmp_path / "in" / "__MACOSX" / "a.png").write_bytes(b"")
    (tmp_path / "in" / "p1" / "._001.png").write_bytes(b"")
    masks = predict_files(sam, [tmp_path / "in"], tmp_path / "out")
    assert [mask.relative_to(tmp_path / "out").as_posix() for mask in masks] == [
        "p1/001.png", "p2/001.png", "p2/deep/er/001.png",
    ]  # fmt: skip
    named = [tmp_path / "in" / "p1" / "001.png", tmp_path / "in" / "p2" / "001.png"]
    masks = predict_files(sam, named, tmp_path / "named")
    assert [mask.relative_to(tmp_path / "named").as_posix() for mask in masks] == [
        "p1/001.png", "p2/001.png",
    ]  # fmt: skip


def test_an_image_that_is_given_twice_is_predicted_once(
    sam: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for name in ("in/a.png", "in/b.png"):
        Image.new("RGB", (20, 20), "white").save(name)
    Path("in/link.png").symlink_to("a.png")  # has a mask of its own
    spellings = [Path("in/a.png"), tmp_path / "in" / "a.png", Path("in/../in/a.png")]
    assert [mask.name for mask in predict_files(sam, spellings, Path("named"))] == ["a.png"]
    masks = predict_files(sam, [Path("in"), tmp_path / "in", *spellings], Path("all"))
    assert [mask.name for mask in masks] == ["a.png", "b.png", "link.png"]


def test_every_image_that_fails_is_named(sam: Any, tmp_path: Path) -> None:
    for index in range(8):
        (tmp_path / f"{index}.png").write_bytes(b"not an image")
    Image.new("RGB", (20, 20)).save(tmp_path / "fine.png")
    bands = np.zeros((9, 9, 7), np.uint8)
    tifffile.imwrite(tmp_path / "bands.tif", bands, photometric="minisblack", planarconfig="contig")
    with pytest.raises(AuditError, match="9 of 10 images have no mask") as caught:
        predict_files(sam, [tmp_path], tmp_path / "out")
    for index in range(8):
        assert f"{index}.png" in str(caught.value)
    assert "BytesIO" not in str(caught.value)
    assert "holds 9 x 9 x 7 values, neither grey nor RGB" in str(caught.value)
    assert (tmp_path / "out" / "fine.png").is_file()


def test_postscript_named_like_an_image_starts_nothing(sam: Any, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    with pytest.raises(AuditError, match=r"a\.jpg cannot be read: cannot identify"):
        predict_files(sam, [tmp_path / "a.jpg"], tmp_path / "out")


def test_the_longest_possible_name(sam: Any, tmp_path: Path) -> None:
    path = tmp_path / f"{'n' * 246}.png"
    Image.new("RGB", (20, 20)).save(path)
    assert len(predict_files(sam, [path], tmp_path / "out")) == 1


def test_a_geotiff_and_annotations_are_not_replaced(sam: Any, tmp_path: Path) -> None:
    image, geo = tmp_path / "map.tif", (33550, "d", 3, (1.0, 1.0, 0.0), True)
    tifffile.imwrite(image, np.zeros((20, 30, 3), np.uint8), photometric="rgb", extratags=[geo])
    before = image.read_bytes()
    with pytest.raises(SettingsError, match="would replace an image"):
        predict_files(sam, [image], tmp_path, PredictOptions(overwrite=True))
    assert image.read_bytes() == before
    (annotations := tmp_path / "out" / "annotations.json").parent.mkdir()
    annotations.write_text("{}")
    with pytest.raises(SettingsError, match="already exists"):
        predict_files(sam, [image], tmp_path / "out", PredictOptions(["coco"]))
    assert annotations.read_text() == "{}"


def test_overlays_and_coco(bright: Any, tmp_path: Path) -> None:
    for number in (1, 2):
        pixels = (
            np.rint(bright() * 255).astype(np.uint8)[:, ::-1]
            if number == 2
            else np.rint(bright() * 255).astype(np.uint8)
        )
        Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / f"{number}.png")
    products = PredictOptions(["mask", "overlay", "probability", "coco"])
    files = [tmp_path / "1.png", tmp_path / "2.png"]
    written = predict_files(Brightness(), files, tmp_path / "out", products)  # type: ignore[arg-type]
    assert sorted(path.name for path in written) == [
        "1.png", "1_overlay.png", "1_probability.png", "2.png", "2_overlay.png",
        "2_probability.png", "annotations.json",
    ]  # fmt: skip
    content = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["1.png", "2.png"]
    for annotation in content["annotations"]:
        mask = np.asarray(Image.open(tmp_path / "out" / f"{annotation['image_id']}.png")) > 0
        assert np.array_equal(coco.decode(annotation["segmentation"]).astype(bool), mask)
        assert annotation["area"] == mask.sum()
    overlay = np.asarray(Image.open(tmp_path / "out" / "1_overlay.png")).astype(int)
    plain = np.asarray(Image.open(files[0]).convert("RGB")).astype(int)
    mask = np.asarray(Image.open(tmp_path / "out" / "1.png")) > 0
    assert np.array_equal(overlay[~mask], plain[~mask])
    assert (overlay[mask] != plain[mask]).any(axis=-1).all()


def test_pages_of_a_rotated_photograph_are_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "lying.jpg", exif=exif)
    (page,) = read_pages(tmp_path / "lying.jpg")
    assert page.pixels.shape == (40, 20, 3)
    assert find_images([tmp_path])[0].relative == Path("lying")
