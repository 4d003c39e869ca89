"""Auxiliary losses of a method's layers, such as the load balance of a router."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


def collect_auxiliary_losses(model: nn.Module | Iterable[nn.Module]) -> Tensor | None:
    """Sum and clear the `auxiliary_loss` attributes that layers set in their last forward pass.

    A layer sets `self.auxiliary_loss` to a scalar, already weighted, in training mode only.

    Args:
        model: the model, or all of its modules, to save listing them in every step.

    Returns:
        The sum, or None if no layer has set a loss.
    """
    total: Tensor | None = None
    for module in model.modules() if isinstance(model, nn.Module) else model:
        # Not getattr, which is slow on modules that lack the attribute.
        loss: Tensor | None = vars(module).get("auxiliary_loss")
        if loss is not None:
            total = loss if total is None else total + loss
            setattr(module, "auxiliary_loss", None)  # noqa: B010
    return total
