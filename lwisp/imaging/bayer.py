"""Bayer mosaics: the four patterns, by the colors of their top-left photosites, and where photosites are clipped."""

from typing import Literal, get_args

CFA = Literal["RGGB", "BGGR", "GRBG", "GBRG"]
"""Colors of the top-left 2x2 photosites, row by row."""

CFAS: tuple[CFA, ...] = get_args(CFA)
SATURATION = (0.88, 0.95)
"""Levels in [0, 1] between which a photosite goes from valid to clipped."""


def cfa_offset(cfa: CFA) -> tuple[int, int]:
    """(row, column), each 0 or 1, of the red photosite in the top-left 2x2.

    Args:
        cfa: the pattern.

    Raises:
        ValueError: for an unknown pattern.
    """
    if cfa not in CFAS:
        raise ValueError(f"expected a Bayer pattern out of {', '.join(CFAS)}, got {cfa!r}")
    return divmod(cfa.index("R"), 2)


def plane_order(cfa: CFA) -> list[tuple[int, int]]:
    """(row, column) in the top-left 2x2 of R, Gr, Gb, B.

    Args:
        cfa: the pattern.
    """
    row, column = cfa_offset(cfa)
    return [(row, column), (row, 1 - column), (1 - row, column), (1 - row, 1 - column)]
