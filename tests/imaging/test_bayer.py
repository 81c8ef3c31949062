import numpy as np
import pytest
from colour_demosaicing import masks_CFA_Bayer

from lwisp.imaging.bayer import CFA, CFAS, cfa_offset


@pytest.mark.parametrize("cfa", CFAS)
def test_the_offset_is_where_red_lies(cfa: CFA) -> None:
    red, _, _ = masks_CFA_Bayer((2, 2), cfa)
    assert [cfa_offset(cfa)] == [tuple(place) for place in np.argwhere(red)]


def test_an_unknown_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="RYYB"):
        cfa_offset("RYYB")  # type: ignore[arg-type]
