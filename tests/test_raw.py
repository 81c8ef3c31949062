import os
from pathlib import Path

import numpy as np
import pytest
import rawpy
import tifffile
import torch
from PIL import Image, ImageOps

import lwisp
from lwisp import color
from lwisp.image import orient
from lwisp.mosaic import CFA, CFAS
from lwisp.raw import NOISE_PROFILE, RawImage, read_mosaic, read_orientation, read_raw
from lwisp.raw import write_dng as write_dng_of
from tests.conftest import SAMPLE, XYZ2CAM, WriteDng

RNG = np.random.default_rng(0)
MOSAIC = RNG.integers(64, 4000, (48, 66), dtype=np.uint16)


@pytest.mark.parametrize("cfa", CFAS)
def test_a_dng_reads_back_as_it_was_written(cfa: CFA, write_dng: WriteDng) -> None:
    raw = read_raw(write_dng(MOSAIC, cfa, black=64, white=4000))
    assert np.array_equal(raw.mosaic, MOSAIC)
    assert raw.cfa == cfa
    assert raw.black_level == (64,) * 4
    assert raw.white_level == (4000,) * 4
    assert raw.white_balance == pytest.approx((2, 1, 1.6), rel=1e-4)  # the reciprocal of AsShotNeutral
    assert (raw.make, raw.model, raw.jpeg, raw.notes) == ("Lwisp", "Testcam", None, ())
    expected = color.cam2rgb_from_xyz(torch.tensor(XYZ2CAM, dtype=torch.float32))
    assert np.allclose(raw.cam2rgb, expected, atol=2e-3)


@pytest.mark.parametrize("cfa", CFAS)
def test_black_levels_follow_the_color_not_the_place(cfa: CFA, write_dng: WriteDng) -> None:
    by_place = (100, 110, 120, 130)  # of the top-left 2x2, row by row
    raw = read_raw(write_dng(MOSAIC, cfa, black=by_place))
    red = cfa.index("R")
    assert raw.black_level == (by_place[red], by_place[red ^ 1], by_place[red ^ 2], by_place[red ^ 3])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_end_upright(orientation: int, write_dng: WriteDng) -> None:
    path = write_dng(MOSAIC, orientation=orientation)
    raw = read_raw(path)
    assert raw.orientation == orientation
    picture = Image.fromarray(RNG.integers(0, 255, (4, 6, 3), dtype=np.uint8))
    picture.getexif()[274] = orientation
    assert np.array_equal(orient(np.asarray(picture), orientation), np.asarray(ImageOps.exif_transpose(picture)))
    with rawpy.imread(str(path)) as libraw:
        assert orient(raw.mosaic, orientation).shape == libraw.postprocess().shape[:2]


def test_a_file_without_balance_gets_daylight_and_says_so(write_dng: WriteDng) -> None:
    raw = read_raw(write_dng(MOSAIC, neutral=None))
    assert any("daylight" in note for note in raw.notes)
    assert min(raw.white_balance) > 0


def test_a_file_without_matrix_keeps_its_colors_and_says_so(write_dng: WriteDng) -> None:
    raw = read_raw(write_dng(MOSAIC, matrix=None))
    assert any("no color matrix" in note for note in raw.notes)
    assert np.array_equal(raw.cam2rgb, np.eye(3))


def test_the_bundled_raw_says_what_it_is() -> None:
    raw = read_raw(SAMPLE)
    assert raw.mosaic.shape == (1440, 1920)
    assert (raw.cfa, raw.orientation, raw.make, raw.model) == ("RGGB", 2, "GoPro", "HERO6 Black")
    assert raw.white_level == (16383,) * 4
    assert raw.white_balance == pytest.approx((1.914, 1, 1.75), abs=1e-3)
    assert np.allclose(raw.cam2rgb.sum(1), 1, atol=1e-5)


def test_a_canon_crw_says_what_it_is() -> None:
    raw = read_raw(SAMPLE.parent / "CRW_0101.CRW")
    assert (raw.make, raw.model) == ("Canon", "PowerShot S40")
    assert raw.black_level == (32,) * 4
    assert raw.jpeg is not None
    assert raw.jpeg[:2] == b"\xff\xd8"


def quad(letters: str) -> str:
    rows = np.array(list(letters)).reshape(2, 2).repeat(2, 0).repeat(2, 1)
    return "".join(rows.ravel())


