"""Refinement of a placement: phase correlation measures the shift of windows, and a smooth field is fitted to them."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwisp.imaging.placement import LEVELS, NOISE, Placement, Plane, polynomial_terms, view, warp, whole, work_size

TILE = 64
"""px; shifts are measured in Hann windows of twice that."""
MAX_WINDOWS = 16
"""Windows in a row or column at most."""
SOFTNESS = 0.14
"""Cycles/px at which the weight of a spectrum has fallen to 61 %: JPEG removes the finest detail."""
STIFFNESS = 1e-3
"""Ridge penalty of the curved terms of a field, which keeps it straight where no window says anything."""
CHANCE = 4.0
"""Standard deviations that the peak of a correlation must exceed, so that it is none by chance."""


@dataclass(frozen=True)
class Measured:
    """Shifts of N windows."""

    centers: NDArray[np.float64]
    """(N, 2), rows and columns in px of the work size."""
    shifts: NDArray[np.float64]
    """(N, 2), how far the content lies below and right of the box's, in px of the work size."""
    weights: NDArray[np.float64]
    """(N,), height of the peak above chance; 0 where nothing was found."""


def refine(turned: Plane, reference: Plane, placement: Placement) -> Placement:
    """The placement to a fraction of a px, distortion of some percent included.

    Args:
        turned: (h, w), the picture, turned by the placement's orientation.
        reference: (H, W).
        placement: about where the picture lies, as `alignment.find_placement` gives it.
    """
    for level in LEVELS[1:]:
        size = work_size(turned.shape, reference.shape, placement.box, level)
        placement, _ = adjust(turned, reference, placement, size)
    return placement


def adjust(turned: Plane, reference: Plane, placement: Placement, size: tuple[int, int]) -> tuple[Placement, float]:
    """One step of refinement.

    Args:
        turned: (h, w), the picture, turned by the placement's orientation.
        reference: (H, W).
        placement: where the picture lies so far.
        size: (height, width) at which both are compared.

    Returns:
        The new placement, and a score: the sum of the weights of the windows that agree, 0 for fewer than three.
    """
    if min(size) >= 6 * TILE:
        window = 2 * TILE
    elif min(size) >= 2 * TILE:
        window = TILE
    else:
        window = TILE // 2
    measured = _measure(turned, reference, placement, size, window)
    good = measured.weights > 0
    if good.sum() < 3:
        return placement, 0.0
    sides = np.array(size)
    terms = 10 if good.sum() >= 40 else 3
    weights = measured.weights[good]
    places, shifts = measured.centers[good] / sides, measured.shifts[good] / sides
    field, inliers = _fit(places, shifts, weights, terms, 0.5 / sides.mean())
    score = float(weights[inliers].sum() / math.sqrt(len(measured.weights)))
    return _absorb(placement, field), score


def _measure(turned: Plane, reference: Plane, placement: Placement, size: tuple[int, int], window: int) -> Measured:
    """The shifts of windows of a picture against the reference."""
    picture = view(turned, whole(turned), size)
    shown = warp(reference, placement, size)  # with the field known so far, because a window measures one shift
    grid = np.meshgrid(_starts(size[0], window), _starts(size[1], window), indexing="ij")
    tops, lefts = grid[0].ravel(), grid[1].ravel()
    centers = np.stack([tops, lefts], 1).astype(np.float64) + window / 2
    rows = (tops[:, None] + np.arange(window)).clip(0, size[0] - 1)
    columns = (lefts[:, None] + np.arange(window)).clip(0, size[1] - 1)
    hann = torch.outer(torch.hann_window(window), torch.hann_window(window))
    spectra, contrasts = [], []
    for plane in (picture, shown):
        tiles = torch.from_numpy(plane[rows[:, :, None], columns[:, None, :]])
        tiles = (tiles - (tiles * hann).sum((1, 2), keepdim=True) / hann.sum()) * hann
        contrasts.append(tiles.square().mean((1, 2)).sqrt().numpy())
        spectra.append(torch.fft.rfft2(tiles))
    correlation, samples = _phase_correlation(spectra[0], spectra[1], window)
    shifts, height = _peaks(correlation)
    chance = CHANCE / math.sqrt(samples)
    flat = np.minimum(*contrasts) < NOISE / 3
    weights = np.where(flat, 0.0, (height - chance).clip(0))
    known = placement.shifts(centers[:, 0] / size[0], centers[:, 1] / size[1]) * size
    return Measured(centers, shifts + known, weights)


