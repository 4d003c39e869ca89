"""How masks of every kind are interpreted, and when they are refused."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from naslora.core.errors import AuditError
from naslora.data.masks import IGNORE
from naslora.data.own import OwnOptions, own_data
from naslora.data.own.benchmark import find_all, label_reader
from naslora.data.own.options import ValueRange, parse_mask_values
from naslora.data.own.survey import RawMask, Survey
from naslora.data.own.understand import understand


@pytest.fixture
def understood(own: SimpleNamespace, tmp_path: Path) -> Callable[..., SimpleNamespace]:
    """Writes masks, and returns what own_data makes of them: classes, lines and labels."""

    def run(encode, suffix: str = ".png", **options: object) -> SimpleNamespace:
        folder = tmp_path / "discs"
        if not folder.exists():
            own.write(folder, encode, suffix=suffix)
        benchmark, lines = own_data(folder, OwnOptions(**options))
        described = benchmark.description
        read = label_reader(described)
        return SimpleNamespace(
            classes=benchmark.classes,
            text="\n".join(lines),
            labels=[read(pair) for pair in find_all(folder, described.options).pairs],
            described=described,
        )

    return run


def discs(own: SimpleNamespace) -> list[np.ndarray]:
    return [own.disc(index) for index in range(own.COUNT)]


BINARY = {
    "0 and 255": (lambda o: o.levels(0, 255), "grey levels 0 and 255: background and foreground"),
    "0 and 1": (lambda o: o.levels(0, 1), "grey levels 0 and 1: .*look black"),
    "0 and 38": (lambda o: o.levels(0, 38), "grey levels 0 and 38"),
    "inverted": (lambda o: o.levels(255, 0), "grey levels 0 and 255"),
    "palette": (lambda o: o.palette, "palette indices 0 and 1"),
    "one bit": (lambda o: lambda m: Image.fromarray(m), "grey levels 0 and 255"),
    "16 bits": (
        lambda o: lambda m: Image.fromarray(np.where(m, 65535, 0).astype(np.uint16)),
        "grey levels 0 and 65535",
    ),
    "grey RGBA": (lambda o: lambda m: o.levels(0, 255)(m).convert("RGBA"), "levels 0 and 255"),
    "two colours": (lambda o: o.colours, "#0000ff .*, #ff0000 .*#0000ff, the most frequent, is"),
    "without 0": (lambda o: o.levels(5, 9), "5 and 9: .*5, the more frequent, is the background"),
}


@pytest.mark.parametrize("name", BINARY)
def test_two_values_are_background_and_foreground(name: str, understood, own) -> None:
    encode, says = BINARY[name]
    found = understood(encode(own))
    assert found.classes == ("foreground",)
    assert re.search(says, found.text), found.text
    wanted = [~d if name == "inverted" else d for d in discs(own)]
    assert all(np.array_equal(a, b) for a, b in zip(found.labels, wanted, strict=True))
    share = np.mean([d.mean() for d in wanted])
    assert f"foreground {share:.1%}" in found.text
    assert understood(encode(own), classes="disc").classes == ("disc",)


@pytest.mark.parametrize("kind", ["grey", "palette"])
@pytest.mark.parametrize("explicit", [True, False])
def test_255_beside_an_object_of_1_is_void(kind: str, explicit: bool, understood, own) -> None:
    def encode(inside: np.ndarray) -> Image.Image:
        if kind == "palette":
            return own.palette(inside, border=True)
        return own.with_border(inside.astype(np.uint8))

    found = understood(encode, **({"ignore": 255} if explicit else {}))
    assert found.classes == ("foreground",)
    assert "the value 255 is void (--ignore 255)" in found.text
    assert "pixels are void; they count neither in the loss nor in a metric" in found.text
    for labels, inside in zip(found.labels, discs(own), strict=True):
        assert np.array_equal(labels == 1, inside), "never the border"
        assert set(np.unique(labels)) == {0, 1, IGNORE}


def test_three_levels_are_asked_about(understood, own) -> None:
    with pytest.raises(AuditError, match=r"ambiguous: .* 0 \(.*%\), 127 \(.*%\), 254") as caught:
        understood(own.three_levels)
    remedy = str(caught.value.remedy)
    assert "if they are 3 classes" in remedy
    assert "--classes background,name1,name2" in remedy
    assert "--mask-values 128-254=foreground" in remedy
    three = understood(own.three_levels, classes=("background", "square", "disc"))
    assert three.classes == ("background", "square", "disc")
    assert "0 background, 127 square, 254 disc" in three.text
    for labels, inside in zip(three.labels, discs(own), strict=True):
        assert np.array_equal(labels == 2, inside & (labels != 1))
        assert (labels[5:15, 3:12] == 1).all()
    binary = understood(own.three_levels, mask_values="128-254=disc")
    assert binary.classes == ("disc",)
    assert all((b == (t == 2)).all() for b, t in zip(binary.labels, three.labels, strict=True))
    void = understood(own.three_levels, ignore=127)
    assert all((v[5:15, 3:12] == IGNORE).all() for v in void.labels)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_soft_edges_are_cut_at_128(suffix: str, understood, own) -> None:
    found = understood(own.soft, suffix)
    assert found.classes == ("foreground",)
    assert "black and white with soft edges" in found.text
    share = float(found.text.split("soft edges: ")[1].split("%")[0])
    assert 0.5 < share < (30 if suffix == ".jpg" else 10), "of the pixels between are told"
    for index, labels in enumerate(found.labels):
        drawn = np.asarray(own.soft(own.disc(index)))
        clear = (drawn < 64) | (drawn > 192)
        assert np.array_equal(labels[clear] == 1, drawn[clear] > 128)


def test_the_share_of_soft_edges_decides(understood, own) -> None:
    """Grey areas, even small ones, are not soft edges."""

    def encode(inside: np.ndarray) -> Image.Image:
        values = np.asarray(own.soft(inside)).copy()
        values[2:8, 2:8] = 90
        return own.grey(values)

    with pytest.raises(AuditError, match="ambiguous"):
        understood(encode)


def indices(number: int) -> Callable[[np.ndarray], Image.Image]:
    def encode(inside: np.ndarray) -> Image.Image:
        values = np.zeros(inside.shape, np.uint8)
        for index in range(1, number + 1):
            values[2 : 2 + index % 5 + 1, 3 * index : 3 * index + 2] = index
        return Image.fromarray(values)

    return encode


def test_fifteen_classes(understood) -> None:
    found = understood(indices(15))
    assert len(found.classes) == 16
    assert found.classes[0] == "background"
    assert found.described.most_classes == 16
    assert "at most 16 classes are in one image" in found.text
    assert all(labels.max() == 15 for labels in found.labels)
    names = ("ground", *(f"kind {index}" for index in range(1, 16)))
    assert understood(indices(15), classes=names).classes == names
    with pytest.raises(AuditError, match=r"--classes names one class, .*indices 0, 1, 2"):
        understood(indices(15), classes="disc")


def test_indices_with_gaps_and_void(understood) -> None:
    def encode(inside: np.ndarray) -> Image.Image:
        values = np.where(inside, 3, 0).astype(np.uint8)
        values[:4, :4], values[-3:] = 1, 255
        return Image.fromarray(values)

    found = understood(encode)
    assert found.classes == ("background", "class_1", "class_2", "class_3")
    assert "2 do not occur" in found.text
    assert "255 is void" in found.text
    assert all((labels[-3:] == IGNORE).all() for labels in found.labels)
    four = understood(encode, classes=("ground", "corner", "disc", "bar"))
    assert all((labels[-3:] == 3).all() for labels in four.labels), "as many names as values"


def test_several_colours(understood, own) -> None:
    def encode(inside: np.ndarray) -> Image.Image:
        pixels = np.array(own.colours(inside))
        pixels[:6, :6] = (0, 255, 0)
        return Image.fromarray(pixels)

    found = understood(encode)
    assert found.classes == ("background", "class_00ff00", "class_ff0000")
    assert "#0000ff, the most frequent, is the background" in found.text
    with pytest.raises(AuditError, match="does not say which class is which") as caught:
        understood(encode, classes=("a", "b", "c"))
    assert "--mask-values #rrggbb" in str(caught.value.remedy)
    told = understood(encode, mask_values="#ff0000=disc,#00ff00=void")
    assert told.classes == ("disc",)
    assert all((labels[:6, :6] == IGNORE).all() for labels in told.labels)
    with pytest.raises(AuditError, match="--ignore is for numbers"):
        understood(encode, ignore=255)
    with pytest.raises(AuditError, match="--ignore is for numbers"):
        understood(encode, mask_values="#ff0000=disc", ignore=255)
    with pytest.raises(AuditError, match="names numbers, but the masks hold the colours"):
        understood(encode, mask_values="255=disc")


def test_empty_masks_are_refused(understood, own) -> None:
    with pytest.raises(AuditError, match="no mask has any foreground: the value 0 alone"):
        understood(own.levels(0, 0))
    with pytest.raises(AuditError, match="no mask has any foreground"):
        understood(own.levels(0, 0), ignore=0)
    with pytest.raises(AuditError, match="names 2 classes, but the masks hold the value 0 alone"):
        understood(own.levels(0, 0), ignore=0, classes="a,b")


def test_void_within_a_range_of_a_class(understood, own) -> None:
    found = understood(own.three_levels, mask_values="100-254=disc", ignore=127)
    assert all((labels[5:15, 3:12] == IGNORE).all() for labels in found.labels)
    pixels = np.concatenate([labels.ravel() for labels in found.labels])
    assert found.described.class_pixels == ((pixels == 0).sum(), (pixels == 1).sum())
    assert f"{(pixels == IGNORE).mean():.1%} of the pixels are void" in found.text


def test_too_many_classes(understood) -> None:
    told = ",".join(f"{value}=c{value}" for value in range(1, 251))
    with pytest.raises(AuditError, match="251 classes; at most 250 are possible"):
        understood(indices(15), mask_values=told)


def test_photographs_are_no_masks(understood, own) -> None:
    with pytest.raises(AuditError, match=r"6 of 6 pairs.*0\.png holds \d+ different values"):
        understood(lambda inside: own.photograph(0, inside).resize((200, 150)))


REFUSED = {
    "float": (lambda m: Image.fromarray(m.astype(np.float32)), ".tif", "stored as F"),
    "transparency": (
        lambda m: Image.fromarray(np.dstack([m * np.uint8(255)] * 4)),
        ".png",
        "has transparent parts",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_masks_of_other_modes(name: str, understood) -> None:
    encode, suffix, says = REFUSED[name]
    with pytest.raises(AuditError, match=says):
        understood(encode, suffix)


def test_masks_of_another_size(understood, own) -> None:
    def encode(inside: np.ndarray) -> Image.Image:
        return own.levels(0, 255)(inside).resize((51, 38), Image.Resampling.NEAREST)

    with pytest.raises(AuditError, match=r"6 masks are of another size .*51x38, image 64x48") as e:
        understood(encode)
    assert "--resize-masks" in str(e.value.remedy)
    found = understood(encode, resize_masks=True)
    assert "they are resized, by nearest neighbour" in found.text
    for labels, inside in zip(found.labels, discs(own), strict=True):
        assert labels.shape == inside.shape
        assert (labels & inside).sum() / (labels | inside).sum() > 0.85


def test_masks_of_another_shape_are_never_resized(understood, own) -> None:
    with pytest.raises(AuditError, match="of another shape than their image"):
        understood(
            lambda m: own.levels(0, 255)(m).transpose(Image.Transpose.ROTATE_90),
            resize_masks=True,
        )


def test_mask_values_as_text() -> None:
    assert parse_mask_values("0-99 = background, 255=a b") == (
        ValueRange(0, 99, "background"),
        ValueRange(255, 255, "a b"),
    )
    assert parse_mask_values("#00FF00=c") == (ValueRange(0x00FF00, 0x00FF00, "c", True),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1", "write VALUE=CLASS"),
        ("a=b", "write VALUE=CLASS"),
        ("5-2=b", "empty range"),
        ("#000000-9=b", "write VALUE=CLASS|range of colours"),
        ("1=a,#ff0000=b", "numbers or colours"),
        ("0-5=a,5=b", "overlap"),
        ("0=background,255=void", "no value is foreground"),
    ],
)
def test_mask_values_that_cannot_be_read(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_mask_values(text)
    with pytest.raises(ValueError, match=says):
        OwnOptions(mask_values=text)


def test_values_that_options_do_not_cover(understood, own) -> None:
    with pytest.raises(AuditError, match="--mask-values does not list 127"):
        understood(own.three_levels, mask_values="0=background,254=disc")
    with pytest.raises(AuditError, match="--classes names a, b, --mask-values background, disc"):
        understood(own.three_levels, mask_values="254=disc", classes="a,b")
    with pytest.raises(AuditError, match="--classes names 2 classes, but the masks hold"):
        understood(own.three_levels, classes="a,b")


@given(
    values=st.lists(st.integers(0, 255), min_size=2, max_size=6, unique=True),
    kind=st.sampled_from(["grey", "index"]),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_masks_are_read_as_told_or_refused(values, kind, data: st.DataObject) -> None:
    """If every level is named, these are the classes; a guess labels every level or is refused."""
    drawn = data.draw(st.lists(st.sampled_from(values), min_size=10, max_size=10))
    pixels = np.array([*values, *drawn], np.int64)
    counts = Counter(pixels.tolist())
    seen = Survey(kind, False, counts, [frozenset(counts)], 0, 0, [])
    names = ["background", *(f"c{index}" for index in range(1, len(values)))]
    told = ",".join(f"{v}={n}" for v, n in zip(sorted(values), names, strict=True))
    read = understand(seen, OwnOptions(mask_values=told), Path("data"))
    labels = read.reading.labels(RawMask(kind, pixels[None]))
    assert np.array_equal(np.sort(values)[labels[0]], pixels)
    with contextlib.suppress(AuditError):
        guessed = understand(seen, OwnOptions(), Path("data"))
        assert sum(guessed.pixels.values()) == len(pixels)
        assert any(guessed.pixels[label] for label in range(1, IGNORE))
