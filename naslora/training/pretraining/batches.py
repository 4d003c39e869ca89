"""The batches of pretraining: a function of the settings and the step only."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from naslora.core.arrays import array_file
from naslora.core.files import fingerprint
from naslora.synthetic import scenes, scenes_shapes, scenes_textures
from naslora.synthetic.scenes import FIRST_OBJECT, draw_scene, scene_stream

Stack = NDArray[np.uint8]
_HELD_OUT = 1_000_000_000  # added to the seed: scenes that are never trained on


@dataclass(frozen=True)
class SceneBatch:
    """Scenes of a step.

    Attributes:
        images: uint8 (B, 3, S, S).
        instances: uint8 (B, S, S), as in `naslora.synthetic.scenes.Scene`.
    """

    images: Tensor
    instances: NDArray[np.uint8]

    @property
    def foreground(self) -> NDArray[np.bool_]:
        """Foreground masks (B, S, S)."""
        return self.instances >= FIRST_OBJECT

    @classmethod
    def of(cls, stacks: list[Stack]) -> SceneBatch:
        """Combine scenes that `stacked` returned."""
        together = np.ascontiguousarray(np.stack(stacks))
        return cls(torch.from_numpy(together[:, :3].copy()), together[:, 3])


class SceneBatches:
    """Scenes that are drawn once, and come in another order and orientation in every epoch.

    Args:
        count: number of scenes.
        size: side in pixels.
        seed: of scenes, order and augmentation.
        batch_size: scenes per step.
        folder: where the drawn scenes are stored; if the disk is too small, they are drawn again
            whenever they are needed.
    """

    def __init__(self, count: int, size: int, seed: int, batch_size: int, folder: Path):
        self._count, self._seed, self._batch_size = count, seed, batch_size
        self._epoch, self._order = -1, np.arange(count)  # of no epoch yet

        def make(index: int) -> Stack:
            return stacked(seed, index, size)

        file = array_file(
            folder / f"scenes-{size}.pixels",
            fingerprint({"seed": seed, "size": size, "count": count, "code": _code()}),
            count,
            (4, size, size),
            make,
            noun="scenes",
            without="scenes are drawn in every epoch",
            threads=0,
        )
        self._scene: Callable[[int], Stack] = make if file is None else file.__getitem__

    def __getitem__(self, step: int) -> SceneBatch:
        """The batch of a step, counted from 0."""
        start = step * self._batch_size
        rng = np.random.default_rng([self._seed, 1, step])
        indices = [self._at(position) for position in range(start, start + self._batch_size)]
        return SceneBatch.of([_augmented(rng, self._scene(index)) for index in indices])

    def _at(self, position: int) -> int:
        """The scene at a position of the endless sequence of epochs."""
        epoch, at = divmod(position, self._count)
        if self._epoch != epoch:
            self._order = np.random.default_rng([self._seed, 2, epoch]).permutation(self._count)
            self._epoch = epoch
        return int(self._order[at])


def stacked(seed: int, index: int, size: int) -> Stack:
    """A scene as one array, uint8 (4, S, S): its image, then its instances."""
    scene = draw_scene(scene_stream(seed, index), size)
    pixels = np.concatenate([scene.image.transpose(2, 0, 1), scene.instances[None]])
    return np.ascontiguousarray(pixels)


def held_out(seed: int, count: int, size: int) -> list[Stack]:
    """Scenes that no pretraining with this seed sees."""
    return [stacked(_HELD_OUT + seed, index, size) for index in range(count)]


def _augmented(rng: np.random.Generator, stack: Stack) -> Stack:
    """A scene turned, mirrored and, half of the time, with permuted colour channels."""
    turn = int(rng.integers(8))
    turned = np.rot90(stack, turn % 4, axes=(1, 2))
    if turn >= 4:
        turned = turned[:, :, ::-1]
    if rng.random() < 0.5:
        turned = turned[[*rng.permutation(3), 3]]
    return turned


def _code() -> list[str]:
    """The text of all files that a scene depends on."""
    modules = (scenes, scenes_shapes, scenes_textures)
    return [Path(inspect.getfile(module)).read_text(encoding="utf-8") for module in modules]
