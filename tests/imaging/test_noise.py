"""The estimate of noise, on mosaics whose noise is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lwisp.imaging.bayer import CFAS
from lwisp.imaging.noise import estimate_noise

BLACK, WHITE = 256, 16383


def scene(kind: str) -> NDArray[np.float64]:
    if kind == "ramp":
        return np.linspace(0.02, 0.9, 600)[None].repeat(400, 0)
    patches = np.random.default_rng(1).uniform(0.02, 0.9, (13, 19))
    return patches.repeat(32, 0).repeat(32, 1)[:400, :600]


def sensed(light: NDArray[np.float64], shot: float, read: float) -> NDArray[np.uint16]:
    noisy = light + np.random.default_rng(0).normal(0, 1, light.shape) * np.sqrt(shot * light + read)
    return (BLACK + noisy * (WHITE - BLACK)).round().clip(0, WHITE).astype(np.uint16)


@pytest.mark.parametrize("kind", ["ramp", "patches"])
@pytest.mark.parametrize("shot", [1e-4, 1e-3, 1e-2, 2.5e-2])
def test_shot_noise_is_found_within_a_fifth(kind: str, shot: float) -> None:
    found = estimate_noise(sensed(scene(kind), shot, shot * 1e-2), "RGGB", (BLACK,) * 4, (WHITE,) * 4)
    assert found is not None
    assert found[0] == pytest.approx(shot, rel=0.2)


def test_read_noise_is_told_from_shot_noise() -> None:
    found = estimate_noise(sensed(scene("ramp"), 1e-4, 1e-3), "RGGB", (BLACK,) * 4, (WHITE,) * 4)
    assert found is not None
    assert found[1] == pytest.approx(1e-3, rel=0.2)


def test_a_clean_mosaic_has_none() -> None:
    for cfa in CFAS:
        found = estimate_noise(sensed(scene("ramp"), 0, 0), cfa, (BLACK,) * 4, (WHITE,) * 4)
        assert found is not None
        assert max(found) < 1e-6


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
