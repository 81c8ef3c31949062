"""What is made of pictures: in the layout of its dataset, fit to be opened as one, and true to the pictures."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import lwisp
from lwisp.camera.pairs import find_pairs
from lwisp.camera.placement import align
from lwisp.data import synthetic
from lwisp.data.datasets import AS_SENSED, LoL
from lwisp.data.zurich import MAI21, Zurich
from lwisp.files import writing as files_module
from lwisp.files.dng_tags import NOISE_PROFILE
from lwisp.files.linear import read_linear
from lwisp.files.pictures import read_rgb
from lwisp.files.raw import read_raw

PICTURE = synthetic.pictures(1, 0, 460, 920)[0]  # holds two squares of 448


def to_array(picture: Tensor) -> NDArray[np.uint8]:
    return np.ascontiguousarray(picture.permute(1, 2, 0).numpy())


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def save_photos(root: Path, *pictures: Tensor) -> Path:
    for split in ("train", "val"):
        (root / split).mkdir(parents=True)
        for index, picture in enumerate(pictures):
            Image.fromarray(to_array(picture)).save(root / split / f"{index}.png", compress_level=1)
    return root


def test_pictures_of_nothing_are_fixed_by_their_seed() -> None:
    first, second = (synthetic.pictures(2, 3, 40, 48) for _ in range(2))
    assert [tuple(picture.shape) for picture in first] == [(3, 40, 48)] * 2
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], synthetic.pictures(1, 4, 40, 48)[0])


def test_a_synthetic_zurich_opens_as_zurich(tmp_path: Path) -> None:
    photos = save_photos(tmp_path / "photos", PICTURE)
    synthetic.synthesize("zurich", [photos], tmp_path / "zurich")
    assert "Not the dataset" in (tmp_path / "zurich" / "SYNTHETIC.txt").read_text()
    pairs = Zurich(tmp_path / "zurich", "train", AS_SENSED)
    assert pairs.names == Zurich(tmp_path / "zurich", "test").names == ("0", "1")
    values, target = pairs.read(1)
    square = to_array(PICTURE)[:448, 448:896].transpose(2, 0, 1) / 255
    assert float((target - torch.from_numpy(square)).abs().mean()) < 0.02  # JPEG
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        seen, shown = values[0, row::2, column::2].numpy(), square[channel, row::2, column::2]
        assert np.corrcoef(seen.ravel(), shown.ravel())[0, 1] > 0.8
    assert -63 / 960 <= float(values.min()) <= float(values.max()) <= 1


def test_a_synthetic_mai21_opens_as_mai21_of_ten_bits(tmp_path: Path) -> None:
    picture = PICTURE[:, :256, :512]
    synthetic.write_mai21(tmp_path, {"train": [picture], "val": [picture[:, :, :256]]})
    train, test = MAI21(tmp_path, "train"), MAI21(tmp_path, "test")
    assert (train.names, test.names) == (("0", "1"), ("0",))
    assert (train.black_level, train.white_level) == (63, 1023)
    assert torch.equal(train.read(1)[1], picture[:, :, 256:] / 255)


def test_a_synthetic_lol_opens_as_lol(tmp_path: Path) -> None:
    small = synthetic.pictures(2, 0, 40, 48)
    photos = save_photos(tmp_path / "photos", *small)
    synthetic.synthesize("lol", [photos], tmp_path / "lol")
    for split in ("our485", "eval15"):
        pairs = LoL(tmp_path / "lol", "our485" if split == "our485" else "eval15")
        assert pairs.names == ("1", "2")
        low, high = pairs.read(1)
        assert torch.equal(high, small[1] / 255)
        assert float(low.mean()) < 0.5 * float(high.mean())


def test_the_same_pictures_give_the_same_files(tmp_path: Path) -> None:
    small = synthetic.pictures(2, 0, 32, 64)
    for name in "ab":
        synthetic.write_zurich(tmp_path / name / "zurich", {"train": small, "test": small[:1]}, side=32)
        synthetic.write_lol(tmp_path / name / "lol", {"our485": small, "eval15": small[:1]})
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert len(files(tmp_path / "a" / "zurich")) == 1 + 2 + 2 * (4 + 2)


def test_photos_that_cannot_serve_leave_nothing_behind(tmp_path: Path) -> None:
    photos, output = save_photos(tmp_path / "photos", PICTURE[:, :447]), tmp_path / "output"
    with pytest.raises(lwisp.InputError, match="no picture for train holds a square of 448 px"):
        synthetic.synthesize("zurich", [photos], output)
    with pytest.raises(lwisp.InputError, match="unknown kind 'sidd'; expected one of zurich, zurich-varied, mai21"):
        synthetic.synthesize("sidd", [photos], output)  # type: ignore[arg-type]
    with pytest.raises(lwisp.InputError, match="expected a folder of photographs"):
        synthetic.synthesize("lol", [tmp_path], output)
    assert not output.exists()
    output.mkdir()
    with pytest.raises(lwisp.InputError, match="exists already; name a new folder"):
        synthetic.synthesize("lol", [photos], output)


def test_plain_dngs_show_their_truth_at_three_noise_levels(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    gray = np.full((150, 161, 3), 188, np.uint8)  # 0.5 in linear light
    Image.fromarray(gray).save(photos / "gray.png")
    Image.fromarray(to_array(PICTURE)).save(photos / "large.png")
    synthetic.synthesize("dng", [photos], tmp_path / "dngs")
    assert np.array(Image.open(tmp_path / "dngs" / "truth" / "gray.png")).shape == (150, 160, 3)
    truth = np.array(Image.open(tmp_path / "dngs" / "truth" / "large.png"))
    assert np.array_equal(truth, to_array(PICTURE)[:, 204:716])  # the middle
    for level, (shot_noise, read_noise) in synthetic.NOISE_LEVELS.items():
        raw = read_raw(tmp_path / "dngs" / level / "gray.dng")
        signal = (raw.mosaic - 512.0) / (16383 - 512)
        for (row, column), gain in {(0, 0): raw.white_balance[0], (0, 1): 1, (1, 1): raw.white_balance[2]}.items():
            plane = signal[row::2, column::2]
            expected = 0.503 / gain
            assert plane.mean() == pytest.approx(expected, abs=4e-3)
            assert plane.std() == pytest.approx((shot_noise * expected + read_noise) ** 0.5, rel=0.05, abs=1e-4)
        assert raw.exif.get(NOISE_PROFILE) == ((shot_noise, read_noise) if shot_noise else None)


def test_headroom_is_light_above_white_that_the_sensor_holds(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    bands = np.repeat(np.array([100, 220, 255], np.uint8), 40)
    Image.fromarray(np.broadcast_to(bands[None, :, None], (90, 120, 3)).copy()).save(photos / "bands.png")
    synthetic.synthesize("dng", [photos], tmp_path / "dngs", headroom=2)
    assert np.array_equal(read_rgb(tmp_path / "dngs" / "truth" / "bands.png")[5], np.repeat(bands[:, None], 3, 1))
    raw = read_raw(tmp_path / "dngs" / "clean" / "bands.dng")
    green = (raw.mosaic[::2, 1::2] - 512.0) / (16383 - 512)
    dark, bright, white = (4 * green[:, column].mean() / 0.98 for column in (10, 30, 50))
    assert white == pytest.approx(4, abs=1e-3)  # 2 EV
    linear = [((value / 255 + 0.055) / 1.055) ** 2.4 for value in (100, 220)]
    assert dark == pytest.approx(linear[0], abs=1e-3)  # middle tones are what they were
    above = (bright - 0.4) / 0.6  # Reinhard's extended curve, white at (4 - 0.4) / 0.6 = 6
    assert 0.4 + 0.6 * above * (1 + above / 36) / (1 + above) == pytest.approx(linear[1], abs=1e-3)


def test_a_headroom_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    for value in (-1, 7, float("nan")):
        with pytest.raises(lwisp.InputError, match="expected a headroom of 0 to 6 EV"):
            synthetic.synthesize("dng", [tmp_path], tmp_path / "dngs", headroom=value)
    with pytest.raises(lwisp.InputError, match="zurich has no headroom"):
        synthetic.synthesize("zurich", [tmp_path], tmp_path / "dngs", headroom=1)


@pytest.mark.parametrize("kind", ["xtrans", "linear"])
def test_plain_dngs_without_a_bayer_mosaic_show_their_truth(kind: synthetic.Kind, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(np.full((150, 161, 3), 188, np.uint8)).save(photos / "gray.png")  # 0.5 in linear light
    synthetic.synthesize(kind, [photos], tmp_path / "dngs")
    truth = np.array(Image.open(tmp_path / "dngs" / "truth" / "gray.png"))
    assert truth.shape == ((512, 512, 3) if kind == "xtrans" else (150, 160, 3))
    for level, (shot_noise, read_noise) in synthetic.NOISE_LEVELS.items():
        if (kind, level) == ("linear", "clean"):
            continue  # of one value, which is no picture
        image = read_linear(tmp_path / "dngs" / level / "gray.dng")
        black, white = np.array(image.black_level), np.array(image.white_level)
        signal = (image.rgb - black) / (white - black)
        assert image.rgb.shape == truth.shape
        assert signal.mean((0, 1)) == pytest.approx(0.503 / np.array(image.white_balance), abs=4e-3)
        if kind == "linear":
            expected = (shot_noise * signal.mean((0, 1)) + read_noise) ** 0.5
            assert signal.std((0, 1)) == pytest.approx(expected, rel=0.05, abs=1e-4)
        assert image.exif.get(NOISE_PROFILE) == ((shot_noise, read_noise) if shot_noise else None)


def test_plain_dngs_of_two_photos_of_one_name_are_refused(tmp_path: Path) -> None:
    photos = save_photos(tmp_path / "photos", PICTURE)
    with pytest.raises(lwisp.InputError, match="two photographs are called 0"):
        synthetic.synthesize("dng", [photos / "train", photos / "val"], tmp_path / "dngs")
    assert not (tmp_path / "dngs").exists()


def test_a_camera_with_a_hard_look_gives_pairs_that_lie_on_each_other(tmp_path: Path) -> None:
    folder = save_photos(tmp_path / "photos", *synthetic.pictures(2, 5, 401, 480)) / "train"
    synthetic.synthesize("camera", [folder], tmp_path / "camera")
    found, refusals = find_pairs(tmp_path / "camera")
    assert [(pair.raw.name, pair.jpeg and pair.jpeg.name) for pair in found] == [("0.dng", "0.jpg"), ("1.dng", "1.jpg")]
    assert not refusals
    for pair in found:
        raw = read_raw(pair.raw)
        aligned = align(pair, raw)
        assert raw.mosaic.shape == aligned.target.shape[:2] == (400, 480)
        assert np.abs(np.subtract(aligned.box, (0, 0, 400, 480))).max() < 0.5


def test_the_hard_look_is_what_it_says() -> None:
    ramp = torch.linspace(0, 1, 256).expand(3, 8, 256)
    shown = synthetic.hard_look(ramp)[:, 4]
    assert float(shown[2, 30] - shown[0, 30]) > 0.08  # shadows are blue
    assert float(shown[0, 225] - shown[2, 225]) > 0.08  # highlights are orange
    slope = shown.mean(0).diff() * 255
    assert float(slope[110:145].mean()) > 1.3 > 0.7 > float(slope[5:30].mean())
    color = torch.tensor([0.6, 0.5, 0.4])[:, None, None].expand(3, 8, 8)
    assert float(synthetic.hard_look(color)[0, 4, 4] - synthetic.hard_look(color)[2, 4, 4]) > 0.3
    edge = torch.full((3, 8, 8), 0.3)
    edge[:, :, 4:] = 0.7
    assert float(synthetic.hard_look(edge)[1, 4].max() - synthetic.hard_look(edge)[1, 4, 7]) > 0.05  # sharpened


@pytest.mark.parametrize("kind", ["zurich", "mai21", "lol", "dng", "xtrans", "linear", "camera"])
def test_a_folder_that_is_made_is_whole_or_not_there(
    kind: synthetic.Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, output = save_photos(tmp_path / "photos", *synthetic.pictures(2, 5, 450, 460)), tmp_path / "made"
    folders, original = ([photos] if kind in synthetic.SPLITS else [photos / "train"]), files_module.write_whole
    count = 0

    def killed(path: Path, write: Callable[[BinaryIO], object]) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        original(path, write)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "write_whole", killed)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # who is killed tidies nothing up
        with pytest.raises(KeyboardInterrupt):
            synthetic.synthesize(kind, folders, output)
    (left,) = tmp_path.glob(".lwisp-*.tmp")
    assert not output.exists()
    monkeypatch.setattr(files_module, "_is_alive", lambda _: False)
    synthetic.synthesize(kind, folders, output)
    assert (output / "SYNTHETIC.txt").exists()
    assert not left.exists()


def test_scenes_of_the_varied_benchmark_are_taken_differently_and_their_squares_alike(tmp_path: Path) -> None:
    gray = torch.full((3, 450, 900), 128, dtype=torch.uint8)
    photos = save_photos(tmp_path / "photos", *[gray] * 6)
    synthetic.synthesize("zurich-varied", [photos], tmp_path / "varied")
    pairs = Zurich(tmp_path / "varied", "train")
    assert pairs.groups == ("1", "1", "2", "2", "3", "3", "4", "4", "5", "5", "6", "6")
    means, balances, corners = [], [], []
    for index in range(12):
        values, target = pairs.read(index)
        assert float(target.std()) < 0.01  # the truth is the photograph, which is gray
        red, green, blue = values[0, ::2, ::2], values[0, ::2, 1::2], values[0, 1::2, 1::2]
        means.append(float(green.mean()))
        balances.append(float(red.mean() / blue.mean()))
        edge = green[:, -16:] if index % 2 else green[:, :16]
        inner = green[:, :16] if index % 2 else green[:, -16:]
        corners.append(float(edge.mean() / inner.mean()))
    assert max(means) > 1.5 * min(means)
    assert max(balances) > 1.3 * min(balances)
    assert min(corners) < 0.9  # vignetting is that of the photograph, darkest where both squares end
    for left, right in zip(balances[::2], balances[1::2], strict=True):
        assert left == pytest.approx(right, rel=0.05)
    assert "Variation(exposure=(-2.0, 0.0)" in (tmp_path / "varied" / "SYNTHETIC.txt").read_text()
    plain = tmp_path / "plain"
    synthetic.synthesize("zurich", [photos], plain)
    alike = [float(Zurich(plain, "train").read(index)[0].mean()) for index in (0, 5, 11)]
    assert max(alike) == pytest.approx(min(alike), rel=0.02)


def test_further_folders_may_hold_photographs_to_test_on_alone(tmp_path: Path) -> None:
    photos = save_photos(tmp_path / "photos", PICTURE)
    more = tmp_path / "more"
    more.mkdir()
    for name in ("1.png", "2.png"):
        Image.fromarray(to_array(PICTURE[:, :448, :448])).save(more / name, compress_level=1)
    synthetic.synthesize("zurich", [photos, more], tmp_path / "zurich")
    train, test = Zurich(tmp_path / "zurich", "train"), Zurich(tmp_path / "zurich", "test")
    assert train.groups == ("1", "1")
    assert test.groups == ("1", "1", "2", "3")
    with pytest.raises(lwisp.InputError, match="expected a folder of photographs"):
        synthetic.synthesize("zurich", [more, photos], tmp_path / "other")
