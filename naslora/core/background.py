"""Iteration over items that a thread prepares or processes in the background."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def prefetch(items: Iterable[A]) -> Iterator[A]:
    """Yield the same items; a thread makes the next one while the caller uses the current one."""
    iterator = iter(items)
    end = object()
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, iterator, end)
        while (item := following.result()) is not end:
            following = pool.submit(next, iterator, end)
            yield item  # type: ignore[misc]


def map_in_background(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Yield `function(item)` in order; a thread computes it while the next item is made.

    At most two items are in memory at a time.
    """
    with ThreadPoolExecutor(1) as pool:
        pending: Future[B] | None = None
        for item in items:
            if pending is not None:
                yield pending.result()
            pending = pool.submit(function, item)
        if pending is not None:
            yield pending.result()
