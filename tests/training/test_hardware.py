from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from naslora.methods.registry import adapt
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import build_sam
from naslora.study.settings import load_study
from naslora.training import hardware
from naslora.training.hardware import best_device, defaults_for, training_bytes

GIB = 2**30
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Free memory in GiB, and whether the GPU computes with bfloat16."""
    machine = {"free": 24, "bfloat16": 1}
    monkeypatch.setattr(hardware, "_available_bytes", lambda device: machine["free"] * GIB)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: bool(machine["bfloat16"])
    )
    return machine


@pytest.mark.parametrize(
    ("free", "backbone", "batch_size", "checkpointing"),
    [
        (78, "vit_h", 4, False),
        (24, "vit_h", 4, True),
        (8, "vit_h", 2, True),
        (24, "vit_b", 4, False),
        (8, "vit_b", 4, True),
        (2, "tiny", 4, True),
    ],
)
def test_what_fits_at_1024_px(
    memory: dict[str, int], free: int, backbone: str, batch_size: int, checkpointing: bool
) -> None:
    memory["free"] = free
    chosen = defaults_for(CUDA, backbone, 1024)
    assert (chosen.batch_size, chosen.gradient_checkpointing) == (batch_size, checkpointing)
    assert chosen.fits
    assert chosen.precision == "bf16-mixed"


def test_where_nothing_fits_the_least_is_chosen_and_it_says_so(memory: dict[str, int]) -> None:
    memory["free"] = 1
    chosen = defaults_for(CUDA, "vit_h", 1024)
    assert (chosen.batch_size, chosen.gradient_checkpointing, chosen.fits) == (1, True, False)


def test_precision_by_device(memory: dict[str, int]) -> None:
    memory["bfloat16"] = 0
    assert defaults_for(CUDA, "vit_b", 512).precision == "16-mixed"
    assert defaults_for(CPU, "vit_b", 512).precision == "32-true"


def test_they_are_settings_of_training() -> None:
    chosen = defaults_for(CPU, "tiny", 128)
    training = load_study("paper", {"training": chosen.settings()}).training
    assert training.accelerator == "cpu"
    assert training.batch_size == 4
    assert training.threads >= 1
    assert defaults_for(best_device(), "tiny", 128).fits


def saved_bytes(method: str, backbone: str, size: int, checkpointing: bool) -> int:
    """Bytes that autograd saves for the backward pass of an image, on a device without memory."""

    class Saving(torch.autograd.Function):
        """What the fused kernels keep."""

        @staticmethod
        def forward(ctx, q, k, v):  # type: ignore[no-untyped-def]
            out = torch.empty(q.shape[:-1] + v.shape[-1:], device=q.device)
            ctx.save_for_backward(q, k, v, out)
            return out

    with torch.device("meta"):
        sam = build_sam(backbone, size, attention="folded")
        adapt(sam, method)
        sam.train().image_encoder.gradient_checkpointing = checkpointing
        weights = {p.untyped_storage()._cdata for p in sam.parameters()}
        kept = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in weights:
                kept[storage._cdata] = storage
            return tensor

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(
                F, "scaled_dot_product_attention", lambda q, k, v, **_: Saving.apply(q, k, v)
            )
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                sam(torch.empty(1, 3, size, size, dtype=torch.uint8))
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("backbone", ["vit_b", "vit_h"])
@pytest.mark.parametrize("method", ["lora", "nas_pc_lora", "mona"])
def test_the_estimate_covers_what_autograd_saves(backbone: str, method: str) -> None:
    sizes = BACKBONES[backbone]
    for checkpointing in (False, True):
        saved = saved_bytes(method, backbone, 1024, checkpointing)
        estimates = [
            training_bytes(sizes, 1024, batch, "32-true", checkpointing=checkpointing)
            for batch in (1, 2)
        ]
        by_image = estimates[1] - estimates[0]
        assert saved < by_image < 4 * saved
