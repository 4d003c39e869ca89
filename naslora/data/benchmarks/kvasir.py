"""Kvasir-SEG: polyps in colonoscopy images (Jha et al., 2020)."""

from __future__ import annotations

from naslora.data.benchmarks.contract import Benchmark, register_benchmark
from naslora.data.benchmarks.listing import Pairs
from naslora.data.masks import GreyMask


@register_benchmark
class Kvasir(Benchmark):
    """1000 pairs `Kvasir-SEG/{images,masks}/<id>.jpg`, without an official split.

    Appendix B: 90 % for training and 10 % for testing, with 20 % of the training set used for
    validation. Masks are JPEG files with grey values besides 0 and 255, thresholded at 128.
    """

    name = "kvasir"
    title = "Kvasir"
    archives = ("kvasir_seg",)
    layout = (Pairs("Kvasir-SEG/images/*.jpg", "Kvasir-SEG/masks/*.jpg"),)
    classes = ("polyp",)
    metrics = ("S_measure", "E_measure", "weighted_F", "IoU", "Dice")
    masks = GreyMask(threshold=128)
    expected = {"train": 720, "val": 180, "test": 100}  # noqa: RUF012
