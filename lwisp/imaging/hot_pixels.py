"""Repair of photosites that a sensor's defects make too bright or too dark: single ones, hot ones in twos to fours."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
Neighbor = Callable[[int, int], Values]
"""(rows down, columns right) -> the photosites there, seen from each candidate; at borders the mosaic is mirrored."""

FLOOR = 0.01
"""Of the range from black to white: what sticks out by less is left, however quiet its neighbors are."""
LEAST = 6
"""DN: the same, for files of few bits."""
CONTRAST = 0.05
"""Of its neighbors' light: the same in bright places, where less is not seen, and clipping hides the noise."""
OVER_NEIGHBORS = 4.0
"""Times the range of the eight neighbors of its color, by which a photosite must stick out of all of them.

The range of eight values of noise is 2.8 standard deviations on average: 11 of them.
"""
LENS_BLUR = 0.2
"""The share of its excess that the photosites beside it must stay below.

A lens spreads light: of a white star whose spot has a standard deviation of 0.7 photosites it is 0.5 or more.
"""


CLUSTER_FLOOR = 0.03
"""Of the range from black to white: what hot photosites that touch others of their color must stick out by."""
MOST_TOUCHING = 50_000
"""Photosites of a frame that touch others and look hot: more are no defects, and are left."""
MOST_TOGETHER = 4
"""Of one color, that touch by a side or a corner: more are no defect of single photosites."""


def _around(down: int, right: int) -> list[tuple[int, int]]:
    """A place and its mirror images."""
    return sorted({(row, column) for row in (-down, down) for column in (-right, right)})


ROW, COLUMN = _around(0, 2), _around(2, 0)
EIGHT = ROW + COLUMN + _around(2, 2)
"""The neighbors of one color."""
FARTHER = _around(0, 4) + _around(4, 0) + _around(2, 4) + _around(4, 2) + _around(4, 4)
"""Those around them."""
BAND = 64  # rows that are looked at together: few enough to stay in the processor's cache
REACH = 4  # photosites from a candidate to the farthest that is looked at
MUCH = 2**14  # DN; neighbors that differ by more let nothing stick out four times as far


def repair_hot_pixels(mosaic: NDArray[np.uint16], black: float, white: float) -> tuple[NDArray[np.uint16], int]:
    """Replace hot and dead photosites by the median of their neighbors of one color.

    Hot or dead ones that stick out alone, and hot ones of one color that touch in twos to fours. A star or a glint
    stays: its light falls on the photosites beside it too, be they of other colors.

    Args:
        mosaic: (H, W) in DN, of any Bayer pattern; it is not changed.
        black: Black level in DN.
        white: White level in DN.

    Returns:
        The mosaic, the same array where nothing was found; and how many photosites were replaced.
    """
    if min(mosaic.shape) <= 2 * REACH:
        return mosaic, 0
    floor = max(FLOOR * (white - black), LEAST)
    rows, columns, grouped = _candidates(mosaic, floor, max(CLUSTER_FLOOR * (white - black), LEAST))
    for places in (ROW, COLUMN, EIGHT):  # most candidates at the borders are dropped by the first neighbors
        keep = _stick_out(_viewer(mosaic, rows, columns), places, floor, black)
        rows, columns = rows[keep], columns[keep]
    at = _viewer(mosaic, rows, columns)
    keep = _beside(at, at(0, 0) - np.mean([at(*place) for place in EIGHT], axis=0)) < LENS_BLUR
    doubtful = np.min([at(*place) for place in EIGHT], axis=0) <= black  # what is clipped there hides the noise
    for index, side in zip((rows, columns), mosaic.shape, strict=True):
        doubtful |= (index < 2) | (index >= side - 2)  # some of the eight are mirrored ones
    keep &= ~doubtful | _stick_out(at, EIGHT + FARTHER, floor, black)
    together = _clusters(mosaic, grouped, black, max(CLUSTER_FLOOR * (white - black), LEAST))
    if not keep.any() and not together:
        return mosaic, 0
    medians = np.median([at(*place) for place in EIGHT], axis=0)
    repaired = mosaic.copy()
    repaired[rows[keep], columns[keep]] = medians[keep].astype(np.uint16)
    for place, value in together.items():
        repaired[place] = value
    return repaired, int(keep.sum()) + len(together)


