import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, TiffImagePlugin

import lwisp
from lwisp.files import pictures
from lwisp.files.encoding import SUFFIXES, Format
from lwisp.files.icc import srgb_profile
from lwisp.files.pictures import read_picture, read_rgb, write_picture
from lwisp.files.raw import read_raw
from lwisp.imaging.pixels import orient, to_integer
from tests.conftest import SAMPLE, refusal

RGB = np.random.default_rng(0).random((137, 53, 3), dtype=np.float32)


def read_back(path: Path, format: Format) -> np.ndarray:
    if format == "tiff":
        return tifffile.imread(path)
    if format == "png16":  # Pillow reads the high bytes only: undo PNG's filter by hand
        return _read_png16(path)
    with Image.open(path) as picture:
        return np.asarray(picture)


def _read_png16(path: Path) -> np.ndarray:
    import struct
    import zlib

    content, place, data = path.read_bytes(), 8, b""
    while place < len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        body = content[place + 8 : place + 8 + length]
        assert struct.unpack(">I", content[place + 8 + length : place + 12 + length])[0] == zlib.crc32(kind + body)
        data += body if kind == b"IDAT" else b""
        place += 12 + length
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(RGB.shape[0], -1)
    assert set(rows[:, 0]) == {2}
    return np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).view(">u2").astype(np.uint16).reshape(RGB.shape)


BUILT_IN: tuple[Format, ...] = ("jpg", "png", "png16", "tiff")
"""Formats whose encoders are always there."""


@pytest.mark.parametrize("format", BUILT_IN)
def test_what_is_written_reads_back(format: Format, tmp_path: Path) -> None:
    path = tmp_path / f"picture{SUFFIXES[format]}"
    write_picture(path, RGB, format)
    top = 255 if format in ("jpg", "png") else 65535
    difference = np.abs(read_back(path, format).astype(float) - RGB * top).max()
    assert difference <= (60 if format == "jpg" else 0.5001)
    with Image.open(path) as picture:
        assert picture.size == (53, 137)
        assert picture.info["icc_profile"] == srgb_profile()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]  # no temporary file stays


