"""What the audit reports about usable data sets: leakage, and files that are odd but valid."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from naslora.core.errors import AuditError
from naslora.data.audit.checks import Audit
from naslora.data.audit.report import audit_json, audit_markdown
from naslora.data.audit.saved import read_audit
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.benchmarks.listing import Finding
from naslora.data.dataset import SegmentationDataset
from naslora.data.prepare import prepare
from naslora.study.layout import Layout
from naslora.study.settings import Study
from naslora.synthetic.generators import find_generator


@pytest.fixture(scope="module")
def drawn(kit: SimpleNamespace) -> list[tuple[Image.Image, bytes]]:
    """Drawn images; noise is no substitute, since it looks like nothing else, even re-encoded."""
    kvasir = find_generator("kvasir")
    pairs = [kvasir.draw(np.random.default_rng([8, index])) for index in range(12)]
    return [(Image.fromarray(image), kit.encode(labels * np.uint8(255))) for image, labels in pairs]


@pytest.fixture
def audited(kit: SimpleNamespace, study: Study, config):
    """Prepares images and masks, given by id, and returns the manifest, JSON and Markdown."""

    def run(images: dict[str, bytes], masks: dict[str, bytes]) -> SimpleNamespace:
        files = {f"Kvasir-SEG/images/{id_}.jpg": data for id_, data in images.items()}
        files |= {f"Kvasir-SEG/masks/{id_}.jpg": data for id_, data in masks.items()}
        (study.archives / "kvasir-seg.zip").write_bytes(kit.zipped(files))
        manifest = prepare(study, "kvasir", config())
        path = Layout.of(study).audit("kvasir")
        document = json.loads(path.read_text())
        return SimpleNamespace(
            manifest=manifest,
            json=document,
            text=path.with_suffix(".md").read_text(),
            findings={finding["kind"]: finding for finding in document["findings"]},
        )

    return run


def ids(count: int) -> list[str]:
    return [f"id{index:02}" for index in range(count)]


def test_near_duplicates_across_splits_are_leakage(drawn, audited, kit) -> None:
    images = {id_: kit.encode(image) for id_, (image, _) in zip(ids(12), drawn, strict=True)}
    masks = {id_: mask for id_, (_, mask) in zip(ids(12), drawn, strict=True)}
    plain = audited(images, masks)
    assert plain.findings.keys() == {"counts"} or plain.findings == {}
    assert plain.json["like_training_images"] == {"val": 0, "test": 0}
    assert "Leakage" not in plain.text

    split = {sample.id: sample.split for sample in plain.manifest.samples}
    train = [id_ for id_ in ids(12) if split[id_] == "train"]
    test, val = (next(i for i in ids(12) if split[i] == name) for name in ("test", "val"))
    source = {id_: drawn[int(id_[2:])] for id_ in ids(12)}
    # The test image is a training image, darker and compressed; the masks are its own.
    image, masks[test] = source[train[0]]
    images[test] = kit.encode(ImageEnhance.Brightness(image).enhance(0.9), quality=40)
    # The validation image is the very file of another one, and so is a third training image.
    images[val], masks[val] = images[train[1]], masks[train[1]]
    images[train[3]], masks[train[3]] = images[train[2]], masks[train[2]]
    # And two more training images are nearly the same.
    image, masks[train[5]] = source[train[4]]
    images[train[5]] = kit.encode(image, quality=60)
    leaky = audited(images, masks)
    found = leaky.findings
    near = found["near_duplicate_across"]
    assert near["severity"] == "oddity"
    assert len(near["items"]) == 1
    assert f"{test}.jpg [test]" in near["items"][0]
    assert f"{train[0]}.jpg [train]" in near["items"][0]
    assert " of 255 bits, r = 0.9" in near["items"][0] or "r = 1.000" in near["items"][0]
    assert f"{val}.jpg [val]" in found["duplicate_across"]["items"][0]
    assert len(found["duplicate_within"]["items"]) == 1
    assert len(found["near_duplicate_within"]["items"]) == 1
    assert leaky.json["like_training_images"]["test"] == 1
    assert leaky.json["like_training_images"]["val"] == 1
    count = sum(name == "val" for name in split.values())
    says = (
        f"at least 1 of {count} val images and 1 of 1 test images are identical or nearly identical"
    )
    assert f"**Leakage:** {says} to a training image, so scores may be too high." in leaky.text
    assert len(leaky.manifest.samples) == 12, "nothing is dropped"


def test_the_most_alike_are_listed_first(drawn, audited, kit) -> None:
    images = {id_: kit.encode(image) for id_, (image, _) in zip(ids(12), drawn, strict=True)}
    masks = {id_: mask for id_, (_, mask) in zip(ids(12), drawn, strict=True)}
    image, mask = drawn[0]
    for shift in range(6):
        moved = np.roll(np.asarray(image), (shift - 2) % 6, 1)
        images[f"zz{shift}"] = kit.encode(Image.fromarray(moved), quality=60)
        masks[f"zz{shift}"] = mask
    found = audited(images, masks).findings
    for kind in ("near_duplicate_across", "near_duplicate_within"):
        bits = [int(item.split("(")[1].split()[0]) for item in found[kind]["items"]]
        assert bits == sorted(bits)
        assert bits != sorted(bits, reverse=True)


def multiple_pictures(image: Image.Image) -> bytes:
    """A JPEG file with a second picture behind the first, as some cameras write it."""
    buffer = io.BytesIO()
    image.save(buffer, "MPO", save_all=True, append_images=[image.resize((8, 8))])
    return buffer.getvalue()


def test_odd_files_that_are_good(drawn, audited, kit, study: Study) -> None:
    images = {id_: kit.encode(image) for id_, (image, _) in zip(ids(12), drawn, strict=True)}
    masks = {id_: mask for id_, (_, mask) in zip(ids(12), drawn, strict=True)}
    images["id00"] = kit.encode(drawn[0][0], "PNG")
    images["id01"] = multiple_pictures(drawn[1][0])
    images["id02"] = kit.encode(drawn[2][0].convert("L"))
    images["id03"] = kit.encode(drawn[3][0].convert("RGBA"), "PNG")
    size = Image.open(io.BytesIO(masks["id04"])).size
    images["id04"] = kit.encode(Image.new("RGB", size, (200, 30, 30)))
    for name in ("日本", "caf\u00e9", "with space", "a'b&c;d"):
        images[name], masks[name] = kit.pair(len(name))
    result = audited(images, masks)
    prefix = "kvasir_seg/Kvasir-SEG/images/"
    assert result.findings["format"]["items"] == [
        f"{prefix}id00.jpg (PNG)",
        f"{prefix}id03.jpg (PNG)",
    ]
    assert result.findings["flat_image"]["items"] == [f"{prefix}id04.jpg"]
    assert {f["severity"] for f in result.findings.values()} == {"oddity"}
    assert {"日本", "caf\u00e9", "with space", "a'b&c;d"} <= {s.id for s in result.manifest.samples}
    assert "日本" not in result.text, "only what is odd is listed"
    root = Layout.of(study).prepared("kvasir")
    for split in result.manifest.splits:
        data = SegmentationDataset(result.manifest, root, split, 64)
        for index, sample in enumerate(data.samples):
            if sample.id in ("id00", "id01", "id03"):
                wanted = drawn[int(sample.id[2:])][0].resize((64, 64), Image.Resampling.BILINEAR)
                difference = data[index][0].permute(1, 2, 0).numpy() - np.asarray(wanted, float)
                assert np.abs(difference).mean() < 3


@pytest.mark.parametrize(("severity", "listed"), [("oddity", 200), ("error", 230)])
def test_long_lists(severity, listed: int) -> None:
    """All items of an error are listed, since the message refers to them; the JSON file has all."""
    finding = Finding("kind", severity, "something", [f"file{index:03}" for index in range(230)])
    one = Finding("other", severity, "something else", ["single"])
    result = Audit(get_benchmark("kvasir"), "unknown", [], {}, [finding, one], {})
    text = audit_markdown(result)
    assert text.count("    - file") == listed
    assert ("and 30 more" in text) == (listed == 200)
    assert "- something else (1): single" in text
    assert len(audit_json(result)["findings"][0]["items"]) == 230


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    finding = Finding("kind", "oddity", "something", ("a", "b"))
    splits = {"train": ["a"], "val": [], "test": ["b"]}
    audit = Audit(get_benchmark("kvasir"), "unknown", [], splits, [finding], {"val": 0, "test": 1})
    path = tmp_path / "kvasir.audit.json"
    path.write_text(json.dumps(audit_json(audit)))
    return path


def test_a_saved_audit_is_read_again(saved: Path) -> None:
    audit = read_audit(saved)
    assert audit.splits == {"train": 1, "val": 0, "test": 1}
    assert audit.like_training_images == {"val": 0, "test": 1}
    assert [(finding.text, finding.items) for finding in audit.findings] == [
        ("something", ["a", "b"])
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (None, "this audit is damaged: "),
        ({"schema_version": 0}, "has schema version 0; this naslora reads 1"),
        ({"like_training_images": None}, "this audit is invalid: like_training_images"),
        ({"like_training_images": {"other": 1}}, r"names unknown splits: \['other'\]"),
        ({"findings": [{"kind": "kind"}]}, r"this audit is invalid: findings\.0\.text"),
    ],
)
def test_a_damaged_audit(changes: dict[str, object] | None, says: str, saved: Path) -> None:
    text = saved.read_text()
    text = text[:99] if changes is None else json.dumps(json.loads(text) | changes)
    saved.write_text(text)
    with pytest.raises(AuditError, match=says) as caught:
        read_audit(saved)
    assert caught.value.where == saved
    assert "delete it and prepare the task again" in str(caught.value.remedy)
