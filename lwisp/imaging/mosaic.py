"""Geometry and levels of a Bayer mosaic: any phase to RGGB, photosites to packed planes and back, DN to [0, 1]."""

import torch
from torch import Tensor

from lwisp.imaging.bayer import CFA, cfa_offset


def pad_to_rggb(mosaic: Tensor, cfa: CFA) -> tuple[Tensor, tuple[int, int]]:
    """Pad a mosaic by reflection so that it begins with R of RGGB and has even sides.

    At most one row and one column are added to each side. The border itself is not repeated, which keeps the color of
    every position right.

    Args:
        mosaic: (..., H, W), sides from 2 up.
        cfa: its pattern.

    Returns:
        The padded mosaic, and (top, left), the place of the first original photosite in it.

    Raises:
        ValueError: for an unknown pattern or smaller sides.
    """
    top, left = cfa_offset(cfa)
    for dim, before in ((-2, top), (-1, left)):
        mosaic = reflect(mosaic, dim, before, (mosaic.shape[dim] + before) % 2)
    return mosaic, (top, left)


def reflect(mosaic: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Lengthen one axis by reflection, the border itself not repeated.

    Args:
        mosaic: (..., H, W), at least 2 long along `dim`.
        dim: -2 or -1.
        before: photosites added before, at most 2.
        after: photosites added after, at most 2.

    Raises:
        ValueError: for an axis shorter than 2.
    """
    last = mosaic.shape[dim] - 1
    if last < 1:
        raise ValueError(f"expected a mosaic of at least 2x2 photosites, got {tuple(mosaic.shape[-2:])}")
    index = torch.arange(-before, last + 1 + after, device=mosaic.device).abs()
    return mosaic.index_select(dim, (last - (last - index).abs()).abs())


def pack(mosaic: Tensor) -> Tensor:
    """(..., H, W) of RGGB as planes (..., 4, H/2, W/2): R, Gr, Gb, B; Gr is the green on the red row.

    Args:
        mosaic: beginning with red, of even sides.

    Raises:
        ValueError: for odd sides.
    """
    if mosaic.shape[-2] % 2 or mosaic.shape[-1] % 2:
        raise ValueError(f"expected even sides, got {tuple(mosaic.shape[-2:])}")
    return torch.stack([mosaic[..., row::2, column::2] for row in (0, 1) for column in (0, 1)], -3)


def unpack(packed: Tensor) -> Tensor:
    """Undo `pack`: planes (..., 4, H/2, W/2) as a mosaic (..., H, W) of RGGB.

    Args:
        packed: planes R, Gr, Gb, B.

    Raises:
        ValueError: for another number of planes.
    """
    if packed.shape[-3] != 4:
        raise ValueError(f"expected 4 planes (R, Gr, Gb, B), got {packed.shape[-3]}")
    return torch.nn.functional.pixel_shuffle(packed, 2).squeeze(-3)


def normalize_levels(packed: Tensor, black_level: Tensor, white_level: Tensor) -> Tensor:
    """DN to float32 with black at 0 and white at 1, not clipped: noise below black stays, so shadows keep no cast.

    Args:
        packed: (..., 4, h, w) in DN.
        black_level: (4,) in DN, in the order R, Gr, Gb, B.
        white_level: (4,) in DN.

    Raises:
        ValueError: where white does not lie above black.
    """
    if not bool((white_level > black_level).all()):
        raise ValueError(f"expected white above black, got {white_level.tolist()} and {black_level.tolist()}")
    scale = 1 / (white_level - black_level)
    return (packed.float() - black_level[:, None, None]) * scale[:, None, None]
