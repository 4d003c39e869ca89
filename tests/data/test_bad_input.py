"""Every kind of bad archive and image: its own clear message, and nothing left behind.

What surrounds an archive and may go wrong (disk, rights, network, changed results) is in
test_bad_surroundings.py.
"""

from __future__ import annotations

import gzip
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from naslora.core.errors import ArchiveError, AuditError, NasloraError
from naslora.data.archives.catalogue import load_archives
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.prepare import prepare
from naslora.study.layout import Layout
from naslora.study.settings import Study
from tests.data.spoilt_archives import (
    IMAGE,
    MASK,
    all_masks,
    animated,
    both_forms,
    changed,
    cut_inside,
    encrypted,
    extra,
    flat,
    flipped,
    grey,
    in_directory,
    mixed_forms,
    one_pixel,
    oversized,
    renamed,
    replaced,
    sixteen_bit,
    spoilt_generated,
    swapped,
    tarred,
)


@dataclass(frozen=True)
class Case:
    """`spoil` makes the bytes of the archive from the kit; None writes no file."""

    error: type[NasloraError]
    says: str
    spoil: Callable[[SimpleNamespace], bytes | None]
    task: str = "kvasir"


CASES = {
    # the archive
    "missing": Case(
        ArchiveError, r"missing.*\n.*kvasir-seg\.zip\n.*example\.org", lambda kit: None
    ),
    "empty file": Case(ArchiveError, r"empty \(0 bytes\)", lambda kit: b""),
    "truncated": Case(ArchiveError, "truncated", lambda kit: kit.zipped(kit.kvasir_files())[:-9]),
    "half": Case(ArchiveError, "truncated", lambda kit: kit.zipped(kit.kvasir_files())[:4000]),
    "web page": Case(ArchiveError, "web page", lambda kit: b"\n<!DOCTYPE html><html>Log in</html>"),
    "old web page": Case(ArchiveError, "web page", lambda kit: b"<HTML><body>404</body></HTML>"),
    "RAR": Case(ArchiveError, "RAR file|damaged", lambda kit: b"Rar!\x1a\x07\x01\x00" + bytes(99)),
    "neither": Case(ArchiveError, "neither a zip nor a tar", lambda kit: b"hello" * 400),
    "one compressed file": Case(ArchiveError, "neither", lambda kit: gzip.compress(b"x" * 900)),
    "cut inside": Case(ArchiveError, "damaged", cut_inside),
    "size that is a lie": Case(ArchiveError, "damaged", in_directory(24, b"\x10\x00\x00\x00")),
    "size beyond all": Case(ArchiveError, "more than 4,294", in_directory(24, b"\xf0\xff\xff\xff")),
    "unknown compression": Case(ArchiveError, "damaged: .*compression", in_directory(10, b"\x61")),
    "archive in an archive": Case(
        AuditError,
        r"folder not found .*holds \['kvasir-seg\.zip'\]",
        lambda kit: kit.zipped({"kvasir-seg.zip": kit.zipped(kit.kvasir_files())}),
    ),
    "two folders more": Case(
        AuditError,
        r"folder not found .*holds \['my'\]",
        renamed("Kvasir-SEG/", "my/download/Kvasir-SEG/"),
    ),
    "another set": Case(AuditError, "folder not found", renamed("Kvasir-SEG/", "SBU-shadow/")),
    "one bit": Case(ArchiveError, "damaged: .*CRC", flipped),
    "cut tar": Case(ArchiveError, "damaged|neither", lambda kit: tarred(tarfile.REGTYPE)(kit)[:40]),
    "encrypted": Case(ArchiveError, "encrypted", encrypted),
    "no entries": Case(AuditError, "folder not found", lambda kit: kit.zipped({})),
    # its entries
    "escape": Case(ArchiveError, r"'\.\./\.\./x' leads out", extra("../../x")),
    "inner escape": Case(ArchiveError, "leads out", extra("Kvasir-SEG/../../x")),
    "escape, backslash": Case(ArchiveError, "leads out", extra("..\\..\\x")),
    "absolute": Case(ArchiveError, "absolute path", extra("/tmp/x")),
    "drive letter": Case(ArchiveError, "absolute path", extra("C:/x")),
    "backslash": Case(ArchiveError, "not portable", extra("Kvasir-SEG\\x")),
    "control character": Case(ArchiveError, "not portable", extra("Kvasir-SEG/a\nb")),
    "empty part": Case(ArchiveError, "not portable", extra("Kvasir-SEG//x")),
    "long name": Case(ArchiveError, "255 bytes", extra("Kvasir-SEG/" + "ä" * 200)),
    "symlink": Case(ArchiveError, "link or a device", extra("l", stat.S_IFLNK, b"/etc/passwd")),
    "device": Case(ArchiveError, "link or a device", extra("d", stat.S_IFCHR)),
    "same name": Case(ArchiveError, "occurs twice", extra(IMAGE)),
    "same up to case": Case(ArchiveError, "occurs twice", extra(IMAGE.upper())),
    "same up to Unicode form": Case(ArchiveError, "occurs twice", both_forms),
    "file as folder": Case(ArchiveError, "inside another entry", extra(IMAGE + "/x")),
    "folder as file": Case(ArchiveError, "occurs twice", extra("Kvasir-SEG/images")),
    "bomb": Case(ArchiveError, "more than", extra("z", 0, bytes(80 << 20), zipfile.ZIP_DEFLATED)),
    "tar symlink": Case(ArchiveError, "link or a device", tarred(tarfile.SYMTYPE)),
    "tar hard link": Case(ArchiveError, "link or a device", tarred(tarfile.LNKTYPE)),
    "tar device": Case(ArchiveError, "link or a device", tarred(tarfile.BLKTYPE)),
    "tar pipe": Case(ArchiveError, "link or a device", tarred(tarfile.FIFOTYPE)),
    "name that is no text": Case(
        ArchiveError, "not portable", tarred(tarfile.REGTYPE, "Kvasir-SEG/images/\udcff.jpg")
    ),
    "tar escape": Case(ArchiveError, "leads out", tarred(tarfile.REGTYPE, "../x")),
    # pairs
    "no mask": Case(
        AuditError, rf"image without a mask \(1\): .*{IMAGE}", replaced(mask=lambda k: None)
    ),
    "no image": Case(
        AuditError, rf"mask without an image \(1\): .*{MASK}", replaced(image=lambda k: None)
    ),
    "mask of another size": Case(
        AuditError,
        r"unequal size \(1\): .*24x20.*30x20",
        replaced(mask=lambda k: k.pair(3, (30, 20))[1]),
    ),
    "mask turned": Case(
        AuditError, "24x20.*20x24", replaced(mask=lambda k: k.pair(3, (20, 24))[1])
    ),
    "one image and mask swapped": Case(
        AuditError,
        "neither black nor white",
        replaced(image=lambda k: k.pair(3)[1], mask=lambda k: k.pair(3)[0]),
    ),
    "all images and masks swapped": Case(
        AuditError, r"neither black nor white.*and 2 more", changed(swapped)
    ),
    "half of the masks": Case(
        AuditError,
        r"image without a mask \(6\)",
        changed(
            lambda files: {n: d for n, d in files.items() if not re.search("masks/id0[0-5]", n)}
        ),
    ),
    "another suffix": Case(AuditError, "no pair of an image and a mask", renamed(".jpg", ".jpeg2")),
    "names of another case": Case(
        AuditError, r"without an image(.|\n)*without a mask", renamed("masks/id03", "masks/ID03")
    ),
    "names in other Unicode forms": Case(
        AuditError, r"without an image(.|\n)*without a mask", mixed_forms
    ),
    "too few": Case(AuditError, "too few pairs", lambda kit: kit.zipped(kit.kvasir_files(2))),
    "one of two folders": Case(
        AuditError,
        "folder not found .*Kvasir-SEG/masks",
        lambda kit: kit.zipped({k: v for k, v in kit.kvasir_files().items() if "images" in k}),
    ),
    # images
    "empty image": Case(
        AuditError, rf"{IMAGE} is empty \(0 bytes\)", replaced(image=lambda k: b"")
    ),
    "cut image": Case(
        AuditError, f"{IMAGE} cannot be decoded", replaced(image=lambda k: k.pair(3)[0][:400])
    ),
    "no image at all": Case(
        AuditError,
        f"{IMAGE} is not in a supported image format",
        replaced(image=lambda k: b"<html>404</html>"),
    ),
    "pixel bomb": Case(AuditError, f"{IMAGE} cannot be decoded: .*bomb", replaced(image=oversized)),
    "16-bit image": Case(AuditError, f"{IMAGE} .*stored as I;16", replaced(image=sixteen_bit)),
    "CMYK image": Case(
        AuditError,
        f"{IMAGE} .*stored as CMYK",
        replaced(image=lambda k: k.encode(Image.new("CMYK", (24, 20)))),
    ),
    "float image": Case(AuditError, f"{IMAGE} .*stored as F", replaced(image=flat("F"))),
    "32-bit image": Case(AuditError, f"{IMAGE} .*stored as I", replaced(image=flat("I"))),
    "Lab image": Case(
        AuditError, f"{IMAGE} .*stored as LAB", replaced(image=flat("LAB", colour=(9, 9, 9)))
    ),
    "animated image": Case(AuditError, f"{IMAGE} holds 3 frames", replaced(image=animated("GIF"))),
    "image of several pages": Case(
        AuditError, f"{IMAGE} holds 3 frames", replaced(image=animated("TIFF"))
    ),
    "vector image": Case(
        AuditError,
        f"{IMAGE} is not in a supported image format",
        replaced(image=lambda k: b"<svg></svg>"),
    ),
    "EPS, which Pillow would run Ghostscript for": Case(
        AuditError,
        f"{IMAGE} is not in a supported image format",
        replaced(image=lambda k: k.encode(Image.new("RGB", (24, 20)), "EPS")),
    ),
    "one pixel": Case(
        AuditError, "one pixel", replaced(image=lambda k: k.pair(3, (1, 1))[0], mask=one_pixel)
    ),
    # masks
    "empty mask file": Case(AuditError, f"{MASK} is empty", replaced(mask=lambda k: b"")),
    "grey mask": Case(AuditError, "neither black nor white", replaced(mask=grey(100))),
    "0/1 mask": Case(
        AuditError, "no pixel is white; the largest value is 1", replaced(mask=grey(1))
    ),
    "coloured mask": Case(
        AuditError,
        "neither black nor white",
        replaced(mask=lambda k: k.encode(Image.new("RGB", (24, 20), (255, 0, 0)))),
    ),
    "image as mask": Case(AuditError, "neither black", replaced(mask=lambda k: k.pair(3)[0])),
    "mask with transparency": Case(
        AuditError, "stored as RGBA", replaced(mask=flat("RGBA", "PNG", (255, 255, 255, 255)))
    ),
    "grey mask with transparency": Case(
        AuditError, "stored as LA", replaced(mask=flat("LA", "PNG", (255, 255)))
    ),
    "float mask": Case(AuditError, "stored as F", replaced(mask=flat("F"))),
    "animated mask": Case(AuditError, f"{MASK} holds 3 frames", replaced(mask=animated("GIF"))),
    "cut mask": Case(
        AuditError, f"{MASK} cannot be decoded", replaced(mask=lambda k: k.pair(3)[1][:300])
    ),
    "no mask has anything": Case(AuditError, "no mask .*any foreground", all_masks(0)),
    "every mask is full": Case(AuditError, "no mask .*any background", all_masks(255)),
    "index of no class": Case(
        AuditError,
        r"_mask\.png \(indices 12, where only 0 to 11",
        spoilt_generated("trans10k_v2", "_mask.png", lambda k: Image.new("L", (1, 1), 12)),
        task="trans10k_v2",
    ),
    "colours for indices": Case(
        AuditError,
        r"_mask\.png \(pixels are stored as RGB",
        spoilt_generated("trans10k_v2", "_mask.png", lambda k: Image.new("RGB", (1, 1))),
        task="trans10k_v2",
    ),
    "colour of no class": Case(
        AuditError,
        r"_mask\.png \(",
        spoilt_generated("trans10k_v1", "_mask.png", lambda k: Image.new("L", (1, 1), 170)),
        task="trans10k_v1",
    ),
    "white for one": Case(
        AuditError,
        r"\.png \(indices 255, where only 0 to 1",
        spoilt_generated(
            "leaf", "orig_data/train_masks/00000.png", lambda k: Image.new("L", (1, 1), 255)
        ),
        task="leaf",
    ),
    "16-bit mask": Case(AuditError, "stored as I;16", replaced(mask=sixteen_bit)),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str, kit: SimpleNamespace, study: Study, config, tmp_path: Path) -> None:
    case = CASES[name]
    data = case.spoil(kit)
    settings = (
        config()
        if case.task == "kvasir"
        else shutil.copytree(kit.root / "config", tmp_path / "config")
    )
    archive = study.archives / load_archives(settings)[get_benchmark(case.task).archives[0]].file
    if data is not None:
        archive.write_bytes(data)
    before = kit.tree(tmp_path)
    with pytest.raises(case.error) as caught:
        prepare(study, case.task, settings)
    message = str(caught.value)
    assert re.search(case.says, message), message
    assert str(archive) in message
    assert "Traceback" not in message
    left = set(kit.tree(tmp_path)) - set(before)
    folders = {"results", "results/sample", "results/sample/prepared"}
    if case.error is AuditError:
        log = Layout.of(study).log("audit", case.task)
        assert "## Errors" in log.read_text()
        folders |= {
            f"results/sample/logs{below}" for below in ("", "/audit", f"/audit/{case.task}.log")
        }
    assert left - folders == set()


