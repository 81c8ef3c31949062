"""Errors that a user can put right, and any error as one sentence."""

import logging
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

log = logging.getLogger("lwisp")


class InputError(Exception):
    """A file, folder or setting that cannot be used; the message says what came, what was expected, what to do."""


class OutputError(InputError):
    """A file that cannot be written, be the disk full or the folder not ours: going on with others would not help."""


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
        InputError: It is none of them.
    """
    if value not in choices:
        raise InputError(f"expected the {what} {alternatives(choices)}, got {value!r}")


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
    if isinstance(error, MemoryError) or "allocate memory" in str(error):
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
