"""Every score of one picture, how it is printed, and intervals of means."""

import math

import numpy as np
from torch import Tensor

from lwisp.imaging import matching, metrics
from lwisp.imaging.lpips import lpips

RESAMPLES, CONFIDENCE = 2000, 0.95
DECIMALS = {"psnr": 2, "psnr_fitted": 2, "ssim": 4, "ms_ssim": 4, "lpips": 3, "delta_e": 2}
TITLES = {
    "psnr": "PSNR dB",
    "psnr_fitted": "PSNR dB, colors fitted",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "lpips": "LPIPS",
    "delta_e": "dE2000",
}


def score(rgb: Tensor, truth: Tensor) -> dict[str, float]:
    """Every score of one picture (3, H, W) in [0, 1] against the truth."""
    return {
        "psnr": metrics.psnr(rgb, truth),
        "psnr_fitted": metrics.psnr(matching.fit_colors(rgb, truth), truth),
        "ssim": metrics.ssim(rgb, truth),
        "ms_ssim": metrics.ms_ssim(rgb, truth),
        "lpips": lpips(rgb, truth),
        "delta_e": metrics.delta_e(rgb, truth),
    }


def interval(values: list[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of values: bootstrap, percentiles, from a fixed seed."""
    drawn = np.random.default_rng(0).choice(values or [math.nan], (RESAMPLES, max(1, len(values))))
    low, high = np.quantile(drawn.mean(1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
