"""SAMs of Meta's package and of HF transformers are adapted, and go back to Meta's predictor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor, sam_model_registry

import naslora
from naslora.core.errors import CheckpointError
from naslora.methods.merge import merge
from naslora.methods.registry import adapt, trainable_parameters
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import Sam, build_sam
from naslora.sam.checkpoints import load_checkpoint, save_checkpoint
from naslora.sam.third_party import from_huggingface, from_meta

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
PROMPTS = (
    {"point_coords": np.array([[20.0, 10.0], [30.0, 30.0]]), "point_labels": np.array([1, 0])},
    {"box": np.array([5.0, 8.0, 40.0, 35.0]), "multimask_output": False},
    {"point_coords": np.array([[9.0, 9.0]]), "point_labels": np.array([1]), "box": np.arange(4)},
)


def predicted(model):
    """Mask logits and qualities of Meta's predictor, for all prompts."""
    predictor = SamPredictor(model)
    predictor.set_image(IMAGE)
    found = []
    for prompt in PROMPTS:
        masks, quality, low = predictor.predict(**prompt, return_logits=True)
        found += [torch.from_numpy(a) for a in (masks, quality, low)]
    return found


def assert_close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def changed(sam, seed=1):
    """Give the adapter values that are not its starting ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in trainable_parameters(sam).values():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("name", ["vit_h", "vit_l", "vit_b"])
def test_what_the_registry_makes_is_known(name):
    with torch.device("meta"):
        theirs = sam_model_registry[name]()
        ours = from_meta(theirs)
    assert (ours.backbone, ours.image_size, ours.decoder) == (name, (1024, 1024), "original")


def test_metas_sam_is_the_same_here_and_shares_its_parameters(meta_sam):
    theirs = meta_sam("tiny", 64).eval()
    ours = from_meta(theirs)
    assert not ours.training
    assert_close(predicted(ours), predicted(theirs))
    names = dict(ours.named_parameters())
    assert all(names[name] is parameter for name, parameter in theirs.named_parameters())
    assert from_meta(ours) is ours


@pytest.mark.parametrize("method", ["lora", "nas_pc_lora", "decoder_only", "dora"])
def test_metas_sam_is_adapted_and_goes_to_metas_predictor(meta_sam, method, tmp_path):
    before = predicted(meta_sam("tiny", 64).eval())
    sam = from_meta(meta_sam("tiny", 64).eval())
    adapt(sam, method)
    assert_close(predicted(sam), before)  # these methods start as the identity
    changed(sam)
    adapted = predicted(sam)
    assert any((a - b).abs().max() > 1e-2 for a, b in zip(adapted, before, strict=True))
    if method == "nas_pc_lora":  # has no exact merge
        return
    merge(sam, "exact")
    save_checkpoint(sam, tmp_path / "sam.pth")
    theirs = meta_sam("tiny", 64).eval()
    theirs.load_state_dict(torch.load(tmp_path / "sam.pth", weights_only=True), strict=True)
    assert_close(predicted(theirs), adapted)


def test_a_sam_of_unknown_sizes_is_refused(meta_sam):
    theirs = meta_sam("tiny", 64)
    del theirs.image_encoder.blocks[0]
    with pytest.raises(CheckpointError, match=r"no known backbone: embed_dim \d+, depth 3"):
        from_meta(theirs)


def test_one_function_adapts_ours_and_metas(meta_sam):
    ours = build_sam("tiny", 64)
    assert naslora.adapt(ours, "lora") is ours
    theirs = meta_sam("tiny", 64)
    adapted = naslora.adapt(theirs, "lora", {"rank": 2}, seed=3)
    assert isinstance(adapted, Sam)
    assert adapted.adaptation.settings["rank"] == 2
    assert adapted.image_encoder.pos_embed is theirs.image_encoder.pos_embed
    with pytest.raises(ValueError, match="`train` is for other models"):
        naslora.adapt(build_sam("tiny", 64), "lora", train=["head"])


@pytest.fixture(scope="module")
def hugging_face():
    """HF transformers' SAM in the sizes of `tiny`, with random weights."""
    import transformers

    torch.manual_seed(0)
    tiny = BACKBONES["tiny"]
    dim = tiny.prompt_embed_dim
    vision = transformers.SamVisionConfig(
        hidden_size=tiny.embed_dim,
        output_channels=dim,
        num_hidden_layers=tiny.depth,
        num_attention_heads=tiny.num_heads,
        image_size=64,
        patch_size=tiny.patch_size,
        window_size=tiny.window_size,
        global_attn_indexes=list(tiny.global_attn_indexes),
        mlp_dim=4 * tiny.embed_dim,
        num_pos_feats=dim // 2,
    )
    prompts = transformers.SamPromptEncoderConfig(
        hidden_size=dim, image_size=64, patch_size=tiny.patch_size
    )
    decoder = transformers.SamMaskDecoderConfig(
        hidden_size=dim,
        mlp_dim=tiny.decoder_mlp_dim,
        num_attention_heads=tiny.decoder_num_heads,
        iou_head_hidden_dim=dim,
    )
    config = transformers.SamConfig(
        vision_config=vision.to_dict(),
        prompt_encoder_config=prompts.to_dict(),
        mask_decoder_config=decoder.to_dict(),
    )
    model = transformers.SamModel(config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def assert_equal_to_hugging_face(sam, model):
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=generator)
    points = torch.tensor([[[20.0, 10.0], [30.0, 30.0]], [[1.0, 60.0], [33.0, 31.0]]])
    labels = torch.tensor([[1, 0], [1, 1]])
    with torch.no_grad():
        theirs = model(
            (images - sam.pixel_mean) / sam.pixel_std,
            input_points=points[:, None],
            input_labels=labels[:, None],
            multimask_output=True,
        )
        embeddings = sam.encode(images)
        sparse, dense = sam.prompt_encoder(points=(points, labels), boxes=None, masks=None)
        ours = sam.mask_decoder.predict(embeddings, sam.positions(), dense, sparse)
        expected = model.get_image_embeddings((images - sam.pixel_mean) / sam.pixel_std)
    torch.testing.assert_close(embeddings, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.masks[:, 1:], theirs.pred_masks[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.iou[:, 1:], theirs.iou_scores[:, 0], rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.1


def test_hugging_faces_sam_is_the_same_here(hugging_face):
    sam = from_huggingface(hugging_face)
    assert isinstance(naslora.adapt(hugging_face, "lora"), Sam)
    assert (sam.backbone, sam.image_size, sam.training) == ("tiny", (64, 64), False)
    assert_equal_to_hugging_face(sam, hugging_face)
    before = predicted(sam)
    adapt(sam, "nas_lora")
    changed(sam)
    assert all(p.requires_grad for p in hugging_face.parameters())  # it is a copy
    assert_close(predicted(from_huggingface(hugging_face)), before)


@pytest.mark.parametrize("safe", [True, False])
def test_hugging_faces_files_are_read(hugging_face, safe, tmp_path):
    if safe:
        hugging_face.save_pretrained(tmp_path)
        path = tmp_path / "model.safetensors"
    else:
        path = tmp_path / "pytorch_model.bin"
        torch.save(hugging_face.state_dict(), path)
    sam = build_sam("tiny", 64, decoder="original").eval()
    load_checkpoint(sam, path)
    assert_equal_to_hugging_face(sam, hugging_face)


def test_hugging_faces_sam_hq_says_what_is_not_used(tmp_path):
    import transformers

    with torch.device("meta"):
        config = transformers.SamHQConfig()
        config.mask_decoder_config.vit_dim = 768
        model = transformers.SamHQModel(config)
        plain = transformers.SamModel(transformers.SamConfig())
    extra = set(model.state_dict()) - set(plain.state_dict())
    from naslora.sam.formats import weights_of

    weights = weights_of(model.state_dict())
    assert weights is not None
    assert set(weights.high_quality) == extra
    with torch.device("meta"):
        assert set(weights.state) == set(build_sam("vit_b", 1024, decoder="original").state_dict())
