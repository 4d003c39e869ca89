"""SAMs by name: the backbones, and the model that holds the parts together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from naslora.sam.image_encoder import PATCH_SIZE, ImageEncoderViT
from naslora.sam.mask_decoder import ORIGINAL_MASK_TOKENS, MaskDecoder, Prediction
from naslora.sam.prompt_encoder import PromptEncoder

DecoderKind = Literal["semantic", "original"]
DEFAULT_MASK_TOKENS = 10
_PIXEL_MEAN = (123.675, 116.28, 103.53)
_PIXEL_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Backbone:
    """Sizes of a SAM.

    Attributes:
        embed_dim: channels of the image encoder; `depth` and `num_heads` are its blocks and heads.
        global_attn_indexes: blocks that attend over the whole map; the others have windows.
        window_size: side of a window in tokens.
        prompt_embed_dim: channels of embeddings and prompts.
        decoder_mlp_dim: hidden width of the decoder's transformer; `decoder_num_heads` its heads.
    """

    embed_dim: int
    depth: int
    num_heads: int
    global_attn_indexes: tuple[int, ...]
    window_size: int = 14
    prompt_embed_dim: int = 256
    decoder_mlp_dim: int = 2048
    decoder_num_heads: int = 8


BACKBONES: dict[str, Backbone] = {
    "vit_h": Backbone(1280, 32, 16, (7, 15, 23, 31)),
    "vit_l": Backbone(1024, 24, 16, (5, 11, 17, 23)),
    "vit_b": Backbone(768, 12, 12, (2, 5, 8, 11)),
    "small": Backbone(192, 6, 3, (2, 5), 8, 128, 512),
    "tiny": Backbone(64, 4, 2, (1, 3), 4, 64, 128),
}


class Sam(nn.Module):
    """Segment Anything without prompts: images to masks.

    Attributes:
        backbone: a key of `BACKBONES`.
        image_size: height and width of the images that it takes.
        classes: 1 for a binary task; else the number of classes, background included.
        decoder: "semantic" for the paper's decoder, "original" for Meta's.
        adaptation: what a method put on this model; None if nothing was.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        image_encoder: ImageEncoderViT,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        *,
        backbone: str,
        image_size: tuple[int, int],
        classes: int,
        decoder: DecoderKind,
    ):
        super().__init__()
        self.backbone = backbone
        self.image_size = image_size
        self.classes = classes
        self.decoder: DecoderKind = decoder
        self.adaptation: Any = None
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        for name, values in (("pixel_mean", _PIXEL_MEAN), ("pixel_std", _PIXEL_STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Prediction:
        """Predict masks of images (B, 3, H, W), uint8 or float in 0..255."""
        return self.decode(self.encode(images))

    def encode(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W), uint8 or float in 0..255, as (B, C, H/16, W/16).

        Raises:
            ValueError: the images are not of this model's size, or are floats of 0..1.
        """
        if images.ndim != 4 or images.shape[1:] != (3, *self.image_size):
            height, width = self.image_size
            raise ValueError(
                f"this SAM takes images of (B, 3, {height}, {width}), got {tuple(images.shape)}"
            )
        if images.is_floating_point() and not images.is_meta and 0 < images.max() <= 1:
            raise ValueError("this SAM takes images in 0..255, and these are in 0..1")
        dtype = self.image_encoder.patch_embed.proj.weight.dtype
        images = images.to(torch.promote_types(dtype, torch.float32))
        images = (images - self.pixel_mean) / self.pixel_std
        embeddings: Tensor = self.image_encoder(images.to(dtype))
        return embeddings

    def decode(self, embeddings: Tensor) -> Prediction:
        """Predict masks from the embeddings (B, C, H/16, W/16) of B images."""
        positions, dense = self.prompt_encoder()
        prediction: Prediction = self.mask_decoder(embeddings, positions, dense)
        return prediction


def build_sam(
    backbone: str,
    image_size: int | tuple[int, int],
    *,
    classes: int = 1,
    mask_tokens: int | None = None,
    decoder: DecoderKind = "semantic",
) -> Sam:
    """Build a SAM with random weights from the global random state.

    Under `torch.device("meta")` it takes no memory, and still has its shapes.

    Args:
        backbone: a key of `BACKBONES`.
        image_size: side, or height and width, in pixels; multiples of 16.
        classes: 1 for a binary task; else the number of classes, background included.
        mask_tokens: mask tokens of a multi-class decoder, 10 by default; with one, all pixels of
            an image get one class. A binary decoder has one, and Meta's four, whatever this says.
        decoder: "semantic" for the paper's, "original" for Meta's.

    Raises:
        ValueError: no such backbone or decoder, or a size that cannot be.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"no backbone {backbone!r}; there are {', '.join(BACKBONES)}")
    if decoder not in ("semantic", "original"):
        raise ValueError(f"no decoder {decoder!r}; there are semantic and original")
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width) < PATCH_SIZE or height % PATCH_SIZE or width % PATCH_SIZE:
        raise ValueError(f"an image size must be a multiple of {PATCH_SIZE}, not {height}x{width}")
    if classes < 1 or (mask_tokens is not None and mask_tokens < 1):
        raise ValueError("there is at least one class, and one mask token")
    if decoder == "original" and classes != 1:
        raise ValueError("the original decoder tells no classes apart")
    if decoder == "original":
        tokens = ORIGINAL_MASK_TOKENS
    else:
        tokens = 1 if classes == 1 else mask_tokens or DEFAULT_MASK_TOKENS
    sizes = BACKBONES[backbone]
    dim = sizes.prompt_embed_dim
    return Sam(
        ImageEncoderViT(
            image_size=(height, width),
            embed_dim=sizes.embed_dim,
            depth=sizes.depth,
            num_heads=sizes.num_heads,
            window_size=sizes.window_size,
            global_attn_indexes=sizes.global_attn_indexes,
            out_channels=dim,
        ),
        PromptEncoder(dim, (height // PATCH_SIZE, width // PATCH_SIZE)),
        MaskDecoder(
            dim=dim,
            heads=sizes.decoder_num_heads,
            mlp_dim=sizes.decoder_mlp_dim,
            mask_tokens=tokens,
            classes=classes,
            predict_iou=decoder == "original",
        ),
        backbone=backbone,
        image_size=(height, width),
        classes=classes,
        decoder=decoder,
    )


@cache
def original_parameters(backbone: str, image_size: int | tuple[int, int]) -> int:
    """The number of parameters of Meta's SAM, of which the paper's ratios are percentages.

    Position embeddings depend on the image size: at 1024 px, ViT-H has 641,090,608.
    """
    with torch.device("meta"):
        sam = build_sam(backbone, image_size, decoder="original")
    return sum(p.numel() for p in sam.parameters())
