"""Pieces are the same and in order, made ahead or done behind, and errors come through."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from naslora.core.overlap import done_behind, made_ahead


def counted(count: int, made: list[int], fails_at: int | None = None) -> Iterator[int]:
    for index in range(count):
        if index == fails_at:
            raise RuntimeError(f"piece {index}")
        made.append(index)
        yield index


@pytest.mark.parametrize("count", [0, 1, 5])
def test_pieces_are_the_same_and_in_order(count: int) -> None:
    assert list(made_ahead(counted(count, []))) == list(range(count))
    assert list(done_behind(lambda x: -x, range(count))) == [-x for x in range(count)]


def test_the_next_piece_is_made_while_the_caller_has_one() -> None:
    made: list[int] = []
    second = threading.Event()

    def pieces() -> Iterator[int]:
        for index in counted(4, made):
            if index == 1:
                second.set()
            yield index

    ahead = made_ahead(pieces())
    assert next(ahead) == 0
    assert second.wait(5)
    list(ahead)
    assert made == [0, 1, 2, 3]


def test_work_goes_on_while_the_next_piece_is_made_and_no_more_than_two_are_there() -> None:
    working, release = threading.Event(), threading.Event()
    made: list[int] = []

    def work(piece: int) -> int:
        working.set()
        assert release.wait(5), "the next piece was waited for"
        return piece

    def pieces() -> Iterator[int]:
        for index in counted(4, made):
            if index == 1:
                assert working.wait(5), "work has not begun"
                release.set()
            yield index

    behind = done_behind(work, pieces())
    assert next(behind) == 0
    assert made == [0, 1]
    assert list(behind) == [1, 2, 3]


def test_errors_come_through() -> None:
    ahead = made_ahead(counted(3, [], fails_at=1))
    assert next(ahead) == 0
    with pytest.raises(RuntimeError, match="piece 1"):
        next(ahead)

    def fail(piece: int) -> int:
        raise ValueError(f"work {piece}")

    with pytest.raises(ValueError, match="work 0"):
        list(done_behind(fail, range(3)))
    with pytest.raises(RuntimeError, match="piece 2"):
        list(done_behind(abs, counted(3, [], fails_at=2)))
