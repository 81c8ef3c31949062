import copy
import io
import os
import pickle
import struct
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rawpy
import tifffile
from PIL import Image, ImageOps

import lwisp
from lwisp.files.dng import write_dng as write_dng_of
from lwisp.files.dng_tags import NOISE_PROFILE
from lwisp.files.libraw import opened
from lwisp.files.raw import RawImage, read_mosaic, read_orientation, read_preview, read_raw
from lwisp.imaging.bayer import CFA, CFAS
from lwisp.imaging.matrices import cam2rgb_from_xyz
from lwisp.imaging.pixels import orient
from lwisp.imaging.white_point import D65
from tests.conftest import SAMPLE, XYZ2CAM, WriteDng
from tests.lossless import lossless_dng, lossless_jpeg, noisy

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
    expected = cam2rgb_from_xyz(XYZ2CAM.astype(np.float32))
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


def test_a_file_without_balance_gets_one_estimated_and_says_so(write_dng: WriteDng) -> None:
    raw = read_raw(write_dng(MOSAIC, neutral=None))
    (note,) = raw.notes
    assert note.startswith("the file has no as-shot white balance: estimated from the picture, about ")
    assert min(raw.white_balance) > 0
    blown = read_raw(write_dng(4095 - MOSAIC // 100, neutral=None, name="blown.dng"))
    assert "daylight taken" in blown.notes[0]
    assert blown.color is not None
    assert blown.white_balance == blown.color.gains(D65)


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
def test_a_truncated_file_gives_one_clear_error(name: str, share: float, tmp_path: Path) -> None:
    content = (SAMPLE.parent / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(lwisp.InputError, match=r"damaged.* cut"):
        read_raw(path)


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


def test_a_name_that_is_no_text_is_read_all_the_same(write_dng: WriteDng, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff\xfe.dng")
    path.write_bytes(write_dng(MOSAIC).read_bytes())
    assert np.array_equal(read_raw(path).mosaic, MOSAIC)
    assert read_orientation(path) == 1


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


def facts(raw: RawImage) -> tuple[object, ...]:
    """All that a RAW holds, its directories of tags too, to be compared."""
    tags = [sorted(raw.exif.get_ifd(ifd).items()) for ifd in (0x8769, 0x8825, 0xA005)]
    arrays = ("mosaic", "cam2rgb", "color", "exif")
    own = sorted((name, value) for name, value in vars(raw).items() if name not in arrays)
    pixels = raw.mosaic.tobytes(), raw.cam2rgb.tobytes(), repr(raw.color)
    return sorted(raw.exif.items()), tags, raw.exif.endian, own, *pixels


SAMPLES = sorted(path.name for path in SAMPLE.parent.iterdir() if path.suffix in (".dng", ".CRW"))


@pytest.mark.parametrize("name", SAMPLES)
def test_path_bytes_and_file_give_the_same(name: str) -> None:
    path = SAMPLE.parent / name
    content = path.read_bytes()
    expected = facts(read_raw(path))
    assert facts(read_raw(str(path))) == expected
    assert facts(read_raw(content)) == expected
    with path.open("rb") as file:
        assert facts(read_raw(file)) == expected
    assert read_orientation(content) == read_orientation(path)
    for (tags, jpeg), (own, own_jpeg) in [(read_preview(content), read_preview(path))]:
        assert (dict(tags), jpeg) == (dict(own), own_jpeg)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_raw_can_be_pickled_and_copied(name: str) -> None:
    raw = read_raw(SAMPLE.parent / name)
    assert len(raw.exif.get_ifd(0x8769)) > 3
    for twin in (pickle.loads(pickle.dumps(raw)), copy.copy(raw), copy.deepcopy(raw)):
        assert facts(twin) == facts(raw)


def test_a_crw_from_memory_does_not_crash_the_process() -> None:
    """LibRaw read its thumbnail in memory that was given back with the unpacking."""
    code = f"""
import gc, lwisp
content = open({str(SAMPLE.parent / "CRW_0101.CRW")!r}, "rb").read()
for _ in range(5):
    raw = lwisp.read_raw(bytes(bytearray(content)))
    gc.collect()
from lwisp.files.libraw import opened
with opened(bytes(bytearray(content))) as file:
    file.libraw.unpack()
    gc.collect()
    filler = bytearray(len(content))
    assert bytes(file.libraw.extract_thumb().data)[:2] == raw.jpeg[:2]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_messages_name_the_raw_where_it_has_no_path() -> None:
    for source in (b"not a photo", io.BytesIO(b"not a photo")):
        with pytest.raises(lwisp.InputError, match=r"^the RAW: not a RAW file"):
            read_raw(source)
    with pytest.raises(lwisp.InputError, match=r"^the RAW: the file is empty"):
        read_raw(b"")
    with pytest.raises(lwisp.InputError, match="binary mode, got str"):
        read_raw(io.StringIO("not a photo"))  # type: ignore[arg-type]


def test_threads_read_each_its_own_file(write_dng: WriteDng) -> None:
    rng = np.random.default_rng(0)
    mosaics = [rng.integers(64, 4000, (100, 120 + 2 * index), dtype=np.uint16) for index in range(8)]
    paths = [write_dng(mosaic, name=f"{index}.dng", orientation=index + 1) for index, mosaic in enumerate(mosaics)]
    with ThreadPoolExecutor(8) as pool:
        raws = list(pool.map(read_raw, paths * 4))
    for index, raw in enumerate(raws):
        assert np.array_equal(raw.mosaic, mosaics[index % 8])
        assert raw.orientation == index % 8 + 1


class Meeting(io.BytesIO):
    """A file that is read only when another is being read too."""

    barrier = threading.Barrier(2, timeout=30)

    def read(self, size: int | None = -1) -> bytes:
        self.barrier.wait()
        return super().read(size)


def test_two_reads_overlap(write_dng: WriteDng) -> None:
    content = write_dng(MOSAIC).read_bytes()
    with ThreadPoolExecutor(2) as pool:
        for raw in pool.map(read_raw, [Meeting(content), Meeting(content)]):
            assert np.array_equal(raw.mosaic, MOSAIC)


def test_the_process_keeps_its_stderr_and_its_warnings_while_a_raw_is_read(write_dng: WriteDng) -> None:
    """What another thread, or a child process, writes there meanwhile is not lost."""
    path = write_dng(MOSAIC)
    before = os.fstat(2).st_ino, list(warnings.filters)
    with opened(path) as file:
        assert (os.fstat(2).st_ino, list(warnings.filters)) == before
        file.libraw.unpack()
        assert (os.fstat(2).st_ino, list(warnings.filters)) == before


def test_damaged_tags_are_left_out_without_a_warning(write_dng: WriteDng) -> None:
    """Warnings are errors here, and nobody silences them."""
    content = bytearray(write_dng(MOSAIC).read_bytes())
    start = struct.unpack_from("<L", content, 4)[0]
    for entry in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", content, start)[0], 12):
        if struct.unpack_from("<H", content, entry)[0] == 272:
            struct.pack_into("<L", content, entry + 8, 10**9)  # the model lies beyond the file
        if struct.unpack_from("<H", content, entry)[0] == 274:
            struct.pack_into("<L", content, entry + 4, 2)  # two orientations
    raw = read_raw(bytes(content))
    assert (raw.make, raw.model) == ("Lwisp", "unknown")
    assert raw.exif[274] == 1


def test_a_lost_tile_is_refused_for_libraw_would_show_another_photo() -> None:
    content = lossless_dng(noisy(128, 192), 64)
    assert np.array_equal(read_raw(content).mosaic, noisy(128, 192))
    third = [place for place in range(len(content)) if content[place : place + 4] == b"\xff\xd8\xff\xc3"][2]
    half = content[:third] + bytes(len(content) - third)
    with pytest.raises(lwisp.InputError, match="damaged file, overwritten: 4 of the 6 tiles of its picture are lost"):
        read_raw(half)
    with pytest.raises(lwisp.InputError, match="damaged file, cut short: 4 of the 6 tiles"):
        read_raw(content[:third])
    with pytest.raises(lwisp.InputError, match="cut short"):
        read_raw(content[:-100])
    small = lossless_jpeg(noisy(8, 16))  # a head of its own, but of too few photosites
    with pytest.raises(lwisp.InputError, match="1 of the 6 tiles"):
        read_raw(content[:third] + small + content[third + len(small) :])


@pytest.mark.parametrize(
    ("marker", "offset", "value"), [(b"\xff\xc4", 4, 0x02), (b"\xff\xc4", 4, 0x20), (b"\xff\xc3", 9, 7)]
)
def test_a_tile_whose_header_libraw_rejects_is_lost(marker: bytes, offset: int, value: int) -> None:
    """A Huffman table of another number, or more components than LibRaw decodes."""
    content = bytearray(lossless_dng(noisy(128, 192), 64))
    fourth = [place for place in range(len(content)) if content[place : place + 4] == b"\xff\xd8\xff\xc3"][3]
    place = content.index(marker, fourth) + offset
    content[place] = value
    with pytest.raises(lwisp.InputError, match="1 of the 6 tiles"):
        read_raw(bytes(content))


@pytest.mark.parametrize("black", [0, 64])
def test_a_tile_that_stops_in_the_middle_is_noted(black: int) -> None:
    content = lossless_dng(noisy(128, 192), 64, black)
    last = content.rindex(b"\xff\xd8\xff\xc3")
    raw = read_raw(content[: last + 800] + bytes(len(content) - last - 800))
    assert any(note.startswith("the file is damaged: 1") and "one value" in note for note in raw.notes), raw.notes


@pytest.mark.parametrize("black", [0, 64])
@pytest.mark.parametrize(("first", "share"), [(24, "50 %"), (40, "17 %")])
def test_bands_of_one_value_are_noted(first: int, share: str, black: int, write_dng: WriteDng) -> None:
    mosaic = noisy(48, 64)
    mosaic[first:] = 0
    if first > 24:
        mosaic[first:], mosaic[4:12] = mosaic[:8], 0  # not at the edge, where eight rows may be the sensor's
    notes = read_raw(write_dng(mosaic, black=black, name="band.dng")).notes
    assert notes == (f"the file is damaged: {share} of the photosites lie in bands of one value",)


def test_values_that_no_sensor_gives_are_noted(write_dng: WriteDng) -> None:
    content = bytearray(write_dng(noisy(200, 100)).read_bytes())
    content[-8000:-4000] = np.random.default_rng(0).bytes(4000)
    (note,) = read_raw(bytes(content)).notes
    assert note.startswith("the file is damaged: ")
    assert note.endswith("far above its white level")


def test_what_photos_have_is_not_taken_for_damage(write_dng: WriteDng) -> None:
    """Blown skies, black rows at a sensor's edge, shadows that a camera clips at black, plain things without noise."""
    rng = np.random.default_rng(2)
    sky, border, night, drawing = (noisy(60, 64) for _ in range(4))
    sky[:30] = 4095
    border[:6] = border[-6:] = 0
    night = rng.integers(-30, 31, (60, 64)).clip(0).astype(np.uint16)
    night[10:30, :40] = 0
    drawing[10:40, 4:60] = 1500
    for index, mosaic in enumerate((sky, border, night, drawing)):
        assert read_raw(write_dng(mosaic, name=f"{index}.dng")).notes == ()


def test_a_scene_without_light_is_told_with_doubt(write_dng: WriteDng) -> None:
    night = np.random.default_rng(2).integers(-30, 31, (80, 64)).clip(0).astype(np.uint16)
    night[20:60] = 0
    (note,) = read_raw(write_dng(night)).notes
    assert note == "50 % of the photosites lie in bands of black: no light fell there, or the file is damaged"


def test_mosaics_without_a_picture_are_refused(write_dng: WriteDng, tmp_path: Path) -> None:
    for value in (0, 64, 1000, 4095):
        with pytest.raises(lwisp.InputError, match=f"no picture in it: all photosites hold {value};"):
            read_raw(write_dng(np.full((48, 64), value, np.uint16), black=64))
    below = np.random.default_rng(0).integers(20, 65, (48, 64), dtype=np.uint16)
    with pytest.raises(lwisp.InputError, match="no light in it: no photosite is above the black level of 64"):
        read_raw(write_dng(below, black=64))
    for black in (0, 64):
        scrap = noisy(400, 64)
        scrap[2:] = 0
        with pytest.raises(lwisp.InputError, match="no picture in it: nearly all photosites hold 0;"):
            read_raw(write_dng(scrap, black=black))
    Image.fromarray(np.full((48, 64), 64, np.uint16)).save(tmp_path / "dark.png")
    with pytest.raises(lwisp.InputError, match="no light in it"):
        read_mosaic(tmp_path / "dark.png", "RGGB", 64, 1023)


def test_a_frame_with_the_lens_cap_on_is_read(write_dng: WriteDng) -> None:
    dark = np.random.default_rng(0).integers(60, 69, (48, 64), dtype=np.uint16)
    assert read_raw(write_dng(dark, black=64)).notes == ()
