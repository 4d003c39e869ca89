from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from naslora.data.masks import IGNORE
from naslora.sam.mask_decoder import Prediction
from naslora.study.settings import TrainingSettings, load_study
from naslora.training.losses import bce_loss, binary_loss, dice_loss, multiclass_loss, task_loss

CONFIG = Path(__file__).parents[2] / "config"
TRAINING = load_study("paper", config=CONFIG).training


def weighted(**changes: Any) -> TrainingSettings:
    return TRAINING.model_copy(update=changes)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def equation_9(logits: Tensor, target: Tensor) -> float:
    terms = []
    for logit, truth in zip(logits.flatten().tolist(), target.flatten().tolist(), strict=True):
        y = 1 / (1 + math.exp(-logit))
        terms.append(truth * math.log(y) + (1 - truth) * math.log(1 - y))
    return -sum(terms) / len(terms)


def equation_10(logits: Tensor, target: Tensor) -> float:
    overlap = truths = predictions = 0.0
    for logit, truth in zip(logits.flatten().tolist(), target.flatten().tolist(), strict=True):
        y = 1 / (1 + math.exp(-logit))
        overlap += truth * y
        truths += truth**2
        predictions += y**2
    return 1 - 2 * overlap / (truths + predictions)


def test_equal_loops_over_the_equations() -> None:
    logits, target = 2 * drawn(0, 3, 5, 7), (drawn(1, 3, 5, 7) > 0).float()
    target[2] = 0
    for index in range(3):
        bce = equation_9(logits[index], target[index])
        dice = equation_10(logits[index], target[index])
        assert bce_loss(logits, target)[index].item() == pytest.approx(bce, rel=1e-5)
        assert dice_loss(logits, target)[index].item() == pytest.approx(dice, rel=1e-5)


def test_the_denominators_of_dice_are_squared() -> None:
    half = torch.zeros(1, 4, 4)  # probability 0.5
    ones = torch.ones(1, 4, 4)
    assert dice_loss(half, ones).item() == pytest.approx(1 - 2 * 0.5 / (1 + 0.25))


def test_the_ends_of_dice() -> None:
    target = torch.zeros(1, 4, 4)
    target[0, :2] = 1
    sure = 200 * (2 * target - 1)
    assert dice_loss(sure, target).item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(-sure, target).item() == pytest.approx(1)
    nothing = torch.zeros(1, 4, 4)
    assert dice_loss(sure, nothing).item() == 1
    assert dice_loss(torch.full((1, 4, 4), -200.0), nothing).item() == 1  # 0 / 0 but for the clamp


def test_an_empty_target_has_a_finite_gradient() -> None:
    for level in (-200.0, 0.0, 200.0):
        logits = torch.full((1, 4, 4), level, requires_grad=True)
        target = torch.zeros(1, 4, 4)
        (bce_loss(logits, target) + dice_loss(logits, target)).sum().backward()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


def test_binary_loss_is_the_mean_over_images_at_the_labels_size() -> None:
    masks, labels = drawn(0, 3, 1, 4, 4), (drawn(1, 3, 16, 16) > 0).to(torch.uint8)
    large = F.interpolate(masks, (16, 16), mode="bilinear")[:, 0]
    expected = [
        equation_9(large[i], labels[i].float()) + equation_10(large[i], labels[i].float())
        for i in range(3)
    ]
    loss = binary_loss(Prediction(masks), labels)
    assert loss.item() == pytest.approx(sum(expected) / 3, rel=1e-5)
    twice = task_loss(Prediction(masks), labels, 1, weighted(lambda_seg=2.0))
    assert twice.item() == pytest.approx(2 * loss.item())


def test_half_precision_is_widened() -> None:
    masks, labels = drawn(0, 2, 1, 8, 8), (drawn(1, 2, 32, 32) > 0).to(torch.uint8)
    loss = binary_loss(Prediction(masks.bfloat16()), labels)
    assert loss.dtype == torch.float32
    assert loss.item() == binary_loss(Prediction(masks.bfloat16().float()), labels).item()


def one_image_loss(
    masks: Tensor,
    class_logits: Tensor,
    labels: Tensor,
    chosen: dict[int, int],
    training: Any,
    class_weights: list[float] | None = None,
) -> float:
    """Equation 8 for one image and a given assignment of tokens to classes."""
    nothing = class_logits.shape[-1] - 1
    valid = labels != IGNORE
    segmentation = [
        equation_9(masks[token][valid], (labels[valid] == label).float())
        + equation_10(masks[token][valid], (labels[valid] == label).float())
        for token, label in chosen.items()
    ]
    nll = -class_logits.log_softmax(-1)
    total = weights = 0.0
    for token in range(len(masks)):
        weight = training.no_object_weight
        if token in chosen:
            weight = class_weights[chosen[token]] if class_weights else 1.0
        total += weight * nll[token, chosen.get(token, nothing)].item()
        weights += weight
    return training.lambda_seg * sum(segmentation) / len(segmentation) + (
        training.lambda_cls * total / weights
    )


