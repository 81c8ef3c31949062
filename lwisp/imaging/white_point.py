"""Colors of light: chromaticity from and to correlated color temperature and tint, daylight, chromatic adaptation.

Chromaticities are CIE 1931 (x, y). The tint is Adobe's: 3000 times the distance from the Planckian locus in CIE 1960
(u, v), positive where the light is greener than a black body, so that a positive tint makes the picture more magenta.
"""

import numpy as np
from numpy.typing import NDArray

Chromaticity = tuple[float, float]
Matrix = NDArray[np.float64]

D50: Chromaticity = (0.3457, 0.3585)
D65: Chromaticity = (0.3127, 0.3290)
KELVIN_RANGE = (1700.0, 50000.0)
"""Temperatures that a white balance may have; the table ends there."""
TINT_RANGE = (-150.0, 150.0)
TINT_SCALE = 3000.0
"""Units of tint for a distance of one in (u, v)."""
BULB, DAY = 4000.0, 5000.0
"""Kelvin up to which natural light is a black body's, and from which on it is daylight."""

ISOTHERMS = np.array(
    [
        *[(0, 0.18006, 0.26352, -0.24341), (10, 0.18066, 0.26589, -0.25479), (20, 0.18133, 0.26846, -0.26876)],
        *[(30, 0.18208, 0.27119, -0.28539), (40, 0.18293, 0.27407, -0.30470), (50, 0.18388, 0.27709, -0.32675)],
        *[(60, 0.18494, 0.28021, -0.35156), (70, 0.18611, 0.28342, -0.37915), (80, 0.18740, 0.28668, -0.40955)],
        *[(90, 0.18880, 0.28997, -0.44278), (100, 0.19032, 0.29326, -0.47888), (125, 0.19462, 0.30141, -0.58204)],
        *[(150, 0.19962, 0.30921, -0.70471), (175, 0.20525, 0.31647, -0.84901), (200, 0.21142, 0.32312, -1.0182)],
        *[(225, 0.21807, 0.32909, -1.2168), (250, 0.22511, 0.33439, -1.4512), (275, 0.23247, 0.33904, -1.7298)],
        *[(300, 0.24010, 0.34308, -2.0637), (325, 0.24792, 0.34655, -2.4681), (350, 0.25591, 0.34951, -2.9641)],
        *[(375, 0.26400, 0.35200, -3.5814), (400, 0.27218, 0.35407, -4.3633), (425, 0.28039, 0.35577, -5.3762)],
        *[(450, 0.28863, 0.35714, -6.7262), (475, 0.29685, 0.35823, -8.5955), (500, 0.30505, 0.35907, -11.324)],
        *[(525, 0.31320, 0.35968, -15.628), (550, 0.32129, 0.36011, -23.325), (575, 0.32931, 0.36038, -40.770)],
        *[(600, 0.33724, 0.36051, -116.45)],
    ]
)
"""(31, 4): mired, u, v and slope of the isotherms that cross the Planckian locus (Robertson, JOSA 1968; Wyszecki and
Stiles, Color Science, table 1(3.11))."""

BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def to_xyz(white: Chromaticity) -> Matrix:
    """XYZ (3,) of a chromaticity, Y = 1."""
    x, y = white
    return np.array([x / y, 1.0, (1 - x - y) / y])


def to_chromaticity(xyz: Matrix) -> Chromaticity:
    """Chromaticity of XYZ (3,).

    Raises:
        ValueError: It is no color of light: the sum, or Y, is not positive.
    """
    total = float(xyz.sum())
    if not (total > 1e-9 and float(xyz[1]) / total > 1e-6):  # written so that NaN fails too
        raise ValueError(f"expected the XYZ of a light, got {xyz.tolist()}")
    return float(xyz[0]) / total, float(xyz[1]) / total


def light_of(kelvin: float, tint: float | None = None) -> Chromaticity:
    """The chromaticity of a light.

    Args:
        kelvin: Correlated color temperature, within `KELVIN_RANGE`.
        tint: Tint; None for that of natural light: a black body's (0) up to 4000 K, daylight's (about 10) from 5000 K.
    """
    if tint is None:
        tint = _natural_tint(kelvin)
    mired = 1e6 / kelvin
    row = int(np.clip(np.searchsorted(ISOTHERMS[:, 0], mired, "right"), 1, len(ISOTHERMS) - 1))
    before, after = ISOTHERMS[row - 1], ISOTHERMS[row]
    share = (mired - before[0]) / (after[0] - before[0])
    across = (1 - share) * _unit(before[3]) + share * _unit(after[3])
    u, v = (1 - share) * before[1:3] + share * after[1:3] - across / np.hypot(*across) * tint / TINT_SCALE
    return float(1.5 * u / (u - 4 * v + 2)), float(v / (u - 4 * v + 2))


def temperature_of(white: Chromaticity) -> tuple[float, float]:
    """Correlated color temperature in kelvin and tint of a chromaticity; the inverse of `light_of`.

    Beyond the table's ends (1667 K) it is the nearest of the table.
    """
    x, y = white
    divisor = -2 * x + 12 * y + 3
    place = np.array([4 * x / divisor, 6 * y / divisor])
    directions = np.array([_unit(slope) for slope in ISOTHERMS[:, 3]])
    apart = place - ISOTHERMS[:, 1:3]
    heights = apart[:, 1] * directions[:, 0] - apart[:, 0] * directions[:, 1]  # above each isotherm
    below = np.flatnonzero(heights[1:] <= 0)
    row = int(below[0]) + 1 if len(below) else len(ISOTHERMS) - 1
    over, under = max(float(heights[row - 1]), 0.0), max(-float(heights[row]), 0.0)
    share = over / (over + under) if over + under else 0.0
    mired = (1 - share) * ISOTHERMS[row - 1, 0] + share * ISOTHERMS[row, 0]
    across = (1 - share) * directions[row - 1] + share * directions[row]
    across /= np.hypot(*across)
    locus = (1 - share) * ISOTHERMS[row - 1, 1:3] + share * ISOTHERMS[row, 1:3]
    tint = -float((place - locus) @ across) * TINT_SCALE
    return 1e6 / max(float(mired), 1e-3), tint


def adaptation(source: Chromaticity, target: Chromaticity) -> Matrix:
    """The (3, 3) matrix that adapts XYZ from one white to another (linear Bradford, as ICC and DNG have it)."""
    gains = (BRADFORD @ to_xyz(target)) / (BRADFORD @ to_xyz(source))
    adapted: Matrix = np.linalg.inv(BRADFORD) @ np.diag(gains) @ BRADFORD
    return adapted


def _unit(slope: float) -> Matrix:
    """The direction (u, v) of an isotherm, toward magenta."""
    direction: Matrix = np.array([1.0, slope]) / np.hypot(1.0, slope)
    return direction


def _natural_tint(kelvin: float) -> float:
    if kelvin <= BULB:
        return 0.0
    per_mega = 1e3 / min(kelvin, 25000.0)  # CIE 15: of the series D, from 4000 K to 25000 K
    if kelvin <= 7000:
        x = 0.244063 + per_mega * (0.09911 + per_mega * (2.9678 - per_mega * 4.6070))
    else:
        x = 0.237040 + per_mega * (0.24748 + per_mega * (1.9018 - per_mega * 2.0064))
    daylight = temperature_of((x, x * (2.870 - 3 * x) - 0.275))[1]
    share = (1 / BULB - 1 / kelvin) / (1 / BULB - 1 / DAY)
    return daylight * min(share, 1.0)
