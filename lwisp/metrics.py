"""Scores of one picture against the truth: display-referred RGB (3, H, W) in [0, 1], the first one judged."""

import torch
from torch import Tensor
from torch.nn import functional

from lwisp.color import delta_e_2000, srgb_to_lab

WINDOW = 11  # px a side, Gaussian of sigma 1.5
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, finest scale first


def psnr(rgb: Tensor, target: Tensor) -> float:
    """Peak signal to noise ratio in dB for a peak of 1; identical pictures give infinity."""
    _check(rgb, target)
    return float(-10 * torch.log10((rgb.double() - target.double()).square().mean()))


def ssim(rgb: Tensor, target: Tensor) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window 11x11 of sigma 1.5, mean over channels and windows.

    Windows lie inside the picture, whose sides must reach 11 px.
    """
    _check(rgb, target)
    if min(rgb.shape[-2:]) < WINDOW:
        raise ValueError(f"expected at least {WINDOW} px a side, got {tuple(rgb.shape[-2:])}")
    return float(_similarity(rgb.double()[None], target.double()[None])[0].mean())


def ms_ssim(rgb: Tensor, target: Tensor) -> float:
    """Multi-scale SSIM (Wang et al. 2003) over five scales; sides from 161 px up."""
    _check(rgb, target)
    return float(multiscale_ssim(rgb.double()[None], target.double()[None]))


def multiscale_ssim(x: Tensor, y: Tensor, scales: int = len(MS_SSIM_WEIGHTS)) -> Tensor:
    """MS-SSIM of each picture of a batch, (B, C, H, W) -> (B,), differentiable; channels are scored apart.

    With fewer than five scales the first weights count, scaled to sum to one. The coarsest scale must hold a window:
    raises `ValueError` for sides under `smallest_side(scales)`.
    """
    if not 1 <= scales <= len(MS_SSIM_WEIGHTS):
        raise ValueError(f"expected 1 to {len(MS_SSIM_WEIGHTS)} scales, got {scales}")
    if min(x.shape[-2:]) < smallest_side(scales):
        raise ValueError(
            f"expected sides of {smallest_side(scales)} px at least for {scales} scales, got {tuple(x.shape[-2:])}"
        )
    weights = x.new_tensor(MS_SSIM_WEIGHTS[:scales])
    product = x.new_ones(x.shape[:2])
    for scale, weight in enumerate(weights / weights.sum()):
        whole, contrast = _similarity(x, y)
        product = product * (contrast if scale < scales - 1 else whole).clamp(min=1e-6) ** weight
        odd = [side % 2 for side in x.shape[-2:]]
        x, y = (functional.avg_pool2d(side, 2, padding=odd) for side in (x, y))
    return product.mean(1)


def smallest_side(scales: int) -> int:
    """The smallest side in px whose coarsest of so many scales still holds a window."""
    return (WINDOW - 1) * (1 << (scales - 1)) + 1


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM, and its part without luminance, each the mean over windows: (B, C, H, W) -> (B, C) twice."""
    line = torch.exp(-(torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2).square() / (2 * 1.5**2))
    line = line / line.sum()
    batch, channels = x.shape[:2]
    maps = torch.stack([x, y, x * x, y * y, x * y]).reshape(1, -1, *x.shape[-2:])  # as channels: 11 times as fast
    for kernel in (line[None], line[:, None]):
        maps = functional.conv2d(maps, kernel.expand(maps.shape[1], 1, *kernel.shape), groups=maps.shape[1])
    mean_x, mean_y, square_x, square_y, both = maps.reshape(5, batch, channels, -1)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    variances = square_x - mean_x**2 + square_y - mean_y**2
    contrast = (2 * (both - mean_x * mean_y) + c2) / (variances + c2)
    return (luminance * contrast).mean(-1), contrast.mean(-1)


def fit_colors(rgb: Tensor, target: Tensor) -> Tensor:
    """The picture after the one 3x4 affine change of its colors that brings it nearest to the target, in [0, 1].

    An oracle: what is lost to color and brightness alone is taken away, and what is left is detail and noise.
    """
    _check(rgb, target)
    x = torch.cat([rgb.double().flatten(1), torch.ones(1, rgb[0].numel(), dtype=torch.float64)])  # (4, N)
    matrix = torch.linalg.lstsq(x @ x.T, x @ target.double().flatten(1).T, driver="gelsd").solution  # (4, 3)
    fitted: Tensor = (matrix.T @ x).reshape(rgb.shape).clamp(0, 1)
    return fitted.to(rgb.dtype)


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
