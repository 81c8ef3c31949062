"""JPEGs aligned with their RAW, and told apart where the two do not belong together."""

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import colour
import numpy as np
import pytest
import rawpy
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

import lwisp
from lwisp.camera.pairs import Pair, find_pairs
from lwisp.camera.placement import AlignedPair, align
from lwisp.camera.target import read_target
from lwisp.files.raw import RawImage, read_raw
from tests.camera.test_pairs import jpeg
from tests.conftest import SAMPLE, refusal, require

S40 = SAMPLE.parent / "CRW_0117.CRW"
OTHER_S40 = SAMPLE.parent / "CRW_0101.CRW"
Change = Callable[[Image.Image], Image.Image]


@pytest.fixture(scope="module")
def mural() -> RawImage:
    return read_raw(SAMPLE)


@pytest.fixture(scope="module")
def developed() -> Image.Image:
    """The mural by LibRaw with a hard look, as the mosaic is stored: px for photosite."""
    with rawpy.imread(str(SAMPLE)) as raw:
        rgb = raw.postprocess(use_camera_wb=True, user_flip=0, half_size=False)
    curve = [round(255 * (3 * (x / 255) ** 2 - 2 * (x / 255) ** 3)) for x in range(256)]
    return Image.fromarray(rgb).point(curve * 3)


@pytest.fixture(scope="module")
def boxes() -> tuple[RawImage, Image.Image]:
    """A Canon S40's RAW and the JPEG inside it."""
    raw = read_raw(S40)
    assert raw.jpeg is not None
    return raw, Image.open(io.BytesIO(raw.jpeg)).convert("RGB")


def lay(raw: RawImage, content: bytes, path: Path = S40) -> AlignedPair:
    return align(Pair(path, None, "", ""), replace(raw, jpeg=content))


def refused(raw: RawImage, content: bytes) -> str:
    return refusal(S40, lay, raw, content)


def covered(aligned: AlignedPair) -> NDArray[np.bool_]:
    """Which pixels of the target lie in a tile."""
    mask = np.zeros(aligned.target.shape[:2], bool)
    for tile in aligned.tiles:
        mask[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] = True
    return mask


def test_the_jpeg_inside_a_raw_is_found_and_laid_to_a_fraction_of_its_px(tmp_path: Path) -> None:
    shutil.copy(S40, tmp_path)
    (pair,), refusals = find_pairs(tmp_path)
    assert (pair, refusals) == (Pair(tmp_path / S40.name, None, "Canon PowerShot S40", ""), [])
    raw = read_raw(pair.raw)
    assert raw.camera == pair.camera
    aligned = align(pair, raw)
    assert aligned.target.shape == (480, 640, 3)
    assert aligned.scale == pytest.approx(640 / 2272, rel=1e-3)
    top, left, height, width = aligned.box  # the camera shows 1704x2272 photosites from (8, 20) on
    assert np.abs([top - 8, left - 20, top + height - 1712, left + width - 2292]).max() < 0.25 / aligned.scale
    assert covered(aligned).mean() > 0.9
    assert np.mean([tile.confidence for tile in aligned.tiles]) > 0.9
    assert max(abs(part) for tile in aligned.tiles for part in tile.shift) < 0.2


def test_a_full_size_jpeg_beside_is_laid_turned_cropped_and_scaled(
    tmp_path: Path, mural: RawImage, developed: Image.Image
) -> None:
    whole = lay(mural, jpeg(developed))
    assert np.abs(np.subtract(whole.box, (0, 0, 1440, 1920))).max() < 0.5
    size = (1500, 1125)
    crop = developed.crop((100, 40, 1900, 1390)).resize(size, Image.Resampling.LANCZOS)
    shutil.copy(SAMPLE, tmp_path / "A.dng")
    (tmp_path / "A.JPG").write_bytes(jpeg(crop.transpose(Image.Transpose.ROTATE_90)))
    (pair,), _ = find_pairs(tmp_path)
    assert pair.jpeg == tmp_path / "A.JPG"
    aligned = align(pair, mural)
    assert np.abs(np.subtract(aligned.box, (40, 100, 1350, 1800))).max() < 0.5
    assert aligned.scale == pytest.approx(1500 / 1800, rel=1e-3)
    assert np.abs(aligned.target.astype(float) - np.asarray(crop)).mean() < 3  # as the mosaic lies


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture.resize((160, 120), Image.Resampling.LANCZOS),
        lambda picture: picture.point([min(255, max(0, 2 * x - 128)) for x in range(256)] * 3),
        lambda picture: ImageOps.mirror(picture).filter(ImageFilter.UnsharpMask(2, 80)),
        lambda picture: picture.convert("RGB", (1.6, -0.4, -0.2, 0, -0.3, 1.5, -0.2, 0, -0.1, -0.6, 1.7, 0)),
    ],
    ids=["160x120", "hard", "mirrored and sharp", "saturated"],
)
def test_no_look_or_size_of_the_camera_hinders(boxes: tuple[RawImage, Image.Image], change: Change) -> None:
    raw, picture = boxes
    aligned = lay(raw, jpeg(change(picture)))
    middle = np.array(aligned.box[:2]) + np.array(aligned.box[2:]) / 2
    assert np.abs(middle - (860, 1156)).max() < 0.25 / aligned.scale
    assert aligned.box[3] == pytest.approx(2272, abs=0.5 / aligned.scale)
    assert covered(aligned).mean() > 0.7


