"""Timing of several calls in turns, with warm-up and several repeats."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key")
Call = Callable[[], object]


class DroppedError(Exception):
    """A call cannot be timed; `status` is a short reason."""

    def __init__(self, status: str):
        self.status = status
        super().__init__(status)


@dataclass(frozen=True)
class Samples:
    """The seconds that a call took, one number per repeat.

    Attributes:
        seconds: per call, the mean over the steps of a repeat; empty if it was dropped.
        status: `done`, or why it was dropped.
    """

    seconds: tuple[float, ...]
    status: str = "done"


def alternate(
    calls: Mapping[Key, Call],
    *,
    steps: int,
    warm_up: int,
    repeats: int,
    synchronise: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Key, Samples]:
    """Time calls that take turns, so that a slow phase of the machine affects all of them.

    In each repeat every call has one turn: `warm_up` calls that are not timed, then `steps` that
    are. Every other repeat takes the calls in reverse order, so that a steady drift of the machine
    favours none.

    Args:
        calls: what to time, by name.
        steps: timed calls of a turn.
        warm_up: calls before them.
        repeats: turns of each.
        synchronise: waits until the device has finished all its work.
        clock: seconds.

    Returns:
        The samples by name. A call that raises `DroppedError` gets no further turn, and its
        `seconds` are empty.
    """
    seconds: dict[Key, list[float]] = {name: [] for name in calls}
    dropped: dict[Key, str] = {}
    for repeat in range(repeats):
        order = list(calls)
        for name in order if repeat % 2 == 0 else reversed(order):
            if name in dropped:
                continue
            try:
                seconds[name].append(_turn(calls[name], steps, warm_up, synchronise, clock))
            except DroppedError as problem:
                dropped[name] = problem.status
    return {
        name: Samples((), dropped[name]) if name in dropped else Samples(tuple(seconds[name]))
        for name in calls
    }


def _turn(
    call: Call, steps: int, warm_up: int, synchronise: Call, clock: Callable[[], float]
) -> float:
    for _ in range(warm_up):
        call()
    synchronise()
    began = clock()
    for _ in range(steps):
        call()
    synchronise()
    return (clock() - began) / steps
