"""Where one picture lies in another: orientation, crop and scale, and a smooth field of shifts for what is left.

The camera's JPEG has its own tone, color and sharpness, so that only structure is compared: contrast normalized where
it lies (`normalize`), or the phases of spectra. A coarse search tries every orientation and scale; then tiles, finer
step by step, say how they lie, and a smooth field through them is what lenses and scaling do to a frame.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwisp.imaging.pixels import orient
from lwisp.imaging.placement import LEVELS, NOISE, Placement, Plane, view, whole, work_size
from lwisp.imaging.refinement import adjust

COARSE = 128  # px of the reference's long side in the search
COVERS = np.geomspace(1.03, 0.3, 51)  # shares of the reference's sides that a picture may show: steps of 2.5 %
STICKS_OUT = 0.04  # of a side, by which it may lie outside
CANDIDATES = 4  # orientations with their best scale that are looked at closer
SETTLING = 3  # turns at the coarsest level
REACH = 64  # px by which a picture may be shifted
WINDOW = 1024  # px of the middle that are looked at for the shift

Picture = NDArray[np.uint8]
"""(H, W, 3)."""
Shift = tuple[int, int]
"""Rows and columns by which a picture's content lies below and right of where the reference has it."""


def find_placement(picture: Plane, reference: Plane) -> Placement | None:
    """About where a picture (h, w) lies in a reference (H, W), or nothing where it seems to lie nowhere in it.

    It may be turned or mirrored, scaled, and cropped down to a third of the sides. What is found is for `refine` to
    make exact, and for `agreement` to judge.
    """
    found = [_settle(picture, reference, guess) for guess in _search(picture, reference)]
    good = [(score, placement) for score, placement in found if placement is not None]
    return max(good, key=lambda pair: pair[0])[1] if good else None


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
        guess, score = adjust(turned, reference, guess, size)
    return score, guess if score > 0 else None


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


def find_shift(picture: Picture, reference: Picture, reach: int = REACH) -> Shift:
    """How a picture (H, W, 3) lies on the reference, to whole pixels: phase correlation of the middle of both."""
    sides = list(zip(picture.shape[:2], reference.shape[:2], strict=True))
    height, width = (min(*pair, WINDOW) for pair in sides)
    top, left = (min(pair) - side for pair, side in zip(sides, (height, width), strict=True))
    middle = (slice(top // 2, top // 2 + height), slice(left // 2, left // 2 + width))
    window = torch.outer(torch.hann_window(height), torch.hann_window(width))
    spectra = []
    for rgb in (picture, reference):
        luma = torch.from_numpy(rgb[middle].astype(np.float32)).mean(-1)
        spectra.append(torch.fft.rfft2((luma - luma.mean()) * window))
    cross = spectra[0] * spectra[1].conj()
    peaks = torch.fft.irfft2(cross / cross.abs().clamp(min=1e-6), (height, width))
    reach = min(reach, (min(height, width) - 1) // 2)
    near = torch.roll(peaks, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    row, column = divmod(int(near.argmax()), 2 * reach + 1)
    return row - reach, column - reach


def shift_image(picture: Picture, shift: Shift, size: tuple[int, ...]) -> Picture:
    """The picture laid onto a reference of this size (height, width); where it shows nothing, its border goes on."""
    rows, columns = (
        (np.arange(side) + offset).clip(0, own - 1)
        for side, offset, own in zip(size, shift, picture.shape[:2], strict=True)
    )
    laid: Picture = picture[rows[:, None], columns]
    return laid
