"""Weights of one SAM made to fit another: other image sizes, other numbers of mask tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from naslora.sam.building import Sam

State = dict[str, Tensor]

_TOKENS = "mask_decoder.mask_tokens.weight"
_HYPERNETWORKS = "mask_decoder.output_hypernetworks_mlps."
_IOU = "mask_decoder.iou_prediction_head.layers.2."
_CLASS = "mask_decoder.class_prediction_head."
_NOISE = math.sqrt(2)  # in standard deviations of the token
_NOISE_SEED = 0


def resize_pos_embed(pos_embed: Tensor, grid: tuple[int, int]) -> Tensor:
    """Interpolate absolute positions (1, h, w, C) to a grid: bicubic, with antialiasing."""
    if tuple(pos_embed.shape[1:3]) == grid:
        return pos_embed
    maps = pos_embed.float().permute(0, 3, 1, 2)
    maps = F.interpolate(maps, grid, mode="bicubic", antialias=True, align_corners=False)
    return maps.permute(0, 2, 3, 1).to(pos_embed.dtype)


def resize_rel_pos(table: Tensor, length: int) -> Tensor:
    """Interpolate relative positions (2*size - 1, d) to another length: linear, as Meta's code."""
    if table.shape[0] == length:
        return table
    resized = F.interpolate(table.float().T[None], length, mode="linear", align_corners=False)
    return resized[0].T.to(table.dtype)


def convert(state: Mapping[str, Tensor], sam: Sam) -> State:
    """The weights `state` of a SAM of the same backbone, in the shapes of `sam`.

    Position embeddings are interpolated to the image size. The number of mask tokens changes by
    this law: mask token i, hypernetwork MLP i and output i of the IoU head are those of token
    i mod T of the file, which has T. So a binary decoder gets token 0, Meta's single mask. Where a
    token repeats one (i >= T), it gets seeded noise, which puts it as far from that one as
    unrelated tokens are from each other. Without noise both would learn the same for ever; with
    little of it, most of a short training goes into telling them apart. The class branch comes
    from the file if it has one for the same classes, and stays as it is in `sam` otherwise.
    """
    own = sam.state_dict()
    grid = (own["image_encoder.pos_embed"].shape[1], own["image_encoder.pos_embed"].shape[2])
    out: State = {}
    for name, value in state.items():
        if name == "image_encoder.pos_embed":
            out[name] = resize_pos_embed(value, grid)
        elif ".attn.rel_pos_" in name and name in own:
            out[name] = resize_rel_pos(value, own[name].shape[0])
        elif not name.startswith((_HYPERNETWORKS, _CLASS)):
            out[name] = value
    source, target = state[_TOKENS].shape[0], own[_TOKENS].shape[0]
    rows = torch.arange(target) % source
    out[_TOKENS] = _separate(state[_TOKENS][rows], source)
    for end in ("weight", "bias"):
        out[_IOU + end] = state[_IOU + end][rows]
    for index, row in enumerate(rows.tolist()):
        prefix = f"{_HYPERNETWORKS}{row}."
        for name, value in state.items():
            if name.startswith(prefix):
                out[f"{_HYPERNETWORKS}{index}.{name.removeprefix(prefix)}"] = value
    for name, value in own.items():
        if name.startswith(_CLASS):
            fits = name in state and state[name].shape == value.shape
            out[name] = state[name] if fits else value
    return out


def _separate(tokens: Tensor, source: int) -> Tensor:
    """Noise on all tokens but the first `source`."""
    generator = torch.Generator().manual_seed(_NOISE_SEED)
    noise = torch.randn(tokens.shape, generator=generator) * _NOISE
    noise[:source] = 0
    return tokens + (noise * tokens.float().std(-1, keepdim=True)).to(tokens.dtype)
