"""SAM's image encoder: a plain ViT with windowed and global attention (ViTDet), in Meta's naming.

Methods that adapt the encoder change it at these places only:

- `block.attn.qkv` and `block.attn.proj` can be any modules with `nn.Linear`'s call signature. A
  `qkv` that looks at neighbours in a window may also have a method `in_windows(x, size)`, which
  returns for a map (B, H, W, C) what the module returns for `window_partition(x, size)`;
- `block.after_attention` and `block.after_mlp` are applied to the tokens after each residual;
- `block.prompts` are tokens (P, C) that join the attention of this block;
- `encoder.injector` computes a tensor to add to the input of each block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
from segment_anything.modeling.common import LayerNorm2d, MLPBlock
from torch import Tensor, nn

from naslora.sam.attention import attend, choose_backend, relative_positions
from naslora.sam.backends import AttentionBackend
from naslora.sam.recompute import checkpointed
from naslora.sam.windows import (
    apply_then_partition,
    is_pointwise,
    window_partition,
    window_unpartition,
)


class PatchEmbed(nn.Module):
    """Linear embedding of patches of p x p pixels: (B, 3, p*H, p*W) to (B, H, W, C)."""

    def __init__(self, dim: int, patch_size: int):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.proj(images)
        return tokens.permute(0, 2, 3, 1)


class Attention(nn.Module):
    """Multi-head self-attention with relative positions, over windows or the whole map.

    Args:
        dim: channels C.
        heads: attention heads.
        size: rows and columns of the window, or of the map, for the relative positions.
        window_size: side of the windows in tokens; 0 attends over the whole map.

    Attributes:
        backend: how attention is computed; see `ImageEncoderViT.attention_backend`.
    """

    rel_pos_h: nn.Parameter
    rel_pos_w: nn.Parameter

    def __init__(self, dim: int, heads: int, size: tuple[int, int], window_size: int = 0):
        super().__init__()
        self.num_heads = heads
        self.window_size = window_size
        self.backend: Literal["auto"] | AttentionBackend = "auto"
        self.qkv: nn.Module = nn.Linear(dim, 3 * dim)
        self.proj: nn.Module = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size[0] - 1, dim // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size[1] - 1, dim // heads))

    def forward(self, x: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            x: (B, H, W, C).
            prompts: tokens (P, C) that the tokens of every window attend to as well. They pass
                `qkv`, have no position, and are not part of the output.

        Returns:
            (B, H, W, C).
        """
        H, W = x.shape[1:3]
        size = self.window_size
        qkv = self.project(x)
        mixed = self._mix(qkv, None if prompts is None else self.qkv(prompts[None, None]))
        if not size:
            out: Tensor = self.proj(mixed)
        elif is_pointwise(self.proj):
            out = self.proj(window_unpartition(mixed, (H, W)))
        else:
            out = window_unpartition(self.proj(mixed), (H, W))
        return out

    def project(self, x: Tensor) -> Tensor:
        """Fused queries, keys and values of a map or of its windows: (B * windows, h, w, 3C)."""
        size = self.window_size
        if not size:
            qkv: Tensor = self.qkv(x)
        elif is_pointwise(self.qkv):
            qkv = apply_then_partition(self.qkv, x, size)
        elif in_windows := getattr(self.qkv, "in_windows", None):
            qkv = in_windows(x, size)
        else:
            qkv = self.qkv(window_partition(x, size))
        return qkv

    def split(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split fused (B, N, 3C) into queries, keys and values (B, heads, N, C / heads)."""
        heads = tokens.reshape(*tokens.shape[:2], 3, self.num_heads, -1)
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def _mix(self, qkv: Tensor, prompts: Tensor | None) -> Tensor:
        """Attention of fused projections: (B, h, w, 3C) to (B, h, w, C)."""
        B, h, w, _ = qkv.shape
        tokens = qkv.reshape(B, h * w, -1)
        if prompts is not None:
            tokens = torch.cat([prompts.flatten(1, 2).expand(B, -1, -1), tokens], 1)
        q, k, v = self.split(tokens)
        rows = relative_positions(self.rel_pos_h, h)
        columns = relative_positions(self.rel_pos_w, w)
        mixed = attend(q, k, v, rows, columns, self.backend)[:, :, -h * w :]
        return mixed.transpose(1, 2).reshape(B, h, w, -1)


class Block(nn.Module):
    """Transformer block: x + attn(norm(x)), then x + mlp(norm(x)).

    Attributes:
        after_attention: applied to the tokens (B, H, W, C) after the attention's residual.
        after_mlp: applied to the tokens after the residual of the MLP.
        prompts: None, or a parameter (P, C) of tokens that join the attention of this block.
    """

    def __init__(self, dim: int, heads: int, size: tuple[int, int], window_size: int = 0):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads, size, window_size)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLPBlock(dim, 4 * dim)
        self.after_attention: nn.Module = nn.Identity()
        self.after_mlp: nn.Module = nn.Identity()
        self.prompts: nn.Parameter | None
        self.register_parameter("prompts", None)

    def forward(self, x: Tensor) -> Tensor:
        prompts = None if self.prompts is None else self.norm1(self.prompts)
        attended = self.attn(self.norm1(x), prompts)
        x = self.after_attention(_residual(x, attended, self.attn.proj))
        x = self.after_mlp(_residual(x, self.mlp(self.norm2(x)), self.mlp.lin2))
        return x


def _residual(x: Tensor, change: Tensor, last: nn.Module) -> Tensor:
    """Return x + change, computed in the memory of `change` if that is the output of a plain layer.

    The backward pass of `nn.Linear` does not need its output. On a CPU, a new tensor would leave
    the memory of `change` as a gap between tensors that are kept for the backward pass, which the C
    library cannot reuse for another aligned tensor of the same size.
    """
    if type(last) is nn.Linear and change.dtype == x.dtype:
        return change.add_(x)
    return x + change


class ImageEncoderViT(nn.Module):
    """Images to embeddings.

    Attributes:
        patch_size: side p of a patch in pixels.
        injector: None, or a module called as `injector(images, tokens)` with the normalised images
            (B, 3, p*H, p*W) and the patch embedding (B, H, W, C) without positions; it returns an
            iterator over tensors (B, H, W, C), one for each block, that are added to their inputs.
            They are requested one by one, so that only one of them need be in memory.
        gradient_checkpointing: whether to keep only the input of each block for the backward pass
            and to compute the rest again.
    """

    def __init__(
        self,
        *,
        grid: tuple[int, int],
        patch_size: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        window_size: int,
        global_attn_indexes: Sequence[int],
        out_channels: int,
        attention_backend: Literal["auto"] | AttentionBackend = "auto",
    ):
        super().__init__()
        self.patch_size = patch_size
        self.gradient_checkpointing = False
        self.patch_embed = PatchEmbed(embed_dim, patch_size)
        self.pos_embed = nn.Parameter(torch.zeros(1, *grid, embed_dim))
        window = (window_size, window_size)
        self.blocks = nn.ModuleList(
            Block(embed_dim, num_heads, grid)
            if index in global_attn_indexes
            else Block(embed_dim, num_heads, window, window_size)
            for index in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(embed_dim, out_channels, kernel_size=1, bias=False),
            LayerNorm2d(out_channels),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(out_channels),
        )
        self.injector: nn.Module | None
        self.register_module("injector", None)
        self.attention_backend = attention_backend

    @property
    def img_size(self) -> int:
        """Side of the images in pixels, under the name that Meta's `SamPredictor` uses.

        Raises:
            ValueError: the images are not square, which Meta's code needs.
        """
        height, width = (self.patch_size * n for n in self.pos_embed.shape[1:3])
        if height != width:
            raise ValueError(f"Meta's code needs square images, and these are {height}x{width}")
        return int(height)

    @property
    def attention_backend(self) -> Literal["auto"] | AttentionBackend:
        """How attention is computed: "auto", by hardware and precision, or a backend by name.

        Raises:
            ValueError: when it is set to something else.
        """
        return self._attention_backend

    @attention_backend.setter
    def attention_backend(self, setting: Literal["auto"] | AttentionBackend) -> None:
        known = ("auto", *get_args(AttentionBackend))
        if setting not in known:
            raise ValueError(f"no attention backend {setting!r}; there are {', '.join(known)}")
        self._attention_backend = setting
        for block in self.blocks:
            cast(Block, block).attn.backend = setting

    def backend_in_use(self) -> AttentionBackend:
        """The backend that attention is computed with on this device, in this precision.

        Under autocast, call it under autocast as well.
        """
        weight = self.patch_embed.proj.weight
        kind, dtype = weight.device.type, weight.dtype
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
        return choose_backend(self.attention_backend, weight.device, dtype)

    def forward(self, images: Tensor) -> Tensor:
        """Encode normalised images (B, 3, p*H, p*W) to (B, out_channels, H, W)."""
        tokens = self.patch_embed(images)
        added = None if self.injector is None else self.injector(images, tokens)
        x = tokens + self.pos_embed
        for block in self.blocks:
            if added is not None:
                x = x + next(added)
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpointed(block, x)
            else:
                x = block(x)
        out: Tensor = self.neck(x.permute(0, 3, 1, 2))
        return out
