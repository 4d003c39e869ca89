"""Leaves out, and says so, what this machine cannot run."""

from __future__ import annotations

import shutil

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and not _has_gpu():
            item.add_marker(pytest.mark.skip(reason="no CUDA device here"))
        if item.get_closest_marker("cluster") and shutil.which("sbatch") is None:
            item.add_marker(pytest.mark.skip(reason="no SLURM here"))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
