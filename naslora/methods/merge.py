"""Merging a method's layers into the weights of the SAM."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from naslora.core.errors import SettingsError
from naslora.methods.layers import AdaptedLinear, LowRankLinear
from naslora.methods.registry import MergeMode, adaptation_of, get_method
from naslora.nas.cell import NASCell
from naslora.nas.collapse import collapse
from naslora.nas.dense import CellStatistics, Estimator, cell_matrix
from naslora.sam.building import Sam


@dataclasses.dataclass(frozen=True)
class DenseMerge:
    """The matrices of a dense merge and their errors; the SAM is not changed yet.

    Attributes:
        estimator: see `naslora.nas.dense`.
        matrices: the matrix M (rank, rank) that replaces a cell c, by layer and branch.
        errors: the relative error |B c(z) - B M z| / |B c(z)| of a branch's output on the given
            images, by layer and branch; empty without images.
    """

    estimator: Estimator
    matrices: Mapping[str, Mapping[str, Tensor]]
    errors: Mapping[str, float]

    def summary(self) -> str:
        """The estimator and the errors, in a sentence."""
        how = f"merge into plain layers by the estimator {self.estimator}"
        if not self.errors:
            return f"{how}; its error is not measured, as there are no images"
        errors = sorted(100 * error for error in self.errors.values())
        return (
            f"{how}: the median error of {len(errors)} low-rank branches' outputs is"
            f" {median(errors):.1f} % (range {errors[0]:.1f} % to {errors[-1]:.1f} %)"
        )


def merge(
    sam: Sam,
    mode: MergeMode = "exact",
    *,
    estimator: Estimator = "centre",
    images: Iterable[Tensor] | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> Sam:
    """Merge a method's layers into the SAM, in place; a second call changes nothing.

    Args:
        sam: an adapted SAM; a plain one is returned unchanged.
        mode: "exact" merges into plain layers with the same outputs. "dense" merges into plain
            layers with nearly the same outputs: each cell is replaced by a matrix. "collapsed"
            replaces each cell by one convolution and max-pooling, with the same outputs; the
            method's layers remain.
        estimator: how mode "dense" estimates the matrices; see `naslora.nas.dense`.
        images: batches (B, 3, H, W) in 0..255 on which the errors of mode "dense" are measured;
            the estimator least_squares needs them.
        log: called with a sentence on the errors of mode "dense".

    Returns:
        The same SAM.

    Raises:
        SettingsError: the method does not have the mode, or its settings rule it out; see also
            `plan_dense_merge`.
    """
    adaptation = adaptation_of(sam)
    if adaptation is None:
        return sam
    method = get_method(adaptation.method)
    if mode not in method.merges:
        raise SettingsError(
            f"{method.title} has no merge {mode!r}",
            remedy=f"it has {', '.join(method.merges)}" if method.merges else None,
        )
    if mode == "collapsed":
        collapse(sam)
        sam.adaptation = dataclasses.replace(adaptation, collapsed=True)
        return sam
    matrices: Mapping[str, Mapping[str, Tensor]] = {}
    if mode == "dense":
        plan = plan_dense_merge(sam, estimator, images)
        log(plan.summary())
        matrices = plan.matrices
    merged = {
        path: layer.merged(matrices.get(path))
        if isinstance(layer, LowRankLinear)
        else layer.merged()
        for path, layer in sam.named_modules()
        if isinstance(layer, AdaptedLinear)
    }
    for path, plain in merged.items():
        sam.set_submodule(path, plain)
    sam.adaptation = None
    sam.checkpoint = None  # the weights are no longer those of the file
    return sam


def plan_dense_merge(
    sam: Sam, estimator: Estimator = "centre", images: Iterable[Tensor] | None = None
) -> DenseMerge:
    """Estimate the matrices of a dense merge, and measure their errors.

    Args:
        sam: adapted with cells; it is not changed.
        estimator: see `naslora.nas.dense`; least_squares needs `images`.
        images: batches (B, 3, H, W) in 0..255 on which the cells' inputs and outputs are measured.

    Raises:
        SettingsError: the estimator is unknown, or does not apply; `images` is empty; the SAM has
            no cells, or they are collapsed.
    """
    adaptation = adaptation_of(sam)
    if adaptation is not None and adaptation.collapsed:
        raise SettingsError("the cells are collapsed already", remedy="merge before collapsing")
    branches = {
        (path, name): branch
        for path, layer in sam.named_modules()
        if isinstance(layer, LowRankLinear)
        for name, branch in layer.named_branches()
    }
    cells = {
        key: branch.middle for key, branch in branches.items() if isinstance(branch.middle, NASCell)
    }
    if not cells:
        raise SettingsError(
            "this SAM has no NAS cells that matrices could replace",
            remedy="give a SAM adapted by a method with cells, such as nas_pc_lora",
        )
    statistics = None if images is None else _measure(sam, cells, images)
    matrices: dict[str, dict[str, Tensor]] = {}
    errors: dict[str, float] = {}
    for (path, name), cell in cells.items():
        measured = None if statistics is None else statistics[path, name]
        matrix = cell_matrix(cell, estimator, measured)
        matrices.setdefault(path, {})[name] = matrix
        if measured is not None:
            output = branches[path, name].lora_B
            errors[f"{path}.{name}"] = measured.relative_error(matrix, output)
    return DenseMerge(estimator, matrices, errors)


def _measure(
    sam: Sam, cells: Mapping[tuple[str, str], NASCell], images: Iterable[Tensor]
) -> dict[tuple[str, str], CellStatistics]:
    """Moments of the cells' inputs and outputs on images, by layer and branch."""
    statistics = {key: CellStatistics(cell.channels) for key, cell in cells.items()}
    handles = [
        cell.register_forward_hook(partial(_record, statistics[key])) for key, cell in cells.items()
    ]
    training = sam.training
    sam.eval()
    try:
        with torch.no_grad():
            for batch in images:
                sam.encode(batch)
    finally:
        for handle in handles:
            handle.remove()
        sam.train(training)
    if not all(measured.positions for measured in statistics.values()):
        raise SettingsError("there are no images to measure features on: `images` is empty")
    return statistics


def _record(statistics: CellStatistics, cell: nn.Module, inputs: Any, output: Tensor) -> None:
    statistics.update(inputs[0], output)
