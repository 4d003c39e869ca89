"""Names of a SAM's weights in files of other software, translated into Meta's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

State = dict[str, Tensor]

# The name of the patch embedding tells which naming scheme and which prefix a file uses.
PATCHES = "image_encoder.patch_embed.proj.weight"
_HF_PATCHES = "vision_encoder.patch_embed.projection.weight"
_PREFERRED = ("model", "state_dict", "model_state_dict", "model_state")

# SAM-HQ's additions to the mask decoder: its authors' names, and those in HF transformers.
_HQ = re.compile(
    r"mask_decoder\.(hf_token|hf_mlp|compress_vit_feat|embedding_encoder|embedding_maskfeature"
    r"|hq_token|hq_mask_mlp|compress_vit_(conv|norm)|encoder_(conv|norm)|mask_(conv|norm))"
)

# From the names of HF transformers' SamModel to Meta's; applied in this order.
_HF_TO_META = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^shared_image_embedding\.positional_embedding$", "prompt_encoder.pe_layer.GAUSSIAN"),
        (
            r"^prompt_encoder\.shared_embedding\.positional_embedding$",
            "prompt_encoder.pe_layer.GAUSSIAN",
        ),
        (r"GAUSSIAN$", "positional_encoding_gaussian_matrix"),
        (r"^vision_encoder\.patch_embed\.projection\.", "image_encoder.patch_embed.proj."),
        (r"^vision_encoder\.neck\.conv1\.", "image_encoder.neck.0."),
        (r"^vision_encoder\.neck\.layer_norm1\.", "image_encoder.neck.1."),
        (r"^vision_encoder\.neck\.conv2\.", "image_encoder.neck.2."),
        (r"^vision_encoder\.neck\.layer_norm2\.", "image_encoder.neck.3."),
        (r"^vision_encoder\.layers\.(\d+)\.layer_norm(\d)\.", r"image_encoder.blocks.\1.norm\2."),
        (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
        (r"^vision_encoder\.", "image_encoder."),
        (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
        (r"^prompt_encoder\.mask_embed\.conv1\.", "prompt_encoder.mask_downscaling.0."),
        (r"^prompt_encoder\.mask_embed\.layer_norm1\.", "prompt_encoder.mask_downscaling.1."),
        (r"^prompt_encoder\.mask_embed\.conv2\.", "prompt_encoder.mask_downscaling.3."),
        (r"^prompt_encoder\.mask_embed\.layer_norm2\.", "prompt_encoder.mask_downscaling.4."),
        (r"^prompt_encoder\.mask_embed\.conv3\.", "prompt_encoder.mask_downscaling.6."),
        (r"^mask_decoder\.upscale_conv1\.", "mask_decoder.output_upscaling.0."),
        (r"^mask_decoder\.upscale_layer_norm\.", "mask_decoder.output_upscaling.1."),
        (r"^mask_decoder\.upscale_conv2\.", "mask_decoder.output_upscaling.3."),
        (
            r"^(mask_decoder\.(?:iou_prediction_head|output_hypernetworks_mlps\.\d+))\.layers\.0\.",
            r"\1.layers.1.",
        ),
        (
            r"^(mask_decoder\.(?:iou_prediction_head|output_hypernetworks_mlps\.\d+))\.proj_in\.",
            r"\1.layers.0.",
        ),
        (
            r"^(mask_decoder\.(?:iou_prediction_head|output_hypernetworks_mlps\.\d+))\.proj_out\.",
            r"\1.layers.2.",
        ),
        (r"^(mask_decoder\.transformer\..*)layer_norm_final_attn\.", r"\1norm_final_attn."),
        (r"^(mask_decoder\.transformer\.layers\.\d+\.)layer_norm(\d)\.", r"\1norm\2."),
    )
)


@dataclass(frozen=True)
class Weights:
    """The weights in a file, by Meta's names.

    Attributes:
        state: the weights of a SAM.
        high_quality: names of SAM-HQ's additions, which are not part of a SAM.
        others: names of all other weights in the file, such as the rest of a larger model.
    """

    state: State
    high_quality: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def weights_of(content: Any) -> Weights | None:
    """Find the weights of a SAM in what was read from a file.

    They may be a state dict or an entry of a dict, such as "model" or "state_dict". Their names
    may have a prefix, such as "module.", and may be those of HF transformers' `SamModel`.

    Returns:
        None if there is no image encoder of a SAM.
    """
    states = _states(content)
    if not states:
        return None
    state = next((states[name] for name in _PREFERRED if name in states), None)
    state = state or next(iter(states.values()))
    anchor = next(name for name in state if name.endswith((PATCHES, _HF_PATCHES)))
    hugging_face = anchor.endswith(_HF_PATCHES)
    prefix = anchor.removesuffix(_HF_PATCHES if hugging_face else PATCHES)
    found: State = {}
    high_quality, others = [], []
    for full, value in state.items():
        name = full.removeprefix(prefix)
        if not full.startswith(prefix) or name in ("pixel_mean", "pixel_std"):
            others.append(full)
        elif _HQ.match(name):
            high_quality.append(name)
        else:
            found[_to_meta(name) if hugging_face else name] = value
    return Weights(found, tuple(high_quality), tuple(others))


def _states(content: Any) -> dict[str, State]:
    """The state dicts of a SAM in a file's content, by the name of the entry; "" is the content."""
    if not isinstance(content, Mapping):
        return {}
    candidates = {"": content, **{str(n): v for n, v in content.items() if isinstance(v, Mapping)}}
    return {
        name: {str(key): value for key, value in candidate.items()}
        for name, candidate in candidates.items()
        if all(isinstance(value, Tensor) for value in candidate.values())
        and any(str(key).endswith((PATCHES, _HF_PATCHES)) for key in candidate)
    }


def _to_meta(name: str) -> str:
    for pattern, replacement in _HF_TO_META:
        name = pattern.sub(replacement, name)
    return name
