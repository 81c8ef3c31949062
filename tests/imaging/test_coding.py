"""Color spaces by what they do; numbers by hand or from colour-science."""

import numpy as np
import pytest

from lwisp.imaging.coding import CODES, SRGB_TO_XYZ, Coding, decode_srgb, encode_srgb, primaries_to_xyz, tabulate

D65 = (0.3127, 0.3290)
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))


def coding(gamma: float | None = None, primaries: tuple[tuple[float, float], ...] = SRGB) -> Coding:
    curve = tabulate(decode_srgb if gamma is None else lambda x: x**gamma)
    return Coding(np.stack([curve] * 3), primaries_to_xyz(D65, *primaries))


def test_srgb_is_what_stays_itself() -> None:
    assert coding().is_srgb()
    assert not coding(2.2).is_srgb()  # the darkest codes differ by more than 1 of 255
    assert not coding(1.0).is_srgb()
    assert not coding(None, P3).is_srgb()


def test_primaries_make_the_matrix_of_the_standards() -> None:
    assert np.allclose(primaries_to_xyz(D65, *SRGB), SRGB_TO_XYZ, rtol=0, atol=1e-6)
    apple = [[0.515121, 0.291977, 0.157104], [0.241196, 0.692245, 0.066574], [-0.001053, 0.041885, 0.784073]]
    assert np.allclose(primaries_to_xyz(D65, *P3), apple, rtol=0, atol=2e-4)
    white = primaries_to_xyz((0.34567, 0.35850), *SRGB).sum(1)  # D50 itself
    assert np.allclose(white, (0.9642, 1, 0.8249), rtol=0, atol=2e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_light_is_coded_as_srgb_has_it(dtype: type[np.uint8] | type[np.uint16]) -> None:
    """Half the light is 0.7354 in sRGB, 0.001 is 0.01292."""
    top = np.iinfo(dtype).max
    codes = np.array([0, top // 2, top], dtype)[None, :, None].repeat(3, 2)
    made = coding(1.0).to_srgb(codes)
    assert made.dtype == dtype
    expected = [0, encode_srgb(np.array([top // 2 / top], np.float32))[0], 1]
    assert np.abs(made[0, :, 1] / top - expected).max() <= 1 / top
    assert encode_srgb(np.array([0.5, 0.001], np.float32)) == pytest.approx([0.73536, 0.01292], abs=1e-5)


def test_what_lies_outside_of_srgb_is_clipped_and_strips_do_not_show() -> None:
    red = np.zeros((3000, 700, 3), np.uint8)  # more than one strip
    red[..., 0] = 255
    assert (coding(None, P3).to_srgb(red) == [255, 0, 0]).all()
    inside = np.array([[[234, 51, 35]]], np.uint8)  # sRGB's red in Display P3, as any color picker tells
    assert np.abs(coding(None, P3).to_srgb(inside).astype(int) - [255, 0, 0]).max() <= 1


def test_curves_and_primaries_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        tabulate(lambda x: 1 / x)
    assert tabulate(lambda x: 3 * x - 1).tolist()[:: CODES - 1] == [0, 1]
    for points in ([(0, 0)] * 4, [D65, D65, D65, D65], [D65, (0.64, 0.33), (np.nan, 0.6), (0.15, 0.06)], [D65]):
        with pytest.raises(ValueError, match="expected"):
            primaries_to_xyz(points[0], *points[1:])
