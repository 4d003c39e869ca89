"""The mask decoder: Meta's, run on batches of images, and the paper's semantic variant of it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from segment_anything.modeling import MaskDecoder as MetaMaskDecoder
from segment_anything.modeling import TwoWayTransformer
from torch import Tensor, nn

ORIGINAL_MASK_TOKENS = 4
Hypernetworks = Literal["shared", "per_token"]


class Prediction(NamedTuple):
    """Output of the decoder for B images, with T mask tokens.

    Attributes:
        masks: logits (B, T, 4H, 4W), for an embedding of H x W.
        exclusive: whether the masks are logits (B, K, H, W) of K exclusive classes, background
            first, as networks without mask tokens predict them.
        class_logits: (B, T, K + 1) of a multi-class decoder, else None. K counts the background;
            the last index is "no object".
        iou: the original decoder's estimate (B, T) of its masks' quality, else None.
    """

    masks: Tensor
    class_logits: Tensor | None = None
    iou: Tensor | None = None
    exclusive: bool = False

    def images(self, chosen: slice) -> Prediction:
        """The predictions for some of the images."""
        return Prediction(
            self.masks[chosen],
            None if self.class_logits is None else self.class_logits[chosen],
            None if self.iou is None else self.iou[chosen],
            self.exclusive,
        )


class MaskDecoder(MetaMaskDecoder):  # type: ignore[misc]
    """Image embeddings to masks.

    The parts, their names and `forward`, which takes prompts for one image, are Meta's; `predict`
    takes a batch of images. The paper's semantic decoder has one mask token for a binary task, and
    several with a class branch for a multi-class task. It keeps the IoU token, which takes part in
    the attention, and the IoU head, which it does not use, so that Meta's weights fit.

    Args:
        dim: channels C of the embeddings.
        heads: attention heads.
        mlp_dim: hidden width of the transformer's MLPs.
        mask_tokens: number of mask tokens T.
        classes: K, background included, for a class branch on the mask tokens; 1 for none.
        hypernetworks: "per_token" gives each mask token an MLP of its own, as Meta's decoder has;
            "shared" gives all of them one.
        predict_iou: whether `predict` uses the IoU head.
    """

    output_hypernetworks_mlps: nn.ModuleList
    mask_tokens: nn.Embedding

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        mlp_dim: int,
        mask_tokens: int,
        classes: int = 1,
        hypernetworks: Hypernetworks = "per_token",
        predict_iou: bool = False,
    ):
        super().__init__(
            transformer_dim=dim,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=dim, num_heads=heads, mlp_dim=mlp_dim
            ),
            num_multimask_outputs=mask_tokens - 1,
            iou_head_hidden_dim=dim,
        )
        if hypernetworks == "shared":
            self.output_hypernetworks_mlps = self.output_hypernetworks_mlps[:1]
        self.hypernetworks: Hypernetworks = hypernetworks
        self.predict_iou = predict_iou
        self.class_prediction_head = nn.Linear(dim, classes + 1) if classes > 1 else None

    def predict(
        self, embeddings: Tensor, positions: Tensor, dense: Tensor, sparse: Tensor | None = None
    ) -> Prediction:
        """Predict masks of a batch of images.

        Args:
            embeddings: (B, C, H, W), one per image.
            positions: (1, C, H, W), the encoding of positions, the same for all images.
            dense: dense prompts, (1 or B, C, 1 or H, 1 or W).
            sparse: embeddings (B, N, C) of the points and boxes of each image; none by default.
        """
        B, _, H, W = embeddings.shape
        tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(B, -1, -1)
        if sparse is not None:
            tokens = torch.cat([tokens, sparse], 1)
        tokens, image = self.transformer(embeddings + dense, positions, tokens)
        mask_tokens = tokens[:, 1 : 1 + self.num_mask_tokens]
        upscaled = self.output_upscaling(image.transpose(1, 2).unflatten(2, (H, W)))
        masks = (self._hypernetwork(mask_tokens) @ upscaled.flatten(2)).unflatten(2, (4 * H, 4 * W))
        branch = self.class_prediction_head
        return Prediction(
            masks=masks,
            class_logits=None if branch is None else branch(mask_tokens),
            iou=self.iou_prediction_head(tokens[:, 0]) if self.predict_iou else None,
        )

    def unused_without_prompts(self) -> list[nn.Module]:
        """The parts that predicting one mask, or classes, without prompts does not use."""
        parts: list[nn.Module] = [self.iou_prediction_head]
        if self.predict_iou:
            parts += self.output_hypernetworks_mlps[1:]
        return parts

    def _hypernetwork(self, tokens: Tensor) -> Tensor:
        """The weights (B, T, C / 8) of the mask of each token (B, T, C)."""
        mlps = self.output_hypernetworks_mlps
        if self.hypernetworks == "shared":
            shared: Tensor = mlps[0](tokens)
            return shared
        return torch.stack([mlp(tokens[:, index]) for index, mlp in enumerate(mlps)], 1)
