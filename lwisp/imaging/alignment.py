"""Where one picture lies in another: orientation, crop and scale, and a smooth field of shifts for what is left.

The camera's JPEG has its own tone, color and sharpness, so that only structure is compared: contrast normalized where
it lies (`normalize`), or the phases of spectra. A coarse search tries every orientation and scale; then tiles, finer
step by step, say how they lie, and a smooth field through them is what lenses and scaling do to a frame.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from lwisp.imaging.pixels import orient

Plane = NDArray[np.float32]
"""(H, W), one channel coded for the eye (about the square root of light), 0 to 1."""
Box = tuple[float, float, float, float]
"""Top, left, height, width in pixels of the reference, whose first pixel reaches from 0 to 1."""

COARSE = 128  # px of the reference's long side in the search
COVERS = np.geomspace(1.03, 0.3, 51)  # shares of the reference's sides that a picture may show: steps of 2.5 %
STICKS_OUT = 0.04  # of a side, by which it may lie outside
CANDIDATES = 4  # orientations with their best scale that are looked at closer
LEVELS = (256, 768, 768, 4096)  # px of the picture's long side; what a lens bends is followed to the corners in turns
TILE = 64  # px; shifts are measured in windows of twice that, Hann's
SETTLING = 3  # turns at the coarsest level
MOST = 16  # windows in a row or column
SOFTNESS = 0.14  # cycles/px at which the spectrum's weight has fallen to 61 %: a JPEG has lost the finest detail
STIFFNESS = 1e-3  # keeps curves away from where no tile says anything
NOISE = 0.012  # contrast that counts as none, coded values
BLOCKS = 4  # a side of a tile: what is compared for having been changed
UNLIKE = 0.3  # correlation below which a block shows something else
VISIBLE = (0.06, 0.94)  # brightness beyond which a tone curve may swallow structure
CHANCE = 4.0  # standard deviations of a peak by chance that a real one has to be above


@dataclass(frozen=True)
class Placement:
    """Where a picture lies in the reference.

    Turned by `orientation` (EXIF's, `image.orient`) it shows `box`. `field` (2, terms) are the coefficients of what is
    left: rows and columns, in shares of the picture's sides, as a polynomial over it.
    """

    orientation: int
    box: Box
    field: NDArray[np.float64]

    def shifts(self, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., 2): how far below and right of its place in the box the content lies, in shares of the sides.

        `rows` and `columns` (...) are places in the turned picture, 0 to 1.
        """
        values: NDArray[np.float64] = _terms(rows, columns, self.field.shape[1]) @ self.field.T
        return values

    @property
    def skew(self) -> float:
        """Share of the sides by which the content is turned, sheared or seen from elsewhere: no lens does that."""
        lines = (self.field[0, 2], self.field[1, 1])
        return float(np.abs([*lines, *self.field[:, 3:6].ravel()]).max())

    @property
    def bend(self) -> float:
        """Share of the sides by which the content is bent as lenses do, toward the middle or away from it."""
        return float(np.abs(self.field[:, 6:]).max(initial=0.0))


@dataclass(frozen=True)
class Agreement:
    """What the tiles of a picture, turned, have in common with the reference, each (rows, columns) of tiles."""

    rows: NDArray[np.float64]
    """Edges of the tiles from top to bottom, in shares of the picture's height."""
    columns: NDArray[np.float64]
    """The same from left to right."""
    detail: NDArray[np.float64]
    """Share of the tile that has structure in either picture."""
    match: NDArray[np.float64]
    """Correlation of the structure, -1 to 1; 0 where there is none."""
    changed: NDArray[np.float64]
    """Share of the tile with structure in one picture that the other lacks."""


def find_placement(picture: Plane, reference: Plane) -> Placement | None:
    """About where a picture (h, w) lies in a reference (H, W), or nothing where it seems to lie nowhere in it.

    It may be turned or mirrored, scaled, and cropped down to a third of the sides. What is found is for `refine` to
    make exact, and for `agreement` to judge.
    """
    found = [_settle(picture, reference, guess) for guess in _search(picture, reference)]
    good = [(score, placement) for score, placement in found if placement is not None]
    return max(good, key=lambda pair: pair[0])[1] if good else None


def refine(turned: Plane, reference: Plane, placement: Placement) -> Placement:
    """The same placement to a fraction of a px, distortion of some percent included, of a picture that is turned."""
    for level in LEVELS[1:]:
        size = work_size(turned.shape, reference.shape, placement.box, level)
        placement = _adjust(turned, reference, placement, size)[0]
    return placement


def work_size(
    shape: tuple[int, ...], reference: tuple[int, ...], box: Box, longest: int = LEVELS[-1]
) -> tuple[int, int]:
    """(height, width) at which a picture and the reference's box are compared: the coarser of both, this at most."""
    share = min(1.0, box[2] / shape[0], box[3] / shape[1], longest / max(shape))
    return max(1, round(shape[0] * share)), max(1, round(shape[1] * share))


def whole(plane: NDArray[Any]) -> Box:
    """The box that is all of it."""
    return 0.0, 0.0, float(plane.shape[0]), float(plane.shape[1])


def view(plane: Plane, box: Box, size: Sequence[int]) -> Plane:
    """What a box of a plane shows, (height, width) of `size`, antialiased; outside, the border goes on."""
    top, left, height, width = box
    margin = [math.ceil(2 * side / new) + 2 for side, new in ((height, size[0]), (width, size[1]))]
    starts = [math.floor(start) - edge for start, edge in zip((top, left), margin, strict=True)]
    ends = [math.ceil(end) + edge for end, edge in zip((top + height, left + width), margin, strict=True)]
    for axis, side in enumerate(plane.shape):
        if (top, left)[axis] >= 0 and (top + height, left + width)[axis] <= side:
            starts[axis], ends[axis] = max(0, starts[axis]), min(side, ends[axis])
    rows, columns = (
        np.arange(start, end).clip(0, side - 1) for start, end, side in zip(starts, ends, plane.shape, strict=True)
    )
    inside = all(len(places) == places[-1] - places[0] + 1 for places in (rows, columns))
    part = plane[starts[0] : ends[0], starts[1] : ends[1]] if inside else plane[rows[:, None], columns]
    inner = (left - starts[1], top - starts[0], left - starts[1] + width, top - starts[0] + height)
    picture = Image.fromarray(np.ascontiguousarray(part)).resize((size[1], size[0]), Image.Resampling.BILINEAR, inner)
    return np.array(picture)


def normalize(plane: Tensor, sigma: float) -> Tensor:
    """(H, W) less its surroundings, over their contrast: what is left of a picture whatever its tone curve."""
    blurs = []
    for side in plane.shape:
        place = torch.arange(side)
        near = torch.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))
        blurs.append(near / near.sum(1, keepdim=True))
    plane = plane - blurs[0] @ plane @ blurs[1].T
    contrast = (blurs[0] @ plane.square() @ blurs[1].T + NOISE**2).sqrt()
    return plane / contrast


