"""Work in a thread while the caller does something else, one piece ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def made_ahead(pieces: Iterable[A]) -> Iterator[A]:
    """The same pieces; each is made in a thread while the caller has the one before."""
    iterator = iter(pieces)
    end = object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, iterator, end)
        while (piece := coming.result()) is not end:
            coming = pool.submit(next, iterator, end)
            yield piece  # type: ignore[misc]


def done_behind(work: Callable[[A], B], pieces: Iterable[A]) -> Iterator[B]:
    """Results of work on each piece, in order, done in a thread while the next piece is made.

    No more than two pieces are there at a time.
    """
    with ThreadPoolExecutor(1) as pool:
        going: Future[B] | None = None
        for piece in pieces:
            if going is not None:
                yield going.result()
            going = pool.submit(work, piece)
        if going is not None:
            yield going.result()
