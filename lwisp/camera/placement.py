"""Alignment of a camera's JPEG with the mosaic of its RAW, and the checks that the two belong together.

`align` finds how the JPEG lies on the mosaic (rotated, mirrored, scaled, cropped, distorted) and which of its tiles can
be trusted, and refuses what is not a picture of the same shot. `place` repeats a known placement without searching.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lwisp.camera.pairs import Pair
from lwisp.camera.settings import PairLimits
from lwisp.camera.target import read_target
from lwisp.errors import InputError
from lwisp.files.raw import RawImage
from lwisp.imaging import alignment, color, matching
from lwisp.imaging.agreement import BLOCKS, Agreement, compare_tiles
from lwisp.imaging.bayer import cfa_offset
from lwisp.imaging.pixels import orient
from lwisp.imaging.placement import Box, Placement, Plane, view, whole, work_size
from lwisp.imaging.refinement import refine

MIXTURE_GRID = (32, 48)
"""Rows and columns at which `_fit_mixture` compares brightness."""


@dataclass(frozen=True)
class Tile:
    """A rectangle of an aligned JPEG that can be trusted, in px of the JPEG."""

    top: int
    left: int
    height: int
    width: int
    shift: tuple[float, float]
    """Rows and columns by which its content lies below and right of where the pair's box puts it, in px of the JPEG."""
    confidence: float
    """0 to 1: how well structure agrees; `PairLimits.flat_confidence` where there is none."""


@dataclass(frozen=True)
class AlignedPair:
    """A JPEG and its place on the mosaic of its RAW."""

    pair: Pair
    target: NDArray[np.uint8]
    """(h, w, 3) sRGB, oriented as the mosaic is stored (`RawImage.mosaic`, its orientation not applied)."""
    box: Box
    """Top, left, height, width of what the target shows, in photosites of the mosaic; may stick out a little.

    The edge of the first photosite is at 0, its center at 0.5. Row y of the target (its center) lies at
    top + (y + 0.5) * height / h.
    """
    tiles: tuple[Tile, ...]
    orientation: int = 1
    """EXIF orientation, 1 to 8, that turns the JPEG into the target."""

    @property
    def scale(self) -> float:
        """JPEG px per photosite: the mean of both directions, which hardly differ."""
        return math.sqrt(self.target.shape[0] * self.target.shape[1] / (self.box[2] * self.box[3]))


@dataclass(frozen=True)
class KnownPlacement:
    """The result of `align` less the pixels: a few KB."""

    orientation: int
    box: Box
    tiles: tuple[Tile, ...]


def align(pair: Pair, raw: RawImage, limits: PairLimits = PairLimits()) -> AlignedPair:
    """The pair's JPEG, its place on the mosaic of its RAW, and the tiles of it that can be trusted.

    Args:
        pair: RAW and JPEG.
        raw: The pair's RAW, decoded.
        limits: What is accepted.

    Raises:
        InputError: The JPEG cannot be read, is monochrome, shows another shot or the scene from elsewhere, or was
            edited or merged locally. The message names the file.
    """
    name = pair.jpeg_name
    jpeg = read_target(pair, raw, limits)
    cells = _cells(raw)
    planes = [np.sqrt(_stretch(plane)) for plane in cells]

    reference = _mix(planes, color.BT601_LUMA.tolist())
    luma = _small_luma(jpeg, max(reference.shape))
    placement = alignment.find_placement(luma, reference)
    if placement is None:
        raise InputError(f"{name} does not show what the RAW shows; is it of another shot?")

    luma = orient(luma, placement.orientation)
    target = orient(jpeg, placement.orientation)
    reference = _mix(planes, _fit_mixture(luma, planes, placement.box))
    placement = refine(luma, reference, placement)
    seen = compare_tiles(luma, reference, placement)
    shown = _block_means(target, whole(target), seen)
    sensed = _block_means(np.stack(cells, -1), placement.box, seen)

    judged = seen.detail >= limits.tile_detail
    matching = (seen.match >= limits.tile_match) & (seen.changed == 0)
    _check_agreement(name, judged, matching, limits)
    compared = work_size(luma.shape, reference.shape, placement.box)
    _check_geometry(name, placement, reference.shape, compared, limits)
    _check_colors(name, shown, sensed, limits)
    residual, unevenness = _look_residual(shown, sensed, raw, limits)
    if unevenness > limits.unevenness:
        raise InputError(
            f"{name} is {unevenness:.2f} brighter or darker from place to place than one look can tell (up to "
            f"{limits.unevenness} is usual); was it merged of several shots?"
        )
    flat = limits.flat_confidence * (seen.changed == 0)
    confidence = np.where(judged, matching * seen.match, flat) * (residual < limits.residual)
    tiles = tuple(_tiles(placement, seen, confidence, target.shape))
    top, left, height, width = (2 * value for value in placement.box)  # cells -> photosites
    return AlignedPair(pair, target, (top, left, height, width), tiles, placement.orientation)


