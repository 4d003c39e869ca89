"""Trans10K, both editions: layout, mask encodings, turned photographs, and drawn glass."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from naslora.data import images
from naslora.data.audit.checks import audit
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.benchmarks.trans10k import Trans10K
from naslora.synthetic.archive import generated_mark
from naslora.synthetic.benchmarks import trans10k_v1 as v1_generator
from naslora.synthetic.benchmarks import trans10k_v2 as v2_generator
from naslora.synthetic.generators import find_generator
from naslora.synthetic.glass import stuff, vessels
from naslora.synthetic.glass.rooms import empty_room
from naslora.synthetic.glass.scene import KINDS, draw_glass
from naslora.synthetic.streams import streams

V1: Trans10K = get_benchmark("trans10k_v1")  # type: ignore[assignment]
V2: Trans10K = get_benchmark("trans10k_v2")  # type: ignore[assignment]
EDITIONS = pytest.mark.parametrize("edition", [V1, V2], ids=lambda edition: edition.name)
COUNT = 48


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("generated")
    return {
        edition.name: find_generator(edition.name).generate(folder, COUNT, seed=3)[0]
        for edition in (V1, V2)
    }


@pytest.fixture
def unpacked(archives: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """Unpack an edition's archive under its key, with its folder renamed or omitted; the root."""

    def unpack(edition: Trans10K, folder: str | None = None) -> Path:
        with zipfile.ZipFile(archives[edition.name]) as archive:
            for name in archive.namelist():
                own, inner = name.split("/", 1)
                home = own if folder is None else folder
                path = tmp_path / edition.archives[0] / home / inner
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))
        return tmp_path

    return unpack


def contents(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist()}


def mask_name(image: str, edition: Trans10K) -> str:
    return image.replace("/images/", f"/{edition.mask_folder}/").replace(".jpg", "_mask.png")


@EDITIONS
def test_same_arguments_same_bytes_and_fewer_are_the_first(
    edition: Trans10K, archives: dict[str, Path], tmp_path: Path
) -> None:
    every = contents(archives[edition.name])
    again = find_generator(edition.name).generate(tmp_path, COUNT, seed=3)[0]
    assert again.read_bytes() == archives[edition.name].read_bytes()
    few = contents(find_generator(edition.name).generate(tmp_path, 12, seed=3)[0])
    assert len(few) == 24
    assert few.items() < every.items()
    other = contents(find_generator(edition.name).generate(tmp_path, 12, seed=4)[0])
    assert not set(few.values()) & set(other.values())
    assert generated_mark(archives[edition.name]) == (
        f"generated: {edition.name}, {COUNT} images, seed 3"
    )


def test_official_folders(archives: dict[str, Path]) -> None:
    places = {
        V1: ("train", "validation/easy", "validation/hard", "test/easy", "test/hard"),
        V2: ("train", "validation", "test"),
    }
    for edition, roots in {V1: "Trans10K/{}/{}", V2: "Trans10K_cls12/{}/{}"}.items():
        folders = {str(Path(name).parent) for name in contents(archives[edition.name])}
        kinds = ("images", "masks" if edition is V1 else "masks_12")
        assert folders == {roots.format(p, kind) for p in places[edition] for kind in kinds}
        names = [name for name in contents(archives[edition.name]) if "/images/" in name]
        assert all(mask_name(n, edition) in contents(archives[edition.name]) for n in names)
        assert any(name.endswith("/1.jpg") for name in names)
        assert len(names) == COUNT


def test_masks_are_encoded_as_official_ones(archives: dict[str, Path]) -> None:
    """Red things of mean 85 and white stuff of 255 in v1; indices into a palette in v2."""
    means: set[float] = set()
    indices: set[int] = set()
    for name, data in contents(archives["trans10k_v1"]).items():
        if "/masks/" in name:
            mask = Image.open(io.BytesIO(data))
            assert mask.mode == "RGB"
            means |= set(np.unique(np.asarray(mask).mean(axis=2)).tolist())
    for name, data in contents(archives["trans10k_v2"]).items():
        if "/masks_12/" in name:
            mask = Image.open(io.BytesIO(data))
            assert mask.mode == "P"
            assert mask.getpalette()[:3] == [0, 0, 0]  # type: ignore[index]
            indices |= set(np.unique(np.asarray(mask)).tolist())
    assert means == {0, 85, 255}
    assert indices == set(range(12))


