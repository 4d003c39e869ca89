from __future__ import annotations

import numpy as np
import pytest
import torch
from segment_anything.modeling import Sam as MetaSam

from naslora.sam.building import build_sam
from naslora.sam.conversion import convert
from naslora.training.pretraining.losses import (
    focal_loss,
    intersection_over_union,
    mask_loss,
    prompt_loss,
)
from naslora.training.pretraining.model import Masks, PromptableSam
from naslora.training.pretraining.prompts import (
    BACKGROUND,
    FOREGROUND,
    PADDING,
    Prompts,
    boxed,
    centre_click,
    clicked,
    draw_prompts,
    error_points,
)


@pytest.fixture
def model() -> PromptableSam:
    torch.manual_seed(0)
    return PromptableSam("tiny", 64).eval()


def prompts_and_embeddings(model: PromptableSam) -> tuple[Prompts, torch.Tensor]:
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    points = torch.tensor([[[10.0, 20], [0, 0]], [[4, 6], [40, 50]]] * 2)
    kinds = torch.tensor([[FOREGROUND, PADDING], [2, 3]] * 2)
    return Prompts(points, kinds), model.encode(images)


def test_a_click_and_a_box_get_what_metas_code_gives_them(model: PromptableSam) -> None:
    prompts, embeddings = prompts_and_embeddings(model)
    found = model(embeddings, prompts)
    encoder, decoder = model.sam.prompt_encoder, model.sam.mask_decoder
    for image in range(2):
        point = (torch.tensor([[[10.0, 20]]]), torch.tensor([[1]]))
        box = torch.tensor([[4.0, 6, 40, 50]])
        for row, arguments in enumerate(((point, None, None), (None, box, None))):
            sparse, dense = encoder(*arguments)
            masks, quality = decoder.predict_masks(
                image_embeddings=embeddings[image : image + 1],
                image_pe=encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
            )
            at = 2 * image + row
            torch.testing.assert_close(found.logits[at], masks[0], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(found.quality[at], quality[0], rtol=1e-4, atol=1e-5)


def test_a_correction_gets_what_metas_code_gives_it(model: PromptableSam) -> None:
    prompts, embeddings = prompts_and_embeddings(model)
    side = 4 * embeddings.shape[-1]
    earlier = torch.randn(4, side, side)
    new, kinds = torch.full((4, 2), 33.0), torch.full((4,), BACKGROUND)
    found = model(embeddings, prompts.corrected(new, kinds, earlier))
    encoder, decoder = model.sam.prompt_encoder, model.sam.mask_decoder
    point = (torch.tensor([[[10.0, 20], [33, 33]]]), torch.tensor([[1, 0]]))
    sparse, dense = encoder(point, None, earlier[:1, None])
    masks, _ = decoder.predict_masks(
        image_embeddings=embeddings[:1],
        image_pe=encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
    )
    torch.testing.assert_close(found.logits[0], masks[0], rtol=1e-4, atol=1e-5)
    # Meta's encoder puts points before a box's corners: the tokens are a set, in another order.
    click = (torch.tensor([[[33.0, 33]]]), torch.tensor([[0]]))
    sparse, dense = encoder(click, torch.tensor([[4.0, 6, 40, 50]]), earlier[1:2, None])
    masks, _ = decoder.predict_masks(
        image_embeddings=embeddings[:1],
        image_pe=encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
    )
    torch.testing.assert_close(found.logits[1], masks[0], rtol=1e-4, atol=1e-5)


def test_without_prompts_it_is_the_semantic_decoder(model: PromptableSam) -> None:
    semantic = build_sam("tiny", 64).eval()
    semantic.load_state_dict(convert(model.sam.state_dict(), semantic))
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    expected = semantic(images).masks[:, 0]
    found = model.without_prompts(model.encode(images))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_parameters_have_metas_names(model: PromptableSam) -> None:
    own = set(model.sam.state_dict())
    assert own == set(build_sam("tiny", 64, decoder="original").state_dict())
    meta = MetaSam(torch.nn.Module(), model.sam.prompt_encoder, model.sam.mask_decoder).state_dict()
    assert set(meta) == {name for name in own if not name.startswith("image_encoder.")}


def test_focal_loss_by_its_definition() -> None:
    logits = torch.randn(3, 4, 5)
    target = (torch.rand(3, 4, 5) > 0.6).float()
    p = torch.sigmoid(logits)
    truth = torch.where(target > 0, p, 1 - p)
    weight = torch.where(target > 0, 0.25, 0.75)
    expected = (-weight * (1 - truth) ** 2 * truth.log()).mean((1, 2))
    torch.testing.assert_close(focal_loss(logits, target), expected)


def test_the_best_of_three_candidates_is_trained_and_the_single_mask_alone() -> None:
    target = torch.zeros(2, 8, 8)
    target[:, 2:6, 2:6] = 1
    right, wrong = 10 * (2 * target - 1), -10 * (2 * target - 1)
    logits = torch.stack([wrong[0], wrong[0], right[0], wrong[0]]).repeat(2, 1, 1, 1)
    logits.requires_grad_()
    quality = torch.zeros(2, 4, requires_grad=True)
    loss, answers = prompt_loss(Masks(logits, quality), target, torch.tensor([False, True]))
    loss.backward()
    torch.testing.assert_close(answers[0], right[0])
    torch.testing.assert_close(answers[1], wrong[1])
    trained = logits.grad.flatten(2).any(2)  # type: ignore[union-attr]
    assert trained.tolist() == [[False, False, True, False], [True, False, False, False]]
    # IoU is learnt by all masks that could have been the answer.
    assert quality.grad.ne(0).tolist() == [  # type: ignore[union-attr]
        [False, False, True, False],
        [False] * 4,
    ]


def test_mask_loss_is_lowest_for_the_target() -> None:
    target = torch.zeros(1, 8, 8)
    target[:, :4] = 1
    logits = torch.stack([10 * (2 * target[0] - 1), torch.zeros(8, 8)])[None]
    losses = mask_loss(logits, target)
    assert losses.shape == (1, 2)
    assert losses[0, 0] < 0.01 < losses[0, 1]
    assert intersection_over_union(logits, target).tolist() == [[1, 0]]


def test_prompts_lie_in_their_masks() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 40), bool)
    mask[10:20, 5:35] = True
    for _ in range(20):
        (point, _), kinds = clicked(rng, mask)
        assert mask[int(point[1]), int(point[0])]
        assert kinds == [FOREGROUND, PADDING]
    (centre, _), _ = centre_click(mask)
    assert 13 <= centre[1] <= 16
    assert 9 <= centre[0] <= 30
    assert boxed(None, mask) == ([(5, 10), (35, 20)], [2, 3])
    for _ in range(20):
        corners = np.array(boxed(rng, mask)[0])
        assert np.abs(corners - [[5, 10], [35, 20]]).max() <= 40 * 20 / 1024 + 1e-9


