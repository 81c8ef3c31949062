"""Readers that do what a decoder that was taken over, or has a fault, might do."""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lwisp.files import linear
from lwisp.files.linear import AnyRaw


def read_any(path: Path) -> AnyRaw:
    """What the first word of a file says, else what it should."""
    match path.read_bytes().split(b" ")[0]:
        case b"segfault":
            ctypes.string_at(0)
        case b"hang":
            time.sleep(600)
        case b"spin":
            while True:
                pass
        case b"abort":
            os.abort()
        case b"bomb":
            np.ones(2 * 10**9)
        case b"flood":
            return np.ones(3 * 10**8, np.uint8)  # type: ignore[return-value]
        case b"unforeseen":
            raise ZeroDivisionError("no\nreason")
        case b"exit":
            os._exit(0)
    return linear.read_any(path)


def reach(path: Path, secret: str, port: int) -> dict[str, str]:
    """What can be done by whoever has taken over the process that reads a file, and why not."""
    folder = Path(secret).parent
    found = {}
    attempts: dict[str, Callable[[], object]] = {
        "itself": lambda: path.read_bytes(),
        "code": lambda: Path(os.__file__).read_bytes(),
        "secret": lambda: Path(secret).read_bytes(),
        "listing": lambda: os.listdir(folder),  # noqa: PTH208
        "writing": lambda: (folder / "new").write_text("x"),
        "overwriting": lambda: path.write_text("x"),
        "deleting": lambda: Path(secret).unlink(),
        "renaming": lambda: Path(secret).rename(folder / "other"),
        "password": lambda: Path("/etc/passwd").read_bytes(),
        "environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
        "connecting": lambda: socket.create_connection(("127.0.0.1", port), 1),
        "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "unix": lambda: socket.socket(socket.AF_UNIX),
        "program": lambda: subprocess.run(["/bin/true"], check=True),
        "replacing": _replace,
        "fork": _fork,
        "killing": lambda: os.kill(os.getppid(), 9),
        "tracing": lambda: _call(101, 16, os.getppid()),
        "more memory": _more_memory,
        "limits of others": lambda: _call(302, os.getppid(), 7, 0, 0),
        "signal to itself": lambda: _tgkill(os.getpid()),
        "signal to others": lambda: _tgkill(os.getppid()),
        "permissions": lambda: Path(secret).chmod(0o777),
        "permissions of an open file": lambda: _on_open(path, lambda file: os.fchmod(file, 0o777)),
        "owner": lambda: os.chown(secret, os.getuid(), os.getgid()),
        "times": lambda: os.utime(secret, (1, 1)),
        "times of an open file": lambda: _on_open(path, lambda file: os.utime(file, (1, 1))),
        "attributes": lambda: os.setxattr(secret, "user.lwisp", b"x"),
        "fewer attributes": lambda: os.removexattr(secret, "user.lwisp"),
        "cutting": lambda: os.truncate(path, 0),
        "cutting by opening": lambda: os.open(path, os.O_RDONLY | os.O_TRUNC),
        "opening to write": lambda: os.open(path, os.O_RDWR),
        "opening otherwise": lambda: _openat2(path),
        "memory of no limit": lambda: os.memfd_create("more"),
        "shared memory": lambda: _call(29, 0, 4096, 0o600),
        "messages": lambda: _call(68, 0, 0o600),
    }
    for name, attempt in attempts.items():
        try:
            attempt()
            found[name] = ""
        except OSError as error:
            found[name] = type(error).__name__
        except ValueError as error:
            found[name] = str(error)
    return found


def terminal(path: Path) -> list[str]:
    """Where the three standard descriptors of the process that reads a file lead, and how they are open."""
    found = []
    for number in (0, 1, 2):
        is_nowhere = os.fstat(number).st_rdev == os.makedev(1, 3)
        found.append(f"{is_nowhere} {fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY}")
    return found


def list_folder(folder: Path) -> list[str]:
    """What lies in a folder."""
    return os.listdir(folder)  # noqa: PTH208


def _on_open(path: Path, change: Callable[[int], object]) -> None:
    with path.open("rb") as file:
        change(file.fileno())


def _openat2(path: Path) -> None:
    how = struct.pack("<3Q", os.O_RDONLY, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(437, -100, bytes(path), how, ctypes.c_size_t(len(how))) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def _replace() -> None:
    os.execv("/bin/true", ["true"])


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _more_memory() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _call(number: int, *values: Any) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *map(ctypes.c_long, values)) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def _tgkill(process: int) -> None:
    _call(234, process, process, 0)


def lie(path: Path) -> object:
    """A result that is none, written over the one that is to come back."""
    for number in range(3, 20):
        with contextlib.suppress(OSError):
            os.pwrite(number, b"\xff" * 100, 0)
    os._exit(0)
