"""COCO files as masks."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from naslora.core.errors import AuditError
from naslora.data.masks import IGNORE
from naslora.data.own import OwnOptions, own_data
from naslora.data.own.benchmark import find_all, label_reader


def labels(path: Path, **options: object) -> list[np.ndarray]:
    benchmark, _ = own_data(path, OwnOptions(**options))
    read = label_reader(benchmark.description)
    return [read(pair) for pair in find_all(path, benchmark.description.options).pairs]


def test_masks_equal_what_was_annotated(own: SimpleNamespace, tmp_path: Path) -> None:
    path = own.coco(tmp_path / "d")
    benchmark, lines = own_data(path)
    assert benchmark.classes == ("disc",)
    assert "6 images with 6 annotations" in lines[0]
    assert "1 annotations are crowds; they are void (--crowd)" in lines
    for index, mask in enumerate(labels(path)):
        inside = own.disc(index)
        if index == 4:
            assert np.array_equal(mask == IGNORE, inside), "a crowd is void"
            assert not (mask == 1).any()
        elif index % 2 == 0:
            assert np.array_equal(mask == 1, inside)
        else:
            assert ((mask == 1) & inside).sum() / ((mask == 1) | inside).sum() > 0.9
    assert np.array_equal(labels(path, crowd="foreground")[4] == 1, own.disc(4))
    assert own_data(tmp_path / "d")[0].description.data == path, "alone in its folder"


@pytest.mark.parametrize("with_areas", [True, False])
def test_several_categories(with_areas: bool, own: SimpleNamespace, tmp_path: Path) -> None:
    """Small regions are drawn over large ones; labels are in the order of the categories' ids."""
    path = own.coco(
        tmp_path / "d", categories=[{"id": 9, "name": "dot"}, {"id": 7, "name": "disc"}]
    )
    content = json.loads(path.read_text())
    dot = np.zeros((48, 64), bool)
    row, column = np.argwhere(own.disc(0)).mean(axis=0).astype(int)
    dot[row : row + 2, column : column + 2] = True
    content["annotations"].insert(
        0,
        {"image_id": 1, "category_id": 9, "area": 4.0, "segmentation": own.run_lengths(dot)},
    )
    if not with_areas:
        for annotation in content["annotations"]:
            del annotation["area"]
    path.write_text(json.dumps(content))
    benchmark, _ = own_data(path)
    assert benchmark.classes == ("background", "disc", "dot")
    first = labels(path)[0]
    assert np.array_equal(first == 2, dot)
    assert np.array_equal(first == 1, own.disc(0) & ~dot)
    assert own_data(path, OwnOptions(classes="a,b"))[0].classes == ("background", "a", "b")
    with pytest.raises(AuditError, match="--classes names 1 classes, the file has 2 categories"):
        own_data(path, OwnOptions(classes="a"))


def test_ids_may_be_numbers_and_texts(own: SimpleNamespace, tmp_path: Path) -> None:
    path = own.coco(
        tmp_path / "d", categories=[{"id": "a", "name": "dot"}, {"id": 7, "name": "disc"}]
    )
    benchmark, _ = own_data(path)
    assert benchmark.classes == ("background", "disc", "dot"), "numbers come before texts"
    content = json.loads(path.read_text())
    content["annotations"][0]["category_id"] = 8
    content["annotations"][1]["category_id"] = "7"
    path.write_text(json.dumps(content))
    with pytest.raises(AuditError, match=r"not listed: \[8, '7'\]") as caught:
        own_data(path)
    assert "are different ids" in str(caught.value.remedy)


def test_compressed_run_lengths(own: SimpleNamespace, tmp_path: Path) -> None:
    from pycocotools import mask

    path = own.coco(tmp_path / "d")
    content = json.loads(path.read_text())
    packed = mask.encode(np.asfortranarray(own.disc(0)))
    content["annotations"][0]["segmentation"] = {
        "size": packed["size"],
        "counts": packed["counts"].decode(),
    }
    path.write_text(json.dumps(content))
    assert np.array_equal(labels(path)[0] == 1, own.disc(0))


