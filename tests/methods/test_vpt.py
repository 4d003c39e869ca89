"""VPT against its reference and against attention written out window by window.

`golden/vpt.safetensors` holds weights, inputs, outputs and gradients of KMnP/vpt at commit
4410440ec1b489f24f66b9fad3d9b10ff3443567: `BasicLayer` with two `PromptedSwinTransformerBlock`s
(8 channels, 2 heads, 4 x 4 windows on 8 x 12 tokens, 3 prompts, deep), float64, window shift off.
Swin adds a bias per distance and head, SAM a term that depends on the query. Both are the same
where channel 0 of every query is a constant and channel 0 of every key is zero, with a table that
is a row's part plus a column's part. The weights are of that kind.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from naslora.core.errors import SettingsError
from naslora.methods.registry import adapt, get_method, trainable_parameters
from naslora.methods.vpt import VPTSettings
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import build_sam
from naslora.sam.image_encoder import Block

WIDTH = BACKBONES["tiny"].embed_dim
GOLDEN = Path(__file__).parent / "golden" / "vpt.safetensors"


@pytest.fixture(params=["folded", "banded", "reference"])
def backend(request):
    return request.param


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Draw every parameter, also those that SAM starts from zero (relative positions)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(0.4 * noise)


def block_by_definition(block: Block, x: Tensor, prompts: Tensor) -> Tensor:
    """A block with prompts as rows of every window, whose outputs are dropped."""
    B, H, W, C = x.shape
    heads, d = block.attn.num_heads, C // block.attn.num_heads
    size = block.attn.window_size
    height, width = (size, size) if size else (H, W)
    P = len(prompts)
    normed, normed_prompts = block.norm1(x), block.norm1(prompts)
    attended = torch.zeros_like(x)
    for b in range(B):
        for top in range(0, H, height):
            for left in range(0, W, width):
                window = x.new_zeros(height, width, C)
                part = normed[b, top : top + height, left : left + width]
                window[: part.shape[0], : part.shape[1]] = part
                tokens = torch.cat([normed_prompts, window.reshape(-1, C)])
                out = torch.zeros_like(tokens)
                qkv = block.attn.qkv(tokens).reshape(len(tokens), 3, heads, d)
                for head in range(heads):
                    q, k, v = qkv[:, 0, head], qkv[:, 1, head], qkv[:, 2, head]
                    logits = q @ k.T / d**0.5
                    bias = torch.zeros_like(logits)
                    for i in range(height * width):
                        for j in range(height * width):
                            rows = i // width - j // width + height - 1
                            columns = i % width - j % width + width - 1
                            position = block.attn.rel_pos_h[rows] + block.attn.rel_pos_w[columns]
                            bias[P + i, P + j] = q[P + i] @ position
                    out[:, head * d : (head + 1) * d] = (logits + bias).softmax(-1) @ v
                out = block.attn.proj(out)
                grid = out[P:].reshape(height, width, C)[: part.shape[0], : part.shape[1]]
                attended[b, top : top + height, left : left + width] = grid
    x = x + attended
    return x + block.mlp(block.norm2(x))


def test_golden(backend):
    golden = {name: value.double() for name, value in load_file(GOLDEN).items()}
    blocks = nn.ModuleList(Block(8, 2, (4, 4), 4) for _ in range(2)).double()
    blocks.load_state_dict(
        {
            name.removeprefix("blocks."): value
            for name, value in golden.items()
            if name.startswith("blocks.")
        }
    )
    for block, prompts in zip(blocks, golden["prompts"], strict=True):
        block.attn.backend = backend
        block.prompts = nn.Parameter(prompts)
    x = golden["input"].requires_grad_()
    y = x
    for block in blocks:
        y = block(y)
    torch.testing.assert_close(y, golden["output"], rtol=0, atol=1e-10)
    gradients = torch.autograd.grad(
        (y * golden["cotangent"]).sum(), [x, *(block.prompts for block in blocks)]
    )
    torch.testing.assert_close(gradients[0], golden["input_gradient"], rtol=0, atol=1e-9)
    torch.testing.assert_close(
        torch.stack(gradients[1:]), golden["prompts_gradient"], rtol=0, atol=1e-9
    )


@pytest.mark.parametrize(
    ("grid", "window"),
    [((5, 7), 3), ((4, 6), 2), ((3, 5), 0), ((2, 3), 4)],
    ids=["padded", "even", "global", "smaller than a window"],
)
def test_block_equals_definition(backend, grid, window):
    block = Block(8, 2, (window, window) if window else grid, window).double()
    block.attn.backend = backend
    randomise(block)
    prompts = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = torch.randn(2, *grid, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    block.prompts = nn.Parameter(prompts)
    torch.testing.assert_close(block(x), block_by_definition(block, x, prompts), rtol=0, atol=1e-12)


def test_gradcheck(backend):
    block = Block(4, 2, (2, 2), 2).double()
    block.attn.backend = backend
    randomise(block)
    x = torch.randn(1, 3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(5)
    block.prompts = nn.Parameter(torch.randn(2, 4, generator=generator).double())
    x.requires_grad_()

    def run(*_: Tensor) -> Tensor:  # gradcheck changes its inputs in place
        return block(x)

    assert torch.autograd.gradcheck(run, (block.prompts, x))


def test_paper_count():
    with torch.device("meta"):
        sam = build_sam("vit_h", 1024)
        adapt(sam, "vpt")
    assert sum(p.numel() for p in trainable_parameters(sam).values()) == 3_997_056


def test_one_set_of_prompts_per_block_within_bounds():
    torch.manual_seed(0)
    sam = build_sam("tiny", 64)
    adapt(sam, "vpt", {"tokens": 5}, seed=3)
    prompts = {n: p for n, p in trainable_parameters(sam).items() if "mask_decoder" not in n}
    assert {n: tuple(p.shape) for n, p in prompts.items()} == {
        f"image_encoder.blocks.{i}.prompts": (5, WIDTH) for i in range(4)
    }
    bound = (6 / (3 * BACKBONES["tiny"].patch_size ** 2 + WIDTH)) ** 0.5
    values = torch.cat([p.flatten() for p in prompts.values()])
    assert 0.95 * bound < values.abs().max() <= bound
    assert abs(values.mean()) < 0.1 * bound
    assert not torch.equal(
        prompts["image_encoder.blocks.0.prompts"], prompts["image_encoder.blocks.1.prompts"]
    )


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_every_prompt(checkpointing):
    torch.manual_seed(0)
    sam = build_sam("tiny", (48, 80))
    adapt(sam, "vpt")
    sam.image_encoder.gradient_checkpointing = checkpointing
    images = torch.randint(0, 256, (1, 3, 48, 80), generator=torch.Generator().manual_seed(4))
    sam(images).masks.square().mean().backward()
    for name, parameter in trainable_parameters(sam).items():
        if "prompts" in name:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum(1).min() > 0, name


@pytest.mark.parametrize("tokens", [0, -1, 2.5, True])
def test_settings_are_checked(tokens):
    with pytest.raises(SettingsError, match="tokens: Input should be"):
        get_method("vpt").parse({"tokens": tokens})
    assert get_method("vpt").parse({}) == VPTSettings(tokens=12)
    assert not get_method("vpt").identity