def place(pair: Pair, raw: RawImage, known: KnownPlacement, limits: PairLimits = PairLimits()) -> AlignedPair:
    """What `align` gives for the same files, from the placement that it found before.

    Args:
        pair: RAW and JPEG.
        raw: The pair's RAW, decoded.
        known: The placement.
        limits: As for `align`.

    Raises:
        InputError: The JPEG cannot be read.
    """
    target = orient(read_target(pair, raw, limits), known.orientation)
    return AlignedPair(pair, target, known.box, known.tiles, known.orientation)


def _small_luma(rgb: NDArray[np.uint8], longest: int) -> Plane:
    """Luma (h, w) in [0, 1] of a picture, reduced to this many px of its longer side where it has more."""
    share = min(1.0, longest / max(rgb.shape))
    luma = np.asarray(Image.fromarray(rgb).convert("L")).astype(np.float32) / np.float32(255)
    return view(luma, whole(luma), [max(1, round(side * share)) for side in luma.shape])


def _cells(raw: RawImage) -> list[Plane]:
    """Red, green and blue of each 2x2 cell, balanced, linear, black at 0: (H // 2, W // 2) each."""
    height = raw.mosaic.shape[0] // 2 * 2
    width = raw.mosaic.shape[1] // 2 * 2
    row, column = cfa_offset(raw.cfa)
    gains = np.array(raw.white_balance) / min(raw.white_balance)
    places = (((row, column),), ((row, 1 - column), (1 - row, column)), ((1 - row, 1 - column),))
    planes = []
    for positions, numbers, gain in zip(places, ((0,), (1, 2), (3,)), gains, strict=True):
        parts = [raw.mosaic[y:height:2, x:width:2].astype(np.float32) for y, x in positions]
        black = sum(raw.black_level[number] for number in numbers)
        white = sum(raw.white_level[number] for number in numbers)
        light: Plane = sum(parts[1:], parts[0]) - np.float32(black)
        light *= gain / (white - black)
        if len(positions) == 1:  # half a photosite off the cell's center, where both greens together have theirs
            for axis, position in enumerate(positions[0]):
                light = _shift_by_quarter(light, axis, 1 if position == 0 else -1)
        planes.append(light)
    return planes


def _shift_by_quarter(plane: Plane, axis: int, step: int) -> Plane:
    """Interpolate a quarter of the way to the next sample along an axis (step -1: the previous); the border stays."""
    moved = plane.swapaxes(0, axis).copy()
    own, other = (slice(None, -1), slice(1, None))[::step]
    moved[own] *= np.float32(0.75)
    moved[own] += np.float32(0.25) * plane.swapaxes(0, axis)[other]
    return moved.swapaxes(0, axis)


