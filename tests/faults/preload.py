"""The library that makes calls fail: compiled, and told what to do in processes that have loaded it."""

import ctypes
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")


class Mode(IntEnum):
    """What happens to calls that write."""

    COUNT = 0
    """They are counted."""
    ONCE = 1
    """One fails."""
    FROM_THEN_ON = 2
    """One fails, and all after it."""
    SHORT = 3
    """One takes half of what it was given, where it is a write, and all after it fail: a disk that fills up."""
    KILL = 4
    """The process is killed before one."""
    SLOW = 5
    """Each waits."""


@dataclass(frozen=True)
class Fault:
    """What is to go wrong."""

    mode: Mode = Mode.COUNT
    nth: int = 0
    """At which call, from 1."""
    error: int = 0
    """Of `errno`."""
    removing: bool = False
    """Whether to remove files counts, and fails, too, as on a file system that became read-only."""
    microseconds: int = 0
    """That each call waits."""
    clock: int = 0
    """Seconds that the clock is off from the n-th call on."""
    no_shm: bool = False
    """Whether there is no shared memory."""


class _Plan(ctypes.Structure):
    """`struct plan` of the library."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("mode", "nth", "error", "removing", "microseconds", "clock", "no_shm")),
        ("count", ctypes.c_int64),
        ("what", ctypes.c_char * 256),
    )


def why_not() -> str:
    """Why the library cannot be used here; empty where it can."""
    if sys.platform != "linux":
        return "needs Linux"
    return "" if _compiler() else "needs a C compiler"


def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


@cache
def compile_library(folder: Path) -> Path:
    """The library, made in a folder.

    Args:
        folder: Where it comes to lie; outside of what faults happen to.
    """
    library = folder / "faults.so"
    compiler = _compiler()
    assert compiler is not None
    command = [compiler, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return library


class Control:
    """Tells processes that have loaded the library what is to go wrong, and is told what they did.

    Args:
        folder: Where the library and the state lie; outside of `root`.
        root: Calls that write below this folder are counted; no others.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self.library = compile_library(folder)
        self.root = root.resolve()
        self.state = folder / "state"
        self.state.write_bytes(bytes(ctypes.sizeof(_Plan)))
        with self.state.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), ctypes.sizeof(_Plan))
        self._plan = _Plan.from_buffer(self._shared)

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment variables of a process that is to load it."""
        kept = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        return {**kept, "LD_PRELOAD": str(self.library), "FAULTS_STATE": str(self.state), "FAULTS_ROOT": str(self.root)}

    def arm(self, fault: Fault) -> None:
        """Begin to count anew; `fault` happens next."""
        self._plan.count = 0
        self._plan.what = b""
        for name in ("nth", "error", "removing", "microseconds", "clock", "no_shm", "mode"):
            setattr(self._plan, name, int(getattr(fault, name)))

    @property
    def count(self) -> int:
        """Calls since `arm`."""
        return int(self._plan.count)

    @property
    def what(self) -> str:
        """The call that failed first, and its path; empty where none did."""
        return bytes(self._plan.what).decode(errors="replace")