def test_every_problem_is_listed(kit: SimpleNamespace, study: Study, config) -> None:
    files = kit.kvasir_files(40)
    for index in range(12):
        del files[f"Kvasir-SEG/masks/id{index:02}.jpg"]
    files["Kvasir-SEG/images/id20.jpg"] = b""
    files["Kvasir-SEG/masks/id30.jpg"] = kit.pair(30, (10, 20))[1]
    (study.archives / "kvasir-seg.zip").write_bytes(kit.zipped(files))
    with pytest.raises(AuditError) as caught:
        prepare(study, "kvasir", config())
    message = str(caught.value)
    assert "image without a mask (12)" in message
    assert "id09.jpg" in message
    assert "id10.jpg" not in message
    assert "and 2 more" in message
    assert "id20.jpg is empty" in message
    assert "unequal size (1)" in message
    log = Layout.of(study).log("audit", "kvasir")
    assert str(log) in message
    assert all(f"id{index:02}.jpg" in log.read_text() for index in (*range(12), 20, 30))


def test_an_error_leaves_the_earlier_preparation(
    kit: SimpleNamespace, study: Study, config
) -> None:
    archive = study.archives / "kvasir-seg.zip"
    archive.write_bytes(kit.zipped(kit.kvasir_files()))
    prepare(study, "kvasir", config())
    layout = Layout.of(study)
    before = kit.tree(layout.root), layout.manifest("kvasir").read_bytes()
    archive.write_bytes(CASES["no mask"].spoil(kit))
    with pytest.raises(AuditError):
        prepare(study, "kvasir", config())
    after = [n for n in kit.tree(layout.root) if not n.startswith("logs")]
    assert (after, layout.manifest("kvasir").read_bytes()) == before