def test_black_bars_are_taken_off(boxes: tuple[RawImage, Image.Image]) -> None:
    small = boxes[1].crop((0, 27, 640, 453)).resize((320, 213), Image.Resampling.LANCZOS)
    barred = Image.new("RGB", (320, 240))
    barred.paste(small, (0, 13))
    aligned = lay(boxes[0], jpeg(barred))
    assert 208 <= len(aligned.target) <= 213
    assert aligned.box[2] / len(aligned.target) == pytest.approx(7.1, rel=3e-3)
    assert aligned.box[1] == pytest.approx(20, abs=2)
    assert aligned.box[3] == pytest.approx(2272, abs=4)
    assert 100 <= aligned.box[0] <= 125  # 8 + 27 * 3.55, and what was cut off with the bar


def test_a_crop_by_the_user_is_laid_where_it_belongs(boxes: tuple[RawImage, Image.Image]) -> None:
    aligned = lay(boxes[0], jpeg(boxes[1].crop((300, 100, 620, 340))))
    expected = (8 + 100 * 3.55, 20 + 300 * 3.55, 240 * 3.55, 320 * 3.55)
    assert np.abs(np.subtract(aligned.box, expected)).max() < 0.5 * 3.55


def test_the_grain_of_a_plain_wall_is_no_structure(mural: RawImage, developed: Image.Image) -> None:
    """Cameras smooth it away: a small object before a wall at a high ISO is laid by the object."""
    shown = (slice(480, 960), slice(640, 1280))
    black, white = mural.black_level[0], mural.white_level[0]
    gray = np.ones((2, 2))
    gray[divmod(mural.cfa.index("R"), 2)], gray[divmod(mural.cfa.index("B"), 2)] = np.reciprocal(
        [mural.white_balance[0], mural.white_balance[2]]
    )
    light = 0.4 * np.tile(gray, (720, 960))
    light[shown] = (mural.mosaic[shown] - black) / (white - black)
    light += np.sqrt(8e-2 * light.clip(0)) * np.random.default_rng(0).standard_normal(light.shape)
    mosaic = (black + (white - black) * light).clip(0, white).astype(np.uint16)
    picture = np.full((1440, 1920, 3), 170, np.uint8)
    picture[shown] = np.asarray(developed)[shown]
    aligned = lay(replace(mural, mosaic=mosaic), jpeg(Image.fromarray(picture[3:, 5:])))
    assert np.abs(np.subtract(aligned.box, (3, 5, 1437, 1915))).max() < 3


def test_a_jpeg_of_another_shot_is_refused_under_the_same_name(
    tmp_path: Path, boxes: tuple[RawImage, Image.Image], mural: RawImage, developed: Image.Image
) -> None:
    other = read_raw(OTHER_S40).jpeg
    assert other is not None
    shutil.copy(S40, tmp_path)
    (tmp_path / "CRW_0117.JPG").write_bytes(jpeg(Image.open(io.BytesIO(other))))  # without tags
    (pair,), _ = find_pairs(tmp_path)
    assert pair.jpeg is not None
    assert "another shot" in refusal(pair.jpeg, align, pair, boxes[0])
    assert "another shot" in refused(boxes[0], jpeg(developed))
    assert "another shot" in refused(mural, jpeg(boxes[1]))
    assert "another shot" in refused(boxes[0], jpeg(Image.new("RGB", (640, 480), (90, 120, 150))))