def test_all_classes_are_among_the_test_images(archives: dict[str, Path]) -> None:
    """A class that no test image has would be missing in the record, and in Table 3."""
    found: set[int] = set()
    for name, data in contents(archives["trans10k_v2"]).items():
        if "/test/masks_12/" in name:
            found |= set(np.unique(np.asarray(Image.open(io.BytesIO(data)))).tolist())
    assert found == set(range(12))


@EDITIONS
def test_some_photographs_are_turned_and_their_masks_are_not(
    edition: Trans10K, archives: dict[str, Path]
) -> None:
    files = contents(archives[edition.name])
    names = [name for name in files if "/images/" in name]
    turned = [name for name in names if images.is_rotated(files[name])]
    assert 0.1 < len(turned) / len(names) < 0.3
    tags = {Image.open(io.BytesIO(files[name])).getexif()[0x0112] for name in turned}
    assert tags == {6, 8}
    for name in names:
        mask = Image.open(io.BytesIO(files[mask_name(name, edition)]))
        assert images.decode(files[name]).size == mask.size
        assert not images.is_rotated(files[mask_name(name, edition)])
        stored = Image.open(io.BytesIO(files[name])).size
        assert (stored == mask.size) != (name in turned) or mask.width == mask.height


def test_turned_photographs_are_upright_again(archives: dict[str, Path]) -> None:
    """Decoded, they are what was drawn, up to what JPEG loses; turned otherwise, they are not."""
    files = contents(archives["trans10k_v2"])
    for index in (2, 8):
        rng = list(streams(3, index + 1, 0))[index]
        drawn, labels = draw_glass(rng, KINDS[index % len(KINDS)])
        name = f"Trans10K_cls12/train/images/{index + 1}.jpg"
        assert images.is_rotated(files[name])
        found = np.asarray(images.decode(files[name]), float)
        assert np.abs(found - drawn).mean() < 4
        assert np.abs(found[::-1, ::-1] - drawn).mean() > 12
        mask = Image.open(io.BytesIO(files[mask_name(name, V2)]))
        assert np.array_equal(np.asarray(mask), labels)


@EDITIONS
def test_splits_are_the_official_ones(edition: Trans10K, unpacked: Callable[..., Path]) -> None:
    root = unpacked(edition)
    listing = edition.samples(root)
    assert (listing.findings, listing.left_out) == ([], {})
    assert len(listing.samples) == len({s.id for s in listing.samples}) == COUNT
    splits = edition.split(listing.samples, seed=0)
    assert splits == edition.split(listing.samples[::-1], seed=5)
    assert list(splits) == ["train", "val", *edition.test_sets]
    place_of = {s.id: s.image.split("/images/")[0].split("/", 2)[2] for s in listing.samples}
    for split, ids in splits.items():
        assert ids == sorted(ids)
        assert {edition.places[place_of[id_]] for id_ in ids} == {split}
    assert sum(map(len, splits.values())) == COUNT
    assert sum(edition.expected.values()) == 10428


@pytest.mark.parametrize(
    ("edition", "folder"), [(V1, ""), (V1, "data"), (V2, "Trans10K_v2"), (V2, "")]
)
def test_other_root_folders_are_recognised(
    edition: Trans10K, folder: str, unpacked: Callable[..., Path]
) -> None:
    listing = edition.samples(unpacked(edition, folder))
    assert len(listing.samples) == COUNT
    assert not listing.findings


def test_half_pairs_and_missing_folders_are_named(unpacked: Callable[..., Path]) -> None:
    root = unpacked(V1)
    home = root / "trans10k_v1" / "Trans10K"
    (home / "train/masks/1_mask.png").rename(home / "train/masks/1.png")
    (home / "test/hard/images/2.jpg").unlink()
    for path in (home / "validation/easy/masks").iterdir():
        path.unlink()
    (home / "validation/easy/masks").rmdir()
    found = {f.kind: list(f.items) for f in V1.samples(root).findings if f.kind == "layout"}
    assert "trans10k_v1/Trans10K/validation/easy/masks" in found["layout"][0]
    items = {item for finding in V1.samples(root).findings for item in finding.items}
    assert "trans10k_v1/Trans10K/train/images/1.jpg" in items
    assert "trans10k_v1/Trans10K/test/hard/masks/2_mask.png" in items