def test_a_16_bit_png_opens_in_pillow_with_the_right_pixels(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", RGB, "png16")
    with Image.open(tmp_path / "a.png") as picture:
        assert np.abs(np.asarray(picture.convert("RGB")).astype(float) - RGB * 255).max() < 1.01


def test_jpeg_keeps_color_at_full_resolution(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", RGB, "jpg")
    with Image.open(tmp_path / "a.jpg") as picture:
        assert {sampling[1:3] for sampling in picture.layer} == {(1, 1)}  # type: ignore[attr-defined]


def test_the_profile_is_srgb_and_always_the_same() -> None:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    srgb_profile.cache_clear()
    first = srgb_profile()
    srgb_profile.cache_clear()
    assert srgb_profile() == first


@pytest.mark.parametrize("format", BUILT_IN)
def test_tags_that_stay_true_are_kept_and_the_orientation_reset(format: Format, tmp_path: Path) -> None:
    path = tmp_path / f"picture{SUFFIXES[format]}"
    exif = read_raw(SAMPLE).exif
    exif.get_ifd(0x8825).update({1: "N", 2: (47.0, 30.0, 0.0), 3: "E", 4: (19.0, 2.0, 30.0)})
    write_picture(path, RGB, format, exif)
    with Image.open(path) as picture:
        tags = picture.getexif()
        assert (tags[271], tags[272]) == ("GoPro", "HERO6 Black")
        assert tags.get(274, 1) == 1
        photo, gps = tags.get_ifd(0x8769), tags.get_ifd(0x8825)
        assert photo[36867] == "2016:01:01 23:07:27"
        assert float(photo[33437]) == pytest.approx(2.8)
        assert photo[34855] == 100
        assert photo[40961] == 1
        assert [float(part) for part in gps[2]] == [47, 30, 0]
        assert 50721 not in tags  # DNG's color matrix says nothing of a finished picture
        assert 33421 not in tags


def test_damaged_tags_are_left_out(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[271], exif[272] = 7, "Model"
    exif.get_ifd(0x8769).update({33434: "not a number", 34855: 200})
    write_picture(tmp_path / "a.jpg", RGB, "jpg", exif)
    with Image.open(tmp_path / "a.jpg") as picture:
        assert 271 not in picture.getexif()
        assert picture.getexif()[272] == "Model"
        photo = picture.getexif().get_ifd(0x8769)
        assert photo[34855] == 200
        assert 33434 not in photo


def test_the_same_picture_gives_the_same_bytes(tmp_path: Path) -> None:
    for kind in BUILT_IN:
        paths = [tmp_path / f"{name}{SUFFIXES[kind]}" for name in "ab"]
        for path in paths:
            write_picture(path, RGB, kind, overwrite=True)
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_nothing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("mine")
    with pytest.raises(lwisp.InputError, match="exists already"):
        write_picture(path, RGB, "png")
    assert path.read_text() == "mine"
    write_picture(path, RGB, "png", overwrite=True)
    assert path.stat().st_size > 4


@pytest.mark.parametrize("format", BUILT_IN)
def test_a_full_disk_leaves_nothing_behind(format: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(lwisp.InputError, match="No space left"):
        write_picture(tmp_path / f"a{SUFFIXES[format]}", RGB, format)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(lwisp.InputError, match="cannot be written"):
        write_picture(tmp_path / "none" / "a.jpg", RGB, "jpg")


def test_integers_are_rounded_and_clipped() -> None:
    values = np.array([[-1, 0, 0.5, 1, 2, 0.4 / 255, 0.6 / 255]], np.float32)
    assert to_integer(values, 8).tolist() == [[0, 0, 128, 255, 255, 0, 1]]
    assert to_integer(values[:, :5], 16).tolist() == [[0, 0, 32768, 65535, 65535]]


def test_reading_turns_upright_and_converts_to_srgb(tmp_path: Path) -> None:
    picture = Image.fromarray((RGB * 255).astype(np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    picture.save(tmp_path / "turned.png", exif=exif, icc_profile=srgb_profile())
    assert read_rgb(tmp_path / "turned.png").shape == (53, 137, 3)
    assert np.abs(read_rgb(tmp_path / "turned.png").astype(int) - orient(np.asarray(picture), 6)).max() <= 1
    (tmp_path / "no.png").write_text("no")
    with pytest.raises(lwisp.InputError, match="cannot be read"):
        read_rgb(tmp_path / "no.png")


def test_orientations_outside_exif_are_refused() -> None:
    with pytest.raises(ValueError, match="1 to 8"):
        orient(RGB, 9)


def test_rationals_with_a_zero_denominator_do_not_stop_writing(tmp_path: Path) -> None:
    exif = Image.Exif()  # without main tags it is false, which must not mean that it is empty
    exif.get_ifd(0x8769).update({33434: TiffImagePlugin.IFDRational(1, 0), 34855: 200})
    write_picture(tmp_path / "a.jpg", RGB, "jpg", exif)
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.getexif().get_ifd(0x8769)[34855] == 200


@pytest.mark.parametrize("format", BUILT_IN)
def test_odd_places_and_endless_texts_do_not_stop_writing(format: Format, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[270], exif[271] = "x" * 70_000, "Make"
    exif.get_ifd(0x8769)[42036] = "y" * 70_000
    signed = TiffImagePlugin.IFDRational(-35, 10)
    exif.get_ifd(0x8825).update({1: "N", 2: (signed, signed, signed), 4: "19 E", 5: -1, 6: signed})
    path = tmp_path / f"a{SUFFIXES[format]}"
    write_picture(path, RGB, format, exif)
    with Image.open(path) as picture:
        tags = picture.getexif()
        assert tags[271] == "Make"
        assert 270 not in tags
        assert tags.get_ifd(0x8825) == {0: b"\2\3\0\0", 1: "N"}


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"byteorder": ">"}, {"compression": "zlib", "predictor": True}, {"compression": "zlib", "byteorder": ">"}],
    ids=str,
)
def test_tiffs_of_16_bits_are_read_whole(options: dict[str, object], alpha: bool, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (41, 30, 3 + alpha), dtype=np.uint16)
    values[..., 3:] = 65535
    tifffile.imwrite(tmp_path / "a.tif", values, extrasamples=["unassalpha"] if alpha else None, **options)  # type: ignore[arg-type]
    picture = pictures.read_picture(tmp_path / "a.tif")
    assert np.array_equal(picture.rgb, values[..., :3])
    assert picture.notes == (("its transparency is lost",) if alpha else ())


def test_pngs_of_16_bits_are_read_whole(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (41, 30, 3), dtype=np.uint16)
    write_picture(tmp_path / "a.png", values, "png16")
    assert np.array_equal(pictures.read_picture(tmp_path / "a.png").rgb, values)
    Image.fromarray(values[..., 0]).save(tmp_path / "gray.png")
    assert np.array_equal(pictures.read_picture(tmp_path / "gray.png").rgb, values[..., :1].repeat(3, -1))
    Image.fromarray((values >> 8).astype(np.uint8)).save(tmp_path / "eight.png")
    assert pictures.read_picture(tmp_path / "eight.png").rgb.dtype == np.uint8
    formats = [pictures.own_format(tmp_path / name) for name in ("a.png", "gray.png", "eight.png", "none.tif", "none")]
    assert formats == ["png16", "png16", "png", "tiff", "jpg"]


def test_what_a_picture_loses_is_said(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (41, 30, 3), dtype=np.uint16)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))  # of no RGB: the pixels stay
    tifffile.imwrite(tmp_path / "a.tif", values, iccprofile=profile.tobytes())
    picture = pictures.read_picture(tmp_path / "a.tif")
    assert picture.notes == ("its profile is for pictures of another kind and was left aside",)
    assert np.array_equal(picture.rgb, values)
    with pytest.raises(lwisp.InputError, match="no such file"):
        pictures.read_picture(tmp_path / "none.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.tif").read_bytes()[:500])
    with pytest.raises(lwisp.InputError, match="cannot be read as a picture"):
        pictures.read_picture(tmp_path / "cut.png")


def test_a_tiff_of_32_bits_is_refused(tmp_path: Path) -> None:
    """Pillow would show large integers white."""
    path = tmp_path / "deep.tif"
    Image.fromarray(np.arange(64, dtype=np.int32).reshape(8, 8)).save(path)
    assert "a TIFF of 32 bits a color" in refusal(path, read_picture, path)
