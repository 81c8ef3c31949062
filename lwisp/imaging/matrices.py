"""Color matrices: between XYZ, sRGB and the canonical space, and from a camera's tables to the canonical space.

The canonical space is linear Rec. 2020 (D65); why stands in `imaging.color`.
"""

import numpy as np
from numpy.typing import NDArray

SRGB_TO_XYZ = np.array(
    [[0.4123908, 0.3575843, 0.1804808], [0.2126390, 0.7151687, 0.0721923], [0.0193308, 0.1191948, 0.9505322]],
    np.float32,
)
"""(3, 3), IEC 61966-2-1 primaries, D65."""
CANONICAL_TO_XYZ = np.array(
    [[0.6369580, 0.1446169, 0.1688810], [0.2627002, 0.6779981, 0.0593017], [0.0000000, 0.0280727, 1.0609851]],
    np.float32,
)
"""(3, 3), ITU-R BT.2020 primaries, D65."""
CANONICAL_TO_SRGB = np.array(
    [
        [1.6604909, -0.587641, -0.07284982],
        [-0.12455041, 1.1328999, -0.00834943],
        [-0.018150724, -0.10057892, 1.1187296],
    ],
    np.float32,
)
"""(3, 3), the inverse of `SRGB_TO_XYZ` times `CANONICAL_TO_XYZ`; as numbers, because the last bit of an inverse depends
on the library that computes it, and pictures shall not."""
SRGB_TO_CANONICAL = np.array(
    [
        [0.6274039, 0.32928297, 0.043313045],
        [0.069097266, 0.9195404, 0.011362317],
        [0.016391419, 0.08801331, 0.8955953],
    ],
    np.float32,
)
"""(3, 3), the inverse of `CANONICAL_TO_SRGB`."""


def normalize_rows(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale the rows of a color matrix to sum to 1, so that neutral stays neutral.

    Args:
        matrix: (..., 3, 3).

    Raises:
        ValueError: where a row sums to zero.
    """
    sums = matrix.sum(-1, keepdims=True)
    if not (np.abs(sums) > 1e-3).all():
        raise ValueError(f"expected a color matrix whose rows do not sum to zero, got {matrix.tolist()}")
    normalized: NDArray[np.float32] = matrix / sums
    return normalized


def cam2rgb_from_xyz(xyz2cam: NDArray[np.float32]) -> NDArray[np.float32]:
    """The matrix from balanced camera RGB to canonical RGB.

    Args:
        xyz2cam: (..., 3, 3), XYZ (D65) to camera, as in the tables of Adobe and LibRaw.

    Raises:
        ValueError: where a row sums to zero, or a matrix has no inverse.
    """
    return np.linalg.inv(normalize_rows(xyz2cam @ CANONICAL_TO_XYZ))


def cam2rgb_from_srgb(cam2srgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """The matrix from balanced camera RGB to canonical RGB.

    Args:
        cam2srgb: (..., 3, 3), balanced camera RGB to linear sRGB.

    Raises:
        ValueError: where a row sums to zero.
    """
    return normalize_rows(SRGB_TO_CANONICAL @ cam2srgb)


def daylight_gains(xyz2cam: NDArray[np.float32]) -> NDArray[np.float32]:
    """White-balance gains (..., 3), G = 1, of a camera under D65.

    Args:
        xyz2cam: (..., 3, 3), XYZ (D65) to camera.
    """
    neutral = (xyz2cam @ CANONICAL_TO_XYZ).sum(-1)
    gains: NDArray[np.float32] = neutral[..., 1:2] / neutral
    return gains