def test_prompts_take_turns_and_name_their_masks() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((2, 16, 16), np.uint8)
    labels[0, :8], labels[0, 8:], labels[1, 4:8, 4:8] = 3, 70, 1
    prompts, masks = draw_prompts(rng, list(labels), 4)
    assert prompts.kinds.tolist() == [[1, -1], [2, 3]] * 4
    assert masks.shape == (8, 16, 16)
    assert {mask.tobytes() for mask in masks[:4]} == {(labels[0] == n).tobytes() for n in (3, 70)}
    assert all((mask == (labels[1] == 1)).all() for mask in masks[4:])


def test_a_correcting_click_is_on_an_error() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((3, 12, 12), bool)
    mask[:, 2:6, 2:6] = True
    predicted = mask.copy()
    predicted[0, 8:10, 8:10] = True  # too much
    predicted[1, 2:4] = False  # too little
    for _ in range(10):
        points, kinds = error_points(rng, predicted, mask)
        (x0, y0), (x1, y1), (x2, y2) = points.long().tolist()
        assert kinds.tolist() == [BACKGROUND, FOREGROUND, FOREGROUND]
        assert predicted[0, y0, x0]
        assert not mask[0, y0, x0]
        assert mask[1, y1, x1]
        assert not predicted[1, y1, x1]
        assert mask[2, y2, x2]
