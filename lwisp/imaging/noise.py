"""Estimate of a sensor's noise from one mosaic."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lwisp.imaging.bayer import CFA, plane_order

SIDE = 8
"""Photosites of one color along a side of a block."""
QUANTILE = 0.2
"""Of the blocks of one brightness, ordered by what they vary: those before show least of the scene's structure."""
QUANTILE_OF_NOISE = 0.727
"""What that quantile is of the variance where there is nothing but white noise (measured on 4 million values)."""
GROUPS = 16
"""Of blocks, by their brightness."""
LEAST = 16
"""Blocks that can be judged."""
CLIPPED = 0.97
"""Of white: blocks with a photosite beyond it are left out, for clipping hides the noise."""
MOST = 2**22
"""Photosites that are looked at, in bands over the whole height."""
BAND = 64


def estimate_noise(
    mosaic: NDArray[np.uint16], cfa: CFA, black: Sequence[float], white: Sequence[float]
) -> tuple[float, float] | None:
    """Shot and read noise: variance = shot * signal + read, the signal from black 0 to white 1.

    The photosites of the green beside red are filtered by [1, -2, 1] both ways, which plain and evenly rising places
    pass as noise alone. Of blocks of one brightness those count that vary little, and a line is laid through the
    variances. Fine structure all over the frame is taken for noise: the estimate is then too large.

    Args:
        mosaic: (H, W) in DN.
        cfa: Pattern of the top-left 2x2.
        black: Levels in DN, in the order R, Gr, Gb, B.
        white: Likewise.

    Returns:
        Both, not negative; None where too few blocks can be judged.
    """
    row, column = plane_order(cfa)[1]
    plane = mosaic[row::2, column::2]
    step = max(1, plane.size // MOST)
    bands = [plane[top : top + BAND] for top in range(0, len(plane), BAND * step)]
    found = [_blocks((band.astype(np.float32) - black[1]) / np.float32(white[1] - black[1])) for band in bands]
    means, variances = np.concatenate(found, axis=1)
    if len(means) < LEAST:
        return None
    groups = np.array_split(np.argsort(means, kind="stable"), min(GROUPS, len(means) // LEAST))
    signal = np.array([means[group].mean() for group in groups]).clip(0)
    variance = np.array([np.quantile(variances[group], QUANTILE) for group in groups]) / QUANTILE_OF_NOISE
    return _fit_line(signal, variance)


def _blocks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """(2, blocks): mean and variance of the noise of each block that is not clipped."""
    height, width = ((side - 2) // SIDE for side in values.shape)
    if height < 1 or width < 1:
        return np.empty((2, 0))
    across = values[:, :-2] - 2 * values[:, 1:-1] + values[:, 2:]
    filtered = (across[:-2] - 2 * across[1:-1] + across[2:]) / 6  # of white noise the variance stays what it is

    def cut(plane: NDArray[np.float32]) -> NDArray[np.float32]:
        blocks = plane[: height * SIDE, : width * SIDE].reshape(height, SIDE, width, SIDE)
        return blocks.swapaxes(1, 2).reshape(height * width, -1)

    inner = cut(values[1:-1, 1:-1])
    keep = inner.max(1) < CLIPPED
    return np.stack([inner.mean(1)[keep], np.square(cut(filtered)).mean(1)[keep]]).astype(np.float64)


def _fit_line(signal: NDArray[np.float64], variance: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and offset, not negative, by least squares of the relative errors."""
    weight = 1 / np.maximum(variance, variance.max() * 1e-3 + 1e-12)
    columns = np.stack([signal, np.ones_like(signal)], 1) * weight[:, None]
    target = variance * weight
    if np.ptp(signal) < 0.1 * signal.mean():  # one brightness alone: all is taken for shot noise
        return float(variance.mean() / max(signal.mean(), 1e-6)), 0.0
    (shot, read), *_ = np.linalg.lstsq(columns, target, rcond=None)
    if read < 0:
        shot, read = columns[:, 0] @ target / (columns[:, 0] @ columns[:, 0]), 0.0
    elif shot < 0:
        shot, read = 0.0, columns[:, 1] @ target / (columns[:, 1] @ columns[:, 1])
    return float(shot), float(read)
