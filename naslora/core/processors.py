"""The processors that this process may use."""

from __future__ import annotations

import os


def available_cores() -> int:
    """The number of cores that this process may run on, at least 1.

    A job of a cluster, or a container, has fewer than its machine.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # of Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1
