"""Every score of one picture, how it is printed, and intervals of means."""

import math

import numpy as np
from torch import Tensor

from lwisp.imaging import matching, metrics
from lwisp.imaging.lpips import lpips

RESAMPLES = 2000
"""Bootstrap resamples."""
CONFIDENCE = 0.95
"""Coverage of the intervals."""
DECIMALS = {"psnr": 2, "psnr_fitted": 2, "ssim": 4, "ms_ssim": 4, "lpips": 3, "delta_e": 2}
"""Decimals with which each score is printed."""
TITLES = {
    "psnr": "PSNR dB",
    "psnr_fitted": "PSNR dB, colors fitted",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "lpips": "LPIPS",
    "delta_e": "dE2000",
}
"""Column titles of tables."""


def printed(name: str, value: float) -> str:
    """A score as tables print it.

    Args:
        name: of the score, a key of `DECIMALS`.
        value: the score.
    """
    return f"{value:.{DECIMALS[name]}f}"


def score(rgb: Tensor, truth: Tensor) -> dict[str, float]:
    """Every score of a picture, by name.

    Args:
        rgb: (3, H, W) sRGB in [0, 1].
        truth: the ground truth, of the same shape and range.

    Raises:
        ValueError: for different or too small shapes or values outside of [0, 1].
    """
    return {
        "psnr": metrics.psnr(rgb, truth),
        "psnr_fitted": metrics.psnr(matching.fit_colors(rgb, truth), truth),
        "ssim": metrics.ssim(rgb, truth),
        "ms_ssim": metrics.ms_ssim(rgb, truth),
        "lpips": lpips(rgb, truth),
        "delta_e": metrics.delta_e(rgb, truth),
    }


def interval(values: list[float]) -> tuple[float, float]:
    """The 95 % bootstrap confidence interval of a mean (percentile method, fixed seed).

    Args:
        values: one for each picture.

    Returns:
        (low, high); NaN without values.
    """
    drawn = np.random.default_rng(0).choice(values or [math.nan], (RESAMPLES, max(1, len(values))))
    low, high = np.quantile(drawn.mean(1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
