"""Errors that a user can put right, and any error as one sentence."""

import errno
import logging
import math
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

log = logging.getLogger("lwisp")


class InputError(Exception):
    """A file, folder or setting that cannot be used; the message says what came, what was expected, what to do."""

    kind = "other"
    """One word for programs, which stays the same."""


class NotFoundError(InputError):
    """A file, or weights, that do not exist."""

    kind = "not-found"


class DamagedError(InputError):
    """A file that is damaged, cut short, or without a picture."""

    kind = "damaged"


class UnsupportedError(InputError):
    """A sound file of a kind that is not read.

    Args:
        message: What the user is told.
        feature: What it is of the file, as "X-Trans" or "lossy JPEG"; "" where that has no name.
    """

    kind = "unsupported"

    def __init__(self, message: str, feature: str = "") -> None:
        super().__init__(message)
        self.feature = feature


class ArgumentError(InputError, ValueError):
    """A value of an argument or option that cannot be used; Python's `ValueError` too."""

    kind = "argument"


class OutOfMemoryError(InputError):
    """A picture that needs more memory than there is, or than may be used."""

    kind = "memory"


class OutputError(InputError):
    """A file that cannot be written, be the disk full or the folder not ours: going on with others would not help."""

    kind = "output"


class DiskFullError(OutputError):
    """A file that no longer fits the disk."""

    kind = "disk"


def unreadable(name: str | Path, error: OSError) -> InputError:
    """The error about a file that the system does not let be read.

    Args:
        name: What messages call the file.
        error: The system's.

    Returns:
        `NotFoundError` where there is none; for the caller to raise.
    """
    kind = NotFoundError if isinstance(error, FileNotFoundError | NotADirectoryError) else InputError
    return kind(f"{name}: cannot be read: {error.strerror or error}")


def unwritable(name: str | Path, error: OSError) -> OutputError:
    """The error about a file that the system does not let be written.

    Args:
        name: What messages call the file.
        error: The system's.

    Returns:
        `DiskFullError` where the disk or the user's share of it is full; for the caller to raise.
    """
    kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else OutputError
    return kind(f"{name}: cannot be written: {error.strerror or error}")


def kind_of(error: Exception) -> str:
    """One word for programs about any error, as `InputError.kind`.

    Args:
        error: What was raised.

    Returns:
        "unforeseen" for what is no `InputError` and none of the system's.
    """
    if isinstance(error, InputError):
        return error.kind
    if _is_out_of_memory(error):
        return OutOfMemoryError.kind
    if isinstance(error, OSError):
        return unwritable("", error).kind if error.errno in (errno.ENOSPC, errno.EDQUOT) else unreadable("", error).kind
    return "unforeseen"


def _is_out_of_memory(error: Exception) -> bool:
    told = str(error)  # the latter by the system's loader, of a library
    return isinstance(error, MemoryError) or "allocate memory" in told or "failed to map segment" in told


def alternatives(words: Iterable[str]) -> str:
    """Words as a sentence has them: "a", "a or b", "a, b or c"."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def check_choice(what: str, value: object, choices: Sequence[str]) -> None:
    """Check that an argument is one of those that exist.

    Args:
        what: What the argument is, as "precision".
        value: What was given.
        choices: What may be given.

    Raises:
        ArgumentError: It is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        raise ArgumentError(f"expected the {what} {alternatives(choices)}, got {shown(value)}")


def check_switches(**switches: object) -> None:
    """Check that arguments are True or False.

    Args:
        switches: What was given, by the names of the arguments.

    Raises:
        ArgumentError: One is neither: a text such as "no" would count as True.
    """
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise ArgumentError(f"expected True or False for {name}, got {shown(value)}")


def check_type(what: str, value: object, expected: type | tuple[type, ...]) -> None:
    """Check that an argument is of a type.

    Args:
        what: What is expected, and where it comes from, as "weights, from lwisp.load".
        value: What was given.
        expected: Types that it may have.

    Raises:
        ArgumentError: It has another one.
    """
    if not isinstance(value, expected):
        raise ArgumentError(f"expected {what}; got {shown(value)}")


def is_number(value: object, low: float, high: float) -> bool:
    """Whether a value is a number within bounds; NaN, texts, truth values and arrays are none.

    Args:
        value: What was given.
        low: The least that is allowed.
        high: The most.
    """
    if isinstance(value, str | bytes | bool) or getattr(value, "shape", ()) != ():
        return False
    try:
        return low <= float(value) <= high  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False


def is_whole(value: object, low: int, high: float = math.inf) -> bool:
    """Whether a value is a whole number within bounds, of Python's or numpy's integer types.

    Args:
        value: What was given.
        low: The least that is allowed.
        high: The most.
    """
    return is_number(value, low, high) and hasattr(value, "__index__")


def shown(value: object) -> str:
    """A value for messages: as Python writes it where that is short, else its type."""
    text = repr(value) if isinstance(value, str | bytes | int | float | list | tuple | dict | None) else ""
    return text if 0 < len(text) <= 60 else f"an object of type {type(value).__name__}"


def one_line(error: Exception) -> str:
    """An exception's own message on one line, of 300 characters at most, to be part of a message of ours."""
    return " ".join(str(error).split())[:300]


def tell_failure(path: Path, error: Exception) -> str:
    """One sentence that names a file and what went wrong with it.

    An unforeseen error goes to the log "lwisp" as well, at the level DEBUG with its traceback.

    Args:
        path: The file that was worked on.
        error: What was raised.

    Returns:
        The message of an `InputError` as it is; of others, the file's path and the reason.
    """
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{path}: {error.strerror}"
    log.debug("%s", path, exc_info=error)
    if _is_out_of_memory(error):
        return f"{path}: there is not enough memory for it"
    return f"{path}: failed for an unforeseen reason ({type(error).__name__}: {one_line(error) or 'no more is known'})"


def printable(text: str) -> str:
    """A text with control and format characters escaped, as \\x1b or \\u202e, so that no terminal obeys them.

    File names may hold any of them, and bytes that are no text (surrogates in Python's paths), escaped as \\xff.
    """
    return "".join(_escape(letter) for letter in text) if not text.isprintable() else text


def unmarked(text: str) -> str:
    """A `printable` text for rich's progress bars, which would take what stands in brackets for markup."""
    from rich.markup import escape

    return escape(printable(text))


def _escape(letter: str) -> str:
    if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return letter
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")
