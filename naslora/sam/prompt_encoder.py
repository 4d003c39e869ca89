"""SAM's prompt encoder, reduced to its use without prompts, with all of Meta's parameters.

Semantic segmentation gives no points, boxes or masks: there are no sparse tokens, and the dense
embedding is the constant `no_mask_embed`. The other parameters stay, so that state dicts fit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from naslora.sam.layers import LayerNorm2d


class PositionEmbeddingRandom(nn.Module):
    """Random Fourier features of coordinates in the unit square."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, features: int):
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, features))

    def forward(self, size: tuple[int, int]) -> Tensor:
        """Encode the centres of a grid: (2 * features, H, W), in float32 or wider."""
        matrix = self.positional_encoding_gaussian_matrix
        matrix = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
        y, x = ((torch.arange(n, dtype=matrix.dtype, device=matrix.device) + 0.5) / n for n in size)
        # Products and a sum, not a matrix product, which autocast would round.
        along_x, along_y = (
            (2 * n - 1)[:, None] * row for n, row in zip((x, y), matrix, strict=True)
        )
        angles = 2 * math.pi * (along_x[None] + along_y[:, None])
        return torch.cat([angles.sin(), angles.cos()], -1).permute(2, 0, 1)


class PromptEncoder(nn.Module):
    """The constant prompt.

    Args:
        dim: channels of the prompts.
        grid: rows and columns of the image embedding.
    """

    def __init__(self, dim: int, grid: tuple[int, int], mask_channels: int = 16):
        super().__init__()
        self.grid = grid
        self.pe_layer = PositionEmbeddingRandom(dim // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, dim, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, dim)

    def forward(self) -> tuple[Tensor, Tensor]:
        """The positions of the image tokens (1, C, H, W), and the dense prompt (1, C, 1, 1)."""
        dense = self.no_mask_embed.weight[:, :, None, None]
        return self.pe_layer(self.grid)[None].to(dense.dtype), dense
