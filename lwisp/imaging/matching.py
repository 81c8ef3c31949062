"""Least-squares fits of one picture to another: colors, global looks, tone curves.

Pictures are display-referred RGB (3, H, W) in [0, 1]. A fit to the ground truth is an oracle: what differs by color
and brightness alone is taken away, and detail and noise are left to be scored.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lwisp.imaging.color import apply_matrix, srgb_decode, srgb_encode
from lwisp.imaging.metrics import check_pair

LOOK_ITERATIONS = 2
"""How often curves and matrix of a look are fitted in turn."""
MIN_SATURATION = 0.05
"""Relative singular value under which a matrix is not inverted: a gray picture has no colors to be found again."""
CURVE_STEPS = 4 * 255
"""Steps of a curve over [0, 1]; the values of 8-bit pictures are among them."""


def fit_colors(rgb: Tensor, target: Tensor) -> Tensor:
    """The picture after the 3x4 affine color transform that brings it nearest to the target, clipped to [0, 1].

    Args:
        rgb: (3, H, W) in [0, 1].
        target: of the same shape and range.

    Raises:
        ValueError: for different shapes or values outside of [0, 1].
    """
    check_pair(rgb, target)
    matrix = _fit_affine(rgb, target)
    return (apply_matrix(matrix[:, :3], rgb) + matrix[:, 3:, None]).clamp(0, 1)


def fit_look(rgb: Tensor, target: Tensor) -> Tensor:
    """The picture after the global change of look that brings it nearest to the target; see `find_look`.

    Args:
        rgb: (3, H, W) in [0, 1].
        target: of the same shape and range.

    Raises:
        ValueError: for different shapes or values outside of [0, 1].
    """
    return find_look(rgb, target)(rgb)


@dataclass(frozen=True)
class GlobalLook:
    """A global change of look: a rising curve for each channel, a 3x4 matrix in linear light, and curves again."""

    first: tuple[Tensor, ...]
    """For each channel a curve into linear light: 1021 values over [0, 1]."""
    matrix: Tensor
    """(3, 4), affine."""
    last: tuple[Tensor, ...]
    """For each channel a curve from sRGB to the look."""

    def __call__(self, rgb: Tensor) -> Tensor:
        """Apply the look to a picture (3, H, W) in [0, 1]."""
        mixed = _mix(self.matrix, _apply_curves(self.first, rgb))
        return _apply_curves(self.last, mixed).clamp(0, 1).to(rgb.dtype)


def find_look(rgb: Tensor, target: Tensor) -> GlobalLook:
    """The global change of look that brings a picture nearest to a target, by least squares.

    Curves and matrix are fitted in turn, twice.

    Args:
        rgb: (3, H, W) in [0, 1].
        target: of the same shape and range.

    Raises:
        ValueError: for different shapes or values outside of [0, 1].
    """
    check_pair(rgb, target)
    linear_target = srgb_decode(target)
    wanted = linear_target  # what the first curves should give
    for _ in range(LOOK_ITERATIONS):
        first = tuple(_fit_curve(channel, goal) for channel, goal in zip(rgb, wanted, strict=True))
        linear = _apply_curves(first, rgb)
        matrix = _fit_affine(linear, linear_target)
        inverse = torch.linalg.pinv(matrix[:, :3], rtol=MIN_SATURATION)
        wanted = apply_matrix(inverse, linear_target - matrix[:, 3:, None])
    mixed = _mix(matrix, linear)
    last = tuple(_fit_curve(channel, goal) for channel, goal in zip(mixed, target, strict=True))
    return GlobalLook(first, matrix, last)


def fit_curve(x: Tensor, y: Tensor) -> Tensor:
    """The values x after the rising curve that brings them nearest to y, by least squares.

    Isotonic regression over 256 bins, linear between their means, looked up in steps of 1/1020.

    Args:
        x: any shape, in [0, 1].
        y: of the same shape.

    Returns:
        Of the shape and type of x.
    """
    return _fit_curve(x, y)[_steps(x)].to(x.dtype)


def isotonic(values: Tensor, weights: Tensor) -> Tensor:
    """Isotonic regression: the nondecreasing sequence nearest to the values by weighted least squares.

    Computed by the max-min formula: the greatest, over starts, of the least weighted means of runs.

    Args:
        values: (N,).
        weights: (N,), above 0.

    Returns:
        (N,).
    """
    total = functional.pad((weights * values).cumsum(0), (1, 0))
    weight = functional.pad(weights.cumsum(0), (1, 0))
    means = (total[None, 1:] - total[:-1, None]) / (weight[None, 1:] - weight[:-1, None])  # of runs (first, last)
    backwards = torch.ones_like(means).tril(-1).bool()
    means = means.masked_fill(backwards, torch.inf)
    least: Tensor = means.flip(1).cummin(1).values.flip(1)  # of the runs from `first` to here or beyond
    return least.masked_fill(backwards, -torch.inf).amax(0)


def _mix(matrix: Tensor, linear: Tensor) -> Tensor:
    """Linear RGB through an affine matrix (3, 4), as sRGB in [0, 1]."""
    return srgb_encode(apply_matrix(matrix[:, :3], linear) + matrix[:, 3:, None]).clamp(0, 1)


def _apply_curves(curves: tuple[Tensor, ...], rgb: Tensor) -> Tensor:
    """A curve for each channel, looked up."""
    return torch.stack([curve[_steps(x)].to(x.dtype) for curve, x in zip(curves, rgb, strict=True)])


def _steps(x: Tensor) -> Tensor:
    """Values in [0, 1] as indices into a curve."""
    return torch.from_numpy(np.rint(x.numpy() * np.float32(CURVE_STEPS)).astype(np.int64))


def _fit_curve(x: Tensor, y: Tensor) -> Tensor:
    """The curve of `fit_curve`: its values in steps of 1/1020, float64."""
    bins = ((_steps(x).numpy() + 2) // 4).ravel()  # 256 of them
    count = np.bincount(bins)
    filled = count > 0
    count = count[filled]
    mean_x = np.bincount(bins, x.numpy().ravel())[filled] / count
    mean_y = np.bincount(bins, y.numpy().ravel())[filled] / count
    rising = isotonic(torch.from_numpy(mean_y), torch.from_numpy(count).double()).numpy()
    return torch.from_numpy(np.interp(np.arange(CURVE_STEPS + 1) / CURVE_STEPS, mean_x, rising))


def _fit_affine(x: Tensor, y: Tensor) -> Tensor:
    """The affine transform (3, 4) that brings x (3, H, W) nearest to y (3, H, W), by least squares."""
    ones = torch.cat([x.double().flatten(1), torch.ones(1, x[0].numel(), dtype=torch.float64)])  # (4, N)
    solution = torch.linalg.lstsq(ones @ ones.T, ones @ y.double().flatten(1).T, driver="gelsd").solution
    return solution.T.to(x.dtype)  # type: ignore[no-any-return]
