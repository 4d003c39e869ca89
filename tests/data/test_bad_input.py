"""Every kind of bad archive and image: its own clear message, and nothing left behind."""

from __future__ import annotations

import io
import re
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from naslora.data.prepare import prepare
from naslora.errors import ArchiveError, AuditError, NasloraError
from naslora.layout import Layout
from naslora.settings import Study

IMAGE, MASK = "Kvasir-SEG/images/id03.jpg", "Kvasir-SEG/masks/id03.jpg"


@dataclass(frozen=True)
class Case:
    """`spoil` makes the bytes of the archive from the kit; None writes no file."""

    error: type[NasloraError]
    says: str
    spoil: Callable[[SimpleNamespace], bytes | None]


def replaced(**files: Callable[[SimpleNamespace], bytes | None]):
    """A good archive with its fourth pair's image or mask replaced, or left out for None."""

    def spoil(kit: SimpleNamespace) -> bytes:
        content = kit.kvasir_files()
        for key, make in files.items():
            name = {"image": IMAGE, "mask": MASK}[key]
            data = make(kit)
            if data is None:
                del content[name]
            else:
                content[name] = data
        return kit.zipped(content)

    return spoil


def extra(name: str, mode: int = 0, data: bytes = b"x", how: int = zipfile.ZIP_STORED):
    """A good archive with one more entry."""

    def spoil(kit: SimpleNamespace) -> bytes:
        buffer = io.BytesIO(kit.zipped(kit.kvasir_files()))
        with zipfile.ZipFile(buffer, "a") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile's own about duplicate names
            info = zipfile.ZipInfo(name)
            info.filename = name
            info.external_attr = mode << 16
            archive.writestr(info, data, how)
        return buffer.getvalue()

    return spoil


def tarred(kind: bytes, name: str = "Kvasir-SEG/link", target: str = "/etc/passwd"):
    def spoil(kit: SimpleNamespace) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
        return buffer.getvalue()

    return spoil


def flipped(kit: SimpleNamespace) -> bytes:
    """One bit of one image's stored bytes is wrong."""
    files = kit.kvasir_files()
    data = bytearray(kit.zipped(files))
    data[data.index(files[IMAGE]) + 200] ^= 4
    return bytes(data)


def encrypted(kit: SimpleNamespace) -> bytes:
    data = bytearray(kit.zipped(kit.kvasir_files()))
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    return bytes(data)


def oversized(kit: SimpleNamespace) -> bytes:
    """A JPEG header that claims 30,000 x 30,000 pixels."""
    data = bytearray(kit.pair(0)[0])
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = (30_000).to_bytes(2, "big") * 2
    return bytes(data)


def grey(value: int):
    return lambda kit: kit.encode(np.full((20, 24), value, np.uint8))


def sixteen_bit(kit: SimpleNamespace) -> bytes:
    return kit.encode(np.full((20, 24), 40_000, np.uint16), "PNG")


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
    "RAR": Case(ArchiveError, "RAR file", lambda kit: b"Rar!\x1a\x07\x01\x00" + bytes(99)),
    "neither": Case(ArchiveError, "neither a zip nor a tar", lambda kit: b"hello" * 400),
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
    "file as folder": Case(ArchiveError, "inside another entry", extra(IMAGE + "/x")),
    "folder as file": Case(ArchiveError, "occurs twice", extra("Kvasir-SEG/images")),
    "bomb": Case(ArchiveError, "more than", extra("z", 0, bytes(80 << 20), zipfile.ZIP_DEFLATED)),
    "tar symlink": Case(ArchiveError, "link or a device", tarred(tarfile.SYMTYPE)),
    "tar hard link": Case(ArchiveError, "link or a device", tarred(tarfile.LNKTYPE)),
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
        AuditError, f"{IMAGE} cannot be decoded", replaced(image=lambda k: b"<html>404</html>")
    ),
    "pixel bomb": Case(AuditError, f"{IMAGE} cannot be decoded: .*bomb", replaced(image=oversized)),
    "16-bit image": Case(AuditError, f"{IMAGE} .*stored as I;16", replaced(image=sixteen_bit)),
    "CMYK image": Case(
        AuditError,
        f"{IMAGE} .*stored as CMYK",
        replaced(image=lambda k: k.encode(Image.new("CMYK", (24, 20)))),
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
    "16-bit mask": Case(AuditError, "stored as I;16", replaced(mask=sixteen_bit)),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str, kit: SimpleNamespace, study: Study, config, tmp_path: Path) -> None:
    case = CASES[name]
    data = case.spoil(kit)
    archive = study.archives / "kvasir-seg.zip"
    if data is not None:
        archive.write_bytes(data)
    before = kit.tree(tmp_path)
    with pytest.raises(case.error) as caught:
        prepare(study, "kvasir", config())
    message = str(caught.value)
    assert re.search(case.says, message), message
    assert str(archive) in message
    assert "Traceback" not in message
    left = set(kit.tree(tmp_path)) - set(before) - {"config", "config/archives.yaml"}
    folders = {"results", "results/sample", "results/sample/prepared"}
    if case.error is AuditError:
        log = Layout.of(study).log("audit", "kvasir")
        assert "## Errors" in log.read_text()
        folders |= {f"results/sample/logs{below}" for below in ("", "/audit", "/audit/kvasir.log")}
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
