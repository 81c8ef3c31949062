"""Mosaics of other patterns than Bayer's: what a pattern is, binning, interpolation."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lwisp.imaging.bayer import CFA, CFAS

Pattern = NDArray[np.str_]
"""(rows, columns), a letter for the color of each photosite; repeated from the mosaic's top-left photosite on."""
Signal = NDArray[np.float32]

XTRANS = np.array([list(row) for row in ("GBGGRG", "RGRBGB", "GBGGRG", "GRGGBG", "BGBRGR", "GRGGBG")])
"""Fujifilm's pattern (6, 6), in one of its places."""
LARGEST = 12
"""Rows and columns of the largest pattern that is looked for."""


def smallest(letters: Pattern) -> Pattern:
    """The smallest pattern that makes up a piece of a mosaic when it is repeated a whole number of times.

    Args:
        letters: (h, w), the colors of the piece.
    """
    height, width = letters.shape
    rows = next(side for side in range(1, height + 1) if height % side == 0 and _repeats(letters, side, 0))
    columns = next(side for side in range(1, width + 1) if width % side == 0 and _repeats(letters, side, 1))
    return letters[:rows, :columns]


def _repeats(letters: Pattern, side: int, axis: int) -> bool:
    first = letters.take(range(letters.shape[axis] - side), axis)
    return bool((first == letters.take(range(side, letters.shape[axis]), axis)).all())


def words(pattern: Pattern) -> str:
    """A pattern as messages have it: "RGGB" of four photosites in a row and two rows is "RGGB/RGGB"."""
    return "/".join("".join(row) for row in pattern)


def is_bayer(pattern: Pattern) -> bool:
    """Whether a pattern is one of Bayer's four."""
    return pattern.shape == (2, 2) and "".join(pattern.ravel()) in CFAS


def is_xtrans(pattern: Pattern) -> bool:
    """Whether a pattern is Fujifilm's X-Trans, in any place, upright or on its side."""
    if pattern.shape != (6, 6):
        return False
    turns = [np.roll(pattern, (down, across), (0, 1)) for down in range(6) for across in range(6)]
    return any(np.array_equal(turn, way) for turn in turns for way in (XTRANS, XTRANS.T))


def quad_corner(pattern: Pattern) -> tuple[int, int] | None:
    """The first (row, column) of a mosaic at which 2x2 photosites of one color begin that lie as in Bayer's pattern.

    Args:
        pattern: Of the mosaic.

    Returns:
        Each 0 or 1; None where it is no quad-Bayer pattern.
    """
    if pattern.shape != (4, 4):
        return None
    for row in (0, 1):
        for column in (0, 1):
            turned = np.roll(pattern, (-row, -column), (0, 1))
            blocks = turned[::2, ::2]
            if np.array_equal(blocks.repeat(2, 0).repeat(2, 1), turned) and is_bayer(blocks):
                return row, column
    return None


def bin_quads(mosaic: NDArray[np.uint16], pattern: Pattern) -> tuple[NDArray[np.uint16], CFA, float]:
    """A quad-Bayer mosaic of half the size, each photosite the mean of four of one color.

    Args:
        mosaic: (H, W) in DN, 4x4 or more.
        pattern: Its pattern, for which `quad_corner` has an answer.

    Returns:
        (h, w) of 16 bits, its Bayer pattern, and the factor that its values are multiplied by: 4, where that fits in
        16 bits, so that the means are exact, else 1.

    Raises:
        ValueError: The pattern is none of quad-Bayer.
    """
    corner = quad_corner(pattern)
    if corner is None:
        raise ValueError(f"expected a quad-Bayer pattern, got {words(pattern)}")
    row, column = corner
    height, width = (mosaic.shape[0] - row) // 2, (mosaic.shape[1] - column) // 2
    quads = mosaic[row : row + 2 * height, column : column + 2 * width].reshape(height, 2, width, 2)
    total = quads.sum((1, 3), dtype=np.uint32)
    factor = 4 if int(mosaic.max()) * 4 <= 65535 else 1
    letters = "".join(np.roll(pattern, (-row, -column), (0, 1))[::2, ::2].ravel())
    binned = total if factor == 4 else (total + 2) // 4
    return binned.astype(np.uint16), CFAS[CFAS.index(letters)], float(factor)


