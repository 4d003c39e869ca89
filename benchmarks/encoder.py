"""Our image encoder against Meta's with HF peft, and HF transformers' with HF peft.

    python benchmarks/encoder.py --image-size 512 --output benchmarks/results/encoder-512.json

A training step is forward, backward and an Adam step of the adapters, on one batch, with the mean
square of the embedding as the loss: the decoder, which is the same for all, is left out, and so is
the data. Weights are random. All sides take turns, each in a separate process.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import torch
from ratios import failure, memory_ratios, quiet_turns, share_of_peak, time_ratio, write
from sides import Here, Limits, Side, alternate, serve
from torch import Tensor, nn

from naslora.methods.registry import adapt
from naslora.sam.backbones import BACKBONES
from naslora.sam.backends import AttentionBackend
from naslora.sam.building import build_sam

RANK = 3
OURS = ("lora", "dora", "vera", "conv_lora", "nas_pc_lora", "darts")
GEMM = "gemm"  # the side whose job is a matrix product
PEERS = ("meta-lora", "meta-dora", "meta-vera", "transformers-lora", "autogluon-conv_lora")
LORA_PEERS = ("meta-lora", "transformers-lora")
# Our defaults are the paper's; where the peers' differ, ours are set to theirs.
SETTINGS: dict[str, dict[str, Any]] = {
    "dora": {"magnitude": "output"},
    "vera": {"rank": 256, "projections": None},
    "darts": {"style": "darts"},  # cells with ReLU and batch normalisation, as in DARTS
}
# Time and memory of training and time of inference, against Meta's encoder with peft's LoRA.
TARGETS: dict[tuple[str, int], tuple[float, float, float]] = {
    ("cpu", 1024): (0.65, 0.35, 0.7),
    ("cpu", 512): (0.85, 0.6, 0.7),
    ("cuda", 1024): (0.4, 0.35, 0.7),
}


def ours(
    method: str, backbone: str, image_size: int, attention: Any = "auto"
) -> tuple[nn.Module, Callable[..., Tensor]]:
    sam = build_sam(backbone, image_size, attention=attention)
    adapt(sam, "nas_pc_lora" if method == "darts" else method, SETTINGS.get(method))
    return sam.image_encoder, sam.image_encoder


def peft_model(encoder: nn.Module, method: str) -> nn.Module:
    from peft import LoraConfig, VeraConfig, get_peft_model

    config: Any
    if method == "vera":
        config = VeraConfig(r=256, target_modules=["qkv"])
    else:
        config = LoraConfig(
            r=RANK, lora_alpha=RANK, target_modules=["qkv"], use_dora=method == "dora"
        )
    model: nn.Module = get_peft_model(encoder, config)  # type: ignore[arg-type]
    return model


def meta_encoder(backbone: str, image_size: int) -> Any:
    from segment_anything.modeling import ImageEncoderViT

    sizes = BACKBONES[backbone]
    return ImageEncoderViT(
        img_size=image_size,
        embed_dim=sizes.embed_dim,
        depth=sizes.depth,
        num_heads=sizes.num_heads,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=sizes.window_size,
        global_attn_indexes=sizes.global_attn_indexes,
        out_chans=sizes.prompt_embed_dim,
    )


def meta(method: str, backbone: str, image_size: int) -> tuple[nn.Module, Callable[..., Tensor]]:
    model: Any = peft_model(meta_encoder(backbone, image_size), method)
    return model, model.base_model.model


def transformers(
    method: str, backbone: str, image_size: int
) -> tuple[nn.Module, Callable[..., Tensor]]:
    from transformers import SamVisionConfig, SamVisionModel

    sizes = BACKBONES[backbone]
    config = SamVisionConfig(
        hidden_size=sizes.embed_dim,
        num_hidden_layers=sizes.depth,
        num_attention_heads=sizes.num_heads,
        image_size=image_size,
        window_size=sizes.window_size,
        global_attn_indexes=list(sizes.global_attn_indexes),
        output_channels=sizes.prompt_embed_dim,
    )
    model: Any = peft_model(SamVisionModel(config), method)
    return model, lambda images: model.base_model.model(images).last_hidden_state


def autogluon(
    path: Path, backbone: str, image_size: int
) -> tuple[nn.Module, Callable[..., Tensor]]:
    """Meta's encoder with the Conv-LoRA layer from AutoGluon's file."""
    spec = importlib.util.spec_from_file_location("adaptation_layers", path)
    assert spec is not None
    assert spec.loader is not None
    layers: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(layers)

    class Layer(layers.ConvLoRALinear):  # type: ignore[misc, name-defined]
        def forward(self, x: Tensor) -> Tensor:
            out, balance = super().forward(x)
            losses.append(balance)
            return cast(Tensor, out)

    losses: list[Tensor] = []
    encoder = meta_encoder(backbone, image_size).requires_grad_(False)
    for block in encoder.blocks:
        qkv = block.attn.qkv
        block.attn.qkv = Layer(
            qkv.in_features, qkv.out_features, r=RANK, lora_alpha=RANK, conv_lora_expert_num=8
        )

    def encode(images: Tensor) -> Tensor:
        losses.clear()
        embeddings: Tensor = encoder(images)
        return embeddings + torch.stack(losses).sum() if encoder.training else embeddings

    return encoder, encode


def job(options: argparse.Namespace) -> Callable[[], object]:
    """The job that a side repeats."""
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    if options.side == GEMM:
        return product(options)
    maker, _, method = options.side.rpartition("-")
    if maker == "autogluon":
        model, encode = autogluon(options.autogluon, options.backbone, options.image_size)
    else:
        build = {
            "meta": meta,
            "transformers": transformers,
            "": partial(ours, attention=options.attention),
        }[maker]
        model, encode = build(method, options.backbone, options.image_size)
    model.to(options.device).train(options.mode == "training")
    images = torch.randn(options.batch_size, 3, options.image_size, options.image_size)
    images = images.to(options.device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=1e-4)
    mixed = torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16")

    def step() -> None:
        with mixed:
            loss = encode(images).float().square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    def infer() -> None:
        with torch.inference_mode(), mixed:
            encode(images)

    return step if options.mode == "training" else infer


def product_size(device: str) -> int:
    """Rows and columns of the square matrices in the product that measures the peak rate."""
    return 8192 if device == "cuda" else 2048


def product(options: argparse.Namespace) -> Callable[[], object]:
    """A product of large matrices, which measures this machine's peak rate."""
    n = product_size(options.device)
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    a, b = (torch.randn(n, n, dtype=dtype, device=options.device) for _ in range(2))
    return lambda: a @ b


