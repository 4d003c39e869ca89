"""What the help shows after an option: N for a number, FILE for a path, nothing for a flag."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandFunctionType

_LABELS: dict[Any, str] = {bool: "", int: "N", float: "X", str: "TEXT", Path: "FILE"}


class _Labelled:
    """A command whose parameters have labels instead of the names of Python types."""

    def get_params(self, ctx: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            _label(parameter)
        return parameters

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        pieces: list[str] = super().collect_usage_pieces(ctx)  # type: ignore[misc]
        # Typer writes {NAME} for an argument that must be given.
        return [piece.replace("{", "").replace("}", "") for piece in pieces]


class LabelledCommand(_Labelled, TyperCommand):
    """A command with labels."""


class LabelledGroup(_Labelled, TyperGroup):
    """A group of commands with labels."""


class LabelledTyper(typer.Typer):
    """A `typer.Typer` whose commands have labels in their help."""

    def __init__(self, **options: Any):
        super().__init__(cls=LabelledGroup, **options)

    def command(
        self, name: str | None = None, **options: Any
    ) -> Callable[[CommandFunctionType], CommandFunctionType]:
        return super().command(name, cls=LabelledCommand, **options)


def _label(parameter: Any) -> None:
    if parameter.param_type_name == "argument":
        parameter.display_type_rich = lambda ctx: ""  # its name says it already
        return
    annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    one = next(iter(get_args(annotation)), annotation)
    if parameter.metavar is None and one in _LABELS:
        parameter.metavar = _LABELS[one]
