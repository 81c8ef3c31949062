"""RAWs are told by their content, whatever they are called."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from lwisp.files.pictures import check_picture, read_picture, read_rgb
from lwisp.files.raw_check import check_not_raw
from tests.conftest import SAMPLE, WriteDng, refusal

PREVIEW = np.zeros((12, 16, 3), np.uint8)


@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".png", ".heic", ""])
@pytest.mark.parametrize("source", [SAMPLE, SAMPLE.parent / "CRW_0117.CRW"], ids=["DNG", "CRW"])
def test_a_raw_is_refused_under_any_name(source: Path, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"photo{suffix}"
    shutil.copy(source, path)
    for reader in (read_picture, read_rgb, check_picture):
        message = refusal(path, reader, path)
        assert "`lwisp develop`" in message
        assert "`lwisp denoise-raw`" in message


def test_the_heads_of_cr2_and_iiq_are_known(tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    tifffile.imwrite(path, PREVIEW, photometric="rgb")
    content = path.read_bytes()
    for head in (b"CR\2\0", b"IIII"):
        path.write_bytes(content[:8] + head + content[12:])
        assert "a RAW file" in refusal(path, check_not_raw, path, str(path))


def test_a_mosaic_behind_a_preview_makes_a_raw(tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(PREVIEW, photometric="rgb", subifds=1)
        file.write(np.zeros((24, 32), np.uint16), photometric="cfa", extratags=[(33421, "H", 2, (2, 2), True)])
    assert "a RAW file" in refusal(path, check_not_raw, path, str(path))


def test_what_is_no_raw_passes(tmp_path: Path, write_dng: WriteDng) -> None:
    make = [(271, "s", 0, "Canon", True), (272, "s", 0, "Canon EOS 5D", True)]
    for name, values in (
        ("rgb", PREVIEW),
        ("deep", PREVIEW.astype(np.uint16)),
        ("gray", PREVIEW[..., 0]),
        ("deep gray", np.zeros((300, 400), np.uint16)),
    ):
        tifffile.imwrite(tmp_path / f"{name}.tif", values, extratags=make)
        check_not_raw(tmp_path / f"{name}.tif", name)
        check_not_raw((tmp_path / f"{name}.tif").read_bytes(), name)
    (tmp_path / "text.tif").write_text("no picture")
    (tmp_path / "empty.tif").touch()
    for name in ("text.tif", "empty.tif", "none.tif"):
        check_not_raw(tmp_path / name, name)
    for head in (b"GIF89a", b"%!PS", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"):
        check_not_raw(head + bytes(100), "head")
    check_not_raw(b"II*\0" + bytes(4), "a TIFF of nothing")
