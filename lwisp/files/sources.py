"""What a photo is read from: a path, its content, or a binary file."""

import io
import os
from pathlib import Path
from typing import BinaryIO

from lwisp.errors import ArgumentError, unreadable

Source = str | os.PathLike[str] | bytes | BinaryIO
"""A path, a file's content, or a binary file that is read from where it stands to its end."""


def name_source(source: Source, unnamed: str) -> str:
    """The name of a source in messages.

    Args:
        source: A path, or an open file or its content.
        unnamed: Name of a source that has no path, as "the RAW".

    Returns:
        The path as text, or `unnamed`.
    """
    return str(Path(source)) if isinstance(source, str | os.PathLike) else unnamed


def open_again(found: Path | bytes) -> BinaryIO:
    """What `path_or_content` gave, as a binary file of its own, from its beginning.

    Raises:
        OSError: It cannot be opened.
    """
    return io.BytesIO(found) if isinstance(found, bytes) else found.open("rb")


def path_or_content(source: Source, name: str) -> Path | bytes:
    """A source as something that can be opened more than once.

    Args:
        source: The source; a binary file is read to its end.
        name: What messages call it.

    Returns:
        The path, which need not exist, or the content.

    Raises:
        InputError: A file that cannot be read, or gives no bytes.
    """
    if isinstance(source, str | os.PathLike):
        return Path(source)
    try:
        content = source.read() if hasattr(source, "read") else source
    except OSError as error:
        raise unreadable(name, error) from error
    if not isinstance(content, bytes):
        raise ArgumentError(
            f"{name}: expected a path, bytes or a file open in binary mode, got {type(content).__name__}"
        )
    return content
