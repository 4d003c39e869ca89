"""Losses that a method's layers make on the way, such as a router's balance."""

from __future__ import annotations

from torch import Tensor, nn


def collect_auxiliary_losses(model: nn.Module) -> Tensor | None:
    """Sum and clear what layers left in their attribute `auxiliary_loss` in the last forward.

    A layer sets `self.auxiliary_loss` to a scalar, already weighted, in training mode only.

    Returns:
        The sum, or None where no layer left a loss.
    """
    total: Tensor | None = None
    for module in model.modules():
        loss: Tensor | None = getattr(module, "auxiliary_loss", None)
        if loss is not None:
            total = loss if total is None else total + loss
            setattr(module, "auxiliary_loss", None)  # noqa: B010
    return total
