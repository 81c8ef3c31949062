"""The color of a camera under any light, from matrices measured under one light or two, as the DNG specification says.

Chapter 6 of DNG 1.4: matrices are interpolated by inverse temperature, and since the temperature follows from the
camera's neutral by these same matrices, the light is found by iteration.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lwisp.imaging.matrices import CANONICAL_TO_XYZ, cam2rgb_from_xyz, normalize_rows
from lwisp.imaging.white_point import D50, D65, Chromaticity, adaptation, temperature_of, to_chromaticity, to_xyz

Matrix = NDArray[np.float64]
Gains = tuple[float, float, float]

PASSES = 30
"""Of the iteration from a neutral to its light; about 5 are needed."""
CLOSE = 1e-7
"""Change of x and y together at which it ends."""
LARGEST_GAIN = 100.0
"""Of one color over another; beyond it no sensor sees the light."""
LARGEST_ENTRY = 10.0
"""Of a sound matrix from balanced camera RGB to canonical RGB."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Matrices measured under one light."""

    kelvin: float
    """Correlated color temperature of the light; of a single calibration it does not count."""
    xyz2cam: Matrix
    """(3, 3), XYZ to the camera's reference RGB: DNG's ColorMatrix."""
    forward: Matrix | None = None
    """(3, 3), white-balanced reference RGB to XYZ under D50: DNG's ForwardMatrix."""
    unit: Matrix | None = None
    """(3, 3), reference RGB to this very camera's RGB: DNG's AnalogBalance times CameraCalibration; None if equal."""


@dataclass(frozen=True, eq=False)
class CameraColor:
    """What is known of a camera's color.

    Args:
        first: Calibration of the lower temperature, or the only one.
        second: That of the higher temperature.

    Raises:
        ValueError: A matrix is not finite or is singular, or the temperatures are not in order.
    """

    first: Calibration
    second: Calibration | None = None

    fixed: NDArray[np.float32] = field(init=False)
    """(3, 3), the matrix from balanced camera RGB to canonical RGB that is the same under any light: of one calibration
    as LibRaw has it, of two that of the higher temperature."""

    def __post_init__(self) -> None:
        if self.second is not None and not 0 < self.first.kelvin < self.second.kelvin:
            raise ValueError(f"expected rising temperatures, got {self.first.kelvin} and {self.second.kelvin}")
        for calibration in (self.first, self.second):
            for matrix in (calibration.xyz2cam, calibration.forward, calibration.unit) if calibration else ():
                if matrix is not None and not (np.isfinite(matrix).all() and abs(np.linalg.det(matrix)) > 1e-9):
                    raise ValueError(f"expected a matrix that has an inverse, got {matrix.tolist()}")
        last = self.second or self.first
        xyz2cam = last.xyz2cam if last.unit is None else last.unit @ last.xyz2cam
        object.__setattr__(self, "fixed", cam2rgb_from_xyz(xyz2cam.astype(np.float32)))

    @property
    def is_dual(self) -> bool:
        """Whether it is known under two lights, so that the matrix follows the balance."""
        return self.second is not None

    def matrix(self, white: Chromaticity) -> Matrix:
        """XYZ to this very camera's RGB under a light: (3, 3)."""
        return self._at(white).xyz2cam

    def gains(self, white: Chromaticity) -> Gains:
        """White-balance gains, G = 1, under a light.

        Raises:
            ValueError: The sensor sees no light of this color, so far from it are its matrices.
        """
        neutral = self.matrix(white) @ to_xyz(white)
        if not (neutral.min() > 0 and neutral.max() < LARGEST_GAIN * neutral.min()):  # NaN fails too
            raise ValueError(f"expected a light that the camera's matrices can show, got x, y = {white}")
        return float(neutral[1] / neutral[0]), 1.0, float(neutral[1] / neutral[2])

    def light(self, gains: Gains) -> Chromaticity:
        """The chromaticity of the light that white-balance gains are for.

        Raises:
            ValueError: They are for no light.
        """
        neutral = 1 / np.array(gains, np.float64)
        last = D50
        for index in range(PASSES if self.is_dual else 1):
            found = to_chromaticity(np.asarray(np.linalg.solve(self.matrix(last), neutral), np.float64))
            if abs(found[0] - last[0]) + abs(found[1] - last[1]) < CLOSE:
                return found
            if index == PASSES - 1:  # it may go to and fro between two
                found = (found[0] + last[0]) / 2, (found[1] + last[1]) / 2
            last = found
        return last

    def cam2rgb(self, gains: Gains) -> NDArray[np.float32]:
        """The matrix from camera RGB, balanced by these gains, to canonical RGB: (3, 3), rows sum to one.

        With forward matrices as they say, else the inverse of the color matrix, then linear Bradford to D65.

        Raises:
            ValueError: The gains are for no light, or the matrix is not sound.
        """
        white = self.light(gains)
        found = self._at(white)
        neutral = 1 / np.array(gains, np.float64)
        to_canonical = np.linalg.inv(CANONICAL_TO_XYZ.astype(np.float64))
        if found.forward is not None:
            to_reference = np.eye(3) if found.unit is None else np.linalg.inv(found.unit)
            reference = to_reference @ neutral
            if not np.abs(reference).min() > 1e-6:
                raise ValueError(f"expected the gains of a light, got {gains}")
            to_d50 = found.forward @ np.diag(1 / reference) @ to_reference
            to_rgb = to_canonical @ adaptation(D50, D65) @ to_d50
        else:
            to_rgb = to_canonical @ adaptation(white, D65) @ np.linalg.inv(found.xyz2cam)
        matrix = normalize_rows((to_rgb @ np.diag(neutral) / neutral[1]).astype(np.float32))
        if not np.abs(matrix).max() < LARGEST_ENTRY:
            raise ValueError(f"expected a sound color matrix, got {matrix.tolist()}")
        return matrix

    def _at(self, white: Chromaticity) -> Calibration:
        """The calibration under a light; its `xyz2cam` leads to this very camera's RGB."""
        low, high = self.first, self.second
        kelvin = low.kelvin
        color, forward, unit = low.xyz2cam, low.forward, low.unit
        if high is not None:
            kelvin = temperature_of(white)[0]
            share = float(np.clip((1 / kelvin - 1 / high.kelvin) / (1 / low.kelvin - 1 / high.kelvin), 0, 1))
            color = share * low.xyz2cam + (1 - share) * high.xyz2cam
            if low.forward is not None and high.forward is not None:
                forward = share * low.forward + (1 - share) * high.forward
            else:
                forward = low.forward if high.forward is None else high.forward
            if low.unit is not None or high.unit is not None:
                units = [np.eye(3) if one.unit is None else one.unit for one in (low, high)]
                unit = share * units[0] + (1 - share) * units[1]
        return Calibration(kelvin, color if unit is None else unit @ color, forward, unit)


