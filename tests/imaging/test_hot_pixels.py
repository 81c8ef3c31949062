from itertools import product
from math import erf

import numpy as np
import pytest
from numpy.typing import NDArray

from lwisp.imaging.hot_pixels import repair_hot_pixels

BLACK, WHITE = 256, 4095
Mosaic = NDArray[np.uint16]


def scene(noise: float, seed: int = 0, level: float = 200, shape: tuple[int, int] = (300, 400)) -> Mosaic:
    """A soft slope as a sensor sees it, RGGB."""
    rng = np.random.default_rng(seed)
    light = np.outer(np.linspace(0.5, 1.5, shape[0]), np.linspace(0.8, 1.2, shape[1])) * level
    light[::2, ::2] *= 0.5
    light[1::2, 1::2] *= 0.6
    return np.clip(np.rint(BLACK + light + rng.normal(0, noise, shape)), 0, WHITE).astype(np.uint16)


def spread(mosaic: Mosaic, step: int = 17) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Places all over a mosaic, of every color, borders and corners among them."""
    rows, columns = np.arange(0, mosaic.shape[0], step), np.arange(0, mosaic.shape[1], step)
    places = np.array(list(product(rows, columns)))
    return places[:, 0], places[:, 1]


@pytest.mark.parametrize("noise", [0, 5, 20])
@pytest.mark.parametrize(("value", "level"), [(4095, 200), (2000, 200), (0, 2000), (65535, 200)])
def test_single_hot_and_dead_photosites_are_repaired(value: int, level: float, noise: float) -> None:
    sound = scene(noise, level=level)
    places = spread(sound)
    damaged = sound.copy()
    damaged[places] = value
    repaired, count = repair_hot_pixels(damaged, BLACK, WHITE)
    assert count >= 0.97 * len(places[0])
    changed = np.argwhere(repaired != damaged)
    assert set(map(tuple, changed)) <= set(zip(*places, strict=True))
    errors = np.abs(repaired.astype(int) - sound)[places]
    assert np.quantile(errors, 0.9) <= 2 + level * 0.02 + 2 * noise


def test_the_given_mosaic_is_not_changed() -> None:
    damaged = scene(5)
    damaged[50, 50] = 4095
    before = damaged.copy()
    assert repair_hot_pixels(damaged, BLACK, WHITE)[1] == 1
    assert np.array_equal(damaged, before)


@pytest.mark.parametrize("noise", [0, 2, 10, 40])
def test_noise_stays_also_where_black_is_cut_off(noise: float) -> None:
    mosaic = scene(noise, level=10, shape=(600, 800))
    assert repair_hot_pixels(mosaic, BLACK, WHITE)[1] <= 1
    cut = np.maximum(mosaic, BLACK) - np.uint16(BLACK)
    assert repair_hot_pixels(cut, 0, WHITE - BLACK)[1] <= 2


def test_what_was_found_sound_is_the_same_array() -> None:
    mosaic = scene(5)
    assert repair_hot_pixels(mosaic, BLACK, WHITE) == (mosaic, 0)


def spot(sigma: float, down: float, right: float) -> NDArray[np.float64]:
    """(13, 13): a lens' spot, each photosite the light on its area."""
    edges = np.arange(-6.5, 7.5) / sigma / 2**0.5
    lines = [np.diff([erf(edge - place / sigma / 2**0.5) for edge in edges]) for place in (down, right)]
    return np.outer(*lines)


def stars(sigma: float, colors: tuple[tuple[float, float, float], ...], noise: float) -> tuple[Mosaic, int]:
    """Stars of 50 to 3000 DN in a dark sky, on photosites of all colors, at their centers and beside them."""
    rng = np.random.default_rng(0)
    light = np.zeros((600, 800, 3))
    count = 0
    whole = spot(sigma, 0, 0).max()
    for row in range(8, 590, 15):  # odd steps: all colors in turn
        for column in range(8, 790, 15):
            down, right = rng.uniform(-0.5, 0.5, 2) * rng.integers(0, 2)
            peak = 50 * 60 ** rng.random()
            color = colors[rng.integers(len(colors))]
            light[row - 6 : row + 7, column - 6 : column + 7] += (
                spot(sigma, down, right)[..., None] / whole * peak * np.array(color)
            )
            count += 1
    mosaic = np.empty(light.shape[:2])
    for place, color_index in enumerate((0, 1, 1, 2)):
        row, column = divmod(place, 2)
        mosaic[row::2, column::2] = light[row::2, column::2, color_index]
    mosaic += rng.normal(0, 1, mosaic.shape) * np.sqrt(noise**2 + mosaic / 2)
    return np.clip(np.rint(mosaic + BLACK + 20), 0, WHITE).astype(np.uint16), count


@pytest.mark.parametrize("noise", [0, 10])
@pytest.mark.parametrize("sigma", [0.7, 1.0, 1.5])
@pytest.mark.parametrize("colors", [((0.5, 1, 0.6),), ((0.2, 0.8, 1), (1, 0.5, 0.15), (0.9, 1, 0.35))])
def test_stars_stay(colors: tuple[tuple[float, float, float], ...], sigma: float, noise: float) -> None:
    mosaic, count = stars(sigma, colors, noise)
    assert count > 2000
    assert repair_hot_pixels(mosaic, BLACK, WHITE)[1] <= 1  # of the faintest, by noise


