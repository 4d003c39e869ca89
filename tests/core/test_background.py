"""Items keep their order, and errors in the background reach the caller."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from naslora.core.background import map_in_background, prefetch


def counted(count: int, made: list[int], fails_at: int | None = None) -> Iterator[int]:
    for index in range(count):
        if index == fails_at:
            raise RuntimeError(f"piece {index}")
        made.append(index)
        yield index


@pytest.mark.parametrize("count", [0, 1, 5])
def test_pieces_are_the_same_and_in_order(count: int) -> None:
    assert list(prefetch(counted(count, []))) == list(range(count))
    assert list(map_in_background(lambda x: -x, range(count))) == [-x for x in range(count)]


def test_the_next_piece_is_made_while_the_caller_has_one() -> None:
    made: list[int] = []
    second = threading.Event()

    def pieces() -> Iterator[int]:
        for index in counted(4, made):
            if index == 1:
                second.set()
            yield index

    ahead = prefetch(pieces())
    assert next(ahead) == 0
    assert second.wait(5)
    list(ahead)
    assert made == [0, 1, 2, 3]


def test_background_map_overlaps_and_holds_at_most_two_items() -> None:
    working, release = threading.Event(), threading.Event()
    made: list[int] = []

    def work(piece: int) -> int:
        working.set()
        assert release.wait(5), "the next piece was not made in the meantime"
        return piece

    def pieces() -> Iterator[int]:
        for index in counted(4, made):
            if index == 1:
                assert working.wait(5), "work has not begun"
                release.set()
            yield index

    behind = map_in_background(work, pieces())
    assert next(behind) == 0
    assert made == [0, 1]
    assert list(behind) == [1, 2, 3]


def test_errors_come_through() -> None:
    ahead = prefetch(counted(3, [], fails_at=1))
    assert next(ahead) == 0
    with pytest.raises(RuntimeError, match="piece 1"):
        next(ahead)

    def fail(piece: int) -> int:
        raise ValueError(f"work {piece}")

    with pytest.raises(ValueError, match="work 0"):
        list(map_in_background(fail, range(3)))
    with pytest.raises(RuntimeError, match="piece 2"):
        list(map_in_background(abs, counted(3, [], fails_at=2)))
