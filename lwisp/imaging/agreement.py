"""Agreement of a placed picture with its reference, tile by tile: how much structure, and whether it is the same."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lwisp.imaging.placement import NOISE, Placement, Plane, view, warp, whole, work_size
from lwisp.imaging.refinement import TILE

BLOCKS = 4
"""Blocks along a side of a tile; each is judged for having been changed."""
UNLIKE = 0.3
"""Correlation below which a block shows something else."""
VISIBLE = (0.06, 0.94)
"""Brightness outside of which a tone curve may swallow structure."""


@dataclass(frozen=True)
class Agreement:
    """What the tiles of a turned picture have in common with the reference; arrays are (rows, columns) of tiles."""

    rows: NDArray[np.float64]
    """Edges of the tiles from top to bottom, in shares of the picture's height."""
    columns: NDArray[np.float64]
    """Edges of the tiles from left to right, in shares of its width."""
    detail: NDArray[np.float64]
    """Share of the tile that has structure in either picture."""
    match: NDArray[np.float64]
    """Correlation of the structure, -1 to 1; 0 where there is none."""
    changed: NDArray[np.float64]
    """Share of the tile with structure in one picture that the other one lacks."""


def compare_tiles(turned: Plane, reference: Plane, placement: Placement) -> Agreement:
    """Compare the tiles of a picture with the reference.

    Args:
        turned: (h, w), the picture, turned by the placement's orientation.
        reference: (H, W).
        placement: where the picture lies in it.
    """
    size = work_size(turned.shape, reference.shape, placement.box)
    picture = torch.from_numpy(view(turned, whole(turned), size))
    shown = torch.from_numpy(warp(reference, placement, size))
    top, left, height, width = placement.box
    rows = _edges(size[0], top, height, reference.shape[0])
    columns = _edges(size[1], left, width, reference.shape[1])

    mean_own, square_own = _means(picture, rows, columns), _means(picture * picture, rows, columns)
    mean_other, square_other = _means(shown, rows, columns), _means(shown * shown, rows, columns)
    covariance = _means(picture * shown, rows, columns) - mean_own * mean_other
    own = (square_own - mean_own * mean_own).clamp(min=0)
    other = (square_other - mean_other * mean_other).clamp(min=0)
    correlation = covariance / (own * other).sqrt().clamp(min=1e-9)

    shrinking = min(1.0, size[0] / height, size[1] / width)  # resampling hides fine noise
    noise_own, noise_other = _noise(picture), shrinking * _noise(torch.from_numpy(reference))
    structured = own.sqrt() > max(2 * NOISE, 3 * noise_own)
    visible = (mean_own > VISIBLE[0]) & (mean_own < VISIBLE[1])
    expected = (other.sqrt() > max(2 * NOISE, 3 * noise_other)) & visible
    changed = (correlation < UNLIKE) & (structured | expected)

    match = _tiles(covariance * visible) / np.sqrt(_tiles(own * visible) * _tiles(other * visible)).clip(1e-9)
    return Agreement(
        rows[::BLOCKS] / size[0],
        columns[::BLOCKS] / size[1],
        _tiles((structured & visible) | expected),
        match,
        _tiles(changed),
    )


def _edges(own: int, start: float, side: float, limit: int) -> NDArray[np.int64]:
    """Edges of blocks along one axis of a picture of `own` px, where its box lies inside of the reference.

    The box begins at `start` and is `side` px long; the reference ends at `limit`.
    """
    first = max(0, math.ceil(-start / side * own) + 2 if start < 0 else 0)
    last = min(own, math.floor((limit - start) / side * own) - 2 if start + side > limit else own)
    tile = TILE if own >= 5 * TILE else TILE // 2
    count = BLOCKS * max(1, (last - first) // tile)
    block = max(1, (last - first) // count)
    return first + (last - first - count * block) // 2 + block * np.arange(count + 1)


def _means(x: Tensor, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Tensor:
    """Means (blocks, blocks) of (H, W) over blocks with these edges."""
    kernel = (int(rows[1] - rows[0]), int(columns[1] - columns[0]))
    return functional.avg_pool2d(x[None, rows[0] : rows[-1], columns[0] : columns[-1]], kernel)[0]


def _tiles(blocks: Tensor) -> NDArray[np.float64]:
    """Means over tiles of values of blocks."""
    return functional.avg_pool2d(blocks[None].double(), BLOCKS)[0].numpy()


def _noise(plane: Tensor) -> float:
    """Standard deviation of the noise in (H, W): median over 8x8 px of a Laplacian's response (Immerkaer, 1996)."""
    response = plane.diff(n=2, dim=0).diff(n=2, dim=1).abs()[None]
    return float(functional.avg_pool2d(response, 8).median()) * math.sqrt(math.pi / 2) / 6
