"""Logs of JSON lines: one object a line, appended to and never replaced."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from lwisp.errors import InputError

MOST = 2**16
"""Bytes of the first line that are looked at."""


class JsonLines:
    """A file of JSON lines that grows; each line is on disk before the next is begun.

    Args:
        path: The file; one that exists must hold JSON lines already.

    Raises:
        InputError: The file is something else, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if path.exists() and not _holds_json_lines(path):
                raise InputError(f"{path}: expected a log of JSON lines, or a new file; this one is something else")
            self.file: TextIO = path.open("a", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a line.

        Raises:
            InputError: It cannot be written.
        """
        try:
            self.file.write(json_line(record) + "\n")
            self.file.flush()
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def json_line(record: Mapping[str, Any]) -> str:
    """A record as one line of JSON in ASCII, so that every terminal and every encoding can hold it.

    Args:
        record: Texts, numbers, lists and objects of such.

    Returns:
        The line, without its end.
    """
    return json.dumps(record)


def _holds_json_lines(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        first = file.readline(MOST)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        is_ended = file.read(1) in (b"\n", b"")
    try:
        return is_ended and (not first or isinstance(json.loads(first), dict))
    except (ValueError, RecursionError):
        return False
