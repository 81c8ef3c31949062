"""The estimate of noise, on mosaics whose noise is known."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lwisp.data import dead_leaves
from lwisp.imaging.bayer import CFAS
from lwisp.imaging.noise import estimate_noise

BLACK, WHITE = 256, 16383
SHOTS = [3e-5, 1e-4, 5e-4, 2e-3, 1.2e-2, 2.5e-2]


def scene(kind: str) -> NDArray[np.float64]:
    if kind == "flat":
        return np.full((400, 600), 0.3)
    if kind == "ramp":
        return np.linspace(0.02, 0.9, 600)[None].repeat(400, 0)
    patches = np.random.default_rng(1).uniform(0.02, 0.9, (13, 19))
    return patches.repeat(32, 0).repeat(32, 1)[:400, :600]


def sensed(light: NDArray[np.float64], shot: float, read: float) -> NDArray[np.uint16]:
    noisy = light + np.random.default_rng(0).normal(0, 1, light.shape) * np.sqrt(shot * light + read)
    return (BLACK + noisy * (WHITE - BLACK)).round().clip(0, WHITE).astype(np.uint16)


def leaves(seed: int) -> NDArray[np.float64]:
    """What green photosites see of shapes that hide each other, most of them dark."""
    generator = torch.Generator().manual_seed(seed)
    palette = 0.9 * torch.rand(3, 40, generator=generator) ** 2.2
    return dead_leaves.draw(512, palette, generator)[1].double().numpy()


def deviation_found(light: NDArray[np.float64], shot: float, read: float, signal: float = 0.2) -> float:
    """The deviation that is found at a signal, in the true one."""
    found = estimate_noise(sensed(light, shot, read), "RGGB", (BLACK,) * 4, (WHITE,) * 4)
    assert found is not None
    return float(np.sqrt((found[0] * signal + found[1]) / (shot * signal + read)))


@pytest.mark.parametrize("kind", ["flat", "ramp", "patches"])
@pytest.mark.parametrize("shot", SHOTS)
def test_the_deviation_is_found_within_a_tenth(kind: str, shot: float) -> None:
    assert deviation_found(scene(kind), shot, shot * 1e-2, 0.3) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("shot", SHOTS)
def test_among_shapes_the_deviation_is_found_within_three_twentieths(shot: float) -> None:
    found = np.array([deviation_found(leaves(seed), shot, shot * 1e-2) for seed in range(5)])
    assert np.median(found) == pytest.approx(1, abs=0.05)
    assert sorted(abs(found - 1))[3] < 0.15  # one of the five is of small shapes alone


def test_fine_structure_over_most_of_the_frame_is_not_taken_for_noise() -> None:
    light = 0.3 + 0.1 * np.random.default_rng(2).uniform(-1, 1, (200, 300)).repeat(2, 0).repeat(2, 1)
    light[:, :90] = 0.3
    assert deviation_found(light, 1e-3, 1e-5, 0.3) == pytest.approx(1, abs=0.1)


def test_read_noise_is_told_from_shot_noise() -> None:
    found = estimate_noise(sensed(scene("ramp"), 1e-4, 1e-3), "RGGB", (BLACK,) * 4, (WHITE,) * 4)
    assert found is not None
    assert found[1] == pytest.approx(1e-3, rel=0.2)


def test_a_clean_mosaic_has_none() -> None:
    for cfa in CFAS:
        found = estimate_noise(sensed(scene("ramp"), 0, 0), cfa, (BLACK,) * 4, (WHITE,) * 4)
        assert found is not None
        assert max(found) < 1e-6


@pytest.mark.filterwarnings("error")
def test_mosaics_that_are_no_photographs_are_judged_without_fuss() -> None:
    rng = np.random.default_rng(0)
    for value in (12, BLACK, 5120):  # below, at and above black
        found = estimate_noise(np.full((401, 603), value, np.uint16), "GRBG", (BLACK,) * 4, (WHITE,) * 4)
        assert found is not None
        assert max(found) < 1e-9
    dark = rng.normal(BLACK, 20, (400, 600)).round().astype(np.uint16)
    found = estimate_noise(dark, "RGGB", (BLACK,) * 4, (WHITE,) * 4)
    assert found is not None
    assert found[1] == pytest.approx((20 / (WHITE - BLACK)) ** 2, rel=0.2)
    noise = rng.integers(BLACK, 12000, (400, 600), dtype=np.uint16)
    found = estimate_noise(noise, "RGGB", (BLACK,) * 4, (WHITE,) * 4)
    assert found is not None
    assert found[0] * 0.36 + found[1] == pytest.approx(noise.var() / (WHITE - BLACK) ** 2, rel=0.2)


def test_small_and_clipped_mosaics_tell_nothing() -> None:
    tiny = np.full((20, 20), 1000, np.uint16)
    assert estimate_noise(tiny, "RGGB", (BLACK,) * 4, (WHITE,) * 4) is None
    white = np.full((400, 400), WHITE, np.uint16)
    assert estimate_noise(white, "RGGB", (BLACK,) * 4, (WHITE,) * 4) is None


def test_a_plain_wall_gives_shot_noise_alone() -> None:
    found = estimate_noise(sensed(np.full((400, 600), 0.5), 1e-3, 0), "RGGB", (BLACK,) * 4, (WHITE,) * 4)
    assert found is not None
    assert found[0] == pytest.approx(1e-3, rel=0.2)
    assert found[1] == 0