def test_a_mask_that_is_turned_itself_is_an_error(unpacked: Callable[..., Path]) -> None:
    root = unpacked(V2)
    path = root / "trans10k_v2/Trans10K_cls12/train/masks_12/3_mask.png"
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)
    result = audit(V2, root, V2.samples(root), 0, "generated")
    assert [finding.kind for finding in result.errors] == ["size"]
    assert "train/images/3.jpg" in result.errors[0].items[0]


def test_easy_and_hard_are_counted_together(
    unpacked: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = unpacked(V1)
    counts = {split: len(ids) for split, ids in V1.split(V1.samples(root).samples, 0).items()}
    tests = counts["easy"] + counts["hard"]
    here = {"train": counts["train"], "val": counts["val"], "easy+hard": tests}
    monkeypatch.setattr(type(V1), "expected", here)
    assert not audit(V1, root, V1.samples(root), 0, "official").errors
    monkeypatch.setattr(type(V1), "expected", {**here, "easy+hard": tests + 1})
    (finding,) = audit(V1, root, V1.samples(root), 0, "official").errors
    assert finding.kind == "counts"
    assert list(finding.items) == [f"easy+hard {tests} instead of {tests + 1}"]


@EDITIONS
@hypothesis_settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_masks_decode_to_what_was_encoded(edition: Trans10K, data: st.DataObject) -> None:
    highest = len(edition.classes) - 1
    shape = st.tuples(st.integers(1, 9), st.integers(1, 9))
    labels = data.draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, highest)))
    mask = edition.masks.encode(labels)
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    decoded = edition.decode_mask(images.decode(buffer.getvalue()))
    assert decoded.problem is None
    assert decoded.grey == 0
    assert np.array_equal(decoded.labels, labels)


def test_masks_of_other_colours_and_modes() -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    pixels[0, :3] = [(0, 255, 0), (85, 85, 85), (255, 255, 255)]
    decoded = V1.decode_mask(Image.fromarray(pixels))
    assert decoded.labels[0].tolist() == [1, 1, 2, 0, 0]
    assert V1.decode_mask(Image.fromarray(pixels).convert("RGBA")).problem is None
    pixels[2, 2] = (200, 100, 0)
    decoded = V1.decode_mask(Image.fromarray(pixels))
    assert decoded.grey == pytest.approx(1 / 20)
    assert decoded.problem == "pixels of mean 100, where only 0, 85, 255 are known"
    assert "I;16" in str(V1.decode_mask(Image.new("I;16", (3, 3))).problem)
    colours = Image.new("RGB", (3, 3), (200, 0, 0))
    assert "RGB" in str(V2.decode_mask(colours).problem)
    twelve = Image.fromarray(np.full((3, 3), 12, np.uint8))
    assert "12" in str(V2.decode_mask(twelve).problem)


def test_the_generators_classes_are_the_benchmarks() -> None:
    assert V2.classes == ("background", *KINDS)
    things = ("jar or tank", "eyeglass", "cup", "glass bowl", "water bottle")
    assert V1.classes == ("background", "things", "stuff")
    for rng, again in zip(streams(3, 6), streams(3, 6), strict=True):
        kinds, labels = v2_generator.draw(rng)[1], v1_generator.draw(again)[1]
        thing = np.isin(kinds, [V2.classes.index(name) for name in things])
        assert np.array_equal(labels, np.where(kinds == 0, 0, np.where(thing, 1, 2)))


def test_metrics_are_those_of_the_tables() -> None:
    from naslora.evaluation.metrics import make_metrics
    from naslora.report.tables.table2 import COLUMNS as TABLE2
    from naslora.report.tables.table3 import COLUMNS as TABLE3

    for edition, columns in ((V1, TABLE2), (V2, TABLE3)):
        assert {column.metric for column in columns} <= set(edition.metrics)
        make_metrics(edition.classes, edition.metrics)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_and_can_be_seen(kind: str) -> None:
    """Its region is large enough, and its outline shows against what is around it."""
    contrasts = []
    for rng in streams(11, 5):
        image, labels = draw_glass(rng, kind)
        assert image.shape == (*labels.shape, 3)
        assert 160 <= min(labels.shape) <= max(labels.shape) <= 260
        assert labels.max() <= len(KINDS)
        here = labels == KINDS.index(kind) + 1
        contrasts.append((here.mean(), _edge(image, here)))
    shares, edges = zip(*contrasts, strict=True)
    # A thing may hide another of its own image, but not in most of them.
    assert np.median(shares) > 0.008
    assert np.median(edges) > 1.2


