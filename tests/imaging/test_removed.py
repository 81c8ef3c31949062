"""What was noise of what a network took from a picture: on noise and detail that are made here."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lwisp.imaging.coding import decode_srgb, encode_srgb
from lwisp.imaging.removed import share_of_noise

SIDE = 200


def scene(detail: float = 0.0) -> NDArray[np.float32]:
    """Smooth colors (H, W, 3) sRGB, with fine gray detail of this amplitude on half of the picture."""
    rng = np.random.default_rng(0)
    small = rng.integers(40, 216, (4, 4, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / np.float32(255)
    texture = rng.standard_normal((SIDE, SIDE, 1)).astype(np.float32)
    texture[:, : SIDE // 2] = 0
    return np.clip(smooth + detail * texture, 0, 1).astype(np.float32)


def with_shot_noise(clean: NDArray[np.float32], shot: float) -> NDArray[np.float32]:
    """The scene as a sensor sees it: white noise in linear light."""
    light = decode_srgb(clean)
    noise = np.random.default_rng(1).standard_normal(clean.shape).astype(np.float32)
    return encode_srgb(np.clip(light + np.sqrt(shot * light) * noise, 0, 1))


@pytest.mark.parametrize(("shot", "share"), [(3e-5, 0.0), (1e-4, 0.0), (1e-3, 1.0), (5e-3, 1.0)])
def test_shot_noise_counts_from_that_of_a_fast_exposure_on(shot: float, share: float) -> None:
    clean = scene()
    assert share_of_noise(with_shot_noise(clean, shot), clean) == share


def test_fine_detail_that_is_taken_is_none() -> None:
    assert share_of_noise(scene(detail=0.02), scene()) == 0


def test_of_noise_and_detail_so_much_is_noise_as_the_flattest_places_tell() -> None:
    given = with_shot_noise(scene(detail=0.028), 5e-4)
    assert 0.2 < share_of_noise(given, scene()) < 0.8


def test_colored_noise_without_fine_detail_is_what_a_camera_has_left() -> None:
    rng = np.random.default_rng(2)
    clean = scene()
    small = rng.standard_normal((SIDE // 8, SIDE // 8, 3)).astype(np.float32)
    smooth = [
        np.asarray(Image.fromarray(small[..., channel]).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        for channel in range(3)
    ]
    noise = 0.008 * np.stack(smooth, -1)
    assert share_of_noise(np.clip(clean + noise, 0, 1).astype(np.float32), clean) == 1
    gray = np.repeat(noise.mean(2, keepdims=True), 3, 2)  # without colors there is nothing to tell by
    assert share_of_noise(np.clip(clean + gray, 0, 1).astype(np.float32), clean) == 0


def test_noise_too_weak_to_be_seen_stays() -> None:
    clean = scene()
    rng = np.random.default_rng(3)
    small = rng.standard_normal((SIDE // 8, SIDE // 8, 3)).astype(np.float32)
    noise = np.stack([np.kron(small[..., channel], np.ones((8, 8), np.float32)) for channel in range(3)], -1)
    assert share_of_noise(np.clip(clean + 0.003 * noise, 0, 1).astype(np.float32), clean) == 0


def test_a_picture_that_is_detail_all_over_has_no_flat_places_to_tell_by() -> None:
    """The flattest places look noisy; a network that has taken a part of that knows better."""
    rng = np.random.default_rng(4)
    texture = 0.03 * rng.standard_normal((SIDE, SIDE, 1)).astype(np.float32)
    given = np.clip(scene() + texture, 0, 1).astype(np.float32)
    cleaned = np.clip(scene() + np.float32(0.8) * texture, 0, 1).astype(np.float32)
    assert share_of_noise(given, cleaned) == 0


def test_where_much_is_taken_it_is_noise() -> None:
    assert share_of_noise(scene(detail=0.06), scene()) == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_are_read_over_their_range(dtype: type[np.uint8] | type[np.uint16]) -> None:
    clean = scene()
    noisy = with_shot_noise(clean, 1e-3)
    top = np.iinfo(dtype).max
    given = (noisy * top + 0.5).astype(dtype)
    assert share_of_noise(given, (clean * 65535 + 0.5).astype(np.uint16)) == 1


def test_a_picture_that_nothing_was_taken_from_has_no_noise() -> None:
    assert share_of_noise(scene(), scene()) == 0
    flat = np.full((SIDE, SIDE, 3), 128, np.uint8)
    assert share_of_noise(flat, flat) == 0


@pytest.mark.parametrize("size", [(1, 1), (9, 300), (300, 9)])
def test_a_picture_too_small_to_tell_is_the_networks(size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 128, np.uint8)
    assert share_of_noise(picture, picture) == 1


def test_where_few_places_are_bright_enough_what_is_seen_is_noise() -> None:
    dark = np.full((SIDE, SIDE, 3), 0.05, np.float32)
    noise = np.random.default_rng(5).standard_normal(dark.shape).astype(np.float32)
    assert share_of_noise(np.clip(dark + 0.008 * noise, 0, 1).astype(np.float32), dark) == 1
    assert share_of_noise(np.clip(dark + 0.002 * noise, 0, 1).astype(np.float32), dark) == 0
