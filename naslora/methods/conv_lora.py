"""Conv-LoRA: LoRA with a convolution between its factors, at a scale that a router chooses.

Source: Zhong et al., "Convolution Meets LoRA" (ICLR 2024, arXiv 2401.17868), and the authors' code
in AutoGluon (`multimodal/models/adaptation_layers.py`). The router is that of Shazeer et al.,
"Outrageously Large Neural Networks" (ICLR 2017, arXiv 1701.06538), eq. 3 to 11, with k = 1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from naslora.core.precision import without_autocast
from naslora.methods.layers import LowRankLinear, replace_qkv
from naslora.methods.lora import LoRASettings
from naslora.methods.registry import register
from naslora.sam.building import Sam

_NOISE_FLOOR = 1e-2


class ConvLoRASettings(LoRASettings):
    """Settings of Conv-LoRA, in addition to LoRA's. Each low-rank branch has a router and experts.

    Attributes:
        experts: number of convolutions; the i-th works at i times the resolution.
        load_balance: factor on the loss that keeps all experts in use.
    """

    experts: Annotated[int, Field(ge=2, le=64)] = 8
    load_balance: Annotated[float, Field(ge=0)] = 1e-2


@register("conv_lora", title="Conv-LoRA", settings=ConvLoRASettings)
def apply(sam: Sam, settings: ConvLoRASettings) -> None:
    """Put a low-rank branch with convolutional experts on the qkv layer of every chosen block."""

    def experts() -> ConvolutionExperts:
        return ConvolutionExperts(settings.rank, settings.experts, settings.load_balance)

    def build(base: nn.Linear) -> LowRankLinear:
        return LowRankLinear(
            base,
            settings.rank,
            settings.scale,
            settings.projections,
            experts,
            pointwise=False,
        )

    replace_qkv(sam, build, settings.layers)


class ConvolutionExperts(nn.Module):
    """z -> z + GELU(conv(z)), where z's router chooses the convolution and its scale.

    A map z is one window of the attention, padding included, or the whole map in a global block;
    each is routed on its own, by its mean over positions. Expert n enlarges the map n times,
    applies its 3 x 3 convolution with bias and GELU, and shrinks the result to the size of z, both
    bicubically. Only the chosen expert is computed.

    As in the authors' code, the gate's value does not multiply the expert's output, so the router
    learns only from the load-balance loss.

    In training, choices are noisy, and the loss is stored in `auxiliary_loss`. An expert that is
    chosen for no map of a batch has no gradient: `DistributedDataParallel` needs
    `find_unused_parameters`. Under gradient checkpointing, the backward pass recomputes the layer
    with the same noise, and sets `auxiliary_loss` again.

    Args:
        channels: of z; this is LoRA's rank.
        experts: number of experts.
        load_balance: factor on the loss.

    Attributes:
        auxiliary_loss: the weighted load-balance loss of the last forward; None outside training.
    """

    def __init__(self, channels: int, experts: int, load_balance: float):
        super().__init__()
        self.load_balance = load_balance
        self.auxiliary_loss: Tensor | None = None
        self.gate = nn.Parameter(torch.zeros(channels, experts))
        self.noise = nn.Parameter(torch.zeros(channels, experts))
        self.experts = nn.ModuleList(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1) for _ in range(experts)
        )
        for name, parameter in self.experts.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, z: Tensor) -> Tensor:
        """Add the chosen experts' outputs to maps (N, h, w, channels).

        Computed in float32 or wider, even under autocast: it is a small part of the work, and the
        router compares numbers that are close.
        """
        dtype = z.dtype
        with without_autocast(z.device):
            maps = z.to(torch.promote_types(dtype, torch.float32)).permute(0, 3, 1, 2)
            choice, self.auxiliary_loss = self.route(maps.mean((2, 3)))
            mixed = self._all_mixed if torch.compiler.is_exporting() else self._mixed
            maps = maps + mixed(maps, choice)
            if self.auxiliary_loss is not None:
                # Adds zero, to make the router part of the output's graph: DistributedDataParallel
                # takes parameters outside of it for unused, and fails if they get a gradient.
                maps = maps + 0 * self.auxiliary_loss
        return maps.permute(0, 2, 3, 1).to(dtype)

    def prepare_export(self, z: Tensor) -> None:
        """Compute the resampling matrices of all experts for maps z (N, h, w, channels).

        An exported model then holds them as constants; ONNX would compute them differently.
        """
        dtype = torch.promote_types(z.dtype, torch.float32)
        for ratio in range(2, len(self.experts) + 1):
            for length in z.shape[1:3]:
                _resampling(length, ratio, dtype, z.device)

    def _mixed(self, maps: Tensor, choice: Tensor) -> Tensor:
        """Outputs of the chosen experts for maps (N, channels, h, w).

        It waits for the GPU: which kernels run depends on how many maps each expert gets.
        """
        order = choice.argsort(stable=True)
        counts = choice.bincount(minlength=len(self.experts)).tolist()
        groups = torch.split(maps[order], counts)
        mixed = torch.cat([self._expert(i, group) for i, group in enumerate(groups) if len(group)])
        return mixed[order.argsort()]

    def _all_mixed(self, maps: Tensor, choice: Tensor) -> Tensor:
        """The same without shapes that depend on the data: every expert is applied to every map."""
        every = torch.stack([self._expert(i, maps) for i in range(len(self.experts))])
        chosen = F.one_hot(choice, len(self.experts)).T[:, :, None, None, None]
        return torch.where(chosen.bool(), every, torch.zeros_like(every)).sum(0)

    def _expert(self, index: int, maps: Tensor) -> Tensor:
        conv = cast(nn.Conv2d, self.experts[index])
        assert conv.bias is not None
        return convolve_at_scale(maps, conv.weight, conv.bias, index + 1)

    def route(self, context: Tensor) -> tuple[Tensor, Tensor | None]:
        """Choose an expert for each map.

        Args:
            context: the maps' means (N, channels).

        Returns:
            Indices (N,), and in training the weighted load-balance loss, else None.
        """
        clean = context @ self.gate.to(context.dtype)
        if not self.training:
            return clean.argmax(1), None
        deviation = F.softplus(context @ self.noise.to(context.dtype)) + _NOISE_FLOOR
        noisy = clean + torch.randn_like(clean) * deviation
        choice = noisy.argmax(1)
        # P(expert wins if its noise alone is drawn again), Shazeer et al., eq. 9: it has to beat
        # the best of the others.
        top = noisy.topk(2, dim=1).values
        rival = torch.where(noisy > top[:, 1:], top[:, 1:], top[:, :1])
        load = torch.special.ndtr((clean - rival) / deviation).sum(0)
        importance = F.one_hot(choice, len(self.experts)).sum(0).to(load.dtype)
        loss = squared_variation(importance) + squared_variation(load)
        return choice, self.load_balance * loss


def squared_variation(x: Tensor) -> Tensor:
    """The squared coefficient of variation of (n,) numbers: unbiased variance over squared mean."""
    return x.var() / (x.mean() ** 2 + 1e-10)


def convolve_at_scale(x: Tensor, weight: Tensor, bias: Tensor, ratio: int) -> Tensor:
    """Enlarge bicubically, convolve, apply GELU, and shrink bicubically to the original size.

    Equal to `F.interpolate`, `F.conv2d`, `F.gelu` and `F.interpolate` up to rounding, but positions
    that the shrinking does not read are not computed. At an odd ratio it reads the middle one of
    every `ratio` positions, at an even ratio the four around the middle; the convolution reads one
    more on each side. Resampling by matrices has a deterministic gradient on every device.

    Args:
        x: (N, C, h, w).
        weight: (C, C, 3, 3).
        bias: (C,).
        ratio: how many times larger.

    Returns:
        (N, C, h, w).
    """
    weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    if ratio == 1:
        return F.gelu(F.conv2d(x, weight, bias, padding=1))
    (up_h, down_h), (up_w, down_w) = (
        _resampling(length, ratio, x.dtype, x.device) for length in x.shape[2:]
    )
    large = up_h @ x @ up_w.T
    if ratio % 2:
        return F.gelu(F.conv2d(large, weight, bias, stride=3))
    return down_h @ F.gelu(F.conv2d(large, weight, bias, padding=1)) @ down_w.T


@lru_cache(maxsize=512)
def _resampling(
    length: int, ratio: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Matrices (m, length) and (length, m) that resample an axis up and down.

    m is ratio * length without the positions that are not read: of every `ratio`, at most three
    are kept at an odd ratio, and six at an even one. The outputs of the convolution at the edges of
    these groups, where it reaches over removed positions, are not read.
    """
    # Not as inference tensors, which later training could not use.
    with torch.inference_mode(False), torch.no_grad():
        up, down = _bicubic(length, length * ratio), _bicubic(length * ratio, length)
        width = min(ratio, 3 if ratio % 2 else 6)
        start = (ratio - width) // 2
        offset = torch.arange(length * ratio, device="cpu") % ratio
        kept = (offset >= start) & (offset < start + width)
        return up[kept].to(device, dtype), down[:, kept].to(device, dtype)


def _bicubic(source: int, target: int) -> Tensor:
    """The matrix (target, source) of `F.interpolate` in mode bicubic, in float64."""
    basis = torch.eye(source, dtype=torch.float64, device="cpu").reshape(1, source, source, 1)
    return F.interpolate(basis, size=(target, 1), mode="bicubic")[0, :, :, 0].T
