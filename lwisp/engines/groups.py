"""Bounds that Linux's control groups set this process, as containers and services have them."""

import math
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
"""Where Linux tells which groups a process is in."""
GROUPS = Path("/sys/fs/cgroup")
"""Where it tells of the groups."""


def memory_limit(proc: Path = PROC, groups: Path = GROUPS) -> float:
    """Memory in bytes that all processes of this one's groups may hold together.

    Args:
        proc: Where Linux tells which groups the process is in.
        groups: Where it tells of them.

    Returns:
        The least limit of the groups that it is in; infinity where there is none.
    """
    return min((limit for limit, _ in _memory(proc, groups)), default=math.inf)


def memory_left(proc: Path = PROC, groups: Path = GROUPS) -> float:
    """Memory in bytes that a process may take before one of its groups is at its limit.

    Args:
        proc: Where Linux tells which groups the process is in.
        groups: Where it tells of them.

    Returns:
        0 or more; infinity where no group has a limit.
    """
    return min((max(limit - used, 0) for limit, used in _memory(proc, groups)), default=math.inf)


def processors(proc: Path = PROC, groups: Path = GROUPS) -> float:
    """How many processors' time the groups may take.

    Args:
        proc: Where Linux tells which groups the process is in.
        groups: Where it tells of them.

    Returns:
        As 1.5; infinity where no group has a limit.
    """
    shares = []
    for folder in _folders(proc, groups, ""):
        told = [_number(word) for word in _words(folder / "cpu.max")]
        shares.append(_share(*told) if len(told) == 2 else math.inf)
    for folder in _folders(proc, groups, "cpu"):
        quota, period = (_told(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        shares.append(_share(quota, period))
    return min(shares, default=math.inf)


def _share(quota: float, period: float) -> float:
    """Time of processors in a period; infinity where there is no limit, which the first version writes as -1."""
    return quota / period if 0 < quota < math.inf and 0 < period < math.inf else math.inf


def _memory(proc: Path, groups: Path) -> Iterator[tuple[float, float]]:
    """Limit and use in bytes of each group with a limit; what can be dropped does not count as used."""
    for folder in _folders(proc, groups, ""):
        limit = min(_told(folder / "memory.max"), _told(folder / "memory.high"))
        if limit < math.inf:
            yield limit, _used(folder / "memory.current", folder / "memory.stat", "inactive_file")
    for folder in _folders(proc, groups, "memory"):
        limit = _told(folder / "memory.limit_in_bytes")
        if limit < math.inf:
            yield limit, _used(folder / "memory.usage_in_bytes", folder / "memory.stat", "total_inactive_file")


def _used(current: Path, stat: Path, cached: str) -> float:
    words = _words(stat)
    dropped = _number(words[words.index(cached) + 1], 0.0) if cached in words[:-1] else 0.0
    return max(_told(current, 0.0) - dropped, 0.0)


def _folders(proc: Path, groups: Path, controller: str) -> Iterator[Path]:
    """The folders of the group that this process is in, and of those that the group is in, up to the first.

    Within a container the group's path may be the one outside of it; there the topmost folder is the container's.

    Args:
        proc: Where Linux tells of processes.
        groups: Where it tells of groups.
        controller: "memory" or "cpu" of the first version; "" for the second.
    """
    for line in _lines(proc / "self" / "cgroup"):
        _, names, path = [*line.split(":", 2), "", ""][:3]
        if controller in names.split(","):
            top = next(filter(Path.is_dir, (groups / names, groups / controller)), groups / controller)
            folder = top.joinpath(*(part for part in path.split("/") if part not in ("", "..")))
            yield from (folder, *folder.parents[: len(folder.parts) - len(top.parts)])
            return


def _told(path: Path, otherwise: float = math.inf) -> float:
    return _number("".join(_words(path)), otherwise)


def _number(word: str, otherwise: float = math.inf) -> float:
    """A number, which may be negative; `otherwise` for what is none, as "max"."""
    return float(word) if word.removeprefix("-").isdecimal() else otherwise


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
