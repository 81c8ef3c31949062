import numpy as np
import pytest

from lwisp.imaging.bayer import CFA, CFAS, plane_order
from lwisp.imaging.shading_maps import WHITE, Frame, GainMap, RadialGain, undo_shading

FRAME = Frame(0, 0, 40, 60)
FLAT = np.full((40, 60), 1064, np.uint16)


def a_map(gains: object, **other: object) -> GainMap:
    facts = {"frame": FRAME, "area": (0, 0, 40, 60), "pitch": (1, 1), "spacing": (1.0, 1.0), "origin": (0.0, 0.0)}
    return GainMap(**{**facts, **other}, gains=np.asarray(gains, np.float32))  # type: ignore[arg-type]


def linear(mosaic: np.ndarray, level: float) -> np.ndarray:
    return (mosaic.astype(np.float64) - level) / (WHITE - level)


def test_a_map_is_interpolated_over_the_frame_by_photosites_middles() -> None:
    """Arithmetic by hand: gains 1 to 3 from the left edge to the right, at (column + 1/2) / width."""
    even, level = undo_shading(FLAT, "RGGB", (64,) * 4, (4064,) * 4, [a_map([[[1], [3]], [[1], [3]]])])
    expected = 0.25 * (1 + 2 * (np.arange(60) + 0.5) / 60)
    assert np.abs(linear(even, level) - expected).max() < 1 / WHITE


@pytest.mark.parametrize("cfa", CFAS)
def test_values_are_clipped_at_white_and_noise_keeps_its_sign(cfa: CFA) -> None:
    mosaic = np.tile(np.array([[40, 2064], [64, 4064]], np.uint16), (20, 30))
    even, level = undo_shading(mosaic, cfa, (64,) * 4, (4064,) * 4, [a_map([[[3.0]]])])
    found = linear(even[:2, :2], level)
    assert found[0] == pytest.approx([-0.018, 1], abs=2e-5)
    assert found[1] == pytest.approx([0, 1], abs=2e-5)


@pytest.mark.parametrize("cfa", CFAS)
def test_a_map_for_one_phase_leaves_the_others(cfa: CFA) -> None:
    only = a_map([[[2.0]]], area=(1, 0, 40, 60), pitch=(2, 2))
    even, level = undo_shading(FLAT, cfa, (64,) * 4, (4064,) * 4, [only])
    found = linear(even, level)
    assert np.allclose(found[1::2, ::2], 0.5, atol=2e-5)
    assert np.allclose(found[::2], 0.25, atol=2e-5)
    assert np.allclose(found[1::2, 1::2], 0.25, atol=2e-5)


def test_a_map_for_one_color_and_a_part_leaves_the_rest() -> None:
    red = a_map([[[2.0]]], area=(10, 20, 21, 41), colors=(0, None, None))
    even, level = undo_shading(FLAT, "GRBG", (64,) * 4, (4064,) * 4, [red])
    changed = linear(even, level) > 0.3
    row, column = plane_order("GRBG")[0]
    expected = np.zeros_like(changed)
    expected[row::2, column::2] = True
    expected[:10] = expected[21:] = expected[:, :20] = expected[:, 41:] = False
    assert np.array_equal(changed, expected)


def test_a_moved_frame_moves_the_map() -> None:
    moved = a_map([[[1], [3]], [[1], [3]]], frame=Frame(-1, -2, 44, 64), area=(0, 0, 44, 64))
    even, level = undo_shading(FLAT, "RGGB", (64,) * 4, (4064,) * 4, [moved])
    expected = 0.25 * (1 + 2 * (np.arange(60) + 2.5) / 64)
    assert np.abs(linear(even, level) - expected).max() < 1 / WHITE


def test_a_radial_gain_is_one_in_its_center_and_the_sum_of_its_terms_in_the_farthest_corner() -> None:
    terms = (0.5, 0.25, 0.125, 0.0625, 0.0625)
    radial = RadialGain(FRAME, terms, (0.25, 0.5))
    rows, columns = np.arange(40), np.arange(60)
    gain = radial.gain(rows, columns, 1)
    assert gain is not None
    down, across = np.meshgrid(rows + 0.5 - 10, columns + 0.5 - 30, indexing="ij")
    squared = (down**2 + across**2) / (30**2 + 30**2)
    assert np.allclose(gain, 1 + sum(term * squared ** (power + 1) for power, term in enumerate(terms)), atol=1e-5)
    assert gain.max() <= radial.largest == 2
    even, level = undo_shading(FLAT, "BGGR", (64,) * 4, (4064,) * 4, [radial])
    assert np.abs(linear(even, level) - 0.25 * gain).max() < 1 / WHITE


def test_operations_follow_one_another_and_each_clips() -> None:
    half, double = a_map([[[0.5]]]), a_map([[[8.0]]])
    for order, expected in (([double, half], 0.5), ([half, double], 1.0)):
        even, level = undo_shading(FLAT, "RGGB", (64,) * 4, (4064,) * 4, order)
        assert np.allclose(linear(even, level), expected, atol=2e-5)
