"""Bundles: recognised by their contents, prepared with their own lists, never called official."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from naslora.core.errors import ArchiveError, AuditError
from naslora.core.files import sha256
from naslora.data.archives.bundles import bundle_for, find_bundle, from_bundle, is_bundle
from naslora.data.archives.catalogue import load_archives
from naslora.data.archives.sources import choose, collect, replacement_hint
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.prepare import prepare
from naslora.study.layout import Layout
from naslora.study.settings import Study

KNOWN = Path(__file__).parents[3] / "config"
COUNTS = {"train": 6, "val": 2, "test": 3}


@pytest.fixture
def fill(kit: SimpleNamespace) -> Callable[..., bytes]:
    """The zip of a bundle: a list for each part, and JPEG images with masks of these values."""

    def build(
        folder: str,
        counts: dict[str, int] | None = None,
        stem: str = "{part}{index:03}",
        values: tuple[int, int] = (0, 255),
        **changes: bytes,
    ) -> bytes:
        files = {}
        for part, count in (counts or COUNTS).items():
            rows = [",image,label"]
            for index in range(count):
                image, _ = kit.pair(len(files))
                mask = np.full((20, 24), values[0], np.uint8)
                mask[3:9, 4:12] = values[1]
                name = stem.format(part=part, index=index)
                files[f"{folder}/{part}/images/{name}.jpg"] = image
                files[f"{folder}/{part}/masks/{name}.png"] = kit.encode(mask, "PNG")
                rows.append(f"{index},{part}/images/{name}.jpg,{part}/masks/{name}.png")
            files[f"{folder}/{part}.csv"] = ("\n".join(rows) + "\n").encode()
        files |= {f"{folder}/{name}": data for name, data in changes.items()}
        return kit.zipped(files)

    return build


@pytest.fixture
def leaf(study: Study) -> Study:
    return study.model_copy(update={"tasks": ["leaf"]})


def audit(study: Study, task: str) -> dict:
    return json.loads(Layout.of(study).audit(task).read_text())


@pytest.mark.parametrize("name", ["leaf_disease_segmentation.zip", "archive.zip"])
def test_a_bundle_stands_in_for_a_manual_archive(name: str, leaf: Study, fill, caplog) -> None:
    (leaf.archives / name).write_bytes(fill("leaf_disease_segmentation"))
    manifest = prepare(leaf, "leaf", KNOWN)
    assert {part: len(manifest.of(part)) for part in COUNTS} == COUNTS
    assert [s.id for s in manifest.of("test")] == ["test000", "test001", "test002"]
    (archive,) = manifest.archives
    assert archive.file == "autogluon-leaf_disease_segmentation.zip"
    assert archive.official is False
    assert "prepared from AutoGluon's bundle of Leaf Disease Segmentation" in caplog.text
    found = {f["kind"]: f for f in audit(leaf, "leaf")["findings"]}
    assert audit(leaf, "leaf")["source"] == "other"
    assert {f["text"] for f in audit(leaf, "leaf")["findings"] if f["kind"] == "unused"} == {
        "file left out: list of images"
    }
    # The official masks hold 0 and 1, these held 0 and 255.
    assert len(found["recoded"]["items"]) == 11
    root = Layout.of(leaf).prepared("leaf")
    labels = get_benchmark("leaf").read_mask(root / manifest.samples[0].mask)
    assert labels.sum() == 6 * 8


def test_masks_in_the_official_encoding_stay_as_they_are(leaf: Study, fill) -> None:
    data = fill("leaf_disease_segmentation", values=(0, 1))
    (leaf.archives / "leaf_disease_segmentation.zip").write_bytes(data)
    prepare(leaf, "leaf", KNOWN)
    assert "recoded" not in {f["kind"] for f in audit(leaf, "leaf")["findings"]}


def test_masks_of_no_known_encoding_are_refused(leaf: Study, fill) -> None:
    data = fill("leaf_disease_segmentation", values=(3, 100))
    (leaf.archives / "leaf_disease_segmentation.zip").write_bytes(data)
    with pytest.raises(AuditError, match=r"mask values that are not labels \(11\)"):
        prepare(leaf, "leaf", KNOWN)


def test_the_official_archive_comes_first(leaf: Study, fill, kit: SimpleNamespace) -> None:
    (leaf.archives / "polyp.zip").write_bytes(fill("polyp"))
    (leaf.archives / "leaf_disease_segmentation.zip").write_bytes(fill("leaf_disease_segmentation"))
    assert choose(leaf, "leaf", KNOWN).is_bundle
    (leaf.archives / "leaf-disease-segmentation.zip").write_bytes(kit.zipped({"orig_data/x": b""}))
    assert not choose(leaf, "leaf", KNOWN).is_bundle


def test_what_can_be_downloaded_is_not_replaced_unasked(study: Study, fill) -> None:
    counts = {"train": 4, "val": 2, "test_Kvasir": 2, "test_CVC-ClinicDB": 2}
    (study.archives / "polyp.zip").write_bytes(fill("polyp", counts))
    assert not choose(study, "kvasir", KNOWN).is_bundle
    assert choose(study, "cvc_clinicdb", KNOWN).is_bundle
    assert choose(study.model_copy(update={"bundles": ["kvasir"]}), "kvasir", KNOWN).is_bundle


def test_a_bundle_under_the_official_name(study: Study, fill) -> None:
    path = study.archives / "SBU-shadow.zip"
    path.write_bytes(fill("SBU-shadow"))
    choice = choose(study, "sbu", KNOWN)
    assert choice.is_bundle
    ((found, record),) = collect(choice, study).values()
    assert (found, record.file, record.official) == (path, "autogluon-SBU-shadow.zip", False)


def test_a_bundle_of_two_sets_is_told_apart_by_names(study: Study, fill) -> None:
    known = load_archives(KNOWN)
    kvasir, cvc = "cju0qkwl35piu0993l0dewei2", "{index}"
    (study.archives / "polyp.zip").write_bytes(
        _merged(
            fill("polyp", {"train": 4, "val": 2, "test_CVC-ClinicDB": 2}, cvc),
            fill("polyp", {"train": 5, "val": 1, "test_Kvasir": 3}, kvasir[:-2] + "{index:02}"),
        )
    )
    for task, counts in {"kvasir": (5, 1, 3), "cvc_clinicdb": (4, 2, 2)}.items():
        chosen = study.model_copy(update={"bundles": ["kvasir"]})
        manifest = prepare(chosen, task, KNOWN)
        assert tuple(len(manifest.of(part)) for part in ("train", "val", "test")) == counts
        names = [Path(sample.image).name for sample in manifest.samples]
        assert all((name[0] == "c") == (task == "kvasir") for name in names)
        texts = {f["text"]: f["items"] for f in audit(chosen, task)["findings"]}
        other = texts["file left out: of another benchmark in the same bundle"]
        assert len(other) == 12
    assert known["polyp_bundle"].replaces["kvasir"].caveat


def _merged(one: bytes, two: bytes) -> bytes:
    """One zip with the files of both; lists of the same name one after the other."""
    files: dict[str, bytes] = {}
    for data in (one, two):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                content = archive.read(name)
                if name in files:
                    content = files[name] + content.partition(b"\n")[2]
                files[name] = content
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_names_of_another_kind_are_an_error_and_not_an_empty_set(study: Study, fill) -> None:
    counts = {"train": 4, "val": 2, "test_CVC-ClinicDB": 2}
    (study.archives / "polyp.zip").write_bytes(fill("polyp", counts, "frame{index}"))
    with pytest.raises(AuditError, match=r"no image in train\.csv is named like those of CVC"):
        prepare(study, "cvc_clinicdb", KNOWN)


def test_camo_alone_is_not_the_benchmark(study: Study, fill, caplog) -> None:
    counts = {"train": 5, "val": 2, "test_CAMO": 3}
    (study.archives / "camo_sem_seg.zip").write_bytes(fill("camo_sem_seg", counts))
    manifest = prepare(study, "cod", KNOWN)
    assert len(manifest.of("camo")) == 3
    assert manifest.of("cod10k") == manifest.of("chameleon") == []
    assert "not comparable" in caplog.text
    choice = choose(study, "cod", KNOWN)
    assert choice.pairs == 1250
    official = choose(study.model_copy(update={"archives": study.results}), "cod", KNOWN)
    assert "not comparable" in replacement_hint(official, study)


BROKEN = {
    "no columns": ({"train.csv": b"a,b\n1,2\n"}, "without the columns image and label"),
    "no rows": ({"val.csv": b"image,label\n"}, "list without rows"),
    "no label": ({"val.csv": b"image,label\nx.jpg,\n"}, "without the columns image and label"),
    "escape": ({"val.csv": b"image,label\n../x.jpg,../x.png\n"}, "lead out of the bundle"),
    "absolute": ({"val.csv": b"image,label\n/x.jpg,/x.png\n"}, "lead out of the bundle"),
    "no text": ({"val.csv": b"\xff\xfe\x00"}, "cannot be read: UnicodeDecodeError"),
    "not there": ({"val.csv": b"image,label\nx.jpg,x.png\n"}, r"the bundle lacks \(2\)"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_lists(name: str, leaf: Study, fill) -> None:
    changes, says = BROKEN[name]
    data = fill("leaf_disease_segmentation", **changes)
    (leaf.archives / "leaf_disease_segmentation.zip").write_bytes(data)
    with pytest.raises(AuditError, match=says):
        prepare(leaf, "leaf", KNOWN)


def test_one_name_in_two_parts(leaf: Study, fill) -> None:
    data = fill("leaf_disease_segmentation", stem="{index:03}")
    (leaf.archives / "leaf_disease_segmentation.zip").write_bytes(data)
    manifest = prepare(leaf, "leaf", KNOWN)
    assert [s.id for s in manifest.of("train")][:3] == ["003", "004", "005"]
    assert [s.id for s in manifest.of("val")] == ["val_000", "val_001"]


def test_what_is_no_bundle(study: Study, fill, kit: SimpleNamespace) -> None:
    bundle = bundle_for("leaf", load_archives(KNOWN).values())
    path = study.archives / "leaf_disease_segmentation.zip"
    for data in (kit.zipped(kit.kvasir_files()), b"", b"<html>", b"PK\x03\x04", fill("polyp")):
        path.write_bytes(data)
        assert not is_bundle(path, bundle)
        assert find_bundle(bundle, study.archives) is None
    with pytest.raises(ArchiveError, match="needs a login or a browser"):
        prepare(study, "leaf", KNOWN)
    assert bundle_for("trans10k_v1", load_archives(KNOWN).values()) is None


def test_a_study_may_ask_for_the_download(
    file_server, fill, study: Study, tmp_path: Path, monkeypatch
) -> None:
    file_server.body = fill("leaf_disease_segmentation")
    entries = yaml.safe_load((KNOWN / "archives.yaml").read_text())
    entries["leaf_bundle"]["url"] = file_server.url
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "archives.yaml").write_text(yaml.safe_dump(entries))
    with pytest.raises(ArchiveError, match=r"--set bundles=\[leaf\]"):
        prepare(study, "leaf", tmp_path / "config")
    asked = study.model_copy(update={"bundles": ["leaf"]})
    manifest = prepare(asked, "leaf", tmp_path / "config")
    assert len(manifest.samples) == sum(COUNTS.values())
    assert len(file_server.requests) == 1
    assert (study.archives / "autogluon-leaf_disease_segmentation.zip").is_file()
    # A prepared task stays as it is when the archive is deleted, or not requested any more.
    files = [archive.file for archive in manifest.archives]
    (study.archives / "autogluon-leaf_disease_segmentation.zip").unlink()
    assert choose(study, "leaf", tmp_path / "config", files).is_bundle


def test_the_split_is_the_lists_whatever_the_seed(fill, leaf: Study, tmp_path: Path) -> None:
    (leaf.archives / "x.zip").write_bytes(fill("leaf_disease_segmentation"))
    one = prepare(leaf, "leaf", KNOWN)
    data = leaf.data.model_copy(update={"split_seed": 7})
    two = prepare(leaf.model_copy(update={"data": data}), "leaf", KNOWN)
    assert one.samples == two.samples


def test_a_bundled_benchmark_is_its_benchmark_otherwise() -> None:
    archives = load_archives(KNOWN)
    for bundle in (archive for archive in archives.values() if archive.replaces):
        for task, replacement in bundle.replaces.items():
            benchmark = get_benchmark(task)
            bundled = from_bundle(benchmark, bundle)
            assert bundled.archives == (bundle.key,)
            assert (bundled.name, bundled.masks) == (benchmark.name, benchmark.masks)
            assert set(replacement.tests) <= set(benchmark.test_sets)
            assert get_benchmark(task) is benchmark


def rows(pairs: list[tuple[str, str]]) -> bytes:
    return "\n".join(["image,label", *(f"{image},{mask}" for image, mask in pairs), ""]).encode()


def test_a_rewritten_mask_replaces_no_other_file(leaf: Study, fill, kit: SimpleNamespace) -> None:
    """Image `x/3.png` and mask `x/3.bmp`: the mask becomes a PNG file of another name."""
    files = {}
    for part, count in COUNTS.items():
        pairs = []
        for index in range(count):
            image, _ = kit.pair(len(files))
            mask = np.zeros((20, 24), np.uint8)
            mask[3:9, 4:12] = 255
            pixels = Image.open(io.BytesIO(image))
            files[f"leaf_disease_segmentation/{part}{index}.png"] = kit.encode(pixels, "PNG")
            files[f"leaf_disease_segmentation/{part}{index}.bmp"] = kit.encode(mask, "BMP")
            pairs.append((f"{part}{index}.png", f"{part}{index}.bmp"))
        files[f"leaf_disease_segmentation/{part}.csv"] = rows(pairs)
    (leaf.archives / "x.zip").write_bytes(kit.zipped(files))
    manifest = prepare(leaf, "leaf", KNOWN)
    root = Layout.of(leaf).prepared("leaf")
    for sample in manifest.samples:
        assert sample.image != sample.mask
        assert (root / sample.image).read_bytes() in files.values()
        assert get_benchmark("leaf").read_mask(root / sample.mask).sum() == 6 * 8


@pytest.mark.parametrize("values", [(0, 255), (0, 1)])
def test_a_mask_of_two_images(values, leaf: Study, fill, kit: SimpleNamespace) -> None:
    name = "test/images/test{0}.jpg,test/masks/test000.png"
    pairs = [name.format(i).split(",") for i in ("000", "001")]
    changes = {"test.csv": rows(pairs)}
    data = fill("leaf_disease_segmentation", values=values, **changes)
    (leaf.archives / "x.zip").write_bytes(data)
    manifest = prepare(leaf, "leaf", KNOWN)
    one, two = manifest.of("test")
    assert one.mask == two.mask
    (found,) = (f for f in audit(leaf, "leaf")["findings"] if f["kind"] == "shared_mask")
    assert found["severity"] == "oddity"
    assert "test000.jpg" in found["items"][0]
    assert "test001.jpg" in found["items"][0]


def test_an_image_that_is_its_own_mask(leaf: Study, fill) -> None:
    changes = {"test.csv": b"image,label\ntest/images/test000.jpg,test/images/test000.jpg\n"}
    (leaf.archives / "x.zip").write_bytes(fill("leaf_disease_segmentation", **changes))
    with pytest.raises(AuditError, match=r"image that is its own mask \(1\): .*test000\.jpg"):
        prepare(leaf, "leaf", KNOWN)


def test_a_bundle_is_pinned_at_first_use(leaf: Study, fill) -> None:
    path = leaf.archives / "x.zip"
    path.write_bytes(fill("leaf_disease_segmentation"))
    prepare(leaf, "leaf", KNOWN)
    pins = json.loads((leaf.archives / "archives.lock.json").read_text())
    assert pins == {
        "leaf_bundle": {"x.zip": {"bytes": path.stat().st_size, "sha256": sha256(path)}}
    }
    path.write_bytes(fill("leaf_disease_segmentation", {"train": 9, "val": 2, "test": 3}))
    with pytest.raises(ArchiveError, match="not the file that was pinned"):
        prepare(leaf, "leaf", KNOWN)
