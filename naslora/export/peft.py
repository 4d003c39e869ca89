"""The adapter format of HF PEFT, which `PeftModel.from_pretrained` loads into a plain SAM."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from naslora.core.errors import SettingsError
from naslora.core.files import whole_folder
from naslora.methods.dora import DoRALinear
from naslora.methods.layers import AdaptedLinear, LowRankLinear, plain_linear
from naslora.methods.registry import adaptation_of, get_method
from naslora.methods.vera import VeRALinear
from naslora.sam.building import Sam

_METHODS = ("lora", "dora", "vera")


def write_peft(sam: Sam, out: Path, log: Callable[[str], None]) -> Path:
    """Write a SAM's method and mask decoder as a PEFT adapter.

    `PeftModel.from_pretrained(plain, out)` then gives the same outputs, where `plain` is the SAM
    before it was adapted, with the same decoder. Branches on some of q, k and v become one on the
    fused layer, with zeros for the others, because PEFT cannot adapt parts of a layer.

    Args:
        sam: adapted by LoRA, DoRA with a magnitude per output, or VeRA; it is not changed.
        out: the folder to write, with `adapter_config.json` and `adapter_model.safetensors`.
        log: called with how to load the adapter.

    Raises:
        SettingsError: PEFT has no such layer, or is not installed.
        DiskError: the folder cannot be written.
    """
    try:
        from peft import get_peft_model, get_peft_model_state_dict
    except ImportError:
        raise SettingsError(
            "the package peft is not installed", remedy="pip install 'naslora[export]'"
        ) from None
    from safetensors.torch import save_file

    adaptation = adaptation_of(sam)
    title = get_method(adaptation.method).title if adaptation else "a plain SAM"
    if adaptation is None or adaptation.method not in _METHODS:
        raise SettingsError(
            f"PEFT has no {title} on a fused qkv layer",
            remedy="PEFT's format takes lora, dora and vera; export to onnx",
        )
    layers = {
        path: layer for path, layer in sam.named_modules() if isinstance(layer, AdaptedLinear)
    }
    if any(isinstance(layer, DoRALinear) and layer.by_column for layer in layers.values()):
        raise SettingsError(
            "PEFT's DoRA keeps one magnitude for each output, and this one has one for each input",
            remedy="train dora with magnitude: output, or export to onnx",
        )
    plain = _plain_copy(sam, layers)
    model = get_peft_model(plain, _config(adaptation.method, layers))
    with torch.no_grad():
        for path, layer in layers.items():
            _fill(plain.get_submodule(path), layer)
    with whole_folder(out) as folder:
        tensors: dict[str, Tensor] = get_peft_model_state_dict(model)
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            folder / "adapter_model.safetensors",
            {"format": "pt"},
        )
        config = model.peft_config["default"]
        config.inference_mode = True
        text = {name: _json(value) for name, value in config.to_dict().items()}
        (folder / "adapter_config.json").write_text(json.dumps(text, indent=2, sort_keys=True))
    log(
        f"load it with peft.PeftModel.from_pretrained(sam, {str(out)!r}), where sam is the plain"
        f" {sam.backbone} with the {sam.decoder} decoder that was adapted"
    )
    return out


def _plain_copy(sam: Sam, layers: Mapping[str, AdaptedLinear]) -> Sam:
    """A copy with plain layers in place of the adapted ones; the decoder is the trained one."""
    found = copy.deepcopy(sam).float().cpu().eval()
    for path, layer in layers.items():
        bias = None if layer.bias is None else layer.bias.float().cpu()
        found.set_submodule(path, plain_linear(layer.weight.detach().float().cpu(), bias))
    found.adaptation = None
    return found.requires_grad_(False)


def _config(method: str, layers: Mapping[str, AdaptedLinear]) -> Any:
    from peft import LoraConfig, VeraConfig

    shared: dict[str, Any] = {
        "target_modules": "|".join(re.escape(path) for path in layers),
        "modules_to_save": ["mask_decoder"],
    }
    first = next(iter(layers.values()))
    if isinstance(first, VeRALinear):
        rank = first.lambda_d.numel()
        return VeraConfig(r=rank, save_projection=True, vera_dropout=0.0, **shared)
    assert isinstance(first, LowRankLinear)
    branches = dict(first.named_branches())
    rank = sum(len(branch.lora_A) for branch in branches.values())
    scale = next(iter(branches.values())).scale
    return LoraConfig(
        r=rank,
        lora_alpha=cast(int, scale * rank),  # PEFT accepts any number
        lora_dropout=0.0,
        bias="none",
        use_dora=method == "dora",
        **shared,
    )


def _fill(target: Any, layer: AdaptedLinear) -> None:
    """Copy a layer's weights into PEFT's layer."""
    if isinstance(layer, VeRALinear):
        A, B = _projections(layer)
        target.vera_A["default"].copy_(A)
        target.vera_B["default"].copy_(B)
        target.vera_lambda_d["default"].copy_(layer.lambda_d.flatten())
        lambda_b = torch.zeros(layer.out_features)
        for vector, part in zip(layer.lambda_b, layer.parts, strict=True):
            lambda_b[part] = vector.float().cpu()
        target.vera_lambda_b["default"].copy_(lambda_b)
        return
    assert isinstance(layer, LowRankLinear)
    inner: list[Tensor] = []
    outer: list[Tensor] = []
    for name, branch in layer.named_branches():
        inner.append(branch.lora_A)
        rows = torch.zeros(layer.out_features, len(branch.lora_A))
        rows[layer.parts[name]] = branch.lora_B.float().cpu()
        outer.append(rows)
    target.lora_A["default"].weight.copy_(torch.cat(inner))
    target.lora_B["default"].weight.copy_(torch.cat(outer, 1))
    if isinstance(layer, DoRALinear):
        target.lora_magnitude_vector["default"].weight.copy_(layer.magnitude)


def _projections(layer: VeRALinear) -> tuple[Tensor, Tensor]:
    """A (parts * rank, in) and B (out, parts * rank) of one VeRA layer on the whole output."""
    A, B = layer.shared.A.float().cpu(), layer.shared.B.float().cpu()
    rank, parts = len(A), layer.parts
    whole = torch.zeros(layer.out_features, rank * len(parts))
    for index, part in enumerate(parts):
        whole[part, index * rank : (index + 1) * rank] = B
    return A.repeat(len(parts), 1), whole


def _json(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else value
