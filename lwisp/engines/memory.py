"""Memory of the system and of this process."""

import os
from pathlib import Path
from typing import Any

from lwisp.engines.groups import GROUPS, memory_left, memory_limit
from lwisp.files.optional import need

PROC = Path("/proc")
"""Where Linux tells of memory; elsewhere psutil does."""


def free_memory(proc: Path = PROC, groups: Path = GROUPS) -> int:
    """Memory in bytes that this process could take without swapping.

    No more than its control groups, as of a container, and its limit of address space (`ulimit -v`) leave it.

    Args:
        proc: Where Linux tells it.
        groups: Where Linux tells of control groups.

    Raises:
        InputError: Linux does not tell it, and psutil is not installed.
    """
    found = _told(proc, "MemAvailable")
    if found is None:
        return int(_psutil().virtual_memory().available)
    return int(min(found, memory_left(proc, groups), _address_space_left(proc, found)))


def installed_memory(proc: Path = PROC, groups: Path = GROUPS) -> int:
    """Memory in bytes that is installed, or that the process's control groups may hold, whichever is less.

    Args:
        proc: Where Linux tells it.
        groups: Where Linux tells of control groups.

    Raises:
        InputError: Linux does not tell it, and psutil is not installed.
    """
    found = _told(proc, "MemTotal")
    return int(_psutil().virtual_memory().total) if found is None else int(min(found, memory_limit(proc, groups)))


def resident_memory(proc: Path = PROC) -> int:
    """Memory in bytes that this process holds.

    Args:
        proc: Where Linux tells it.

    Raises:
        InputError: Linux does not tell it, and psutil is not installed.
    """
    try:
        return _pages(proc)[1]
    except OSError:
        return int(_psutil().Process().memory_info().rss)


def _address_space_left(proc: Path, otherwise: int) -> int:
    """Bytes that this process may still map; `otherwise` where it has no limit."""
    import resource  # which Windows lacks

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    try:
        return otherwise if limit == resource.RLIM_INFINITY else max(limit - _pages(proc)[0], 0)
    except OSError:
        return otherwise


def _pages(proc: Path) -> tuple[int, int]:
    """Bytes that this process has mapped, and that it holds."""
    with (proc / "self" / "statm").open(encoding="ascii") as file:
        mapped, held, *_ = (int(pages) * os.sysconf("SC_PAGE_SIZE") for pages in file.read().split())
    return mapped, held


def _told(proc: Path, name: str) -> int | None:
    """What Linux tells of memory under a name, in bytes; None where it does not."""
    try:
        with (proc / "meminfo").open(encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))
    except (OSError, StopIteration):
        return None


def _psutil() -> Any:
    return need("psutil", "measuring memory")
