"""What a demosaicing leaves of light: inputs for a network that takes demosaiced pictures.

Noise is added to the photosites, so that it comes out as correlated as the demosaicing makes it.
"""

import math
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from lwisp.data import unprocess
from lwisp.files.xtrans import demosaic_xtrans
from lwisp.imaging import color, matrices, mosaic, patterns

Demosaicing = Literal["malvar", "bilinear", "xtrans", "none"]
"""malvar: a Bayer mosaic by Malvar's filters; bilinear: one by means of the nearest; xtrans: an X-Trans mosaic by
LibRaw in three passes; none: all colors at each pixel, as of merged exposures."""
DEMOSAICINGS: tuple[Demosaicing, ...] = get_args(Demosaicing)

MARGIN = 6
"""px of reflected light around each X-Trans crop, for crops are demosaiced side by side."""
XTRANS_MATRIX = matrices.cam2rgb_from_xyz(unprocess.CANON_30D)
"""Balanced camera RGB to canonical RGB, in which LibRaw compares the colors of X-Trans crops of any camera."""
ROOM = 1.05
"""Of the range of balanced values: what demosaicing overshoots."""
BILINEAR = torch.tensor([0.5, 1.0, 0.5])


def demosaic_light(
    light: Tensor,
    way: Demosaicing,
    gains: Tensor,
    shot_noise: Tensor,
    read_noise: Tensor,
    generator: Generator,
) -> Tensor:
    """Light as a camera's file shows it after noise and demosaicing.

    Args:
        light: (B, 3, H, W), linear camera RGB, not balanced, black at 0 and white at 1; even sides, 6 px or more.
        way: How it is demosaiced.
        gains: (B, 3), white-balance gains, in which X-Trans mosaics are demosaiced.
        shot_noise: (B,), variance of the noise per signal.
        read_noise: (B,), variance without signal.
        generator: of the noise, and of the place of the X-Trans pattern.

    Returns:
        (B, 3, H, W) of the same scale, not clipped; of X-Trans in steps of 16 bits.

    Raises:
        ValueError: for an unknown way, or odd sides.
    """
    if way not in DEMOSAICINGS:
        raise ValueError(f"expected a demosaicing out of {', '.join(DEMOSAICINGS)}, got {way!r}")
    if way == "none":
        return unprocess.add_noise(light, shot_noise, read_noise, generator)
    if way == "xtrans":
        return _xtrans(light, gains, shot_noise, read_noise, generator)
    if light.shape[-2] % 2 or light.shape[-1] % 2:
        raise ValueError(f"expected even sides, got {tuple(light.shape[-2:])}")
    packed = unprocess.add_noise(unprocess.take_mosaic(light), shot_noise, read_noise, generator)
    return color.demosaic(packed) if way == "malvar" else bilinear(packed)


def bilinear(packed: Tensor) -> Tensor:
    """Demosaic packed planes by means of the nearest photosites of each color.

    Args:
        packed: (B, 4, h, w), R, Gr, Gb, B.

    Returns:
        (B, 3, 2h, 2w).
    """
    photosites = mosaic.unpack(packed)
    height, width = photosites.shape[-2:]
    rows = torch.arange(height)[:, None] % 2
    columns = torch.arange(width) % 2
    masks = torch.stack([(rows == 0) & (columns == 0), rows != columns, (rows == 1) & (columns == 1)])
    sparse = photosites[:, None] * masks.to(photosites)
    for dim in (-2, -1):
        sparse = mosaic.reflect(sparse, dim, 1, 1)
    cross = torch.outer(BILINEAR, BILINEAR)
    plus = torch.tensor([[0, 0.25, 0], [0.25, 1, 0.25], [0, 0.25, 0]])
    kernels = torch.stack([cross, plus, cross])[:, None].to(sparse)
    return torch.nn.functional.conv2d(sparse, kernels, groups=3)


def _xtrans(light: Tensor, gains: Tensor, shot_noise: Tensor, read_noise: Tensor, generator: Generator) -> Tensor:
    """X-Trans mosaics of all crops side by side in one frame, for LibRaw takes none under 512 px."""
    count, _, height, width = light.shape
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    rows, columns = (_cell(side) for side in (height, width))
    shift = torch.randint(6, (2,), generator=generator).tolist()
    pattern = np.roll(patterns.XTRANS, shift, (0, 1))
    balance = (gains / gains.amin(1, keepdim=True))[..., None, None]
    indices = torch.from_numpy(patterns.colors_of(pattern, (height, width), "RGB").astype(np.int64))
    chosen = indices.expand(count, 1, height, width)
    seen = unprocess.add_noise(light.gather(1, chosen), shot_noise, read_noise, generator)
    balanced = (seen * balance.expand(count, 3, height, width).gather(1, chosen))[:, 0]
    low = float(balanced.min().clamp(max=0)) * ROOM
    scale = 65535 / (max(float(balanced.max()) * ROOM, 1e-3) - low)
    sensed = ((balanced - low) * scale).round().clamp(0, 65535).numpy().astype(np.uint16)
    frame: NDArray[np.uint16] = np.zeros((down * rows, across * columns), np.uint16)
    places = [(index // across * rows, index % across * columns) for index in range(count)]
    for one, (top, left) in zip(sensed, places, strict=True):
        larger, _, _ = patterns.mirror(one, pattern, MARGIN, 0)
        held = np.pad(larger, ((0, rows - larger.shape[0]), (0, columns - larger.shape[1])), mode="edge")
        frame[top : top + rows, left : left + columns] = held
    picture = demosaic_xtrans(frame, pattern, XTRANS_MATRIX)
    crops = [
        picture[top + MARGIN : top + MARGIN + height, left + MARGIN : left + MARGIN + width] for top, left in places
    ]
    found = torch.from_numpy(np.stack(crops).astype(np.float32)).permute(0, 3, 1, 2)
    return (found / scale + low) / balance


def _cell(side: int) -> int:
    """Rows or columns of a crop with its margins, so many that the pattern begins anew."""
    return -(-(side + 2 * MARGIN) // 6) * 6
