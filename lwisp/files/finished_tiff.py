"""Whether a TIFF is a finished picture or holds a RAW: cameras and editors write the same make and model into both."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from lwisp.files.exif import SUB_IFDS

Tags = Mapping[int, Any]

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES = 254, 256, 257, 258, 259, 262, 277
BYTE_COUNTS = (279, 325)
"""Bytes of each strip, of each tile."""
FINISHED_PHOTOMETRICS = frozenset([0, 1, 2, 5, 6, 8])
"""White is zero, black is zero, RGB, CMYK, YCbCr, Lab."""
RAW_TAGS = frozenset([33421, 33422, 50706, 50740])
"""Pattern of a mosaic, DNG's version and private data."""
RAW_HEADS = (b"CR", b"IIII")
"""What Canon's and Phase One's TIFFs have after the place of the first directory."""
LEAST = 0.25
"""Share of the file that the main picture takes at least; a RAW's preview takes less, one of three pages more."""


def is_finished_tiff(file: BinaryIO, directories: Sequence[Tags]) -> bool:
    """Whether a TIFF holds a finished picture and no RAW, by its content.

    Args:
        file: The file, open in binary mode.
        directories: Tags of its first directory and of its SubIFDs, from `exif.read_directories`.

    Returns:
        True where its first picture is of full size, of one to four channels of 8 or 16 bits in a color space of
        finished pictures, takes a good part of the file, and no tag tells of a mosaic.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    main, *others = directories or [{}]
    parts = others if SUB_IFDS in main else []
    if file.read(32)[8:].startswith(RAW_HEADS):
        return False
    if any(not RAW_TAGS.isdisjoint(tags) for tags in directories) or _integer(main.get(SUBFILE)) & 1:
        return False
    if any(part.get(PHOTOMETRIC) not in FINISHED_PHOTOMETRICS for part in (main, *parts)):
        return False
    if any(_pixels(part) > _pixels(main) for part in parts):
        return False
    return set(_bits(main)) in ({8}, {16}) and _stored(main) >= LEAST * size


def _bits(tags: Tags) -> tuple[Any, ...]:
    bits = tags.get(BITS, 1)
    return bits if isinstance(bits, tuple) else (bits,)


def _pixels(tags: Tags) -> int:
    return _integer(tags.get(WIDTH)) * _integer(tags.get(HEIGHT))


def _stored(tags: Tags) -> int:
    """Bytes that a picture takes in its file; of uncompressed ones as many as its size tells."""
    if tags.get(COMPRESSION, 1) == 1:
        return _pixels(tags) * _integer(tags.get(SAMPLES, 1)) * max(map(_integer, _bits(tags))) // 8
    counts = next((tags[tag] for tag in BYTE_COUNTS if tag in tags), 0)
    return sum(map(_integer, counts)) if isinstance(counts, tuple) else _integer(counts)


def _integer(value: Any) -> int:
    return value if isinstance(value, int) else 0
