"""Whether a file is a RAW, by its content: most RAWs are TIFFs that begin with a small finished picture."""

import contextlib
from pathlib import Path
from typing import Any, BinaryIO

from lwisp.errors import InputError, UnsupportedError
from lwisp.files import libraw
from lwisp.files.decoding import DNG_VERSION, HEADS, name_format
from lwisp.files.exif import read_directories
from lwisp.files.finished_tiff import RAW_HEADS
from lwisp.files.sources import open_again
from lwisp.files.writing import is_regular

WIDTH, HEIGHT, SUBFILE, PHOTOMETRIC = 256, 257, 254, 262
RAW_PHOTOMETRICS = (32803, 34892)
"""TIFF's PhotometricInterpretation of a mosaic, and of one made linear RGB."""
PREVIEW = 0.9
"""Of the sides that LibRaw finds: a TIFF whose first picture is smaller holds a RAW beside its preview."""


def check_not_raw(content: Path | bytes, name: str) -> None:
    """Check that a file that shall be a finished picture is no RAW, whatever its suffix.

    Args:
        content: The file, or its content.
        name: What messages call it.

    Raises:
        InputError: It is one; the message says what makes a picture of it.
    """
    if _is_raw(content):
        raise UnsupportedError(refuse_raw(name))


def refuse_raw(name: str) -> str:
    """What is said where a RAW comes instead of a finished picture."""
    return (
        f"{name}: a RAW file, expected a finished picture; `lwisp develop` makes one of it, "
        "`lwisp denoise-raw` takes its noise out"
    )


def _is_raw(content: Path | bytes) -> bool:
    """False of what cannot be read, too: other messages tell of it."""
    if isinstance(content, Path) and not is_regular(content):
        return False
    with contextlib.suppress(OSError), open_again(content) as file:
        head = file.read(32)
        if head.startswith(HEADS["TIFF"]):
            return _is_raw_tiff(content, file, head)
        return bool(head) and not name_format(head) and _raw_size(content) is not None
    return False


def _is_raw_tiff(content: Path | bytes, file: BinaryIO, head: bytes) -> bool:
    if head[8:].startswith(RAW_HEADS):
        return True
    main, *parts = read_directories(file)
    photometrics = {part.get(PHOTOMETRIC) for part in (main, *parts) if isinstance(part.get(PHOTOMETRIC), int)}
    is_reduced = bool(_integer(main.get(SUBFILE)) & 1)
    if DNG_VERSION in main or is_reduced or not photometrics.isdisjoint(RAW_PHOTOMETRICS):
        return True
    size = _raw_size(content)
    if size is None:
        return False
    return _integer(main.get(WIDTH)) < PREVIEW * size[0] or _integer(main.get(HEIGHT)) < PREVIEW * size[1]


def _raw_size(content: Path | bytes) -> tuple[int, int] | None:
    """Width and height of the RAW that LibRaw finds; None where it finds none."""
    try:
        with libraw.opened(content) as file:
            return file.libraw.sizes.width, file.libraw.sizes.height
    except InputError:
        return None


def _integer(value: Any) -> int:
    return value if isinstance(value, int) else 0
