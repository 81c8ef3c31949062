"""Files that LibRaw does not decode: what is said of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import lwisp
from lwisp.files.raw import RAW_SUFFIXES
from tests.conftest import SAMPLE, WriteDng, refusal

MOSAIC = np.random.default_rng(0).integers(64, 4000, (64, 96), dtype=np.uint16)


def compressed_as(number: int, path: Path) -> Path:
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags[259].overwrite(number)
    return path


@pytest.mark.parametrize(
    ("number", "name", "remedy"),
    [
        (9, "VC-5", "gpr_tools"),
        (52546, "JPEG XL", "lossless JPEG"),
        (34892, "lossy JPEG", "original"),
        (8, "deflate", "uncompressed"),
        (5, "LZW", "Adobe DNG Converter"),
        (40000, "compression 40000", "Adobe DNG Converter"),
    ],
)
def test_a_compression_is_refused_by_name_with_a_way_out(
    number: int, name: str, remedy: str, write_dng: WriteDng
) -> None:
    path = compressed_as(number, write_dng(MOSAIC))
    message = refusal(path, lwisp.read_raw, path)
    assert name in message
    assert remedy in message
    assert "not a RAW" not in message
    assert "damaged" not in message


def test_more_than_16_bits_are_refused_by_name(write_dng: WriteDng) -> None:
    path = write_dng(MOSAIC.astype(np.uint32))
    assert "32 bits" in refusal(path, lwisp.read_raw, path)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_file_cut_short_is_called_so(share: float, write_dng: WriteDng) -> None:
    path = write_dng(MOSAIC)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    message = refusal(path, lwisp.read_raw, path)
    assert "cut short" in message
    assert "Input/output" not in message
    assert "not a RAW" not in message


def test_a_cut_crw_is_still_a_raw(tmp_path: Path) -> None:
    path = tmp_path / "photo.crw"
    path.write_bytes((SAMPLE.parent / "CRW_0117.CRW").read_bytes()[:100_000])
    message = refusal(path, lwisp.read_raw, path)
    assert "cut short" in message
    assert "not a RAW" not in message


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "TIFF"])
def test_finished_pictures_are_named_and_shown_the_way(format: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.nef"
    Image.new("RGB", (64, 64)).save(path, format)
    message = refusal(path, lwisp.read_raw, path)
    assert f"but a {format}" in message
    assert "lwisp denoise" in message


def test_suffixes_are_those_of_cameras_and_none_of_finished_pictures() -> None:
    assert {".gpr", ".kdc", ".x3f", ".rwl", ".cr3", ".3fr", ".mos", ".erf", ".fff"} <= RAW_SUFFIXES
    assert not {".tif", ".tiff", ".jpg", ".png", ".heic"} & RAW_SUFFIXES


RGB = np.random.default_rng(1).integers(0, 256, (60, 90, 3), dtype=np.uint8)
DEEP = RGB.astype(np.uint16) * 257
TIFFS: dict[str, tuple[Any, dict[str, Any]]] = {
    "rgb": (RGB, {"photometric": "rgb"}),
    "rgb16": (DEEP, {"photometric": "rgb"}),
    "deflated": (DEEP, {"photometric": "rgb", "compression": "deflate"}),
    "tiled": (RGB, {"photometric": "rgb", "tile": (32, 32)}),
    "planes": (RGB.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}),
    "gray": (RGB[..., 0], {"photometric": "minisblack"}),
    "gray16": (DEEP[..., 0], {"photometric": "minisblack"}),
    "white is zero": (DEEP[..., 0], {"photometric": "miniswhite"}),
    "cmyk": (np.concatenate([RGB, RGB[..., :1]], 2), {"photometric": "separated"}),
    "lab": (RGB, {"photometric": "cielab"}),
    "pages": (np.stack([RGB] * 3), {"photometric": "rgb"}),
}


@pytest.mark.parametrize("make", ["Canon", "NIKON CORPORATION", "Kodak", "Phase One", "SONY", "OLYMPUS"])
@pytest.mark.parametrize("kind", TIFFS)
def test_a_finished_tiff_that_names_a_camera_is_no_raw(kind: str, make: str, tmp_path: Path) -> None:
    values, form = TIFFS[kind]
    path = tmp_path / "photo.tif"
    camera = [(271, "s", 0, make, True), (272, "s", 0, f"{make} X1", True)]
    tifffile.imwrite(path, values, metadata=None, extratags=camera, **form)
    message = refusal(path, lwisp.read_raw, path)
    assert "not a RAW file, but a TIFF" in message
    assert "lwisp denoise" in message
    assert "damaged" not in message
    assert lwisp.read_picture(path).rgb.shape == RGB.shape


def test_a_damaged_raw_with_a_preview_in_front_is_no_finished_tiff(tmp_path: Path) -> None:
    """As of cameras newer than LibRaw: a small first picture, and most of the file is something else."""
    path = tmp_path / "photo.tif"
    camera = [(271, "s", 0, "Newcam", True)]
    tifffile.imwrite(path, RGB[:30, :40], photometric="rgb", metadata=None, extratags=camera)
    path.write_bytes(path.read_bytes() + bytes(100_000))
    message = refusal(path, lwisp.read_raw, path)
    assert "a RAW that is damaged, cut short, or of a camera newer" in message


def test_a_reduced_first_picture_is_a_raws_preview(tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    tifffile.imwrite(
        path, RGB, photometric="rgb", metadata=None, subfiletype=1, extratags=[(271, "s", 0, "Newcam", True)]
    )
    assert "damaged" in refusal(path, lwisp.read_raw, path)
