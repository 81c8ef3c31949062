"""Scores of one picture against the truth: display-referred RGB (3, H, W) in [0, 1], the first one judged."""

import torch
from torch import Tensor
from torch.nn import functional

from lwisp.color import delta_e_2000, srgb_to_lab


def psnr(rgb: Tensor, target: Tensor) -> float:
    """Peak signal to noise ratio in dB for a peak of 1; identical pictures give infinity."""
    _check(rgb, target)
    return float(-10 * torch.log10((rgb.double() - target.double()).square().mean()))


def ssim(rgb: Tensor, target: Tensor) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window 11x11 of sigma 1.5, mean over channels and windows.

    Windows lie inside the picture, whose sides must reach 11 px.
    """
    _check(rgb, target)
    if min(rgb.shape[-2:]) < 11:
        raise ValueError(f"expected at least 11 px a side, got {tuple(rgb.shape[-2:])}")
    line = torch.exp(-(torch.arange(-5, 6, dtype=torch.float64) ** 2) / (2 * 1.5**2))
    line = line / line.sum()
    x, y = rgb.double()[:, None], target.double()[:, None]

    def blur(planes: Tensor) -> Tensor:
        return functional.conv2d(functional.conv2d(planes, line[None, None, None]), line[None, None, :, None])

    mean_x, mean_y = blur(x), blur(y)
    variance_x, variance_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float((luminance * (2 * covariance + c2) / (variance_x + variance_y + c2)).mean())


def delta_e(rgb: Tensor, target: Tensor) -> float:
    """Mean CIE dE2000 over the pixels, sRGB under D65."""
    _check(rgb, target)
    return float(delta_e_2000(srgb_to_lab(rgb.double()), srgb_to_lab(target.double())).mean())


def _check(rgb: Tensor, target: Tensor) -> None:
    if rgb.shape != target.shape or rgb.ndim != 3 or rgb.shape[0] != 3:
        raise ValueError(f"expected two pictures (3, H, W) of one size, got {tuple(rgb.shape)}, {tuple(target.shape)}")
    for name, picture in (("picture", rgb), ("target", target)):
        if not bool(((picture >= 0) & (picture <= 1)).all()):
            raise ValueError(f"expected the {name} in [0, 1], got {float(picture.min())} to {float(picture.max())}")
