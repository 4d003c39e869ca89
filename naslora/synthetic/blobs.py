"""Blobs of several classes on textured ground, for benchmarks without a generator of their own."""

from __future__ import annotations

import numpy as np

from naslora.synthetic.fields import Drawing, Field
from naslora.synthetic.noise import fractal_noise
from naslora.synthetic.painting import blend, photograph
from naslora.synthetic.shapes import blob_distance

_SIDE = (96, 144)
_BLOBS = (1, 5)  # range of their number, upper end excluded
_TONES = 6


def draw_blobs(rng: np.random.Generator, classes: int) -> Drawing:
    """Draw one to four blobs, each of one of `classes` classes, numbered from 1.

    A class has a colour of its own, the same in every image.
    """
    shape = (int(rng.integers(*_SIDE)), int(rng.integers(*_SIDE)))
    labels = np.zeros(shape, np.uint8)
    ground = 0.45 + 0.08 * fractal_noise(rng, shape, 30, 4)
    image: Field = np.asarray(ground[..., None] * rng.uniform(0.7, 1, 3), np.float32)
    for _ in range(rng.integers(*_BLOBS)):
        label = int(rng.integers(1, classes + 1))
        centre = rng.uniform(0.1, 0.9) * shape[0], rng.uniform(0.1, 0.9) * shape[1]
        distance = blob_distance(rng, shape, centre, rng.uniform(8, 22), rng.uniform(1, 1.8), 0.4)
        inside = np.asarray(distance < 1, np.float32)
        shade = rng.uniform(0.75, 1) - 0.15 * distance + 0.05 * fractal_noise(rng, shape, 8, 2)
        image = blend(image, inside, shade[..., None] * _tone(label))
        labels[distance < 1] = label
    return photograph(rng, image, blur=0.6, noise=0.02), labels


def _tone(label: int) -> Field:
    """The colour of a class: hues around the circle, in [0, 1]."""
    phase = 2 * np.pi * ((label - 1) / _TONES + np.array([0, 1 / 3, 2 / 3]))
    return np.asarray(0.6 + 0.35 * np.cos(phase), np.float32)
