"""Black levels that differ from photosite to photosite, made into one per plane."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lwisp.imaging.bayer import CFA, plane_order

FINEST = 16.0
"""Largest factor that a mosaic is multiplied by, to keep fractions of its DN."""
EQUAL = 1e-6  # DN; differences that are rounding


@dataclass(frozen=True, eq=False)
class BlackLevels:
    """The black level in DN of each photosite: a repeated pattern, plus a part of its row, plus one of its column."""

    pattern: NDArray[np.float64]
    """(rows, columns), repeated from the mosaic's top-left photosite on."""
    rows: NDArray[np.float64]
    """(H,)"""
    columns: NDArray[np.float64]
    """(W,)"""

    def of_planes(self, cfa: CFA) -> tuple[float, float, float, float]:
        """Mean black level in DN of R, Gr, Gb, B.

        Args:
            cfa: The pattern of colors.
        """
        red, green_r, green_b, blue = (self._mean(row, column) for row, column in plane_order(cfa))
        return red, green_r, green_b, blue

    def _mean(self, row: int, column: int) -> float:
        mean = self._cells(row, column).mean() + self.rows[row::2].mean() + self.columns[column::2].mean()
        return float(mean)

    def _cells(self, row: int, column: int) -> NDArray[np.float64]:
        """The levels of the pattern that fall on one position of the 2x2 of colors."""
        height, width = self.pattern.shape
        down = np.arange(row, row + math.lcm(2, height), 2) % height
        across = np.arange(column, column + math.lcm(2, width), 2) % width
        return self.pattern[np.ix_(down, across)]

    @property
    def varies(self) -> bool:
        """Whether photosites of one plane differ."""
        for row in (0, 1):
            for column in (0, 1):
                parts = (self._cells(row, column), self.rows[row::2], self.columns[column::2])
                if any(np.ptp(part) > EQUAL for part in parts):
                    return True
        return False

    def whole(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """The level of each photosite.

        Args:
            shape: (H, W) of the mosaic.
        """
        height, width = self.pattern.shape
        tiled = self.pattern[np.ix_(np.arange(shape[0]) % height, np.arange(shape[1]) % width)]
        return (tiled + self.rows[:, None] + self.columns).astype(np.float32)

    def level(self, mosaic: NDArray[np.uint16], cfa: CFA, white: float) -> tuple[NDArray[np.uint16], float]:
        """The mosaic as if each plane had one black level, its mean.

        Args:
            mosaic: (H, W) in DN; it stays as it is.
            cfa: Its pattern.
            white: White level in DN.

        Returns:
            (H, W) of 16 bits, and the factor that all its values and levels are multiplied by to keep fractions.
        """
        top = max(float(mosaic.max()), white, 1.0)
        factor = float(min(FINEST, 2.0 ** math.floor(math.log2(65535 / top))))
        even = np.empty_like(mosaic)
        height, width = self.pattern.shape
        across = np.arange(mosaic.shape[1]) % width
        means = dict(zip(plane_order(cfa), self.of_planes(cfa), strict=True))
        for row in range(mosaic.shape[0]):
            mean = np.array([means[row % 2, 0], means[row % 2, 1]])
            black = self.pattern[row % height][across] + self.rows[row] + self.columns
            black -= np.resize(mean, len(black))
            even[row] = np.clip((mosaic[row] - black) * factor + 0.5, 0, 65535)
        return even, factor
