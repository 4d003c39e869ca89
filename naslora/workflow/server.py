"""Commands without their start-up: a server that has imported everything, and forks per command.

Importing torch and its friends takes longer than a small job. A workflow that runs hundreds of
jobs on one machine starts a server, names its socket in the environment, and every `naslora`
command that finds one there runs in a fork of it: with the caller's arguments, folder, environment
and open streams, and with the exit code that it would have had. Signals that ask the caller to stop
are passed on. Linux only; elsewhere, and wherever the server cannot be reached, commands run as
always.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ADDRESS = "NASLORA_SERVER"
# What commands that import torch import; the others are quicker by themselves.
_TRAINING = ("lightning_fabric", "naslora.training.train")
_MEASURING = ("lightning_fabric", "py_sod_metrics", "pyarrow.parquet")
_PRELOADED = {
    "pretrain": (*_TRAINING, "naslora.training.pretraining.run"),
    "train": _TRAINING,
    "evaluate": (*_MEASURING, "naslora.evaluation.evaluate"),
    "controls": (*_MEASURING, "naslora.evaluation.controls"),
    "analyse": ("lightning_fabric", "naslora.analysis.analyse"),
    "time": (*_TRAINING, "naslora.timing.measure"),
    "figure": (
        "lightning_fabric",
        "matplotlib.backends.backend_pdf",
        "matplotlib.pyplot",
        "pyarrow.parquet",
        "seaborn",
        "skimage.transform",
        "naslora.analysis.grad_cam",
        "naslora.evaluation.predictions",
        "naslora.report.figures.features",
        "naslora.report.figures.figure4",
    ),
}
SERVED = frozenset(_PRELOADED)
# Passed on; the command decides what to do, and its caller waits for it.
_RELAYED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_STREAMS = 3
_MESSAGE_BYTES = 1 << 20


def start_server(commands: Iterable[str] = SERVED) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server that lives as long as this process, or until its standard input is closed.

    Args:
        commands: those of `SERVED` that it imports everything for; it runs the others too.

    Returns:
        The process, and the address for `ADDRESS` in the environment of commands. Commands that
        come before it has imported everything wait for it.

    Raises:
        OSError: this system cannot run a server.
    """
    if not hasattr(os, "pidfd_open"):
        raise OSError("this system has no pidfd_open")
    address = str(Path(tempfile.mkdtemp(prefix="naslora-")) / "socket")
    listener = _listen(address)
    with listener:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, address, str(listener.fileno()), *sorted(commands)],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            start_new_session=True,
            # BLAS libraries would start threads on import, which a fork does not inherit.
            env={**os.environ, ADDRESS: "", "OPENBLAS_NUM_THREADS": "1"},
        )
    return process, address


def delegate(arguments: list[str]) -> int | None:
    """Run a command on the server that the environment names.

    Returns:
        Its exit code; None where there is no server, and the command is to be run here.
    """
    address = os.environ.get(ADDRESS)
    if not address or not arguments or arguments[0] not in SERVED:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with connection:
        try:
            connection.connect(address)
            request = {
                "arguments": arguments,
                "folder": os.getcwd(),
                "environment": dict(os.environ),
            }
            socket.send_fds(connection, [json.dumps(request).encode()], list(range(_STREAMS)))
        except OSError:
            return None
        with _relaying(connection):
            answer = connection.recv(_MESSAGE_BYTES)
    if not answer:
        print("error: the server that ran this command is gone", file=sys.stderr)
        return 1
    return int(answer)


@contextlib.contextmanager
def _relaying(connection: socket.socket) -> Iterator[None]:
    """Send the numbers of signals to the server, instead of obeying them."""

    def relay(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):  # the command has just ended
            connection.send(str(number).encode())

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {
            number: signal.signal(number, relay)
            for number in _RELAYED
            if signal.getsignal(number) is not signal.SIG_IGN
        }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class _Job:
    """A running command: its process and whom to tell when it ends."""

    pid: int
    pidfd: int
    connection: socket.socket


