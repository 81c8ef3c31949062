"""What a DNG says about its noise, and what is done where it says nonsense."""

import numpy as np
import pytest

from lwisp.files.raw import read_raw
from lwisp.pipeline import noise_of
from tests.conftest import WriteDng

MOSAIC = np.random.default_rng(0).integers(400, 600, (256, 256)).astype(np.uint16)
NAN = float("nan")


@pytest.mark.parametrize("profile", [(2e-3, 1e-5), (1.0, 1.0, 2e-3, 1e-5, 0.5, 0.5)])
def test_the_noise_of_green_is_taken(write_dng: WriteDng, profile: tuple[float, ...]) -> None:
    raw = read_raw(write_dng(MOSAIC, extra=((51041, "d", len(profile), profile, True),)))
    assert raw.noise == (2e-3, 1e-5)
    assert noise_of(raw) == (2e-3, 1e-5)
    assert not any("noise" in note for note in raw.notes)


@pytest.mark.parametrize(
    "profile", [(0.0, 0.0), (NAN, 1e-5), (-1e-3, 1e-5), (2.0, 0.0), (1e-3,), (1e-3, 1e-5, 1e-3), (1e-3, float("inf"))]
)
def test_a_profile_that_makes_no_sense_is_said_and_the_noise_measured(
    write_dng: WriteDng, profile: tuple[float, ...]
) -> None:
    raw = read_raw(write_dng(MOSAIC, extra=((51041, "d", len(profile), profile, True),)))
    assert raw.noise is None
    assert len([note for note in raw.notes if "noise profile is not used, the noise is measured" in note]) == 1
    shot, read = noise_of(raw)
    assert shot * 500 / 4095 + read == pytest.approx((200 / 4095) ** 2 / 12, rel=0.3)
