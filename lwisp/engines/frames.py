"""Frames: planes read by windows, reflected at their borders or mirrored."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Frame(Protocol):
    """Planes that are computed where they are read."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, h, w)."""

    def read(self, rows: slice, columns: slice, out: NDArray[np.float32]) -> None:
        """Write the planes of a window into an array.

        Args:
            rows: First row and the one after the last, within the frame.
            columns: The same of columns.
            out: (C, rows, columns) float32; it may be a view.
        """


class WholeFrame:
    """Planes (C, h, w) that are in memory already."""

    def __init__(self, planes: NDArray[np.float32]) -> None:
        self.planes = planes

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.planes.shape
        return channels, height, width

    def read(self, rows: slice, columns: slice, out: NDArray[np.float32]) -> None:
        """Write the planes of a window into an array.

        Args:
            rows: First row and the one after the last, within the frame.
            columns: The same of columns.
            out: (C, rows, columns) float32.
        """
        out[...] = self.planes[:, rows, columns]


class FlippedFrame:
    """The mirror image of a frame along some axes (rows 0, columns 1)."""

    def __init__(self, frame: Frame, axes: tuple[int, ...]) -> None:
        self.frame, self.axes, self.shape = frame, axes, frame.shape

    def read(self, rows: slice, columns: slice, out: NDArray[np.float32]) -> None:
        """Write the planes of a window of the mirror image into an array.

        Args:
            rows: First row and the one after the last, within the mirror image.
            columns: The same of columns.
            out: (C, rows, columns) float32.
        """
        places = [
            slice(side - place.stop, side - place.start) if axis in self.axes else place
            for axis, (place, side) in enumerate(zip((rows, columns), self.shape[-2:], strict=True))
        ]
        self.frame.read(places[0], places[1], np.flip(out, tuple(axis + 1 for axis in self.axes)))


def read_reflected(frame: Frame, rows: slice, columns: slice) -> NDArray[np.float32]:
    """A window of a frame that is reflected beyond its borders, as by `model.pad_to_multiple`.

    Args:
        frame: Planes of (C, h, w).
        rows: Of the window, from 0; they may end beyond h.
        columns: Likewise.

    Returns:
        (1, C, rows, columns) float32.
    """
    channels, height, width = frame.shape
    row_index = reflected_indices(rows.start, rows.stop, height)
    column_index = reflected_indices(columns.start, columns.stop, width)
    top, bottom = int(row_index.min()), int(row_index.max()) + 1
    left, right = int(column_index.min()), int(column_index.max()) + 1
    planes = np.empty((1, channels, len(row_index), len(column_index)), np.float32)
    if (top, left) == (rows.start, columns.start):  # what lies beyond the border is all that is missing
        bottom, right = min(bottom, rows.stop), min(right, columns.stop)
        frame.read(slice(top, bottom), slice(left, right), planes[0, :, : bottom - top, : right - left])
        planes[..., : bottom - top, right - left :] = planes[..., : bottom - top, column_index[right - left :] - left]
        planes[..., bottom - top :, :] = planes[..., row_index[bottom - top :] - top, :]
        return planes
    part = np.empty((channels, bottom - top, right - left), np.float32)
    frame.read(slice(top, bottom), slice(left, right), part)
    planes[0] = part[:, row_index - top][:, :, column_index - left]
    return planes


def reflected_indices(start: int, stop: int, size: int) -> NDArray[np.intp]:
    """Where a reflected side takes its values from, the border itself left out.

    Args:
        start: First position; it may lie before the side, by any number of sides.
        stop: The position after the last; it may lie beyond the side, likewise.
        size: Length of the side, from 1 up.

    Returns:
        Indices (stop - start,) in 0 to size - 1: a triangle wave, which serves sides shorter than the padding too.
    """
    period = max(2 * (size - 1), 1)
    index = np.arange(start, stop) % period
    return np.minimum(index, period - index)
