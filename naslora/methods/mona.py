"""Mona: a bottleneck with depthwise convolutions after each half of every block.

Source: Yin et al., "5%>100%: Breaking Performance Shackles of Full Fine-Tuning on Visual
Recognition Tasks" (arXiv 2408.08345), and the authors' code (Leiyi-Hu/mona,
`swin_transformer_mona.py`).

With the mask decoder it trains 15,023,488 parameters on ViT-H. The NAS-LoRA paper says 17.08 M, but
no plausible width, number or place of the modules gives that; the official module is used.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from naslora.core.validation import StrictSettings
from naslora.methods.layers import encoder_blocks
from naslora.methods.registry import register
from naslora.methods.settings import Width
from naslora.sam.building import Sam

_KERNEL_SIZES = (3, 5, 7)


class MonaSettings(StrictSettings):
    """Settings of Mona; the defaults are the official module's.

    Attributes:
        width: channels of the bottleneck.
        dropout: probability of dropout before the projection back.
    """

    width: Width = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


class Mona(nn.Module):
    """x + up(dropout(gelu(mix(down(LN(x) gamma + x gamma_x))))).

    The mix goes over space, then over channels. Spatial mix: the mean of depthwise
    convolutions of 3, 5 and 7, plus a skip. Channel mix: a pointwise convolution, plus a skip.

    Args:
        dim: channels C of the tokens.
        width: channels of the bottleneck.
        dropout: probability of dropout before the projection back.
    """

    def __init__(self, dim: int, width: int = 64, dropout: float = 0.1):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.gamma = nn.Parameter(torch.full((dim,), 1e-6))
        self.gamma_x = nn.Parameter(torch.ones(dim))
        self.down = nn.Linear(dim, width)
        self.depthwise = nn.ModuleList(
            nn.Conv2d(width, width, size, padding=size // 2, groups=width) for size in _KERNEL_SIZES
        )
        self.pointwise = nn.Conv2d(width, width, kernel_size=1)
        self.dropout = nn.Dropout(dropout)
        self.up = nn.Linear(width, dim)
        for linear in (self.down, self.up):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Adapt tokens (B, H, W, C)."""
        scaled = self.norm(x) * self.gamma + x * self.gamma_x
        hidden: Tensor = self.down(scaled).permute(0, 3, 1, 2).contiguous()
        mixed = torch.stack([convolution(hidden) for convolution in self.depthwise])
        hidden = hidden + mixed.mean(0)
        hidden = hidden + self.pointwise(hidden)
        hidden = nn.functional.gelu(hidden).permute(0, 2, 3, 1)
        out: Tensor = x + self.up(self.dropout(hidden))
        return out


@register("mona", title="Mona", settings=MonaSettings, identity=False)
def apply(sam: Sam, settings: MonaSettings) -> None:
    """Put one module after the attention's residual and one after the MLP's, on the whole map.

    Its last projection starts at random, as the reference's training does (truncated normal of
    0.02, bias zero), so the adapted SAM does not start with the outputs of the SAM that it adapts.
    """
    like = sam.image_encoder.pos_embed
    for block in encoder_blocks(sam):
        for place in ("after_attention", "after_mlp"):
            mona = Mona(like.shape[-1], settings.width, settings.dropout)
            setattr(block, place, mona.to(like))
