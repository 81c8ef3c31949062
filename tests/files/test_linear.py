"""RAW files without a Bayer mosaic, against what was written into them."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rawpy
import tifffile
from numpy.typing import NDArray

import lwisp
from lwisp.files import linear
from lwisp.files.dng import write_linear_dng
from lwisp.files.linear import LinearImage, read_any, read_linear
from lwisp.files.raw import RawImage, read_raw
from lwisp.imaging.patterns import XTRANS, colors_of, is_xtrans
from tests.conftest import SAMPLE, WriteDng

RNG = np.random.default_rng(0)
MOSAIC = RNG.integers(64, 4000, (48, 66), dtype=np.uint16)
RGB = RNG.integers(64, 4000, (48, 66, 3), dtype=np.uint16)
QUAD = "RRGG" + "RRGG" + "GGBB" + "GGBB"
FLAT = np.array([1000, 2000, 1500])


def flat(pattern: NDArray[np.str_], shape: tuple[int, int]) -> NDArray[np.uint16]:
    """A mosaic of one color with one bright corner, so that it is a picture."""
    mosaic = FLAT[colors_of(pattern, shape, "RGB")].astype(np.uint16)
    mosaic[-6:, -6:] += 500
    return mosaic


def signal(image: LinearImage) -> NDArray[np.float64]:
    black, white = np.array(image.black_level), np.array(image.white_level)
    values: NDArray[np.float64] = (image.rgb - black) / (white - black)
    return values


def gray_dng(write_dng: WriteDng, mosaic: NDArray[np.uint16], **kwargs: Any) -> Path:
    path = write_dng(mosaic, photometric=1, matrix=None, neutral=None, **kwargs)
    with tifffile.TiffFile(path, mode="r+") as tiff:  # tifffile itself knows linear RAW of three samples only
        tiff.pages.first.tags[262].overwrite(34892)
    return path


@pytest.mark.parametrize("shift", [(0, 0), (1, 2), (3, 5)])
@pytest.mark.parametrize("shape", [(48, 66), (530, 521)])
def test_xtrans_levels_are_exact_in_every_place_of_the_pattern(
    shift: tuple[int, int], shape: tuple[int, int], write_dng: WriteDng
) -> None:
    pattern = np.roll(XTRANS, shift, (0, 1))
    path = write_dng(flat(pattern, shape), "".join(pattern.ravel()), side=6, black=64, white=4000)
    image = read_linear(path)
    assert (image.way, image.is_gray, image.rgb.shape) == (linear.XTRANS, False, (*shape, 3))
    assert image.white_balance == pytest.approx((2, 1, 1.6), rel=1e-4)
    assert np.abs(signal(image)[:-16, :-16] - (FLAT - 64) / (4000 - 64)).max() < 1e-4
    assert np.allclose(image.cam2rgb, read_raw(write_dng(MOSAIC)).cam2rgb)


def test_xtrans_photosites_keep_their_values_and_noise_below_black_stays(write_dng: WriteDng) -> None:
    mosaic = RNG.integers(0, 300, (60, 66), dtype=np.uint16)
    image = read_linear(write_dng(mosaic, "".join(XTRANS.ravel()), side=6, black=150, white=4000))
    own = np.take_along_axis(signal(image), colors_of(XTRANS, (60, 66), "RGB")[..., None].astype(int), 2)[..., 0]
    assert np.abs(own - (mosaic - 150.0) / (4000 - 150)).max() < 1e-4


def test_xtrans_shows_what_libraw_shows(write_dng: WriteDng) -> None:
    rows, columns = np.mgrid[0:600, 0:600] / 30
    truth = np.stack([2000 + 900 * np.sin(rows), 2000 + 900 * np.cos(columns), 1500 + 500 * np.sin(rows + columns)], -1)
    index = colors_of(XTRANS, (600, 600), "RGB")[..., None].astype(int)
    mosaic = np.take_along_axis(truth, index, 2)[..., 0].round().astype(np.uint16)
    path = write_dng(mosaic, "".join(XTRANS.ravel()), side=6, white=4095, neutral=(1, 1, 1))
    with rawpy.imread(str(path)) as raw:
        expected = raw.postprocess(
            output_color=rawpy.ColorSpace.raw, gamma=(1, 1), no_auto_scale=True, no_auto_bright=True, output_bps=16
        )
    found = signal(read_linear(path)) * 4095
    assert np.abs(found - expected)[16:-16, 16:-16].mean() < 2


def test_demosaiced_pixels_are_taken_as_they_are(write_dng: WriteDng) -> None:
    image = read_linear(write_dng(RGB, photometric=34892, black=64, white=4000, orientation=6))
    assert np.array_equal(image.rgb, RGB)
    assert (image.way, image.black_level, image.white_level) == (linear.DEMOSAICED, (64,) * 3, (4000,) * 3)
    assert (image.orientation, image.make, image.notes) == (6, "Lwisp", ())
    assert pickle.loads(pickle.dumps(image)).camera == "Lwisp Testcam"


def test_floating_point_keeps_its_light_above_white(write_dng: WriteDng) -> None:
    values = RNG.random((48, 66, 3)).astype(np.float32) * 4
    image = read_linear(write_dng(values, photometric=34892, white=1))
    assert np.abs(signal(image) - values).max() < 1e-4
    assert image.notes == ("values up to 2.0 EV above white",)
    values[3, 4] = np.nan
    broken = read_linear(write_dng(values, photometric=34892, white=1))
    assert "no numbers" in broken.notes[0]


def test_a_monochrome_file_gives_a_gray_picture(write_dng: WriteDng) -> None:
    image = read_linear(gray_dng(write_dng, MOSAIC, black=64, white=4000))
    assert np.array_equal(image.rgb, np.stack([MOSAIC] * 3, -1))
    assert (image.way, image.is_gray, image.white_balance, image.notes) == (linear.GRAY, True, (1, 1, 1), ())


@pytest.mark.parametrize("corner", [(0, 0), (1, 0), (1, 1)])
def test_quad_bayer_is_binned_to_exact_means(corner: tuple[int, int], write_dng: WriteDng) -> None:
    pattern = np.roll(np.array(list(QUAD)).reshape(4, 4), corner, (0, 1))
    raw = read_any(write_dng(MOSAIC, "".join(pattern.ravel()), side=4, black=64, white=4000))
    assert isinstance(raw, RawImage)
    row, column = corner
    inner = MOSAIC[row:, column:].astype(int)
    inner = inner[: len(inner) // 2 * 2, : inner.shape[1] // 2 * 2]
    assert np.array_equal(raw.mosaic, inner[::2, ::2] + inner[1::2, ::2] + inner[::2, 1::2] + inner[1::2, 1::2])
    assert (raw.cfa, raw.black_level, raw.white_level) == ("RGGB", (256,) * 4, (16000,) * 4)
    assert raw.notes == (linear.BINNED,)


def test_other_patterns_are_interpolated_and_said_so(write_dng: WriteDng) -> None:
    pattern = np.array(list("RGBG")).reshape(2, 2)
    image = read_linear(write_dng(flat(pattern, (48, 66)), "RGBG", black=64, white=4000))
    assert image.way == "color pattern RG/BG, interpolated"
    assert np.abs(signal(image)[:-8, :-8] - (FLAT - 64) / (4000 - 64)).max() < 1e-4


def test_four_colors_without_a_matrix_are_taken_as_ideal_filters(write_dng: WriteDng) -> None:
    path = write_dng(MOSAIC, matrix=None, neutral=None, extra=((50710, "B", 4, bytes([1, 4, 3, 5]), True),))
    path.write_bytes(path.read_bytes().replace(bytes([0, 1, 1, 2]), bytes([1, 4, 3, 5])))
    image = read_linear(path)
    assert image.way == linear.FOUR_COLORS
    assert [note[:40] for note in image.notes] == [
        "the file has no as-shot white balance: balanced to gray on average"[:40],
        "no color matrix for this camera: its colors are taken"[:40],
    ]


def test_a_bayer_file_is_read_as_ever(write_dng: WriteDng) -> None:
    path = write_dng(MOSAIC)
    raw = read_any(path)
    assert isinstance(raw, RawImage)
    assert np.array_equal(raw.mosaic, read_raw(path).mosaic)
    assert np.array_equal(read_any(SAMPLE).mosaic, read_raw(SAMPLE).mosaic)  # type: ignore[union-attr]
    with pytest.raises(lwisp.InputError, match="a Bayer mosaic; expected a RAW without one"):
        read_linear(path)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
@pytest.mark.parametrize("kind", ["xtrans", "linear", "gray"])
def test_a_file_cut_short_is_called_so(kind: str, share: float, write_dng: WriteDng) -> None:
    if kind == "gray":
        path = gray_dng(write_dng, MOSAIC)
    elif kind == "xtrans":
        path = write_dng(MOSAIC, "".join(XTRANS.ravel()), side=6)
    else:
        path = write_dng(RGB, photometric=34892)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(lwisp.InputError, match="cut short"):
        read_any(path)


def test_what_holds_no_picture_is_refused(write_dng: WriteDng) -> None:
    with pytest.raises(lwisp.InputError, match="no picture in it"):
        read_any(write_dng(np.full_like(RGB, 700), photometric=34892))
    with pytest.raises(lwisp.InputError, match="no light in it"):
        read_any(write_dng(RGB, photometric=34892, black=5000))
    with pytest.raises(lwisp.InputError, match="no light in it"):
        read_any(write_dng(MOSAIC // 100, "".join(XTRANS.ravel()), side=6, black=64))


def test_a_linear_file_without_balance_gets_one_estimated(write_dng: WriteDng) -> None:
    image = read_linear(write_dng(RGB, photometric=34892, neutral=None))
    assert image.notes[0].startswith("the file has no as-shot white balance: estimated from the picture")


@pytest.mark.parametrize("is_gray", [False, True])
def test_what_is_written_reads_back(is_gray: bool, tmp_path: Path, write_dng: WriteDng) -> None:
    cam2rgb = read_raw(write_dng(MOSAIC)).cam2rgb
    rgb = np.stack([MOSAIC] * 3, -1) if is_gray else RGB
    matrix = np.eye(3, dtype=np.float32) if is_gray else cam2rgb
    gains = (1.0, 1.0, 1.0) if is_gray else (2.0, 1.0, 1.5)
    levels = ((60.0,) * 3, (4000.0,) * 3) if is_gray else ((60.0, 64.0, 70.0), (4000.0, 3900.0, 3800.0))
    image = LinearImage(rgb, linear.DEMOSAICED, *levels, gains, matrix, is_gray, 3)
    write_linear_dng(tmp_path / "a.dng", image, (1e-4, 1e-6))
    found = read_linear(tmp_path / "a.dng")
    assert np.array_equal(found.rgb, rgb)
    assert (found.black_level, found.white_level, found.orientation) == (*levels, 3)
    assert found.white_balance == pytest.approx(gains, rel=1e-4)
    assert np.allclose(found.cam2rgb, matrix, atol=1e-3)
    assert found.is_gray == is_gray


def test_patterns_that_only_look_like_xtrans_are_none() -> None:
    other = XTRANS.copy()
    other[0, 0] = "R"
    assert is_xtrans(XTRANS.T)
    assert not is_xtrans(other)
