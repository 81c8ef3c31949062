import numpy as np
import pytest
from numpy.typing import NDArray

from lwisp.imaging.camera_color import (
    Calibration,
    CameraColor,
    matrix_under,
    normalize_color,
    normalize_forward,
)
from lwisp.imaging.matrices import CANONICAL_TO_XYZ, cam2rgb_from_xyz
from lwisp.imaging.white_point import D50, D65, adaptation, light_of, to_xyz
from tests.conftest import XYZ2CAM

BULB = np.array([[7509, -1403, -319], [-8774, 16008, 2922], [-2234, 2626, 9064]]) / 10000
DUAL = CameraColor(Calibration(2850, BULB), Calibration(6500, XYZ2CAM))


def test_between_two_lights_the_matrix_goes_by_the_inverse_temperature() -> None:
    kelvin = 1 / (0.25 / 2850 + 0.75 / 6500)
    expected = 0.25 * BULB + 0.75 * XYZ2CAM
    assert np.allclose(DUAL.matrix(light_of(kelvin, 0)), expected, atol=1e-5)
    assert np.allclose(DUAL.matrix(light_of(2000)), BULB)
    assert np.allclose(DUAL.matrix(light_of(9000)), XYZ2CAM)


@pytest.mark.parametrize("kelvin", [2000, 2856, 4200, 5000, 6504, 9000])
def test_a_neutral_and_its_light_belong_together(kelvin: float) -> None:
    """Gains of a light that the iteration has to find again, which it does by other matrices at each step."""
    white = light_of(kelvin, 5)
    assert DUAL.light(DUAL.gains(white)) == pytest.approx(white, abs=1e-6)


@pytest.mark.parametrize("white", [light_of(2856), light_of(4000), D65])
def test_a_color_under_any_light_comes_out_as_bradford_has_it_under_d65(white: tuple[float, float]) -> None:
    """Arithmetic by hand: the camera sees a red under a light; adapted to D65 it must have the red's coordinates."""
    red = adaptation(D65, white) @ CANONICAL_TO_XYZ.astype(np.float64) @ [0.5, 0.1, 0.05]
    seen = DUAL.matrix(white) @ red
    gains = DUAL.gains(white)
    found = DUAL.cam2rgb(gains).astype(np.float64) @ (seen * gains)
    assert found / found.sum() == pytest.approx(np.array([0.5, 0.1, 0.05]) / 0.65, abs=1e-4)


def test_forward_matrices_analog_balance_and_calibration_count() -> None:
    """CameraToXYZ_D50 = ForwardMatrix D inverse(AB CC), chapter 6 of the specification, written out."""
    unit = np.diag([1.1, 1.0, 0.9]) @ np.array([[1.02, 0.01, 0], [0, 1, 0], [0, 0.02, 0.97]])
    forward = normalize_forward(np.array([[0.7, 0.1, 0.16], [0.3, 0.65, 0.05], [0.02, 0.0, 0.8]]))
    single = CameraColor(Calibration(2850, BULB, forward, unit), Calibration(6500, XYZ2CAM, forward, unit))
    white = light_of(9000)
    neutral = unit @ XYZ2CAM @ to_xyz(white)
    gains = single.gains(white)
    assert gains == pytest.approx(tuple(neutral[1] / neutral))
    to_d50 = forward @ np.diag(1 / (np.linalg.inv(unit) @ neutral)) @ np.linalg.inv(unit)
    color = np.array([0.3, 0.5, 0.2])
    expected = np.linalg.inv(CANONICAL_TO_XYZ.astype(np.float64)) @ adaptation(D50, D65) @ to_d50 @ color
    found = single.cam2rgb(gains).astype(np.float64) @ (color * gains)
    assert found / found.sum() == pytest.approx(expected / expected.sum(), abs=1e-5)
    assert to_d50 @ neutral == pytest.approx(to_xyz(D50), rel=1e-6)


def test_one_calibration_has_one_matrix() -> None:
    color = CameraColor(Calibration(0, XYZ2CAM))
    assert not color.is_dual
    assert np.array_equal(color.fixed, cam2rgb_from_xyz(XYZ2CAM.astype(np.float32)))
    other = np.eye(3, dtype=np.float32)
    assert matrix_under((2.0, 1.0, 1.5), color, other) is other
    assert matrix_under((2.0, 1.0, 1.5), None, other) is other
    assert matrix_under((2.0, 1.0, 1e-9), DUAL, other) is other  # the gains of no light
    assert np.allclose(matrix_under((2.0, 1.0, 1.5), DUAL, other).sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.full((3, 3), np.nan), np.ones((3, 3))])
def test_matrices_that_make_no_sense_are_no_color(matrix: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="inverse"):
        CameraColor(Calibration(6500, matrix))
    for normalize in (normalize_color, normalize_forward):
        with pytest.raises(ValueError, match="expected a"):
            normalize(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="rising"):
        CameraColor(Calibration(6500, XYZ2CAM), Calibration(2850, BULB))


def test_a_light_that_the_matrix_turns_negative_has_no_gains() -> None:
    with pytest.raises(ValueError, match="can show"):
        CameraColor(Calibration(0, XYZ2CAM)).gains((0.7, 0.05))


LAMP = np.array([[6900, -1000, -700], [-8200, 15800, 2600], [-2000, 2200, 8000]]) / 10000
TRIPLE = CameraColor(Calibration(2850, BULB), Calibration(6500, XYZ2CAM), Calibration(4150, LAMP, tint=-20))


def test_under_one_of_three_lights_its_own_matrix_counts() -> None:
    for kelvin, tint, expected in ((2850, 0, BULB), (6500, 0, XYZ2CAM), (4150, -20, LAMP)):
        assert np.allclose(TRIPLE.matrix(light_of(kelvin, tint)), expected, atol=1e-4)


def test_between_three_lights_the_nearest_count_most() -> None:
    """As the DNG SDK has it, by hand: squared distances in (tint / 200, 1500 / kelvin), inverted and smoothed."""
    kelvin, tint = 3600, 15
    place = np.array([tint / 200, 1500 / kelvin])
    near = np.array([1 / ((place - [t / 200, 1500 / k]) ** 2).sum() for k, t in ((2850, 0), (6500, 0), (4150, -20))])
    share = near / near.sum()
    kept = (3 * share**2 - 2 * share**3 - 0.02).clip(0)
    kept /= kept.sum()
    assert kept.min() < 0.2 < 0.3 < kept.max()
    expected = kept[0] * BULB + kept[1] * XYZ2CAM + kept[2] * LAMP
    assert np.allclose(TRIPLE.matrix(light_of(kelvin, tint)), expected, atol=1e-4)


@pytest.mark.parametrize("kelvin", [2000, 2856, 4200, 5000, 6504, 9000])
def test_a_neutral_and_its_light_belong_together_with_three_lights(kelvin: float) -> None:
    white = light_of(kelvin, 5)
    assert TRIPLE.light(TRIPLE.gains(white)) == pytest.approx(white, abs=1e-4)


def test_a_third_light_alone_is_none() -> None:
    with pytest.raises(ValueError, match="third"):
        CameraColor(Calibration(2850, BULB), None, Calibration(4150, LAMP))
    with pytest.raises(ValueError, match="third"):
        CameraColor(Calibration(2850, BULB), Calibration(6500, XYZ2CAM), Calibration(0, LAMP))
