"""Placement of one picture in another: orientation, box, and a smooth field of shifts for what is left."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

Plane = NDArray[np.float32]
"""(H, W), one channel coded for the eye (about the square root of light), 0 to 1."""
Box = tuple[float, float, float, float]
"""Top, left, height, width in pixels of the reference, whose first pixel reaches from 0 to 1."""
LEVELS = (256, 768, 768, 4096)  # px of the picture's long side; what a lens bends is followed to the corners in turns
NOISE = 0.012  # contrast that counts as none, coded values


@dataclass(frozen=True)
class Placement:
    """Where a picture lies in the reference.

    Turned by `orientation` (EXIF's, `image.orient`) it shows `box`. `field` (2, terms) are the coefficients of what is
    left: rows and columns, in shares of the picture's sides, as a polynomial over it.
    """

    orientation: int
    box: Box
    field: NDArray[np.float64]

    def shifts(self, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., 2): how far below and right of its place in the box the content lies, in shares of the sides.

        `rows` and `columns` (...) are places in the turned picture, 0 to 1.
        """
        values: NDArray[np.float64] = polynomial_terms(rows, columns, self.field.shape[1]) @ self.field.T
        return values

    @property
    def skew(self) -> float:
        """Share of the sides by which the content is turned, sheared or seen from elsewhere: no lens does that."""
        lines = (self.field[0, 2], self.field[1, 1])
        return float(np.abs([*lines, *self.field[:, 3:6].ravel()]).max())

    @property
    def bend(self) -> float:
        """Share of the sides by which the content is bent as lenses do, toward the middle or away from it."""
        return float(np.abs(self.field[:, 6:]).max(initial=0.0))


def polynomial_terms(rows: NDArray[np.float64], columns: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Terms (..., count) of a polynomial over places 0 to 1, of degree 1 (3 terms) or 3 (10).

    Legendre's, so that what a scaling and a shift can say of the whole field is in the first three.
    """
    y, x = 2 * rows - 1, 2 * columns - 1
    y2, x2 = (3 * y * y - 1) / 2, (3 * x * x - 1) / 2
    every = [np.ones_like(y), y, x, y2, y * x, x2, (5 * y**3 - 3 * y) / 2, y2 * x, y * x2, (5 * x**3 - 3 * x) / 2]
    return np.stack(every[:count], -1)


def work_size(
    shape: tuple[int, ...], reference: tuple[int, ...], box: Box, longest: int = LEVELS[-1]
) -> tuple[int, int]:
    """(height, width) at which a picture and the reference's box are compared: the coarser of both, this at most."""
    share = min(1.0, box[2] / shape[0], box[3] / shape[1], longest / max(shape))
    return max(1, round(shape[0] * share)), max(1, round(shape[1] * share))


def whole(plane: NDArray[Any]) -> Box:
    """The box that is all of it."""
    return 0.0, 0.0, float(plane.shape[0]), float(plane.shape[1])


def view(plane: Plane, box: Box, size: Sequence[int]) -> Plane:
    """What a box of a plane shows, (height, width) of `size`, antialiased; outside, the border goes on."""
    top, left, height, width = box
    margin = [math.ceil(2 * side / new) + 2 for side, new in ((height, size[0]), (width, size[1]))]
    starts = [math.floor(start) - edge for start, edge in zip((top, left), margin, strict=True)]
    ends = [math.ceil(end) + edge for end, edge in zip((top + height, left + width), margin, strict=True)]
    for axis, side in enumerate(plane.shape):
        if (top, left)[axis] >= 0 and (top + height, left + width)[axis] <= side:
            starts[axis], ends[axis] = max(0, starts[axis]), min(side, ends[axis])
    rows, columns = (
        np.arange(start, end).clip(0, side - 1) for start, end, side in zip(starts, ends, plane.shape, strict=True)
    )
    inside = all(len(places) == places[-1] - places[0] + 1 for places in (rows, columns))
    part = plane[starts[0] : ends[0], starts[1] : ends[1]] if inside else plane[rows[:, None], columns]
    inner = (left - starts[1], top - starts[0], left - starts[1] + width, top - starts[0] + height)
    picture = Image.fromarray(np.ascontiguousarray(part)).resize((size[1], size[0]), Image.Resampling.BILINEAR, inner)
    return np.array(picture)


def warp(reference: Plane, placement: Placement, size: tuple[int, int]) -> Plane:
    """The reference as the picture shows it, shifts included."""
    seen = view(reference, placement.box, size)
    if not placement.field.any():
        return seen
    shown = torch.from_numpy(seen)
    rows, columns = (np.linspace(0, 1, max(2, side // 16)) for side in size)
    shifts = placement.shifts(*np.meshgrid(rows, columns, indexing="ij"))
    field = functional.interpolate(
        torch.from_numpy(shifts).float().permute(2, 0, 1)[None], size, mode="bilinear", align_corners=True
    )[0]
    y, x = ((torch.arange(side) + 0.5) / side for side in size)
    grid = torch.stack([2 * (x[None] - field[1]) - 1, 2 * (y[:, None] - field[0]) - 1], -1)
    laid: Plane = functional.grid_sample(shown[None, None], grid[None], padding_mode="border", align_corners=False)[
        0, 0
    ].numpy()
    return laid
