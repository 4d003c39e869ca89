"""Methods on models of other packages: SAMs, and vision transformers with a fused qkv layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import torch
from segment_anything.modeling import Sam as MetaSam
from torch import Tensor, nn

from naslora.core.errors import SettingsError
from naslora.methods.layers import AdaptedLinear, LowRankLinear
from naslora.methods.registry import adapt, get_method, seeded_init
from naslora.sam.building import Sam
from naslora.sam.third_party import from_huggingface, from_meta, is_huggingface


def adapt_model(
    model: nn.Module,
    method: str = "nas_lora",
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    *,
    train: Iterable[str] = (),
) -> nn.Module:
    """Put a method on a model of this package or of another, and freeze the rest.

    The model is one of:

    - a `naslora` SAM, which is changed in place, as by `naslora.methods.registry.adapt`;
    - Meta's SAM, from `sam_model_registry`, or HF transformers' `SamModel`, which is converted to a
      `naslora` SAM; Meta's `SamPredictor` works with that;
    - a vision transformer with fused qkv layers, such as timm's, which is changed in place; see
      `adapt_vit`.

    Args:
        model: the model.
        method: the name in the registry.
        settings: the method's settings.
        seed: the random seed of the new layers' initialisation.
        train: for a vision transformer, what else is trained, such as "head".

    Returns:
        The adapted model.

    Raises:
        SettingsError: the method or a setting is unknown or invalid, or does not fit the model.
        CheckpointError: a SAM of another package has the sizes of no backbone of this package.
        ValueError: the model carries a method already, or cannot carry one.
    """
    if isinstance(model, MetaSam):
        sam = from_meta(model)
    elif is_huggingface(model):
        sam = from_huggingface(model)
    else:
        adapt_vit(model, method, settings, seed, train=train)
        return model
    if train:
        raise ValueError("a SAM's mask decoder is always trained; `train` is for other models")
    adapt(sam, method, settings, seed)
    return sam


def adapt_vit(
    model: nn.Module,
    method: str,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    *,
    train: Iterable[str] = (),
    prefix_tokens: int | None = None,
) -> list[str]:
    """Freeze a vision transformer, and put a method on its fused qkv layers.

    It supports the methods that change only qkv: LoRA, DoRA, VeRA, Conv-LoRA, NAS-LoRA. The layers
    are found by `fused_qkv`. Cells and convolutions work on the map of patches, or on windows if
    the model calls qkv with windows; class and register tokens have no neighbours.

    Args:
        model: for example one of `timm.create_model`.
        method: the name in the registry.
        settings: the method's settings.
        seed: the random seed of the new layers' initialisation.
        train: names of other parameters or modules to train, such as "head".
        prefix_tokens: tokens before the patches; by default `model.num_prefix_tokens`, or none.

    Returns:
        The names of the layers that carry the method.

    Raises:
        SettingsError: the method changes more than qkv, or a setting is invalid.
        ValueError: the model has no fused qkv layer, carries a method already, or has no parameter
            of a name in `train`.
    """
    chosen = get_method(method)
    parsed = chosen.parse(settings or {})
    attentions = fused_qkv(model)
    if not attentions:
        if any(isinstance(module, AdaptedLinear) for module in model.modules()):
            raise ValueError(f"this {type(model).__name__} carries a method already")
        raise ValueError(f"{type(model).__name__} has no fused qkv layer")
    also_trained = _parameters_below(model, train)
    before = {name: attention.qkv for name, attention in attentions.items()}
    required = {name: p.requires_grad for name, p in model.named_parameters()}
    model.requires_grad_(False)
    try:
        with seeded_init(seed):
            chosen.apply(cast(Sam, _OnlyQKV(chosen.title, attentions.values())), parsed)
        adapted = {
            name: attention
            for name, attention in attentions.items()
            if isinstance(attention.qkv, AdaptedLinear)
        }
        if not adapted:
            raise _more_than_qkv(chosen.title)
    except SettingsError:
        for name, attention in attentions.items():
            attention.qkv = before[name]
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(required[name])
        raise
    if prefix_tokens is None:
        prefix_tokens = int(getattr(model, "num_prefix_tokens", 0))
    for attention in adapted.values():
        if is_spatial(cast(AdaptedLinear, attention.qkv)):
            attention.qkv = TokenMapAdapter(cast(AdaptedLinear, attention.qkv), prefix_tokens)
    for parameter in also_trained:
        parameter.requires_grad_(True)
    model.train(model.training)  # new layers start in training mode, whatever the model is in
    return [f"{name}.qkv" for name in adapted]


def _parameters_below(model: nn.Module, starts: Iterable[str]) -> list[nn.Parameter]:
    """The parameters of these names, or of modules of these names."""
    found: list[nn.Parameter] = []
    for start in starts:
        below = [p for name, p in model.named_parameters() if f"{name}.".startswith(f"{start}.")]
        if not below:
            raise ValueError(f"{type(model).__name__} has no parameter or module named {start!r}")
        found += below
    return found


def fused_qkv(model: nn.Module) -> dict[str, nn.Module]:
    """The modules with an `nn.Linear` named `qkv` that makes queries, keys and values, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if type(qkv := getattr(module, "qkv", None)) is nn.Linear and qkv.out_features % 3 == 0
    }


def is_spatial(layer: AdaptedLinear) -> bool:
    """Whether a layer's output at a position depends on other positions."""
    return not layer.pointwise or (
        isinstance(layer, LowRankLinear)
        and any(branch.middle is not None for _, branch in layer.named_branches())
    )


class TokenMapAdapter(nn.Module):
    """Calls a layer for maps (B, H, W, C) with tokens (B, P + H*W, C), or with maps.

    Each of the P tokens before the patches becomes a map of one position. With tokens, H equals W.
    """

    def __init__(self, layer: AdaptedLinear, prefix_tokens: int):
        super().__init__()
        self.layer = layer
        self.prefix_tokens = prefix_tokens

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 4:
            return cast(Tensor, self.layer(x))
        side = math.isqrt(x.shape[1] - self.prefix_tokens)
        if side**2 != x.shape[1] - self.prefix_tokens:
            raise ValueError(
                f"{x.shape[1]} tokens less {self.prefix_tokens} before them are not a square map"
            )
        before, patches = torch.split(x, [self.prefix_tokens, side**2], 1)
        outputs = []
        if self.prefix_tokens:  # first, since a layer keeps the auxiliary loss of its last call
            alone = self.layer(before.flatten(0, 1)[:, None, None])
            outputs.append(alone.reshape(*before.shape[:2], -1))
        outputs.append(self.layer(patches.reshape(len(x), side, side, -1)).flatten(1, 2))
        return torch.cat(outputs, 1)


class _OnlyQKV:
    """The qkv layers of a model, found where methods look for those of a SAM."""

    def __init__(self, title: str, attentions: Iterable[nn.Module]):
        self._title = title
        self.backbone = "this model"
        self.image_encoder = self
        self.blocks = [SimpleNamespace(attn=attention) for attention in attentions]

    def __getattr__(self, name: str) -> Any:
        raise _more_than_qkv(self._title)


def _more_than_qkv(title: str) -> SettingsError:
    return SettingsError(
        f"{title} is not a method of the qkv layers, and can only be put on a SAM",
        remedy="choose lora, dora, vera, conv_lora, nas_lora or nas_pc_lora",
    )
