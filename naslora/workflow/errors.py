"""Errors of the package in Snakemake, shown without a traceback."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from snakemake_interface_common.exceptions import WorkflowError

from naslora.core.errors import NasloraError

P = ParamSpec("P")
T = TypeVar("T")


def readable(function: Callable[P, T]) -> Callable[P, T]:
    """Wrap a function, so that a `NasloraError` ends the workflow with its message only."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except NasloraError as error:
            raise WorkflowError(str(error)) from None

    return call
