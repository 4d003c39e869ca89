"""Archives of Kvasir-SEG, and of other sets, with something wrong in them.

Each function takes the kit of `conftest.py`, or returns a function that does, and returns the bytes
of an archive.
"""

from __future__ import annotations

import io
import re
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from naslora.synthetic.generators import find_generator

IMAGE, MASK = "Kvasir-SEG/images/id03.jpg", "Kvasir-SEG/masks/id03.jpg"


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


def changed(change: Callable[[dict[str, bytes]], dict[str, bytes]]):
    """A good archive with its files, by name, as `change` makes them."""
    return lambda kit: kit.zipped(change(kit.kvasir_files()))


def renamed(old: str, new: str):
    return changed(lambda files: {name.replace(old, new): data for name, data in files.items()})


def one_pixel(kit: SimpleNamespace) -> bytes:
    return kit.encode(np.full((1, 1), 255, np.uint8))


def all_masks(value: int):
    def spoil(kit: SimpleNamespace) -> bytes:
        files = kit.kvasir_files()
        return kit.zipped({n: grey(value)(kit) if "masks" in n else d for n, d in files.items()})

    return spoil


def swapped(files: dict[str, bytes]) -> dict[str, bytes]:
    """Images in the folder of masks, and the other way round."""
    other = {"images": "masks", "masks": "images"}
    return {re.sub("images|masks", lambda m: other[m[0]], name): files[name] for name in files}


def cut_inside(kit: SimpleNamespace) -> bytes:
    """The directory is whole, but bytes before it are gone."""
    data = kit.zipped(kit.kvasir_files())
    return data[:2000] + data[2600:]


def in_directory(offset: int, value: bytes):
    """A good archive with other bytes in the directory's first entry."""

    def spoil(kit: SimpleNamespace) -> bytes:
        data = bytearray(kit.zipped(kit.kvasir_files()))
        at = data.index(b"PK\x01\x02") + offset
        data[at : at + len(value)] = value
        return bytes(data)

    return spoil


def mixed_forms(kit: SimpleNamespace) -> bytes:
    """An image's name in Unicode's composed form, and its mask's decomposed."""
    files = kit.kvasir_files()
    files["Kvasir-SEG/images/caf\u00e9.jpg"], files["Kvasir-SEG/masks/cafe\u0301.jpg"] = kit.pair(3)
    return kit.zipped(files)


def both_forms(kit: SimpleNamespace) -> bytes:
    files = kit.kvasir_files()
    for name in ("caf\u00e9", "cafe\u0301"):
        files[f"Kvasir-SEG/images/{name}.jpg"] = b"x"
    return kit.zipped(files)


def animated(kind: str):
    def make(kit: SimpleNamespace) -> bytes:
        frames = [Image.new("RGB", (24, 20), (shade, 0, 0)) for shade in (0, 90, 200)]
        return kit.encode(frames[0], kind, save_all=True, append_images=frames[1:])

    return make


def flat(mode: str, kind: str = "TIFF", colour: int | tuple[int, ...] = 1):
    return lambda kit: kit.encode(Image.new(mode, (24, 20), colour), kind)


def spoilt_generated(task: str, ending: str, make: Callable[[SimpleNamespace], bytes]):
    """The generated archive of a task with the first file of that ending replaced."""

    def spoil(kit: SimpleNamespace) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            files = kit.unzipped(find_generator(task).generate(Path(folder), 24, 1)[0])
        name = next(name for name in sorted(files) if name.endswith(ending))
        size = Image.open(io.BytesIO(files[name])).size
        files[name] = kit.encode(make(kit).resize(size, Image.Resampling.NEAREST), "PNG")
        return kit.zipped(files)

    return spoil


def grey(value: int):
    return lambda kit: kit.encode(np.full((20, 24), value, np.uint8))


def sixteen_bit(kit: SimpleNamespace) -> bytes:
    return kit.encode(np.full((20, 24), 40_000, np.uint16), "PNG")
