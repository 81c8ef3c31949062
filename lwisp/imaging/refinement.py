"""Refinement of a placement: windows are measured by phase correlation, and a smooth field is fitted through them."""

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwisp.imaging.placement import LEVELS, NOISE, Placement, Plane, polynomial_terms, view, warp, whole, work_size

TILE = 64  # px; shifts are measured in windows of twice that, Hann's
MOST = 16  # windows in a row or column
SOFTNESS = 0.14  # cycles/px at which the spectrum's weight has fallen to 61 %: a JPEG has lost the finest detail
STIFFNESS = 1e-3  # keeps curves away from where no tile says anything
CHANCE = 4.0  # standard deviations of a peak by chance that a real one has to be above


def refine(turned: Plane, reference: Plane, placement: Placement) -> Placement:
    """The same placement to a fraction of a px, distortion of some percent included, of a picture that is turned."""
    for level in LEVELS[1:]:
        size = work_size(turned.shape, reference.shape, placement.box, level)
        placement = adjust(turned, reference, placement, size)[0]
    return placement


def adjust(turned: Plane, reference: Plane, placement: Placement, size: tuple[int, int]) -> tuple[Placement, float]:
    """A placement after its tiles have said how they lie, and the sum of what they are worth; 0: nothing fits."""
    window = 2 * TILE if min(size) >= 6 * TILE else TILE if min(size) >= 2 * TILE else TILE // 2
    centers, moved, worth = _measure(turned, reference, placement, size, window)
    share = np.array(size)
    good = worth > 0
    if good.sum() < 3:
        return placement, 0.0
    places = centers[good] / share
    terms = 10 if good.sum() >= 40 else 3
    field, inliers = _fit(places, moved[good] / share, worth[good], terms, 0.5 / share.mean())
    placement = _move(placement, field)
    return placement, float(worth[good][inliers].sum() / math.sqrt(len(worth)))


def _measure(
    turned: Plane, reference: Plane, placement: Placement, size: tuple[int, int], window: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Centers (N, 2) of windows in work px, how far their content lies from the box's (N, 2), and its worth (N,)."""
    picture = view(turned, whole(turned), size)
    shown = warp(reference, placement, size)  # bent as far as is known, for a window holds one shift
    counts = [min(MOST, max(1, round(2 * side / window) - 1)) for side in size]
    starts = [
        np.linspace(0, max(0, side - window), count).round().astype(int)
        for side, count in zip(size, counts, strict=True)
    ]
    tops, lefts = (x.ravel() for x in np.meshgrid(*starts, indexing="ij"))
    centers = np.stack([tops, lefts], 1) + window / 2
    rows, columns = (
        (start[:, None] + np.arange(window)).clip(0, side - 1) for start, side in zip((tops, lefts), size, strict=True)
    )
    hann = torch.outer(torch.hann_window(window), torch.hann_window(window))
    spectra, contrasts = [], []
    for plane in (picture, shown):
        tiles = torch.from_numpy(plane[rows[:, :, None], columns[:, None, :]])
        tiles = (tiles - (tiles * hann).sum((1, 2), keepdim=True) / hann.sum()) * hann
        contrasts.append(tiles.square().mean((1, 2)).sqrt().numpy())
        spectra.append(torch.fft.rfft2(tiles))
    peaks, weight = _phase_correlation(spectra[0], spectra[1], window)
    moved, height = _peaks(peaks)
    chance = CHANCE / math.sqrt(weight)
    flat = np.minimum(*contrasts) < NOISE / 3
    worth = np.where(flat, 0.0, (height - chance).clip(0))
    known = placement.shifts(centers[:, 0] / size[0], centers[:, 1] / size[1]) * size
    return centers, moved + known, worth


def _phase_correlation(first: Tensor, second: Tensor, window: int) -> tuple[Tensor, float]:
    frequency = torch.hypot(torch.fft.fftfreq(window)[:, None], torch.fft.rfftfreq(window)[None])
    weight = torch.exp(-((frequency / SOFTNESS) ** 2) / 2)
    weight[0, 0] = 0
    cross = first * second.conj()
    whitened = cross / cross.abs().clamp(min=1e-9) * weight
    total = float(torch.fft.irfft2(weight.to(torch.complex64), (window, window))[0, 0])
    effective = float(weight.sum() ** 2 / weight.square().sum()) * 2
    return torch.fft.irfft2(whitened, (window, window)) / total, effective


def _peaks(peaks: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where (N, 2) the greatest of periodic (N, n, n) lie, to a fraction, and how great they are (N,)."""
    count, side = peaks.shape[:2]
    index = peaks.flatten(1).argmax(1)
    rows, columns = index // side, index % side
    own = torch.arange(count)
    middle = peaks[own, rows, columns].clamp(min=1e-6)
    parts = []
    for position, before, after in (
        (rows, peaks[own, (rows - 1) % side, columns], peaks[own, (rows + 1) % side, columns]),
        (columns, peaks[own, rows, (columns - 1) % side], peaks[own, rows, (columns + 1) % side]),
    ):
        low, center, high = (x.clamp(min=1e-6).log() for x in (before, middle, after))  # of a Gaussian: a parabola
        fraction = ((high - low) / (2 * (2 * center - low - high)).clamp(min=1e-6)).clamp(-0.5, 0.5)
        signed = torch.where(position >= side // 2, position - side, position)
        parts.append(signed + fraction)
    return torch.stack(parts, 1).double().numpy(), middle.double().numpy()


def _fit(
    places: NDArray[np.float64], moved: NDArray[np.float64], worth: NDArray[np.float64], count: int, near: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The smooth field (2, count) through most of what tiles say, and which of them agree with it."""
    terms = polynomial_terms(places[:, 0], places[:, 1], count)
    start = polynomial_terms(places[:, 0], places[:, 1], 1)
    weight = worth.copy()
    field = np.zeros((2, count))
    for turn in range(25):  # first where most lie, then lines, then curves
        used = start if turn < 5 else terms[:, :3] if turn < 15 else terms
        squares = used.T @ (weight[:, None] * used)
        squares[range(3, len(squares)), range(3, len(squares))] += STIFFNESS * weight.sum()
        solution = np.linalg.lstsq(squares, used.T @ (weight[:, None] * moved), rcond=1e-9)[0]
        residual = np.hypot(*(moved - used @ solution).T)
        weight = worth / np.maximum(residual, near / 4)
        field[:] = 0
        field[:, : used.shape[1]] = solution.T
    return field, residual < 3 * near


def _move(placement: Placement, field: NDArray[np.float64]) -> Placement:
    """The placement with the field's scaling and shift taken into the box.

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