def test_what_no_camera_does_to_its_own_picture_is_refused(boxes: tuple[RawImage, Image.Image]) -> None:
    raw, picture = boxes
    for change in (picture.rotate(0.6, Image.Resampling.BICUBIC), picture.resize((653, 480))):
        assert "turned, stretched or seen from elsewhere" in refused(raw, jpeg(change))
    for change in (ImageOps.grayscale(picture), ImageOps.colorize(picture.convert("L"), (30, 10, 0), (255, 240, 200))):
        assert "monochrome" in refused(raw, jpeg(change))
    light = np.asarray(picture) / 255
    around = np.asarray(picture.convert("L").filter(ImageFilter.GaussianBlur(30))) / 255
    merged = (light * (0.5 / around.clip(0.03) ** 1.3)[..., None]).clip(0, 1)
    assert "place to place" in refused(raw, jpeg(Image.fromarray((255 * merged).astype(np.uint8))))


def test_tiles_that_were_painted_over_are_left_out(boxes: tuple[RawImage, Image.Image]) -> None:
    raw, picture = boxes
    edited = picture.copy()
    box = ImageDraw.Draw(edited)
    box.text((200, 200), "HELLO", fill=(255, 255, 0), font_size=50)
    where = np.zeros((480, 640), bool)
    where[212:245, 205:360] = (np.asarray(edited) != np.asarray(picture)).any(-1)[212:245, 205:360]
    before, after = covered(lay(raw, jpeg(picture))), covered(lay(raw, jpeg(edited)))
    assert before[where].all()
    assert not after[where].any()
    assert after.mean() > before.mean() - 0.15


def test_damaged_and_tiny_jpegs_are_refused(boxes: tuple[RawImage, Image.Image]) -> None:
    raw, picture = boxes
    whole = jpeg(picture)
    assert "cannot be read" in refused(raw, whole[: len(whole) // 2])
    assert "cannot be read" in refused(raw, b"no picture")
    assert "40x53 px only" in refused(raw, jpeg(picture.resize((53, 40))))
    assert "4x5 px only" in refused(replace(raw, mosaic=raw.mosaic[:4, :5]), whole)
    for size in ((3000, 101), (101, 3000)):
        assert "another shot" in refused(raw, jpeg(picture.resize(size)))
    for level in (0, 500, 1023):  # nothing to be seen
        assert "another shot" in refused(replace(raw, mosaic=np.full((400, 601), level, np.uint16)), whole)
    broken = bytearray(whole)
    for place in np.random.default_rng(0).integers(len(whole) // 3, len(whole) - 100, 8):
        broken[place] ^= 0x55
    try:
        aligned = lay(raw, bytes(broken))
    except lwisp.InputError:
        return
    assert covered(aligned).mean() < 0.9


def test_adobe_rgb_is_read_by_its_tag(boxes: tuple[RawImage, Image.Image]) -> None:
    spaces = [colour.RGB_COLOURSPACES[name] for name in ("sRGB", "Adobe RGB (1998)")]
    wide = spaces[1].cctf_encoding(colour.RGB_to_RGB(spaces[0].cctf_decoding(np.asarray(boxes[1]) / 255), *spaces))
    picture = Image.fromarray(np.rint(255 * wide.clip(0, 1)).astype(np.uint8))
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({40961: 65535, 0xA005: {1: "R03", 2: b"0100"}})
    read = read_target(Pair(S40, None, "", ""), replace(boxes[0], jpeg=jpeg(picture, exif)))
    plain = read_target(Pair(S40, None, "", ""), replace(boxes[0], jpeg=jpeg(picture)))
    bias = [np.abs((rgb.astype(float) - np.asarray(boxes[1])).mean((0, 1))).max() for rgb in (read, plain)]
    assert bias[0] < 0.5 < 3 < bias[1]


def test_heif_without_a_profile_is_read_by_its_primaries(boxes: tuple[RawImage, Image.Image], tmp_path: Path) -> None:
    """The red of sRGB in Display P3 is (234, 51, 35), as any color picker tells."""
    pillow_heif = require("pillow_heif")
    read = {}
    for name, primaries in (("p3", 12), ("srgb", 1)):
        coding = {"color_primaries": primaries, "transfer_characteristics": 13, "full_range_flag": 1}
        picture = Image.new("RGB", (128, 128), (234, 51, 35))
        pillow_heif.from_pillow(picture).save(tmp_path / f"{name}.heic", quality=100, **coding)
        read[name] = read_target(Pair(S40, tmp_path / f"{name}.heic", "", ""), boxes[0])[64, 64].astype(int)
    assert np.abs(read["p3"] - (255, 0, 0)).max() <= 12
    assert np.abs(read["srgb"] - (234, 51, 35)).max() <= 2
