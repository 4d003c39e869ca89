"""The cost of a NAS cell: training steps of nas_pc_lora against lora and conv_lora, and inference.

    python benchmarks/cell.py --output benchmarks/results/cell-512.json

A step is a training step on a batch of noise: the whole SAM, the task's loss, gradients and Adam.
Steps that update alpha are measured in the paper's mode (stage_wise, with a second pass) and in the
mode with one shared pass (simultaneous). The schedule is the paper's, 10 epochs of 40 without
alpha. All sides take turns, each in a separate process.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from ratios import failure, ratio, time_ratio, write
from sides import Limits, alternate, serve

from naslora.methods.merge import merge
from naslora.methods.registry import adapt
from naslora.nas.alternation import AlternatingOptimizer
from naslora.sam.building import build_sam
from naslora.study.settings import load_study
from naslora.training.losses import task_loss

METHODS = ("lora", "nas_pc_lora", "conv_lora")
MODES = {"stage_wise": None, "simultaneous": 1.1}  # with the target for the whole schedule
TRAINING = (*METHODS, *(f"nas_pc_lora:{mode}" for mode in MODES))
INFERENCE = ("plain", "collapsed", "merged")


def training_job(options: argparse.Namespace) -> Callable[[], object]:
    method, _, mode = options.side.partition(":")
    overrides = {"training.architecture.alternation": mode or "stage_wise"}
    training = load_study("paper", overrides).training
    sam = build_sam(options.backbone, options.image_size).train()
    adapt(sam, method)
    sam.to(options.device)
    optimisers = AlternatingOptimizer(sam, training)
    shape = (options.batch_size, 3, options.image_size, options.image_size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8).to(options.device)
    labels = (images[:, 0] > 127).to(torch.uint8)
    epoch = training.architecture.start_epoch + bool(mode)
    return lambda: optimisers.step(epoch, 1, lambda: task_loss(sam(images), labels, 1, training))


def inference_job(options: argparse.Namespace) -> Callable[[], object]:
    sam = build_sam(options.backbone, options.image_size)
    if options.side != "plain":
        adapt(sam, "nas_pc_lora")
        if options.side == "collapsed":
            merge(sam, "collapsed")
        else:
            merge(sam, "dense", estimator="sum")
    sam.to(options.device).eval()
    shape = (options.batch_size, 3, options.image_size, options.image_size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8).to(options.device)

    def predict() -> None:
        with torch.inference_mode():
            sam(images)

    return predict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="vit_b")
    parser.add_argument("--image-size", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    Limits.add_options(parser)
    parser.add_argument("--output", type=Path, help="write the results to this JSON file")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        torch.manual_seed(0)
        torch.set_num_threads(options.threads)
        job = inference_job if options.side in INFERENCE else training_job
        serve(job(options), torch.device(options.device))
        return
    settings = {k: v for k, v in vars(options).items() if k not in ("output", "side")}
    found = {
        name: alternate(
            {side: [__file__, "--side", side, *sys.argv[1:]] for side in sides},
            pairs,
            Limits.of(options),
        )
        for name, sides, pairs in (
            ("training", TRAINING, [(side, "lora") for side in TRAINING[1:]]),
            ("inference", INFERENCE, [(side, "plain") for side in INFERENCE[1:]]),
        )
    }
    where = f"({options.backbone}, {options.image_size} px, {options.device})"
    step, image = found["training"], found["inference"]
    cell = step["nas_pc_lora"]
    ratios = [
        time_ratio(f"step: nas_pc_lora / lora {where}", cell, step["lora"], 1.02),
        time_ratio(f"step: nas_pc_lora / conv_lora {where}", cell, step["conv_lora"], 0.8),
        *(schedule(step, mode, target, where) for mode, target in MODES.items()),
        *(
            time_ratio(f"inference: {form} / plain SAM {where}", image[form], image["plain"], goal)
            for form, goal in (("collapsed", 1.03), ("merged", 1.0))
        ),
    ]
    write(options.output, settings, sides=found, ratios=ratios)


def schedule(
    step: Mapping[str, Any], mode: str, target: float | None, where: str
) -> dict[str, Any]:
    """The paper's schedule, with its first part without alpha, against as many steps of lora."""
    paper = load_study("paper").training
    without = paper.architecture.start_epoch / paper.epochs
    rest, cell = step[f"nas_pc_lora:{mode}"], step["nas_pc_lora"]
    if reason := failure(cell, rest):
        name = f"schedule with alpha, {mode}: nas_pc_lora / lora {where}"
        return ratio(name, None, target, reason)
    mixed = {
        of: [without * a + (1 - without) * b for a, b in zip(cell[of], rest[of], strict=True)]
        for of in ("seconds", "cpu_seconds")
    }
    mixed["outside"] = list(map(max, cell["outside"], rest["outside"]))
    return time_ratio(
        f"schedule with alpha, {mode}: nas_pc_lora / lora {where}", mixed, step["lora"], target
    )


if __name__ == "__main__":
    main()