def test_stars_stay_while_hot_photosites_among_them_go() -> None:
    mosaic, _ = stars(0.7, ((0.5, 1, 0.6),), 10)
    rows, columns = np.arange(15, 590, 30), np.arange(15, 590, 30) + np.arange(20) % 2
    mosaic[rows, columns] = WHITE
    repaired, count = repair_hot_pixels(mosaic, BLACK, WHITE)
    assert count in (19, 20, 21)
    assert (repaired[rows, columns] < 500).sum() >= 19


def test_lines_edges_and_dots_of_two_photosites_stay() -> None:
    mosaic = scene(5)
    mosaic[100:102, 100:102] = 4000
    mosaic[:, 200] = 4000
    mosaic[200, :] = 300
    mosaic[220:, 300:] = 4000
    assert repair_hot_pixels(mosaic, BLACK, WHITE)[1] == 0


@pytest.mark.parametrize("shape", [(2, 2), (3, 300), (8, 8), (9, 9), (10, 13)])
def test_small_mosaics_are_taken(shape: tuple[int, int]) -> None:
    mosaic = np.full(shape, 500, np.uint16)
    mosaic[shape[0] // 2, shape[1] // 2] = 4000
    repaired, count = repair_hot_pixels(mosaic, BLACK, WHITE)
    assert count == (min(shape) > 8)
    assert (repaired == 500).all() == (count == 1)


SHAPES = {
    "row": [(0, 0), (0, 2)],
    "column": [(0, 0), (2, 0)],
    "diagonal": [(0, 0), (2, 2)],
    "corner": [(0, 0), (0, 2), (2, 0)],
    "three": [(0, 0), (0, 2), (0, 4)],
    "square": [(0, 0), (0, 2), (2, 0), (2, 2)],
    "four": [(0, 0), (2, 0), (4, 0), (6, 0)],
    "stairs": [(0, 0), (0, 2), (2, 2), (2, 4)],
}


def with_clusters(mosaic: Mosaic, shape: str, value: int, step: int = 31) -> tuple[Mosaic, NDArray[np.bool_]]:
    """A mosaic with hot clusters of one color all over it, and where they are."""
    damaged, is_hot = mosaic.copy(), np.zeros(mosaic.shape, bool)
    for row in range(12, mosaic.shape[0] - 16, step):  # odd steps: all colors in turn
        for column in range(12, mosaic.shape[1] - 16, step):
            for down, right in SHAPES[shape]:
                is_hot[row + down, column + right] = True
    damaged[is_hot] = value
    return damaged, is_hot


@pytest.mark.parametrize("noise", [0, 5, 20])
@pytest.mark.parametrize("value", [2500, 4095])
@pytest.mark.parametrize("shape", SHAPES)
def test_hot_photosites_of_one_color_that_touch_are_repaired(shape: str, value: int, noise: float) -> None:
    sound = scene(noise)
    damaged, is_hot = with_clusters(sound, shape, value)
    repaired, count = repair_hot_pixels(damaged, BLACK, WHITE)
    assert count >= 0.95 * is_hot.sum()
    assert not (repaired != damaged)[~is_hot].any()
    errors = np.abs(repaired.astype(int) - sound)[is_hot]
    assert np.quantile(errors, 0.9) <= 6 + 2 * noise


def test_five_that_touch_stay_and_so_do_clusters_of_several_colors() -> None:
    mosaic = scene(5)
    for step in range(5):
        mosaic[100, 100 + 2 * step] = 4000
    mosaic[150:152, 150:153] = 4000
    mosaic[200, 200:204] = 4000
    assert repair_hot_pixels(mosaic, BLACK, WHITE)[1] == 0


@pytest.mark.parametrize("sigma", [0.7, 1.0])
def test_stars_stay_while_hot_clusters_among_them_go(sigma: float) -> None:
    mosaic, _ = stars(sigma, ((0.5, 1, 0.6), (1, 0.5, 0.15)), 10)
    damaged = mosaic.copy()
    rows, columns = np.arange(15, 570, 30), np.arange(15, 570, 30) + np.arange(19) % 2
    for down, right in SHAPES["corner"]:
        damaged[rows + down, columns + right] = WHITE
    repaired, count = repair_hot_pixels(damaged, BLACK, WHITE)
    assert count >= 3 * 18
    untouched = damaged == mosaic
    assert (repaired != damaged)[untouched].sum() <= 1


@pytest.mark.parametrize("distance", [1, 2, 3])
def test_double_stars_stay(distance: int) -> None:
    mosaic, _ = stars(0.7, ((0.5, 1, 0.6), (1, 0.5, 0.15), (0.2, 0.8, 1)), 5)
    double = np.maximum(mosaic, np.roll(mosaic, 2 * distance, (0, 1)))
    assert repair_hot_pixels(double, BLACK, WHITE)[1] <= 2
