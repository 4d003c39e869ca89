"""Segmentation networks other than SAM, trained from scratch, as baselines.

They are built by segmentation_models_pytorch, with random weights. A network is registered like a
method, and replaces the image encoder and mask decoder of a SAM. Its runs therefore have the same
images, batches, steps, optimiser, checkpoints, evaluation and records as those of a method.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from naslora.core.validation import StrictSettings
from naslora.methods.registry import register
from naslora.sam.building import Sam
from naslora.sam.mask_decoder import MaskDecoder, Prediction

_Channels = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)]
_Depth = Annotated[int, Field(ge=3, le=5)]


class UNetSettings(StrictSettings):
    """A U-Net with a residual encoder (Ronneberger et al., 2015; He et al., 2016).

    Attributes:
        encoder: an encoder of segmentation_models_pytorch.
        depth: how often the encoder halves its maps, 3 to 5.
        decoder_channels: channels of the decoder, from its smallest maps to the largest.
    """

    encoder: str = "tu-resnet18"
    depth: _Depth = 3
    decoder_channels: _Channels = (48, 24, 12)


class DeepLabV3Settings(StrictSettings):
    """DeepLabv3 (Chen et al., 2017).

    Attributes:
        encoder: an encoder of segmentation_models_pytorch.
    """

    encoder: str = "resnet50"


class LinkNet34Settings(StrictSettings):
    """LinkNet (Chaurasia and Culurciello, 2017).

    Attributes:
        encoder: an encoder of segmentation_models_pytorch.
    """

    encoder: str = "resnet34"


@register(
    "unet",
    title="U-Net (scratch)",
    settings=UNetSettings,
    identity=False,
    trains_decoder=False,
    pretrained=False,
)
def unet(sam: Sam, settings: UNetSettings) -> None:
    """Replace the SAM by a U-Net, by default one of 0.84 million parameters."""
    _replace(
        sam,
        "unet",
        settings.encoder,
        encoder_depth=settings.depth,
        decoder_channels=settings.decoder_channels,
    )


@register(
    "deeplabv3",
    title="DeepLabv3 (scratch)",
    settings=DeepLabV3Settings,
    identity=False,
    trains_decoder=False,
    pretrained=False,
)
def deeplabv3(sam: Sam, settings: DeepLabV3Settings) -> None:
    """Replace the SAM by DeepLabv3, by default one of 39.6 million parameters."""
    _replace(sam, "deeplabv3", settings.encoder)


@register(
    "linknet34",
    title="LinkNet34 (scratch)",
    settings=LinkNet34Settings,
    identity=False,
    trains_decoder=False,
    pretrained=False,
)
def linknet34(sam: Sam, settings: LinkNet34Settings) -> None:
    """Replace the SAM by LinkNet, by default one of 21.8 million parameters."""
    _replace(sam, "linknet", settings.encoder)


class NetworkEncoder(nn.Module):
    """A whole network in place of the image encoder.

    Args:
        network: from images (B, 3, H, W), normalised as SAM's are, to logits (B, K, H, W).
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        # On a CPU, channels-last memory reduces the time of convolutions by a third.
        self.network = network.to(memory_format=torch.channels_last)
        self.gradient_checkpointing = False  # an attribute of SAM's encoders; ignored

    def backend_in_use(self) -> str:
        """How attention is computed, for records."""
        return "none"

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K, H, W) of images (B, 3, H, W); K is 1 for a binary task."""
        images = images.contiguous(memory_format=torch.channels_last)
        # In training, batch norm of a 1 x 1 map, as in DeepLabv3, needs more than one image.
        alone = self.training and len(images) == 1
        logits: Tensor = self.network(images.repeat(2, 1, 1, 1) if alone else images)
        return (logits[:1] if alone else logits).contiguous()


class LogitsDecoder(nn.Module):
    """Replaces the mask decoder: the network's logits are the prediction.

    Args:
        replaced: the mask decoder, of which only the attributes that adapter files record are kept.
    """

    def __init__(self, replaced: MaskDecoder):
        super().__init__()
        self.mask_tokens = replaced.mask_tokens
        self.hypernetworks = replaced.hypernetworks

    def predict(self, logits: Tensor, positions: Tensor, dense: Tensor) -> Prediction:
        """The logits (B, K, H, W) as masks; several classes exclude each other."""
        return Prediction(logits, exclusive=logits.shape[1] > 1)


def _replace(sam: Sam, architecture: str, encoder: str, **options: Any) -> None:
    """Replace image encoder and mask decoder by a network of segmentation_models_pytorch."""
    from segmentation_models_pytorch import create_model

    weight = next(sam.image_encoder.parameters())
    network: nn.Module = create_model(
        architecture, encoder, encoder_weights=None, classes=sam.classes, **options
    )
    sam.add_module("image_encoder", NetworkEncoder(network.to(weight.device, weight.dtype)))
    sam.add_module("mask_decoder", LogitsDecoder(sam.mask_decoder))
