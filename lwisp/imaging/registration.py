"""Laying one picture of a scene onto another, to whole pixels."""

import numpy as np
import torch
from numpy.typing import NDArray

REACH = 64  # px by which a picture may be shifted
WINDOW = 1024  # px of the middle that are looked at for the shift

Picture = NDArray[np.uint8]
"""(H, W, 3)."""
Shift = tuple[int, int]
"""Rows and columns by which a picture's content lies below and right of where the reference has it."""


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


def lay(picture: Picture, shift: Shift, size: tuple[int, ...]) -> Picture:
    """The picture laid onto a reference of this size (height, width); where it shows nothing, its border goes on."""
    rows, columns = (
        (np.arange(side) + offset).clip(0, own - 1)
        for side, offset, own in zip(size, shift, picture.shape[:2], strict=True)
    )
    laid: Picture = picture[rows[:, None], columns]
    return laid
