"""Rebuilt highlights and the shoulder, against light that is known."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from lwisp.imaging import highlights

GAINS = torch.tensor([2.0, 1.0, 1.6])


def sensed(light: Tensor) -> Tensor:
    """Planes (4, h, w) of a sensor that clips at 1, of balanced light (3, h, w)."""
    return (light / GAINS[:, None, None])[[0, 1, 1, 2]].clamp(max=1)


def flat(*color: float) -> Tensor:
    """Light of one color (3, 8, 8)."""
    return torch.tensor(color)[:, None, None].expand(3, 8, 8)


def rebuilt(light: Tensor, hue: tuple[float, float, float] = (1, 1, 1)) -> Tensor:
    return highlights.rebuild(sensed(light), GAINS, flat(*hue))[[0, 1, 3]]


def test_what_is_not_clipped_is_only_balanced() -> None:
    light = 0.8 * torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(rebuilt(light, (0.3, 2, 0.7)), light, atol=1e-6)


@pytest.mark.parametrize("level", [1.05, 1.2, 1.35])
def test_green_that_is_clipped_alone_comes_back_from_red_and_blue(level: float) -> None:
    assert torch.allclose(rebuilt(flat(level, level, level)), flat(level, level, level), rtol=0.01)


def test_a_clipped_channel_gets_the_color_of_bright_light_nearby() -> None:
    """An orange whose red is clipped: 3 where the sensor ends at 2; no more than white is given."""
    orange = flat(1.9, 0.9, 0.3)
    blown = rebuilt(1.05 * orange, (1.9, 0.9, 0.3))
    assert torch.allclose(blown, (1.05 * orange).clamp(max=2), rtol=0.02)
    green, blue = 0.7 * torch.ones(2, 8, 8)
    told = rebuilt(torch.stack([1.98 * torch.ones(8, 8), green, blue]), (1.0, 1.0, 1.0))
    assert torch.allclose(told[0], torch.full((8, 8), 1.98))  # never darker than the sensor saw


def test_what_is_clipped_in_all_colors_is_white() -> None:
    assert torch.equal(rebuilt(flat(4, 4, 4), (0.5, 1.0, 1.5)), flat(2, 2, 2))


def test_nothing_blown_is_magenta() -> None:
    for level in torch.linspace(0.8, 2.5, 30):
        red, green, blue = rebuilt(level * flat(1, 1, 1), (1.15, 0.75, 1.1)).mean((1, 2)).tolist()
        assert green >= 0.96 * math.sqrt(red * blue)


def test_brightness_rises_with_the_light() -> None:
    for hue in ((1.0, 1.0, 1.0), (0.8, 1.0, 1.3), (1.3, 1.0, 0.7)):
        means = [float(rebuilt(level * flat(*hue), hue).mean()) for level in torch.linspace(0.5, 3, 60)]
        assert all(later > before - 1e-4 for before, later in pairwise(means))


def test_colors_are_those_of_bright_places_and_spread_to_where_there_are_none() -> None:
    light = 0.05 * torch.ones(3, 64, 64)
    light[:, :8, :8] = torch.tensor([0.5, 0.7, 1.0])[:, None, None]
    light[:, 32:, 32:] = 3.0  # clipped: tells nothing
    colors = highlights.spread_colors(highlights.bright_colors(sensed(light), GAINS))
    expected = torch.tensor([0.5, 0.7, 1.0]) / (2.2 / 3)
    assert torch.allclose(colors[:, 2, 2], expected, rtol=0.02)
    assert torch.allclose(colors[:, 50, 50], expected, rtol=0.1)
    dark = highlights.spread_colors(highlights.bright_colors(sensed(0 * light), GAINS))
    assert torch.allclose(dark, torch.ones(3, 64, 64))


def test_parts_are_interpolated_as_torch_interpolates() -> None:
    values = torch.rand(1, 1, 1, 64, generator=torch.Generator().manual_seed(0))
    side = torch.tensor(250)
    expected = torch.nn.functional.interpolate(values, (1, 250), mode="bilinear")[0, 0, 0]
    first, share = highlights.between_parts(torch.arange(250), side)
    found = torch.lerp(values[0, 0, 0, first], values[0, 0, 0, first + 1], share)
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("white", [1.0, 1.4, 4.0])
def test_the_shoulder_leaves_middle_tones_and_ends_at_white(white: float) -> None:
    gray = torch.linspace(-0.1, white, 1000)[:, None].expand(3, 1000, 1)
    shown = highlights.shoulder(gray, torch.tensor(white))[0, :, 0]
    is_dark = gray[0, :, 0] < highlights.KNEE
    assert torch.equal(shown[is_dark], gray[0, is_dark, 0])
    assert (shown.diff() > 0).all()
    assert float(shown[-1]) == pytest.approx(1, abs=1e-5)
    if white == 1:
        assert torch.allclose(shown, gray[0, :, 0], atol=1e-6)


def test_planes_and_pictures_get_the_same_shoulder() -> None:
    rgb = 3 * torch.rand(3, 9, 9, generator=torch.Generator().manual_seed(1))
    white = torch.tensor(3.0)
    assert torch.equal(highlights.shoulder(rgb[[0, 1, 1, 2]], white)[[0, 1, 3]], highlights.shoulder(rgb, white))


def test_a_stretched_gray_comes_back() -> None:
    shown = torch.linspace(0, 1, 100)[:, None].expand(3, 100, 1)
    light = highlights.stretch(shown, torch.tensor(4.0))
    assert float(light.max()) == pytest.approx(4, rel=1e-4)
    assert torch.allclose(highlights.shoulder(light, torch.tensor(4.0)), shown, atol=1e-4)
