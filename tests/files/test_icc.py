"""Profiles decide by what they do; LittleCMS is the oracle of what is computed here."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from lwisp.files.icc import coding_of, convert, gray_profile, is_srgb, lab_to_srgb, space_of, srgb_profile
from tests.profiles import P3, assemble, curve_profile, fixed, matrix_profile, power, table_profile

RNG = np.random.default_rng(0)
SRGB_POINTS = struct.pack(">I", 1024) + b"".join(
    struct.pack(">H", round(65535 * (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4)))
    for x in np.linspace(0, 1, 1024)
)
CURVES = {
    "identity": b"curv\0\0\0\0\0\0\0\0",
    "gamma 1.8": b"curv\0\0\0\0" + struct.pack(">IH", 1, round(1.8 * 256)),
    "points": b"curv\0\0\0\0" + SRGB_POINTS,
    "power": power(2.2),
    "type 1": b"para\0\0\0\0\0\1\0\0" + fixed(2.0, 1.1, -0.1),
    "type 3": b"para\0\0\0\0\0\3\0\0" + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    "type 4": b"para\0\0\0\0\0\4\0\0" + fixed(1 / 0.45, 0.905, 0.095, 0.222, 0.081, 0.0, 0.0),
}


def test_srgb_by_any_name_and_by_none() -> None:
    assert is_srgb(srgb_profile())
    assert is_srgb(assemble(srgb_profile(), {b"desc": b"mluc\0\0\0\0\0\0\0\0\0\0\0\x0c"}))
    assert is_srgb(matrix_profile(CURVES["points"]))
    for profile in (matrix_profile(power(1.0)), matrix_profile(power(2.2)), matrix_profile(None, P3)):
        assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
        assert not is_srgb(profile)
    for profile in (b"", b"garbage" * 50, gray_profile(), table_profile(b"CMYK", np.zeros((16, 3)))):
        assert not is_srgb(profile)


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("primaries", [None, P3], ids=["sRGB", "P3"])
def test_curves_and_matrices_do_what_littlecms_does(name: str, primaries: tuple[tuple[float, ...], ...] | None) -> None:
    profile = matrix_profile(CURVES[name], primaries)
    coding = coding_of(profile)
    assert coding is not None
    rgb = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    expected = np.asarray(convert(Image.fromarray(rgb), profile)).astype(float)
    made = coding.to_srgb(rgb).astype(float)
    assert np.abs(made - expected)[expected > 40].max() <= 2  # LittleCMS is coarse in the dark at 8 bits
    assert np.abs(made - expected).mean() < 0.6


@pytest.mark.parametrize("name", CURVES)
def test_grays_do_what_littlecms_does(name: str) -> None:
    gray = np.arange(256, dtype=np.uint8)[None]
    for pcs in (b"XYZ ", b"Lab "):
        profile = curve_profile(CURVES[name], pcs)
        coding = coding_of(profile)
        assert coding is not None
        assert space_of(profile) == "GRAY"
        expected = np.asarray(convert(Image.fromarray(gray), profile)).astype(int)
        difference = np.abs(coding.to_srgb(gray[..., None].repeat(3, 2)).astype(int) - expected)
        assert difference[expected > 60].max() <= 1  # LittleCMS is coarse in the dark at 8 bits
        assert difference.mean() < 1


@pytest.mark.parametrize(
    ("curve", "light"),
    [
        (b"para\0\0\0\0\0\1\0\0" + fixed(2.0, 2.0, -0.5), [0, 0, 0.25]),
        (b"para\0\0\0\0\0\2\0\0" + fixed(2.0, 1.0, -0.25, 0.125), [0.125, 0.125, 0.1875]),
        (b"para\0\0\0\0\0\3\0\0" + fixed(2.0, 1.0, 0.0, 0.5, 0.375), [0, 0.125, 0.25]),
        (b"para\0\0\0\0\0\4\0\0" + fixed(2.0, 1.0, 0.0, 0.5, 0.375, 0.25, 0.0625), [0.0625, 0.1875, 0.5]),
        (b"curv\0\0\0\0" + struct.pack(">I3H", 3, 0, 13107, 65535), [0, 0.1, 0.2]),
    ],
    ids=["type 1", "type 2", "type 3", "type 4", "points"],
)
def test_curves_are_those_of_the_specification(curve: bytes, light: list[float]) -> None:
    """ICC.1:2010, sections 10.5 and 10.15, by hand at 0, a quarter, a half."""
    coding = coding_of(matrix_profile(curve))
    assert coding is not None
    assert coding.curves[1, [0, 16384, 32768]] == pytest.approx(light, abs=1e-4)


def test_our_profile_of_grays_is_srgbs_curve() -> None:
    coding = coding_of(gray_profile())
    assert coding is not None
    assert coding.is_srgb()
    gray = np.arange(256, dtype=np.uint8)[None]
    converted = convert(Image.fromarray(gray), gray_profile())
    assert converted is not None
    assert np.array_equal(np.asarray(converted), gray[..., None].repeat(3, 2))


def test_a_profile_of_tables_has_no_curves_to_compute() -> None:
    assert coding_of(table_profile(b"RGB ", np.zeros((8, 3)))) is None
    assert coding_of(assemble(srgb_profile(), {b"A2B0": b"mft1"})) is None
    assert space_of(table_profile(b"RGB ", np.zeros((8, 3)))) == "RGB"


def test_damage_is_nothing_and_no_exception() -> None:
    whole = matrix_profile(CURVES["points"], P3)
    for length in range(0, len(whole), 37):
        coding_of(whole[:length])
        space_of(whole[:length])
    for _ in range(300):
        damaged = bytearray(whole[:700])
        for place in RNG.integers(0, 700, 8):
            damaged[place] = RNG.integers(0, 256)
        coding_of(bytes(damaged))
        is_srgb(bytes(damaged))
    assert coding_of(matrix_profile(b"curv\0\0\0\0\xff\xff\xff\xff")) is None
    assert coding_of(matrix_profile(b"para\0\0\0\0\0\1\0\0" + fixed(-2.0, 1.0, 0.0))) is None  # infinite at 0


def test_lab_is_read_under_d50() -> None:
    """sRGB's red, green and a gray in Lab under D50: 54.3, 80.8, 69.9; 87.8, -79.3, 81.0; 53.6, 0, 0."""
    lab = np.array([[[138, 81, 70], [224, 177, 81], [137, 0, 0]]], np.uint8)  # L over 255, a and b with sign
    rgb = np.asarray(lab_to_srgb(Image.frombytes("LAB", (3, 1), lab.tobytes())))
    assert np.abs(rgb[0].astype(int) - [[255, 0, 0], [0, 255, 0], [128, 128, 128]]).max() <= 15  # 8 bits of Lab
