"""Lens shading that a file says how to undo: gains over the frame, applied to the mosaic before anything else.

The two operations of the DNG specification, GainMap and FixVignetteRadial: values are multiplied in linear light with
black at 0 and white at 1, and clipped at white.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lwisp.imaging.bayer import CFA, plane_order

WHITE = 65535
"""White of a mosaic without shading, in DN."""
MOST_BLACK = 16384
"""Its highest black level: below it is room for as much of the noise below black as the gains make of it."""
BAND = 256
"""Rows that are worked on at once; even."""

Array = NDArray[np.float32]
Levels = tuple[float, float, float, float]


@dataclass(frozen=True)
class Frame:
    """The area that positions in a file are relative to, in photosites of the mosaic."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class GainMap:
    """Gains on a coarse grid, interpolated bilinearly, for some photosites of the frame."""

    frame: Frame
    area: tuple[int, int, int, int]
    """Top, left, bottom, right, relative to the frame; only what is inside changes."""
    pitch: tuple[int, int]
    """Only every so many-th row and column from the area's corner."""
    spacing: tuple[float, float]
    """Of the grid, vertical and horizontal, in frames."""
    origin: tuple[float, float]
    """Of the grid, in frames."""
    gains: NDArray[np.float32]
    """(rows, columns, planes)."""
    colors: tuple[int | None, int | None, int | None] = (0, 0, 0)
    """The plane of `gains` for R, G and B; None for a color that stays."""

    @property
    def largest(self) -> float:
        """The largest gain."""
        return float(self.gains.max())

    def selected(self, axis: int, places: NDArray[np.intp]) -> NDArray[np.intp]:
        """Which of the rows (axis 0) or columns (1) of the mosaic it applies to: indices into `places`."""
        start = (self.frame.top, self.frame.left)[axis] + self.area[axis]
        stop = (self.frame.top, self.frame.left)[axis] + self.area[axis + 2]
        inside = (places >= start) & (places < stop) & ((places - start) % self.pitch[axis] == 0)
        return np.flatnonzero(inside)

    def gain(self, rows: NDArray[np.intp], columns: NDArray[np.intp], color: int) -> NDArray[np.float32] | None:
        """Gains (rows, columns) float32 at photosites of one color; None where it stays."""
        plane = self.colors[color]
        if plane is None:
            return None
        grid = self.gains[..., plane]
        upper, lower, down = self._between(0, rows)
        before, after, right = self._between(1, columns)
        lines = grid[upper] + down[:, None] * (grid[lower] - grid[upper])
        found: NDArray[np.float32] = lines[:, before] + right * (lines[:, after] - lines[:, before])
        return found

    def _between(self, axis: int, places: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
        """Indices of the grid lines before and after places, and how far they are between them, 0 to 1."""
        start = (self.frame.top, self.frame.left)[axis]
        side = (self.frame.height, self.frame.width)[axis]
        at = ((places - start + 0.5) / side - self.origin[axis]) / self.spacing[axis]
        at = np.clip(at, 0, self.gains.shape[axis] - 1)
        before = at.astype(np.intp)
        after = np.minimum(before + 1, self.gains.shape[axis] - 1)
        return before, after, (at - before).astype(np.float32)


@dataclass(frozen=True, eq=False)
class RadialGain:
    """A gain that grows with the distance r from a center: 1 + k0 r^2 + k1 r^4 + ... + k4 r^10, for all photosites."""

    frame: Frame
    terms: tuple[float, float, float, float, float]
    center: tuple[float, float]
    """Vertical and horizontal, in frames; r is 1 in the corner that is farthest from it."""

    @property
    def largest(self) -> float:
        """A bound of the gain."""
        return 1 + sum(max(term, 0.0) for term in self.terms)

    def selected(self, axis: int, places: NDArray[np.intp]) -> NDArray[np.intp]:
        """Which of the rows (axis 0) or columns (1) of the mosaic it applies to: indices into `places`."""
        start = (self.frame.top, self.frame.left)[axis]
        side = (self.frame.height, self.frame.width)[axis]
        return np.flatnonzero((places >= start) & (places < start + side))

    def gain(self, rows: NDArray[np.intp], columns: NDArray[np.intp], color: int) -> NDArray[np.float32] | None:
        """Gains (rows, columns) float32 at photosites of any color."""
        height, width = self.frame.height, self.frame.width
        down = rows - self.frame.top + 0.5 - self.center[0] * height
        across = columns - self.frame.left + 0.5 - self.center[1] * width
        farthest = [max(place, 1 - place) * side for place, side in zip(self.center, (height, width), strict=True)]
        scale = farthest[0] ** 2 + farthest[1] ** 2
        squared = (down**2 / scale).astype(np.float32)[:, None] + (across**2 / scale).astype(np.float32)
        total = np.zeros_like(squared)
        for term in reversed(self.terms):
            total += np.float32(term)
            total *= squared
        total += 1
        return np.maximum(total, 0, out=total)


Shading = GainMap | RadialGain


def undo_shading(
    mosaic: NDArray[np.uint16], cfa: CFA, black: Levels, white: Levels, shading: Sequence[Shading]
) -> tuple[NDArray[np.uint16], float]:
    """A mosaic with even light over the frame.

    Args:
        mosaic: (H, W) in DN; it stays as it is.
        cfa: Its pattern.
        black: Black level in DN of R, Gr, Gb, B.
        white: White level in DN likewise.
        shading: What to apply, in this order.

    Returns:
        (H, W) of 16 bits with white at `WHITE`, and its black level, one for all planes.
    """
    shares = [low / (high - low) for low, high in zip(black, white, strict=True)]
    gain = max([1.0, *(one.largest for one in shading)])
    below = max(shares) * gain  # so far below black the gains may take what is there
    level = float(min(round(WHITE * below / (1 + below)), MOST_BLACK))
    even = np.empty_like(mosaic)
    height, width = mosaic.shape
    for top in range(0, height, BAND):
        for index, (row, column) in enumerate(plane_order(cfa)):
            rows = np.arange(top + row, min(top + BAND, height), 2)
            columns = np.arange(column, width, 2)
            part = np.s_[top + row : min(top + BAND, height) : 2, column::2]
            values = (mosaic[part] - np.float32(black[index])) * np.float32(1 / (white[index] - black[index]))
            for one in shading:
                _multiply(values, one, rows, columns, (0, 1, 1, 2)[index])
            values *= np.float32(WHITE - level)
            values += np.float32(level + 0.5)
            even[part] = np.clip(values, 0, WHITE, out=values)  # rounded when cast
    return even, level


def undo_shading_of_rgb(
    rgb: NDArray[np.uint16], black: Sequence[float], white: Sequence[float], shading: Sequence[Shading]
) -> NDArray[np.uint16]:
    """A picture without a mosaic, with even light over the frame.

    Args:
        rgb: (H, W, 3) in DN, linear; it stays as it is.
        black: Black level in DN of R, G, B.
        white: White level in DN likewise.
        shading: What to apply, in this order.

    Returns:
        (H, W, 3) with the same levels.
    """
    even = np.empty_like(rgb)
    height, width = rgb.shape[:2]
    columns = np.arange(width)
    for top in range(0, height, BAND):
        rows = np.arange(top, min(top + BAND, height))
        for color in range(3):
            scale = white[color] - black[color]
            values = (rgb[rows, :, color] - np.float32(black[color])) * np.float32(1 / scale)
            for one in shading:
                _multiply(values, one, rows, columns, color)
            values *= np.float32(scale)
            values += np.float32(black[color] + 0.5)
            even[rows, :, color] = np.clip(values, 0, WHITE, out=values)  # rounded when cast
    return even


def _multiply(values: Array, one: Shading, rows: NDArray[np.intp], columns: NDArray[np.intp], color: int) -> None:
    """Multiply values at these rows and columns, photosites of one color, in place."""
    down, across = one.selected(0, rows), one.selected(1, columns)
    if not (len(down) and len(across)):
        return
    gain = one.gain(rows[down], columns[across], color)
    if gain is None:
        return
    if gain.shape == values.shape:
        values *= gain
        np.minimum(values, 1, out=values)
    else:
        places = np.ix_(down, across)
        values[places] = np.minimum(values[places] * gain, 1)
