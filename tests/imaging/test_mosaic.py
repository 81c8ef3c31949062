import numpy as np
import pytest
import torch
from colour_demosaicing import masks_CFA_Bayer

from lwisp.imaging.bayer import CFA, CFAS
from lwisp.imaging.mosaic import normalize_levels, pack, pad_to_rggb, reflect, unpack


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


@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("size", [(2, 3), (3, 2), (5, 6)])
def test_an_axis_is_reflected_as_numpy_reflects_it(before: int, after: int, size: tuple[int, int]) -> None:
    mosaic = torch.rand(2, *size)
    for dim, beside in ((-2, [(0, 0), (before, after), (0, 0)]), (-1, [(0, 0), (0, 0), (before, after)])):
        assert np.array_equal(reflect(mosaic, dim, before, after).numpy(), np.pad(mosaic, beside, mode="reflect"))


def test_a_single_mosaic_among_several_dimensions_keeps_them() -> None:
    assert unpack(torch.zeros(1, 4, 1, 3)).shape == (1, 2, 6)
    assert unpack(torch.zeros(1, 1, 4, 1, 1)).shape == (1, 1, 2, 2)
    assert pack(torch.zeros(1, 1, 2, 2)).shape == (1, 1, 4, 1, 1)


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
    for size in ((3, 4), (4, 3)):
        with pytest.raises(ValueError, match=rf"^expected even sides, got \({size[0]}, {size[1]}\)$"):
            pack(torch.zeros(8, *size))
    with pytest.raises(ValueError, match=r"^expected 4 planes \(R, Gr, Gb, B\), got 3$"):
        unpack(torch.zeros(5, 3, 4, 4))
    for size in ((1, 8), (8, 1)):
        with pytest.raises(ValueError, match=rf"^expected .* at least 2x2 photosites, got \({size[0]}, {size[1]}\)$"):
            pad_to_rggb(torch.zeros(6, *size), "RGGB")