def _candidates(
    mosaic: NDArray[np.uint16], floor: float, cluster_floor: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """(rows, columns) of all that stick out of the four nearest of their color, and of all in the border.

    The third are those of all that stick out of two of the four, as hot ones do that touch others.

    It is a quarter of the excess that is compared for the first, for `OVER_NEIGHBORS` is four, in 16 bits throughout.
    """
    height, width = mosaic.shape
    quarter = np.uint16(min(floor / 4, MUCH))
    least = np.uint16(min(cluster_floor / 4, MUCH))
    found, grouped = [], []
    for top in range(2, height - 2, BAND):
        bottom = min(top + BAND, height - 2)
        middle = mosaic[top:bottom, 2:-2]
        left, right = mosaic[top:bottom, :-4], mosaic[top:bottom, 4:]
        above, below = mosaic[top - 2 : bottom - 2, 2:-2], mosaic[top + 2 : bottom + 2, 2:-2]
        high, low = np.maximum(left, right), np.minimum(left, right)
        lower, upper = np.minimum(above, below), np.maximum(above, below)
        second = np.maximum(low, lower)  # with the next line the second lowest of the four
        np.minimum(second, np.minimum(high, upper), out=second)
        apart = second - np.minimum(low, lower)
        np.minimum(apart, MUCH, out=apart)
        apart += least
        rise = np.maximum(middle, second) - second
        rise >>= 2
        grouped.append(np.flatnonzero(rise >= apart) + (top - 2) * (width - 4))
        for values in (above, below):
            np.maximum(high, values, out=high)
            np.minimum(low, values, out=low)
        spread = high - low
        np.minimum(spread, MUCH, out=spread)
        spread += quarter
        excess = np.maximum(middle, high) - high
        excess |= low - np.minimum(middle, low)  # one of both is zero
        excess >>= 2
        found.append(np.flatnonzero(excess >= spread) + (top - 2) * (width - 4))
    rows, columns = np.divmod(np.concatenate(found), width - 4)
    group_rows, group_columns = np.divmod(np.concatenate(grouped), width - 4)
    across, down = np.arange(width), np.arange(2, height - 2)
    top_and_bottom, sides = np.array([0, 1, height - 2, height - 1]), np.array([0, 1, width - 2, width - 1])
    return (
        np.concatenate([rows + 2, np.repeat(top_and_bottom, width), np.repeat(down, 4)]),
        np.concatenate([columns + 2, np.tile(across, 4), np.tile(sides, len(down))]),
        (group_rows + 2, group_columns + 2),
    )


def _clusters(
    mosaic: NDArray[np.uint16], candidates: tuple[NDArray[np.intp], NDArray[np.intp]], black: float, floor: float
) -> dict[tuple[int, int], int]:
    """Hot photosites of one color that touch in twos to fours, and what they are replaced by.

    Args:
        mosaic: (H, W) in DN.
        candidates: (rows, columns) of those that are looked at.
        black: Black level in DN.
        floor: By how much they must stick out, in DN.

    Returns:
        Values by (row, column): the medians of the neighbors of their color that are not hot.
    """
    rows, columns = candidates
    height, width = mosaic.shape
    is_inside = (rows >= REACH) & (rows < height - REACH) & (columns >= REACH) & (columns < width - REACH)
    rows, columns = rows[is_inside], columns[is_inside]
    at = _viewer(mosaic, rows, columns)
    lowest = np.sort([at(*place) for place in EIGHT], axis=0)[: len(EIGHT) - MOST_TOGETHER + 1]  # none of them is hot
    excess = at(0, 0) - lowest[-1]
    keep = excess >= np.maximum(floor, CONTRAST * (lowest[-1] - black)) + OVER_NEIGHBORS * (lowest[-1] - lowest[0])
    rows, columns, lowest = rows[keep], columns[keep], lowest[:, keep]
    at = _viewer(mosaic, rows, columns)
    keep = _beside(at, at(0, 0) - lowest.mean(0)) < LENS_BLUR
    left = {(int(row), int(column)) for row, column in zip(rows[keep], columns[keep], strict=True)}
    repaired: dict[tuple[int, int], int] = {}
    while left and len(rows) <= MOST_TOUCHING:
        members = _take_connected(left)
        if 2 <= len(members) <= MOST_TOGETHER and all(_is_hot(mosaic, one, members, black, floor) for one in members):
            for one in members:
                repaired[one] = int(np.median(_values(mosaic, one, EIGHT, members)))
    return repaired


def _take_connected(left: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Take one place out of a set, and all that touch it or one another in their color."""
    members: set[tuple[int, int]] = set()
    waiting = [left.pop()]
    while waiting:
        row, column = waiting.pop()
        members.add((row, column))
        near = {(row + down, column + right) for down, right in EIGHT} & left
        left -= near
        waiting += near
    return members


def _values(
    mosaic: NDArray[np.uint16], place: tuple[int, int], steps: list[tuple[int, int]], members: set[tuple[int, int]]
) -> list[float]:
    """The photosites around a place, but those of the cluster."""
    around = [(place[0] + down, place[1] + right) for down, right in steps]
    return [float(mosaic[one]) for one in around if one not in members]


def _is_hot(
    mosaic: NDArray[np.uint16], place: tuple[int, int], members: set[tuple[int, int]], black: float, floor: float
) -> bool:
    """Whether a photosite of a cluster sticks out of all around it that are not of the cluster."""
    values = _values(mosaic, place, EIGHT + FARTHER, members)
    low, high = min(values), max(values)
    return float(mosaic[place]) - high > max(floor, CONTRAST * (high - black)) + OVER_NEIGHBORS * (high - low)


def _viewer(mosaic: NDArray[np.uint16], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Neighbor:
    height, width = mosaic.shape

    def at(down: int, right: int) -> Values:
        row = (height - 1) - np.abs((height - 1) - np.abs(rows + down))
        column = (width - 1) - np.abs((width - 1) - np.abs(columns + right))
        return np.asarray(mosaic[row, column], np.float32)

    return at


def _stick_out(at: Neighbor, places: list[tuple[int, int]], floor: float, black: float) -> NDArray[np.bool_]:
    """Which candidates are beyond all of these neighbors, by much more than those differ."""
    values = np.stack([at(*place) for place in places])
    center, low, high = at(0, 0), values.min(0), values.max(0)
    nearest = np.where(center > high, high, low)
    least = np.maximum(floor, CONTRAST * (nearest - black))
    excess = np.maximum(center - high, low - center)
    return np.asarray(excess > least + OVER_NEIGHBORS * (high - low))


def _beside(at: Neighbor, excess: Values) -> Values:
    """How far the eight photosites beside each candidate stick out too, in shares of what it does itself (`excess`).

    The sum over those in its row, those in its column and the diagonal ones: each the mean of theirs, over the mean of
    photosites of the same color a little farther off.
    """

    def mean(*steps: tuple[int, int]) -> Values:
        values = [at(*place) for step in steps for place in _around(*step)]
        return np.asarray(np.mean(values, axis=0), np.float32)

    in_row = mean((0, 1)) - mean((2, 1))
    in_column = mean((1, 0)) - mean((1, 2))
    diagonal = mean((1, 1)) - mean((1, 3), (3, 1))
    return np.asarray((in_row + in_column + diagonal) / excess, np.float32)
