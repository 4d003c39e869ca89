"""Tests of user-supplied images register benchmarks, which are forgotten after each."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture(autouse=True)
def forgotten(registries: Callable[[], None]) -> None:
    """A benchmark's file may lie in a folder that is gone by then."""
