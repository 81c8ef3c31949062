"""Estimate of a sensor's noise from one mosaic."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lwisp.imaging.bayer import CFA, plane_order

SIDE = 8
"""Photosites of one color along a side of a block."""
FLATTEST = 0.05
"""Share of the blocks of one brightness that count: those in which the other colors vary least."""
FEWEST = 4
"""Of them, at least so many."""
ALIKE = 1.15
"""Blocks that vary by less than so many times what the flattest do are as flat as these."""
GROUPS = 16
"""Of blocks, by their brightness."""
LEAST = 16
"""Blocks that can be judged."""
ROUNDS = 3
"""In which the flattest blocks are found by the noise of the round before."""
REFITS = 4
"""Of a line, in which groups that lie above it count less and less: structure adds to noise, nothing takes from it."""
CLIPPED = 0.97
"""Of white: blocks with a photosite beyond it are left out, for clipping hides the noise."""
MOST = 2**19
"""Photosites of a color that are looked at at most, in bands over the whole height."""
BAND = 64
"""Rows of a band, two more for the filter."""
SILENT = 1e-10
"""Variance under which nothing is told apart: less than half a step of 16 bits."""


def estimate_noise(
    mosaic: NDArray[np.uint16], cfa: CFA, black: Sequence[float], white: Sequence[float]
) -> tuple[float, float] | None:
    """Shot and read noise: variance = shot * signal + read, the signal from black 0 to white 1.

    The photosites of each color are filtered by [1, -2, 1] both ways, which plain and evenly rising places pass as
    noise alone. Of blocks of one brightness those count in which red, blue and the green beside blue vary little, for
    where these show no structure the green beside red has little. Its noise is independent of theirs, so that its
    variance there is not chosen by what is measured. A line is laid through the variances. Fine structure all over the
    frame is taken for noise, grain in a photographed print too: the estimate is then too large.

    Args:
        mosaic: (H, W) in DN.
        cfa: Pattern of the top-left 2x2.
        black: Levels in DN, in the order R, Gr, Gb, B.
        white: Likewise.

    Returns:
        Both, not negative; None where too few blocks can be judged.
    """
    height, width = (side // 2 for side in mosaic.shape)
    planes = [mosaic[row::2, column::2][:height, :width] for row, column in plane_order(cfa)]
    step = max(1, math.ceil(height * width / MOST))
    found = []
    for top in range(0, height, BAND * step):
        bands = [
            (plane[top : top + BAND + 2].astype(np.float32) - np.float32(low)) / np.float32(high - low)
            for plane, low, high in zip(planes, black, white, strict=True)
        ]
        found.append(_blocks(bands))
    means, variances = np.concatenate(found, axis=2)
    if means.shape[1] < LEAST:
        return None
    return _fit_noise(means.clip(0), variances)


def _blocks(planes: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """(2, 4, blocks): mean and variance of the noise of each block that is not clipped, color by color."""
    height, width = ((side - 2) // SIDE for side in planes[0].shape)
    if height < 1 or width < 1:
        return np.empty((2, len(planes), 0))
    brightest = np.max([block_tops(plane[1:-1, 1:-1], height, width) for plane in planes], axis=0)
    means = [block_means(plane[1:-1, 1:-1], height, width) for plane in planes]
    variances = [block_means(np.square(filtered(plane)), height, width) for plane in planes]
    return np.array([means, variances])[:, :, brightest < CLIPPED]


def block_means(plane: NDArray[np.float32], height: int, width: int) -> NDArray[np.float64]:
    """The mean of each block of `SIDE` x `SIDE` values.

    Args:
        plane: (H, W).
        height: Blocks along it, at most H // SIDE.
        width: Blocks across it, at most W // SIDE.

    Returns:
        (height * width,).
    """
    rows = plane[: height * SIDE, : width * SIDE].reshape(height, SIDE, -1).sum(1, dtype=np.float32)
    mean: NDArray[np.float64] = rows.reshape(height, width, SIDE).sum(2, dtype=np.float64).ravel() / SIDE**2
    return mean


def block_tops(plane: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """The largest value of each block, as `block_means` takes them."""
    rows = plane[: height * SIDE, : width * SIDE].reshape(height, SIDE, -1).max(1)
    tops: NDArray[np.float32] = rows.reshape(height, width, SIDE).max(2).ravel()
    return tops


def filtered(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """A color (H, W) filtered by [1, -2, 1] both ways, (H - 2, W - 2); the variance of white noise stays what it is."""
    across = plane[:, :-2] - 2 * plane[:, 1:-1] + plane[:, 2:]
    filtered: NDArray[np.float32] = (across[:-2] - 2 * across[1:-1] + across[2:]) / 6
    return filtered


def _fit_noise(means: NDArray[np.float64], variances: NDArray[np.float64]) -> tuple[float, float]:
    """Shot and read noise of blocks (4, N) of R, Gr, Gb, B."""
    green, noisy = means[1], variances[1]
    others, varied = np.delete(means, 1, 0), np.delete(variances, 1, 0)
    groups = np.array_split(np.argsort(green, kind="stable"), min(GROUPS, len(green) // LEAST))
    shot, read = 1.0, 0.0  # at first blocks are ordered by what they vary for their light
    for _ in range(ROUNDS):
        varies = (varied / (shot * others + read + SILENT)).mean(0)
        chosen = [_flat(group, varies) for group in groups]
        signal = np.array([green[group].mean() for group in chosen])
        variance = np.array([noisy[group].mean() for group in chosen])
        structure = np.array([varies[group].mean() for group in chosen]) + 1e-3
        count = np.array([len(group) for group in chosen])
        trust = (structure.min() / structure) ** 2 * np.sqrt(count)
        shot, read = _fit_line(signal, variance, trust)
    return shot, read


def _flat(group: NDArray[np.int64], varies: NDArray[np.float64]) -> NDArray[np.int64]:
    """Those blocks of a group that are as flat as its flattest."""
    ordered = group[np.argsort(varies[group], kind="stable")]
    few = max(FEWEST, int(FLATTEST * len(group)))
    count = np.searchsorted(varies[ordered], ALIKE * varies[ordered[:few]].mean())
    return ordered[: max(few, count)]


def _fit_line(
    signal: NDArray[np.float64], variance: NDArray[np.float64], trust: NDArray[np.float64]
) -> tuple[float, float]:
    """Slope and offset, not negative, by least squares of the relative errors; what lies above the line counts less."""
    if np.ptp(signal) < 0.1 * signal.mean():  # one brightness alone: all is taken for shot noise
        return float(np.average(variance, weights=trust**2) / max(signal.mean(), 1e-6)), 0.0
    line, excess = variance, np.ones_like(variance)
    for _ in range(1 + REFITS):
        weight = trust / excess**2 / np.maximum(line, line.max() * 1e-3 + 1e-12)
        columns = np.stack([signal, np.ones_like(signal)], 1) * weight[:, None]
        target = variance * weight
        (shot, read), *_ = np.linalg.lstsq(columns, target, rcond=None)
        if read < 0:
            shot, read = columns[:, 0] @ target / (columns[:, 0] @ columns[:, 0]), 0.0
        elif shot < 0:
            shot, read = 0.0, columns[:, 1] @ target / (columns[:, 1] @ columns[:, 1])
        line = shot * signal + read
        excess = np.maximum(1, variance / (line + SILENT))
    return float(shot), float(read)
