"""Base classes for settings, and pydantic's errors as readable messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from naslora.core.errors import NasloraError, SettingsError
from naslora.core.registry import did_you_mean

T = TypeVar("T")


class Settings(BaseModel):
    """Immutable settings; unknown keys and numbers that are not finite are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StrictSettings(Settings):
    """Settings without type conversion: neither "3" nor true is accepted as a number."""

    model_config = ConfigDict(strict=True)


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) < len(values):
        raise ValueError("must list each entry once")
    return values


# At least one entry, each once; a list is converted to a tuple.
DistinctTuple = Annotated[
    tuple[T, ...], Field(strict=False, min_length=1), AfterValidator(_distinct)
]


@contextmanager
def readable_errors(
    what: str,
    kind: type[BaseModel] | None = None,
    *,
    where: Path | None = None,
    remedy: str | None = None,
    error: type[NasloraError] = SettingsError,
) -> Iterator[None]:
    """Turn pydantic's errors into one that names the path, the problem and the value of each.

    Args:
        what: what is validated, such as "invalid settings of lora".
        kind: the model that is validated; with it, the message for an unknown key names the closest
            known one.
        where: the file that the values are from.
        remedy: what to do; if an unknown key is the only problem, the closest known one is named
            instead.
        error: the exception to raise.

    Raises:
        error: pydantic rejected a value in the block.
    """
    try:
        yield
    except ValidationError as refused:
        problems = refused.errors(include_url=False)
        unknown = [e for e in problems if e["type"] == "extra_forbidden" and len(e["loc"]) == 1]
        if kind is not None and len(unknown) == len(problems) == 1:
            remedy = did_you_mean(str(unknown[0]["loc"][0]), kind.model_fields)
        listed = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'all of it'}: {_readable(e['type'], e['msg'])}"
            f" (got {_shortened(repr(e['input']))})"
            for e in problems
        )
        raise error(f"{what}: {listed}", where=where, remedy=remedy) from None


def _readable(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such setting"
    return message.removeprefix("Value error, ")


def _shortened(text: str, length: int = 100) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
