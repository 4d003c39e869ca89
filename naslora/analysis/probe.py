"""Attention distances and log amplitudes of all layers of an image encoder, in one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from naslora.analysis.attention_distance import mean_attention_distance
from naslora.analysis.log_amplitude import relative_log_amplitudes
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import Sam
from naslora.sam.conversion import resize_pos_embed, resize_rel_pos
from naslora.sam.image_encoder import Attention, Block


@dataclass(frozen=True)
class Features:
    """Statistics of B images in an encoder of L blocks with maps of N x N patches.

    Attributes:
        distances: mean attention distance per head (B, L, heads), pixels.
        amplitudes: relative log amplitude (B, L + 1, ceil(N / 2)) of the first block's input and
            of each block's output.
    """

    distances: Tensor
    amplitudes: Tensor

    @classmethod
    def join(cls, parts: Sequence[Features]) -> Features:
        """Concatenate the statistics of several batches."""
        return cls(
            torch.cat([part.distances for part in parts]),
            torch.cat([part.amplitudes for part in parts]),
        )


@torch.no_grad()
def probe(sam: Sam, images: Tensor) -> Features:
    """Measure every layer of a SAM's image encoder on images (B, 3, H, W), uint8 or float in
    0..255.
    """
    patch_px = sam.image_encoder.patch_size
    distances: list[Tensor] = []
    amplitudes: list[Tensor] = []

    def attended(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        attention = cast(Attention, module)
        distances.append(mean_attention_distance(attention, inputs[0], patch_px).cpu())

    def entered(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        amplitudes.append(_amplitudes(inputs[0]))

    def left(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        amplitudes.append(_amplitudes(output))

    blocks = [cast(Block, block) for block in sam.image_encoder.blocks]
    with ExitStack() as hooks:
        hooks.callback(blocks[0].register_forward_pre_hook(entered).remove)
        for block in blocks:
            hooks.callback(block.attn.register_forward_pre_hook(attended).remove)
            hooks.callback(block.register_forward_hook(left).remove)
        sam.encode(images)
    return Features(torch.stack(distances, 1), torch.stack(amplitudes, 1))


def resize_encoder(sam: Sam, image_size: int) -> None:
    """Change the input size of the image encoder, as when a checkpoint of another size is loaded.

    Absolute position embeddings and the relative ones of global attention are interpolated; those
    of windows do not change. The decoder does not change, so only `sam.encode` works afterwards.

    Raises:
        ValueError: the size is not a multiple of the patch size.
    """
    side, _ = BACKBONES[sam.backbone].grid((image_size, image_size))
    encoder = sam.image_encoder
    encoder.pos_embed = _like(encoder.pos_embed, resize_pos_embed(encoder.pos_embed, (side, side)))
    for block in (cast(Block, block) for block in encoder.blocks):
        attention = block.attn
        if not attention.window_size:
            length = 2 * side - 1
            rows, columns = attention.rel_pos_h, attention.rel_pos_w
            attention.rel_pos_h = _like(rows, resize_rel_pos(rows, length))
            attention.rel_pos_w = _like(columns, resize_rel_pos(columns, length))
    sam.image_size = (image_size, image_size)


def _like(old: nn.Parameter, value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach(), requires_grad=old.requires_grad)


def _amplitudes(tokens: Tensor) -> Tensor:
    return relative_log_amplitudes(tokens.permute(0, 3, 1, 2)).cpu()
