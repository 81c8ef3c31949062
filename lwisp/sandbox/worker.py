"""The process that reads strangers' files, each in a child of its own: `python -m lwisp.sandbox.worker SOCKET`.

It opens nothing itself. For each request it forks a child, which gives up whatever it does not need
(`confinement.confine`), reads, writes the result into the file that came with the request, and ends. So no file finds
anything that another one left, and what a file does to its child is told by how that ended.
"""

import contextlib
import importlib
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, BinaryIO

from lwisp.errors import InputError, kind_of, one_line
from lwisp.files.optional import need
from lwisp.sandbox import values
from lwisp.sandbox.confinement import Bounds, confine

MOST_REQUEST = 2**30
"""Bytes of a request, which may hold a picture."""
UNCONFINED, TOO_LONG = 97, 98
"""Exit codes of a child that could not be confined, and read nothing, and of one that was ended after its time."""
LATE = ("_strptime", "numpy.ma", "PIL.ImageCms", "lwisp.files.cr3", "lwisp.files.xtrans")
"""Modules that are imported only when they are needed, which each child would do anew."""


def main() -> None:
    """Serve requests until the other end of the socket is closed."""
    import resource

    channel = socket.socket(fileno=int(sys.argv[1]))
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (most, most))  # a bound of the parent's, for each file; it has its own here
    import_all()
    channel.sendall(b"\1")
    with contextlib.suppress(OSError):  # the other end is gone
        serve(channel)


def serve(channel: socket.socket) -> None:
    """Carry out requests until there are no more; raises `OSError` where nobody waits for the answer."""
    while (request := receive(channel)) is not None:
        content, result = request
        read, readable, bounds = prepare(content)
        child = os.fork()
        if child == 0:
            channel.close()
            os._exit(_carry_out(read, readable, bounds, result))
        os.close(result)
        code = wait(child, channel, bounds.seconds)
        channel.sendall(struct.pack("<i", code))


def import_all() -> None:
    """Import what readers import late, once for all files."""
    for name in LATE:
        importlib.import_module(name)
    with contextlib.suppress(Exception):  # not installed
        need("pillow_heif")


def receive(channel: socket.socket) -> tuple[bytes, int] | None:
    """The next request: its content, and the descriptor of the file for its result; None at the end."""
    head, files, _, _ = socket.recv_fds(channel, 8, 1)
    if len(head) < 8 or len(files) != 1:
        return None
    (length,) = struct.unpack("<Q", head)
    parts = []
    while length > 0:
        part = channel.recv(min(length, 2**20))
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts), files[0]


def prepare(content: bytes) -> tuple[Callable[[], object], tuple[Path, ...], Bounds]:
    """What a request asks for: the call of a reader, the files that it may open, and its bounds.

    Args:
        content: As the parent wrote it, which alone asks for anything.
    """
    module, name, arguments, keywords, readable, bounds = values.read(content)
    function: Any = reduce(getattr, name.split("."), importlib.import_module(module))
    return lambda: function(*arguments, **keywords), readable, Bounds(*bounds)


def wait(child: int, channel: socket.socket, seconds: float) -> int:
    """How a child ended: its exit code, a signal's number below 0, or `TOO_LONG`.

    It is ended when its time is over, or when the other end of the channel is closed.

    Args:
        child: Its process.
        channel: To the parent, which sends nothing meanwhile.
        seconds: Its time.
    """
    watched = os.pidfd_open(child)
    try:
        ready, _, _ = select.select([watched, channel.fileno()], [], [], seconds)
    finally:
        os.close(watched)
    if not ready or channel.fileno() in ready:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) if ready else TOO_LONG


def _carry_out(read: Callable[[], object], readable: tuple[Path, ...], bounds: Bounds, result: int) -> int:
    """Read one file in this process, for whose end nothing is left to do; returns its exit code."""
    try:
        _let_go()
        confine(bounds, readable)
    except OSError:
        return UNCONFINED
    with os.fdopen(result, "wb") as file:
        answer(read, file)
    return 0


def _let_go() -> None:
    """Leave the terminal and the files that the command was started with: what is printed goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    if nowhere > 2:
        os.close(nowhere)


def answer(read: Callable[[], object], file: BinaryIO) -> None:
    """Read, and write what comes of it: (True, value), or (False, (class of the error, message, feature)).

    Args:
        read: Reads.
        file: Gets it.
    """
    try:
        told: tuple[object, ...] = (True, read())
    except InputError as error:
        told = (False, (type(error).__name__, str(error), getattr(error, "feature", "")))
    except Exception as error:  # any failure is this file's
        told = (False, (kind_of(error), f"{type(error).__name__}: {one_line(error)}", ""))
    try:
        values.write(file, told)
    except (OSError, MemoryError):
        file.seek(0)
        file.truncate()
        values.write(file, (False, ("memory", "what was read is too large to be given back", "")))


if __name__ == "__main__":
    main()