def _search(picture: Plane, reference: Plane) -> list[Placement]:
    """The likeliest placements by normalized correlation over orientations and scales, without any field."""
    share = COARSE / max(reference.shape)
    size = tuple(max(8, round(side * share)) for side in reference.shape)
    base = normalize(torch.from_numpy(view(reference, whole(reference), size)), 2.0)
    padded = tuple(32 * math.ceil(side * 1.25 / 32) for side in size)
    spectrum, energy = (torch.fft.rfft2(x, padded) for x in (base, base * base))
    share_of_picture = min(1.0, 2 * COARSE / max(picture.shape))
    picture = view(picture, whole(picture), tuple(max(1, round(side * share_of_picture)) for side in picture.shape))
    best: dict[int, tuple[float, Placement]] = {}
    for transposed in (False, True):
        shown = orient(picture, 5) if transposed else picture
        orientations = (5, 6, 7, 8) if transposed else (1, 2, 3, 4)
        fitting = min(side / own for side, own in zip(size, shown.shape, strict=True))
        for cover in COVERS:
            tall, wide = (round(cover * fitting * side) for side in shown.shape)
            if min(tall, wide) < 16:
                break
            template = normalize(torch.from_numpy(view(shown, whole(shown), (tall, wide))), 2.0)
            # the other three orientations are flips of the first
            flips = torch.stack([template, template.flip(1), template.flip(0, 1), template.flip(0)])
            scores = torch.fft.irfft2(spectrum * torch.fft.rfft2(flips, padded).conj(), padded)
            under = torch.fft.irfft2(energy * torch.fft.rfft2(torch.ones(tall, wide), padded).conj(), padded)
            scores = scores / (under.clamp(min=0.2 * tall * wide) * template.square().sum().clamp(min=1)).sqrt()
            out = [math.ceil(STICKS_OUT * side) for side in size]
            scores = torch.roll(scores, out, (1, 2))
            reach = [max(1, side - own + 2 * edge + 1) for side, own, edge in zip(size, (tall, wide), out, strict=True)]
            scores = scores[:, : reach[0], : reach[1]]
            for orientation, score in zip(orientations, scores, strict=True):
                row, column = divmod(int(score.argmax()), score.shape[1])
                worth = float(score[row, column]) * math.sqrt(tall * wide)  # small pieces fit somewhere by chance
                if worth > best.get(orientation, (0.0,))[0]:
                    box = ((row - out[0]) / share, (column - out[1]) / share, tall / share, wide / share)
                    best[orientation] = worth, Placement(orientation, box, np.zeros((2, 3)))
    ranked = sorted(best.values(), key=lambda pair: -pair[0])[:CANDIDATES]
    return [placement for worth, placement in ranked if worth > 0.5 * ranked[0][0]]


