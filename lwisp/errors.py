"""The exceptions for what the person at the keyboard can put right, and how any error is said in one sentence."""

import logging
import unicodedata
from pathlib import Path

log = logging.getLogger("lwisp")


class InputError(Exception):
    """A file, folder or setting that cannot be used; the message says what came, what was expected, what to do."""


class OutputError(InputError):
    """A file that cannot be written, be the disk full or the folder not ours: going on with others would not help."""


def one_line(error: Exception) -> str:
    """What a library says of an error, on one line and not endless, to be put into a message of ours."""
    return " ".join(str(error).split())[:300]


def tell_failure(path: Path, error: Exception) -> str:
    """One sentence that names a file and what went wrong with it.

    What nobody foresaw goes to the log "lwisp" as well, at the level DEBUG and with its traceback.
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
    """A text without what a terminal would obey: control and format characters are written as \\x1b, \\u202e.

    File names may hold any of them, and bytes that are no text (surrogates in Python's paths), written as \\xff.
    """
    return "".join(_escape(letter) for letter in text) if not text.isprintable() else text


def _escape(letter: str) -> str:
    if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return letter
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")
