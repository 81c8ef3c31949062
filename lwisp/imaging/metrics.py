"""Scores of a picture against the ground truth: PSNR, SSIM, MS-SSIM, CIE dE2000, false color.

Pictures are display-referred RGB (3, H, W) in [0, 1]; the first one is judged, the second one is the target.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from lwisp.imaging.color import srgb_to_lab

WINDOW = 11
"""Sides in px of the window of SSIM."""
SIGMA = 1.5
"""Standard deviation in px of its Gaussian weights."""
CAST_SIGMA = 3.0
"""Standard deviation in px of the Gaussian that takes smooth colors out of the score of false color."""
CAST_REACH = 12
"""px at which it is cut off."""
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, the finest first: Wang, Simoncelli and Bovik 2003."""


def psnr(rgb: Tensor, target: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 1; infinite for identical pictures.

    Args:
        rgb: (3, H, W) in [0, 1], or planes (4, H, W).
        target: of the same shape and range.

    Raises:
        ValueError: for different shapes or values outside of [0, 1].
    """
    check_pair(rgb, target, (3, 4))
    return float(-10 * torch.log10((rgb.double() - target.double()).square().mean()))


def ssim(rgb: Tensor, target: Tensor) -> float:
    """Structural similarity (Wang et al. 2004), the mean over channels and over windows inside the picture.

    Args:
        rgb: (3, H, W) in [0, 1], sides from 11 px up.
        target: of the same shape and range.

    Raises:
        ValueError: for different or too small shapes or values outside of [0, 1].
    """
    check_pair(rgb, target)
    if min(rgb.shape[-2:]) < WINDOW:
        raise ValueError(f"expected at least {WINDOW} px a side, got {tuple(rgb.shape[-2:])}")
    # in double it takes five times as long, for a difference of 2e-8
    similarity, _ = _similarity(rgb.float()[None], target.float()[None])
    return float(similarity.mean())


def ms_ssim(rgb: Tensor, target: Tensor) -> float:
    """Multi-scale SSIM (Wang et al. 2003) over five scales.

    Args:
        rgb: (3, H, W) in [0, 1], sides from 161 px up.
        target: of the same shape and range.

    Raises:
        ValueError: for different or too small shapes or values outside of [0, 1].
    """
    check_pair(rgb, target)
    return float(multiscale_ssim(rgb.double()[None], target.double()[None]))


def multiscale_ssim(x: Tensor, y: Tensor, scales: int = len(MS_SSIM_WEIGHTS)) -> Tensor:
    """MS-SSIM of each picture of a batch, differentiable; channels are scored apart, then averaged.

    With fewer than five scales the first weights count, scaled to sum to one.

    Args:
        x: (B, C, H, W) in [0, 1].
        y: of the same shape and range.
        scales: number of scales, 1 to 5.

    Returns:
        (B,).

    Raises:
        ValueError: for another number of scales, or sides below `smallest_side(scales)`.
    """
    if not 1 <= scales <= len(MS_SSIM_WEIGHTS):
        raise ValueError(f"expected 1 to {len(MS_SSIM_WEIGHTS)} scales, got {scales}")
    if min(x.shape[-2:]) < smallest_side(scales):
        raise ValueError(
            f"expected sides of {smallest_side(scales)} px at least for {scales} scales, got {tuple(x.shape[-2:])}"
        )
    weights = x.new_tensor(MS_SSIM_WEIGHTS[:scales])
    weights = weights / weights.sum()
    product = x.new_ones(x.shape[:2])
    for scale, weight in enumerate(weights):
        similarity, contrast = _similarity(x, y)
        factor = contrast if scale < scales - 1 else similarity
        product = product * factor.clamp(min=1e-6) ** weight
        odd = [side % 2 for side in x.shape[-2:]]
        x = functional.avg_pool2d(x, 2, padding=odd)
        y = functional.avg_pool2d(y, 2, padding=odd)
    return product.mean(1)


def smallest_side(scales: int) -> int:
    """The smallest side of a picture that MS-SSIM can be computed for.

    Args:
        scales: Number of scales, 1 or more.

    Returns:
        Side in px whose coarsest scale still holds a window of SSIM.
    """
    return (WINDOW - 1) * (1 << (scales - 1)) + 1


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its part without luminance, means over windows: (B, C, H, W) -> (B, C) each."""
    places = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    line = torch.exp(-places.square() / (2 * SIGMA**2))
    line = line / line.sum()
    batch, channels = x.shape[:2]
    maps = torch.stack([x, y, x * x + y * y, x * y]).reshape(1, -1, *x.shape[-2:])  # as channels: 11 times as fast
    for kernel in (line[None], line[:, None]):
        maps = functional.conv2d(maps, kernel.expand(maps.shape[1], 1, *kernel.shape), groups=maps.shape[1])
    mean_x, mean_y, squares, product = maps.reshape(4, batch, channels, -1)
    c1, c2 = 0.01**2, 0.03**2
    product_of_means, squares_of_means = mean_x * mean_y, mean_x**2 + mean_y**2
    luminance = (2 * product_of_means + c1) / (squares_of_means + c1)
    contrast = (2 * (product - product_of_means) + c2) / (squares - squares_of_means + c2)
    return (luminance * contrast).mean(-1), contrast.mean(-1)


def delta_e(rgb: Tensor, target: Tensor) -> float:
    """Mean CIE dE2000 over the pixels.

    Args:
        rgb: (3, H, W) sRGB in [0, 1], D65.
        target: of the same shape and range.

    Raises:
        ValueError: for different shapes or values outside of [0, 1].
    """
    check_pair(rgb, target)
    return float(delta_e_2000(srgb_to_lab(rgb.double()), srgb_to_lab(target.double())).mean())


def delta_e_2000(first: Tensor, second: Tensor) -> Tensor:
    """CIE dE2000 of each pixel; ISO/CIE 11664-6, parametric weights 1.

    Args:
        first: L*a*b* (..., 3, H, W).
        second: of the same shape.

    Returns:
        (..., H, W).
    """
    l1, a1, b1 = first.unbind(-3)
    l2, a2, b2 = second.unbind(-3)
    # a* is stretched near the gray axis
    chroma7 = ((torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * (chroma7 / (chroma7 + 25.0**7)).sqrt()
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = torch.atan2(b1, a1), torch.atan2(b2, a2)

    # hues differ by the shorter way around; where a color is gray, its hue does not count, for c1 * c2 below is 0
    dh = torch.remainder(h2 - h1 + math.pi, 2 * math.pi) - math.pi
    h1, h2 = torch.remainder(h1, 2 * math.pi), torch.remainder(h2, 2 * math.pi)
    mean_h = (h1 + h2) / 2 + torch.where((h1 - h2).abs() > math.pi, math.pi, 0.0)

    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * torch.cos(mean_h - math.radians(30))
        + 0.24 * torch.cos(2 * mean_h)
        + 0.32 * torch.cos(3 * mean_h + math.radians(6))
        - 0.20 * torch.cos(4 * mean_h - math.radians(63))
    )
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / (20 + (mean_l - 50) ** 2).sqrt()
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    bell = torch.exp(-(((torch.rad2deg(torch.remainder(mean_h, 2 * math.pi)) - 275) / 25) ** 2))
    rotation = -2 * (mean_c**7 / (mean_c**7 + 25.0**7)).sqrt() * torch.sin(math.radians(60) * bell)
    dl, dc = (l2 - l1) / s_l, (c2 - c1) / s_c
    dh = 2 * (c1 * c2).sqrt() * torch.sin(dh / 2) / s_h
    return (dl**2 + dc**2 + dh**2 + rotation * dc * dh).clamp(min=0).sqrt()


def false_color(rgb: Tensor, target: Tensor) -> float:
    """Root mean square of the error of fine detail in R - G and B - G, of 255: false color at edges and lines.

    Fine detail is what is left without a Gaussian blur of `CAST_SIGMA`, so smooth casts count little, even ones
    nothing. Pictures are repeated beyond their borders.

    Args:
        rgb: (3, H, W) in [0, 1].
        target: of the same shape and range.

    Raises:
        ValueError: for different shapes or values outside of [0, 1].
    """
    check_pair(rgb, target)
    difference = rgb.float() - target.float()
    error = difference[::2] - difference[1]
    return float(255 * (error - _blurred(error)).double().square().mean().sqrt())


def _blurred(maps: Tensor) -> Tensor:
    """Maps (C, H, W) blurred by a Gaussian of `CAST_SIGMA`."""
    places = torch.arange(-CAST_REACH, CAST_REACH + 1, dtype=maps.dtype)
    line = torch.exp(-places.square() / (2 * CAST_SIGMA**2))
    line = line / line.sum()
    maps = functional.pad(maps[:, None], (CAST_REACH,) * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(maps, line[None, None, None]), line[None, None, :, None])[:, 0]


def check_pair(rgb: Tensor, target: Tensor, channels: tuple[int, ...] = (3,)) -> None:
    """Check that two pictures can be compared.

    Args:
        rgb: (C, H, W).
        target: the other one.
        channels: the numbers C of channels that are allowed.

    Raises:
        ValueError: for different shapes, another number of channels, or values outside of [0, 1], NaN among them.
    """
    if rgb.shape != target.shape or rgb.ndim != 3 or rgb.shape[0] not in channels:
        raise ValueError(f"expected two pictures (3, H, W) of one size, got {tuple(rgb.shape)}, {tuple(target.shape)}")
    for name, picture in (("picture", rgb), ("target", target)):
        low, high = (float(value) for value in picture.aminmax())
        if not 0 <= low <= high <= 1:  # so that NaN fails too
            raise ValueError(f"expected the {name} in [0, 1], got {low} to {high}")
