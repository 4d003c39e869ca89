"""Progress of a run: a bar on a terminal, a line per epoch or other part elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from naslora.core.wording import counted
from naslora.training.output import Output

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from naslora.training.resume.state import Progress


class EpochProgress:
    """Reports the epochs of a run: their number, losses, scores and the estimated time left.

    Args:
        title: what is trained.
        epochs: how many there will be.
        steps: of an epoch; None where they are not reported.
        done: how many epochs an earlier attempt has finished.
        output: where to; by default standard output.
        noun: what an epoch is called, such as "part" in a training that has no epochs.
    """

    def __init__(
        self,
        title: str,
        epochs: int,
        *,
        steps: int | None = None,
        done: int = 0,
        output: Output | None = None,
        noun: str = "epoch",
    ):
        self._output = output or Output()
        self._title = title
        self._noun = noun
        self._epochs = epochs
        self._steps = steps
        self._before = self._done = done
        self._began = time.perf_counter()
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> EpochProgress:
        self.message(f"{self._title}: {counted(self._epochs, self._noun)}")
        if self._steps and self._output.is_terminal:
            self._bar = _new_bar()
            total = self._epochs * self._steps
            done = self._done * self._steps
            self._task = self._bar.add_task("", total=total, completed=done, values="")
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        seconds = time.perf_counter() - self._began
        state = "stopped" if error is not None else "finished"
        done = counted(self._done, self._noun)
        self.message(f"{self._title}: {state} after {done}, {seconds:.0f} s")

    def step(self, progress: Progress) -> None:
        """Report a finished step."""
        if self._bar is not None and self._task is not None and self._steps:
            completed = (progress.epoch - 1) * self._steps + progress.step
            # Losses are read now and then; until the first one, the last epoch's mean is shown.
            losses = progress.losses or [epoch["loss"] for epoch in progress.history[-1:]]
            loss = f"loss {losses[-1]:.4f}" if losses else ""
            self._bar.update(self._task, completed=completed, values=loss)

    def epoch(self, values: dict[str, float]) -> None:
        """Report a finished epoch, given its losses and scores by name."""
        self._done += 1
        seconds = time.perf_counter() - self._began
        left = seconds / (self._done - self._before) * (self._epochs - self._done)
        shown = "  ".join(
            f"{k} {v:.4f}" for k, v in values.items() if k.endswith("loss") or k.endswith("score")
        )
        self.message(f"{self._noun} {self._done}/{self._epochs}  {shown}  {left:.0f} s left")

    def message(self, text: str) -> None:
        """Print a line."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            self._output.print(text)


def _new_bar() -> Bar:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[values]}"), TimeLeft())
    return Progress(*columns, transient=True)
