"""The color of a camera under any light, from matrices measured under one to three, as the DNG specification says.

Chapter 6 of DNG 1.4: matrices are interpolated by inverse temperature, and since the temperature follows from the
camera's neutral by these same matrices, the light is found by iteration. Three, of DNG 1.6, are weighted by how near
the light is to each in temperature and tint, as Adobe's DNG SDK does.
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


FEWEST_KELVIN = 1500.0
"""Lights that are warmer count as this one in the distances between three."""
TINT_UNIT = 200.0
"""Of tint, that counts as much as all of the inverse temperature from `FEWEST_KELVIN` on."""
SAME = 1e-8
"""Added to squared distances."""
LEAST_WEIGHT = 0.02
"""Of three; smaller ones count as none."""


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
    tint: float = 0.0
    """Of the light, as in `white_point`; it counts where there are three."""


@dataclass(frozen=True, eq=False)
class CameraColor:
    """What is known of a camera's color.

    Args:
        first: Calibration of the lower temperature, or the only one.
        second: That of the higher temperature.
        third: That of another light, of any temperature; only beside the other two.

    Raises:
        ValueError: A matrix is not finite or is singular, or the temperatures are not in order.
    """

    first: Calibration
    second: Calibration | None = None
    third: Calibration | None = None

    fixed: NDArray[np.float32] = field(init=False)
    """(3, 3), the matrix from balanced camera RGB to canonical RGB that is the same under any light: of one calibration
    as LibRaw has it, of two that of the higher temperature."""

    def __post_init__(self) -> None:
        if self.second is not None and not 0 < self.first.kelvin < self.second.kelvin:
            raise ValueError(f"expected rising temperatures, got {self.first.kelvin} and {self.second.kelvin}")
        if self.third is not None and not (self.second is not None and self.third.kelvin > 0):
            raise ValueError("expected a third temperature beside two others")
        for calibration in self.calibrations:
            for matrix in (calibration.xyz2cam, calibration.forward, calibration.unit):
                if matrix is not None and not (np.isfinite(matrix).all() and abs(np.linalg.det(matrix)) > 1e-9):
                    raise ValueError(f"expected a matrix that has an inverse, got {matrix.tolist()}")
        last = self.second or self.first
        xyz2cam = last.xyz2cam if last.unit is None else last.unit @ last.xyz2cam
        object.__setattr__(self, "fixed", cam2rgb_from_xyz(xyz2cam.astype(np.float32)))

    @property
    def calibrations(self) -> list[Calibration]:
        """All of them, one to three."""
        return [one for one in (self.first, self.second, self.third) if one is not None]

    @property
    def is_dual(self) -> bool:
        """Whether it is known under two lights or three, so that the matrix follows the balance."""
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
        calibrations = self.calibrations
        if len(calibrations) == 1:
            weights, kelvin = [1.0], self.first.kelvin
        else:
            weights, kelvin = self._weights(white), temperature_of(white)[0]
        color = _mix(weights, [one.xyz2cam for one in calibrations])
        forwards = [one.forward for one in calibrations]
        told = [matrix for matrix in forwards if matrix is not None]
        forward = None
        if told:
            theirs = [weight for weight, matrix in zip(weights, forwards, strict=True) if matrix is not None]
            forward = _mix(theirs if len(told) == len(forwards) else _of_sum_one(theirs), told)
        unit = None
        if any(one.unit is not None for one in calibrations):
            unit = _mix(weights, [np.eye(3) if one.unit is None else one.unit for one in calibrations])
        return Calibration(kelvin, color if unit is None else unit @ color, forward, unit)

    def _weights(self, white: Chromaticity) -> list[float]:
        """How much each of two calibrations or three counts under a light; they sum to one."""
        low, high, other = self.first, self.second, self.third
        assert high is not None
        kelvin, tint = temperature_of(white)
        if other is None:
            share = float(np.clip((1 / kelvin - 1 / high.kelvin) / (1 / low.kelvin - 1 / high.kelvin), 0, 1))
            return [share, 1 - share]
        place = _place(kelvin, tint)
        near = np.array(
            [1 / (SAME + ((place - _place(one.kelvin, one.tint)) ** 2).sum()) for one in (low, high, other)]
        )
        near /= near.sum()
        smooth = near**2 * (3 - 2 * near)
        kept = np.maximum((smooth - LEAST_WEIGHT) / (1 - LEAST_WEIGHT), 0)
        return list(map(float, kept / kept.sum()))


def _place(kelvin: float, tint: float) -> Matrix:
    """Where a light lies among others: (tint, inverse temperature), in units that are compared."""
    return np.array([tint / TINT_UNIT, min(FEWEST_KELVIN / kelvin, 1.0)])


def _mix(weights: list[float], matrices: list[Matrix]) -> Matrix:
    """The mean of matrices by weights that sum to one."""
    mixed = weights[0] * matrices[0]
    for weight, matrix in zip(weights[1:], matrices[1:], strict=True):
        mixed = mixed + weight * matrix
    return mixed


def _of_sum_one(weights: list[float]) -> list[float]:
    """Weights scaled to sum to one; all alike where they are zero."""
    total = sum(weights)
    return [weight / total if total else 1 / len(weights) for weight in weights]


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
