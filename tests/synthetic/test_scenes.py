from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from naslora.synthetic.scenes import FIRST_OBJECT, Scene, draw_scene, scene_stream
from naslora.synthetic.scenes_shapes import SHAPES


def draw_batch(seed: int, indices: range, size: int) -> list[Scene]:
    return [draw_scene(scene_stream(seed, index), size) for index in indices]


def test_a_scene_depends_on_its_seed_and_index_alone() -> None:
    first = draw_batch(0, range(6), 64)
    again = draw_scene(scene_stream(0, 4), 64)
    assert (first[4].image == again.image).all()
    assert (first[4].instances == again.instances).all()
    other = draw_scene(scene_stream(1, 4), 64)
    assert (other.image != again.image).any()
    assert len({scene.image.tobytes() for scene in first}) == 6


@pytest.mark.parametrize("size", [48, 96])
def test_every_scene_shows_objects_that_can_be_prompted(size: int) -> None:
    smallest = round(12 * size**2 / 128**2)
    for scene in draw_batch(3, range(60), size):
        assert scene.image.shape == (size, size, 3)
        assert scene.image.dtype == scene.instances.dtype == np.uint8
        assert scene.foreground.any()
        assert (scene.foreground == (scene.instances >= FIRST_OBJECT)).all()
        numbers, counts = np.unique(scene.instances[scene.instances > 0], return_counts=True)
        assert len(numbers)
        assert counts.min() >= smallest
        assert scene.image.std() > 0


def test_masks_are_where_the_picture_changes() -> None:
    """Pixels on both sides of an outline differ more than pixels that lie as close elsewhere."""
    across, within = [], []
    for scene in draw_batch(5, range(60), 96):
        image = scene.image.astype(float).mean(2)
        step = np.abs(np.diff(image, axis=1))
        edge = np.diff(scene.instances.astype(int), axis=1) != 0
        across.append(step[edge].mean())
        within.append(step[~edge].mean())
    assert np.mean(np.array(across) > np.array(within)) > 0.85
    assert np.mean(across) > 2 * np.mean(within)


def test_scenes_differ_in_what_they_show() -> None:
    scenes = draw_batch(0, range(120), 64)
    counts = [len(np.unique(s.instances[s.foreground])) for s in scenes]
    assert min(counts) == 1
    assert max(counts) >= 8
    assert np.mean([(s.instances % FIRST_OBJECT > 0).any() for s in scenes]) > 0.1
    assert any(((s.instances > 0) & ~s.foreground).any() for s in scenes)  # dead leaves
    assert any(not ((s.instances > 0) & ~s.foreground).any() for s in scenes)
    shares = [s.foreground.mean() for s in scenes]
    assert min(shares) < 0.02
    assert max(shares) > 0.4
    brightness = [s.image.mean() for s in scenes]
    assert np.std(brightness) > 20


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_shapes_lie_around_their_centre(name: str) -> None:
    rng = np.random.default_rng(0)
    places = []
    for _ in range(30):
        mask = SHAPES[name](rng, (96, 96), np.array([48.0, 48.0]), 14)
        assert mask.shape == (96, 96)
        if mask.any():
            rows, columns = np.nonzero(mask)
            places.append((rows.mean(), columns.mean()))
    assert len(places) > 25
    assert np.abs(np.mean(places, 0) - 48).max() < 8


def test_scenes_use_no_code_of_the_benchmarks_generators() -> None:
    code = (
        "import sys, naslora.synthetic.scenes\n"
        "print(*[m for m in sys.modules if m.startswith('naslora.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {name.removeprefix("naslora.") for name in done.stdout.split()}
    assert ours <= {
        "synthetic",
        "synthetic.fields",
        "synthetic.noise",
        "synthetic.scenes",
        "synthetic.scenes_shapes",
        "synthetic.scenes_textures",
    }
