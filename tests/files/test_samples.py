"""Samples of pictures at all of their bits; tifffile writes what Pillow does not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from lwisp.files.pictures import own_format, read_picture
from tests.conftest import refusal
from tests.profiles import png

RNG = np.random.default_rng(0)
RGB16 = RNG.integers(0, 65536, (41, 30, 3), dtype=np.uint16)


@pytest.mark.parametrize(
    "options",
    [{}, {"byteorder": ">"}, {"rowsperstrip": 7}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}],
    ids=str,
)
@pytest.mark.parametrize("channels", [3, 4])
def test_separate_planes_of_16_bits_are_read_whole(options: dict[str, Any], channels: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    planes = np.concatenate([RGB16.transpose(2, 0, 1), np.full((1, 41, 30), 65535, np.uint16)])[:channels]
    tifffile.imwrite(path, planes, planarconfig="separate", photometric="rgb", **options)
    assert np.array_equal(read_picture(path).rgb, RGB16)


def test_planes_that_are_cut_short_or_in_tiles_are_refused(tmp_path: Path) -> None:
    path, planes = tmp_path / "a.tif", np.ascontiguousarray(RGB16.transpose(2, 0, 1))
    tifffile.imwrite(path, planes, planarconfig="separate", photometric="rgb", tile=(16, 16))
    assert "separate planes; save it interleaved" in refusal(path, read_picture, path)
    tifffile.imwrite(path, planes, planarconfig="separate", photometric="rgb")
    path.write_bytes(path.read_bytes()[:-100])
    assert "cut short" in refusal(path, read_picture, path)


def test_deep_pngs_without_tags_are_read_whole(tmp_path: Path) -> None:
    """Pillow decodes a PNG to look for tags behind its pixels; the lower bits are then gone."""
    (tmp_path / "a.png").write_bytes(png(RGB16))
    assert np.array_equal(read_picture(tmp_path / "a.png").rgb, RGB16)
    assert own_format(tmp_path / "a.png") == "png16"


def test_grays_with_opacity_stay_gray() -> None:
    values = RGB16[..., :2]
    picture = read_picture(png(values, color_type=4))
    assert picture.is_gray
    assert np.array_equal(picture.rgb[..., 0], values[..., 0] >> 8)
    assert picture.notes == ("its transparency is lost", "of 16 bits a color: read at 8")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}], ids=str)
@pytest.mark.parametrize("deep", [True, False])
def test_grays_of_which_zero_is_white_are_turned_round(options: dict[str, Any], deep: bool, tmp_path: Path) -> None:
    gray = RGB16[..., 0] if deep else (RGB16[..., 0] >> 8).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", gray, photometric="miniswhite", **options)
    picture = read_picture(tmp_path / "a.tif")
    assert picture.is_gray
    assert np.array_equal(picture.rgb[..., 2], np.iinfo(gray.dtype).max - gray)


def test_colors_multiplied_by_their_opacity_are_divided(tmp_path: Path) -> None:
    half = np.concatenate([RGB16 // 2, np.full((41, 30, 1), 32768, np.uint16)], -1)
    tifffile.imwrite(tmp_path / "a.tif", half, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_picture(tmp_path / "a.tif")
    assert picture.notes == ("its transparency is lost", "of 16 bits a color: read at 8")
    assert np.abs(picture.rgb - RGB16 / 257).max() < 4


def test_floats_from_0_to_1_are_code_values(tmp_path: Path) -> None:
    values = RNG.random((41, 30), dtype=np.float32)
    for photometric in ("minisblack", "miniswhite"):
        tifffile.imwrite(tmp_path / "a.tif", values, photometric=photometric)
        picture = read_picture(tmp_path / "a.tif")
        expected = values if photometric == "minisblack" else 1 - values
        assert (picture.rgb.dtype.name, picture.is_gray) == ("uint16", True)
        assert np.abs(picture.rgb[..., 0] / 65535 - expected).max() < 1e-5
        assert picture.notes == ("a TIFF of floats without a profile: taken for sRGB's code values, not for light",)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[0, 3]], np.float32), "floats from 0 to 3; expected 0 to 1"),
        (np.array([[-0.5, 1]], np.float32), "floats from -0.5 to 1; expected 0 to 1"),
        (np.array([[0, np.nan]], np.float32), "no numbers (NaN)"),
        (np.array([[0, np.inf]], np.float32), "infinite"),
        (np.zeros((4, 4), np.float16), "1 a pixel of 16 bits"),
        (np.zeros((4, 4), np.float64), "1 a pixel of 64 bits"),
        (np.zeros((4, 4, 3), np.float32), "3 a pixel of 32 bits"),
        (np.zeros((4, 4), np.int16), "signed numbers"),
        (np.zeros((4, 4), np.uint32), "a TIFF of 32 bits a color"),
        (np.zeros((4, 4, 3), np.uint32), "save it with 8 or 16 bits a color"),
    ],
    ids=str,
)
def test_other_numbers_are_refused_by_name(values: np.ndarray, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, photometric="rgb" if values.ndim == 3 else "minisblack")
    assert words in refusal(path, read_picture, path)
