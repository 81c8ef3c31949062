"""Fits of one picture to another: colors, a global change of look, curves; display-referred RGB (3, H, W) in [0, 1]."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lwisp.imaging.color import apply_matrix, srgb_decode, srgb_encode
from lwisp.imaging.metrics import check_pair

LOOK_TURNS = 2
MIN_SATURATION = 0.05  # of a matrix, under which it is not turned back: a gray picture has none
CURVE_STEPS = 4 * 255  # those of 8-bit pictures among them


def fit_colors(rgb: Tensor, target: Tensor) -> Tensor:
    """The picture after the one 3x4 affine change of its colors that brings it nearest to the target, in [0, 1].

    An oracle: what is lost to color and brightness alone is taken away, and what is left is detail and noise.
    """
    check_pair(rgb, target)
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
    check_pair(rgb, target)
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
