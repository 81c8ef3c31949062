import numpy as np
import pytest

from lwisp.imaging.white_point import D50, D65, adaptation, light_of, temperature_of, to_chromaticity, to_xyz
from tests.conftest import require

colour = require("colour")


@pytest.mark.parametrize("kelvin", [1800, 2856, 3210, 4000, 5503, 6504, 9000, 20000])
@pytest.mark.parametrize("tint", [-40, 0, 12, 80])
def test_temperatures_are_those_of_the_planckian_locus(kelvin: float, tint: float) -> None:
    """Against Ohno's method of 2013, which computes the locus from Planck's law."""
    uv = np.array(colour.UCS_to_uv(colour.XYZ_to_UCS(colour.xy_to_XYZ(light_of(kelvin, tint)))))
    found, distance = colour.temperature.uv_to_CCT_Ohno2013(uv)
    assert 1e6 / found == pytest.approx(1e6 / kelvin, abs=0.1)
    assert distance == pytest.approx(tint / 3000, abs=1e-4)


@pytest.mark.parametrize("kelvin", [1700, 2000, 5000, 50000])
@pytest.mark.parametrize("tint", [-150, -3, 0, 150])
def test_temperature_and_tint_come_back(kelvin: float, tint: float) -> None:
    assert temperature_of(light_of(kelvin, tint)) == pytest.approx((kelvin, tint), rel=1e-4, abs=1e-3)


def test_a_temperature_alone_is_natural_light() -> None:
    assert light_of(2856) == pytest.approx((0.44757, 0.40745), abs=1e-4)  # CIE illuminant A
    assert light_of(5003) == pytest.approx(D50, abs=1e-3)
    assert light_of(6504) == pytest.approx(D65, abs=2e-4)
    assert light_of(7504) == pytest.approx((0.29902, 0.31485), abs=2e-4)  # D75
    steps = np.array([light_of(kelvin) for kelvin in range(3000, 8000, 10)])
    assert np.abs(np.diff(steps, axis=0)).max() < 1.5e-3


def test_lights_beyond_the_table_have_its_last_temperatures() -> None:
    assert temperature_of((0.7, 0.3))[0] == pytest.approx(1667, abs=1)
    assert temperature_of((0.1, 0.1))[0] >= 1e8


def test_the_adaptation_is_linear_bradford() -> None:
    expected = colour.adaptation.matrix_chromatic_adaptation_VonKries(to_xyz(D65), to_xyz(D50), "Bradford")
    assert np.allclose(adaptation(D65, D50), expected)
    assert np.allclose(adaptation(D65, D50) @ to_xyz(D65), to_xyz(D50))


def test_what_is_no_light_has_no_chromaticity() -> None:
    assert to_chromaticity(to_xyz(D65)) == pytest.approx(D65)
    for xyz in ([0, 0, 0], [1, -1, 1], [float("nan"), 1, 1]):
        with pytest.raises(ValueError, match="expected the XYZ of a light"):
            to_chromaticity(np.array(xyz, np.float64))
