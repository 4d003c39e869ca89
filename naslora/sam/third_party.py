"""SAMs of other packages as SAMs of this one: Meta's, and HF transformers' `SamModel`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from naslora.core.errors import CheckpointError
from naslora.sam.backbones import BACKBONES
from naslora.sam.backends import AttentionBackend
from naslora.sam.building import Sam, build_sam
from naslora.sam.conversion import convert
from naslora.sam.formats import weights_of

if TYPE_CHECKING:
    from segment_anything.modeling import Sam as MetaSam


def from_meta(model: MetaSam) -> Sam:
    """A SAM that shares all parameters with one of Meta's, as `sam_model_registry` makes it.

    It keeps Meta's decoder, and can be adapted and given to `SamPredictor`. Training it changes the
    shared parameters of `model` too.

    Raises:
        CheckpointError: the model has sizes that no backbone here has.
    """
    if isinstance(model, Sam):
        return model
    encoder, decoder = model.image_encoder, model.mask_decoder
    windows = [block.window_size for block in encoder.blocks]
    patch = encoder.patch_embed.proj.kernel_size[0]
    backbone = _backbone(
        embed_dim=encoder.pos_embed.shape[-1],
        depth=len(windows),
        num_heads=encoder.blocks[0].attn.num_heads,
        global_attn_indexes=tuple(i for i, size in enumerate(windows) if size == 0),
        window_size=max(windows),
        patch_size=patch,
        prompt_embed_dim=decoder.transformer_dim,
        decoder_mlp_dim=decoder.transformer.layers[0].mlp.lin1.out_features,
        decoder_num_heads=decoder.transformer.num_heads,
    )
    size = encoder.img_size
    with torch.device("meta"):
        sam = build_sam(backbone, size, decoder="original")
    sam.load_state_dict(model.state_dict(keep_vars=True), strict=True, assign=True)
    for name in ("pixel_mean", "pixel_std"):
        setattr(sam, name, getattr(model, name))
    return sam.train(model.training)


def from_huggingface(model: Any, attention: Literal["auto"] | AttentionBackend = "auto") -> Sam:
    """A SAM with Meta's decoder and a copy of the weights of HF transformers' `SamModel`.

    It takes images in 0..255 that are not normalised.

    Args:
        model: the model.
        attention: see `ImageEncoderViT.attention_backend`.

    Raises:
        CheckpointError: the model has sizes that no backbone here has, or is not a SAM.
    """
    vision, prompts = model.config.vision_config, model.config.prompt_encoder_config
    decoder = model.config.mask_decoder_config
    backbone = _backbone(
        embed_dim=vision.hidden_size,
        depth=vision.num_hidden_layers,
        num_heads=vision.num_attention_heads,
        global_attn_indexes=tuple(vision.global_attn_indexes),
        window_size=vision.window_size,
        patch_size=vision.patch_size,
        prompt_embed_dim=prompts.hidden_size,
        decoder_mlp_dim=decoder.mlp_dim,
        decoder_num_heads=decoder.num_attention_heads,
    )
    weights = weights_of(model.state_dict())
    if weights is None:
        raise CheckpointError(f"a {type(model).__name__} has no image encoder of a SAM")
    sam = build_sam(backbone, vision.image_size, decoder="original", attention=attention)
    example = next(iter(weights.state.values()))
    sam.to(example.device, example.dtype)
    sam.load_state_dict(convert(weights.state, sam), strict=True)
    return sam.train(model.training)


def is_huggingface(model: object) -> bool:
    """Whether a model is HF transformers' `SamModel`; transformers is not imported."""
    return any(
        kind.__name__ == "SamModel" and kind.__module__.startswith("transformers.")
        for kind in type(model).__mro__
    )


def _backbone(**sizes: Any) -> str:
    """The name of the backbone with these sizes."""
    for name, backbone in BACKBONES.items():
        if all(getattr(backbone, key) == value for key, value in sizes.items()):
            return name
    described = ", ".join(f"{key} {value}" for key, value in sizes.items())
    raise CheckpointError(
        f"this SAM has the sizes of no known backbone: {described}",
        remedy=f"use one of {', '.join(BACKBONES)}",
    )
