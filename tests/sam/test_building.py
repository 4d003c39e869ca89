"""SAMs by name."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import segment_anything
import torch

from naslora.methods.registry import adapt
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import build_sam, original_parameters


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("backbone", "total"),
    [("vit_h", 641_090_608), ("vit_l", 312_342_832), ("vit_b", 93_735_472)],
)
def test_metas_sizes_on_the_meta_device(backbone, total):
    with torch.device("meta"):
        sam = build_sam(backbone, 1024, decoder="original")
        prediction = sam(torch.empty(2, 3, 1024, 1024))
    assert count(sam) == total == original_parameters(backbone, 1024)
    assert all(t.device.type == "meta" for t in sam.state_dict().values())
    assert prediction.masks.shape == (2, 4, 256, 256)


def test_names_are_metas(meta_sam):
    ours, theirs = build_sam("tiny", 64, decoder="original"), meta_sam("tiny", 64)
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_the_patch_size_is_the_backbones(monkeypatch, meta_sam):
    """Maps, masks and methods follow the patch size, and the model still equals Meta's."""
    fine = replace(BACKBONES["tiny"], patch_size=8)
    monkeypatch.setitem(BACKBONES, "fine", fine)
    theirs, ours = meta_sam("fine", 40).eval(), build_sam("fine", 40, decoder="original").eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    image = torch.randint(0, 256, (1, 3, 40, 40), dtype=torch.uint8)
    records = [{"image": image[0].float(), "original_size": (40, 40)}]
    expected = theirs(records, multimask_output=False)[0]["low_res_logits"]
    with torch.no_grad():
        masks = ours(image).masks
    assert masks.shape == (1, 4, 20, 20)
    torch.testing.assert_close(masks[:, :1], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="multiple of 8, not 44x44"):
        build_sam("fine", 44)
    for method in ("sam_adapter", "vpt", "nas_lora"):
        sam = build_sam("fine", 40)
        adapt(sam, method)
        assert sam(image).masks.shape == (1, 1, 20, 20)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_size_of_weights(backbone):
    """The table's sizes are approximate; files hold some buffers and the container as well."""
    with torch.device("meta"):
        size = 4 * count(build_sam(backbone, 1024 if "vit" in backbone else 256))
    assert size / 1.02 < BACKBONES[backbone].weights_bytes < 1.25 * size


@pytest.mark.parametrize("backbone", ["tiny", "small"])
def test_same_seed_same_weights(backbone):
    sams = []
    for _ in range(2):
        torch.manual_seed(7)
        sams.append(build_sam(backbone, 64).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(s.values() for s in sams), strict=True))


def test_bytes_and_floats_are_the_same_image():
    torch.manual_seed(0)
    sam = build_sam("tiny", (32, 64)).eval()
    images = torch.randint(0, 256, (2, 3, 32, 64), dtype=torch.uint8)
    with torch.no_grad():
        a, b = sam(images).masks, sam(images.float()).masks
        split = sam.decode(sam.encode(images)).masks
        double = sam.double()(images).masks
    assert torch.equal(a, b)
    assert torch.equal(a, split)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), a, rtol=1e-4, atol=1e-5)


def test_bfloat16_model_takes_bytes():
    torch.manual_seed(0)
    sam = build_sam("tiny", 64)
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    exact = sam(images).masks
    half = sam.bfloat16()(images).masks
    assert half.dtype == torch.bfloat16
    assert (half.float() - exact).abs().max() <= 0.1 * exact.abs().max()


def test_a_fresh_sam_is_not_adapted():
    sam = build_sam("tiny", 64)
    assert sam.adaptation is None
    assert (sam.backbone, sam.image_size, sam.classes) == ("tiny", (64, 64), 1)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("vit_x", 64), {}, "no backbone 'vit_x'; there are vit_h"),
        (("tiny", 100), {}, "multiple of 8, not 100x100"),
        (("tiny", (64, 0)), {}, "multiple of 8, not 64x0"),
        (("tiny", 64), {"classes": 0}, "classes and mask_tokens must be at least 1"),
        (
            ("tiny", 64),
            {"classes": 3, "mask_tokens": 0},
            "classes and mask_tokens must be at least 1",
        ),
        (("tiny", 64), {"classes": 3, "decoder": "original"}, "cannot distinguish classes"),
        (("tiny", 64), {"decoder": "new"}, "no decoder 'new'"),
        (("tiny", 64), {"hypernetworks": "both"}, "no hypernetworks 'both'"),
    ],
)
def test_what_cannot_be_built(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        build_sam(*arguments, **options)


@pytest.mark.parametrize("shape", [(1, 3, 64, 48), (3, 64, 64), (1, 1, 64, 64)])
def test_images_of_another_size_are_refused(shape):
    with pytest.raises(ValueError, match=r"takes images of \(B, 3, 64, 64\)"):
        build_sam("tiny", 64)(torch.zeros(shape))


def test_images_of_0_to_1_are_refused():
    with pytest.raises(ValueError, match=r"in 0\.\.255, and these are in 0\.\.1"):
        build_sam("tiny", 64)(torch.rand(1, 3, 64, 64))
    black = torch.zeros(1, 3, 64, 64)
    assert build_sam("tiny", 64)(black).masks.isfinite().all()


def test_every_backbone_has_whole_heads():
    for sizes in BACKBONES.values():
        assert sizes.embed_dim % sizes.num_heads == 0
        assert sizes.prompt_embed_dim // 2 % sizes.decoder_num_heads == 0
        assert max(sizes.global_attn_indexes) == sizes.depth - 1


def test_facts_and_help_need_no_torch():
    """Settings, workflow rules and the help of commands load without a delay."""
    code = """
import sys
import naslora.sam.backbones, naslora.cli
heavy = {"torch", "torchvision", "segment_anything"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_sam_is_metas_sam():
    sam = build_sam("tiny", 64, decoder="original")
    assert isinstance(sam, segment_anything.modeling.Sam)
    assert isinstance(sam.mask_decoder, segment_anything.modeling.MaskDecoder)
    assert type(sam.prompt_encoder) is segment_anything.modeling.PromptEncoder
    assert sam.image_encoder.img_size == 64
    with pytest.raises(ValueError, match="needs square images, and these are 32x64"):
        _ = build_sam("tiny", (32, 64)).image_encoder.img_size


def test_positions_are_exact_in_any_precision():
    sam = build_sam("tiny", (64, 96))
    expected = sam.prompt_encoder.get_dense_pe()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sam.positions(), expected)
    assert torch.equal(sam.double().positions(), expected)
