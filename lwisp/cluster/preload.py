"""Loaded into workers on this machine: a terminal's Ctrl-C reaches them as well, and the command is to heed it."""

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Called by Dask when a worker starts.

    Args:
        worker: The worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
