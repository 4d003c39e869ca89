"""The processor cores that this process may use."""

from __future__ import annotations

import os


def available_cores() -> int:
    """The number of cores that this process may run on, at least 1.

    A cluster job or a container may have fewer than the machine.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1
