from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from naslora.core.errors import SettingsError
from naslora.data.dataset import SegmentationDataset
from naslora.training.order import EpochSampler, FlippedImages, halves, training_loader


def sampler(count: int = 50, **changes: Any) -> EpochSampler:
    return EpochSampler(range(count), **{"seed": 0, "horizontal_flip": 0.5, **changes})


def epoch(sampler: EpochSampler, number: int) -> list[tuple[int, bool]]:
    sampler.epoch = number
    return list(sampler)


class Numbered:
    """Images whose pixels say which one they are and which column; masks alike."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        columns = torch.arange(4, dtype=torch.uint8).expand(4, 4)
        return (10 * index + columns).expand(3, 4, 4), columns


NUMBERED = cast(SegmentationDataset, Numbered())


def test_each_epoch_is_another_permutation() -> None:
    orders = [[index for index, _ in epoch(sampler(), number)] for number in (1, 2, 3)]
    for order in orders:
        assert sorted(order) == list(range(50))
    assert len({tuple(order) for order in [*orders, list(range(50))]}) == 4


def test_an_epoch_does_not_depend_on_what_ran_before() -> None:
    used = sampler()
    for number in (1, 2, 7):
        epoch(used, number)
        torch.rand(3)
    assert epoch(used, 5) == epoch(sampler(), 5)
    assert epoch(used, 5) == epoch(used, 5)
    assert epoch(sampler(seed=1), 5) != epoch(sampler(), 5)


def test_seed_and_epoch_are_not_mixed_up() -> None:
    assert epoch(sampler(seed=2), 3) != epoch(sampler(seed=3), 2)


def test_indices_are_those_that_are_given() -> None:
    chosen = [4, 8, 15, 16, 23, 42]
    order = EpochSampler(chosen, seed=0, horizontal_flip=0)
    assert sorted(index for index, _ in order) == chosen


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 40), world=st.integers(1, 6), seed=st.integers(0, 5))
def test_processes_take_turns(count: int, world: int, seed: int) -> None:
    alone = list(sampler(count, seed=seed))
    ranks = [list(sampler(count, seed=seed, rank=rank, world_size=world)) for rank in range(world)]
    assert {len(rank) for rank in ranks} == {-(-count // world)}
    assert {len(sampler(count, world_size=world)) for _ in ranks} == {-(-count // world)}
    merged = [pair for turn in zip(*ranks, strict=True) for pair in turn]
    assert merged[:count] == alone
    assert set(merged) == set(alone)


def test_flips_come_as_often_as_they_should() -> None:
    for probability in (0.0, 0.25, 1.0):
        flips = [flip for _, flip in sampler(4000, horizontal_flip=probability)]
        assert sum(flips) / 4000 == pytest.approx(probability, abs=0.03 * (0 < probability < 1))


def test_an_image_is_flipped_in_some_epochs_only() -> None:
    drawn = [dict(epoch(sampler(), number))[7] for number in range(1, 30)]
    assert set(drawn) == {True, False}


def test_image_and_mask_are_flipped_together() -> None:
    image, mask = NUMBERED[3]
    flipped_image, flipped_mask = FlippedImages(NUMBERED)[3, True]
    assert torch.equal(flipped_mask, mask.flip(1))
    assert torch.equal(flipped_image, image.flip(2))
    assert flipped_mask[0].tolist() == [3, 2, 1, 0]
    same_image, same_mask = FlippedImages(NUMBERED)[3, False]
    assert torch.equal(same_image, image)
    assert torch.equal(same_mask, mask)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_in_the_samplers_order(workers: int) -> None:
    order = sampler(10, horizontal_flip=0.5)
    loader = training_loader(FlippedImages(NUMBERED), order, batch_size=4, workers=workers)
    for number in (1, 2):
        order.epoch = number
        batches = list(loader)
        assert [len(images) for images, _ in batches] == [4, 4, 2]
        images, masks = (torch.cat(parts) for parts in zip(*batches, strict=True))
        assert images.dtype == masks.dtype == torch.uint8
        seen = [
            (int(image[0, 0].min()) // 10, int(mask[0, 0]) == 3)
            for image, mask in zip(images, masks, strict=True)
        ]
        assert seen == epoch(sampler(10), number)


@settings(max_examples=20, deadline=None)
@given(count=st.integers(2, 60), seed=st.integers(0, 9))
def test_halves_share_nothing_and_leave_nothing(count: int, seed: int) -> None:
    first, second = halves(count, seed)
    assert sorted(first + second) == list(range(count))
    assert len(first) == count // 2
    assert halves(count, seed) == (first, second)


def test_halves_are_random() -> None:
    assert len({tuple(halves(40, seed)[0]) for seed in range(5)}) == 5
    assert halves(40, 0)[0] != list(range(20))
    with pytest.raises(SettingsError, match="cannot split 1 image into two halves"):
        halves(1, 0)
