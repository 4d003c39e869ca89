"""Cells of timed repeats, and the conditions under which they are compared with the paper's."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from naslora.paper.published import Printed
from naslora.report.tables.cells import Cell
from naslora.report.tables.comparability import PAPER_TRAINING, why_sam_differs
from naslora.timing.document import Timing

PAPER_GPU = "V100"
# Relative to our number. The paper gives no spread; another build of torch may change as much.
TOLERANCE = 0.05


@dataclass(frozen=True)
class TimedCell(Cell):
    """A cell with one value per repeat, or one that does not vary; it shows their median."""

    @cached_property
    def value(self) -> float | None:
        """The median over repeats, which a few disturbed repeats do not change."""
        return statistics.median(self.values) if self.values else None

    @cached_property
    def half_width(self) -> float | None:
        """`TOLERANCE` of the median, and the largest distance of a repeat from it."""
        if self.value is None:
            return None
        return TOLERANCE * self.value + max(abs(value - self.value) for value in self.values)


def timed_cell(
    values: Sequence[float],
    status: str = "done",
    paper: Printed | None = None,
    comparable: bool = False,
) -> TimedCell:
    """A cell whose verdict is undecided if repeats scatter by more than the tolerance.

    Args:
        values: one per repeat; none where the status is not `done`.
        status: `done`, or why there are no values.
        paper: the paper's number.
        comparable: whether our setting is the paper's.
    """
    middle = statistics.median(values) if values else 0.0
    return TimedCell(tuple(values), status, paper, comparable, 2 * TOLERANCE * middle)


def why_ratios_differ(timing: Timing) -> list[str]:
    """How a timing differs from the paper's in ways that may change even ratios of methods."""
    reasons = why_sam_differs(timing.backbone, timing.image_size)
    if timing.batch_size != PAPER_TRAINING["batch_size"]:
        reasons.append(f"batches have {timing.batch_size}, not {PAPER_TRAINING['batch_size']}")
    if "gpu" not in timing.provenance.hardware:
        reasons.append("it ran on no GPU")
    return reasons


def why_rates_differ(timing: Timing) -> list[str]:
    """The same for absolute numbers, which are those of one GPU."""
    gpu = timing.provenance.hardware.get("gpu")
    other = [f"the GPU is {gpu}, not a {PAPER_GPU}"] if gpu and PAPER_GPU not in gpu else []
    return [*why_ratios_differ(timing), *other]
