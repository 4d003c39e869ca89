"""The original decoder is Meta's; the semantic one has the paper's shapes."""

from __future__ import annotations

import pytest
import torch

from naslora.sam.building import build_sam


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("backbone", "size"), [("tiny", 128), ("tiny", 80), ("short_vit_b", 96)])
def test_original_equals_metas_model_image_by_image(meta_sam, backbone, size):
    theirs = meta_sam(backbone, size).eval()
    ours = build_sam(backbone, size, decoder="original").eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        prediction = ours(images)
    for multimask, tokens in ((False, slice(0, 1)), (True, slice(1, 4))):
        records = [{"image": image.float(), "original_size": (size, size)} for image in images]
        for index, expected in enumerate(theirs(records, multimask_output=multimask)):
            for mine, other in (
                (prediction.masks[index, tokens], expected["low_res_logits"][0]),
                (prediction.iou[index, tokens], expected["iou_predictions"][0]),
            ):
                assert (mine - other).abs().max() <= 1e-5 * other.abs().max().clamp_min(1)


def test_original_gives_metas_gradient_of_the_image(meta_sam):
    theirs = meta_sam("tiny", 64)
    ours = build_sam("tiny", 64, decoder="original")
    ours.load_state_dict(theirs.state_dict())
    embedding = torch.randn(1, 64, 4, 4, generator=torch.Generator().manual_seed(0))
    mine, other = (embedding.clone().requires_grad_() for _ in range(2))
    ours.decode(mine).masks.square().sum().backward()
    sparse, dense = theirs.prompt_encoder(points=None, boxes=None, masks=None)
    pe = theirs.prompt_encoder.get_dense_pe()
    masks, _ = theirs.mask_decoder.predict_masks(other, pe, sparse, dense)
    masks.square().sum().backward()
    assert (mine.grad - other.grad).abs().max() <= 1e-5 * other.grad.abs().max()


def test_binary_has_one_token_and_no_classes():
    prediction = build_sam("tiny", (64, 96))(torch.zeros(2, 3, 64, 96))
    assert prediction.masks.shape == (2, 1, 16, 24)
    assert prediction.class_logits is None
    assert prediction.iou is None


def test_multiclass_has_a_class_branch_on_every_token():
    sam = build_sam("tiny", 64, classes=12, mask_tokens=5)
    prediction = sam(torch.zeros(2, 3, 64, 64))
    assert prediction.masks.shape == (2, 5, 16, 16)
    assert prediction.class_logits.shape == (2, 5, 13)
    chosen = prediction.images(slice(0, 1))
    assert chosen.masks.shape[0] == chosen.class_logits.shape[0] == 1
    assert build_sam("tiny", 64, classes=3).mask_decoder.mask_tokens.num_embeddings == 10


def test_all_decoder_parameters_but_the_iou_head_get_a_gradient():
    torch.manual_seed(0)
    sam = build_sam("tiny", 64, classes=3, mask_tokens=2)
    prediction = sam(torch.rand(2, 3, 64, 64) * 255)
    (prediction.masks.square().mean() + prediction.class_logits.square().mean()).backward()
    without = [n for n, p in sam.mask_decoder.named_parameters() if p.grad is None]
    assert without
    assert all(name.startswith("iou_prediction_head.") for name in without)


def test_the_papers_count():
    with torch.device("meta"):
        decoder = build_sam("vit_h", 1024).mask_decoder
        multi = build_sam("vit_h", 1024, classes=12, mask_tokens=4).mask_decoder
    # The IoU token takes part in attention and counts; the IoU head does not.
    assert count(decoder) - count(decoder.iou_prediction_head) == 3_505_536
    one_more = 256 + count(decoder.output_hypernetworks_mlps[0])
    extra = 3 * one_more + 257 * 13
    assert count(multi) - count(multi.iou_prediction_head) == 3_505_536 + extra


def test_a_tokens_class_and_mask_come_from_the_same_token():
    torch.manual_seed(0)
    decoder = (sam := build_sam("tiny", 64, classes=3, mask_tokens=2)).mask_decoder
    seen = {}
    for name in ("class_prediction_head", *(f"output_hypernetworks_mlps.{i}" for i in range(2))):
        decoder.get_submodule(name).register_forward_hook(
            lambda _, inputs, __, name=name: seen.update({name: inputs[0]})
        )
    sam(torch.rand(2, 3, 64, 64) * 255)
    for index in range(2):
        token = seen[f"output_hypernetworks_mlps.{index}"]
        assert torch.equal(token, seen["class_prediction_head"][:, index])
