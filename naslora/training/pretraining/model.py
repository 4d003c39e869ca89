"""A SAM with several prompts for each image of a batch."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from naslora.sam.backends import AttentionBackend
from naslora.sam.building import build_sam
from naslora.training.pretraining.prompts import Prompts


class Masks(NamedTuple):
    """The decoder's output for N prompts.

    Attributes:
        logits: (N, T, h, w), float32; token 0 is the single mask, 1 to 3 are the candidates of one
            click.
        quality: the estimated IoU of each, (N, T).
    """

    logits: Tensor
    quality: Tensor


class PromptableSam(nn.Module):
    """A SAM with Meta's prompt encoder and mask decoder, which takes P prompts for each image.

    Meta's code takes the prompts of one image at a time; the output for each prompt is the same.

    Args:
        backbone: a key of `BACKBONES`.
        image_size: side of the images in pixels.
        attention: see `naslora.sam.image_encoder.ImageEncoderViT.attention_backend`.

    Attributes:
        sam: the SAM, with the original decoder.
    """

    def __init__(
        self,
        backbone: str,
        image_size: int,
        attention: Literal["auto"] | AttentionBackend = "auto",
    ):
        super().__init__()
        self.sam = build_sam(backbone, image_size, decoder="original", attention=attention)

    def encode(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, S, S), uint8, as (B, C, h, w)."""
        return self.sam.encode(images)

    def forward(self, embeddings: Tensor, prompts: Prompts) -> Masks:
        """Masks of prompts.

        Args:
            embeddings: (B, C, h, w).
            prompts: P for each image, those of the first image first.
        """
        sparse, dense = self._prompted(prompts)
        repeated = embeddings.repeat_interleave(len(sparse) // len(embeddings), 0)
        found = self.sam.mask_decoder.predict(repeated, self.sam.positions(), dense, sparse)
        assert found.iou is not None
        return Masks(found.masks.float(), found.iou.float())

    def without_prompts(self, embeddings: Tensor) -> Tensor:
        """Mask logits (B, 4h, 4w), float32, of the semantic decoder that starts from these weights.

        The decoder of a binary task has only the IoU token and mask token 0.
        """
        decoder = self.sam.mask_decoder
        tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight[:1]])
        dense = self.sam.prompt_encoder.no_mask_embed.weight[:, :, None, None]
        tokens, image = decoder.transformer(
            embeddings + dense, self.sam.positions(), tokens.expand(len(embeddings), -1, -1)
        )
        image = image.transpose(1, 2).unflatten(2, embeddings.shape[-2:])
        weights = decoder.output_hypernetworks_mlps[0](tokens[:, 1])
        masks: Tensor = torch.einsum("bc,bchw->bhw", weights, decoder.output_upscaling(image))
        return masks.float()

    def _prompted(self, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Sparse tokens (N, n, C) and dense embeddings of the prompts."""
        encoder = self.sam.prompt_encoder
        # Corners of boxes are points of kinds 2 and 3: Meta's encoder adds one embedding to each.
        with torch.autocast(prompts.points.device.type, enabled=False):  # exact positions
            sparse = encoder.pe_layer.forward_with_coords(
                prompts.points + 0.5, encoder.input_image_size
            )
        embeddings = [encoder.not_a_point_embed, *encoder.point_embeddings]
        kinds = torch.cat([embedding.weight for embedding in embeddings])
        sparse = sparse * (prompts.kinds >= 0)[..., None] + kinds[prompts.kinds + 1]
        if prompts.masks is None:
            dense: Tensor = encoder.no_mask_embed.weight[:, :, None, None]
        else:
            dense = encoder.mask_downscaling(prompts.masks[:, None])
        return sparse, dense