def matrix_under(gains: Gains, color: CameraColor | None, otherwise: NDArray[np.float32]) -> NDArray[np.float32]:
    """The matrix from camera RGB, balanced by these gains, to canonical RGB.

    Args:
        gains: White-balance gains.
        color: What is known of the camera's color.
        otherwise: (3, 3), the matrix where it is not known under two lights, or the gains are for no light.
    """
    if color is None or not color.is_dual:
        return otherwise
    try:
        return color.cam2rgb(gains)
    except ValueError:
        return otherwise


def normalize_color(xyz2cam: Matrix) -> Matrix:
    """Scale a matrix so that D50 gives 1 in the brightest channel: two are then interpolated evenly.

    Args:
        xyz2cam: (3, 3), XYZ to camera RGB.

    Raises:
        ValueError: It shows D50 in no channel.
    """
    brightest = float((xyz2cam @ to_xyz(D50)).max())
    if not brightest > 1e-6:
        raise ValueError(f"expected a matrix from XYZ to camera RGB, got {xyz2cam.tolist()}")
    return xyz2cam / brightest


def normalize_forward(forward: Matrix) -> Matrix:
    """Scale the rows of a forward matrix so that white gives D50.

    Args:
        forward: (3, 3), balanced camera RGB to XYZ under D50.

    Raises:
        ValueError: A row sums to zero.
    """
    sums = forward.sum(1)
    if not np.abs(sums).min() > 1e-6:
        raise ValueError(f"expected a forward matrix whose rows do not sum to zero, got {forward.tolist()}")
    return np.diag(to_xyz(D50) / sums) @ forward