def colors_of(pattern: Pattern, shape: tuple[int, int], names: Sequence[str]) -> NDArray[np.uint8]:
    """Which of the names the color of each photosite is.

    Args:
        pattern: Of the mosaic.
        shape: (H, W).
        names: The letters in order.

    Returns:
        (H, W), indices into `names`.
    """
    order = list(names)
    indices = np.array([order.index(letter) for letter in pattern.ravel()], np.uint8).reshape(pattern.shape)
    repeats = [-(-side // step) for side, step in zip(shape, pattern.shape, strict=True)]
    return np.tile(indices, repeats)[: shape[0], : shape[1]]


def interpolate(signal: Signal, pattern: Pattern, names: Sequence[str]) -> Signal:
    """A mosaic of any pattern demosaiced by weighted means of the nearest photosites of each color.

    Weights fall off evenly with the distance, so that of Bayer's pattern it is bilinear interpolation.

    Args:
        signal: (H, W), the mosaic, linear.
        pattern: Its pattern.
        names: The colors in the order wanted, all of the pattern's.

    Returns:
        (H, W, len(names)).
    """
    reach = max(pattern.shape) - 1
    taps = (reach + 1 - np.abs(np.arange(-reach, reach + 1))).astype(np.float32)
    shape = signal.shape[0], signal.shape[1]
    colors = colors_of(pattern, shape, names)
    out = np.empty((*shape, len(names)), np.float32)
    for index in range(len(names)):
        known = (colors == index).astype(np.float32)
        mean = _spread(signal * known, taps) / np.maximum(_spread(known, taps), 1e-9)
        out[..., index] = np.where(known > 0, signal, mean)
    return out


def _spread(values: Signal, taps: Signal) -> Signal:
    """Weighted sums over a square window, nothing beyond the border."""
    reach = len(taps) // 2
    for axis in (0, 1):
        padded = np.pad(values, [(reach, reach) if side == axis else (0, 0) for side in (0, 1)])
        total = np.zeros_like(values)
        for place, tap in enumerate(taps):
            part = np.s_[place : place + values.shape[0]] if axis == 0 else np.s_[:, place : place + values.shape[1]]
            total += tap * padded[part]
        values = total
    return values


def mirror(
    mosaic: NDArray[np.uint16], pattern: Pattern, margin: int, least: int
) -> tuple[NDArray[np.uint16], int, int]:
    """An X-Trans mosaic made larger by reflection about photosites that its pattern is symmetric about.

    Args:
        mosaic: (H, W), 6x6 or more.
        pattern: Its pattern.
        margin: Photosites to add on each side, at least.
        least: Rows and columns that the result has at least.

    Returns:
        The mosaic, and the row and column in it of the first photosite.
    """
    before = -(-margin // 6) * 6  # so that the pattern stays where it is
    for axis in (0, 1):
        side = mosaic.shape[axis]
        after = max(margin, least - side - before)
        first = _axis(pattern, axis)
        last = first + (side - 1 - first) // 3 * 3
        mosaic = mosaic.take(_reflected(np.arange(-before, side + after), first, last, side), axis)
    return mosaic, before, before


def _axis(pattern: Pattern, axis: int) -> int:
    """The first row or column that an X-Trans pattern is symmetric about; each third one is."""
    places = np.arange(6)
    return next(middle for middle in range(3) if np.array_equal(pattern.take((2 * middle - places) % 6, axis), pattern))


def _reflected(places: NDArray[np.intp], first: int, last: int, side: int) -> NDArray[np.intp]:
    """Places outside of 0 to `side` reflected about `first` and `last`, as often as it takes."""
    span = last - first
    folded = last - np.abs((places - first) % (2 * span) - span)
    return np.where((places >= 0) & (places < side), places, folded)
