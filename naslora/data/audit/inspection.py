"""Reading one pair of an image and a mask, and checking it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from naslora.data import images
from naslora.data.audit.perceptual import ImageFeatures, image_features
from naslora.data.benchmarks.contract import Benchmark
from naslora.data.benchmarks.listing import Finding, Sample
from naslora.data.masks import IGNORE


@dataclass(frozen=True)
class Inspected:
    """Properties of one pair.

    Attributes:
        width, height: of the upright image, in pixels.
        foreground: share of pixels with a label above 0, void pixels excluded.
        grey: share of mask pixels that are not exactly one of the encoding's values.
        features: thumbnail and hash, by which duplicates are found; None for an image of one
            colour, or in an unsupported mode.
    """

    sample: Sample
    image_sha256: str
    mask_sha256: str
    width: int
    height: int
    foreground: float
    grey: float
    findings: tuple[Finding, ...]
    features: ImageFeatures | None = field(default=None, repr=False, compare=False)


def inspect(benchmark: Benchmark, root: Path, sample: Sample) -> Inspected:
    """Read and decode a pair, and collect findings about it."""
    findings: list[Finding] = []
    digests = []
    upright: list[Image.Image] = []
    for name in (sample.image, sample.mask):
        data = b""
        try:
            data = (root / name).read_bytes()
            upright.append(images.decode(data))
            if images.is_rotated(data):
                findings.append(Finding("rotated", "oddity", "turned by its EXIF tag", [name]))
            if other := images.foreign_format(data, name):
                text = "format other than the name says"
                findings.append(Finding("format", "oddity", text, [f"{name} ({other})"]))
        except (OSError, images.UnreadableImageError) as error:
            findings.append(_error("unreadable", "unreadable file", f"{name} {error}"))
        digests.append(hashlib.sha256(data).hexdigest())
    if len(upright) < 2:
        return Inspected(sample, digests[0], digests[1], 0, 0, 0.0, 0.0, tuple(findings))
    image, mask = upright
    rgb = None
    try:
        rgb = images.to_rgb(image)
    except images.UnreadableImageError as error:
        findings.append(_error("mode", "unusable colours", f"{sample.image} {error}"))
    if image.size != mask.size:
        both = " and ".join(
            f"{name} ({i.width}x{i.height})"
            for name, i in zip((sample.image, sample.mask), upright, strict=True)
        )
        findings.append(_error("size", "image and mask of unequal size", both))
    if image.width * image.height < 2:
        findings.append(_error("one_pixel", "image of one pixel", sample.image))
    decoded = benchmark.decode_mask(mask)
    counted = decoded.labels[decoded.labels != IGNORE]
    foreground = float((counted > 0).mean()) if counted.size else 0.0
    if decoded.problem is not None:
        item = f"{sample.mask} ({decoded.problem})"
        findings.append(_error("mask_values", "mask values that are not labels", item))
    elif not counted.size:
        findings.append(_error("void_mask", "mask of void pixels alone", sample.mask))
    elif foreground in (0, 1):
        kind = "full" if foreground else "empty"
        findings.append(Finding(f"{kind}_mask", "oddity", f"{kind} mask", [sample.mask]))
    if rgb is not None and rgb.size == mask.size:
        findings += benchmark.remarks(sample, rgb, decoded.labels)
    features = None if rgb is None else image_features(rgb)
    if rgb is not None and features is None:
        findings.append(Finding("flat_image", "oddity", "image of one colour", [sample.image]))
    return Inspected(
        sample,
        digests[0],
        digests[1],
        image.width,
        image.height,
        foreground,
        decoded.grey,
        tuple(findings),
        features,
    )


def _error(kind: str, text: str, item: str) -> Finding:
    return Finding(kind, "error", text, [item])
