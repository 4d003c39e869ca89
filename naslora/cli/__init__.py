"""The command line: one sub-command per step of the pipeline, each usable by hand.

Modules of sub-commands import torch, and whatever imports it, inside the functions, so that
`naslora --help` is fast.
"""

from __future__ import annotations

import signal
import sys
import threading

import typer

from naslora.cli.app import app

# The help lists commands in the order in which these modules register them.
# isort: off
from naslora.cli import own  # noqa: F401
from naslora.cli import export  # noqa: F401
from naslora.cli import study  # noqa: F401
from naslora.cli import results  # noqa: F401
from naslora.cli import steps  # noqa: F401

# isort: on
from naslora.core.errors import NasloraError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; show a `NasloraError` as one message and exit with its code."""
    main_thread = threading.current_thread() is threading.main_thread()
    if main_thread and hasattr(signal, "SIGUSR1"):  # Windows does not have it
        # A scheduler's warning that time is running out: training handles it and saves its state;
        # other commands continue.
        signal.signal(signal.SIGUSR1, lambda number, frame: None)
    try:
        app()
    except NasloraError as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
