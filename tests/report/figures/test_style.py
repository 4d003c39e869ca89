"""Colours that are distinguishable."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from skimage.color import deltaE_ciede2000, rgb2lab

from naslora.methods.names import METHOD_NAMES, NETWORK_NAMES
from naslora.paper.published import NAS_METHODS
from naslora.report.figures.inputs import task_colours
from naslora.report.figures.style import (
    CLASS_COLOURS,
    FALSE_ALARM,
    METHOD_STYLES,
    MISSED,
    PROMPT,
    RIGHT,
    class_colours,
    in_drawing_order,
    method_styles,
)

# Simulations of colour vision without long- or medium-wave cones: Machado, Oliveira and Fernandes
# 2009, "A Physiologically-based Model for Simulation of Color Vision Deficiency", severity 1.
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216]]
PROTANOPIA += [[-0.003882, -0.048116, 1.051998]]
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413]]
DEUTERANOPIA += [[-0.011820, 0.042940, 0.968881]]
VISIONS = {"usual": np.eye(3), "protan": np.array(PROTANOPIA), "deutan": np.array(DEUTERANOPIA)}


def seen(colour: str, vision: str) -> np.ndarray:
    """A colour in CIELAB, as seen with a kind of colour vision."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    changed = np.clip(VISIONS[vision] @ linear, 0, 1)
    back = np.where(changed <= 0.0031308, 12.92 * changed, 1.055 * changed ** (1 / 2.4) - 0.055)
    return rgb2lab(back)


def apart(one: str, other: str, vision: str) -> float:
    return float(deltaE_ciede2000(seen(one, vision), seen(other, vision)))


def test_every_method_of_the_paper_has_a_look_of_its_own() -> None:
    assert set(METHOD_STYLES) == {*METHOD_NAMES, *NETWORK_NAMES}
    markers = [METHOD_STYLES[method].marker for method in METHOD_NAMES]
    assert len(set(markers)) == len(markers)
    (networks,) = {METHOD_STYLES[name].marker for name in NETWORK_NAMES}
    assert networks not in markers


def test_no_two_methods_have_nearly_one_colour() -> None:
    """Nor have a study's own methods and its variants, such as a LoRA of another rank."""
    looks = method_styles([*METHOD_STYLES, "mine", "other", "third", "fourth"]).values()
    for one, other in combinations(looks, 2):
        assert apart(one.colour, other.colour, "usual") > 14, (one, other)


@pytest.mark.parametrize("vision", VISIONS)
def test_the_searched_methods_differ_for_everybody(vision: str) -> None:
    one, other = (METHOD_STYLES[method] for method in NAS_METHODS)
    assert apart(one.colour, other.colour, vision) > 30
    assert one.dash != other.dash


@pytest.mark.parametrize("vision", VISIONS)
def test_the_first_classes_differ_for_everybody(vision: str) -> None:
    """Trans10K-v1 has two; each of the first seven differs from its neighbours."""
    assert apart(*CLASS_COLOURS[:2], vision) > 30
    for one, other in combinations(CLASS_COLOURS[:7], 2):
        assert apart(one, other, vision) > 9


def test_every_class_has_a_colour_of_its_own() -> None:
    assert len(CLASS_COLOURS) == 2 + 11
    meanings = (RIGHT, MISSED, FALSE_ALARM, PROMPT)
    for one, other in combinations((*CLASS_COLOURS, *meanings), 2):
        assert apart(one, other, "usual") > 15, (one, other)
    for colour in CLASS_COLOURS:
        assert apart(colour, "#000000", "usual") > 20, "maps are on black"


def test_no_two_tasks_of_a_study_share_a_colour() -> None:
    tasks = ["kvasir", "trans10k_v1", "leaf", "trans10k_v2"]
    first, second = (task_colours(tasks, task) for task in ("trans10k_v1", "trans10k_v2"))
    assert (*first, *second) == CLASS_COLOURS
    assert task_colours(tasks, "leaf") == (), "it has one class, and colours for errors"
    assert class_colours(2, before=12) == (CLASS_COLOURS[12], CLASS_COLOURS[0])


def test_methods_look_the_same_in_every_study() -> None:
    few = method_styles(["mine", "lora"])
    many = method_styles(["vpt", "lora", "other", "mine"])
    assert few["lora"] == many["lora"] == METHOD_STYLES["lora"]
    known = {style.colour for style in METHOD_STYLES.values()}
    assert not known & {many["mine"].colour, many["other"].colour}
    assert many["mine"] != many["other"]


def test_highlighted_methods_are_drawn_last() -> None:
    order = in_drawing_order(["nas_lora", "vpt", "lora", "mona"])
    assert order == ["vpt", "mona", "nas_lora", "lora"]
