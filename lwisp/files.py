"""Files that appear whole or not at all."""

import contextlib
import csv
import io
import os
import struct
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lwisp.errors import InputError, OutputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_quieting = threading.RLock()
DAMAGED = (OSError, SyntaxError, ValueError, TypeError, LookupError, OverflowError, struct.error)
"""What Pillow and `struct` raise over damaged files."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep libraries' warnings from the user; one thread at a time, for Python has one list of what is ignored."""
    with _quieting, warnings.catch_warnings(action="ignore"):
        yield


def write_whole(path: Path, write: Callable[[BinaryIO], object], overwrite: bool = True) -> None:
    """Let `write` fill a file beside `path`, then give it that name: nobody ever sees half of it.

    The file is opened for reading and writing. Raises `InputError` where `path` exists and may not be replaced, and
    `OutputError` where it cannot be written; nothing is left behind then.
    """
    check_output(path, overwrite)
    temporary = path.with_name(f".lwisp-{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb+") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, overwrite: bool = True) -> None:
    """`write_whole` of a text in UTF-8."""
    write_whole(path, lambda file: file.write(text.encode()), overwrite)


def write_csv(path: Path, rows: "Sequence[DataclassInstance]", overwrite: bool = True) -> None:
    """`write_whole` of a table: a row each, with the fields' names above; numbers with six decimals."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(asdict(rows[0]))
    for row in rows:
        table.writerow([f"{value:.6f}" if isinstance(value, float) else value for value in asdict(row).values()])
    write_text(path, text.getvalue(), overwrite)


def check_output(path: Path, overwrite: bool = True) -> None:
    """Raise `InputError` where it is plain before any work that `write_whole` would refuse."""
    try:
        if not path.name or path.is_dir():
            raise InputError(f"{str(path)!r}: expected the name of a file, this is a folder")
        if not overwrite and os.path.lexists(path):
            raise InputError(f"{path} exists already; --overwrite replaces it, --output names another place")
        if not path.parent.is_dir():
            raise InputError(f"{path}: cannot be written: there is no folder {path.parent}")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; raises `InputError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot make this folder: {error.strerror or error}") from error


def is_regular(path: Path) -> bool:
    """Whether this is a file with an end, unlike a pipe or a device; raises `InputError` where it cannot be told."""
    try:
        return path.is_file()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
