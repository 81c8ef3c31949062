"""How much of what a network took from a finished picture was noise.

A network that is not told the noise takes a photograph's own fine grain for some, and a nearly clean picture comes out
worse than it went in. Three things tell that noise was there: fine noise where the picture is flattest, colored noise
without fine detail, as cameras that denoise leave it, and that much was taken. The constants were found on photographs
with synthetic shot noise, on PolyU and on SIDD (docs/log.md).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwisp.imaging.coding import decode_srgb
from lwisp.imaging.noise import BAND, LEAST, MOST, SIDE, block_means, block_tops, filtered
from lwisp.imaging.pixels import convert

LOW = 0.05
"""Quantile of the blocks' noise that is taken for the picture's: the flattest places."""
DARKEST, BRIGHTEST = 0.01, 0.97
"""Mean linear light of a block, and its brightest sRGB value, between which it counts."""
FINE = (2.2e-4, 5e-4)
"""Shot noise in the flattest places: up to the first it may be the photograph's grain, from the second it is noise."""
AGREEING = 1.5
"""The flattest places of a picture that is detail all over show as much as noise. It is not more than so many times the
median of what was taken from blocks."""
TAKEN = 2.0
"""Not more is noise than so many times what the shot noise of the flattest places makes over the whole picture."""
DETAILED = (0.10, 0.06)
"""Share of fine detail in the colors taken: grain has the first at least, smoothed noise the second at most."""
WEAK = (0.9 / 255, 1.4 / 255)
"""Root mean square of what was taken: up to the first the picture is clean, whatever was taken."""
STRONG = (5.5 / 255, 7.5 / 255)
"""Root mean square of what was taken: from the second on it is noise."""
NOTHING = 1e-12
"""Variance under which nothing was taken."""


def share_of_noise(given: NDArray[Any], cleaned: NDArray[Any]) -> float:
    """How much of what was taken from a picture was noise, as far as the picture tells.

    Args:
        given: (H, W, 3) sRGB as it was: floats in [0, 1], or uint8 or uint16 over their range.
        cleaned: What a network made of it, likewise; not of 8 bits, for what was taken may be less than their steps.

    Returns:
        0 to 1. 1 where the picture is too small to tell.
    """
    height, width = given.shape[:2]
    step = max(1, round(height * width / MOST))
    blocks: list[list[NDArray[np.float64]]] = [[], [], []]
    sums = np.zeros(5)
    for top in range(0, height, BAND * step):
        rows = slice(top, top + BAND + 2)
        before, after = (convert(picture[rows], np.dtype(np.float32)) for picture in (given, cleaned))
        if before.shape[0] < SIDE + 2 or width < SIDE + 2:
            continue
        light, clean = decode_srgb(before), decode_srgb(after)
        for channel, found in enumerate(blocks):
            found.append(_shot_noise(light[..., channel], clean[..., channel], before[..., channel]))
        sums += _sums(before - after, light)
    count, taken, colored, detailed, slope = sums
    if not count:
        return 1.0
    strength = math.sqrt(taken / count)
    share = _ramp(strength, *STRONG)
    if min(sum(part.shape[1] for part in found) for found in blocks) < LEAST:  # nearly all of it is dark or clipped
        share = 1.0
    else:
        shot, removed = np.median([_typical(np.concatenate(found, 1)) for found in blocks], 0)
        fine = float(min(shot, AGREEING * removed))
        likely = float(TAKEN * fine * slope / max(taken, count * NOTHING))
        share = max(share, min(_ramp(fine, *FINE), likely))
    if colored > count * NOTHING:
        share = max(share, _ramp(detailed / colored, *DETAILED))
    return _ramp(strength, *WEAK) * share


def _shot_noise(
    light: NDArray[np.float32], clean: NDArray[np.float32], encoded: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(2, N): variance over mean of the blocks of a channel (H, W), as it was and of what was taken.

    Left out are blocks that are dark or clipped.
    """
    height, width = ((side - 2) // SIDE for side in light.shape)
    means = block_means(light[1:-1, 1:-1], height, width)
    tops = block_tops(encoded[1:-1, 1:-1], height, width)
    counts = (means > DARKEST) & (tops < BRIGHTEST)
    variances = [block_means(np.square(filtered(values)), height, width) for values in (light, light - clean)]
    found: NDArray[np.float64] = np.array(variances)[:, counts] / means[counts]
    return found


def _typical(blocks: NDArray[np.float64]) -> tuple[float, float]:
    """Of (2, N), a low quantile of the first and the median of the second."""
    return float(np.quantile(blocks[0], LOW)), float(np.median(blocks[1]))


def _sums(taken: NDArray[np.float32], light: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of a band (H, W, 3): its values; squares of what was taken, its colors, their fine detail; shot noise of 1."""
    colors = taken - taken.mean(2, keepdims=True)
    fine = [np.square(filtered(colors[..., channel]), dtype=np.float64).mean() for channel in range(3)]
    squares = [np.square(values, dtype=np.float64).sum() for values in (taken, colors)]
    added = (light * np.square(_slope(light))).sum(dtype=np.float64)
    return np.array([taken.size, *squares, np.mean(fine) * colors.size, added])


def _slope(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of the sRGB curve at linear light."""
    curve = np.float32(1.055 / 2.4) * np.maximum(light, np.float32(0.0031308)) ** np.float32(1 / 2.4 - 1)
    return np.where(light <= 0.0031308, np.float32(12.92), curve).astype(np.float32, copy=False)


def _ramp(value: float, none: float, all: float) -> float:
    """0 at `none` and before, 1 at `all` and beyond."""
    return float(np.clip((value - none) / (all - none), 0, 1))
