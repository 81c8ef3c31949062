"""Color spaces by what they do: the light that each code value stands for, and the colors of that light.

All colors meet in CIE XYZ under D50, as in ICC profiles.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lwisp.imaging.pixels import to_integer
from lwisp.imaging.white_point import BRADFORD

F = TypeVar("F", np.float32, np.float64)
CODES = 65536
"""Code values of a curve's table: those of 16 bits."""
SRGB_TO_XYZ = np.array(
    [[0.4360413, 0.3851129, 0.1430458], [0.2224845, 0.7169051, 0.0606104], [0.0139202, 0.0970672, 0.7139126]]
)
"""(3, 3), linear sRGB to XYZ under D50, by Bradford's adaptation."""
D50 = np.array([0.9642, 1.0, 0.8249])
"""XYZ of ICC's white."""
STRIP_PIXELS = 2**20
"""Pixels that are converted at once: in floats they take several times their memory."""
TOLERANCE = 1 / 255
"""Code values that differ by so little are one color."""
GRID = np.stack(np.meshgrid(*[np.linspace(0, 1, 9)] * 3, indexing="ij"), -1).reshape(-1, 3)
"""(729, 3), colors by which a space is compared with sRGB, beside all its grays."""


@dataclass(frozen=True, eq=False)
class Coding:
    """An RGB color space; a space of grays has three times the same curve."""

    curves: NDArray[np.float32]
    """(3, `CODES`), light in [0, 1] of each code value, of red, green and blue."""
    to_xyz: NDArray[np.float64]
    """(3, 3), linear RGB to XYZ under D50."""

    def is_srgb(self) -> bool:
        """Whether colors stay within `TOLERANCE` where they are taken for sRGB."""
        grays = np.repeat(np.arange(0, CODES, 257)[:, None], 3, 1) / (CODES - 1)
        colors = np.concatenate([GRID, grays])
        codes = to_integer(colors, 16)
        return bool(np.abs(self._convert(codes) - codes / (CODES - 1)).max() <= TOLERANCE)

    def to_srgb(self, rgb: NDArray[Any]) -> NDArray[Any]:
        """A picture of this space in sRGB; colors outside of it are clipped.

        Args:
            rgb: (H, W, 3) uint8 or uint16, over the type's range.

        Returns:
            A picture of the same shape and type.
        """
        converted = np.empty_like(rgb)
        rows = max(1, STRIP_PIXELS // max(1, rgb.shape[1]))
        for top in range(0, len(rgb), rows):
            strip = rgb[top : top + rows]
            if strip.dtype == np.uint8:
                converted[top : top + rows] = to_integer(self._convert(strip.astype(np.uint16) * 257), 8)
            else:
                converted[top : top + rows] = to_integer(self._convert(strip), 16)
        return converted

    def _convert(self, codes: NDArray[np.uint16]) -> NDArray[np.float32]:
        """Code values (..., 3) to those of sRGB, in [0, 1]."""
        light = np.stack([self.curves[channel][codes[..., channel]] for channel in range(3)], -1)
        matrix = np.linalg.solve(SRGB_TO_XYZ, self.to_xyz).astype(np.float32)
        return encode_srgb(np.clip(light @ matrix.T, 0, 1))


def encode_srgb(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Light in [0, 1] to the code values of sRGB (IEC 61966-2-1)."""
    values: NDArray[np.float32] = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return values.astype(np.float32)


def decode_srgb(values: NDArray[F]) -> NDArray[F]:
    """Code values of sRGB in [0, 1] to light, in their type."""
    light: NDArray[F] = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return light


def tabulate(curve: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float32]:
    """The table of a curve from code value to light, both in [0, 1].

    Args:
        curve: The curve.

    Returns:
        (`CODES`,), clipped to [0, 1].

    Raises:
        ValueError: The curve gives values that are no numbers.
    """
    with np.errstate(all="ignore"):
        table = curve(np.linspace(0, 1, CODES))
    if not np.isfinite(table).all():
        raise ValueError("expected a curve of finite values")
    return np.clip(table, 0, 1).astype(np.float32)


def primaries_to_xyz(white: tuple[float, float], *primaries: tuple[float, float]) -> NDArray[np.float64]:
    """The matrix (3, 3) from linear RGB to XYZ under D50, by Bradford's adaptation.

    Args:
        white: Chromaticity (x, y) of the white.
        primaries: Those of red, green and blue.

    Raises:
        ValueError: No color space has these chromaticities.
    """
    columns = primaries_to_own_xyz(white, *primaries)
    matrix: NDArray[np.float64] = to_d50(columns.sum(1)) @ columns
    return matrix


def to_d50(white: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix (3, 3) that adapts XYZ to D50, by Bradford.

    Args:
        white: XYZ of the white that is adapted.

    Raises:
        ValueError: No eye sees this white.
    """
    cones = BRADFORD @ white
    if not (cones > 0).all():
        raise ValueError("expected a white that the eye can see")
    matrix: NDArray[np.float64] = np.linalg.solve(BRADFORD, np.diag((BRADFORD @ D50) / cones) @ BRADFORD)
    return matrix


def primaries_to_own_xyz(white: tuple[float, float], *primaries: tuple[float, float]) -> NDArray[np.float64]:
    """The matrix (3, 3) from linear RGB to XYZ under the white of the space itself.

    Args:
        white: Chromaticity (x, y) of the white.
        primaries: Those of red, green and blue.

    Raises:
        ValueError: No color space has these chromaticities.
    """
    points = np.array([white, *primaries])
    if points.shape != (4, 2) or not (np.isfinite(points).all() and (points[:, 1] > 0).all()):
        raise ValueError(f"expected four chromaticities, got {points.tolist()}")
    xyz = np.stack([points[:, 0] / points[:, 1], np.ones(4), (1 - points.sum(1)) / points[:, 1]])
    columns = xyz[:, 1:]
    if abs(np.linalg.det(columns)) < 1e-6:
        raise ValueError("expected primaries that span a triangle")
    matrix: NDArray[np.float64] = columns * np.linalg.solve(columns, xyz[:, 0])
    return matrix
