"""SAMs by name: the model that holds the parts together, and a function that builds one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from segment_anything.modeling import PromptEncoder
from segment_anything.modeling import Sam as MetaSam
from torch import Tensor, nn

from naslora.core.precision import without_autocast
from naslora.sam.backbones import BACKBONES
from naslora.sam.backends import AttentionBackend
from naslora.sam.image_encoder import ImageEncoderViT
from naslora.sam.mask_decoder import ORIGINAL_MASK_TOKENS, Hypernetworks, MaskDecoder, Prediction

DecoderKind = Literal["semantic", "original"]
DEFAULT_MASK_TOKENS = 10
_MASK_CHANNELS = 16
_FREQUENCIES = "positional_encoding_gaussian_matrix"


@dataclass(frozen=True)
class CheckpointFile:
    """A file of weights: its name without the folder, and its SHA-256."""

    name: str
    sha256: str


class Sam(MetaSam, nn.Module):  # type: ignore[misc]  # nn.Module has types
    """Segment Anything on batches of images without prompts.

    It is a SAM of Meta's with another image encoder and, for semantic segmentation, another mask
    decoder. With the original decoder it can be given to Meta's `SamPredictor`.

    Attributes:
        backbone: a key of `BACKBONES`.
        image_size: height and width of the images that it takes, pixels.
        classes: 1 for a binary task; else the number of classes, background included.
        decoder: "semantic" for the paper's decoder, "original" for Meta's.
        adaptation: the method that adapts this model and its settings; None if there is none.
        checkpoint: the file that the weights were loaded from; None if there is none.
    """

    image_encoder: ImageEncoderViT
    prompt_encoder: PromptEncoder
    mask_decoder: MaskDecoder
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
        super().__init__(image_encoder, prompt_encoder, mask_decoder)
        self.backbone = backbone
        self.image_size = image_size
        self.classes = classes
        self.decoder: DecoderKind = decoder
        self.adaptation: Any = None
        self.checkpoint: CheckpointFile | None = None
        device = image_encoder.pos_embed.device
        for name in ("pixel_mean", "pixel_std"):  # Meta's code makes them on the CPU
            self.register_buffer(name, getattr(self, name).to(device), persistent=False)

    def forward(self, images: Tensor) -> Prediction:
        """Predict masks of images (B, 3, H, W), uint8 or float in 0..255."""
        return self.decode(self.encode(images))

    def encode(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W), uint8 or float in 0..255, as (B, C, H/p, W/p).

        p is the backbone's patch size.

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
        dtype = next(self.image_encoder.parameters()).dtype
        images = images.to(torch.promote_types(dtype, torch.float32))
        images = (images - self.pixel_mean) / self.pixel_std
        embeddings: Tensor = self.image_encoder(images.to(dtype))
        return embeddings

    def decode(self, embeddings: Tensor) -> Prediction:
        """Predict masks from the embeddings (B, C, H/p, W/p) of B images."""
        dense = self.prompt_encoder.no_mask_embed.weight[:, :, None, None]
        prediction: Prediction = self.mask_decoder.predict(
            embeddings, self.positions().to(dense.dtype), dense
        )
        return prediction

    def positions(self) -> Tensor:
        """The encoding (1, C, H/p, W/p) of the positions of the image embedding, in float32.

        It is Meta's `get_dense_pe`, which fails on models in another precision; autocast would
        round the product in it.
        """
        layer = self.prompt_encoder.pe_layer
        frequencies = getattr(layer, _FREQUENCIES)
        with without_autocast(frequencies.device):
            encoding: Tensor = torch.func.functional_call(
                layer,
                {_FREQUENCIES: frequencies.float()},
                (self.prompt_encoder.image_embedding_size,),
            )
        return encoding[None]


def build_sam(
    backbone: str,
    image_size: int | tuple[int, int],
    *,
    classes: int = 1,
    mask_tokens: int | None = None,
    hypernetworks: Hypernetworks = "shared",
    decoder: DecoderKind = "semantic",
    attention: Literal["auto"] | AttentionBackend = "auto",
) -> Sam:
    """Build a SAM with random weights from the global random state.

    Under `torch.device("meta")` it takes no memory, and still has its shapes.

    Args:
        backbone: a key of `BACKBONES`.
        image_size: side, or height and width, in pixels; multiples of the backbone's patch size.
        classes: 1 for a binary task; else the number of classes, background included.
        mask_tokens: mask tokens of a multi-class decoder, 10 by default; with one, all pixels of
            an image get one class. A binary decoder always has one, and Meta's four.
        hypernetworks: "shared" or "per_token", in a multi-class decoder; see `MaskDecoder`.
        decoder: "semantic" for the paper's, "original" for Meta's.
        attention: how attention is computed; see `ImageEncoderViT.attention_backend`.

    Raises:
        ValueError: there is no such backbone, decoder or way to compute attention, or a size is
            impossible.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"no backbone {backbone!r}; there are {', '.join(BACKBONES)}")
    if decoder not in ("semantic", "original"):
        raise ValueError(f"no decoder {decoder!r}; there are semantic and original")
    if hypernetworks not in ("shared", "per_token"):
        raise ValueError(f"no hypernetworks {hypernetworks!r}; there are shared and per_token")
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    sizes = BACKBONES[backbone]
    grid = sizes.grid((height, width))
    if classes < 1 or (mask_tokens is not None and mask_tokens < 1):
        raise ValueError("classes and mask_tokens must be at least 1")
    if decoder == "original" and classes != 1:
        raise ValueError("the original decoder cannot distinguish classes")
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
            attention_backend=attention,
        ),
        PromptEncoder(dim, grid, (height, width), _MASK_CHANNELS),
        MaskDecoder(
            dim=dim,
            heads=sizes.decoder_num_heads,
            mlp_dim=sizes.decoder_mlp_dim,
            mask_tokens=tokens,
            classes=classes,
            hypernetworks=hypernetworks if classes > 1 else "per_token",
            predict_iou=decoder == "original",
        ),
        backbone=backbone,
        image_size=(height, width),
        classes=classes,
        decoder=decoder,
    )


@cache
def original_parameters(backbone: str, image_size: int | tuple[int, int]) -> int:
    """The number of parameters of Meta's SAM, to which the paper's ratios refer.

    Position embeddings depend on the image size: at 1024 px, ViT-H has 641,090,608.
    """
    with torch.device("meta"):
        sam = build_sam(backbone, image_size, decoder="original")
    return sum(p.numel() for p in sam.parameters())
