"""Pydantic's errors as one readable message."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from naslora.core.errors import SettingsError, StateError
from naslora.core.validation import Settings, readable_errors


class Inner(Settings):
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class Outer(Settings):
    rank: Annotated[int, Field(ge=1)] = 3
    inner: Inner = Inner()


def refused(values: object, **options: object) -> str:
    with (
        pytest.raises(SettingsError) as caught,
        readable_errors("invalid settings", Outer, **options),  # type: ignore[arg-type]
    ):
        Outer.model_validate(values)
    return str(caught.value)


def test_names_path_range_and_value() -> None:
    message = refused({"rank": 0, "inner": {"share": 2}})
    assert "rank: Input should be greater than or equal to 1 (got 0)" in message
    assert "inner.share: Input should be less than or equal to 1 (got 2)" in message


def test_an_unknown_key_gets_its_closest_match() -> None:
    message = refused({"rnak": 3})
    assert "rnak: there is no such setting" in message
    assert "did you mean rank?" in message
    assert "did you mean" not in refused({"rnak": 3, "rank": 0}, remedy="correct both")


def test_refuses_numbers_that_are_not_finite() -> None:
    for value in (float("nan"), float("inf")):
        assert "inner.share: Input should be a finite number" in refused(
            {"inner": {"share": value}}
        )


def test_shortens_long_values_and_names_the_file() -> None:
    message = refused({"rank": "x" * 10_000}, where=Path("a.yaml"), remedy="correct it")
    assert len(message) < 500
    assert str(Path("a.yaml").absolute()) in message
    assert "correct it" in message


def test_raises_what_it_is_asked_for() -> None:
    with pytest.raises(StateError, match="damaged"), readable_errors("damaged", error=StateError):
        Outer.model_validate([])
