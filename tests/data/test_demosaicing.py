"""What demosaicing leaves of light: true to it where it is even, noise correlated, the same from the same seed."""

import pytest
import torch
from torch import Tensor

from lwisp.data.demosaicing import DEMOSAICINGS, Demosaicing, bilinear, demosaic_light

GAINS = torch.tensor([[2.0, 1.0, 1.6], [1.5, 1.0, 2.2]])
NONE = torch.zeros(2)


def demosaiced(light: Tensor, way: Demosaicing, shot: float = 0.0, read: float = 0.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return demosaic_light(light, way, GAINS, torch.full((2,), shot), torch.full((2,), read), generator)


def even(side: int = 48) -> Tensor:
    return torch.tensor([[0.3, 0.5, 0.2], [0.4, 0.9, 0.6]])[..., None, None].expand(2, 3, side, side).contiguous()


@pytest.mark.parametrize("way", DEMOSAICINGS)
def test_even_light_comes_out_as_it_is(way: Demosaicing) -> None:
    assert float((demosaiced(even(), way) - even()).abs().max()) < 1e-4


@pytest.mark.parametrize("way", DEMOSAICINGS)
def test_smooth_light_is_in_its_place(way: Demosaicing) -> None:
    ramp = torch.linspace(0.1, 0.5, 60).expand(2, 3, 60, 60) + torch.linspace(0, 0.3, 60)[:, None]
    assert float((demosaiced(ramp, way) - ramp)[..., 3:-3, 3:-3].abs().mean()) < 1e-3


@pytest.mark.parametrize("way", DEMOSAICINGS)
def test_the_same_seed_gives_the_same_and_another_gives_other_noise(way: Demosaicing) -> None:
    first, again, other = (demosaiced(even(), way, 1e-3, 1e-5, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("way", DEMOSAICINGS)
def test_noise_is_correlated_by_demosaicing_alone_and_has_its_mean(way: Demosaicing) -> None:
    noise = demosaiced(even(96), way, 0.0, 1e-4) - even(96)
    assert float(noise.mean().abs()) < 5e-4
    red = noise[:, 0] - noise[:, 0].mean()
    correlation = float((red[:, :, 1:] * red[:, :, :-1]).mean() / red.square().mean())
    assert abs(correlation) < 0.05 if way == "none" else correlation > 0.2


def test_noise_below_black_stays_below_black() -> None:
    dark = torch.zeros(2, 3, 48, 48)
    assert all(float(demosaiced(dark, way, 0.0, 1e-4).min()) < -0.01 for way in DEMOSAICINGS)


def test_bilinear_is_the_mean_of_the_nearest() -> None:
    packed = torch.zeros(1, 4, 2, 2)
    packed[0, 0] = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    red = bilinear(packed)[0, 0]
    assert red[0, :3].tolist() == [1, 2, 3]
    assert red[1, :3].tolist() == [3, 4, 5]


def test_unknown_ways_and_odd_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a demosaicing out of malvar"):
        demosaiced(even(), "amaze")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="even sides"):
        demosaiced(even(47), "malvar")
