"""Denoising by models of patches: WNNM, of similar patches of the picture, and EPLL, of a mixture of Gaussians.

Both are for one plane with white noise of known standard deviation. A color picture goes through an orthonormal change
of colors first, which keeps the noise white, and each of its planes is denoised by itself.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

Array = NDArray[np.float64]
COLORS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
"""Rows: brightness and two differences of colors, each of length 1."""
MIXTURE = Path(__file__).parent.parent / "assets" / "patches.safetensors"
"""Weights (K,) and covariances (K, 64, 64) of patches of 8x8 px in units of 0 to 255 (benchmarks/patch_mixture.py)."""


@dataclass(frozen=True)
class Groups:
    """Constants of WNNM, those of the authors for sigmas up to 20 of 255, but for the step."""

    side: int = 6
    """Of the patches, in px."""
    similar: int = 70
    """Patches of a group in the first two rounds; ten fewer every two rounds."""
    reach: int = 15
    """Of the search for them, in px each way."""
    step: int = 3
    """From one group's first patch to the next one's, in px."""
    rounds: int = 8
    weight: float = 2 * 2**0.5
    """c of the paper: how strongly singular values are lowered."""
    returned: float = 0.1
    """Share of what was taken away that comes back before each round."""
    left: float = 0.54
    """Factor of the noise that is estimated to be left after the first round."""


@dataclass(frozen=True)
class Splitting:
    """Constants of EPLL, those of the authors."""

    betas: tuple[float, ...] = (1, 4, 8, 16, 32)
    """Weights of the patches' models over the noise's variance, one a round."""
    at_once: int = 20_000
    """Patches that are worked on at one time."""


def wnnm(rgb: NDArray[Any], sigma: float, settings: Groups = Groups()) -> Array:
    """Weighted nuclear norm minimization (Gu, Zhang, Zuo, Feng, CVPR 2014).

    Groups of similar patches are found by brightness; the singular values of each are lowered, small ones more.

    Args:
        rgb: (H, W, 3) in [0, 1], sides not below a patch's.
        sigma: Standard deviation of the noise.
        settings: Constants.

    Returns:
        (H, W, 3), about in [0, 1].
    """
    noisy = 255 * (rgb @ COLORS.T)
    variance = (255 * sigma) ** 2
    found = noisy
    places: NDArray[np.int64] = np.zeros((0, 0), np.int64)
    for step in range(settings.rounds):
        found = found + settings.returned * (noisy - found)
        if step % 2 == 0:
            count = max(settings.similar - 5 * step, 2)
            places = _similar(found[..., 0], count, settings)
        planes = []
        for plane, given in zip(np.moveaxis(found, 2, 0), np.moveaxis(noisy, 2, 0), strict=True):
            left = np.full(len(places), variance)
            if step:
                changed = (_patches(given, settings.side) - _patches(plane, settings.side))[places[:, 0]]
                left = settings.left**2 * np.abs(variance - np.square(changed).mean(1))
            planes.append(_lowered(plane, places, left, settings))
        found = np.stack(planes, 2)
    result: Array = found @ COLORS / 255
    return result


def epll(rgb: NDArray[Any], sigma: float, settings: Splitting = Splitting()) -> Array:
    """Expected patch log likelihood (Zoran and Weiss, ICCV 2011) with a mixture of Gaussians learned from photographs.

    Args:
        rgb: (H, W, 3) in [0, 1], sides of 8 px at least.
        sigma: Standard deviation of the noise.
        settings: Constants.

    Returns:
        (H, W, 3), about in [0, 1].
    """
    mixture = load_file(MIXTURE)
    shares, covariances = (mixture[name].astype(np.float64) for name in ("weights", "covariances"))
    side = round(covariances.shape[1] ** 0.5)
    noisy = 255 * (rgb @ COLORS.T)
    variance = (255 * sigma) ** 2
    planes = []
    for given in np.moveaxis(noisy, 2, 0):
        plane = given
        for beta in settings.betas:
            models = _Models(shares, covariances, variance / beta)
            patches = _patches(plane, side)
            parts = range(0, len(patches), settings.at_once)
            denoised = np.concatenate([models.denoise(patches[at : at + settings.at_once]) for at in parts])
            mean = _overlapped(denoised, np.arange(len(patches)), plane.shape, side)
            plane = (given + beta * mean) / (1 + beta)
        planes.append(plane)
    result: Array = np.stack(planes, 2) @ COLORS / 255
    return result


class _Models:
    """The mixture, seen through white noise of a variance."""

    def __init__(self, shares: Array, covariances: Array, variance: float) -> None:
        own, vectors = np.linalg.eigh(covariances)
        own = own.clip(0)  # rounded ones may lie below
        seen = own + variance
        self.filters = (vectors * (own / seen)[:, None]) @ vectors.mT  # (K, D, D)
        self.roots = vectors / np.sqrt(seen)[:, None]
        self.offsets = np.log(shares) - 0.5 * np.log(seen).sum(1)

    def denoise(self, patches: Array) -> Array:
        """Patches (n, D), each by the Wiener filter of its likeliest Gaussian; a patch's mean stays."""
        means: Array = patches.mean(1, keepdims=True)
        values: Array = patches - means
        likely = [
            offset - 0.5 * np.square(values @ root).sum(1)
            for offset, root in zip(self.offsets, self.roots, strict=True)
        ]
        chosen = np.argmax(likely, 0)
        result = np.empty_like(values)
        for index in np.unique(chosen):
            result[chosen == index] = values[chosen == index] @ self.filters[index]
        result += means
        return result


