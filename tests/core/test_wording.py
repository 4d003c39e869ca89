from __future__ import annotations

import pytest

from naslora.core.wording import counted, first_of, joined, signed


def test_numbers_have_their_nouns() -> None:
    assert [counted(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


@pytest.mark.parametrize(
    ("words", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (list("abc"), "a, b and c")],
)
def test_words_are_joined(words: list[str], text: str) -> None:
    assert joined(words) == text


def test_the_first_words_and_how_many_more() -> None:
    assert first_of(list("abc")) == "a, b, c"
    assert first_of(list("abcde")) == "a, b, c and 2 more"
    assert first_of(list("abc"), 1) == "a and 2 more"


@pytest.mark.parametrize(
    ("value", "text"), [(0.44, "+0.4"), (-1.26, "-1.3"), (-0.04, "+0.0"), (-0.0, "+0.0")]
)
def test_differences_have_a_sign_and_zero_is_positive(value: float, text: str) -> None:
    assert signed(value) == text
