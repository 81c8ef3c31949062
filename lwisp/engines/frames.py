"""Frames: planes read by windows, reflected at their borders or mirrored, and the pixels made of them."""

import math
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwisp.engines.tiles import Span
from lwisp.model import reflected_indices

BLOCK = 8
"""Rows of the planes whose pixels are turned into integers at once: few enough to stay in the cache."""


class Frame(Protocol):
    """Planes that are computed where they are read."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, h, w)."""

    def read(self, rows: slice, columns: slice) -> Tensor:
        """The planes of a window.

        Args:
            rows: First row and the one after the last, within the frame.
            columns: The same of columns.

        Returns:
            (C, rows, columns) float32.
        """


class WholeFrame:
    """Planes (C, h, w) that are in memory already."""

    def __init__(self, planes: Tensor) -> None:
        self.planes = planes.float()

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.planes.shape
        return channels, height, width

    def read(self, rows: slice, columns: slice) -> Tensor:
        """The planes of a window, not copied.

        Args:
            rows: First row and the one after the last, within the frame.
            columns: The same of columns.

        Returns:
            (C, rows, columns) float32, a view of `planes`.
        """
        return self.planes[:, rows, columns]


class FlippedFrame:
    """The mirror image of a frame along some axes (rows 0, columns 1)."""

    def __init__(self, frame: Frame, axes: tuple[int, ...]) -> None:
        self.frame, self.axes, self.shape = frame, axes, frame.shape

    def read(self, rows: slice, columns: slice) -> Tensor:
        """The planes of a window of the mirror image.

        Args:
            rows: First row and the one after the last, within the mirror image.
            columns: The same of columns.

        Returns:
            (C, rows, columns) float32.
        """
        places = [
            slice(side - place.stop, side - place.start) if axis in self.axes else place
            for axis, (place, side) in enumerate(zip((rows, columns), self.shape[-2:], strict=True))
        ]
        return self.frame.read(*places).flip([axis - 2 for axis in self.axes])


def read_reflected(frame: Frame, rows: slice, columns: slice) -> Tensor:
    """A window of a frame that is reflected beyond its borders, as by `model.pad_to_multiple`.

    Args:
        frame: Planes of (C, h, w).
        rows: Of the window, from 0; they may end beyond h.
        columns: Likewise.

    Returns:
        (C, rows, columns) float32.
    """
    height, width = frame.shape[-2:]
    row_index = reflected_indices(rows.start, rows.stop, height)
    column_index = reflected_indices(columns.start, columns.stop, width)
    top = int(row_index.min())
    left = int(column_index.min())
    planes = frame.read(slice(top, int(row_index.max()) + 1), slice(left, int(column_index.max()) + 1))
    planes = _select(planes, -2, row_index - top)
    return _select(planes, -1, column_index - left)


def _select(planes: Tensor, dim: int, index: Tensor) -> Tensor:
    """`index_select`, but nothing is copied where the index takes everything in its order."""
    length = planes.shape[dim]
    if len(index) == length and int(index[-1]) == length - 1:
        return planes
    return planes.index_select(dim, index)


def write_window(
    output: Tensor,
    base: Tensor | None,
    picture: NDArray[Any],
    offset: tuple[int, int],
    origin: tuple[int, int],
    rows: Span,
    columns: Span,
    scale: int,
    packed: bool,
    add: bool,
) -> None:
    """Write the core of a window's output into a picture.

    Args:
        output: Of the network for the window: (1, C, h * scale, w * scale), or (1, h, w, 12) if `packed`.
        base: Planes (1, C, h, w) of the window that the output is to be added to, the sum clipped to [0, 1]; or None.
        picture: (H, W, C), float32 in [0, 1], or uint8 or uint16 over their range; written in place.
        offset: (row, column) of the picture's first pixel in the frame's picture.
        origin: (row, column) of the window's first cell in the frame.
        rows: The window's rows and its core, in cells of the frame.
        columns: Likewise.
        scale: Pixels per cell, along each side.
        packed: Whether the output is that of `tiles.PackedTail`.
        add: Add to the picture instead of replacing its pixels.

    Raises:
        FloatingPointError: The output has values that are not finite.
    """
    top, left = offset
    begin = max(columns.first * scale, left)
    end = min(columns.last * scale, left + picture.shape[1])
    for first in range(rows.first, rows.last, BLOCK):
        last = min(first + BLOCK, rows.last)
        start = max(first * scale, top)
        stop = min(last * scale, top + picture.shape[0])
        if start >= stop or begin >= end:
            continue
        block = _pixels(output, base, first - origin[0], last - origin[0], scale, packed, picture.dtype)
        block = block[start - first * scale : stop - first * scale, begin - origin[1] * scale : end - origin[1] * scale]
        target = picture[start - top : stop - top, begin - left : end - left]
        target[...] = target + block if add else block


def _pixels(
    output: Tensor,
    base: Tensor | None,
    first: int,
    last: int,
    scale: int,
    packed: bool,
    dtype: np.dtype[np.generic],
) -> NDArray[Any]:
    """Pixels (rows * scale, columns * scale, C) of some rows of cells, in a picture's type."""
    values = (output[0, first:last] if packed else output[0, :, first * scale : last * scale]).float()
    if base is not None:
        values = values + base[0, :, first:last]
    if not math.isfinite(float(values.sum())):  # as every sum with NaN or infinity is
        raise FloatingPointError
    if base is not None:
        values.clamp_(0, 1)
    values = to_integers(values, dtype)
    if packed:
        rows, columns, _ = values.shape
        values = values.view(rows, columns, 2, 2, 3).transpose(1, 2).reshape(2 * rows, 2 * columns, 3)
    else:
        values = values.permute(1, 2, 0)
    return values.numpy()


def to_integers(values: Tensor, dtype: np.dtype[np.generic]) -> Tensor:
    """Values in [0, 1] as a picture's type holds them.

    Args:
        values: float32 of any shape; used up.
        dtype: Of the picture: float32, uint8 or uint16.

    Returns:
        float32 as it is, or rounded integers over their type's range.
    """
    if dtype == np.float32:
        return values
    kind = torch.uint8 if dtype == np.uint8 else torch.uint16
    limit = torch.iinfo(kind).max
    return (values * limit).add_(0.5).clamp_(0, limit).to(kind)
