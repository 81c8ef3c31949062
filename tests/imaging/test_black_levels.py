import numpy as np
import pytest

from lwisp.imaging.bayer import CFA, CFAS, plane_order
from lwisp.imaging.black_levels import BlackLevels

RNG = np.random.default_rng(0)


def test_fractions_of_a_plain_pattern_change_no_value() -> None:
    black = BlackLevels(np.array([[64.25, 65.5], [63.75, 66.0]]), np.zeros(6), np.zeros(8))
    assert not black.varies
    assert black.of_planes("RGGB") == (64.25, 65.5, 63.75, 66.0)
    assert black.of_planes("GBRG") == (63.75, 66.0, 64.25, 65.5)


@pytest.mark.parametrize("cfa", CFAS)
def test_rows_and_columns_of_their_own_are_leveled(cfa: CFA) -> None:
    """A flat field with bands is flat behind it, to a sixteenth of a DN."""
    rows, columns = RNG.uniform(-3, 3, 10), RNG.uniform(-3, 3, 14)
    pattern = RNG.uniform(60, 70, (4, 4))
    field = np.tile(pattern, (3, 4))[:10, :14] + rows[:, None] + columns
    mosaic = np.round(1000 + field).astype(np.uint16)
    black = BlackLevels(pattern, rows, columns)
    assert black.varies
    even, factor = black.level(mosaic, cfa, 4000)
    assert factor == 16
    for level, (row, column) in zip(black.of_planes(cfa), plane_order(cfa), strict=True):
        assert level == pytest.approx(field[row::2, column::2].mean(), abs=1)  # ten rows are no whole patterns
        flat = even[row::2, column::2] / factor - level
        assert np.abs(flat - 1000).max() < 0.5 + 1 / 16  # the mosaic itself was rounded


def test_what_would_overflow_is_not_multiplied() -> None:
    black = BlackLevels(np.array([[10.0]]), np.arange(4.0), np.zeros(4))
    even, factor = black.level(np.full((4, 4), 65000, np.uint16), "RGGB", 65535)
    assert factor == 1
    assert even[0, 0] == 65001  # its row is one darker than the mean of rows 0 and 2
    assert even[2, 0] == 64999
