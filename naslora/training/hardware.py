"""Default settings of training for the hardware, for user-supplied images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import psutil
import torch

from naslora.core.processors import available_cores
from naslora.sam.backbones import BACKBONES, Backbone

Precision = Literal["32-true", "16-mixed", "bf16-mixed"]
_BATCH_SIZES = (4, 2, 1)  # the paper's first
_GPU_WORKERS = 6
_GPU_THREADS = 8
# Bytes of activations for each token, channel and block, in single precision. Counted over the
# tensors that autograd saves: 57 to 73 for LoRA and the NAS cell, 79 to 90 for Mona, with ViT-B to
# ViT-H at 256 to 1024 px; 5 to 8 with gradient checkpointing, besides those of one block.
_ACTIVATIONS = 90
_CHECKPOINTED = 8
_MIXED = 0.6  # activation memory in mixed precision, relative to single
_TEMPORARY = 1.4  # factor for gradients of activations, workspaces and fragmentation
_OVERHEAD = 1_000_000_000  # of CUDA, or of Python and its packages


@dataclass(frozen=True)
class HardwareDefaults:
    """Settings under `training`, and the estimates that they are based on.

    Attributes:
        accelerator: as in the settings, and so are the next five.
        precision: bfloat16 where the GPU computes with it.
        batch_size: 4 as in the paper, or less where the memory is too small.
        gradient_checkpointing: whether that is needed to fit.
        threads: the cores of a CPU that this process may use; a few beside a GPU.
        workers: processes that load images, beside a GPU.
        needed_bytes: an estimate of the memory that training takes, on the large side.
        available_bytes: memory of the device that is free now.
    """

    accelerator: Literal["cpu", "cuda", "mps"]
    precision: Precision
    batch_size: int
    gradient_checkpointing: bool
    threads: int
    workers: int
    needed_bytes: int
    available_bytes: int

    @property
    def fits(self) -> bool:
        """Whether the memory suffices, by the estimate."""
        return self.needed_bytes <= self.available_bytes

    def settings(self) -> dict[str, Any]:
        """The settings, to be merged into those under `training`."""
        memory = ("needed_bytes", "available_bytes")
        return {name: value for name, value in asdict(self).items() if name not in memory}


def best_device() -> torch.device:
    """A CUDA device if there is one, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def defaults_for(device: torch.device, backbone: str, image_size: int) -> HardwareDefaults:
    """Settings to adapt a backbone on a device.

    A batch of 4 takes priority over speed: gradients are checkpointed if it would not fit
    otherwise, and the batch is reduced only if that is not enough. If nothing fits, the settings
    are those that need the least memory.

    Args:
        device: a CUDA device, Apple's, or the CPU.
        backbone: a key of `naslora.sam.backbones.BACKBONES`.
        image_size: side of the model's input in pixels.
    """
    available = _available_bytes(device)
    precision = _precision(device)
    cores = available_cores()
    on_gpu = device.type == "cuda"
    choices = [(size, checkpointing) for size in _BATCH_SIZES for checkpointing in (False, True)]
    found = [
        HardwareDefaults(
            accelerator=device.type,  # type: ignore[arg-type]
            precision=precision,
            batch_size=size,
            gradient_checkpointing=checkpointing,
            threads=min(cores, _GPU_THREADS if on_gpu else psutil.cpu_count(False) or cores),
            workers=min(max(cores - 1, 0), _GPU_WORKERS) if on_gpu else 0,
            needed_bytes=training_bytes(
                BACKBONES[backbone], image_size, size, precision, checkpointing=checkpointing
            ),
            available_bytes=available,
        )
        for size, checkpointing in choices
    ]
    return next((choice for choice in found if choice.fits), found[-1])


def training_bytes(
    backbone: Backbone,
    image_size: int,
    batch_size: int,
    precision: Precision,
    *,
    checkpointing: bool,
) -> int:
    """Memory that training an adapter takes, an estimate on the large side.

    Args:
        backbone: sizes of the image encoder.
        image_size: side of the input in pixels.
        batch_size: images per step.
        precision: of the activations; weights are always in single precision.
        checkpointing: whether activations are recomputed in the backward pass.
    """
    rows, columns = backbone.grid((image_size, image_size))
    values = rows * columns * backbone.embed_dim * batch_size
    depth = backbone.depth
    each = _CHECKPOINTED * depth + _ACTIVATIONS if checkpointing else _ACTIVATIONS * depth
    activations = values * each
    share = 1.0 if precision == "32-true" else _MIXED
    return int(backbone.weights_bytes + _OVERHEAD + share * _TEMPORARY * activations)


def _available_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def _precision(device: torch.device) -> Precision:
    if device.type != "cuda":
        return "32-true"
    # Emulation on older GPUs is slower than single precision.
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if native else "16-mixed"
