"""Finished pictures of other color spaces than sRGB, read by what their files say of colors."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import lwisp
from lwisp.files.colors import DAMAGED, NOT_RGB
from lwisp.files.icc import srgb_profile
from lwisp.files.pictures import read_picture, read_rgb, write_picture
from tests.conftest import refusal
from tests.profiles import P3, curve_profile, matrix_profile, png, power, table_profile

RNG = np.random.default_rng(0)
RGB8 = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
RGB16 = RNG.integers(0, 65536, (20, 30, 3), dtype=np.uint16)
RAMP = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, 2)
P3_RED = np.full((4, 6, 3), (234, 51, 35), np.uint8)
"""sRGB's red in Display P3, as any color picker tells."""
GUESS = "CMYK, without a profile: converted by arithmetic, its colors are a guess"


def saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, form, **options)
    return content.getvalue()


def encode(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_a_profile_called_srgb_that_is_linear_is_converted(form: str) -> None:
    options = {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
    content = saved(Image.fromarray(RAMP.repeat(8, 0)), form, icc_profile=matrix_profile(power(1.0)), **options)
    picture = read_picture(content)
    assert np.abs(picture.rgb / 255 - encode(RAMP / 255))[:, 20:].max() < 0.02
    assert picture.notes == ()


def test_srgb_stays_as_it_is_byte_for_byte() -> None:
    for profile in (None, srgb_profile()):
        assert np.array_equal(read_picture(saved(Image.fromarray(RGB8), "PNG", icc_profile=profile)).rgb, RGB8)


def test_wide_colors_of_16_bits_stay_16_bits(tmp_path: Path) -> None:
    """Against the arithmetic of the standards in float64: a red of 0.7 and a dark gray, whose steps 8 bits lack."""
    path = tmp_path / "wide.tif"
    codes = np.array([[[45875, 0, 0], [700, 700, 700], [701, 701, 701], [60000, 50000, 40000]]], np.uint16)
    tifffile.imwrite(path, codes, photometric="rgb", iccprofile=matrix_profile(None, P3))
    picture = read_picture(path)
    light = codes / 65535
    light = np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    p3 = [[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0197, -0.0786, 1.0979]]  # Display P3 to sRGB, linear
    expected = encode((light @ np.transpose(p3)).clip(0, 1)) * 65535
    assert (picture.rgb.dtype.name, picture.notes) == ("uint16", ())
    assert np.abs(picture.rgb - expected).max() < 60
    assert (picture.rgb[0, 2] > picture.rgb[0, 1]).all()
    assert np.array_equal(read_rgb(path), picture.rgb >> 8)


def test_tables_of_16_bits_are_converted_at_8_and_said_so(tmp_path: Path) -> None:
    """Corners of a cube whose Lab is that of black and white, whatever the colors: only green decides."""
    corners = np.array([[255 * (index >> 1 & 1), 128, 128] for index in range(8)])
    values = np.array([[[0, 65535, 0], [65535, 0, 65535]]], np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", iccprofile=table_profile(b"RGB ", corners))
    picture = read_picture(tmp_path / "a.tif")
    assert picture.rgb.dtype == np.uint8
    assert np.abs(picture.rgb[0].astype(int) - [[255] * 3, [0] * 3]).max() <= 3
    assert picture.notes == ("its profile is one of tables: converted, at 8 bits",)


@pytest.mark.parametrize("profile", [b"garbage" * 50, srgb_profile()[:200], b"\0" * 300], ids=["text", "cut", "zeros"])
def test_a_damaged_profile_is_said_and_the_picture_read(profile: bytes) -> None:
    picture = read_picture(saved(Image.fromarray(RGB8), "PNG", icc_profile=profile))
    assert np.array_equal(picture.rgb, RGB8)
    assert picture.notes == (DAMAGED,)


def test_a_profile_for_other_pictures_is_left_aside_and_said() -> None:
    for profile in (curve_profile(power(1.0)), table_profile(b"CMYK", np.zeros((16, 3)))):
        picture = read_picture(saved(Image.fromarray(RGB8), "PNG", icc_profile=profile))
        assert np.array_equal(picture.rgb, RGB8)
        assert picture.notes == (NOT_RGB,)


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile(form: str) -> None:
    """A press whose cyan, magenta and yellow are water: only its black ink shows."""
    corners = np.array([[0 if index & 1 else 255, 128, 128] for index in range(16)])
    options = {"quality": 100} if form == "JPEG" else {}
    inks = Image.new("CMYK", (16, 16), (255, 200, 100, 0))
    inks.paste((0, 0, 0, 255), (8, 0, 16, 16))
    picture = read_picture(saved(inks, form, icc_profile=table_profile(b"CMYK", corners), **options))
    assert np.abs(picture.rgb[8, [2, 14]].astype(int) - [[255] * 3, [0] * 3]).max() <= 3
    assert picture.notes == ()
    plain = read_picture(saved(inks, form, **options))
    assert np.abs(plain.rgb[8, [2, 14]].astype(int) - [[0, 55, 155], [0] * 3]).max() <= 3
    assert plain.notes == (GUESS,)
    damaged = read_picture(saved(inks, form, icc_profile=b"garbage" * 50, **options))
    assert np.array_equal(damaged.rgb, plain.rgb)
    assert "damaged" in damaged.notes[0]


def test_inks_are_inverted_where_adobe_says_so_and_only_there() -> None:
    content = saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100)
    assert np.abs(read_picture(content).rgb[0, 0].astype(int) - [255, 0, 0]).max() <= 2
    start = content.index(b"\xff\xee")
    plain = content[:start] + content[start + 2 + struct.unpack(">H", content[start + 2 : start + 4])[0] :]
    assert read_picture(plain).rgb[0, 0].tolist() == [0, 0, 0]  # the same numbers as they stand: all cyan, all black


def test_lab_is_read() -> None:
    lab = np.array([[[138, 81, 70], [137, 0, 0]]], np.uint8).repeat(8, 0)  # sRGB's red and a gray
    picture = read_picture(saved(Image.frombytes("LAB", (2, 8), lab.tobytes()), "TIFF"))
    assert np.abs(picture.rgb[0].astype(int) - [[255, 0, 0], [128] * 3]).max() <= 6


@pytest.mark.parametrize("deep", [False, True])
def test_grays_go_through_their_profile_and_stay_gray(deep: bool) -> None:
    gray = RGB16[..., 0] if deep else RGB8[..., 0]
    top = np.iinfo(gray.dtype).max
    for profile in (curve_profile(power(1.0)), matrix_profile(power(1.0))):
        picture = read_picture(saved(Image.fromarray(gray), "PNG", icc_profile=profile))
        assert (picture.is_gray, picture.rgb.dtype, picture.notes) == (True, gray.dtype, ())
        assert (picture.rgb == picture.rgb[..., :1]).all()
        difference = np.abs(picture.rgb[..., 0] / top - encode(gray / top))
        assert difference[gray > 0.05 * top].max() < 0.01
    tables = table_profile(b"GRAY", np.array([[255, 128, 128], [0, 128, 128]]))  # a negative
    picture = read_picture(saved(Image.fromarray(gray), "PNG", icc_profile=tables))
    assert (picture.is_gray, picture.rgb.dtype.name) == (True, "uint8")
    assert picture.rgb[..., 0][gray > 0.9 * top].max() < 60


PRIMARIES = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
P3_PRIMARIES = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)


def gamma(value: float) -> bytes:
    return struct.pack(">I", round(value * 100_000))


def chromaticities(*values: float) -> bytes:
    return struct.pack(">8I", *[round(value * 100_000) for value in values])


def test_chunks_of_a_png_tell_its_colors() -> None:
    linear = read_picture(png(RAMP, {"gAMA": gamma(1.0)}))
    assert np.abs(linear.rgb / 255 - encode(RAMP / 255)).max() <= 0.5 / 255 + 1e-4
    power_18 = read_picture(png(RAMP, {"gAMA": gamma(1 / 1.8)})).rgb
    assert np.abs(power_18 / 255 - encode((RAMP / 255) ** 1.8)).max() <= 0.5 / 255 + 1e-4
    for chunks in ({"cHRM": chromaticities(*P3_PRIMARIES)}, {"cICP": b"\x0c\x0d\0\1"}):
        assert np.abs(read_picture(png(P3_RED, chunks)).rgb[0, 0].astype(int) - [255, 0, 0]).max() <= 1
    deep = read_picture(png(RGB16, {"gAMA": gamma(1.0)}))
    assert np.abs(deep.rgb / 65535 - encode(RGB16 / 65535)).max() < 2e-4
    gray = read_picture(png(RAMP[..., :1], {"gAMA": gamma(1.0)}, color_type=0))
    assert gray.is_gray
    assert np.array_equal(gray.rgb, linear.rgb)


@pytest.mark.parametrize(
    "chunks",
    [
        {"sRGB": b"\0", "gAMA": gamma(1.0)},
        {"gAMA": gamma(0.45455)},
        {"gAMA": gamma(0.45455), "cHRM": chromaticities(*PRIMARIES)},
        {"cICP": b"\x01\x0d\0\1", "gAMA": gamma(1.0)},
    ],
    ids=str,
)
def test_chunks_that_say_srgb_change_nothing(chunks: dict[str, bytes]) -> None:
    picture = read_picture(png(RAMP, chunks))
    assert np.array_equal(picture.rgb, RAMP)
    assert picture.notes == ()


@pytest.mark.parametrize("chunks", [{"gAMA": gamma(0)}, {"cHRM": bytes(32)}, {"gAMA": gamma(200)}], ids=str)
def test_chunks_without_sense_are_said_and_left_aside(chunks: dict[str, bytes]) -> None:
    picture = read_picture(png(RAMP, chunks))
    assert np.array_equal(picture.rgb, RAMP)
    assert "make no sense" in picture.notes[0]


def test_a_profile_comes_before_gamma() -> None:
    content = saved(Image.fromarray(RAMP), "PNG", icc_profile=srgb_profile())
    chunk = png(RAMP, {"gAMA": gamma(1.0)})[33:49]
    assert np.array_equal(read_picture(content[:33] + chunk + content[33:]).rgb, RAMP)


def test_hdr_is_refused_by_name(tmp_path: Path) -> None:
    for number, name in ((16, "PQ"), (18, "HLG")):
        (tmp_path / "a.png").write_bytes(png(RAMP, {"cICP": bytes([9, number, 0, 1])}))
        assert f"an HDR picture ({name})" in refusal(tmp_path / "a.png", read_picture, tmp_path / "a.png")


def test_a_cameras_adobe_rgb_is_told_by_its_tag() -> None:
    """sRGB's red is (219, 0, 0) in Adobe RGB (1998), and 255 of its green lies outside of sRGB."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[40961] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    pixels = np.array([[[219, 0, 0], [0, 255, 0], [128] * 3]], np.uint8).repeat(16, 0).repeat(16, 1)
    content = saved(Image.fromarray(pixels), "JPEG", quality=100, subsampling=0, exif=exif)
    rgb = read_picture(content).rgb[8, [8, 24, 40]].astype(int)
    assert np.abs(rgb - [[255, 0, 0], [0, 255, 0], [128] * 3]).max() <= 12
    assert rgb[0, 0] >= 253


def test_further_pictures_are_left_out_and_said() -> None:
    pictures = [Image.new("RGB", (16, 16), color) for color in ("red", "green", "blue")]
    for form, note in (
        ("PNG", "2 further frames left out"),
        ("MPO", "2 further pictures left out"),
    ):
        picture = read_picture(saved(pictures[0], form, save_all=True, append_images=pictures[1:]))
        assert picture.notes == (note,)
        assert np.abs(picture.rgb[0, 0].astype(int) - [255, 0, 0]).max() <= 2
    pages = io.BytesIO()
    tifffile.imwrite(pages, np.stack([np.asarray(picture) for picture in pictures]), photometric="rgb")
    picture = read_picture(pages.getvalue())
    assert (picture.notes, picture.rgb[0, 0].tolist()) == (("2 further pages left out",), [255, 0, 0])


def test_heif_is_read_where_its_reader_is_installed() -> None:
    heif = pytest.importorskip("pillow_heif")

    def encoded(*pictures: Image.Image, **coding: int) -> bytes:
        content = io.BytesIO()
        file = heif.from_pillow(pictures[0])
        for picture in pictures[1:]:
            file.add_from_pillow(picture)
        file.save(content, quality=100, **coding)
        return content.getvalue()

    red, gray = Image.fromarray(P3_RED.repeat(16, 0).repeat(16, 1)), Image.new("L", (64, 64), 77)
    p3 = {"color_primaries": 12, "transfer_characteristics": 13, "full_range_flag": 1}
    assert np.abs(read_picture(encoded(red, **p3)).rgb[9, 9].astype(int) - [255, 0, 0]).max() <= 12
    assert np.abs(read_picture(encoded(red)).rgb[9, 9].astype(int) - [234, 51, 35]).max() <= 2
    assert read_picture(encoded(gray)).is_gray
    assert read_picture(encoded(red, red)).notes == ("1 further picture left out",)
    with pytest.raises(lwisp.InputError, match=r"an HDR picture \(PQ\)"):
        read_picture(encoded(red, color_primaries=9, transfer_characteristics=16))


@pytest.mark.parametrize("kind", ["jpg", "png", "png16", "tiff"])
def test_grays_are_written_with_one_channel_and_a_profile_of_grays(kind: Any, tmp_path: Path) -> None:
    gray = RGB16[..., 0] if kind in ("png16", "tiff") else RAMP[..., 0].repeat(8, 0)
    path = tmp_path / "gray"
    write_picture(path, gray, kind)
    with Image.open(path) as picture:
        assert picture.getbands() in (("L",), ("I",))
        assert picture.info["icc_profile"][16:20] == b"GRAY"
    if kind == "tiff":
        assert np.array_equal(tifffile.imread(path), gray)
    again = read_picture(path)
    assert (again.is_gray, again.notes) == (True, ())
    assert np.abs(again.rgb[..., 0].astype(int) - gray).max() <= (2 if kind == "jpg" else 0)
