"""Pixels of a floating-point DNG, as merged exposures have them, of which LibRaw gives 14 bits."""

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

BITS, COMPRESSION, STRIPS, SAMPLES, PLANAR, TILE_WIDTH, SAMPLE_FORMAT = 258, 259, 273, 277, 284, 322, 339  # TIFF's tags
FLOAT = 3
"""TIFF's number for floating point in `SAMPLE_FORMAT`."""


def has_floats(tags: Mapping[int, Any]) -> bool:
    """Whether a DNG's own picture is of floating-point numbers.

    Args:
        tags: From `dng_tags.main_directory`.
    """
    kind = tags.get(SAMPLE_FORMAT, 1)
    return bool((kind[0] if isinstance(kind, tuple) and kind else kind) == FLOAT)


def read_floats(file: BinaryIO, tags: Mapping[int, Any]) -> NDArray[np.float32] | None:
    """The whole stored picture.

    Args:
        file: The DNG, open in binary mode.
        tags: From `dng_tags.main_directory`.

    Returns:
        (H, W, samples); None where it is not stored plainly, in strips one after the other.

    Raises:
        OSError: It cannot be read.
    """
    bits = tags.get(BITS, 0)
    bits = bits[0] if isinstance(bits, tuple) and bits else bits
    width, height, samples = (tags.get(tag, 1) for tag in (256, 257, SAMPLES))
    places = tags.get(STRIPS)
    first = places[0] if isinstance(places, tuple) and places else places
    numbers = (bits, width, height, samples, first)
    if not (isinstance(first, int) and all(isinstance(number, int) and number > 0 for number in numbers)):
        return None
    if bits not in (16, 32):
        return None
    if (tags.get(COMPRESSION, 1), tags.get(PLANAR, 1)) != (1, 1) or TILE_WIDTH in tags:
        return None
    counts = tags.get(279)
    if isinstance(places, tuple) and isinstance(counts, tuple):
        ends = [place + count for place, count in zip(places, counts, strict=False)]
        if list(places[1:]) != ends[:-1]:
            return None
    file.seek(0)
    order = ">" if file.read(2) == b"MM" else "<"
    file.seek(first)
    size = height * width * samples * bits // 8
    left = file.seek(0, 2) - first
    if left < size:
        return None
    file.seek(first)
    values = np.frombuffer(file.read(size), f"{order}f{bits // 8}")
    return values.reshape(height, width, samples).astype(np.float32)
