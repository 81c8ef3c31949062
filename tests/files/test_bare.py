"""Bare mosaics of one's own sensor, and the DNGs made of them."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rawpy
from typer.testing import CliRunner

import lwisp
from lwisp.cli import app
from lwisp.files.pictures import read_picture
from lwisp.files.raw import read_mosaic
from lwisp.files.sensor import find_sensor
from lwisp.files.white_balance import parse_balance, with_balance
from lwisp.imaging.matrices import cam2rgb_from_xyz
from lwisp.imaging.white_point import D65, light_of, to_xyz
from tests.conftest import XYZ2CAM, refusal

MOSAIC = np.random.default_rng(0).integers(64, 1023, (40, 60), dtype=np.uint16)
FACTS = 'cfa = "GBRG"\nblack_level = [60, 61, 62, 63]\nwhite_level = 1023\nwhite_balance = [2.0, 1.0, 1.5]\n'


def raw10(mosaic: Any) -> bytes:
    """MIPI's layout, written photosite by photosite."""
    content = bytearray()
    for row in mosaic.tolist():
        for start in range(0, len(row), 4):
            group = row[start : start + 4]
            content += bytes(value >> 2 for value in group)
            content.append(sum((value & 3) << (2 * index) for index, value in enumerate(group)))
    return bytes(content)


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_numpy_file_and_a_toml_beside_it_are_a_raw(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", MOSAIC)
    matrix = np.linalg.inv(XYZ2CAM).tolist()
    (tmp_path / "sensor.toml").write_text(f"{FACTS}color_matrix = {matrix}\norientation = 6\n")
    raw = read_mosaic(tmp_path / "a.npy")
    assert np.array_equal(raw.mosaic, MOSAIC)
    assert raw.black_level == (62, 63, 60, 61)  # of R, Gr, Gb, B
    assert (raw.cfa, raw.white_level, raw.white_balance) == ("GBRG", (1023,) * 4, (2, 1, 1.5))
    assert np.allclose(raw.cam2rgb, cam2rgb_from_xyz(XYZ2CAM.astype(np.float32)), atol=1e-4)
    assert (raw.orientation, raw.notes) == (6, ())


def test_dngs_own_names_serve_as_well(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", MOSAIC.astype(np.int64))
    neutral = "AsShotNeutral = [0.5, 1.0, 0.625]\n"
    dng = f'cfa = "RGGB"\nBlackLevel = 64\nWhiteLevel = 1023\nColorMatrix1 = {XYZ2CAM.ravel().tolist()}\n{neutral}'
    (tmp_path / "a.npy.toml").write_text(dng)
    raw = read_mosaic(tmp_path / "a.npy")
    assert raw.white_balance == (2, 1, 1.6)
    assert np.allclose(raw.cam2rgb, cam2rgb_from_xyz(XYZ2CAM.astype(np.float32)), atol=1e-4)


def test_the_nearest_word_holds_arguments_then_the_files_own_toml_then_the_folders(tmp_path: Path) -> None:
    (tmp_path / "sensor.toml").write_text('cfa = "RGGB"\nblack_level = 1\nwhite_level = 2\n')
    (tmp_path / "a.toml").write_text("black_level = 64\nwhite_level = 3000\n")
    np.save(tmp_path / "a.npy", MOSAIC)
    assert find_sensor(tmp_path / "a.npy").white_level == 3000
    raw = read_mosaic(tmp_path / "a.npy", white_level=1023)
    assert (raw.cfa, raw.black_level, raw.white_level) == ("RGGB", (64,) * 4, (1023,) * 4)


@pytest.mark.parametrize("padding", [0, 5])
def test_packed_bits_are_read_with_and_without_padding(padding: int, tmp_path: Path) -> None:
    rows = [raw10(MOSAIC[index : index + 1]) + bytes(padding) for index in range(40)]
    (tmp_path / "a.raw").write_bytes(b"".join(rows))
    size = f'packing = "raw10"\nwidth = 60\nheight = 40\nstride = {75 + padding}\n'
    (tmp_path / "sensor.toml").write_text(FACTS + size)
    assert np.array_equal(read_mosaic(tmp_path / "a.raw").mosaic, MOSAIC)
    (tmp_path / "a.raw").write_bytes(b"".join(rows)[: -padding or None])  # the last row without its padding
    assert np.array_equal(read_mosaic(tmp_path / "a.raw").mosaic, MOSAIC)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ('packing = "raw10"\nwidth = 60\nheight = 41\n', "expected 3,075 bytes"),
        ('packing = "raw10"\nwidth = 60\nheight = 40\nstride = 74\n', "less than a row"),
        ('packing = "raw10"\nwidth = 60\n', "width and height"),
        ('packing = "raw10"\nwidth = 65536\nheight = 65536\n', "--max-pixels"),
        ("", "cannot be read as a picture"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_in_one_sentence(toml: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(raw10(MOSAIC))
    (tmp_path / "sensor.toml").write_text(FACTS + toml)
    assert words in refusal(path, read_mosaic, path)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ('cfa = "RGBG"', "cfa: expected the Bayer pattern"),
        ("black_level = [1, 2]", "expected 1 or 4 numbers"),
        ("black_level = nan", "black_level"),
        ("white_balance = [0, 1, 1]", "gains above 0"),
        ("color_matrix = [[1, 0, 0], [1, 0, 0], [0, 0, 1]]", "inverse"),
        ("AsShotNeutral = [0, 1, 1]", "AsShotNeutral"),
        ("width = 1.5", "whole number"),
        ("widht = 60", "unknown key 'widht'"),
        ("BlackLevel = 1\nblack_level = 1", "told twice"),
        ("= 3", "TOML"),
        ("a = " + "[" * 5000, "TOML"),
    ],
)
def test_wrong_tomls_are_refused_in_one_sentence(toml: str, words: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", MOSAIC)
    place = tmp_path / "sensor.toml"
    place.write_text(toml)
    assert words in refusal(place, read_mosaic, tmp_path / "a.npy")


def test_numpy_files_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    (tmp_path / "sensor.toml").write_text(FACTS)
    for values, words in (
        (np.zeros((4, 4), np.float32), "float32"),
        (np.zeros((4, 4, 3), np.uint16), "shape (4, 4, 3)"),
        (np.array([{}], object), "NumPy"),
        (np.full((4, 4), 70000), "0 to 65535"),
    ):
        np.save(path, values, allow_pickle=True)
        assert words in refusal(path, read_mosaic, path)
    np.save(path, MOSAIC)
    assert "--max-pixels" in refusal(path, lambda: read_mosaic(path, max_pixels=2399))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(40, 60)", b"(9**9,9)"))
    refusal(path, read_mosaic, path)
    path.write_bytes(content[:200])
    refusal(path, read_mosaic, path)


def test_what_is_told_nowhere_is_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", MOSAIC)
    assert "black_level, white_level" in refusal(tmp_path / "a.npy", lambda: read_mosaic(tmp_path / "a.npy", "RGGB"))


def test_wrapped_mosaics_are_dngs_for_any_tool(tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    (folder / "a.raw").write_bytes(raw10(MOSAIC))
    matrix = np.linalg.inv(XYZ2CAM).tolist()
    size = 'packing = "raw10"\nwidth = 60\nheight = 40\n'
    (folder / "sensor.toml").write_text(f"{FACTS}{size}color_matrix = {matrix}\n")
    result = call("dng", folder)
    assert result.exit_code == 0, result.output
    made = folder / "a.dng"
    with rawpy.imread(str(made)) as raw:
        assert np.array_equal(raw.raw_image_visible, MOSAIC)
        assert raw.black_level_per_channel[:3] != [0, 0, 0]
        assert raw.camera_whitebalance[:3] == pytest.approx([2, 1, 1.5], rel=1e-4)
    own, again = read_mosaic(folder / "a.raw"), lwisp.read_raw(made)
    assert again.black_level == own.black_level
    assert np.allclose(again.cam2rgb, own.cam2rgb, atol=2e-3)
    content = made.read_bytes()
    same = call("dng", folder)
    assert (same.exit_code, "1 of 1 files were done before" in same.stderr) == (0, True), same.output
    assert call("dng", folder, "--overwrite").exit_code == 0
    assert made.read_bytes() == content
    assert "wrapped by `lwisp dng`" in call("verify", made, folder / "a.raw").stdout
    other = call("dng", folder, "--black-level", 61)
    assert (other.exit_code, "--overwrite replaces it" in other.stderr) == (1, True)
    assert made.read_bytes() == content
    assert call("dng", folder, "--black-level", 61, "--overwrite").exit_code == 0
    assert lwisp.read_raw(made).black_level == (61,) * 4
    assert call("dng", folder, "--black-level", 61).exit_code == 0
    (folder / "a.raw").write_bytes(raw10(MOSAIC[::-1]))
    assert call("dng", folder, "--black-level", 61).exit_code == 1  # of another shot
    if shutil.which("exiftool"):
        said = subprocess.run(["exiftool", "-validate", "-warning", "-a", made], capture_output=True, text=True)
        assert "Warning" not in said.stdout, said.stdout


def test_flags_describe_a_sensor_too(tmp_path: Path, toy_file: Path) -> None:
    (tmp_path / "a.bin").write_bytes(MOSAIC.astype(">u2").tobytes())
    matrix = ",".join(map(str, np.linalg.inv(XYZ2CAM).ravel()))
    size = ("--packing", "raw16be", "--width", 60, "--height", 40)
    told = ("--cfa", "GBRG", "--black-level", "60,61,62,63", "--white-level", 1023, "--color-matrix", matrix, *size)
    result = call("dng", tmp_path / "a.bin", *told, "--white-balance", "2,1,1.5", "-o", tmp_path / "b.dng")
    assert result.exit_code == 0, result.output
    raw = lwisp.read_raw(tmp_path / "b.dng")
    assert np.array_equal(raw.mosaic, MOSAIC)
    assert raw.black_level == (62, 63, 60, 61)
    shown = call("develop", tmp_path / "a.bin", *told, "--weights", toy_file, "-o", tmp_path / "a.png")
    assert shown.exit_code == 0, shown.output
    wrong = call("dng", tmp_path / "a.bin", *told[:-1], 39, "-o", tmp_path / "c.dng")
    assert wrong.exit_code == 1
    assert "expected 4,680 bytes" in wrong.stderr
    assert call("dng", tmp_path / "a.bin", "--black-level", "1,x").exit_code == 2


def test_a_folder_with_a_sensor_toml_is_developed(tmp_path: Path, toy_file: Path) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    np.save(folder / "a.npy", MOSAIC)
    (folder / "sensor.toml").write_text(FACTS)
    result = call("develop", folder, "--weights", toy_file, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "a.jpg").exists()


def test_a_sensor_with_a_matrix_is_balanced_by_kelvin(tmp_path: Path, toy_file: Path) -> None:
    """The gains of a light, by hand: 1 over what the camera sees of its white."""
    folder = tmp_path / "shots"
    folder.mkdir()
    np.save(folder / "a.npy", MOSAIC)
    matrix = f"color_matrix = {np.linalg.inv(XYZ2CAM).tolist()}\n"
    (folder / "sensor.toml").write_text(FACTS + matrix)
    raw = read_mosaic(folder / "a.npy")
    for words, white in (("daylight", D65), ("3200", light_of(3200))):
        seen = XYZ2CAM @ to_xyz(white)
        balanced = with_balance(raw, parse_balance(words))
        assert balanced.white_balance == pytest.approx(tuple(seen[1] / seen), rel=1e-5)
        assert np.array_equal(balanced.cam2rgb, raw.cam2rgb)
        result = call("dng", folder, "-o", tmp_path / words, "--white-balance", words)
        assert result.exit_code == 0, result.output
        made = lwisp.read_raw(tmp_path / words / "a.dng")
        assert made.white_balance == pytest.approx(balanced.white_balance, rel=1e-3)
        asked = ("--white-balance", words, "-o", tmp_path / f"{words}.png")
        shown = call("develop", folder / "a.npy", "--weights", toy_file, *asked)
        assert shown.exit_code == 0, shown.output
    cold, warm = (read_picture(tmp_path / f"{words}.png").rgb for words in ("daylight", "3200"))
    assert not np.array_equal(cold, warm)
    assert with_balance(raw, parse_balance("as-shot")) is raw
    (folder / "sensor.toml").write_text(FACTS)
    assert "no color matrix" in call("dng", folder, "-o", tmp_path / "none", "--white-balance", "3200").stderr
    assert call("dng", folder, "-o", tmp_path / "gains", "--white-balance", "2,1,3").exit_code == 0
    assert lwisp.read_raw(tmp_path / "gains" / "a.dng").white_balance == pytest.approx((2, 1, 3), rel=1e-4)
    assert call("dng", folder, "--white-balance", "warm").exit_code == 2
