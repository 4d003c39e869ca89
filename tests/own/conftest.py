"""Tests of user-supplied images register benchmarks, which are removed after each test."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture(autouse=True)
def forgotten(registries: Callable[[], None]) -> None:
    """A benchmark's file may be in a folder that no longer exists then."""
