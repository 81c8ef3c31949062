"""Files and folders that appear whole or not at all, and what killed processes left of them."""

import contextlib
import csv
import hashlib
import io
import os
import platform
import re
import secrets
import shutil
import struct
import sys
import tempfile
import threading
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lwisp.errors import InputError, NotFoundError, OutputError, unreadable, unwritable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

TEMPORARY = re.compile(r"\.lwisp-(?P<machine>[0-9a-f]{8})-(?P<process>[0-9]{1,10})-[0-9a-f]{16}\.tmp")
"""Names given by `temporary_beside`."""
MAX_AGE = 24 * 3600.0
"""Seconds; nothing takes so long to be written."""
DAMAGED = (OSError, SyntaxError, ValueError, TypeError, LookupError, OverflowError, struct.error)
"""Exceptions of Pillow and `struct` for damaged files."""


class _ThisThread:
    """Stands in a warnings filter where a pattern is expected, and fits whatever this thread warns of."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def match(self, text: str) -> bool:
        return threading.get_ident() == self.thread


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ignore warnings of this thread, such as those that libraries give; other threads get theirs, and wait for none.

    `warnings.catch_warnings` would replace the process's only list of filters, for all threads.
    """
    if getattr(sys.flags, "context_aware_warnings", False):  # Python without a global lock has a list for each thread
        with warnings.catch_warnings(action="ignore"):
            yield
        return
    pattern = _ThisThread()
    entry = ("ignore", pattern, Warning, None, 0)
    filters: list[object] = warnings.filters  # type: ignore[assignment]
    filters.insert(0, entry)
    try:
        yield
    finally:
        pattern.thread = 0  # of no thread: another's `catch_warnings` may bring back a list that has it still
        for found in {id(filters): filters, id(warnings.filters): warnings.filters}.values():
            with contextlib.suppress(ValueError):
                found.remove(entry)  # type: ignore[attr-defined]


def write_whole(path: Path, write: Callable[[BinaryIO], object], overwrite: bool = True) -> None:
    """Write a file atomically: to a temporary name beside it, which is then renamed.

    Args:
        path: The file.
        write: Fills the file, which is open for reading and writing.
        overwrite: Replace a file of this name.

    Raises:
        InputError: The file exists and may not be replaced.
        OutputError: It cannot be written; nothing is left behind.
    """
    check_output(path, overwrite)
    temporary = temporary_beside(path)
    try:
        descriptor = _create(temporary)
        try:
            with _Checked(io.FileIO(descriptor, "r+")) as file:
                write(file)
                file.flush()
                os.fsync(descriptor)
            _give_name(temporary, path, overwrite)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


class _Checked(io.BufferedRandom):
    """A file whose every byte passes through its `write`.

    Pillow writes to a descriptor itself where it gets one, and does not see that a disk that fills up took a part of
    what it wrote: the picture would be cut short, and nobody told.
    """

    def fileno(self) -> int:
        """Raise as files do that have no descriptor."""
        raise io.UnsupportedOperation("fileno")


def _create(path: Path) -> int:
    """Open a new file for reading and writing; one that exists, be it a link, is never opened."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666)


def _give_name(temporary: Path, path: Path, overwrite: bool) -> None:
    """Rename a finished file; without `overwrite` a file that came to be meanwhile is kept."""
    if overwrite:
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)
    except FileExistsError as error:
        raise InputError(_exists(path)) from error
    except OSError:  # a file system without hard links, as FAT
        check_output(path, overwrite)
        temporary.replace(path)


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Make a folder atomically: one of a temporary name beside it is filled, then renamed.

    Args:
        folder: The folder to make.

    Yields:
        The folder to fill. Where that fails nothing is left behind.

    Raises:
        InputError: The folder exists.
        OutputError: It cannot be made.
    """
    if os.path.lexists(folder):
        raise InputError(f"{folder} exists already; name a new folder")
    make_folder(folder.parent)
    temporary = temporary_beside(folder)
    make_folder(temporary)
    try:
        yield temporary
        temporary.rename(folder)
    except InputError as error:  # of a file in it, which users know by the folder's final name
        error.args = (str(error).replace(str(temporary), str(folder)),)
        raise
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def temporary_beside(path: Path) -> Path:
    """A hidden name beside `path` for an unfinished file; machine and process in it serve `clear_leftovers`."""
    return path.with_name(f".lwisp-{_machine()}-{os.getpid()}-{secrets.token_hex(8)}.tmp")


@contextlib.contextmanager
def temporary_folder(place: Path | None = None) -> Iterator[Path]:
    """A folder that is deleted afterwards with all that it holds.

    Such folders of processes that were killed are deleted first.

    Args:
        place: Where it is made; the system's place for temporary files if not given.

    Yields:
        The folder.

    Raises:
        OutputError: It cannot be made.
    """
    place = place or Path(tempfile.gettempdir())
    clear_leftovers(place)
    folder = temporary_beside(place / "folder")
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make this folder: {error.strerror or error}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def without_temporary_folders(text: str) -> str:
    """A text in which paths of what lies in temporary folders begin below these, whose names tell a reader nothing.

    Args:
        text: Such as what a program said.
    """
    above = rf"{re.escape(tempfile.gettempdir())}|(?<![^\s'\"<>(=:,])(?:[A-Za-z]:)?[^\s'\"<>(=:,]*"
    return re.sub(rf"(?:{above})[/\\]{TEMPORARY.pattern}[/\\]", "", text)