def _stretch(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale so that the 99th percentile is 1, and clip to [0, 1]."""
    white = max(float(np.quantile(plane[::8, ::8], 0.99)), 1e-4)
    return (plane / np.float32(white)).clip(0, 1)


def _mix(planes: list[Plane], weights: Sequence[float]) -> Plane:
    """Weighted sum of planes."""
    mixed: Plane = sum(plane * np.float32(weight) for plane, weight in zip(planes, weights, strict=True))  # type: ignore
    return mixed


def _fit_mixture(luma: Plane, planes: list[Plane], box: Box) -> list[float]:
    """Weights of red, green and blue that come nearest to the JPEG's luma, by least squares on a coarse grid.

    A camera's matrix and saturation turn an edge between colors of one brightness into a visible one, and back.
    """
    shown = view(luma, whole(luma), MIXTURE_GRID)
    sensed = [view(plane, box, MIXTURE_GRID).ravel() for plane in planes]
    terms = np.stack([*sensed, np.ones(shown.size, np.float32)], 1)
    weights: list[float] = np.linalg.lstsq(terms, shown.ravel(), rcond=1e-4)[0][:3].tolist()
    return weights


def _block_means(planes: NDArray[Any], box: Box, seen: Agreement) -> NDArray[np.float32]:
    """(rows, columns, 3), means over blocks (`BLOCKS` a side of a tile) of what lies in the box of planes (H, W, 3)."""
    first, last = seen.rows[0], seen.rows[-1]
    left, right = seen.columns[0], seen.columns[-1]
    part = (box[0] + first * box[2], box[1] + left * box[3], (last - first) * box[2], (right - left) * box[3])
    size = [BLOCKS * (len(edges) - 1) for edges in (seen.rows, seen.columns)]
    return np.stack([view(planes[..., channel].astype(np.float32), part, size) for channel in range(3)], -1)


def _check_agreement(name: str, judged: NDArray[np.bool_], matching: NDArray[np.bool_], limits: PairLimits) -> None:
    """Raise `InputError` where too few of the judged tiles match."""
    agreeing = int((judged & matching).sum())
    if agreeing < max(limits.min_agreeing, limits.agreeing * judged.sum()):
        raise InputError(
            f"{name} agrees with the RAW in {agreeing} of {judged.sum()} places only; is it of another shot, or edited?"
        )


def _check_geometry(
    name: str,
    placement: Placement,
    frame: tuple[int, ...],
    compared: tuple[int, int],
    limits: PairLimits,
) -> None:
    """Raise `InputError` where no camera would place its JPEG so.

    Args:
        name: Of the JPEG, for the message.
        placement: On the RAW's cells.
        frame: Height and width of the RAW in cells.
        compared: Height and width at which the two were compared, px.
        limits: What is accepted.
    """
    top, left, height, width = placement.box
    outside = max(
        -top / frame[0],
        -left / frame[1],
        (top + height) / frame[0] - 1,
        (left + width) / frame[1] - 1,
    )
    if outside > limits.outside:
        raise InputError(f"{name} shows more than the RAW, by {outside:.0%} of a side; it is of another shot")
    stretch = abs(math.log(height / width * compared[1] / compared[0]))
    most_skew = limits.skew + 0.5 / max(compared)
    # lens distortion in a frame that is no square scales its sides unequally as a whole
    most_stretch = limits.stretch + 1 / min(compared) + placement.bend
    if placement.skew > most_skew or stretch > most_stretch:
        raise InputError(f"{name} is turned, stretched or seen from elsewhere than the RAW; is it of another shot?")


def _check_colors(name: str, shown: NDArray[np.float32], sensed: NDArray[np.float32], limits: PairLimits) -> None:
    """Raise `InputError` where the JPEG's color is only a function of its brightness, and the RAW's is not."""
    of_jpeg = _color_deviation(shown / 255)
    of_raw = _color_deviation(np.sqrt(_stretch(sensed)))
    if of_jpeg < limits.min_color and (of_jpeg < 0.2 * of_raw or of_jpeg < limits.min_color / 4):
        raise InputError(f"{name} is monochrome; a look of colors cannot be learned from it")


def _color_deviation(rgb: NDArray[Any]) -> float:
    """Standard deviation of color (..., 3) that a polynomial of brightness does not explain."""
    values = rgb.reshape(-1, 3).astype(np.float64)
    brightness = values.mean(1)
    colors = values - brightness[:, None]
    terms = np.stack([brightness**power for power in range(5)], 1)
    residual = colors - terms @ np.linalg.lstsq(terms, colors, rcond=None)[0]
    return float(residual.std())


def _look_residual(
    shown: NDArray[np.float32], sensed: NDArray[np.float32], raw: RawImage, limits: PairLimits
) -> tuple[NDArray[np.float64], float]:
    """Residual of the nearest global look, and how unevenly bright it leaves the tiles; both in coded values.

    Args:
        shown: Block means of the JPEG, 0 to 255.
        sensed: Block means of the RAW, linear.
        raw: For its white balance.
        limits: From which share of white on a block is clipped, and not compared.

    Returns:
        For each tile (rows, columns) the residual of its worst block; and the standard deviation over tiles of mean
        brightness, estimated from the median absolute deviation so that edited places do not count.
    """
    gains = np.array(raw.white_balance) / min(raw.white_balance)
    clipped = (sensed / gains).max(-1) > limits.clipped
    source = _channels_first(np.sqrt(_stretch(sensed)))
    target = _channels_first((shown / np.float32(255)).clip(0, 1))
    residual = (matching.fit_look(source, target) - target).numpy()
    tiled = (clipped.shape[0] // BLOCKS, BLOCKS, clipped.shape[1] // BLOCKS, BLOCKS)
    worst = np.where(clipped, 0, np.abs(residual).mean(0)).reshape(tiled).max((1, 3))
    brightness = np.where(clipped, 0, residual.mean(0)).reshape(tiled).mean((1, 3))
    return worst, 1.4826 * float(np.median(np.abs(brightness - np.median(brightness))))


def _channels_first(picture: NDArray[np.float32]) -> torch.Tensor:
    """(H, W, 3) -> (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def _tiles(
    placement: Placement,
    seen: Agreement,
    confidence: NDArray[np.float64],
    shape: tuple[int, ...],
) -> Iterator[Tile]:
    """The tiles (rows, columns) with any confidence, of a target of this shape."""
    rows = np.rint(seen.rows * shape[0]).astype(int)
    columns = np.rint(seen.columns * shape[1]).astype(int)
    for row, column in zip(*np.nonzero(confidence > 0), strict=True):
        top, bottom = rows[row], rows[row + 1]
        left, right = columns[column], columns[column + 1]
        center = np.array([(top + bottom) / 2 / shape[0], (left + right) / 2 / shape[1]])
        shift = placement.shifts(center[0], center[1]) * shape[:2]
        yield Tile(
            int(top),
            int(left),
            int(bottom - top),
            int(right - left),
            (float(shift[0]), float(shift[1])),
            float(confidence[row, column]),
        )
