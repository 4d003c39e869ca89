"""Whether channels-last convolutions, or a CUDA graph of the step, make training faster.

    python benchmarks/layouts.py --backbone vit_h --image-size 1024 --batch-size 4 --device cuda \
        --precision bf16 --output build/layouts.json

A step is forward, loss and backward, on a batch that is already on the device; the optimiser is
left out, because a graph does not cover the alternation between the weights and alpha. The forms of
a method take turns:

plain
    as in training: every tensor is contiguous.
channels_last
    weights and activations of convolutions are stored with their channels last.
graph
    the plain step, captured once in a CUDA graph and replayed; on a GPU only. It saves the time
    between kernels, and so shows how much of a step that is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from ratios import memory_ratios, time_ratio, write
from sides import Here, Limits, Side, alternate, serve
from torch import Tensor

from naslora.methods.registry import adapt, trainable_parameters
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import build_sam
from naslora.study.settings import load_study
from naslora.training.losses import task_loss

METHODS = ("lora", "nas_pc_lora", "conv_lora")
FORMS = ("plain", "channels_last", "graph")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_WARM_UP = 3  # steps before the capture, as torch's documentation asks for


def job(options: argparse.Namespace) -> Callable[[], object]:
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    training = load_study("paper").training
    sam = build_sam(options.backbone, options.image_size).train()
    adapt(sam, options.method)
    sam.to(options.device)
    if options.form == "channels_last":
        sam.to(memory_format=torch.channels_last)
    shape = (options.batch_size, 3, options.image_size, options.image_size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8).to(options.device)
    labels = (images[:, 0] > 127).to(torch.uint8)
    trained = list(trainable_parameters(sam).values())
    dtype = DTYPES[options.precision]

    def step() -> tuple[Tensor | None, ...]:
        # Without autocast's cache of cast weights, which a graph must not keep; in all forms, so
        # that they do the same.
        with torch.autocast(
            options.device, dtype, enabled=dtype != torch.float32, cache_enabled=False
        ):
            loss = task_loss(sam(images), labels, 1, training)
        return torch.autograd.grad(loss, trained, allow_unused=True)

    return _captured(step) if options.form == "graph" else step


def _captured(step: Callable[[], object]) -> Callable[[], object]:
    """A step whose kernels are launched together, by a CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = step()

    def replay() -> object:
        graph.replay()
        return kept  # the graph owns the gradients' memory

    return replay


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="vit_b", choices=list(BACKBONES))
    parser.add_argument("--image-size", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=list(DTYPES), default="fp32")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    Limits.add_options(parser, minutes=2)
    parser.add_argument("--output", type=Path, help="write the results to this JSON file")
    for name in ("method", "form"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    if options.form:
        serve(job(options), torch.device(options.device))
        return
    settings = {k: v for k, v in vars(options).items() if k not in ("output", "method", "form")}
    start = (lambda command: Here(job(parse(command[1:])))) if options.one_process else Side
    forms = [form for form in FORMS if form != "graph" or options.device == "cuda"]
    found = {
        method: alternate(
            {form: [__file__, *arguments, "--method", method, "--form", form] for form in forms},
            [(form, "plain") for form in forms[1:]],
            Limits.of(options),
            start=start,
        )
        for method in options.methods
    }
    write(options.output, settings, sides=found, ratios=ratios(options, found))


def ratios(options: argparse.Namespace, found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    what = f"{options.backbone}, {options.image_size} px, batch {options.batch_size}"
    what = f"{what}, {options.precision}, {options.device}"
    lines = []
    for method, sides in found.items():
        for form in (form for form in sides if form != "plain"):
            pair = sides[form], sides["plain"]
            name = f"{method}, {form} / plain ({what})"
            lines.append(time_ratio(f"step time: {name}", *pair, None))
            lines += memory_ratios("step memory", name, *pair, None)[:1]
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])
