from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from naslora.core.errors import DiskError, SettingsError
from naslora.core.files import sha256
from naslora.data.manifest import read_manifest
from naslora.data.prepare import generate_archives, prepare
from naslora.study.layout import Layout
from naslora.study.settings import Study

REAL = "kvasir-seg.zip"
PLACES = ("within", "across")


@pytest.fixture
def generating(study: Study) -> Study:
    return study.model_copy(update={"generated": {"kvasir": 12}})


def findings(study: Study) -> dict[str, dict]:
    audit = json.loads(Layout.of(study).audit("kvasir").read_text())
    return {finding["kind"]: finding for finding in audit["findings"]}


def test_generated_images_pass_the_audit(generating: Study, kit: SimpleNamespace) -> None:
    layout = Layout.of(generating)
    manifest = prepare(generating, "kvasir", kit.root / "config")
    assert manifest.generated
    assert manifest.archives[0].official is False
    assert [len(manifest.of(split)) for split in ("train", "val", "test")] == [9, 2, 1]
    assert read_manifest(layout.manifest("kvasir")) == manifest
    manifest.verify(layout.prepared("kvasir"))
    assert findings(generating) == {}
    for sample in manifest.samples:
        image = layout.prepared("kvasir") / sample.image
        assert sha256(image) == sample.image_sha256
        assert sha256(layout.prepared("kvasir") / sample.mask) == sample.mask_sha256
        assert Image.open(image).size == (sample.width, sample.height)
    report = layout.audit("kvasir").with_suffix(".md").read_text()
    assert "generated images" in report
    assert "| train | 9 | 720 |" in report


def test_preparing_again_changes_nothing(generating: Study, kit: SimpleNamespace) -> None:
    root = Layout.of(generating).root

    def snapshot() -> dict[str, bytes]:
        return {
            name: (root / name).read_bytes() for name in kit.tree(root) if (root / name).is_file()
        }

    prepare(generating, "kvasir", kit.root / "config")
    first = snapshot()
    archive = generate_archives(generating, "kvasir")[0]
    written = archive.stat().st_mtime_ns
    prepare(generating, "kvasir", kit.root / "config")
    assert snapshot() == first
    assert archive.stat().st_mtime_ns == written
    shutil.rmtree(root)
    prepare(generating, "kvasir", kit.root / "config")
    assert snapshot() == first


def test_the_split_seed_moves_samples_only(generating: Study, kit: SimpleNamespace) -> None:
    one = prepare(generating, "kvasir", kit.root / "config")
    data = generating.data.model_copy(update={"split_seed": 5})
    two = prepare(generating.model_copy(update={"data": data}), "kvasir", kit.root / "config")
    assert {s.id: s.image_sha256 for s in one.samples} == {
        s.id: s.image_sha256 for s in two.samples
    }
    assert [s.split for s in one.samples] != [s.split for s in two.samples]


def test_oddities_are_listed_and_kept(kit: SimpleNamespace, study: Study, config) -> None:
    files = kit.kvasir_files(30)
    # All but one in five sets of equal images cannot lie in one split.
    for index in range(1, 12):
        files[f"Kvasir-SEG/images/id{index:02}.jpg"] = files["Kvasir-SEG/images/id00.jpg"]
    blank = np.zeros((20, 24), np.uint8)
    files["Kvasir-SEG/masks/id20.jpg"] = kit.encode(blank)
    files["Kvasir-SEG/masks/id21.jpg"] = kit.encode(blank + 255)
    files["Kvasir-SEG/bboxes.json"] = b"{}"
    turned = Image.Exif()
    turned[0x0112] = 6
    noise = np.random.default_rng(0).integers(0, 255, (24, 20, 3), np.uint8)
    files["Kvasir-SEG/images/id22.jpg"] = kit.encode(noise, exif=turned)
    (study.archives / "kvasir-seg.zip").write_bytes(kit.zipped(files))
    manifest = prepare(study, "kvasir", config(size=1, sha256="0" * 64))
    assert len(manifest.samples) == 30
    found = findings(study)
    assert {kind: finding["severity"] for kind, finding in found.items()} == dict.fromkeys(
        ("empty_mask", "full_mask", "unused", "rotated", "duplicate_across", "counts"), "oddity"
    )
    assert found["empty_mask"]["items"] == ["kvasir_seg/Kvasir-SEG/masks/id20.jpg"]
    assert found["full_mask"]["items"] == ["kvasir_seg/Kvasir-SEG/masks/id21.jpg"]
    assert found["unused"]["items"] == ["kvasir_seg/Kvasir-SEG/bboxes.json"]
    assert found["rotated"]["items"] == ["kvasir_seg/Kvasir-SEG/images/id22.jpg"]
    assert found["duplicate_across"]["items"][0].count("=") == 11
    upright = next(sample for sample in manifest.samples if sample.id == "id22")
    assert (upright.width, upright.height) == (24, 20)


