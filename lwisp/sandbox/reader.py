"""The sandbox: readers of files, called as ever, that run in a process which can reach nothing else.

Whatever a file does to a decoder, a crash, a hang, a flood of memory, code of its own, ends that process and is one
`InputError` here.
"""

import contextlib
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from lwisp import errors
from lwisp.errors import InputError, OutOfMemoryError, one_line
from lwisp.files.properties import sidecars_of
from lwisp.files.sensor import sensor_files
from lwisp.sandbox import values
from lwisp.sandbox.confinement import Bounds, check_available
from lwisp.sandbox.worker import MOST_REQUEST, TOO_LONG, UNCONFINED

P = ParamSpec("P")
T = TypeVar("T")

START = 120.0
"""Seconds in which a process must be ready."""
GRACE = 5.0
"""Seconds beyond a file's, after which its process is ended."""


class CrashedError(InputError):
    """A file whose reader died."""

    kind = "crash"


class TooLongError(InputError):
    """A file that took longer than is allowed."""

    kind = "time"


class UnforeseenError(InputError):
    """A file whose reader failed for an unforeseen reason."""

    kind = "unforeseen"


class Sandbox:
    """Runs readers of files in processes that can open no other file, nor reach the network or another process.

    Any number of threads may use it at once, each with a process of its own. The processes end with this one.

    Args:
        bounds: Memory and time of a file.

    Raises:
        InputError: This system cannot confine a process.
    """

    def __init__(self, bounds: Bounds = Bounds()) -> None:
        check_available()
        self.bounds = bounds
        self._idle: list[_Process] = []
        self._lock = threading.Lock()
        self._end = weakref.finalize(self, _end_all, self._idle)

    def call(self, read: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
        """Call a reader.

        Args:
            read: A function of a module, such as `read_raw`; it gets paths and plain values, and gives a photo or
                plain values.
            arguments: Its arguments; files at the paths among them, with their sidecars, are all that it can open.
            keywords: Likewise.

        Returns:
            What it returns.

        Raises:
            InputError: What it raises; `CrashedError` where its process died, `TooLongError` or `OutOfMemoryError`
                where it took too much.
        """
        paths = [argument for argument in (*arguments, *keywords.values()) if isinstance(argument, Path)]
        name = str(paths[0]) if paths else "the file"
        readable = [place for path in paths for place in (path, *_beside(path))]
        bounds = (self.bounds.memory, self.bounds.seconds, self.bounds.written)
        target = (read.__module__, read.__qualname__)
        request = values.to_bytes((*target, tuple(arguments), dict(keywords), tuple(readable), bounds))
        if len(request) > MOST_REQUEST:
            raise OutOfMemoryError(f"{name}: {len(request):,} bytes to read are more than {MOST_REQUEST:,}")
        process = self._take(name)
        code, content = self._ask(process, request)
        if not process.has_accepted:  # it had died while it waited, of no fault of this file
            process.end()
            process = self._start(name)
            code, content = self._ask(process, request)
        if process.is_gone:
            process.end()
        else:
            with self._lock:
                self._idle.append(process)
        if code in (None, TOO_LONG):
            raise TooLongError(f"{name}: took longer than {self.bounds.seconds:g} seconds and was given up")
        if code:
            raise of_death(name, code)
        return _result(name, content)  # type: ignore[no-any-return]

    def _take(self, name: str) -> "_Process":
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._start(name)

    def _ask(self, process: "_Process", request: bytes) -> tuple[int | None, bytes]:
        try:
            return process.ask(request, self.bounds.seconds + GRACE)
        except BaseException:
            process.end()
            raise

    def _start(self, name: str) -> "_Process":
        try:
            return _Process()
        except (OSError, TimeoutError) as error:
            raise InputError(f"{name}: no process can be started that reads it: {one_line(error)}") from error

    def warm(self) -> None:
        """Start a process, so that the first file need not wait for it; raises `InputError` where none can be had."""
        process = self._take("no file")
        with self._lock:
            self._idle.append(process)

    def close(self) -> None:
        """End all processes that wait; it cannot be used any more then."""
        self._end()


def _beside(path: Path) -> list[Path]:
    """The sidecars of a file, but for links to what is no sidecar: IMG.xmp may lead to a key."""
    found = [*sidecars_of(path, True), *sensor_files(path)]
    return [place for place in found if place.resolve().suffix.lower() == place.suffix.lower()]


def _end_all(processes: "list[_Process]") -> None:
    for process in processes:
        process.end()


class _Process:
    """A process that waits for files."""

    def __init__(self) -> None:
        self.is_gone = False
        self.has_accepted = True
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(START)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "lwisp.sandbox.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the command's, which finishes what it has begun
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # threads would not survive a fork
            )
        try:
            if self.channel.recv(1) != b"\1":
                raise OSError("it ended at once")
        except OSError:
            self.end()
            raise

    def ask(self, request: bytes, seconds: float) -> tuple[int | None, bytes]:
        """The exit code of the child that read a file, None where it took too long, and what it gave back.

        Args:
            request: As `worker.receive` takes it.
            seconds: Time.
        """
        result = os.memfd_create("lwisp", os.MFD_CLOEXEC)
        try:
            self.channel.settimeout(seconds)
            socket.send_fds(self.channel, [struct.pack("<Q", len(request))], [result])
            self.channel.sendall(request)
            told = b""
            while len(told) < 4:
                part = self.channel.recv(4 - len(told))
                if not part:
                    raise OSError("it is gone")
                told += part
            size = os.fstat(result).st_size
            with mmap.mmap(result, size, prot=mmap.PROT_READ) if size else contextlib.nullcontext(b"") as content:
                return struct.unpack("<i", told)[0], bytes(content)
        except OSError as error:  # it stands still, or has died
            self.is_gone = True
            self.has_accepted = not isinstance(error, BrokenPipeError | ConnectionResetError)  # it did not read it all
            return None if isinstance(error, TimeoutError) else -signal.SIGKILL, b""
        finally:
            os.close(result)

    def end(self) -> None:
        """End it, and whatever it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.channel.close()


def of_death(name: str, code: int) -> InputError:
    """The error about a file whose process died.

    Args:
        name: What messages call the file.
        code: How the process ended: its exit code, or a signal's number below 0.

    Returns:
        The error, for the caller to raise.
    """
    if code == -signal.SIGXCPU:
        return TooLongError(f"{name}: took more processor time than is allowed")
    if code in (-signal.SIGKILL, -signal.SIGABRT):
        return OutOfMemoryError(f"{name}: the process that read it was ended, which lack of memory does")
    if code == UNCONFINED:
        return InputError(f"{name}: not read, for the process that was to read it could not be confined")
    return CrashedError(f"{name}: the process that read it died; the file is damaged, or made to do that")


def _result(name: str, content: bytes) -> Any:
    """What was read, or the error that it was; raises `InputError`."""
    try:
        is_read, value = values.read(content)
        if is_read is True:
            return value
        kind, message, feature = value
    except (TypeError, ValueError) as error:
        raise CrashedError(f"{name}: the process that read it gave back what is no photo") from error
    except MemoryError as error:
        raise OutOfMemoryError(f"{name}: there is not enough memory for what was read") from error
    if kind == "memory":
        raise OutOfMemoryError(f"{name}: there is not enough memory for it")
    known = getattr(errors, str(kind), None)
    if isinstance(known, type) and issubclass(known, errors.UnsupportedError):
        raise known(str(message), str(feature))
    if isinstance(known, type) and issubclass(known, InputError):
        raise known(str(message))
    raise UnforeseenError(f"{name}: failed for an unforeseen reason ({message})")
