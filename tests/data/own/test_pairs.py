"""How user-supplied images and masks are paired and split."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from naslora.core.errors import AuditError
from naslora.data.benchmarks.listing import Sample
from naslora.data.benchmarks.splits import hold_out, hold_out_groups
from naslora.data.own import OwnOptions, own_data
from naslora.data.own.pairs import distinct_names, find_pairs


def move(path: Path, to: str) -> None:
    target = path.parent / to
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)


def test_subfolders_go_together(own: SimpleNamespace, tmp_path: Path) -> None:
    folder = own.write(tmp_path / "d", own.levels(0, 255))
    for name in ("images", "masks"):
        move(folder / name / "1.png", "a/0.png")
        move(folder / name / "2.png", "a/b/2.png")
    found = find_pairs(folder)
    assert [pair.id for pair in found.pairs] == ["0", "3", "4", "5", "a_0", "a_b_2"]
    for pair in found.pairs:
        assert pair.image.relative_to(folder / "images") == pair.mask.relative_to(folder / "masks")


def test_what_is_no_image_is_left_out(own: SimpleNamespace, tmp_path: Path) -> None:
    folder = own.write(tmp_path / "d", own.levels(0, 255))
    (folder / "images" / "._0.png").write_bytes(b"Mac")
    (folder / "images" / "__MACOSX").mkdir()
    (folder / "images" / "__MACOSX" / "0.png").write_bytes(b"Mac")
    (folder / "masks" / "notes.txt").write_text("x")
    found = find_pairs(folder)
    assert len(found.pairs) == own.COUNT
    assert "1 files in the folders are not images and are ignored" in found.lines


def test_masks_with_an_ending(own: SimpleNamespace, tmp_path: Path) -> None:
    folder = own.write(tmp_path / "d", own.levels(0, 255))
    for path in list((folder / "masks").iterdir()):
        path.rename(path.with_stem(f"{path.stem}_mask"))
    found = find_pairs(folder)
    assert [pair.mask.stem for pair in found.pairs] == [f"{i}_mask" for i in range(own.COUNT)]
    assert any("named like their images, with '_mask'" in line for line in found.lines)


def test_folders_named_train_and_test_are_the_split(own: SimpleNamespace, tmp_path: Path) -> None:
    folder = own.write(tmp_path / "d", own.levels(0, 255))
    for index in range(own.COUNT):
        part = "test" if index > 3 else "Train"
        for name in ("images", "masks"):
            move(folder / name / f"{index}.png", f"{part}/{index}.png")
    benchmark, lines = own_data(folder)
    assert "the folders train, val and test in images are the split" in lines
    held_out = "as given, but validation images held out from the training images at random, seed 0"
    assert f"split: 3 train, 1 val, 2 test, {held_out}" in lines
    assert benchmark.expected == {"train": 3, "val": 1, "test": 2}


def broken(change):
    def make(own: SimpleNamespace, folder: Path) -> Path:
        own.write(folder, own.levels(0, 255))
        change(folder)
        return folder

    return make


def csv(text: str):
    def make(own: SimpleNamespace, folder: Path) -> Path:
        own.write(folder, own.levels(0, 255))
        (folder / "list.csv").write_text(text)
        return folder / "list.csv"

    return make


ROW = "images/0.png,masks/0.png"
REFUSED = {
    "nothing": (lambda own, folder: folder, "there is no such folder or file"),
    "no masks": (
        broken(lambda folder: (folder / "masks").rename(folder / "gt")),
        "no folder 'masks' in it: it holds gt, images",
    ),
    "one mask less": (
        broken(lambda folder: (folder / "masks" / "3.png").unlink()),
        "1 images have no mask: 3",
    ),
    "other names": (
        broken(lambda folder: move(folder / "masks" / "3.png", "x.png")),
        "1 images have no mask: 3; 1 masks have no image: x",
    ),
    "two suffixes": (
        broken(lambda folder: (folder / "images" / "3.jpg").write_bytes(b"x")),
        r"differ only in their suffix: 3\.png and 3\.jpg",
    ),
    "damaged mask": (
        broken(lambda folder: (folder / "masks" / "3.png").write_bytes(b"x" * 99)),
        r"1 of 6 pairs cannot be used: .*masks/3\.png is not in a supported image format",
    ),
    "damaged image": (
        broken(lambda folder: (folder / "images" / "3.png").write_bytes(b"%!PS-Adobe-3.0")),
        r"images/3\.png is not an image that can be read",
    ),
    "one pair": (
        broken(
            lambda folder: [
                path.unlink() for path in folder.rglob("*.png") if path.stem not in ("0", "1")
            ]
        ),
        "too few images to split",
    ),
    "empty csv": (csv(""), "cannot be read"),
    "csv of other columns": (csv("a,b,c\n1,2,3\n"), "has the columns a, b, c and 1 rows"),
    "csv without rows": (csv("image,mask\n"), "has the columns image, mask and 0 rows"),
    "csv of missing files": (
        csv(f"image,mask\n{ROW}\nimages/9.png,masks/0.png\n"),
        r"1 files that it lists are not found: .*9\.png",
    ),
    "csv with an image twice": (csv(f"image,mask\n{ROW}\n{ROW}\n"), r"lists twice: .*0\.png"),
    "csv of another split": (csv(f"image,mask,split\n{ROW},best\n"), "split holds 'best'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, own: SimpleNamespace, tmp_path: Path) -> None:
    make, says = REFUSED[name]
    path = make(own, tmp_path / "d")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(AuditError, match=says) as caught:
        own_data(path)
    assert caught.value.where is not None or name.startswith("damaged")
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written"


def listed(own: SimpleNamespace, folder: Path, **columns: list[str]) -> Path:
    own.write(folder, own.levels(0, 255), count=12)
    rows = [
        [f"images/{i}.png", f"masks/{i}.png", *(values[i] for values in columns.values())]
        for i in range(12)
    ]
    lines = [",".join(["image", "mask", *columns]), *(",".join(row) for row in rows)]
    (folder / "pairs.csv").write_text("\n".join(lines))
    return folder / "pairs.csv"


def test_a_csv_file_with_groups(own: SimpleNamespace, tmp_path: Path) -> None:
    path = listed(own, tmp_path / "d", group=[f"photo{i // 3}" for i in range(12)])
    benchmark, lines = own_data(path)
    assert benchmark.name == "d", "a file named pairs is called like its folder"
    assert any("with the 4 groups kept together" in line for line in lines)
    samples = [Sample(p.id, "", "", p.part, p.group) for p in find_pairs(path).pairs]
    for seed in range(5):
        splits = benchmark.split(samples, seed)
        assert sorted(chain(*splits.values())) == sorted(s.id for s in samples)
        for group in range(4):
            members = {str(i) for i in range(3 * group, 3 * group + 3)}
            assert sum(bool(members & set(ids)) for ids in splits.values()) == 1
    few = listed(own, tmp_path / "few", group=["a"] * 6 + ["b"] * 6)
    with pytest.raises(AuditError, match="too few images to split: cannot split 1 groups in two"):
        own_data(few)


def test_a_csv_file_with_a_split(own: SimpleNamespace, tmp_path: Path) -> None:
    parts = ["train"] * 8 + ["valid"] * 2 + ["Test"] * 2
    benchmark, lines = own_data(listed(own, tmp_path / "d", split=parts))
    assert benchmark.expected == {"train": 8, "val": 2, "test": 2}
    assert "split: 8 train, 2 val, 2 test, as given" in lines
    groups = [str(index // 2) for index in range(12)]
    drawn = listed(own, tmp_path / "g", split=["train"] * 8 + ["test"] * 4, group=groups)
    _, lines = own_data(drawn)
    assert any(
        line.endswith("at random, seed 0, with the 4 groups kept together") for line in lines
    )
    without = listed(own, tmp_path / "e", split=["train"] * 10 + ["val"] * 2)
    benchmark, lines = own_data(without)
    assert benchmark.test_sets == ("val",)
    assert "no test images: results are of the validation images, and may be optimistic" in lines


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_files_as_programs_write_them(
    separator: str, own: SimpleNamespace, tmp_path: Path
) -> None:
    folder = own.write(tmp_path / "d", own.levels(0, 255))
    rows = [f"images\\{i}.png{separator}{folder / 'masks' / f'{i}.png'}" for i in range(6)]
    path = folder / "list.csv"
    path.write_bytes("\r\n".join([f"left{separator}right", *rows]).encode("utf-8-sig"))
    found = find_pairs(path)
    assert len(found.pairs) == 6
    assert "the columns 'left' and 'right' are read as image and mask" in found.lines


def test_no_test_images_on_request(own: SimpleNamespace, tmp_path: Path) -> None:
    folder = own.write(tmp_path / "d", own.levels(0, 255))
    benchmark, _ = own_data(folder, OwnOptions(test_share=0))
    assert benchmark.test_sets == ("val",)
    assert benchmark.expected == {"train": 5, "val": 1}


def test_no_foreground_in_training_is_an_error(own: SimpleNamespace, tmp_path: Path) -> None:
    parts = ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    path = listed(own, tmp_path / "d", split=parts)
    for index in range(8):
        Image.new("L", own.SIZE).save(path.parent / "masks" / f"{index}.png")
    with pytest.raises(AuditError, match="no training image has any foreground"):
        own_data(path)


def test_names_of_the_task(own: SimpleNamespace, tmp_path: Path) -> None:
    for folder, name in (("Rice Leaves (v2)", "rice_leaves_v2"), ("kvasir", "own_kvasir")):
        assert own_data(own.write(tmp_path / folder, own.levels(0, 1)))[0].name == name
    assert own_data(tmp_path / "kvasir", OwnOptions(name="mine"))[0].name == "mine"


@given(st.lists(st.text("abAB/_é", min_size=1, max_size=400), unique=True, max_size=12))
def test_distinct_names(stems: list[str]) -> None:
    names = distinct_names(stems)
    assert names.keys() == set(stems)
    folded = [name.casefold() for name in names.values()]
    assert len(set(folded)) == len(folded)
    assert all("/" not in name and len(name.encode()) < 200 for name in names.values())


@given(st.lists(st.integers(0, 5), min_size=2, max_size=40), st.floats(0.05, 0.95))
@settings(deadline=None)
def test_groups_stay_together(groups: list[int], share: float) -> None:
    samples = [Sample(f"s{i}", "", "", group=f"g{group}") for i, group in enumerate(groups)]
    if len(set(groups)) < 2:
        with pytest.raises(ValueError, match="cannot split 1 groups"):
            hold_out_groups(samples, share, 0)
        return
    rest, held = hold_out_groups(samples, share, 0)
    assert sorted(rest + held) == sorted(sample.id for sample in samples)
    assert rest
    assert held
    group_of = {sample.id: sample.group for sample in samples}
    assert not {group_of[i] for i in rest} & {group_of[i] for i in held}
    largest = max(np.unique(groups, return_counts=True)[1])
    assert abs(len(held) - share * len(samples)) <= largest


@given(st.sets(st.text(min_size=1, max_size=4), min_size=2, max_size=30), st.floats(0.05, 0.95))
def test_without_groups_it_is_the_plain_split(ids: set[str], share: float) -> None:
    samples = [Sample(id_, "", "") for id_ in ids]
    assert hold_out_groups(samples, share, 3) == hold_out(ids, share, 3)
