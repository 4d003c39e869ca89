"""SAMs by name: the backbones, and the model that holds the parts together."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from naslora.sam.backbones import BACKBONES
from naslora.sam.image_encoder import ImageEncoderViT
from naslora.sam.mask_decoder import ORIGINAL_MASK_TOKENS, MaskDecoder, Prediction
from naslora.sam.prompt_encoder import PromptEncoder

DecoderKind = Literal["semantic", "original"]
DEFAULT_MASK_TOKENS = 10
_PIXEL_MEAN = (123.675, 116.28, 103.53)
_PIXEL_STD = (58.395, 57.12, 57.375)


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
        """Embed images (B, 3, H, W), uint8 or float in 0..255, as (B, C, H/p, W/p).

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
        """Predict masks from the embeddings (B, C, H/p, W/p) of B images."""
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
        image_size: side, or height and width, in pixels; multiples of the backbone's patch size.
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
    sizes = BACKBONES[backbone]
    grid = sizes.grid((height, width))
    if classes < 1 or (mask_tokens is not None and mask_tokens < 1):
        raise ValueError("there is at least one class, and one mask token")
    if decoder == "original" and classes != 1:
        raise ValueError("the original decoder tells no classes apart")
    if decoder == "original":
        tokens = ORIGINAL_MASK_TOKENS
    else:
        tokens = 1 if classes == 1 else mask_tokens or DEFAULT_MASK_TOKENS
    dim = sizes.prompt_embed_dim
    return Sam(
        ImageEncoderViT(
            grid=grid,
            patch_size=sizes.patch_size,
            embed_dim=sizes.embed_dim,
            depth=sizes.depth,
            num_heads=sizes.num_heads,
            window_size=sizes.window_size,
            global_attn_indexes=sizes.global_attn_indexes,
            out_channels=dim,
        ),
        PromptEncoder(dim, grid),
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
