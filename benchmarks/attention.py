"""Compare the implementations of attention with relative positions, and find the fastest.

    python benchmarks/attention.py --backbone vit_h --image-size 1024 --batch-size 4 --device cuda \
        --precision bf16 --output build/attention.json

The shapes are those of a backbone's windows and of its whole maps. A training pass is forward and
backward, with gradients of queries, keys and values only, since the position embeddings are frozen.
The time of an encoder is the sum over all its blocks. The choice of `auto` on this device is shown
beside the fastest; to change it, edit `choose_backend` in naslora/sam/attention.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from ratios import LEAST, memory_ratios, time_ratio, write
from sides import Here, Limits, Side, alternate, serve

from naslora.sam.attention import attend, choose_backend, relative_positions
from naslora.sam.backbones import BACKBONES
from naslora.sam.backends import AttentionBackend

WAYS: tuple[AttentionBackend, ...] = get_args(AttentionBackend)
MODES = ("training", "inference")
PLACES = ("window", "map")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def blocks(backbone: str) -> dict[str, int]:
    """The number of blocks of the backbone with attention in windows, and over the whole map."""
    sizes = BACKBONES[backbone]
    whole = len(sizes.global_attn_indexes)
    return {"window": sizes.depth - whole, "map": whole}


def shape(options: argparse.Namespace) -> tuple[int, int, int]:
    """The number of windows (or maps) in a batch, and the rows and columns of each."""
    sizes = BACKBONES[options.backbone]
    side = options.image_size // sizes.patch_size
    if options.place == "map":
        return options.batch_size, side, side
    size = sizes.window_size
    return options.batch_size * (-(-side // size)) ** 2, size, size


def job(options: argparse.Namespace) -> Callable[[], object]:
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    sizes = BACKBONES[options.backbone]
    count, height, width = shape(options)
    kind = {"device": options.device, "dtype": DTYPES[options.precision]}
    dim = sizes.embed_dim // sizes.num_heads
    qkv = torch.randn(3, count, sizes.num_heads, height * width, dim, **kind).unbind(0)
    rows, columns = (
        relative_positions(0.1 * torch.randn(2 * size - 1, dim, **kind), size)
        for size in (height, width)
    )
    if options.mode == "inference":

        def forward() -> None:
            with torch.inference_mode():
                attend(*qkv, rows, columns, options.way)

        return forward
    leaves = [tensor.clone().requires_grad_() for tensor in qkv]
    gradient = torch.randn_like(leaves[0])

    def both() -> None:
        out = attend(*leaves, rows, columns, options.way)
        torch.autograd.grad(out, leaves, gradient)

    return both


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="vit_b", choices=list(BACKBONES))
    parser.add_argument("--image-size", type=int, default=1024)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=list(DTYPES), default="fp32")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    Limits.add_options(parser, minutes=2)
    parser.add_argument("--output", type=Path, help="write the results to this JSON file")
    for name in ("way", "mode", "place"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    if options.way:
        serve(job(options), torch.device(options.device))
        return
    hidden = ("output", "way", "mode", "place")
    settings = {k: v for k, v in vars(options).items() if k not in hidden}
    standard = choose_backend("auto", torch.device(options.device), DTYPES[options.precision])
    start = (lambda command: Here(job(parse(command[1:])))) if options.one_process else Side
    ways = list(dict.fromkeys([standard, *options.ways]))
    found = {
        f"{mode}, {place}": alternate(
            {
                way: [
                    *(__file__, *arguments),
                    *("--way", way, "--mode", mode, "--place", place),
                ]
                for way in ways
            },
            [(way, standard) for way in ways if way != standard],
            Limits.of(options),
            start=start,
        )
        for mode in MODES
        for place in PLACES
    }
    totals = {mode: encoder_seconds(found, mode, options.backbone) for mode in MODES}
    fastest = {
        mode: min(seconds, key=lambda way: seconds[way])
        for mode, seconds in totals.items()
        if seconds
    }
    write(
        options.output,
        settings,
        sides=found,
        encoder_seconds=totals,
        auto=standard,
        fastest=fastest,
        ratios=ratios(options, found, standard),
    )
    for mode, way in fastest.items():
        print(f"{mode}: {way} is the fastest for all blocks together; auto takes {standard}")


def encoder_seconds(found: dict[str, dict[str, Any]], mode: str, backbone: str) -> dict[str, float]:
    """Seconds of the attention of all blocks, for each way with enough undisturbed turns."""
    counts = blocks(backbone)
    sides = {place: found[f"{mode}, {place}"] for place in PLACES}
    return {
        way: sum(counts[place] * sides[place][way]["median_s"] for place in PLACES)
        for way in sides["map"]
        if all(sides[place][way].get("undisturbed", 0) >= LEAST for place in PLACES)
    }


def ratios(
    options: argparse.Namespace, found: dict[str, dict[str, Any]], standard: str
) -> list[dict[str, Any]]:
    what = f"{options.backbone}, {options.image_size} px, batch {options.batch_size}"
    what = f"{what}, {options.precision}, {options.device}"
    lines = []
    for where, sides in found.items():
        for way in (way for way in sides if way != standard):
            pair = sides[way], sides[standard]
            name = f"{way} / {standard} ({what})"
            lines.append(time_ratio(f"attention, {where}: {name}", *pair, None))
            lines += memory_ratios(f"attention memory, {where}", name, *pair, None)[:1]
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])
