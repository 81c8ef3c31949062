"""Alignment: find where one picture lies in another.

A camera's JPEG has its own tone, color and sharpness, so only structure is compared: locally normalized contrast
(`normalize`) or the phases of spectra. `find_placement` searches all orientations and scales coarsely;
`refinement.refine` makes the result exact, and `agreement.compare_tiles` judges it. `find_shift` is for two pictures
of the same scale.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwisp.imaging.pixels import middle, orient
from lwisp.imaging.placement import LEVELS, NOISE, Placement, Plane, view, whole, work_size
from lwisp.imaging.refinement import adjust

COARSE = 128
"""px of the reference's long side in the search."""
SCALES = np.geomspace(1.03, 0.3, 51)
"""Shares of the reference's sides that a picture may show, in steps of 2.5 %."""
OVERHANG = 0.04
"""Share of a side by which a picture may lie outside of the reference."""
CANDIDATES = 4
"""Orientations, each at its best scale, that are looked at closer."""
SETTLING = 3
"""Steps of refinement of each candidate, at the coarsest level."""
REACH = 64
"""px by which a picture may be shifted in `find_shift`."""
WINDOW = 1024
"""Sides in px of the middle that `find_shift` looks at."""

Picture = NDArray[np.uint8]
"""(H, W, 3)."""
Shift = tuple[int, int]
"""Rows and columns by which a picture's content lies below and right of where the reference has it."""


def find_placement(picture: Plane, reference: Plane) -> Placement | None:
    """About where a picture lies in a reference; None where it seems to lie nowhere in it.

    Args:
        picture: (h, w); it may be turned or mirrored, scaled, and cropped down to a third of the sides.
        reference: (H, W).
    """
    best_score, best = 0.0, None
    for guess in _search(picture, reference):
        score, placement = _settle(picture, reference, guess)
        if score > best_score:
            best_score, best = score, placement
    return best


def _search(picture: Plane, reference: Plane) -> list[Placement]:
    """The likeliest placements by normalized cross-correlation over orientations and scales, without any field."""
    share = COARSE / max(reference.shape)
    height, width = (max(8, round(side * share)) for side in reference.shape)
    base = normalize(torch.from_numpy(view(reference, whole(reference), (height, width))), 2.0)
    padded = (32 * math.ceil(height * 1.25 / 32), 32 * math.ceil(width * 1.25 / 32))
    spectrum = torch.fft.rfft2(base, padded)
    energy = torch.fft.rfft2(base * base, padded)
    above, before = math.ceil(OVERHANG * height), math.ceil(OVERHANG * width)
    share_of_picture = min(1.0, 2 * COARSE / max(picture.shape))
    picture = view(picture, whole(picture), tuple(max(1, round(side * share_of_picture)) for side in picture.shape))
    best: dict[int, tuple[float, Placement]] = {}
    for transposed in (False, True):
        shown = orient(picture, 5) if transposed else picture
        orientations = (5, 6, 7, 8) if transposed else (1, 2, 3, 4)
        fitting = min(height / shown.shape[0], width / shown.shape[1])
        for scale in SCALES:
            tall, wide = (round(scale * fitting * side) for side in shown.shape)
            if min(tall, wide) < 16:
                break
            template = normalize(torch.from_numpy(view(shown, whole(shown), (tall, wide))), 2.0)
            # the other three orientations are flips of the first
            flips = torch.stack([template, template.flip(1), template.flip(0, 1), template.flip(0)])
            scores = torch.fft.irfft2(spectrum * torch.fft.rfft2(flips, padded).conj(), padded)
            under = torch.fft.irfft2(energy * torch.fft.rfft2(torch.ones(tall, wide), padded).conj(), padded)
            scores = scores / (under.clamp(min=0.2 * tall * wide) * template.square().sum().clamp(min=1)).sqrt()
            scores = torch.roll(scores, (above, before), (1, 2))
            rows = max(1, height - tall + 2 * above + 1)
            columns = max(1, width - wide + 2 * before + 1)
            for orientation, score in zip(orientations, scores[:, :rows, :columns], strict=True):
                row, column = divmod(int(score.argmax()), score.shape[1])
                evidence = float(score[row, column]) * math.sqrt(tall * wide)  # small pieces fit somewhere by chance
                if evidence > best.get(orientation, (0.0,))[0]:
                    box = ((row - above) / share, (column - before) / share, tall / share, wide / share)
                    best[orientation] = evidence, Placement(orientation, box, np.zeros((2, 3)))
    ranked = sorted(best.values(), key=lambda pair: -pair[0])[:CANDIDATES]
    return [placement for evidence, placement in ranked if evidence > 0.5 * ranked[0][0]]


def _settle(picture: Plane, reference: Plane, guess: Placement) -> tuple[float, Placement]:
    """A candidate refined at the coarsest level, and its score there; 0 where it does not fit."""
    turned = orient(picture, guess.orientation)
    score = 0.0
    for _ in range(SETTLING):
        size = work_size(turned.shape, reference.shape, guess.box, LEVELS[0])
        guess, score = adjust(turned, reference, guess, size)
    return score, guess


def normalize(plane: Tensor, sigma: float) -> Tensor:
    """Local contrast normalization: what is left of a picture whatever its tone curve.

    Args:
        plane: (H, W).
        sigma: standard deviation in px of the Gaussian that means and contrasts are taken with.
    """
    blurs = []
    for side in plane.shape:
        place = torch.arange(side)
        near = torch.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))
        blurs.append(near / near.sum(1, keepdim=True))
    vertical, horizontal = blurs
    plane = plane - vertical @ plane @ horizontal.T
    contrast = (vertical @ plane.square() @ horizontal.T + NOISE**2).sqrt()
    return plane / contrast


def find_shift(picture: Picture, reference: Picture, reach: int = REACH) -> Shift:
    """The shift of a picture against a reference, to whole px, by phase correlation of their middles.

    Args:
        picture: (H, W, 3).
        reference: (H, W, 3), may be of another size.
        reach: px by which the picture may be shifted.
    """
    common = [min(pair) for pair in zip(picture.shape[:2], reference.shape[:2], strict=True)]
    height, width = min(common[0], WINDOW), min(common[1], WINDOW)
    rows, columns = middle(common[0], height), middle(common[1], width)
    window = torch.outer(torch.hann_window(height), torch.hann_window(width))
    spectra = []
    for rgb in (picture, reference):
        brightness = torch.from_numpy(rgb[rows, columns].astype(np.float32)).mean(-1)
        spectra.append(torch.fft.rfft2((brightness - brightness.mean()) * window))
    cross = spectra[0] * spectra[1].conj()
    peaks = torch.fft.irfft2(cross / cross.abs().clamp(min=1e-6), (height, width))
    reach = min(reach, (min(height, width) - 1) // 2)
    near = torch.roll(peaks, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    row, column = divmod(int(near.argmax()), 2 * reach + 1)
    return row - reach, column - reach


def shift_image(picture: Picture, shift: Shift, size: tuple[int, ...]) -> Picture:
    """A picture moved onto a reference; where it shows nothing, its border is repeated.

    Args:
        picture: (H, W, 3).
        shift: as `find_shift` gives it.
        size: (height, width) of the reference.
    """
    rows = (np.arange(size[0]) + shift[0]).clip(0, picture.shape[0] - 1)
    columns = (np.arange(size[1]) + shift[1]).clip(0, picture.shape[1] - 1)
    shifted: Picture = picture[rows[:, None], columns]
    return shifted