def _settle(picture: Plane, reference: Plane, guess: Placement) -> tuple[float, Placement | None]:
    """A guess of the search brought nearer at the coarsest level, and how well it fits there."""
    turned = orient(picture, guess.orientation)
    score = 0.0
    for _ in range(SETTLING):
        size = work_size(turned.shape, reference.shape, guess.box, LEVELS[0])
        guess, score = _adjust(turned, reference, guess, size)
    return score, guess if score > 0 else None


def _adjust(turned: Plane, reference: Plane, placement: Placement, size: tuple[int, int]) -> tuple[Placement, float]:
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
    shown = _lay(reference, placement, size)  # bent as far as is known, for a window holds one shift
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


def _terms(rows: NDArray[np.float64], columns: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Terms (..., count) of a polynomial over places 0 to 1, of degree 1 (3 terms) or 3 (10).

    Legendre's, so that what a scaling and a shift can say of the whole field is in the first three.
    """
    y, x = 2 * rows - 1, 2 * columns - 1
    y2, x2 = (3 * y * y - 1) / 2, (3 * x * x - 1) / 2
    every = [np.ones_like(y), y, x, y2, y * x, x2, (5 * y**3 - 3 * y) / 2, y2 * x, y * x2, (5 * x**3 - 3 * x) / 2]
    return np.stack(every[:count], -1)


def _fit(
    places: NDArray[np.float64], moved: NDArray[np.float64], worth: NDArray[np.float64], count: int, near: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The smooth field (2, count) through most of what tiles say, and which of them agree with it."""
    terms = _terms(places[:, 0], places[:, 1], count)
    start = _terms(places[:, 0], places[:, 1], 1)
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


def agreement(turned: Plane, reference: Plane, placement: Placement) -> Agreement:
    """How the tiles of a turned picture (h, w) agree with the reference where they are placed."""
    size = work_size(turned.shape, reference.shape, placement.box)
    picture = torch.from_numpy(view(turned, whole(turned), size))
    shown = torch.from_numpy(_lay(reference, placement, size))
    rows, columns = (
        _grid(own, start, side, whole)
        for own, start, side, whole in zip(size, placement.box[:2], placement.box[2:], reference.shape, strict=True)
    )
    blocks = [torch.stack([_means(x, rows, columns) for x in (a, a * a)]) for a in (picture, shown)]
    both = _means(picture * shown, rows, columns) - blocks[0][0] * blocks[1][0]
    own, other = ((square - mean * mean).clamp(min=0) for mean, square in blocks)
    correlation = both / (own * other).sqrt().clamp(min=1e-9)
    shrunk = min(1.0, *(side / seen for side, seen in zip(size, placement.box[2:], strict=True)))
    noise = [_noise(picture), shrunk * _noise(torch.from_numpy(reference))]  # moving hides fine noise
    structured, expected = (x.sqrt() > max(2 * NOISE, 3 * sigma) for x, sigma in zip((own, other), noise, strict=True))
    visible = (blocks[0][0] > VISIBLE[0]) & (blocks[0][0] < VISIBLE[1])
    expected = expected & visible
    changed = (correlation < UNLIKE) & (structured | expected)

    def tiles(x: Tensor) -> NDArray[np.float64]:
        return functional.avg_pool2d(x[None].double(), BLOCKS)[0].numpy()

    both, own, other = (x * visible for x in (both, own, other))
    match = tiles(both) / np.sqrt(tiles(own) * tiles(other)).clip(1e-9)
    return Agreement(
        rows[::BLOCKS] / size[0],
        columns[::BLOCKS] / size[1],
        tiles(((structured & visible) | expected).double()),
        match,
        tiles(changed.double()),
    )


def _lay(reference: Plane, placement: Placement, size: tuple[int, int]) -> Plane:
    """The reference as the picture shows it, shifts included."""
    seen = view(reference, placement.box, size)
    if not placement.field.any():
        return seen
    shown = torch.from_numpy(seen)
    rows, columns = (np.linspace(0, 1, max(2, side // 16)) for side in size)
    shifts = placement.shifts(*np.meshgrid(rows, columns, indexing="ij"))
    field = functional.interpolate(
        torch.from_numpy(shifts).float().permute(2, 0, 1)[None], size, mode="bilinear", align_corners=True
    )[0]
    y, x = ((torch.arange(side) + 0.5) / side for side in size)
    grid = torch.stack([2 * (x[None] - field[1]) - 1, 2 * (y[:, None] - field[0]) - 1], -1)
    laid: Plane = functional.grid_sample(shown[None, None], grid[None], padding_mode="border", align_corners=False)[
        0, 0
    ].numpy()
    return laid


def _grid(own: int, start: float, side: float, whole: int) -> NDArray[np.int64]:
    """Edges of blocks, `BLOCKS` a tile, along one axis of a picture, over what the reference shows of it."""
    first = max(0, math.ceil(-start / side * own) + 2 if start < 0 else 0)
    last = min(own, math.floor((whole - start) / side * own) - 2 if start + side > whole else own)
    tile = TILE if own >= 5 * TILE else TILE // 2
    count = BLOCKS * max(1, (last - first) // tile)
    block = max(1, (last - first) // count)
    return first + (last - first - count * block) // 2 + block * np.arange(count + 1)


def _means(x: Tensor, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Tensor:
    kernel = (int(rows[1] - rows[0]), int(columns[1] - columns[0]))
    return functional.avg_pool2d(x[None, rows[0] : rows[-1], columns[0] : columns[-1]], kernel)[0]


def _noise(plane: Tensor) -> float:
    """Standard deviation of what is noise: the median over small places of what a Laplacian sees (Immerkaer, 1996)."""
    seen = plane.diff(n=2, dim=0).diff(n=2, dim=1).abs()[None]
    return float(functional.avg_pool2d(seen, 8).median()) * math.sqrt(math.pi / 2) / 6
