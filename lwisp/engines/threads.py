"""How many threads compute."""

import math
import os
import sys

from lwisp.engines.groups import processors
from lwisp.errors import ArgumentError, is_whole, shown


def default_threads() -> int:
    """Threads that compute one picture where no number is given.

    What torch has been told, where it is imported; else `OMP_NUM_THREADS`; else one for each processor that this
    process may use.
    """
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        return int(torch.get_num_threads())
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    return available_processors()


def available_processors() -> int:
    """Processors that this process may use: no more than its control groups, as of a container, leave it time of."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(found, math.ceil(share)) if (share := processors()) < math.inf else found


def share_of_threads(parallel: int) -> int | None:
    """How many threads compute one of several pictures that are made at once.

    Args:
        parallel: How many pictures are made at once.

    Returns:
        None, the engine's own number, for one; else one thread or more.

    Raises:
        ArgumentError: `parallel` is no whole number from 1 up.
    """
    check_parallel(parallel)
    return None if parallel <= 1 else max(1, default_threads() // parallel)


def check_parallel(parallel: object) -> None:
    """Check how many pictures are to be made at once.

    Args:
        parallel: What was given.

    Raises:
        ArgumentError: It is no whole number from 1 up.
    """
    if not is_whole(parallel, 1):
        raise ArgumentError(f"expected 1 job at once or more, got {shown(parallel)}")
