"""Pieces of pairs whose JPEG has a pixel for each photosite, for training the whole network.

A piece is a square of the mosaic and the same square of the JPEG. Nothing is resampled: pieces are cut only where
JPEG and mosaic lie on each other to a fraction of a pixel, at whole pixels.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwisp.camera.placement import AlignedPair
from lwisp.camera.settings import PieceLimits
from lwisp.data import folders
from lwisp.engines.eager import EagerSteps
from lwisp.files.raw import RawImage
from lwisp.imaging import mosaic
from lwisp.imaging.bayer import cfa_offset
from lwisp.pipeline import Planes, noise_of
from lwisp.weights import InputConvention

Positions = NDArray[np.float64]
"""(n, 2), rows and columns in px."""


@dataclass(frozen=True)
class Pieces:
    """Squares of one photo; `side` is `PieceLimits.side`."""

    photosites: Tensor
    """(n, side, side) float16, RGGB: the network's input planes, unpacked, without lens shading."""
    target: Tensor
    """(n, 3, side, side) uint8: the camera's pixels."""
    noise: Tensor
    """(n, 2) float32: shot and read noise of the sensor."""
    radius: Tensor
    """(n, side / 2, side / 2) float16: squared distance of each cell from the frame's center; 1 in its corners."""

    def __len__(self) -> int:
        return len(self.photosites)


@dataclass(frozen=True)
class _Corners:
    """Top left corners (row, column) of a piece."""

    mosaic: NDArray[np.int64]
    """A red photosite."""
    target: NDArray[np.int64]


def cut_pieces(
    raw: RawImage, aligned: AlignedPair, convention: InputConvention, limits: PieceLimits = PieceLimits()
) -> Pieces | None:
    """Pieces that lie evenly over the accepted tiles of a pair.

    Args:
        raw: The RAW.
        aligned: Its JPEG.
        convention: What the network expects of its planes.
        limits: Size and number of the pieces, and how exactly they must lie.

    Returns:
        Up to `limits.most` pieces; None where the JPEG is not of full size, or lies steadily nowhere.
    """
    if abs(aligned.scale - 1) > limits.scale or not aligned.tiles:
        return None
    found = _find_corners(raw, aligned, limits)
    if not found:
        return None
    chosen = folders.sample(found, limits.most)
    planes = Planes(EagerSteps(), raw, replace(convention, noise=False))  # which changes with the shading
    noise = torch.tensor(noise_of(raw) if convention.noise else (0.0, 0.0)).expand(len(chosen), 2)
    offset = cfa_offset(raw.cfa)
    photosites, targets, radius = [], [], []
    for corners in chosen:
        row, column = (corners.mosaic + offset) // 2  # of the first 2x2 cell
        rows = slice(int(row), int(row) + limits.side // 2)
        columns = slice(int(column), int(column) + limits.side // 2)
        found_planes = np.empty((4, limits.side // 2, limits.side // 2), np.float32)
        planes.read(rows, columns, found_planes)
        photosites.append(mosaic.unpack(torch.from_numpy(found_planes)[None]))
        radius.append(torch.from_numpy(planes.radius(rows, columns)))
        top, left = corners.target
        targets.append(aligned.target[top : top + limits.side, left : left + limits.side])
    target = torch.from_numpy(np.stack(targets)).permute(0, 3, 1, 2)
    return Pieces(torch.cat(photosites).half(), target.contiguous(), noise.clone(), torch.stack(radius).half())


def _find_corners(raw: RawImage, aligned: AlignedPair, limits: PieceLimits) -> list[_Corners]:
    """Pieces on a grid over the target that are covered by tiles and lie steadily on the mosaic."""
    starts, ends = _tile_edges(aligned)
    offsets = _tile_offsets(aligned)
    before_red = np.array(cfa_offset(raw.cfa))  # rows and columns that complete the first cell to RGGB
    height, width = aligned.target.shape[:2]
    tops = range(0, height - limits.side, limits.side)
    lefts = range(0, width - limits.side, limits.side)
    found = []
    for position in product(tops, lefts):
        corner = np.array(position)
        overlap_sides = np.minimum(ends, corner + limits.side) - np.maximum(starts, corner)
        overlaps = overlap_sides.clip(0).prod(1)  # px of each tile in the piece
        if overlaps.sum() < limits.side**2:
            continue
        own_offsets = offsets[overlaps > 0]
        offset = np.rint(own_offsets.mean(0)).astype(int)
        if np.abs(own_offsets - offset).max() > limits.steady:
            continue
        to_red = (corner + offset + before_red) % 2  # 0 or 1 down and right, so that the piece is RGGB
        in_target = corner + to_red
        in_mosaic = in_target + offset
        if (in_mosaic >= 0).all() and (in_mosaic + limits.side <= raw.mosaic.shape).all():
            found.append(_Corners(in_mosaic, in_target))
    return found


def _tile_edges(aligned: AlignedPair) -> tuple[Positions, Positions]:
    """Top left and bottom right corners of the tiles in the target, (tiles, 2) each."""
    starts = np.array([(tile.top, tile.left) for tile in aligned.tiles])
    sizes = np.array([(tile.height, tile.width) for tile in aligned.tiles])
    return starts, starts + sizes


def _tile_offsets(aligned: AlignedPair) -> Positions:
    """(tiles, 2): what to add to a position in the target to have the mosaic's position of the same content.

    Exact in the center of each tile.
    """
    starts, ends = _tile_edges(aligned)
    centers = (starts + ends) / 2
    shifts = np.array([tile.shift for tile in aligned.tiles])
    box_corner = np.array(aligned.box[:2])
    photosites_per_px = np.array(aligned.box[2:]) / aligned.target.shape[:2]
    offsets: Positions = box_corner + (centers - shifts) * photosites_per_px - centers
    return offsets
