"""Segmentation networks other than SAM, trained from scratch, as baselines.

They are built by segmentation_models_pytorch, with random weights. A network is registered as a
method is, and takes the place of a SAM's image encoder and mask decoder. So a run of it is a run
like any other: the same images, batches, steps, optimiser, checkpoints, evaluation and record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

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
    """Replace the SAM by a U-Net, with the default settings one of 0.84 million parameters."""

    def build(classes: int) -> nn.Module:
        from segmentation_models_pytorch import Unet

        network: nn.Module = Unet(
            settings.encoder,
            encoder_depth=settings.depth,
            encoder_weights=None,
            decoder_channels=settings.decoder_channels,
            classes=classes,
        )
        return network

    _replace(sam, build)


@register(
    "deeplabv3",
    title="DeepLabv3 (scratch)",
    settings=DeepLabV3Settings,
    identity=False,
    trains_decoder=False,
    pretrained=False,
)
def deeplabv3(sam: Sam, settings: DeepLabV3Settings) -> None:
    """Replace the SAM by DeepLabv3, with the default settings one of 39.6 million parameters."""

    def build(classes: int) -> nn.Module:
        from segmentation_models_pytorch import DeepLabV3

        network: nn.Module = DeepLabV3(settings.encoder, encoder_weights=None, classes=classes)
        return network

    _replace(sam, build)


@register(
    "linknet34",
    title="LinkNet34 (scratch)",
    settings=LinkNet34Settings,
    identity=False,
    trains_decoder=False,
    pretrained=False,
)
def linknet34(sam: Sam, settings: LinkNet34Settings) -> None:
    """Replace the SAM by LinkNet with a ResNet-34, of 21.8 million parameters."""

    def build(classes: int) -> nn.Module:
        from segmentation_models_pytorch import Linknet

        network: nn.Module = Linknet(settings.encoder, encoder_weights=None, classes=classes)
        return network

    _replace(sam, build)


class NetworkEncoder(nn.Module):
    """A whole network in place of the image encoder.

    Args:
        network: from images (B, 3, H, W), normalised as SAM's are, to logits (B, K, H, W).
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        # Convolutions on a CPU take two thirds of the time with the channels last in memory.
        self.network = network.to(memory_format=torch.channels_last)
        self.gradient_checkpointing = False  # as an encoder of SAM has it; ignored

    def backend_in_use(self) -> str:
        """How attention is computed, for records."""
        return "none"

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K, H, W) of images (B, 3, H, W); K is 1 for a binary task."""
        images = images.contiguous(memory_format=torch.channels_last)
        # Batch norm of a map of 1 x 1, as DeepLabv3 has one, needs more than one image to train.
        alone = self.training and len(images) == 1
        logits: Tensor = self.network(images.repeat(2, 1, 1, 1) if alone else images)
        return (logits[:1] if alone else logits).contiguous()


class LogitsDecoder(nn.Module):
    """Takes the place of the mask decoder: the network's logits are the prediction.

    Args:
        replaced: the mask decoder. Only the attributes that identify a SAM in adapter files are
            kept.
    """

    def __init__(self, replaced: MaskDecoder):
        super().__init__()
        self.mask_tokens = replaced.mask_tokens
        self.hypernetworks = replaced.hypernetworks

    def predict(self, logits: Tensor, positions: Tensor, dense: Tensor) -> Prediction:
        """The logits (B, K, H, W) as masks; several exclude each other."""
        return Prediction(logits, exclusive=logits.shape[1] > 1)


def _replace(sam: Sam, build: Callable[[int], nn.Module]) -> None:
    """Replace image encoder and mask decoder by `build(classes)`."""
    weight = next(sam.image_encoder.parameters())
    network = build(sam.classes).to(weight.device, weight.dtype)
    sam.add_module("image_encoder", NetworkEncoder(network))
    sam.add_module("mask_decoder", LogitsDecoder(sam.mask_decoder))
