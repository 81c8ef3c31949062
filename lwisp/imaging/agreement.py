"""Agreement of a placed picture with its reference, tile by tile."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lwisp.imaging.placement import NOISE, Placement, Plane, view, warp, whole, work_size
from lwisp.imaging.refinement import TILE

BLOCKS = 4  # a side of a tile: what is compared for having been changed
UNLIKE = 0.3  # correlation below which a block shows something else
VISIBLE = (0.06, 0.94)  # brightness beyond which a tone curve may swallow structure


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


def compare_tiles(turned: Plane, reference: Plane, placement: Placement) -> Agreement:
    """How the tiles of a turned picture (h, w) agree with the reference where they are placed."""
    size = work_size(turned.shape, reference.shape, placement.box)
    picture = torch.from_numpy(view(turned, whole(turned), size))
    shown = torch.from_numpy(warp(reference, placement, size))
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