def flops(backbone: str, image_size: int, batch: int) -> float:
    """FLOPs of a forward pass: the blocks' linear layers and attention, without padding tokens."""
    sizes = BACKBONES[backbone]
    tokens = (image_size // sizes.patch_size) ** 2
    linear = 12 * sizes.embed_dim**2
    whole = len(sizes.global_attn_indexes)
    keys = whole * tokens + (sizes.depth - whole) * sizes.window_size**2
    products = sizes.depth * linear + 2 * keys * sizes.embed_dim
    return 2.0 * batch * tokens * products


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="vit_b")
    parser.add_argument("--image-size", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument(
        "--attention", default="auto", choices=["auto", *get_args(AttentionBackend)], help="of ours"
    )
    Limits.add_options(parser)
    parser.add_argument("--sides", nargs="+", default=[*OURS[:-1], *PEERS], choices=[*OURS, *PEERS])
    parser.add_argument(
        "--autogluon", type=Path, help="a copy of AutoGluon's adaptation_layers.py, for its side"
    )
    parser.add_argument("--output", type=Path, help="write the results to this JSON file")
    parser.add_argument("--mode", default="training", help=argparse.SUPPRESS)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    if options.side:
        serve(job(options), torch.device(options.device))
        return
    if options.autogluon is None and "autogluon-conv_lora" in options.sides:
        print("autogluon-conv_lora is left out: give its file with --autogluon", flush=True)
        options.sides.remove("autogluon-conv_lora")
    settings = {
        k: v for k, v in vars(options).items() if k not in ("output", "side", "mode", "autogluon")
    }
    infer = [
        side
        for side in options.sides
        if options.device == "cuda" or side.endswith("-lora") or side == "lora"
    ]
    start = (lambda command: Here(job(parse(command[1:])))) if options.one_process else Side
    modes = {"training": options.sides, "inference": [*infer, GEMM]}
    found = {
        mode: alternate(
            {
                side: [
                    *(Path(__file__).as_posix(), "--side", side, "--mode", mode),
                    *arguments,
                ]
                for side in sides
            },
            pairs(sides),
            Limits.of(options),
            start=start,
        )
        for mode, sides in modes.items()
    }
    write(options.output, settings, sides=found, ratios=ratios(options, found))


def pairs(sides: Sequence[str]) -> list[tuple[str, str]]:
    """Our side and the peer of each comparison: the peer with the same method, or else LoRA."""
    named = [(side.rpartition("-")[2], side) for side in sides if side in PEERS]
    found = [(mine, peer) for mine, peer in named if mine in sides]
    alone = [side for side in sides if side in OURS and side not in dict(found)]
    return found + [(mine, peer) for mine in alone for peer in LORA_PEERS if peer in sides]


def ratios(
    options: argparse.Namespace, found: dict[str, dict[str, dict[str, Any]]]
) -> list[dict[str, Any]]:
    what = f"{options.backbone}, {options.image_size} px, batch {options.batch_size}"
    what = f"{what}, {options.precision}, {options.device}"
    targets = TARGETS.get((options.device, options.image_size), (None, None, None))
    lines = []
    train, infer = found["training"], found["inference"]
    for mine, peer in pairs(options.sides):
        goal = targets if peer == "meta-lora" else (None, None, None)
        name = f"our {mine} / {peer} ({what})"
        lines.append(time_ratio(f"step time: {name}", train[mine], train[peer], goal[0]))
        lines += memory_ratios("step memory", name, train[mine], train[peer], goal[1])
        if mine in infer and peer in infer:
            lines.append(time_ratio(f"inference time: {name}", infer[mine], infer[peer], goal[2]))
    if "lora" in infer:
        work = flops(options.backbone, options.image_size, options.batch_size)
        quiet = [
            not failure(infer[side]) and bool(quiet_turns(infer[side])) for side in ("lora", GEMM)
        ]
        rate = work / infer["lora"]["median_s"] if quiet[0] else None
        n = product_size(options.device)
        peak = 2 * n**3 / min(infer[GEMM]["seconds"]) if quiet[1] else None
        question = f"share of the GEMM peak in inference: our lora ({what})"
        lines.append(share_of_peak(question, rate, peak))
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])
