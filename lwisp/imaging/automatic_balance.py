"""White balance estimated from a picture that nobody knows the light of.

Two estimates that fail on different scenes, each with one assumption: that the bright colors are gray on average
(shades of gray, Finlayson and Trezzi 2004, with the 6-norm), and that the differences between neighbors are (gray edge,
van de Weijer et al. 2007). Their geometric mean is taken, then drawn to natural light, for light is seldom green or
magenta.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lwisp.imaging.bayer import CFA, plane_order
from lwisp.imaging.camera_color import CameraColor, Gains
from lwisp.imaging.matrices import CANONICAL_TO_XYZ
from lwisp.imaging.white_point import D65, light_of, temperature_of

SIDE = 192
"""Cells along a side that a picture is averaged to, about."""
CLIPPED = 0.9
"""Of white; cells with a photosite beyond are left out."""
DARK = 0.05
"""Of the brightest green cells; darker ones are left out, for noise and flare have another color."""
NORM = 6
"""Of the shades of gray."""
LEAST = 20
"""Cells that an estimate needs."""
KELVIN = (2300.0, 10000.0)
"""Temperatures that are believed."""
TINT = 15.0
"""Distance from natural light's tint that is hardly ever exceeded."""
GAINS = (0.125, 8.0)
"""Gains that are believed of a camera without a color matrix."""

Array = NDArray[np.float64]


def estimate_gains(
    mosaic: NDArray[np.uint16],
    cfa: CFA,
    black: Sequence[float],
    white: Sequence[float],
    color: CameraColor | None,
) -> tuple[Gains, str]:
    """White-balance gains estimated from a picture.

    Args:
        mosaic: (H, W) in DN, 2x2 or more.
        cfa: Its pattern.
        black: Black level in DN of R, Gr, Gb, B.
        white: White level in DN likewise.
        color: What is known of the camera's color.

    Returns:
        Gains of R, G, B with G = 1, and how they came about, for the user.
    """
    return estimate_from_cells(*_cells(mosaic, cfa, black, white), color)


def estimate_from_cells(cells: Array, brightest: NDArray[np.float64], color: CameraColor | None) -> tuple[Gains, str]:
    """`estimate_gains` of a picture that has been averaged already.

    Args:
        cells: (h, w, 3), means of R, G, B, linear, black at 0 and white at 1.
        brightest: (h, w), the brightest values in each cell.
        color: What is known of the camera's color.

    Returns:
        As `estimate_gains`.
    """
    green = cells[..., 1]
    usable = brightest < CLIPPED
    if usable.any():
        usable &= green > DARK * float(np.quantile(green[usable], 0.99))
    if int(usable.sum()) < LEAST:
        return _without_estimate(color)
    to_canonical: Array = np.eye(3)
    if color is not None:  # colors as they are under daylight: less mixed than the sensor's
        to_camera = color.matrix(D65) @ CANONICAL_TO_XYZ.astype(np.float64)
        to_canonical = np.asarray(np.linalg.inv(to_camera), np.float64)
    light = np.linalg.solve(to_canonical, _light(np.maximum(cells @ to_canonical.T, 0), usable))
    if not (light.min() > 0 and np.isfinite(light).all()):
        return _without_estimate(color)
    gains = float(light[1] / light[0]), 1.0, float(light[1] / light[2])
    if color is None:
        low, high = GAINS
        gains = min(max(gains[0], low), high), 1.0, min(max(gains[2], low), high)
        return gains, f"estimated from the picture, gains {gains[0]:.2f}, 1, {gains[2]:.2f}"
    try:
        return _natural(gains, color)
    except ValueError:
        return _without_estimate(color)


def _without_estimate(color: CameraColor | None) -> tuple[Gains, str]:
    if color is not None:
        try:
            return color.gains(D65), "daylight taken, for there is too little to estimate it from"
        except ValueError:
            pass
    return (1.0, 1.0, 1.0), "colors left as the sensor saw them, for there is too little to estimate it from"


def average(rgb: NDArray[np.uint16], black: Sequence[float], white: Sequence[float]) -> tuple[Array, Array]:
    """Cells of a picture for `estimate_from_cells`.

    Args:
        rgb: (H, W, 3) in DN.
        black: Black level in DN of R, G, B.
        white: White level in DN likewise.

    Returns:
        Means (h, w, 3), and the brightest values (h, w).
    """
    height, width = rgb.shape[:2]
    side = min(max(1, math.ceil(math.sqrt(height * width) / SIDE)), height, width)
    rows, columns = height // side, width // side
    blocks = rgb[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    low = np.asarray(black, np.float64)
    scale = 1 / (np.asarray(white, np.float64) - low)
    means: Array = (blocks.mean((1, 3), dtype=np.float64) - low) * scale
    tops: Array = ((blocks.max((1, 3)) - low) * scale).max(-1)
    return means, tops


def _cells(
    mosaic: NDArray[np.uint16], cfa: CFA, black: Sequence[float], white: Sequence[float]
) -> tuple[Array, NDArray[np.float64]]:
    """Means (h, w, 3) of R, G, B over square cells, black at 0 and white at 1, and the brightest photosites (h, w)."""
    height, width = mosaic.shape[0] // 2, mosaic.shape[1] // 2
    side = min(max(1, math.ceil(math.sqrt(height * width) / SIDE)), height, width)
    rows, columns = height // side, width // side
    means, tops = [], []
    for index, (row, column) in enumerate(plane_order(cfa)):
        plane = mosaic[row::2, column::2][: rows * side, : columns * side].reshape(rows, side, columns, side)
        scale = 1 / (white[index] - black[index])
        means.append((plane.mean((1, 3), dtype=np.float64) - black[index]) * scale)
        tops.append((plane.max((1, 3)) - black[index]) * scale)
    red, green_r, green_b, blue = means
    return np.stack([red, (green_r + green_b) / 2, blue], -1), np.max(tops, 0)


def _light(cells: Array, usable: NDArray[np.bool_]) -> Array:
    """The color (3,) of the light on cells (h, w, 3) of linear values from 0 up."""
    bright: Array = (cells[usable] ** NORM).mean(0) ** (1 / NORM)
    beside = usable[:-1, :-1] & usable[1:, :-1] & usable[:-1, 1:]
    down = np.diff(cells, axis=0)[:, :-1]
    across = np.diff(cells, axis=1)[:-1]
    if int(beside.sum()) < LEAST:
        return bright
    edges: Array = np.hypot(down, across)[beside].mean(0)
    if not (edges.min() > 0 and bright.min() > 0):
        return bright
    mean: Array = np.sqrt(bright / bright.sum() * edges / edges.sum())
    return mean


def _natural(gains: Gains, color: CameraColor) -> tuple[Gains, str]:
    """Gains drawn to natural light. Raises `ValueError` where they are for no light of the camera's."""
    kelvin, tint = temperature_of(color.light(gains))
    kelvin = float(np.clip(kelvin, *KELVIN))
    usual = temperature_of(light_of(kelvin))[1]
    tint = usual + TINT * math.tanh((tint - usual) / TINT)
    words = f"estimated from the picture, about {round(kelvin, -2):.0f} K and tint {tint:.0f}"
    return color.gains(light_of(kelvin, tint)), words