@pytest.mark.parametrize("stored", [True, False])
def test_annotations_of_turned_photographs(
    stored: bool, own: SimpleNamespace, tmp_path: Path
) -> None:
    """Coordinates refer to the pixels as stored, or as shown; the size tells which."""
    path = own.coco(tmp_path / "d")
    content = json.loads(path.read_text())
    inside = own.disc(0)
    image = own.photograph(0, inside)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = image.transpose(Image.Transpose.ROTATE_90)  # shown turned back, as `image`
    turned.save(tmp_path / "d" / "images" / "0.jpg", exif=exif)
    (tmp_path / "d" / "images" / "0.png").unlink()
    content["images"][0]["file_name"] = "0.jpg"
    if stored:
        content["images"][0] |= {"height": 64, "width": 48}
        content["annotations"][0]["segmentation"] = own.run_lengths(np.rot90(inside))
    path.write_text(json.dumps(content))
    assert np.array_equal(labels(path)[0] == 1, inside)


REFUSED = {
    "no JSON": (lambda content: "{", "this is not a COCO file"),
    "a list": (lambda content: [], "this is not a COCO file"),
    "without images": (lambda c: {k: v for k, v in c.items() if k != "images"}, "KeyError"),
    "unknown category": (lambda c: {**c, "categories": []}, r"not listed: \[7\]"),
    "nothing annotated": (lambda c: {**c, "annotations": []}, "has no annotations"),
    "image that is not there": (
        lambda c: {**c, "images": [{**i, "file_name": f"x{i['id']}"} for i in c["images"]]},
        "the image x1 is not found",
    ),
    "other size": (
        lambda c: {**c, "images": [{**i, "width": 50} for i in c["images"]]},
        "is of|for 50x48 pixels, the image has 64x48",
    ),
    "no segmentation": (
        lambda c: {**c, "annotations": [{**a, "segmentation": []} for a in c["annotations"]]},
        r"an annotation of 0\.png has no segmentation",
    ),
    "an id twice": (
        lambda c: {**c, "images": [*c["images"], {**c["images"][0], "file_name": "images/0.png"}]},
        "several images have the same id",
    ),
    "too many categories": (
        lambda c: {**c, "categories": [{"id": i, "name": f"c{i}"} for i in range(1, 251)]},
        "250 categories; at most 249 are possible",
    ),
    "only crowds": (
        lambda c: {
            **c,
            "annotations": [
                {**a, "iscrowd": 1, "segmentation": [[0, 0, 64, 0, 64, 48, 0, 48]]}
                for a in c["annotations"]
            ],
        },
        "no training image has any disc",
    ),
    "bad segmentation": (
        lambda c: {**c, "annotations": [{**a, "segmentation": [[1]]} for a in c["annotations"]]},
        "cannot be read",
    ),
    "bad segmentation without an area": (
        lambda c: {
            **c,
            "annotations": [{**a, "segmentation": [[1]], "area": None} for a in c["annotations"]],
        },
        r"a segmentation of 0\.png cannot be read",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, own: SimpleNamespace, tmp_path: Path) -> None:
    change, says = REFUSED[name]
    path = own.coco(tmp_path / "d")
    changed = change(json.loads(path.read_text()))
    path.write_text(changed if isinstance(changed, str) else json.dumps(changed))
    with pytest.raises(AuditError, match=says):
        own_data(path)


def test_an_image_that_was_damaged_later(own: SimpleNamespace, tmp_path: Path) -> None:
    path = own.coco(tmp_path / "d")
    read = label_reader(own_data(path)[0].description)
    pair = find_all(path, OwnOptions()).pairs[3]
    pair.image.write_bytes(b"x" * 99)
    with pytest.raises(AuditError, match=r"3\.png cannot be read") as caught:
        read(pair)
    assert caught.value.where == pair.image


def test_options_for_mask_files_do_not_apply(own: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="--mask-values and --ignore are for mask files"):
        own_data(own.coco(tmp_path / "d"), OwnOptions(ignore=255))
