"""Peak memory of training, one method at a time."""

from __future__ import annotations

import os
import signal
import traceback
from typing import TYPE_CHECKING

import torch

from naslora.study.provenance import peak_memory_bytes, reset_peak_memory
from naslora.study.settings import Study
from naslora.timing.protocol import DroppedError
from naslora.timing.subjects import Subject, free_memory, random_batch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

ON_CPU = (
    "growth of the resident memory of a separate process, from before the model is built to its "
    "peak in two iterations; the memory of Python and torch themselves is not included"
)
ON_GPU = (
    "torch.cuda.max_memory_allocated over two iterations, with no other model on the GPU; the "
    "memory of CUDA itself is not included"
)
NOT_MEASURED = "not measured on this kind of device"
_STEPS = 2  # the second one has the optimiser's state


def what_is_measured(device: torch.device) -> str:
    """A description of what `training_peak` measures on a device."""
    return {"cpu": ON_CPU, "cuda": ON_GPU}.get(device.type, NOT_MEASURED)


def training_peak(study: Study, method: str, fabric: Fabric, *, searching: bool) -> int | None:
    """Peak memory of training a method with the study's batch size, in bytes.

    On a CPU it is measured in a fork, which has no copies of torch's threads: call this before
    torch has computed anything on several threads.

    Returns:
        None on devices that do not report it, and on a CPU where processes cannot be forked.

    Raises:
        DroppedError: there is not enough memory, or the loss is not finite.
    """
    if fabric.device.type == "cpu":
        if not hasattr(os, "fork"):
            return None
        return _in_a_fork(study, method, fabric, searching)
    if fabric.device.type != "cuda":
        return None
    free_memory()
    torch.cuda.reset_peak_memory_stats(fabric.device)
    try:
        _train(study, method, fabric, searching)
        return peak_memory_bytes(fabric.device)
    finally:
        free_memory()


def _train(study: Study, method: str, fabric: Fabric, searching: bool) -> None:
    subject = Subject(study, method, fabric)
    step, _ = subject.training(random_batch(study, study.training.batch_size), searching=searching)
    for _ in range(_STEPS):
        step()


def _in_a_fork(study: Study, method: str, fabric: Fabric, searching: bool) -> int:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(read)
            reset_peak_memory()
            before = peak_memory_bytes(fabric.device)
            try:
                _train(study, method, fabric, searching)
                answer = str(peak_memory_bytes(fabric.device) - before)
            except DroppedError as problem:
                answer = problem.status
            os.write(write, answer.encode())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == -signal.SIGKILL:  # Linux kills a process that uses up the memory
        raise DroppedError("out of memory")
    if code:
        raise RuntimeError(f"training {method} in a fork ended with exit code {code}")
    if not answer.isdecimal():
        raise DroppedError(answer)
    return int(answer)
