"""Parts that the generators of images share: randomness, noise, blobs, lighting, archives."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image, features

from naslora.core.files import write_bytes

Field: TypeAlias = NDArray[np.float32]
AnyField: TypeAlias = NDArray[np.floating]
Files: TypeAlias = Iterator[tuple[str, bytes]]
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can hold
_MARK = "generated: "


def streams(seed: int, count: int, *part: int) -> Iterator[np.random.Generator]:
    """One independent random stream per image, so that image i is the same for every count.

    Parts of a benchmark that differ in the number `part` have streams of their own.
    """
    for index in range(count):
        yield np.random.default_rng([seed, *part, index])


def apportion(count: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """Share `count` images among parts in proportion to their sizes, one each before any has two.

    A larger count takes no image from any part (Adams's method); parts of size 0 get none.
    """
    shares = dict.fromkeys(sizes, 0)
    filled = [part for part, size in sizes.items() if size]
    for _ in range(count):
        most = max(filled, key=lambda p: (shares[p] == 0, sizes[p] / max(shares[p], 1)))
        shares[most] += 1
    return shares


def part_streams(
    seed: int, count: int, sizes: Mapping[str, int]
) -> Iterator[tuple[str, np.random.Generator]]:
    """Name of the part and random stream of each of `count` images, apportioned by `sizes`.

    Image i of a part is the same for every count.
    """
    for number, (part, share) in enumerate(apportion(count, sizes).items()):
        for rng in streams(seed, share, number):
            yield part, rng


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Field:
    """Smooth noise (H, W) of mean 0 and standard deviation 1, with features of `scale` pixels."""
    rows, columns = (max(4, round(side / scale) + 1) for side in shape)
    grid = Image.fromarray(rng.standard_normal((rows, columns)).astype(np.float32))
    noise = np.array(grid.resize(shape[::-1], Image.Resampling.BICUBIC))
    noise -= noise.mean()
    return np.asarray(noise / max(float(noise.std()), 1e-6), np.float32)


def fractal_noise(
    rng: np.random.Generator, shape: tuple[int, int], scale: float, octaves: int
) -> Field:
    """Sum of `octaves` smooth noises, each half as coarse and half as strong as the one before."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        total += smooth_noise(rng, shape, max(scale / 2**octave, 1.0)) / 2**octave
    return np.asarray(total / max(float(total.std()), 1e-6), np.float32)


def blob_distance(
    rng: np.random.Generator,
    shape: tuple[int, int],
    centre: tuple[float, float],
    radius: float,
    stretch: float,
    wobble: float,
) -> Field:
    """Distance (H, W) from the centre of a round shape in units of its radius: 1 on its outline.

    The outline is an ellipse of axis ratio `stretch` whose radius varies by about `wobble`.
    """
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    dy, dx = y - centre[0], x - centre[1]
    turn = rng.uniform(0, np.pi)
    u = (dx * np.cos(turn) + dy * np.sin(turn)) / np.sqrt(stretch)
    v = (-dx * np.sin(turn) + dy * np.cos(turn)) * np.sqrt(stretch)
    angle = np.arctan2(v, u)
    outline = np.full(shape, radius, np.float32)
    for k in range(2, 6):
        strength = wobble * rng.normal() / k
        outline += radius * strength * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.hypot(u, v) / np.maximum(outline, radius * 0.4), np.float32)


def normals(height: Field) -> tuple[Field, Field, Field]:
    """Unit normals (x, y, z) of a height field, heights in pixels."""
    dy, dx = np.gradient(height)
    z = 1 / np.sqrt(1 + dx * dx + dy * dy)
    return -dx * z, -dy * z, z


def blend(image: AnyField, cover: AnyField, colour: Sequence[float] | AnyField) -> Field:
    """Lay a colour, or another image (H, W, 3), over an image where `cover` (H, W) is above 0."""
    share = np.clip(cover, 0, 1)[..., None]
    return np.asarray(image * (1 - share) + share * np.asarray(colour, np.float32), np.float32)


def photograph(
    rng: np.random.Generator, image: Field, blur: float, noise: float
) -> NDArray[np.uint8]:
    """Pixels of an image in [0, 1]: blurred by `blur` pixels, with noise of deviation `noise`."""
    blurred = scipy.ndimage.gaussian_filter(image, (blur, blur, 0))
    noisy = blurred + rng.normal(0, noise, image.shape)
    return np.asarray(np.clip(noisy, 0, 1) * 255, np.uint8)


def jpeg(image: Image.Image, quality: int) -> bytes:
    """An image as the bytes of a JPEG file."""
    return _encoded(image, "JPEG", quality=quality)


def png(image: Image.Image) -> bytes:
    """An image as the bytes of a PNG file, palette and all."""
    return _encoded(image, "PNG")


def tiff(image: Image.Image, compression: str) -> bytes:
    """An image as the bytes of a TIFF file; not compressed where Pillow comes without libtiff."""
    wanted = compression if features.check("libtiff") else "raw"
    return _encoded(image, "TIFF", compression=wanted)


def _encoded(image: Image.Image, kind: str, **options: int | str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_zip(path: Path, files: Files, mark: str) -> None:
    """Write files to a zip archive that has the same bytes whenever it holds the same files.

    A file that holds these bytes already is not touched, and keeps its time. The mark, which
    starts with "generated: ", becomes the archive's comment.

    Raises:
        DiskError: the folder cannot be written to.
    """
    if not mark.startswith(_MARK):
        raise ValueError(f"the mark of a generated archive starts with {_MARK!r}")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = mark.encode()
        for name, data in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
    data = buffer.getvalue()
    if not path.is_file() or path.read_bytes() != data:
        write_bytes(path, data)


def generated_mark(path: Path) -> str | None:
    """The mark of a generated archive; None for any other file."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        comment = archive.comment.decode("utf-8", "replace")
    return comment if comment.startswith(_MARK) else None
