"""Pieces of full-size pairs: the same content in mosaic and JPEG, at whole pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from lwisp.camera.pairs import Pair
from lwisp.camera.pieces import cut_pieces
from lwisp.camera.placement import AlignedPair, Tile
from lwisp.camera.settings import PieceLimits
from lwisp.data.datasets import AS_SENSED
from lwisp.files.raw import RawImage
from lwisp.imaging.bayer import CFA, CFAS, cfa_offset

PAIR = Pair(Path("a.dng"), None, "", "")


@pytest.mark.parametrize("cfa", CFAS)
def test_pieces_are_cut_where_raw_and_jpeg_show_the_same(cfa: CFA) -> None:
    limits = PieceLimits(side=32)
    values = np.random.default_rng(0).integers(0, 256, (150, 171))
    raw = RawImage(values.astype(np.uint16), cfa, (0.0,) * 4, (255.0,) * 4, (1.0, 1.0, 1.0))
    shown = values[7:-3, 5:-5].astype(np.uint8)  # 140x161, its content 3 rows above and 1 column left of its box
    target = np.stack([shown] * 3, -1)
    tiles = tuple(Tile(top, 0, 70, 161, (-3.1, -0.9), 1.0) for top in (0, 70))
    aligned = AlignedPair(PAIR, target, (4.0, 4.0, 140.0, 161.0), tiles)
    pieces = cut_pieces(raw, aligned, AS_SENSED, limits)
    assert pieces is not None
    assert len(pieces) == limits.most
    assert torch.allclose(pieces.photosites.float() * 255, pieces.target[:, 0].float(), atol=0.1)
    top, left = cfa_offset(cfa)
    reds = {(row, column) for row in range(top, 150, 2) for column in range(left, 171, 2)}
    for piece in pieces.target[:, 0].numpy():
        places = np.argwhere((sliding_window_view(values, (4, 4)) == piece[:4, :4]).all((2, 3)))
        assert len(places) == 1
        assert tuple(places[0]) in reds
    unsteady = tuple(replace(tile, shift=(-3.5, -0.9)) for tile in tiles)
    assert cut_pieces(raw, replace(aligned, tiles=unsteady), AS_SENSED, limits) is None
    assert cut_pieces(raw, replace(aligned, tiles=tiles[:1]), AS_SENSED, limits) is not None
    assert cut_pieces(raw, replace(aligned, box=(4.0, 4.0, 141.0, 162.0)), AS_SENSED, limits) is None
