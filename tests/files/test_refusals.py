"""Files that LibRaw does not decode: what is said of them."""

from pathlib import Path

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