class _Server:
    def __init__(self, listener: socket.socket):
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ, self._leave)
        self._jobs: list[_Job] = []
        self._alive = True

    def run(self) -> None:
        """Serve until standard input is closed; then stop what is running."""
        while self._alive:
            for key, _ in self._selector.select():
                key.data()
        for job in self._jobs:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGTERM)

    def _leave(self) -> None:
        self._alive = False

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        try:
            data, streams, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, _STREAMS)
        except OSError:
            data, streams = b"", []
        if len(streams) != _STREAMS:  # the caller is gone again
            connection.close()
            return
        # A signal for the fork waits until the fork has handlers of its own.
        signal.pthread_sigmask(signal.SIG_BLOCK, _RELAYED)
        pid = os.fork()
        if pid == 0:
            self._selector.close()
            self._listener.close()
            for other in self._jobs:  # whose callers would wait for this job too
                other.connection.close()
            _become(json.loads(data), streams)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _RELAYED)
        with contextlib.suppress(OSError):  # here and in the fork: whichever comes first
            os.setpgid(pid, pid)
        for stream in streams:
            os.close(stream)
        job = _Job(pid, os.pidfd_open(pid), connection)
        self._jobs.append(job)
        self._selector.register(job.pidfd, selectors.EVENT_READ, lambda: self._ended(job))
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._heard(job))

    def _heard(self, job: _Job) -> None:
        """The caller got a signal; or it was killed, so the command is to end too."""
        try:
            number = job.connection.recv(_MESSAGE_BYTES)
        except OSError:
            number = b""
        if not number:
            self._selector.unregister(job.connection)
        if job not in self._jobs:  # it has ended
            if not number:
                job.connection.close()
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, int(number or signal.SIGTERM))

    def _ended(self, job: _Job) -> None:
        _, status = os.waitpid(job.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        with contextlib.suppress(OSError):  # the caller may be gone
            job.connection.send(str(code if code >= 0 else 128 - code).encode())
        self._selector.unregister(job.pidfd)
        os.close(job.pidfd)
        self._jobs.remove(job)
        # Else the caller closes it first: with a signal's number unread, the answer would be lost.
        if job.connection not in self._selector.get_map():
            job.connection.close()


def _become(request: dict[str, object], streams: list[int]) -> None:
    """Turn this fork into the command that was asked for; does not return."""
    code = 1
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        for number in _RELAYED:
            interrupting = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if interrupting else signal.SIG_DFL)
        for place, stream in enumerate(streams):
            os.dup2(stream, place)
            os.close(stream)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _RELAYED)
        os.environ.clear()
        os.environ.update(request["environment"])  # type: ignore[call-overload]
        os.environ.pop(ADDRESS, None)  # what this command starts in turn runs by itself
        os.chdir(str(request["folder"]))
        sys.argv = [sys.argv[0], *request["arguments"]]  # type: ignore[misc]
        import naslora.__main__

        # Distributed training starts its other processes by the name of the main module.
        sys.modules["__main__"] = naslora.__main__
        naslora.__main__.main()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for output in (sys.stdout, sys.stderr):
            try:
                output.flush()
            except Exception:
                code = code or 120  # as Python's own
        os._exit(code)


def _listen(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen(128)
    return listener


def serve(address: str, descriptor: int, commands: Iterable[str]) -> None:
    """Import what the commands need, then serve at a socket that listens already.

    A scheduler signals all processes of a job. Commands obey; the server outlives them, and ends
    when its standard input does.
    """
    for number in _RELAYED:
        signal.signal(number, lambda number, frame: None)
    try:
        with socket.socket(fileno=descriptor) as listener:
            importlib.import_module("naslora.cli")
            for module in itertools.chain.from_iterable(map(_PRELOADED.__getitem__, commands)):
                importlib.import_module(module)
            gc.freeze()  # or a collection in a fork copies every page that it visits
            _Server(listener).run()
    finally:
        shutil.rmtree(Path(address).parent, ignore_errors=True)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
    os._exit(0)  # without the farewells of all that was imported