def _starts(side: int, window: int) -> NDArray[np.int64]:
    """Where windows begin along one axis: half overlapping, `MAX_WINDOWS` at most."""
    count = min(MAX_WINDOWS, max(1, round(2 * side / window) - 1))
    return np.linspace(0, max(0, side - window), count).round().astype(int)


def _phase_correlation(first: Tensor, second: Tensor, window: int) -> tuple[Tensor, float]:
    """Phase correlations (N, window, window) of spectra, 1 for equal ones, and the effective number of frequencies."""
    frequency = torch.hypot(torch.fft.fftfreq(window)[:, None], torch.fft.rfftfreq(window)[None])
    weight = torch.exp(-((frequency / SOFTNESS) ** 2) / 2)
    weight[0, 0] = 0
    cross = first * second.conj()
    whitened = cross / cross.abs().clamp(min=1e-9) * weight
    total = float(torch.fft.irfft2(weight.to(torch.complex64), (window, window))[0, 0])
    effective = float(weight.sum() ** 2 / weight.square().sum()) * 2
    return torch.fft.irfft2(whitened, (window, window)) / total, effective


def _peaks(correlation: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions (N, 2), signed and to a fraction of a px, and heights (N,) of the peaks of periodic (N, n, n)."""
    count, side = correlation.shape[:2]
    index = correlation.flatten(1).argmax(1)
    rows, columns = index // side, index % side
    own = torch.arange(count)
    height = correlation[own, rows, columns].clamp(min=1e-6)
    above, below = correlation[own, (rows - 1) % side, columns], correlation[own, (rows + 1) % side, columns]
    left, right = correlation[own, rows, (columns - 1) % side], correlation[own, rows, (columns + 1) % side]
    positions = [_vertex(rows, above, height, below, side), _vertex(columns, left, height, right, side)]
    return torch.stack(positions, 1).double().numpy(), height.double().numpy()


def _vertex(position: Tensor, before: Tensor, height: Tensor, after: Tensor, side: int) -> Tensor:
    """Signed position of a Gaussian peak along one axis: the vertex of a parabola through three logarithms."""
    low = before.clamp(min=1e-6).log()
    center = height.clamp(min=1e-6).log()
    high = after.clamp(min=1e-6).log()
    fraction = ((high - low) / (2 * (2 * center - low - high)).clamp(min=1e-6)).clamp(-0.5, 0.5)
    return torch.where(position >= side // 2, position - side, position) + fraction


def _fit(
    places: NDArray[np.float64], shifts: NDArray[np.float64], weights: NDArray[np.float64], count: int, near: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Fit a smooth field to shifts, robustly: iteratively reweighted least squares of the absolute residuals.

    Args:
        places: (N, 2), 0 to 1.
        shifts: (N, 2), in shares of the sides.
        weights: (N,).
        count: number of polynomial terms.
        near: residual that counts as near.

    Returns:
        The field (2, count), and which shifts agree with it (N,).
    """
    terms = polynomial_terms(places[:, 0], places[:, 1], count)
    constant = polynomial_terms(places[:, 0], places[:, 1], 1)
    weight = weights.copy()
    field = np.zeros((2, count))
    for turn in range(25):  # constants first, to find where most lie; then lines, then curves
        used = constant if turn < 5 else terms[:, :3] if turn < 15 else terms
        squares = used.T @ (weight[:, None] * used)
        curved = range(3, len(squares))
        squares[curved, curved] += STIFFNESS * weight.sum()
        solution = np.linalg.lstsq(squares, used.T @ (weight[:, None] * shifts), rcond=1e-9)[0]
        residual = np.hypot(*(shifts - used @ solution).T)
        weight = weights / np.maximum(residual, near / 4)
        field[:] = 0
        field[:, : used.shape[1]] = solution.T
    return field, residual < 3 * near


def _absorb(placement: Placement, field: NDArray[np.float64]) -> Placement:
    """The placement with a new field, whose scaling and shift are taken into the box.

    Content at place p of the picture lies at p - field(p) of the box as it was.
    """
    field = field.copy()
    sides, starts = [], []
    for axis, (start, side) in enumerate(zip(placement.box[:2], placement.box[2:], strict=True)):
        constant, slope = field[axis, 0], 2 * field[axis, 1 + axis]  # by the place from 0 to 1
        starts.append(start - side * (constant - slope / 2))
        sides.append(side * (1 - slope))
        field[axis, 0] = field[axis, 1 + axis] = 0
        field[axis] /= 1 - slope
    return replace(placement, box=(starts[0], starts[1], sides[0], sides[1]), field=field)