XTRANS = "GBGGRG" + "RGRBGB" + "GBGGRG" + "GRGGBG" + "BGBRGR" + "GRGGBG"


@pytest.mark.parametrize(
    ("pattern", "side", "word"), [(quad("RGGB"), 4, "quad-Bayer"), (XTRANS, 6, "X-Trans"), ("RGBG", 2, "pattern RG")]
)
def test_other_mosaics_are_refused_by_name(pattern: str, side: int, word: str, write_dng: WriteDng) -> None:
    with pytest.raises(lwisp.InputError, match=word):
        read_raw(write_dng(MOSAIC, pattern, side=side))


def test_a_sensor_of_four_colors_is_refused_by_name(write_dng: WriteDng) -> None:
    path = write_dng(MOSAIC, matrix=None, neutral=None, extra=((50710, "B", 4, bytes([0, 1, 2, 4]), True),))
    content = path.read_bytes()
    bayer, emerald = bytes([0, 1, 1, 2]), bytes([0, 1, 4, 2])
    assert content.count(bayer) == 1
    path.write_bytes(content.replace(bayer, emerald))
    with pytest.raises(lwisp.InputError, match="colors GMCY"):
        read_raw(path)


def test_monochrome_and_demosaiced_files_are_refused_by_name(write_dng: WriteDng) -> None:
    gray = write_dng(MOSAIC, photometric=1, matrix=None, neutral=None)
    with tifffile.TiffFile(gray, mode="r+") as tiff:  # tifffile itself knows linear RAW of three samples only
        tiff.pages.first.tags[262].overwrite(34892)
    with pytest.raises(lwisp.InputError, match="monochrome"):
        read_raw(gray)
    with pytest.raises(lwisp.InputError, match="already demosaiced"):
        read_raw(write_dng(np.stack([MOSAIC] * 3, -1), photometric=34892))


