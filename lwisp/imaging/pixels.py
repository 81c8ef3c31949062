"""Pixels of finished pictures: orientation, middles, and conversion of floats to integers."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MIXED_ROWS = 64
"""Rows that are mixed at once, in floats."""


def orient(rgb: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn a stored picture upright.

    Args:
        rgb: (H, W, ...) as stored.
        orientation: EXIF's, 1 to 8.

    Returns:
        A contiguous array, (W, H, ...) for orientations 5 to 8.

    Raises:
        ValueError: for any other orientation.
    """
    if orientation not in range(1, 9):
        raise ValueError(f"expected an orientation of 1 to 8, got {orientation}")
    if orientation in (2, 3, 7, 8):
        rgb = rgb[:, ::-1]
    if orientation in (3, 4, 6, 7):
        rgb = rgb[::-1]
    return np.ascontiguousarray(rgb.swapaxes(0, 1) if orientation >= 5 else rgb)


def unorient(upright: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo `orient`: an upright picture as the sensor saw it.

    Args:
        upright: (H, W, ...).
        orientation: EXIF's, 1 to 8.

    Returns:
        A view of `upright`, which may be written into.
    """
    view = upright.swapaxes(0, 1) if orientation >= 5 else upright
    if orientation in (2, 3, 7, 8):
        view = view[:, ::-1]
    return view[::-1] if orientation in (3, 4, 6, 7) else view


def average_channels(rgb: NDArray[Any]) -> NDArray[Any]:
    """The grays (H, W) of a picture (H, W, 3) of uint8, uint16 or floats: the mean of its channels, in its type."""
    if np.issubdtype(rgb.dtype, np.floating):
        return rgb.mean(-1, dtype=rgb.dtype)  # type: ignore[no-any-return]
    total: NDArray[np.uint32] = rgb.sum(-1, dtype=np.uint32)
    return ((total + 1) // 3).astype(rgb.dtype)


def middle(size: int, side: int, step: int = 1) -> slice:
    """The middle `side` of `size` px along one axis.

    Args:
        size: length of the axis in px.
        side: length of the middle, at most `size`.
        step: the slice begins at a multiple of it; 2 keeps the phase of a Bayer pattern.
    """
    start = (size - side) // (2 * step) * step
    return slice(start, start + side)


def convert(picture: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A picture in another type.

    Args:
        picture: Floats in [0, 1], or uint8 or uint16 over their range.
        dtype: float32, uint8 or uint16.

    Returns:
        The picture in this type, over its range; the picture itself where it has it already.
    """
    if picture.dtype == dtype:
        return picture
    values = picture
    if not np.issubdtype(picture.dtype, np.floating):
        values = picture / np.float32(np.iinfo(picture.dtype).max)
    if dtype == np.float32:
        return values.astype(np.float32, copy=False)
    return to_integer(values, 8 if dtype == np.uint8 else 16)


def mix(first: NDArray[Any], second: NDArray[Any], share: float, out: NDArray[Any]) -> None:
    """Mix two pictures, by rows.

    Args:
        first: (H, W, C) or (H, W): floats in [0, 1], or uint8 or uint16 over their range.
        second: Likewise, of any of these types.
        share: Of the second, 0 to 1.
        out: Takes the mixture, of any of these types.
    """
    for top in range(0, len(first), MIXED_ROWS):
        rows = slice(top, top + MIXED_ROWS)
        begun, ended = (convert(picture[rows], np.dtype(np.float32)) for picture in (first, second))
        out[rows] = convert(np.float32(1 - share) * begun + np.float32(share) * ended, out.dtype)


def limit_size(picture: NDArray[Any], side: int | None) -> NDArray[Any]:
    """A picture whose long side is at most so many pixels.

    Args:
        picture: (H, W, 3) or (H, W): floats in [0, 1], or uint8 or uint16 over their range.
        side: Pixels, 1 or more; None for any.

    Returns:
        The picture itself where it is small enough; else a smaller one of the same type and proportions.
    """
    height, width = picture.shape[:2]
    if side is None or max(height, width) <= side:
        return picture
    scale = side / max(height, width)
    return resize(picture, (max(1, round(height * scale)), max(1, round(width * scale))))


def resize(picture: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """A picture in another size, by Lanczos' filter in float32.

    Args:
        picture: (H, W, 3) or (H, W): floats in [0, 1], or uint8 or uint16 over their range.
        size: (height, width).

    Returns:
        A picture of this size and the same type.
    """
    is_float = np.issubdtype(picture.dtype, np.floating)
    top = np.float32(1 if is_float else np.iinfo(picture.dtype).max)
    resized = np.empty((*size, *picture.shape[2:]), picture.dtype)
    for channel in np.ndindex(picture.shape[2:]):
        plane = picture[..., *channel].astype(np.float32) / top
        values = np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.LANCZOS))
        values = values.clip(0, 1)  # the filter overshoots at edges
        resized[..., *channel] = values if is_float else to_integer(values, 8 if top == 255 else 16)
    return resized


def to_integer(rgb: NDArray[Any], bits: Literal[8, 16]) -> NDArray[Any]:
    """Round and clip floats in [0, 1] to integers.

    Args:
        rgb: a picture of floats; one that holds integers of `bits` already is returned as it is.
        bits: 8 for uint8, 0 to 255; 16 for uint16, 0 to 65535.

    Raises:
        ValueError: for any other type.
    """
    top = 2**bits - 1
    if rgb.dtype == f"uint{bits}":
        return rgb
    if not np.issubdtype(rgb.dtype, np.floating):
        raise ValueError(f"expected a picture of floats or uint{bits}, got {rgb.dtype}")
    scaled = rgb * np.float32(top)
    np.add(scaled, np.float32(0.5), out=scaled)
    return np.clip(scaled, 0, top, out=scaled).astype(np.uint8 if bits == 8 else np.uint16)
