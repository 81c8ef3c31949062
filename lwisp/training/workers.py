"""How many processes make batches, where a recipe leaves it to the machine."""

import os

from lwisp.engines.memory import free_memory

WORKER_BYTES = 2**30
"""Memory of a worker beside the pictures that it keeps: Python with torch, and two batches ahead."""
MOST = 8
"""Workers of one training process at most; from about as many on a GPU waits for nothing."""
SHARE = 0.5
"""Share of the free memory that all workers may take."""


def choose_workers(is_gpu: bool, processes: int, kept: int, cores: int | None = None, free: int | None = None) -> int:
    """Processes that make batches beside one that trains.

    Args:
        is_gpu: Whether a GPU computes. Where the processor does, workers would take the cores that it computes with.
        processes: Training processes on this machine.
        kept: Bytes of pictures that each worker keeps.
        cores: Cores that may be used; those of this machine if not given.
        free: Memory in bytes that may be used; what is free now if not given.

    Returns:
        0 to `MOST`: a core for each, one is left to each training process, within `SHARE` of the memory.
    """
    if not is_gpu:
        return 0
    cores = len(os.sched_getaffinity(0)) if cores is None and hasattr(os, "sched_getaffinity") else cores
    by_cores = (cores or os.cpu_count() or 1) // processes - 1
    by_memory = SHARE * (free_memory() if free is None else free) / (WORKER_BYTES + kept) / processes
    return max(0, min(MOST, by_cores, int(by_memory)))