def _edge(image: np.ndarray, here: np.ndarray) -> float:
    """Mean gradient on the outline of a region, relative to that of the image."""
    gradient = np.hypot(*np.gradient(image.mean(axis=2)))
    outline = np.hypot(*np.gradient(here.astype(float))) > 0
    return float(gradient[outline].mean() / gradient.mean()) if outline.any() else 0.0


def test_kinds_look_unlike_each_other() -> None:
    """The nearest mean colour and texture names the kind of a region far more often than chance."""
    looks: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    for kind in KINDS:
        for rng in streams(5, 12):
            image, labels = draw_glass(rng, kind)
            here = labels == KINDS.index(kind) + 1
            if here.any():
                looks[kind].append(_look(image, here))
    centres = {kind: np.mean(found[:6], axis=0) for kind, found in looks.items()}
    spread = np.std([look for found in looks.values() for look in found], axis=0)
    right = [
        kind == min(KINDS, key=lambda k: np.abs((look - centres[k]) / spread).sum())
        for kind in KINDS
        for look in looks[kind][6:]
    ]
    assert np.mean(right) > 0.4, "chance is 0.09"


def _look(image: np.ndarray, here: np.ndarray) -> np.ndarray:
    pixels = image[here].astype(float)
    rows, columns = np.nonzero(here)
    box = np.ptp(rows) + 1, np.ptp(columns) + 1
    shape = [np.log(box[0] / box[1]), here.sum() / (box[0] * box[1]), here.mean() ** 0.5]
    return np.array([*(pixels.mean(axis=0) / image.mean()), pixels.std() / image.std(), *shape])


def test_hard_images_hold_less_glass() -> None:
    shares = {
        hard: np.mean(
            [
                (draw_glass(rng, KINDS[i % 11], hard=hard)[1] > 0).mean()
                for i, rng in enumerate(streams(2, 33))
            ]
        )
        for hard in (False, True)
    }
    assert shares[True] < 0.9 * shares[False]


@pytest.mark.parametrize("draw", [vessels.draw_cup, vessels.draw_bowl])
def test_what_is_behind_glass_shows_through_it(draw: Callable[..., None]) -> None:
    seen = []
    for level in (0.3, 0.6):
        rng = np.random.default_rng(4)
        scene = empty_room(rng, (160, 180), table=True, clarity=1.0)
        scene.image[:] = level
        draw(scene, 7, 90.0, 140.0, 100.0)
        seen.append((scene.image, scene.labels == 7))
    assert np.array_equal(seen[0][1], seen[1][1])
    here = seen[0][1]
    assert 0.02 < here.mean() < 0.5
    through = (seen[1][0] - seen[0][0])[here].mean() / 0.3
    assert 0.3 < through < 0.95
    for image, _ in seen:
        assert image[here].std() > 0.02


def test_opaque_things_in_front_are_background() -> None:
    from naslora.synthetic.glass.rooms import draw_opaque_thing

    scene = empty_room(np.random.default_rng(0), (160, 200), table=False, clarity=1.0)
    stuff.draw_floor_glass(scene, 8, 10, 190)
    before = scene.labels == 8
    draw_opaque_thing(scene, 100, scene.horizon + 8, 70)
    hidden = before & (scene.labels == 0)
    assert 0.01 < hidden.mean() < 0.5


def test_both_editions_are_prepared(kit: SimpleNamespace, tmp_path: Path) -> None:
    """From the archive to the manifest, through the code that real archives go through."""
    from naslora.data.dataset import SegmentationDataset
    from naslora.data.prepare import prepare
    from naslora.study.layout import Layout
    from naslora.study.settings import load_study

    for edition in (V1, V2):
        settings = {"generated": {edition.name: 20}, "results": str(tmp_path / "results")}
        own = load_study("rehearsal", settings, kit.root / "config")
        manifest = prepare(own, edition.name, kit.root / "config")
        assert manifest.generated
        assert manifest.classes == list(edition.classes)
        assert {split for split in manifest.splits if manifest.of(split)} == set(manifest.splits)
        data = SegmentationDataset(manifest, Layout.of(own).prepared(edition.name), "train", 48)
        assert {int(n) for i in range(len(data)) for n in data[i][1].unique()} <= set(
            range(len(edition.classes))
        )
        for index in range(len(data)):
            assert data.native_image(index).shape[:2] == data.native_mask(index).shape
