"""SAM-Adapter: features of high frequencies and of the patches, added to every block's input.

Source: Chen et al., "SAM Fails to Segment Anything? - SAM-Adapter" (arXiv 2304.09148), and the
authors' code (tianrun-chen/SAM-Adapter-PyTorch, `models/mmseg/models/sam/image_encoder.py`).

One deliberate difference: that code reads the patch embedding (B, H, W, C) as if its memory were
(B, C, H, W), so that a position gets numbers of other patches and channels. Here, as the paper
draws it, each position gets the embedding of its own patch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from naslora.core.errors import SettingsError
from naslora.core.validation import StrictSettings
from naslora.methods.registry import register
from naslora.methods.settings import Width
from naslora.sam.building import Sam


class SamAdapterSettings(StrictSettings):
    """Settings of SAM-Adapter.

    Attributes:
        scale_factor: the encoder's channels per channel of the adapter. 16 makes it 80 wide on
            ViT-H, which gives the paper's count; the authors' code has 32.
        rate: share of the spectrum, around zero, that the high-pass filter removes.
    """

    scale_factor: Width = 16
    rate: Annotated[float, Field(ge=0, lt=1)] = 0.25


def high_pass(images: Tensor, rate: float) -> Tensor:
    """Remove low frequencies, and take the magnitude of what is left.

    Frequencies -n to n - 1 are removed on both axes, with n = floor(sqrt(H W rate) / 2). Since this
    square is not symmetric, the inverse transform is complex; as in the reference, its real part is
    used.

    Args:
        images: (..., H, W), of any size; half precision is widened to float32.
        rate: see `SamAdapterSettings`.

    Returns:
        (..., H, W), non-negative, float32 or wider.
    """
    H, W = images.shape[-2:]
    half = int((H * W * rate) ** 0.5 // 2)
    low_rows, low_columns = (_low_frequencies(size, half, images.device) for size in (H, W))
    wide = images.to(torch.promote_types(images.dtype, torch.float32))
    spectrum = torch.fft.fft2(wide) * ~(low_rows[:, None] & low_columns)
    filtered: Tensor = torch.fft.ifft2(spectrum).real.abs()
    return filtered


def _low_frequencies(size: int, half: int, device: torch.device) -> Tensor:
    """Which of an FFT's `size` bins have a frequency in [-half, half)."""
    frequency = (torch.arange(size, device=device) + size // 2) % size - size // 2
    return (frequency >= -half) & (frequency < half)


class SamAdapter(nn.Module):
    """Computes the tensors to add: up(gelu(tune_i(patches(high_pass(image)) + embed(tokens)))).

    `up` is shared by all blocks.

    Args:
        dim: channels C of the encoder.
        depth: blocks of the encoder.
        width: channels of the adapter.
        patch_size: side of a patch in pixels.
        rate: see `SamAdapterSettings`.
    """

    def __init__(self, dim: int, depth: int, width: int, patch_size: int, rate: float):
        super().__init__()
        self.rate = rate
        self.patches = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size)
        self.embed = nn.Linear(dim, width)
        self.tune = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.up = nn.Linear(width, dim)
        nn.init.normal_(self.patches.weight, std=(2 / (patch_size**2 * width)) ** 0.5)
        for linear in (self.embed, *self.tune, self.up):
            nn.init.trunc_normal_(linear.weight, std=0.02)
        for layer in (self.patches, self.embed, *self.tune, self.up):
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor, tokens: Tensor) -> Iterator[Tensor]:
        """Yield one tensor (B, H, W, C) per block; each is computed when it is requested.

        Args:
            images: normalised (B, 3, p*H, p*W), for patches of p x p pixels.
            tokens: the patch embedding (B, H, W, C), without positions.
        """
        details = self.patches(high_pass(images, self.rate).to(images.dtype))
        features = details.permute(0, 2, 3, 1) + self.embed(tokens)
        return (self.up(nn.functional.gelu(tune(features))) for tune in self.tune)


@register("sam_adapter", title="SAM-Adapter", settings=SamAdapterSettings, identity=False)
def apply(sam: Sam, settings: SamAdapterSettings) -> None:
    """Give the encoder a `SamAdapter`.

    Its weights start as the reference's (He over the fan out for the convolution, truncated normal
    of 0.02 for the rest, biases zero), so the adapted SAM does not start with the outputs of the
    SAM that it adapts.

    Raises:
        SettingsError: the scale factor is larger than the encoder's channels.
    """
    encoder = sam.image_encoder
    dim = encoder.pos_embed.shape[-1]
    width = dim // settings.scale_factor
    if not width:
        raise SettingsError(
            f"scale_factor {settings.scale_factor} leaves no channel of {sam.backbone}'s {dim}",
            remedy=f"choose at most {dim}",
        )
    adapter = SamAdapter(dim, len(encoder.blocks), width, encoder.patch_size, settings.rate)
    encoder.injector = adapter.to(encoder.pos_embed)
