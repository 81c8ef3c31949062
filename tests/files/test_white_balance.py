"""White balance: by words, by what DNGs say, estimated."""

import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import lwisp
from lwisp.files.dng_tags import THIRD_LEFT_OUT
from lwisp.files.raw import RawImage, read_raw
from lwisp.files.white_balance import parse_balance, with_balance
from lwisp.imaging.camera_color import normalize_color
from lwisp.imaging.matrices import CANONICAL_TO_XYZ
from lwisp.imaging.white_point import adaptation, light_of, to_xyz
from tests.conftest import XYZ2CAM, WriteDng
from tests.samples import colorful

D65 = (0.3127, 0.3290)
A = (0.44757, 0.40745)
BULB = np.array([[7509, -1403, -319], [-8774, 16008, 2922], [-2234, 2626, 9064]]) / 10000


def rationals(values: Any, scale: int = 1000000) -> tuple[int, ...]:
    return tuple(int(part) for value in np.ravel(values) for part in (round(float(value) * scale), scale))


def scene(white: tuple[float, float], xyz2cam: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Colored blocks and a gray frame under a light with a little noise, RGGB, white at 4095."""
    rgb = (colorful(96, 128) / 255) ** 2.2 * 0.4
    rgb[:24] = rgb[-24:] = 0.25
    seen = rgb @ (xyz2cam @ adaptation(D65, white) @ CANONICAL_TO_XYZ).T
    seen = np.clip(seen / seen.max() * 3600, 0, 4095)
    mosaic = seen[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = seen[::2, ::2, 0], seen[1::2, 1::2, 2]
    noisy: NDArray[np.uint16] = (mosaic + np.random.default_rng(0).normal(20, 4, mosaic.shape)).astype(np.uint16)
    return noisy


def dual(write_dng: WriteDng, xyz2cam: Any, extra: tuple[Any, ...], name: str, **other: Any) -> RawImage:
    """A DNG with the matrices of illuminant A and of D65."""
    tags = (
        (50722, "2i", 9, rationals(XYZ2CAM, 10000), True),
        (50779, "H", 1, 21, True),
        (50721, "2i", 9, rationals(BULB, 10000), True),
        (50778, "H", 1, 17, True),
        *extra,
    )
    return read_raw(write_dng(scene(A, xyz2cam), matrix=None, extra=tags, name=name, **other))


def test_a_light_told_as_chromaticity_is_the_same_as_its_neutral(write_dng: WriteDng) -> None:
    mosaic = scene(A, XYZ2CAM)
    neutral = XYZ2CAM @ to_xyz(A)
    told = read_raw(write_dng(mosaic, neutral=tuple(neutral / neutral[1]), name="neutral.dng"))
    chromaticity = (50729, "2I", 2, rationals(A), True)
    raw = read_raw(write_dng(mosaic, neutral=None, extra=(chromaticity,), name="xy.dng"))
    assert raw.notes == ()
    assert raw.white_balance == pytest.approx(told.white_balance, rel=1e-3)
    assert np.allclose(raw.cam2rgb, told.cam2rgb, atol=1e-3)


@pytest.mark.parametrize("is_xy", [True, False])
def test_of_two_illuminants_the_matrix_is_that_of_the_light(is_xy: bool, write_dng: WriteDng) -> None:
    """Under illuminant A the first matrix counts: colors come out as the scene's own, which is made with it."""
    neutral = BULB @ to_xyz(A)
    extra = ((50729, "2I", 2, rationals(A), True),) if is_xy else ()
    raw = dual(write_dng, BULB, extra, "dual.dng", neutral=None if is_xy else tuple(neutral / neutral[1]))
    assert raw.white_balance == pytest.approx(tuple(neutral[1] / neutral), rel=2e-3)
    red = adaptation(D65, A) @ CANONICAL_TO_XYZ @ [0.5, 0.1, 0.05]
    found = raw.cam2rgb @ (BULB @ red * raw.white_balance)
    assert found / found.sum() == pytest.approx(np.array([0.5, 0.1, 0.05]) / 0.65, abs=3e-3)
    assert raw.color is not None
    assert raw.color.is_dual
    cold = with_balance(raw, parse_balance("daylight"))
    assert not np.allclose(cold.cam2rgb, raw.cam2rgb, atol=0.02)


@pytest.mark.parametrize("white", [A, light_of(3500), light_of(6504)])
def test_a_balance_is_found_in_the_picture_where_the_file_has_none(
    white: tuple[float, float], write_dng: WriteDng
) -> None:
    raw = read_raw(write_dng(scene(white, XYZ2CAM), neutral=None))
    (note,) = raw.notes
    assert "no as-shot white balance: estimated" in note
    gray = XYZ2CAM @ to_xyz(white) * raw.white_balance
    assert np.ptp(gray / gray.mean()) < 0.25
    asked = with_balance(raw, parse_balance("auto"))
    assert asked.white_balance == raw.white_balance
    assert asked.notes == (note.replace("the file has no as-shot white balance", "automatic white balance"),)


def test_kelvin_and_tint_go_through_the_cameras_matrix(write_dng: WriteDng) -> None:
    raw = read_raw(write_dng(scene(A, XYZ2CAM), neutral=None))
    neutral = XYZ2CAM @ to_xyz(A)
    found = with_balance(raw, parse_balance("2856"))
    assert found.white_balance == pytest.approx(tuple(neutral[1] / neutral), rel=2e-3)
    assert found.notes == ()
    plain, magenta, green = (with_balance(raw, parse_balance(f"5000,{tint}")).white_balance for tint in (0, 50, -50))
    assert magenta[0] * magenta[2] > plain[0] * plain[2] > green[0] * green[2]  # less green in the picture
    warm, cold = (with_balance(raw, parse_balance(word)).white_balance for word in ("9000", "3000"))
    assert warm[0] / warm[2] > cold[0] / cold[2]


def test_gains_are_taken_as_they_are() -> None:
    raw = RawImage(np.zeros((4, 4), np.uint16), "RGGB", (0,) * 4, (1,) * 4, notes=("something else",))
    found = with_balance(raw, parse_balance("4, 2,3"))
    assert found.white_balance == (2, 1, 1.5)
    assert found.notes == raw.notes
    assert with_balance(raw, parse_balance("As-Shot")) is raw


def test_a_camera_without_matrix_has_no_kelvin() -> None:
    raw = RawImage(np.zeros((4, 4), np.uint16), "RGGB", (0,) * 4, (1,) * 4)
    for words in ("5000", "daylight"):
        with pytest.raises(lwisp.InputError, match=f"a.dng: no color matrix .* white balance of {words} needs"):
            with_balance(raw, parse_balance(words), "a.dng")
    with pytest.raises(lwisp.InputError, match="no white balance of 2000,0"):
        odd = read_color(raw)
        with_balance(odd, parse_balance("2000,0"))


def read_color(raw: RawImage) -> RawImage:
    """The RAW of a sensor that sees no blue in a candle."""
    from lwisp.imaging.camera_color import Calibration, CameraColor

    blind = np.array([[1, 0, 0], [0, 1, 0], [-0.5, 0, 1.0]])
    return replace(raw, color=CameraColor(Calibration(0, blind)))


@pytest.mark.parametrize(
    "words",
    ["", "sun", "1000", "60000", "5000,400", "5000,x", "0,1,1", "1,-1,1", "nan,1,1", "inf", "1,2,3,4", "1,1,1e9"],
)
def test_other_words_are_refused_in_one_sentence(words: str) -> None:
    with pytest.raises(lwisp.InputError, match="expected a white balance of as-shot, auto, daylight, KELVIN") as caught:
        parse_balance(words)
    assert "\n" not in str(caught.value)


def test_a_third_illuminant_counts_where_its_light_is_known_and_is_told_of_otherwise(write_dng: WriteDng) -> None:
    """Under its own light its own matrix counts; told as a chromaticity or by a number of EXIF's."""
    lamp = np.array([[6900, -1000, -700], [-8200, 15800, 2600], [-2000, 2200, 8000]]) / 10000
    white = light_of(4150, 0)
    matrix = (52531, "2i", 9, rationals(lamp, 10000), True)
    chromaticity = struct.pack("<H4L", 0, round(white[0] * 10**6), 10**6, round(white[1] * 10**6), 10**6)
    spectrum = struct.pack("<HL4L2L", 1, 2, 400, 1, 300, 1, 1, 1)
    neutral = lamp @ to_xyz(white)
    shot = {"neutral": tuple(neutral / neutral[1])}
    numbered = dual(write_dng, lamp, (matrix, (52529, "H", 1, 14, True)), "number.dng", **shot)
    other = (52529, "H", 1, 255, True)
    told = dual(write_dng, lamp, (matrix, other, (52535, "B", 18, chromaticity, True)), "xy.dng", **shot)
    for raw in (numbered, told):
        assert raw.notes == ()
        assert raw.color is not None
        assert np.allclose(raw.color.matrix(white), normalize_color(lamp), atol=1e-3)
        assert raw.color.light(raw.white_balance) == pytest.approx(white, abs=1e-3)
    for extra in ((), (other,), (other, (52535, "B", len(spectrum), spectrum, True))):
        raw = dual(write_dng, lamp, (matrix, *extra), "unknown.dng", **shot)
        assert raw.notes == (THIRD_LEFT_OUT,)
        assert raw.color is not None
        assert raw.color.third is None
