"""SAM's mask decoder, as Meta built it and as the paper uses it, with Meta's parameter names."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from naslora.sam.layers import MLP, LayerNorm2d
from naslora.sam.transformer import TwoWayTransformer

ORIGINAL_MASK_TOKENS = 4


class Prediction(NamedTuple):
    """What the decoder says about B images, with T mask tokens.

    Attributes:
        masks: logits (B, T, H/4, W/4).
        class_logits: (B, T, K + 1) of a multi-class decoder, else None. K counts the background;
            the last index is "no object".
        iou: the original decoder's estimate (B, T) of its masks' quality, else None.
    """

    masks: Tensor
    class_logits: Tensor | None = None
    iou: Tensor | None = None

    def images(self, chosen: slice) -> Prediction:
        """What is said about some of the images."""
        return Prediction(
            self.masks[chosen],
            None if self.class_logits is None else self.class_logits[chosen],
            None if self.iou is None else self.iou[chosen],
        )


class MaskDecoder(nn.Module):
    """Image embeddings to masks.

    The paper's decoder has one mask token for a binary task. For a multi-class task it has several
    and a class branch. It keeps the IoU token, which takes part in attention, and the IoU head,
    which is not used, so that Meta's weights fit.

    Args:
        dim: channels of the embeddings.
        heads: attention heads.
        mlp_dim: hidden width of the transformer's MLPs.
        mask_tokens: number of mask tokens T, each with a hypernetwork MLP.
        classes: K, background included, for a class branch on the mask tokens; 1 for none.
        predict_iou: whether to use the IoU head, as Meta's decoder does.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        mlp_dim: int,
        mask_tokens: int,
        classes: int = 1,
        predict_iou: bool = False,
    ):
        super().__init__()
        self.predict_iou = predict_iou
        self.transformer = TwoWayTransformer(dim, heads, mlp_dim)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(mask_tokens, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(dim, dim, dim // 8) for _ in range(mask_tokens)
        )
        self.iou_prediction_head = MLP(dim, dim, mask_tokens)
        self.class_prediction_head = nn.Linear(dim, classes + 1) if classes > 1 else None

    def forward(self, embeddings: Tensor, positions: Tensor, dense: Tensor) -> Prediction:
        """Predict masks.

        Args:
            embeddings: (B, C, H, W), one per image.
            positions: (1, C, H, W), the same for all images.
            dense: (1, C, 1, 1), the constant dense prompt.

        Returns:
            masks of 4H x 4W.
        """
        B, _, H, W = embeddings.shape
        tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens, image = self.transformer(
            (embeddings + dense).flatten(2).transpose(1, 2),
            positions.flatten(2).transpose(1, 2),
            tokens.expand(B, -1, -1),
        )
        upscaled = self.output_upscaling(image.transpose(1, 2).unflatten(2, (H, W)))
        weights = torch.stack(
            [mlp(tokens[:, 1 + index]) for index, mlp in enumerate(self.output_hypernetworks_mlps)],
            1,
        )
        masks = (weights @ upscaled.flatten(2)).unflatten(2, (4 * H, 4 * W))
        branch = self.class_prediction_head
        return Prediction(
            masks=masks,
            class_logits=None if branch is None else branch(tokens[:, 1:]),
            iou=self.iou_prediction_head(tokens[:, 0]) if self.predict_iou else None,
        )
