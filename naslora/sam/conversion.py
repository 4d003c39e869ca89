"""Weights of one SAM made to fit another: other image sizes, other numbers of mask tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from naslora.sam.building import Sam
from naslora.sam.formats import State

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
    """Interpolate relative positions (2*size - 1, d) linearly to another length, as Meta's code."""
    if table.shape[0] == length:
        return table
    resized = F.interpolate(table.float().T[None], length, mode="linear", align_corners=False)
    return resized[0].T.to(table.dtype)


def convert(state: Mapping[str, Tensor], sam: Sam) -> State:
    """The weights `state` of a SAM of the same backbone, in the shapes of `sam`.

    Position embeddings are interpolated to the image size. Mask token i of `sam` comes from one of
    the T tokens in `state`, with the hypernetwork MLP and the output of the IoU head of that token:

    - if `sam` has one shared MLP and `state` one for each token, every token comes from token 0,
      which Meta uses for a single mask, and so does the MLP;
    - otherwise token i comes from token i mod T. Repeated tokens (i >= T) get seeded noise that
      makes them as different from the original as unrelated tokens are from each other. Equal
      tokens would diverge without it, since classes are assigned to tokens one to one, but slowly.

    The class branch comes from `state` if that has one for the same classes; otherwise it stays
    as it is in `sam`.
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
    mlps, own_mlps = _mlps(state), _mlps(own)
    rows = torch.arange(target) % source
    if own_mlps == 1 < mlps:
        rows = torch.zeros_like(rows)
        out[_TOKENS] = state[_TOKENS][rows]
    else:
        out[_TOKENS] = _separate(state[_TOKENS][rows], source)
    for end in ("weight", "bias"):
        out[_IOU + end] = state[_IOU + end][rows]
    for index, row in enumerate(rows[:own_mlps].tolist()):
        prefix = f"{_HYPERNETWORKS}{min(row, mlps - 1)}."
        for name, value in state.items():
            if name.startswith(prefix):
                out[f"{_HYPERNETWORKS}{index}.{name.removeprefix(prefix)}"] = value
    for name, value in own.items():
        if name.startswith(_CLASS):
            fits = name in state and state[name].shape == value.shape
            out[name] = state[name] if fits else value
    return out


def _mlps(state: Mapping[str, Tensor]) -> int:
    """The number of hypernetwork MLPs: one where it is shared."""
    return len({name.split(".")[2] for name in state if name.startswith(_HYPERNETWORKS)})


def _separate(tokens: Tensor, source: int) -> Tensor:
    """Add noise to all tokens but the first `source`."""
    generator = torch.Generator().manual_seed(_NOISE_SEED)
    noise = (torch.randn(tokens.shape, generator=generator) * _NOISE).to(tokens.device)
    noise[:source] = 0
    return tokens + (noise * tokens.float().std(-1, keepdim=True)).to(tokens.dtype)
