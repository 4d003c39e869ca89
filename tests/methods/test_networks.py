"""Networks other than SAM, which replace one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from naslora.data.masks import IGNORE
from naslora.methods.names import NETWORK_NAMES
from naslora.methods.registry import adapt, get_method, method_names, trainable_parameters
from naslora.methods.state import load_adapted_sam, save_adapter
from naslora.sam.building import Sam
from naslora.sam.inference import semantic_probabilities
from naslora.sam.mask_decoder import Prediction
from naslora.training.losses import task_loss
from naslora.training.pixel_loss import pixel_loss

Build = Callable[..., Sam]
Draw = Callable[..., Tensor]
SIZE = (64, 96)
SMALLER = {"deeplabv3": {"encoder": "resnet18"}, "linknet34": {"encoder": "resnet18"}}


def network(plain: Build, name: str, seed: int = 0, **values: object) -> Sam:
    sam = plain(size=SIZE, **values)
    adapt(sam, name, SMALLER.get(name, {}), seed=seed)
    return sam


def test_networks_are_not_listed_as_methods() -> None:
    assert not set(NETWORK_NAMES) & set(method_names())
    assert all(not get_method(name).pretrained for name in NETWORK_NAMES)


@pytest.mark.parametrize("name", NETWORK_NAMES)
@pytest.mark.parametrize("classes", [1, 5])
def test_all_of_it_is_trained(name: str, classes: int, plain: Build, images: Draw) -> None:
    sam = network(plain, name, classes=classes).train()
    prediction = sam(images(1, SIZE))  # batch norm of one image
    assert prediction.masks.shape == (1, classes, *SIZE)
    assert prediction.exclusive == (classes > 1)
    prediction.masks.square().mean().backward()
    trained = trainable_parameters(sam)
    assert {name for name, p in sam.named_parameters() if p.grad is not None} == set(trained)
    assert all(name.startswith("image_encoder.network.") for name in trained)


def test_the_default_unet_has_about_a_million_parameters(plain: Build) -> None:
    trained = trainable_parameters(network(plain, "unet"))
    assert 0.7e6 < sum(p.numel() for p in trained.values()) < 1.2e6


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_predictions_depend_on_the_image_alone(name: str, plain: Build, images: Draw) -> None:
    sam = network(plain, name).eval()
    batch = images(3, SIZE)
    with torch.no_grad():
        together = sam(batch).masks
        alone = torch.cat([sam(image[None]).masks for image in batch])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_a_saved_network_predicts_the_same(
    name: str, plain: Build, images: Draw, tmp_path: Path
) -> None:
    sam = network(plain, name, classes=3, mask_tokens=4).train()
    optimizer = torch.optim.Adam(sam.parameters(), lr=1e-3)
    sam(images(2, SIZE)).masks.square().mean().backward()
    optimizer.step()  # running statistics have moved too
    save_adapter(sam, tmp_path / "network.safetensors")
    loaded = load_adapted_sam(tmp_path / "network.safetensors")
    with torch.no_grad():
        assert torch.equal(sam.eval()(images(2, SIZE)).masks, loaded(images(2, SIZE)).masks)


def test_the_seed_alone_decides_the_start(plain: Build) -> None:
    states = [trainable_parameters(network(plain, "unet", seed=seed)) for seed in (3, 3, 4)]
    one, same, other = (torch.cat([p.flatten() for p in s.values()]) for s in states)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_probabilities_of_exclusive_classes_are_their_softmax() -> None:
    logits = torch.randn(2, 4, 6, 8)
    maps = semantic_probabilities(Prediction(logits, exclusive=True), (6, 8))
    torch.testing.assert_close(maps, logits.softmax(1))


def test_the_loss_by_hand() -> None:
    """One image, loop by loop: cross-entropy and Dice of the classes that are there."""
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 4, 5, dtype=torch.float32)
    labels = torch.randint(0, 2, (1, 4, 5), dtype=torch.uint8)
    labels[0, 0] = IGNORE
    known = [(y, x) for y in range(1, 4) for x in range(5)]
    probability = logits[0].softmax(0)
    entropy = -sum(probability[int(labels[0, y, x]), y, x].log() for y, x in known) / len(known)
    dice = []
    for index in (0, 1):
        p = torch.stack([probability[index, y, x] for y, x in known])
        t = torch.stack([(labels[0, y, x] == index).float() for y, x in known])
        dice.append(1 - 2 * (p * t).sum() / (p.square().sum() + t.square().sum()))
    expected = entropy + sum(dice) / 2
    found = pixel_loss(Prediction(logits, exclusive=True), labels)
    torch.testing.assert_close(found, expected)


def test_void_pixels_have_no_gradient() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    labels[0, :, 2:] = IGNORE
    pixel_loss(Prediction(logits, exclusive=True), labels).backward()
    assert logits.grad is not None
    assert not logits.grad[..., 2:].any()
    assert logits.grad[..., :2].all()
    empty = torch.full((1, 4, 4), IGNORE, dtype=torch.uint8)
    assert pixel_loss(Prediction(logits, exclusive=True), empty) == 0


def test_a_label_that_is_no_class_is_refused() -> None:
    labels = torch.full((1, 4, 4), 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match="invalid label 3: expected 0 to 2"):
        pixel_loss(Prediction(torch.randn(1, 3, 4, 4), exclusive=True), labels)


def test_it_learns_classes(plain: Build) -> None:
    """Three bands of grey, as three classes, in a few steps."""
    from naslora.study.settings import load_study

    settings = load_study("rehearsal").training
    sam = network(plain, "unet", classes=3).train()
    labels = torch.arange(3).repeat_interleave(32).expand(4, 64, 96).to(torch.uint8)
    pixels = (labels.float() * 100 + 20 * torch.rand(4, 64, 96))[:, None].expand(-1, 3, -1, -1)
    optimizer = torch.optim.Adam(sam.parameters(), lr=3e-3)
    for _ in range(25):
        optimizer.zero_grad()
        loss = task_loss(sam(pixels), labels, 3, settings)
        loss.backward()
        optimizer.step()
    found = F.softmax(sam.eval()(pixels).masks, 1).argmax(1)
    assert (found == labels).float().mean() > 0.9
