"""Color spaces of pictures: the same colors, told by a profile that others understand."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from lwisp.errors import InputError
from lwisp.files.encoding import Finish
from lwisp.files.pictures import read_picture, write_picture
from lwisp.files.profiles import SPACES, ProfileName, from_srgb, profile_of

RNG = np.random.default_rng(8)


@pytest.mark.parametrize("name", ["p3", "rec2020"])
def test_littlecms_sees_the_same_colors(name: ProfileName) -> None:
    """By the profile that is written, LittleCMS turns the converted pixels back into those of sRGB."""
    rgb = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    converted = from_srgb(rgb, name)
    assert abs(converted - rgb / 255).max() > 0.05
    stored = Image.fromarray((converted * 255 + 0.5).astype(np.uint8))
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile_of(name)))
    back = ImageCms.profileToProfile(stored, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    difference = np.asarray(back).astype(int) - rgb
    assert abs(difference).mean() < 1
    assert abs(difference).max() <= 16  # of 8 bits in a wider space, where sRGB's curve is steep
    assert ImageCms.getProfileDescription(source).strip() == SPACES[name].description


def test_published_matrices_are_met() -> None:
    """Rows of sRGB's and Display P3's matrices to XYZ, as published by the W3C (CSS Color 4)."""
    np.testing.assert_allclose(SPACES["srgb"].to_xyz()[0], [0.41239, 0.35758, 0.18048], atol=2e-5)
    np.testing.assert_allclose(SPACES["p3"].to_xyz()[1], [0.22897, 0.69174, 0.07929], atol=2e-5)


def test_curves_are_undone(name: ProfileName = "rec2020") -> None:
    values = np.linspace(0, 1, 1001, dtype=np.float32)
    for space in SPACES.values():
        np.testing.assert_allclose(space.encode(space.decode(values)), values, atol=2e-5)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_wide_picture_of_16_bits_carries_its_profile(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    rgb = RNG.integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    write_picture(path, rgb, "png16" if suffix == ".png" else "tiff", finish=Finish(profile="p3"))
    with Image.open(path) as picture:
        assert picture.info["icc_profile"] == profile_of("p3")
    read = read_picture(path).rgb
    assert abs(read / np.iinfo(read.dtype).max - rgb / 65535).max() < 0.06


@pytest.mark.parametrize(
    ("finish", "format", "word"),
    [
        (Finish(profile="p3"), "jpg", "16 bits"),
        (Finish(quality=0), "jpg", "quality"),
        (Finish(quality=101), "png", "quality"),
        (Finish(size=0), "jpg", "size"),
        (Finish(size=70_000), "tiff", "size"),
        (Finish(profile="adobe"), "tiff", "profile"),  # type: ignore[arg-type]
        (Finish(), "gif", "format"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(
    finish: Finish, format: str, word: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=word):
        write_picture(tmp_path / "a", np.zeros((4, 4, 3)), format, finish=finish)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(40, 60), (60, 40)])
def test_the_long_side_is_limited_and_small_pictures_stay(shape: tuple[int, int], tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, shape[1])[None, :, None], (*shape, 3)).astype(np.float32)
    write_picture(tmp_path / "small.png", ramp, "png", finish=Finish(size=30))
    small = read_picture(tmp_path / "small.png").rgb
    assert max(small.shape) == 30
    assert small.shape[0] / small.shape[1] == pytest.approx(shape[0] / shape[1])
    assert abs(small[..., 0].mean() / 255 - 0.5) < 0.01
    write_picture(tmp_path / "same.png", ramp, "png", finish=Finish(size=60))
    assert read_picture(tmp_path / "same.png").rgb.shape == ramp.shape


def test_quality_changes_the_size_of_the_file(tmp_path: Path) -> None:
    rgb = RNG.random((64, 64, 3)).astype(np.float32)
    for quality in (20, 95):
        write_picture(tmp_path / f"{quality}.jpg", rgb, finish=Finish(quality))
    assert (tmp_path / "20.jpg").stat().st_size < (tmp_path / "95.jpg").stat().st_size / 2