def test_duplicates_in_one_split(kit: SimpleNamespace, study: Study, config) -> None:
    archive = study.archives / "kvasir-seg.zip"
    files = kit.kvasir_files(12)
    archive.write_bytes(kit.zipped(files))
    train = [sample.image for sample in prepare(study, "kvasir", config()).of("train")[:2]]
    one, two = (name.removeprefix("kvasir_seg/") for name in train)
    files[two] = files[one]
    archive.write_bytes(kit.zipped(files))
    prepare(study, "kvasir", config())
    assert findings(study)["duplicate_within"]["items"] == [
        f"{train[0]} [train] = {train[1]} [train]"
    ]


def test_other_counts_in_an_official_archive_are_an_error(kit, study: Study, config) -> None:
    archive = study.archives / "kvasir-seg.zip"
    archive.write_bytes(kit.zipped(kit.kvasir_files()))
    official = config(size=archive.stat().st_size, sha256=sha256(archive))
    with pytest.raises(Exception, match=r"counts other than Appendix B's \(3\).*instead of 720"):
        prepare(study, "kvasir", official)


def test_full_disk_while_generating(
    generating: Study, kit: SimpleNamespace, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a small tmpfs")
    try:
        full = generating.model_copy(update={"results": disk})
        with pytest.raises(DiskError, match="No space left"):
            prepare(full, "kvasir", kit.root / "config")
        assert [name for name in kit.tree(disk) if (disk / name).is_file()] == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_only_what_the_study_generates(study: Study, kit: SimpleNamespace) -> None:
    with pytest.raises(SettingsError, match="generates no images for kvasir"):
        generate_archives(study, "kvasir")
    with pytest.raises(SettingsError, match="no benchmark named 'kvasi'"):
        prepare(study, "kvasi", kit.root / "config")


def test_a_generated_archive_is_known_wherever_it_lies(
    generating: Study, study: Study, kit: SimpleNamespace
) -> None:
    shutil.copy(generate_archives(generating, "kvasir")[0], study.archives)
    assert prepare(study, "kvasir", kit.root / "config").generated


def test_preparing_needs_no_torch(kit: SimpleNamespace) -> None:
    code = (
        "import sys, naslora.data.prepare, naslora.data.benchmarks.kvasir, naslora.data.manifest;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=kit.root).returncode == 0


def test_the_real_archive(study: Study, kit: SimpleNamespace) -> None:
    folder = Path(os.environ.get("NASLORA_ARCHIVES", kit.root / "data" / "archives"))
    if not (folder / REAL).is_file():
        pytest.skip(f"no {REAL} in {folder}; set NASLORA_ARCHIVES to its folder")
    real = study.model_copy(update={"archives": folder})
    manifest = prepare(real, "kvasir", kit.root / "config")
    assert not manifest.generated
    alike = {f"{kind}_{place}" for kind in ("duplicate", "near_duplicate") for place in PLACES}
    assert set(findings(real)) <= {"counts", "unused", *alike}
    audit = json.loads(Layout.of(real).audit("kvasir").read_text())
    assert audit["pairs"] == len(manifest.samples) >= 400
    assert audit["source"] in ("official", "other")
    grey = audit["statistics"]["grey or odd values in the mask"]
    assert 0 < grey["mean"] < 0.1
    assert 0.05 < audit["statistics"]["foreground in the mask"]["mean"] < 0.3
