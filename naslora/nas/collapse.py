"""A trained cell as one small convolution plus max-pooling, exactly."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from naslora.core.errors import SettingsError
from naslora.nas.cell import NASCell, apply_selected


class CollapsedCell(nn.Module):
    """The inference form of a `NASCell`: fixed kernel, plus the weighted operations without one.

    With the default operations the kernel is 9 x 9 and only max-pooling remains. Average pooling
    that does not count its padding remains too.

    Args:
        cell: a cell of linear operations.

    Raises:
        SettingsError: the cell is of style "darts", whose operations have no kernel.
    """

    def __init__(self, cell: NASCell):
        super().__init__()
        if cell.normalised:
            raise SettingsError(
                "a cell with operations of style darts cannot be collapsed: ReLU is not linear",
                remedy="keep the adapter as it is, merge it approximately, or train style linear",
            )
        self.channels = cell.channels
        self.channel_slice = cell.channel_slice
        with torch.no_grad():
            weights = cell.operation_weights()
            kernel, rest = cell.decompose(weights)
        self.register_buffer("kernel", kernel)
        self.register_buffer("shares", weights[rest])
        self.operations = [cell.operation_list()[i] for i in rest]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, r) to (B, H, W, r), as the cell did."""
        kernel = self._buffers["kernel"]
        return apply_selected(
            x, self.channel_slice, kernel, self.get_buffer("shares"), self.operations
        )


def collapse(model: nn.Module) -> int:
    """Replace every cell inside a model by its collapsed form; outputs stay the same.

    Returns:
        The number of cells replaced; 0 for a model that has none left.

    Raises:
        SettingsError: a cell is of style "darts"; the model is unchanged.
    """
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, NASCell)
    ]
    collapsed = [CollapsedCell(cell) for _, _, cell in found]
    for (parent, name, _), replacement in zip(found, collapsed, strict=True):
        setattr(parent, name, replacement)
    return len(found)
