"""Logs of JSON lines: one object a line, appended to and never replaced."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from lwisp.errors import InputError, unwritable

BEGINNING = b'{"time": "'
"""Of each line."""
MOST = 2**16
"""Bytes of the first line that are looked at."""


class JsonLines:
    """A file of JSON lines that grows; each line is on disk before the next is begun.

    Args:
        path: The file; one that exists must hold JSON lines already. A last line that was cut, as by a power cut, stays
            as it is and is ended.

    Raises:
        InputError: The file is something else.
        OutputError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if path.exists() and not _holds_json_lines(path):
                raise InputError(f"{path}: expected a log of JSON lines, or a new file; this one is something else")
            self.file: TextIO = path.open("a", encoding="utf-8")
            if _is_cut(path):
                self.file.write("\n")
        except OSError as error:
            raise unwritable(path, error) from error

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a line, which begins with the time.

        Raises:
            OutputError: It cannot be written.
        """
        try:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            self.file.write(json_line({"time": now, **record}) + "\n")
            self.file.flush()
        except OSError as error:
            raise unwritable(self.path, error) from error

    def close(self) -> None:
        """Close the file.

        Raises:
            OutputError: It cannot be written, be it what a write before could not.
        """
        try:
            self.file.close()
        except OSError as error:
            raise unwritable(self.path, error) from error


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
        is_only_line = not file.read(1)
    if is_only_line and not first.endswith(b"\n"):  # nothing, or a line of ours that was cut
        return first.startswith(BEGINNING) or BEGINNING.startswith(first)
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _is_cut(path: Path) -> bool:
    """Whether the last line of a file has no end."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read(1) not in (b"\n", b"")
