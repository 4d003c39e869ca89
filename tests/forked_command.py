"""Runs the `naslora` command in REQUEST, in a process that `conftest.forked` started."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from typing import Any

REQUEST: dict[str, Any] = globals()["REQUEST"]  # set by the process that runs this file

for place, path in enumerate(REQUEST["output"], start=1):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), place)
os.environ.clear()
os.environ.update(REQUEST["environment"])
os.chdir(REQUEST["folder"])
# As in a command that was not forked: loader processes end when such a parent does.
multiprocessing.set_start_method("fork", force=True)
os.setsid()  # a signal to the command's process group does not reach pytest
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["naslora", *REQUEST["arguments"]]

import naslora.__main__  # noqa: E402

# Distributed training starts its other processes by the name of the main module.
sys.modules["__main__"] = naslora.__main__
code = None
try:
    naslora.__main__.main()
except SystemExit as error:
    code = error.code
# Objects that an error refers to are freed before the process ends, as in a command that was not
# forked.
sys.exit(code)
