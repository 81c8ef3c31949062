import numpy as np
import pytest
import torch
from colour_demosaicing import masks_CFA_Bayer

from lwisp.imaging.bayer import CFA, CFAS
from lwisp.imaging.mosaic import normalize_levels, pack, pad_to_rggb, unpack


@pytest.mark.parametrize("cfa", CFAS)
@pytest.mark.parametrize("size", [(6, 8), (7, 8), (6, 9), (7, 9), (2, 2), (3, 2)])
def test_every_phase_and_odd_size_ends_with_the_right_color_in_every_plane(cfa: CFA, size: tuple[int, int]) -> None:
    red, green, blue = masks_CFA_Bayer(size, cfa)  # the oracle of what color lies where
    mosaic = torch.from_numpy(red * 1.0 + green * 2.0 + blue * 3.0)
    padded, _ = pad_to_rggb(mosaic, cfa)
    planes = pack(padded)
    for plane, color in zip(planes, (1, 2, 2, 3), strict=True):
        assert bool((plane == color).all())


@pytest.mark.parametrize("cfa", CFAS)
def test_padding_is_numpys_reflection_and_says_where_the_picture_lies(cfa: CFA) -> None:
    mosaic = torch.rand(7, 9)
    padded, (top, left) = pad_to_rggb(mosaic, cfa)
    assert torch.equal(padded[top : top + 7, left : left + 9], mosaic)
    before = [(top, padded.shape[0] - 7 - top), (left, padded.shape[1] - 9 - left)]
    assert np.array_equal(padded.numpy(), np.pad(mosaic.numpy(), before, mode="reflect"))


def test_pack_is_slicing_and_unpack_undoes_it() -> None:
    mosaic = torch.rand(2, 6, 8)
    planes = pack(mosaic)
    expected = [mosaic[:, 0::2, 0::2], mosaic[:, 0::2, 1::2], mosaic[:, 1::2, 0::2], mosaic[:, 1::2, 1::2]]
    assert torch.equal(planes, torch.stack(expected, 1))
    assert torch.equal(unpack(planes), mosaic)


def test_levels_hit_zero_and_one_exactly_and_keep_what_lies_beyond() -> None:
    black, white = torch.tensor([128.0, 127.0, 129.0, 0.0]), torch.tensor([4095.0, 3800.0, 1023.0, 65535.0])
    planes = torch.stack([black, white, 2 * black - white], -1)[:, None, :]
    assert torch.equal(normalize_levels(planes, black, white), torch.tensor([0.0, 1.0, -1.0]).expand(4, 1, 3))


def test_white_must_lie_above_black() -> None:
    with pytest.raises(ValueError, match="white above black"):
        normalize_levels(torch.zeros(4, 2, 2), torch.full((4,), 64.0), torch.full((4,), 64.0))


def test_unknown_patterns_and_odd_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="RYYB"):
        pad_to_rggb(torch.zeros(4, 4), "RYYB")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="even"):
        pack(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="4 planes"):
        unpack(torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match="2x2"):
        pad_to_rggb(torch.zeros(1, 8), "RGGB")