def clear_leftovers(folder: Path) -> int:
    """Delete unfinished files that killed processes left in a folder.

    Deleted are files and folders named by `temporary_beside`, whose process on this machine has ended, or that another
    machine made longer than `MAX_AGE` ago. Links are not followed, and what cannot be deleted stays.

    Args:
        folder: The folder; those below are not searched.

    Returns:
        How many were deleted.
    """
    try:
        found = [entry for entry in os.scandir(folder) if TEMPORARY.fullmatch(entry.name)]
    except OSError:
        return 0
    cleared = 0
    for entry in found:
        with contextlib.suppress(OSError):
            if not _is_left_over(entry):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()
            cleared += 1
    return cleared


def _is_left_over(entry: "os.DirEntry[str]") -> bool:
    name = TEMPORARY.fullmatch(entry.name)
    if name is not None and name["machine"] == _machine():
        return not _is_alive(int(name["process"]))
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > MAX_AGE


def _is_alive(process: int) -> bool:
    """Whether a process of this machine lives, so far as it can be told."""
    if process == os.getpid() or sys.platform == "win32":  # where a signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):  # a number that no process has was never one's
        return False
    except OSError:  # another user's
        return True
    return True


@cache
def _machine() -> str:
    """Eight digits that tell machines, and containers on one, apart: only in one is a process number one process."""
    facts = [platform.node()]
    with contextlib.suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    with contextlib.suppress(OSError):
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256(" ".join(facts).encode()).hexdigest()[:8]


def write_text(path: Path, text: str, overwrite: bool = True) -> None:
    """Write a text as UTF-8, atomically as by `write_whole`.

    Args:
        path: The file.
        text: Its content; ends of lines stay as they are.
        overwrite: Replace a file of this name.

    Raises:
        InputError: The file exists and may not be replaced.
        OutputError: It cannot be written.
    """
    write_whole(path, lambda file: file.write(text.encode()), overwrite)


def write_csv(path: Path, rows: "Sequence[DataclassInstance]", overwrite: bool = True) -> None:
    """Write a table of dataclasses as CSV, atomically.

    Args:
        path: The file.
        rows: One or more, all of one class, whose field names are the header; floats get six decimals.
        overwrite: Replace a file of this name.

    Raises:
        InputError: The file exists and may not be replaced.
        OutputError: It cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(asdict(rows[0]))
    for row in rows:
        table.writerow([f"{value:.6f}" if isinstance(value, float) else value for value in asdict(row).values()])
    write_text(path, text.getvalue(), overwrite)


def check_output(path: Path, overwrite: bool = True, is_own: Callable[[Path], bool] | None = None) -> None:
    """Check before any work that `write_whole` will not refuse a file.

    Args:
        path: The file.
        overwrite: Whether a file of this name may be replaced.
        is_own: Whether lwisp wrote a file; where given, no other file may be replaced, whatever `overwrite`.

    Raises:
        InputError: It would be refused.
    """
    try:
        if not path.name or path.is_dir():
            raise InputError(f"{str(path)!r}: expected the name of a file, this is a folder")
        if os.path.lexists(path):
            if is_own is not None and not is_own(path):
                raise InputError(not_own(path))
            if not overwrite:
                raise InputError(_exists(path))
        if not path.parent.is_dir():
            raise InputError(f"{path}: cannot be written: there is no folder {path.parent}")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error


def check_outputs(
    folder: Path, names: Sequence[str], overwrite: bool, is_own: Callable[[Path], bool] | None = None
) -> None:
    """Check before any work that `write_whole` will not refuse files that belong together.

    Args:
        folder: Their folder.
        names: Names of the files, one or more.
        overwrite: Whether files of these names may be replaced.
        is_own: Whether lwisp wrote a file; where given, it is asked about the first alone, and its answer holds for
            all: where it is False, no file may be replaced, whatever `overwrite`.

    Raises:
        InputError: One of them would be refused.
    """
    ours = is_own is None or is_own(folder / names[0])
    for name in names:
        check_output(folder / name, overwrite, None if is_own is None else lambda _: ours)


def _exists(path: Path) -> str:
    return f"{path} exists already; --overwrite replaces it, --output names another place"


def not_own(path: Path) -> str:
    """The message about a file that exists and that only a person may replace."""
    return (
        f"{path} exists already and was not written by lwisp, which replaces no such file; --output names another place"
    )


def fold(name: str) -> str:
    """A file name normalized as by file systems that ignore case and the encoding of accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).lower())


def fold_all(listing: Iterable[str]) -> dict[str, list[str]]:
    """File names grouped by `fold`: those of a group are one name on some file systems."""
    folded: dict[str, list[str]] = {}
    for name in listing:
        folded.setdefault(fold(name), []).append(name)
    return folded


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they do not exist.

    Raises:
        InputError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot make this folder: {error.strerror or error}") from error


def read_regular(path: Path) -> bytes:
    """The content of a file with an end, unlike a pipe or a device.

    Raises:
        InputError: It is none, or cannot be read.
    """
    if not is_regular(path):
        raise NotFoundError(f"{path}: cannot be read: there is no such file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def is_regular(path: Path) -> bool:
    """Whether a path is a regular file, and no pipe, device or folder.

    Raises:
        InputError: It cannot be looked at.
    """
    try:
        return path.is_file()
    except OSError as error:
        raise unreadable(path, error) from error
