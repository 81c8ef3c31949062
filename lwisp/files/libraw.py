"""RAW files opened in LibRaw, from disk or from memory, any number at once.

Nothing here belongs to the whole process: no lock, no redirected stderr. Where LibRaw meets damaged data its C code
prints a line there by itself, and then gives up, which is an `InputError` here.
"""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

import rawpy

from lwisp.errors import DamagedError, InputError, UnsupportedError, unreadable
from lwisp.files import damage
from lwisp.files.decoding import DEFLATE_EXPANSION, SMALL
from lwisp.files.exif import read_directories, read_types
from lwisp.files.finished_tiff import is_finished_tiff
from lwisp.files.refusals import explain, refuse_finished_tiff
from lwisp.files.sources import Source, name_source, open_again, path_or_content
from lwisp.files.writing import is_regular

TIFF_SUFFIXES = frozenset([".tif", ".tiff"])
"""Of files that may be either; by other names LibRaw is believed: some old cameras' RAWs have a gray TIFF's tags."""

MOST_PHOTOSITES = DEFLATE_EXPANSION
"""A byte of a RAW stands for that many at most, by what deflate can do; other compressions do less."""


@dataclass(frozen=True, eq=False)
class Opened:
    """A RAW open in LibRaw."""

    name: str
    """What messages call it: its path, or "the RAW"."""
    libraw: rawpy.RawPy
    content: Path | bytes

    @cached_property
    def directories(self) -> list[dict[int, Any]]:
        """Tags of the first directory of a TIFF-like RAW and of its SubIFDs, read once; empty of any other."""
        with self.open() as file:
            return read_directories(file)

    def open(self) -> BinaryIO:
        """The same content as a file of its own."""
        return open_again(self.content)


@contextlib.contextmanager
def opened(source: Source) -> Iterator[Opened]:
    """A RAW open in LibRaw, during a `with` block.

    Args:
        source: A path, a file's content, or a binary file.

    Yields:
        The file, its name and content.

    Raises:
        InputError: The file cannot be read or is not a RAW, here or in the `with` block; the message says which.
    """
    name = name_source(source, "the RAW")
    is_raw = False
    try:
        content = _content(source, name)
        with rawpy.RawPy() as raw:
            if isinstance(content, bytes):
                raw.open_buffer(cast(BinaryIO, _Held(content)))
            else:
                raw.open_file(str(content))
            is_raw = True
            found = Opened(name, raw, content)
            _check_size(found)
            if isinstance(content, Path) and content.suffix.lower() in TIFF_SUFFIXES:
                _check_tiff(found)
            _check_lengths(found)
            yield found
    except OSError as error:
        raise unreadable(name, error) from error
    except NotImplementedError as error:
        raise UnsupportedError(
            f"{name}: a color pattern that is neither Bayer nor X-Trans ({error})", "color pattern"
        ) from error
    except (rawpy.LibRawError, rawpy.NotSupportedError) as error:
        with open_again(content) as file:
            raise explain(name, file, error, is_raw) from error


def _check_tiff(file: Opened) -> None:
    """Raise `InputError` where LibRaw takes a finished TIFF for a mosaic: a gray one that names a camera is enough."""
    with file.open() as content:
        if is_finished_tiff(content, file.directories):
            raise refuse_finished_tiff(file.name)


def _check_size(file: Opened) -> None:
    """Raise `InputError` where a small file claims a large mosaic: LibRaw would fill the memory with zeros."""
    height, width = file.libraw.sizes.raw_height, file.libraw.sizes.raw_width
    with file.open() as content:
        length = content.seek(0, io.SEEK_END)
    if height * width > max(SMALL, MOST_PHOTOSITES * length):
        raise DamagedError(
            f"{file.name}: {height}x{width} photosites in {length:,} bytes, fewer than such a RAW can have; the file "
            "is damaged, or made to fill the memory"
        )


def _check_lengths(file: Opened) -> None:
    """Raise `InputError` where a small file would make LibRaw fill 2 GB."""
    with file.open() as content:
        if damage.exceeds_file(content, file.directories, read_types(content)):
            raise DamagedError(
                f"{file.name}: deflated tiles whose lengths are damaged, or of a kind that LibRaw does not read; save "
                "it uncompressed or as lossless JPEG"
            )


class _Held:
    """Content that rawpy reads but does not own: it lets go of it after unpacking, where LibRaw may still read."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self) -> bytes:
        return self._content


def _content(source: Source, name: str) -> Path | bytes:
    """A path that rawpy can open, or else the content; raises `InputError` and `OSError`."""
    found = path_or_content(source, name)
    if isinstance(found, bytes):
        if not found:
            raise DamagedError(f"{name}: the file is empty")
        return found
    if found.is_dir():
        raise InputError(f"{name}: expected a RAW file, got a folder")
    size = found.stat().st_size
    if not is_regular(found):
        raise InputError(f"{name}: expected a RAW file, got a pipe or a device")
    if size == 0:
        raise DamagedError(f"{name}: the file is empty")
    with found.open("rb") as file:  # says better than LibRaw why a file may not be read
        return found if _is_text(found) else file.read()


def _is_text(path: Path) -> bool:
    """Whether a file's name is text, which rawpy demands; systems do not."""
    try:
        return bool(str(path).encode())
    except UnicodeEncodeError:
        return False