def best_loss(
    masks: Tensor,
    class_logits: Tensor,
    labels: Tensor,
    training: Any,
    class_weights: list[float] | None = None,
) -> float:
    """The minimum over all assignments of as many classes as possible."""
    present = labels[labels != IGNORE].unique().tolist()
    count = min(len(masks), len(present))
    return min(
        one_image_loss(
            masks,
            class_logits,
            labels,
            dict(zip(tokens, classes, strict=True)),
            training,
            class_weights,
        )
        for tokens in itertools.permutations(range(len(masks)), count)
        for classes in itertools.combinations(present, count)
    )


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    tokens=st.integers(1, 4),
    classes=st.integers(2, 4),
    no_object=st.sampled_from([0.0, 0.1, 1.0]),
    lambdas=st.sampled_from([(1.0, 2.0), (1.0, 0.0), (0.0, 1.0), (3.0, 0.5)]),
)
def test_no_assignment_is_cheaper(
    seed: int, tokens: int, classes: int, no_object: float, lambdas: tuple[float, float]
) -> None:
    training = weighted(no_object_weight=no_object, lambda_seg=lambdas[0], lambda_cls=lambdas[1])
    masks, class_logits = (
        2 * drawn(seed, 2, tokens, 4, 4),
        3 * drawn(seed + 1, 2, tokens, classes + 1),
    )
    labels = torch.randint(
        0, classes, (2, 4, 4), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8
    )
    labels[1] = min(1, classes - 1)  # one class alone: the others are absent
    loss = multiclass_loss(Prediction(masks, class_logits), labels, classes, training)
    expected = sum(best_loss(masks[i], class_logits[i], labels[i], training) for i in range(2)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_perfect_prediction_costs_nothing_in_any_order_of_tokens() -> None:
    labels = torch.arange(3, dtype=torch.uint8).repeat_interleave(16).reshape(1, 6, 8)
    tokens = [3, 0, 2]  # of class 0, 1, 2; token 1 says "no object"
    masks, class_logits = torch.full((1, 4, 6, 8), -50.0), torch.zeros(1, 4, 4)
    class_logits[0, 1, 3] = 100
    for label, token in enumerate(tokens):
        masks[0, token][labels[0] == label] = 50
        class_logits[0, token, label] = 100
    loss = multiclass_loss(Prediction(masks, class_logits), labels, 3, TRAINING)
    assert loss.item() == pytest.approx(0, abs=1e-5)
    wrong = class_logits.clone()
    wrong[0, 0] = torch.tensor([100.0, 0, 0, 0])  # the token of class 1 says 0
    assert multiclass_loss(Prediction(masks, wrong), labels, 3, TRAINING).item() > 10


def test_gradients_reach_every_token_as_they_should() -> None:
    masks = drawn(0, 1, 4, 4, 4).requires_grad_()
    class_logits = drawn(1, 1, 4, 4).requires_grad_()
    labels = torch.zeros(1, 16, 16, dtype=torch.uint8)
    labels[0, 8:] = 2
    multiclass_loss(Prediction(masks, class_logits), labels, 3, TRAINING).backward()
    assert masks.grad is not None
    assert class_logits.grad is not None
    assert int((masks.grad[0].flatten(1).abs().sum(1) > 0).sum()) == 2  # of the classes present
    assert (class_logits.grad[0].abs().sum(1) > 0).all()


def test_values_that_are_not_finite_come_out() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    for broken in (float("nan"), float("inf")):
        masks, class_logits = torch.full((1, 2, 4, 4), broken), torch.zeros(1, 2, 3)
        loss = multiclass_loss(Prediction(masks, class_logits), labels, 2, TRAINING)
        assert not loss.isfinite()


def test_labels_of_other_classes_are_refused() -> None:
    grey = torch.full((1, 8, 8), 128, dtype=torch.uint8)
    with pytest.raises(ValueError, match="label 128: expected 0 or 1, or 255 for"):
        task_loss(Prediction(drawn(0, 1, 1, 4, 4)), grey, 1, TRAINING)
    assert task_loss(Prediction(drawn(0, 1, 1, 4, 4)), grey > 0, 1, TRAINING).isfinite()
    prediction = Prediction(drawn(0, 1, 2, 4, 4), drawn(1, 1, 2, 4))
    with pytest.raises(ValueError, match="invalid label 3: expected 0 to 2"):
        task_loss(prediction, torch.full((1, 8, 8), 3, dtype=torch.uint8), 3, TRAINING)


def with_void(labels: Tensor, seed: int) -> Tensor:
    void = torch.rand(labels.shape, generator=torch.Generator().manual_seed(seed)) < 0.3
    return torch.where(void, IGNORE, labels)


def test_void_pixels_do_not_count_in_a_binary_task() -> None:
    masks = drawn(0, 3, 1, 8, 8).requires_grad_()
    labels = with_void((drawn(1, 3, 8, 8) > 0).to(torch.uint8), 2)
    valid = labels != IGNORE
    loss = binary_loss(Prediction(masks), labels)
    pairs = [(masks[i, 0][valid[i]], labels[i][valid[i]].float()) for i in range(3)]
    expected = sum(equation_9(*pair) + equation_10(*pair) for pair in pairs) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert masks.grad is not None
    assert not masks.grad[:, 0][~valid].any()
    assert masks.grad[:, 0][valid].all()


def test_void_pixels_do_not_count_in_a_multi_class_task() -> None:
    masks, class_logits = drawn(0, 3, 4, 8, 8).requires_grad_(), drawn(1, 3, 4, 4)
    labels = torch.randint(0, 3, (3, 8, 8), generator=torch.Generator().manual_seed(2))
    labels = with_void(labels.to(torch.uint8), 3)
    labels[1][labels[1] == 2] = IGNORE  # a class that is void wherever it would be
    loss = multiclass_loss(Prediction(masks, class_logits), labels, 3, TRAINING)
    images = zip(masks.detach(), class_logits, labels, strict=True)
    expected = sum(best_loss(*image, TRAINING) for image in images) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert masks.grad is not None
    assert not masks.grad.transpose(1, 0)[:, labels == IGNORE].any()


@pytest.mark.parametrize("classes", [1, 3])
def test_images_that_are_all_void_do_not_count(classes: int) -> None:
    masks, labels = drawn(0, 2, 4 if classes > 1 else 1, 8, 8).requires_grad_(), drawn(1, 2, 8, 8)
    class_logits = drawn(2, 2, 4, classes + 1) if classes > 1 else None
    labels = (labels > 0).to(torch.uint8)
    first = Prediction(masks, class_logits).images(slice(0, 1))
    alone = task_loss(first, labels[:1], classes, TRAINING)
    labels[1] = IGNORE
    both = task_loss(Prediction(masks, class_logits), labels, classes, TRAINING)
    assert both.item() == pytest.approx(alone.item(), rel=1e-6)
    labels[0] = IGNORE
    none = task_loss(Prediction(masks, class_logits), labels, classes, TRAINING)
    none.backward()
    assert none.item() == 0
    assert masks.grad is not None
    assert not masks.grad.any()


def test_weights_of_background_and_foreground() -> None:
    masks, labels = drawn(0, 2, 1, 8, 8), with_void((drawn(1, 2, 8, 8) > 0).to(torch.uint8), 2)
    weights = {0: 0.5, 1: 3.0}
    expected = 0.0
    for mask, label in zip(masks[:, 0], labels, strict=True):
        valid = label != IGNORE
        logits, target = mask[valid], label[valid].float()
        terms = [
            weights[int(t)] * equation_9(x[None], t[None])
            for x, t in zip(logits, target, strict=True)
        ]
        expected += sum(terms) / len(terms) + equation_10(logits, target)
    loss = binary_loss(Prediction(masks), labels, torch.tensor([0.5, 3.0]))
    assert loss.item() == pytest.approx(expected / 2, rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_weights_of_classes(seed: int) -> None:
    """With at least as many tokens as classes, the assignment is the cheapest with weights too."""
    masks, class_logits = 2 * drawn(seed, 2, 4, 4, 4), 3 * drawn(seed + 9, 2, 4, 4)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (2, 4, 4), generator=generator, dtype=torch.uint8)
    weights = [0.2, 1.0, 4.0]
    loss = multiclass_loss(
        Prediction(masks, class_logits), labels, 3, TRAINING, torch.tensor(weights)
    )
    images = zip(masks, class_logits, labels, strict=True)
    expected = sum(best_loss(*image, TRAINING, weights) for image in images) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_a_decoder_without_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="class branch"):
        task_loss(Prediction(drawn(0, 1, 2, 4, 4)), torch.zeros(1, 8, 8), 3, TRAINING)
