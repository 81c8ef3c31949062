"""Laws of what makes training pairs random: crops, flips, recoloring."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lwisp.data.crops import Crops, cut, step_generator
from lwisp.data.simulation import RecoloringModel
from lwisp.data.unprocess import recolor
from tests.data.test_crops import Drawn, coded, has_phase
from tests.test_invariants import law

seeds = st.integers(0, 2**31)


@law
@given(st.integers(8, 24), st.integers(8, 24), st.integers(1, 4), seeds, st.booleans(), st.booleans())
def test_a_crop_is_one_square_of_the_picture_in_input_and_target(
    height: int, width: int, half: int, seed: int, augment: bool, bayer: bool
) -> None:
    crop = 2 * half
    mosaic, target = coded(height, width)
    picture = mosaic if bayer else target
    found, shown = cut(picture, target, crop, torch.Generator().manual_seed(seed), augment)
    assert found.shape == (len(picture), crop, crop)
    assert shown.shape == (3, crop, crop)
    place, rows, columns = shown
    assert torch.equal(place, rows * width + columns)
    if bayer:
        assert torch.equal(torch.div(found[0], 10, rounding_mode="floor"), place)
        assert has_phase(found)
    else:
        assert torch.equal(found, shown)
    down, across = (rows, columns) if bool((rows[:, 0] != rows[0, 0]).any()) else (rows.T, columns.T)
    assert bool((down == down[:, :1]).all())  # a row of the crop is one of the picture
    assert bool((across == across[:1]).all())
    for line in (down[:, 0], across[0]):
        assert set(line.diff().tolist()) in ({1.0}, {-1.0})
    if not augment:
        assert torch.equal(down, rows)
        assert float(rows[0, 0]) < float(rows[-1, 0])
        assert float(columns[0, 0]) < float(columns[0, -1])
        assert not bayer or (rows[0, 0] % 2, columns[0, 0] % 2) == (0, 0)


@law
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=4), seeds, st.booleans())
def test_a_batch_depends_on_its_step_alone(steps: list[int], seed: int, augment: bool) -> None:
    def crops() -> Crops:
        pictures = Drawn("raw", (34, 40), (40, 34))
        return Crops(pictures, pictures, 32, 2, seed, augment)

    one = crops()
    in_order = {step: one[step] for step in sorted(steps)}
    for step in steps:
        for again in (crops()[step], one[step]):
            assert all(torch.equal(first, second) for first, second in zip(again, in_order[step], strict=True))


@law
@given(st.integers(0, 1000), st.integers(0, 10**6), st.integers(0, 1000), st.integers(0, 10**6))
def test_steps_and_seeds_draw_numbers_of_their_own(seed: int, step: int, other: int, later: int) -> None:
    first, second = (torch.rand(4, generator=step_generator(*pair)) for pair in ((seed, step), (other, later)))
    assert torch.equal(first, second) == ((seed, step) == (other, later))


def pictures(count: int, seed: int) -> Tensor:
    return torch.rand(count, 3, 5, 6, generator=torch.Generator().manual_seed(seed))


@law
@given(st.integers(1, 6), seeds, st.floats(0, 1), st.floats(0, 1))
def test_recoloring_does_the_same_to_every_pixel_of_a_sample(
    count: int, seed: int, share: float, mixing: float
) -> None:
    model = RecoloringModel(share=share, mixing=mixing)
    given_ = pictures(count, seed)
    turned = given_.flip(-1).transpose(-1, -2)
    found, other = recolor([given_, turned], torch.Generator().manual_seed(seed), model)
    assert torch.allclose(found.flip(-1).transpose(-1, -2), other, atol=1e-6)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1.2 + 1e-6
    (again,) = recolor([given_], torch.Generator().manual_seed(seed), model)
    assert torch.equal(found, again)


@law
@given(st.integers(1, 6), seeds, st.floats(0, 2))
def test_recoloring_keeps_gray_gray_and_shifts_ends_by_no_more_than_is_said(
    count: int, seed: int, mixing: float
) -> None:
    gray = torch.linspace(0, 1, 7).expand(count, 3, 2, 7)
    generator = torch.Generator().manual_seed(seed)
    (mixed,) = recolor([gray], generator, RecoloringModel(share=1, mixing=mixing, level_shift=0))
    assert torch.allclose(mixed, gray, atol=1e-5)
    (shifted,) = recolor([gray], generator, RecoloringModel(share=1, mixing=mixing, level_shift=0.3))
    black, white = shifted[..., 0], shifted[..., -1]
    assert 0 <= float(black.min()) <= float(black.max()) <= 0.3 + 1e-5
    assert 0.7 - 1e-5 <= float(white.min()) <= float(white.max()) <= 1 + 1e-5
    (left,) = recolor([gray], generator, RecoloringModel(share=0, mixing=mixing))
    assert torch.equal(left, gray)


def test_recoloring_changes_colors() -> None:
    given_ = pictures(8, 0)
    (found,) = recolor([given_], torch.Generator().manual_seed(0), RecoloringModel(share=1))
    assert bool(((found - given_).abs().amax((1, 2, 3)) > 0.05).all())
    assert np.isfinite(found.numpy()).all()
