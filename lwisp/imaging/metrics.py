"""Scores of one picture against the truth: display-referred RGB (3, H, W) in [0, 1], the first one judged."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lwisp.imaging.color import apply_matrix, delta_e_2000, srgb_decode, srgb_encode, srgb_to_lab

LOOK_TURNS = 2
MIN_SATURATION = 0.05  # of a matrix, under which it is not turned back: a gray picture has none
CURVE_STEPS = 4 * 255  # those of 8-bit pictures among them
WINDOW = 11  # px a side, Gaussian of sigma 1.5
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, finest scale first


def psnr(rgb: Tensor, target: Tensor) -> float:
    """Peak signal to noise ratio in dB for a peak of 1; identical pictures give infinity. For planes too."""
    _check(rgb, target, (3, 4))
    return float(-10 * torch.log10((rgb.double() - target.double()).square().mean()))


def ssim(rgb: Tensor, target: Tensor) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window 11x11 of sigma 1.5, mean over channels and windows.

    Windows lie inside the picture, whose sides must reach 11 px.
    """
    _check(rgb, target)
    if min(rgb.shape[-2:]) < WINDOW:
        raise ValueError(f"expected at least {WINDOW} px a side, got {tuple(rgb.shape[-2:])}")
    # in double it takes five times as long, for a difference of 2e-8
    return float(_similarity(rgb.float()[None], target.float()[None])[0].mean())


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
    matrix = _affine(rgb, target)
    return (apply_matrix(matrix[:, :3], rgb) + matrix[:, 3:, None]).clamp(0, 1)


def fit_look(rgb: Tensor, target: Tensor) -> Tensor:
    """The picture after the one global change of look that brings it nearest to the target, in [0, 1].

    A rising curve for each channel into linear light, a 3x4 matrix there, and a rising curve for each channel back, by
    least squares: curves and matrix in turn, twice. An oracle: brightness, contrast and color cost nothing.
    """
    return find_look(rgb, target)(rgb)


@dataclass(frozen=True)
class GlobalLook:
    """A global change of look, as `find_look` finds it: RGB (3, H, W) in [0, 1] -> the same."""

    first: tuple[Tensor, ...]
    """A curve for each channel into linear light: its values in steps of 1/1020."""
    matrix: Tensor
    """(3, 4), affine."""
    last: tuple[Tensor, ...]
    """A curve for each channel back."""

    def __call__(self, rgb: Tensor) -> Tensor:
        """A picture with the look."""
        return _apply_curves(self.last, _mix(self.matrix, _apply_curves(self.first, rgb))).clamp(0, 1).to(rgb.dtype)


def find_look(rgb: Tensor, target: Tensor) -> GlobalLook:
    """The change that `fit_look` makes, to be made to other pictures."""
    _check(rgb, target)
    truth = srgb_decode(target)
    wanted = truth
    for _ in range(LOOK_TURNS):
        first = tuple(_curve(*pair) for pair in zip(rgb, wanted, strict=True))
        linear = _apply_curves(first, rgb)
        matrix = _affine(linear, truth)  # (3, 4)
        back = torch.linalg.pinv(matrix[:, :3], rtol=MIN_SATURATION)
        wanted = apply_matrix(back, truth - matrix[:, 3:, None])  # what the curves should give
    mixed = _mix(matrix, linear)
    return GlobalLook(first, matrix, tuple(_curve(*pair) for pair in zip(mixed, target, strict=True)))


def _mix(matrix: Tensor, linear: Tensor) -> Tensor:
    return srgb_encode(apply_matrix(matrix[:, :3], linear) + matrix[:, 3:, None]).clamp(0, 1)


def _apply_curves(curves: tuple[Tensor, ...], rgb: Tensor) -> Tensor:
    return torch.stack([curve[_steps(x)].to(x.dtype) for curve, x in zip(curves, rgb, strict=True)])


def _steps(x: Tensor) -> Tensor:
    return torch.from_numpy(np.rint(x.numpy() * np.float32(CURVE_STEPS)).astype(np.int64))


def fit_curve(x: Tensor, y: Tensor) -> Tensor:
    """Where the rising curve takes x (any shape, in [0, 1]) that brings it nearest to y, by least squares.

    Isotonic regression over 256 bins, straight lines between their means, looked up in steps of 1/1020.
    """
    return _curve(x, y)[_steps(x)].to(x.dtype)


def _curve(x: Tensor, y: Tensor) -> Tensor:
    """`fit_curve` as its values in steps of 1/1020, float64."""
    bins = (_steps(x).numpy() + 2) // 4
    count = np.bincount(bins.ravel())
    filled = count > 0
    count = count[filled]
    mean_x, mean_y = (np.bincount(bins.ravel(), each.numpy().ravel())[filled] / count for each in (x, y))
    curve = isotonic(torch.from_numpy(mean_y), torch.from_numpy(count).double()).numpy()
    return torch.from_numpy(np.interp(np.arange(CURVE_STEPS + 1) / CURVE_STEPS, mean_x, curve))


def isotonic(values: Tensor, weights: Tensor) -> Tensor:
    """The nondecreasing sequence (N,) nearest to the values by weighted least squares, as greatest of least means."""
    ends = [functional.pad(x.cumsum(0), (1, 0)) for x in (weights * values, weights)]
    total, weight = (end[None, 1:] - end[:-1, None] for end in ends)  # (first, last) of every run
    backwards = torch.ones_like(total).tril(-1).bool()
    means = (total / weight).masked_fill(backwards, torch.inf)
    least: Tensor = means.flip(1).cummin(1).values.flip(1)  # of the runs from `first` to here or beyond
    return least.masked_fill(backwards, -torch.inf).amax(0)


def _affine(x: Tensor, y: Tensor) -> Tensor:
    """The affine change (3, 4) of x (3, H, W) that brings it nearest to y (3, H, W), by least squares."""
    ones = torch.cat([x.double().flatten(1), torch.ones(1, x[0].numel(), dtype=torch.float64)])  # (4, N)
    solution = torch.linalg.lstsq(ones @ ones.T, ones @ y.double().flatten(1).T, driver="gelsd").solution
    return solution.T.to(x.dtype)  # type: ignore[no-any-return]


def delta_e(rgb: Tensor, target: Tensor) -> float:
    """Mean CIE dE2000 over the pixels, sRGB under D65."""
    _check(rgb, target)
    return float(delta_e_2000(srgb_to_lab(rgb.double()), srgb_to_lab(target.double())).mean())


def _check(rgb: Tensor, target: Tensor, channels: tuple[int, ...] = (3,)) -> None:
    if rgb.shape != target.shape or rgb.ndim != 3 or rgb.shape[0] not in channels:
        raise ValueError(f"expected two pictures (3, H, W) of one size, got {tuple(rgb.shape)}, {tuple(target.shape)}")
    for name, picture in (("picture", rgb), ("target", target)):
        low, high = (float(value) for value in picture.aminmax())
        if not 0 <= low <= high <= 1:  # so that NaN fails too
            raise ValueError(f"expected the {name} in [0, 1], got {low} to {high}")