@pytest.mark.parametrize("name", ["gopro_hero6_mural.dng", "CRW_0117.CRW"])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.98])
def test_a_truncated_file_gives_one_clear_error(
    name: str, share: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = (SAMPLE.parent / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(lwisp.InputError, match="damaged"):
        read_raw(path)
    assert capfd.readouterr().err == ""  # LibRaw itself stays quiet


def test_fuzzed_files_are_read_or_refused(tmp_path: Path, write_dng: WriteDng) -> None:
    content = bytearray(write_dng(MOSAIC).read_bytes())
    path = tmp_path / "fuzzed.dng"
    for _ in range(200):
        damaged = content.copy()
        for place in RNG.integers(0, 600, 6):
            damaged[place] = RNG.integers(256)
        path.write_bytes(damaged)
        try:
            assert read_raw(path).mosaic.ndim == 2
        except lwisp.InputError as error:
            assert "\n" not in str(error)


def test_what_is_not_a_raw_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.dng").touch()
    (tmp_path / "text.dng").write_text("not a photo")
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.jpg")
    os.mkfifo(tmp_path / "pipe.dng")
    for name, word in {
        "empty.dng": "empty",
        "text.dng": "not a RAW",
        "photo.jpg": "not a RAW",
        "none.dng": "No such file",
        ".": "folder",
        "pipe.dng": "a pipe or a device",
    }.items():
        with pytest.raises(lwisp.InputError, match=word):
            read_raw(tmp_path / name)


def test_a_bare_mosaic_is_read_with_the_levels_given(tmp_path: Path) -> None:
    path = tmp_path / "mosaic.png"
    Image.fromarray(MOSAIC).save(path)
    raw = read_mosaic(path, "GBRG", 63, 1020, (1.9, 1, 1.4))
    assert np.array_equal(raw.mosaic, MOSAIC)
    assert (raw.cfa, raw.black_level, raw.white_level) == ("GBRG", (63,) * 4, (1020,) * 4)
    assert raw.white_balance == (1.9, 1, 1.4)


def test_a_bare_mosaic_without_gains_is_balanced_to_gray(tmp_path: Path) -> None:
    mosaic = np.full((8, 8), 1000, np.uint16)
    mosaic[::2, ::2], mosaic[1::2, 1::2] = 500, 250
    Image.fromarray(mosaic).save(tmp_path / "mosaic.png")
    raw = read_mosaic(tmp_path / "mosaic.png", "RGGB", 0, 4095)
    assert raw.white_balance == (2, 1, 4)
    assert any("balanced to gray" in note for note in raw.notes)


def test_wrong_mosaics_and_levels_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "color.png")
    (tmp_path / "text.png").write_text("no")
    with pytest.raises(lwisp.InputError, match="grayscale"):
        read_mosaic(tmp_path / "color.png", "RGGB", 0, 1023)
    for mode in ("L", "LA", "F"):
        Image.new(mode, (8, 8)).save(tmp_path / "other.tif")
        with pytest.raises(lwisp.InputError, match=f"got mode {mode}"):
            read_mosaic(tmp_path / "other.tif", "RGGB", 0, 1023)
    Image.fromarray(np.full((8, 8), -5, np.int32)).save(tmp_path / "negative.tif")
    with pytest.raises(lwisp.InputError, match="0 to 65535"):
        read_mosaic(tmp_path / "negative.tif", "RGGB", 0, 1023)
    with pytest.raises(lwisp.InputError, match="cannot be read"):
        read_mosaic(tmp_path / "text.png", "RGGB", 0, 1023)
    with pytest.raises(lwisp.InputError, match="black level"):
        read_mosaic(tmp_path / "color.png", "RGGB", 1023, 63)
    with pytest.raises(lwisp.InputError, match="65536"):
        read_mosaic(tmp_path / "color.png", "RGGB", 0, float("inf"))
    with pytest.raises(lwisp.InputError, match="no such file"):
        read_mosaic(tmp_path / "none.png", "RGGB", 0, 1023)


def test_a_name_that_is_no_text_is_one_clear_error(write_dng: WriteDng, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff\xfe.dng")
    path.write_bytes(write_dng(MOSAIC).read_bytes())
    with pytest.raises(lwisp.InputError, match="rename it"):
        read_raw(path)


@pytest.mark.parametrize("cfa", CFAS)
def test_a_plain_dng_reads_back_as_what_was_written(cfa: CFA, write_dng: WriteDng, tmp_path: Path) -> None:
    source = read_raw(write_dng(MOSAIC, cfa, black=(100, 110, 120, 130), white=4000, orientation=5))
    write_dng_of(tmp_path / "plain.dng", source, (0.002, 1e-5))
    raw = read_raw(tmp_path / "plain.dng")
    assert np.array_equal(raw.mosaic, MOSAIC)
    assert (raw.cfa, raw.black_level, raw.white_level) == (cfa, source.black_level, source.white_level)
    assert raw.white_balance == pytest.approx(source.white_balance, rel=1e-5)
    assert np.allclose(raw.cam2rgb, source.cam2rgb, atol=1e-3)
    assert (raw.orientation, read_orientation(tmp_path / "plain.dng")) == (5, 5)
    assert (raw.make, raw.model, raw.notes) == ("lwisp", "plain DNG", ())
    assert raw.exif[NOISE_PROFILE] == (0.002, 1e-5)


def test_a_plain_dng_is_a_tiff_whose_matrix_makes_its_white_neutral(write_dng: WriteDng, tmp_path: Path) -> None:
    write_dng_of(tmp_path / "plain.dng", read_raw(write_dng(MOSAIC)))
    with tifffile.TiffFile(tmp_path / "plain.dng") as file:
        assert np.array_equal(file.pages.first.asarray(), MOSAIC)
        tags = {tag.code: tag.value for tag in file.pages.first.tags}
    matrix, neutral = (np.array(tags[code]).reshape(-1, 2) for code in (50721, 50728))
    seen = (matrix[:, 0] / matrix[:, 1]).reshape(3, 3) @ [0.95047, 1, 1.08883]  # D65
    assert seen / seen[1] == pytest.approx(neutral[:, 0] / neutral[:, 1], rel=1e-3)
    assert tags[50778] == 21
    assert NOISE_PROFILE not in tags


def test_a_plain_dng_has_one_white_level(tmp_path: Path) -> None:
    raw = RawImage(MOSAIC, "RGGB", (0.0,) * 4, (4000.0, 4000.0, 4000.0, 3900.0))
    with pytest.raises(lwisp.InputError, match="one white level"):
        write_dng_of(tmp_path / "plain.dng", raw)
    assert list(tmp_path.iterdir()) == []