def _patches(plane: Array, side: int) -> Array:
    """Every patch of a plane (H, W), row by row: (n, side * side)."""
    windows = np.lib.stride_tricks.sliding_window_view(plane, (side, side))
    return windows.reshape(-1, side * side)


def _overlapped(patches: Array, places: NDArray[np.int64], shape: tuple[int, ...], side: int) -> Array:
    """The mean at every pixel of the patches that lie on it; patches may come more than once.

    `patches` is (n, side * side), `places` (n,) their numbers as `_patches` counts them.
    """
    height, width = shape
    rows, columns = np.divmod(places, width - side + 1)
    corner = rows * width + columns
    total, count = np.zeros(height * width), np.zeros(height * width)
    for index in range(side * side):
        at = corner + index // side * width + index % side
        total += np.bincount(at, patches[:, index], len(total))
        count += np.bincount(at, minlength=len(count))
    return (total / count).reshape(height, width)


def _similar(plane: Array, count: int, settings: Groups) -> NDArray[np.int64]:
    """Groups of similar patches (groups, count), each with the patch that it is of as its first."""
    height, width = (side - settings.side + 1 for side in plane.shape)
    patches = _patches(plane, settings.side).reshape(height, width, -1)
    numbers = np.arange(height * width).reshape(height, width)
    groups = []
    for row in _starts(height, settings.step):
        for column in _starts(width, settings.step):
            rows = slice(max(row - settings.reach, 0), row + settings.reach + 1)
            columns = slice(max(column - settings.reach, 0), column + settings.reach + 1)
            distances = np.square(patches[rows, columns] - patches[row, column]).sum(2).ravel()
            own = numbers[rows, columns].ravel()
            distances[own == numbers[row, column]] = -1
            nearest = np.argsort(distances, kind="stable")[:count]
            groups.append(own[np.resize(nearest, count)])  # a small picture's come more than once
    return np.stack(groups)


def _starts(count: int, step: int) -> list[int]:
    return sorted({*range(0, count, step), count - 1})


def _lowered(plane: Array, places: NDArray[np.int64], left: Array, settings: Groups) -> Array:
    """A plane made of groups of patches, whose singular values are lowered for noise of the variances `left`."""
    groups = _patches(plane, settings.side)[places]  # (groups, n, D)
    means = groups.mean(1, keepdims=True)
    centered = groups - means
    squares, vectors = np.linalg.eigh(centered.mT @ centered)
    singular = np.sqrt(squares.clip(1e-9))
    bound = 4 * settings.weight * places.shape[1] ** 0.5 * 2 * left[:, None]
    kept = np.where(singular**2 > bound, (singular + np.sqrt((singular**2 - bound).clip(0))) / 2, 0)
    shrunk = centered @ ((vectors * (kept / singular)[:, None]) @ vectors.mT) + means
    patches = shrunk.reshape(-1, settings.side**2)
    return _overlapped(patches, places.ravel(), plane.shape, settings.side)
