"""The original decoder is Meta's; the semantic one has the paper's shapes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from naslora.methods.registry import adapt, trainable_parameters
from naslora.sam.building import build_sam
from naslora.sam.conversion import convert
from naslora.training.losses import multiclass_loss


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
    embedding = torch.randn(1, 64, 8, 8, generator=torch.Generator().manual_seed(0))
    mine, other = (embedding.clone().requires_grad_() for _ in range(2))
    ours.decode(mine).masks.square().sum().backward()
    sparse, dense = theirs.prompt_encoder(points=None, boxes=None, masks=None)
    pe = theirs.prompt_encoder.get_dense_pe()
    masks, _ = theirs.mask_decoder.predict_masks(other, pe, sparse, dense)
    masks.square().sum().backward()
    assert (mine.grad - other.grad).abs().max() <= 1e-5 * other.grad.abs().max()


def test_binary_has_one_token_and_no_classes():
    prediction = build_sam("tiny", (64, 96))(torch.zeros(2, 3, 64, 96))
    assert prediction.masks.shape == (2, 1, 32, 48)
    assert prediction.class_logits is None
    assert prediction.iou is None


def test_multiclass_has_a_class_branch_on_every_token():
    sam = build_sam("tiny", 64, classes=12, mask_tokens=5)
    prediction = sam(torch.zeros(2, 3, 64, 64))
    assert prediction.masks.shape == (2, 5, 32, 32)
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
        multi = build_sam(
            "vit_h", 1024, classes=12, mask_tokens=4, hypernetworks="per_token"
        ).mask_decoder
    # The IoU token takes part in attention and counts; the IoU head does not.
    assert count(decoder) - count(decoder.iou_prediction_head) == 3_505_536
    one_more = 256 + count(decoder.output_hypernetworks_mlps[0])
    extra = 3 * one_more + 257 * 13
    assert count(multi) - count(multi.iou_prediction_head) == 3_505_536 + extra


def test_the_two_readings_of_the_multiclass_decoder():
    """LoRA on ViT-H with 10 tokens for 12 classes; the paper prints 4.00 M."""
    trained = {}
    for hypernetworks in ("shared", "per_token"):
        with torch.device("meta"):
            sam = build_sam("vit_h", 1024, classes=12, hypernetworks=hypernetworks)
            adapt(sam, "lora")
        trained[hypernetworks] = sum(p.numel() for p in trainable_parameters(sam).values())
    assert trained == {"shared": 4_002_701, "per_token": 5_260_973}


def test_shared_is_per_token_with_equal_mlps(randomise):
    shared = build_sam("tiny", 64, classes=3, mask_tokens=4, hypernetworks="shared")
    randomise(shared)
    own = build_sam("tiny", 64, classes=3, mask_tokens=4, hypernetworks="per_token")
    state = convert(shared.state_dict(), own)
    own.load_state_dict(state, strict=True)
    images = torch.rand(2, 3, 64, 64) * 255
    ours, theirs = shared(images), own(images)
    torch.testing.assert_close(ours.masks, theirs.masks, rtol=1e-4, atol=1e-6)
    assert torch.equal(ours.class_logits, theirs.class_logits)
    assert ours.masks[:, 0].ne(ours.masks[:, 1]).any()


def test_equal_tokens_part_at_the_first_step(meta_sam):
    """Classes are assigned to tokens one to one, so that equal tokens get unequal gradients."""
    sam = build_sam("tiny", 64, classes=3, mask_tokens=4)
    sam.load_state_dict(convert(meta_sam("tiny", 64).state_dict(), sam))
    tokens = sam.mask_decoder.mask_tokens.weight
    assert torch.equal(tokens, tokens[:1].expand(4, -1))
    labels = torch.arange(3, dtype=torch.uint8).repeat_interleave(1366)[:4096].reshape(1, 64, 64)
    optimiser = torch.optim.Adam(sam.parameters(), lr=1e-3)
    prediction = sam(torch.rand(1, 3, 64, 64) * 255)
    assert torch.equal(prediction.masks, prediction.masks[:, :1].expand(-1, 4, -1, -1))
    weights = SimpleNamespace(lambda_seg=1.0, lambda_cls=2.0, no_object_weight=0.1)
    multiclass_loss(prediction, labels, 3, weights).backward()
    optimiser.step()
    assert (torch.cdist(tokens, tokens) + 9 * torch.eye(4)).min() > 0


@pytest.mark.parametrize("hypernetworks", ["shared", "per_token"])
def test_what_adapt_freezes_is_what_no_prediction_uses(hypernetworks):
    for options in ({}, {"classes": 3, "mask_tokens": 4}, {"decoder": "original"}):
        sam = build_sam("tiny", 64, hypernetworks=hypernetworks, **options)
        adapt(sam, "decoder_only")
        prediction = sam(torch.rand(1, 3, 64, 64) * 255)
        loss = prediction.masks.square().mean()
        if sam.decoder == "original":
            loss = prediction.masks[:, :1].square().mean()
        if prediction.class_logits is not None:
            loss = loss + prediction.class_logits.square().mean()
        loss.backward()
        for name, parameter in sam.mask_decoder.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name


def test_prompts_of_several_images_at_once(meta_sam):
    """Against Meta's decoder, which takes one image at a time."""
    theirs = meta_sam("tiny", 64).eval()
    ours = build_sam("tiny", 64, decoder="original").eval()
    ours.load_state_dict(theirs.state_dict())
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(3, 64, 8, 8, generator=generator)
    points = torch.rand(3, 2, 2, generator=generator) * 64
    labels = torch.tensor([[1, 0], [1, 1], [0, 1]])
    masks = torch.randn(3, 1, 32, 32, generator=generator)
    with torch.no_grad():
        sparse, dense = ours.prompt_encoder(points=(points, labels), boxes=None, masks=masks)
        together = ours.mask_decoder.predict(embeddings, ours.positions(), dense, sparse)
        for index in range(3):
            expected, iou = theirs.mask_decoder.predict_masks(
                image_embeddings=embeddings[index : index + 1],
                image_pe=theirs.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse[index : index + 1],
                dense_prompt_embeddings=dense[index : index + 1],
            )
            torch.testing.assert_close(together.masks[index], expected[0], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(together.iou[index], iou[0], rtol=1e-4, atol=1e-5)


def test_a_tokens_class_and_mask_come_from_the_same_token():
    torch.manual_seed(0)
    sam = build_sam("tiny", 64, classes=3, mask_tokens=2, hypernetworks="per_token")
    decoder = sam.mask_decoder
    seen = {}
    for name in ("class_prediction_head", *(f"output_hypernetworks_mlps.{i}" for i in range(2))):
        decoder.get_submodule(name).register_forward_hook(
            lambda _, inputs, __, name=name: seen.update({name: inputs[0]})
        )
    sam(torch.rand(2, 3, 64, 64) * 255)
    for index in range(2):
        token = seen[f"output_hypernetworks_mlps.{index}"]
        assert torch.equal(token, seen["class_prediction_head"][:, index])
