"""Placement of one picture in another: orientation, box, and a smooth field of shifts for what lenses bend."""

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
"""Top, left, height, width in px of the reference; its first pixel reaches from 0 to 1."""
LEVELS = (256, 768, 768, 4096)
"""px of the picture's long side at each level of refinement; distortion is followed to the corners in turns."""
NOISE = 0.012
"""Contrast that counts as none, in coded values."""


@dataclass(frozen=True)
class Placement:
    """Where a picture lies in a reference."""

    orientation: int
    """EXIF's orientation that turns the picture as the reference lies (`pixels.orient`)."""
    box: Box
    """What the turned picture shows of the reference."""
    field: NDArray[np.float64]
    """(2, terms), coefficients of the remaining shift of rows and columns, in shares of the picture's sides."""

    def shifts(self, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far below and right of its place in the box the content lies.

        Args:
            rows: (...), places in the turned picture, 0 to 1.
            columns: of the same shape.

        Returns:
            (..., 2), in shares of the picture's sides.
        """
        values: NDArray[np.float64] = polynomial_terms(rows, columns, self.field.shape[1]) @ self.field.T
        return values

    @property
    def skew(self) -> float:
        """Largest rotation, shear or perspective in shares of the sides: no lens does that."""
        linear = (self.field[0, 2], self.field[1, 1])
        quadratic = self.field[:, 3:6].ravel()
        return float(np.abs([*linear, *quadratic]).max())

    @property
    def bend(self) -> float:
        """Largest radial distortion in shares of the sides, as lenses have it."""
        return float(np.abs(self.field[:, 6:]).max(initial=0.0))


def polynomial_terms(rows: NDArray[np.float64], columns: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Legendre polynomials in two variables, by degree.

    They are orthogonal, so that scaling and shift of the whole field are in the first three alone.

    Args:
        rows: (...), places from 0 to 1.
        columns: of the same shape.
        count: number of terms, at most 10: degree 1 has 3, degree 3 has 10.

    Returns:
        (..., count).
    """
    y, x = 2 * rows - 1, 2 * columns - 1
    y2, x2 = (3 * y * y - 1) / 2, (3 * x * x - 1) / 2
    y3, x3 = (5 * y**3 - 3 * y) / 2, (5 * x**3 - 3 * x) / 2
    terms = [np.ones_like(y), y, x, y2, y * x, x2, y3, y2 * x, y * x2, x3]
    return np.stack(terms[:count], -1)


def work_size(
    shape: tuple[int, ...], reference: tuple[int, ...], box: Box, longest: int = LEVELS[-1]
) -> tuple[int, int]:
    """(height, width) at which a picture and the reference's box are compared: the coarser of both.

    Args:
        shape: (height, width) of the turned picture.
        reference: (height, width) of the reference.
        box: what the picture shows of it.
        longest: limit of the longer side in px.
    """
    share = min(1.0, box[2] / shape[0], box[3] / shape[1], longest / max(shape))
    return max(1, round(shape[0] * share)), max(1, round(shape[1] * share))


def whole(plane: NDArray[Any]) -> Box:
    """The box that is all of a plane (H, W)."""
    return 0.0, 0.0, float(plane.shape[0]), float(plane.shape[1])


def view(plane: Plane, box: Box, size: Sequence[int]) -> Plane:
    """What a box of a plane shows, resampled with antialiasing; outside of the plane its border is repeated.

    Args:
        plane: (H, W).
        box: may reach beyond the plane.
        size: (height, width) of the result.
    """
    top, left, height, width = box
    margins = [math.ceil(2 * side / new) + 2 for side, new in ((height, size[0]), (width, size[1]))]
    starts = [math.floor(top) - margins[0], math.floor(left) - margins[1]]
    ends = [math.ceil(top + height) + margins[0], math.ceil(left + width) + margins[1]]
    for axis, side in enumerate(plane.shape):
        if (top, left)[axis] >= 0 and (top + height, left + width)[axis] <= side:
            starts[axis], ends[axis] = max(0, starts[axis]), min(side, ends[axis])
    rows = np.arange(starts[0], ends[0]).clip(0, plane.shape[0] - 1)
    columns = np.arange(starts[1], ends[1]).clip(0, plane.shape[1] - 1)
    inside = all(len(places) == places[-1] - places[0] + 1 for places in (rows, columns))
    part = plane[starts[0] : ends[0], starts[1] : ends[1]] if inside else plane[rows[:, None], columns]
    inner = (left - starts[1], top - starts[0], left - starts[1] + width, top - starts[0] + height)
    picture = Image.fromarray(np.ascontiguousarray(part)).resize((size[1], size[0]), Image.Resampling.BILINEAR, inner)
    return np.array(picture)


def warp(reference: Plane, placement: Placement, size: tuple[int, int]) -> Plane:
    """The reference as the turned picture shows it, the field of shifts included.

    Args:
        reference: (H, W).
        placement: where the picture lies in it.
        size: (height, width) of the result.
    """
    seen = view(reference, placement.box, size)
    if not placement.field.any():
        return seen
    shown = torch.from_numpy(seen)
    rows, columns = np.linspace(0, 1, max(2, size[0] // 16)), np.linspace(0, 1, max(2, size[1] // 16))
    shifts = placement.shifts(*np.meshgrid(rows, columns, indexing="ij"))
    field = functional.interpolate(
        torch.from_numpy(shifts).float().permute(2, 0, 1)[None], size, mode="bilinear", align_corners=True
    )[0]
    y = (torch.arange(size[0]) + 0.5) / size[0]
    x = (torch.arange(size[1]) + 0.5) / size[1]
    grid = torch.stack([2 * (x[None] - field[1]) - 1, 2 * (y[:, None] - field[0]) - 1], -1)
    warped = functional.grid_sample(shown[None, None], grid[None], padding_mode="border", align_corners=False)
    result: Plane = warped[0, 0].numpy()
    return result
