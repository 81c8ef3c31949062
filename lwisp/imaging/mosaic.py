"""Geometry and levels of a Bayer mosaic: any phase to RGGB, DN to [0, 1], photosites to packed planes and back."""

from typing import Literal, get_args

import torch
from torch import Tensor

CFA = Literal["RGGB", "BGGR", "GRBG", "GBRG"]
"""Colors of the top-left 2x2 photosites, row by row."""

CFAS: tuple[CFA, ...] = get_args(CFA)


def pad_to_rggb(mosaic: Tensor, cfa: CFA) -> tuple[Tensor, tuple[int, int]]:
    """Reflect (..., H, W) by up to one row and column a side, so that it starts with R of RGGB and has even sides.

    Reflection leaves out the border itself, which keeps the color of every position right. Returns the padded mosaic
    and (top, left), the place of the first original photosite in it. H and W from 2 up.
    """
    top, left = cfa_offset(cfa)
    for dim, before in ((-2, top), (-1, left)):
        mosaic = reflect(mosaic, dim, before, (mosaic.shape[dim] + before) % 2)
    return mosaic, (top, left)


def reflect(mosaic: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Lengthen a dimension of (..., H, W), at least 2 long, by up to 2 photosites a side, the border left out."""
    last = mosaic.shape[dim] - 1
    if last < 1:
        raise ValueError(f"expected a mosaic of at least 2x2 photosites, got {tuple(mosaic.shape[-2:])}")
    index = torch.arange(-before, last + 1 + after, device=mosaic.device).abs()
    return mosaic.index_select(dim, (last - (last - index).abs()).abs())


def cfa_offset(cfa: CFA) -> tuple[int, int]:
    """(row, column), each 0 or 1, of the red photosite in the top-left 2x2."""
    if cfa not in CFAS:
        raise ValueError(f"expected a Bayer pattern out of {', '.join(CFAS)}, got {cfa!r}")
    return divmod(cfa.index("R"), 2)


def pack(mosaic: Tensor) -> Tensor:
    """(..., H, W) of RGGB with even sides -> (..., 4, H/2, W/2): planes R, Gr, Gb, B; Gr is the green beside red."""
    if mosaic.shape[-2] % 2 or mosaic.shape[-1] % 2:
        raise ValueError(f"expected even sides, got {tuple(mosaic.shape[-2:])}")
    return torch.stack([mosaic[..., row::2, column::2] for row in (0, 1) for column in (0, 1)], -3)


def unpack(packed: Tensor) -> Tensor:
    """(..., 4, H/2, W/2) -> (..., H, W) of RGGB; undoes `pack`."""
    if packed.shape[-3] != 4:
        raise ValueError(f"expected 4 planes (R, Gr, Gb, B), got {packed.shape[-3]}")
    return torch.nn.functional.pixel_shuffle(packed, 2).squeeze(-3)


def normalize_levels(packed: Tensor, black_level: Tensor, white_level: Tensor) -> Tensor:
    """DN -> black 0 and white 1, float32, not clipped: what noise puts below black stays, so shadows keep no cast.

    `packed` (..., 4, h, w); `black_level` and `white_level` (4,), one value a plane in the order R, Gr, Gb, B.
    """
    if not bool((white_level > black_level).all()):
        raise ValueError(f"expected white above black, got {white_level.tolist()} and {black_level.tolist()}")
    scale = 1 / (white_level - black_level)
    return (packed.float() - black_level[:, None, None]) * scale[:, None, None]
