"""Gradient checkpointing: keep only a module's input, and recompute the rest for gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

_Context = AbstractContextManager[None]


def checkpointed(module: nn.Module, x: Tensor) -> Tensor:
    """Apply a module so that the backward pass runs it a second time.

    Both runs draw the same random numbers, and only the first updates the running statistics of
    batch normalisation.
    """
    contexts = partial(_contexts, module)
    return cast(Tensor, checkpoint(module, x, use_reentrant=False, context_fn=contexts))


def _contexts(module: nn.Module) -> tuple[_Context, _Context]:
    return nullcontext(), _statistics_kept(module)


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Let batch normalisation update copies of its running statistics, which are then dropped.

    They must be updated all the same: autograd saves them, and checkpointing compares what is saved
    in both runs.
    """
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    kept = [dict(norm.named_buffers(recurse=False)) for norm in norms]
    for norm, buffers in zip(norms, kept, strict=True):
        for name, buffer in buffers.items():
            setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)
