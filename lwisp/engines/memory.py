"""Memory of the system and of this process."""

import os
from pathlib import Path
from typing import Any

from lwisp.files.optional import need

PROC = Path("/proc")
"""Where Linux tells of memory; elsewhere psutil does."""


def free_memory(proc: Path = PROC) -> int:
    """Memory in bytes that a process could take without swapping.

    Args:
        proc: Where Linux tells it.

    Raises:
        InputError: Linux does not tell it, and psutil is not installed.
    """
    found = _told(proc, "MemAvailable")
    return int(_psutil().virtual_memory().available) if found is None else found


def installed_memory(proc: Path = PROC) -> int:
    """Memory in bytes that is installed.

    Args:
        proc: Where Linux tells it.

    Raises:
        InputError: Linux does not tell it, and psutil is not installed.
    """
    found = _told(proc, "MemTotal")
    return int(_psutil().virtual_memory().total) if found is None else found


def resident_memory(proc: Path = PROC) -> int:
    """Memory in bytes that this process holds.

    Args:
        proc: Where Linux tells it.

    Raises:
        InputError: Linux does not tell it, and psutil is not installed.
    """
    try:
        with (proc / "self" / "statm").open(encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return int(_psutil().Process().memory_info().rss)


def _told(proc: Path, name: str) -> int | None:
    """What Linux tells of memory under a name, in bytes; None where it does not."""
    try:
        with (proc / "meminfo").open(encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))
    except (OSError, StopIteration):
        return None


def _psutil() -> Any:
    return need("psutil", "measuring memory")
