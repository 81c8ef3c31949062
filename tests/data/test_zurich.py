"""Zurich and MAI21: files written here in their published layout, read back and compared by hand."""

import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

import lwisp
from lwisp.data.crops import Crops
from lwisp.data.zurich import MAI21, AlignedZurich, Zurich
from lwisp.imaging import metrics
from lwisp.imaging.mosaic import pack
from lwisp.pipeline import inputs_of, prepare
from lwisp.weights import InputConvention
from tests.conftest import refusal
from tests.samples import DN, Picture, assert_counted, colorful, cut_short, planes_of, same, save, sense

KEEP = InputConvention("keep", "none", "camera", "none")
LITEISPNET = InputConvention("subtract", "none", "camera", "none", levels="liteispnet")
PYNET = InputConvention("keep", "none", "camera", "none", levels="pynet")


@pytest.fixture
def zurich(tmp_path: Path) -> Path:
    """Two pairs to train on and one to test."""
    for split, count in (("train", 2), ("test", 1)):
        for index in range(count):
            picture = colorful(448, 448, index)
            save(tmp_path / split / "huawei_raw" / f"{index}.png", sense(picture))
            save(tmp_path / split / "canon" / f"{index}.jpg", picture)
    return tmp_path


def open_zurich(root: Path) -> Zurich:
    return Zurich(root, "train")


def test_zurich_is_read_at_its_levels(zurich: Path) -> None:
    path = zurich / "train" / "huawei_raw" / "1.png"
    mosaic = np.array(Image.open(path))
    mosaic[10, 20:25] = 63, 1023, 543, 0, 303
    save(path, mosaic)
    pairs = Zurich(zurich, "train")
    assert pairs.takes == "raw"
    assert pairs.names == pairs.groups == ("0", "1")
    values, target = pairs.read(1)
    assert values[0, 10, 20:25].tolist() == pytest.approx([0, 1, 0.5, -63 / 960, 0.25])
    assert same(values, (mosaic[None].astype(np.float64) - 63) / 960)
    assert same(target, planes_of(np.array(Image.open(zurich / "train" / "canon" / "1.jpg"))))
    kept = Zurich(zurich, "train", KEEP).read(1)[0]
    assert same(kept, mosaic[None] / 1023)


def test_the_planes_of_zurich_are_red_green_green_blue(zurich: Path) -> None:
    train, test = Zurich(zurich, "train", KEEP), Zurich(zurich, "test", KEEP)
    batch, _ = Crops(train, test, crop=448, batch=2, augment=False)[0]
    mosaics = [np.array(Image.open(zurich / "train" / "huawei_raw" / f"{index}.png")) / 1023 for index in range(2)]
    choices = [np.stack([m[0::2, 0::2], m[0::2, 1::2], m[1::2, 0::2], m[1::2, 1::2]]) for m in mosaics]
    assert all(any(same(planes, choice) for choice in choices) for planes in batch)


def test_zurich_says_when_the_count_is_not_the_published_one(zurich: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_counted(Zurich(zurich, "train").notes, zurich, "train", "2 pairs", "46,839")
    assert_counted(Zurich(zurich, "test").notes, zurich, "test", "1 pair", "1,204")
    monkeypatch.setitem(Zurich.COUNTS, "train", 2)
    assert Zurich(zurich, "train").notes == ()


def test_a_missing_partner_is_named(zurich: Path) -> None:
    (zurich / "train" / "canon" / "1.jpg").unlink()
    lonely = zurich / "train" / "huawei_raw" / "1.png"
    assert "no partner" in refusal(lonely, open_zurich, zurich)
    lonely.rename(lonely.with_name("7.png"))
    shutil.copy(zurich / "train" / "canon" / "0.jpg", zurich / "train" / "canon" / "3.jpg")
    (zurich / "train" / "huawei_raw" / "7.png").unlink()
    assert "no partner" in refusal(zurich / "train" / "canon" / "3.jpg", open_zurich, zurich)


@pytest.mark.parametrize("file", ["huawei_raw/1.png", "canon/1.jpg"])
def test_a_truncated_png_or_jpeg_is_named(file: str, zurich: Path) -> None:
    path = zurich / "train" / file
    cut_short(path, 0.7)
    assert "cut short" in refusal(path, open_zurich, zurich)


def test_a_mosaic_of_eight_bits_is_refused(zurich: Path) -> None:
    path = save(zurich / "train" / "huawei_raw" / "0.png", colorful(448, 448)[..., 0])
    assert "expected a grayscale mosaic of 16 bits, got mode L" in refusal(path, open_zurich, zurich)


def test_files_of_another_size_are_refused(zurich: Path) -> None:
    path = save(zurich / "train" / "canon" / "1.jpg", colorful(448, 446))
    assert "expected 448x448 (height x width), got 448x446" in refusal(path, open_zurich, zurich)
    path = save(zurich / "train" / "huawei_raw" / "0.png", sense(colorful(224, 448)))
    assert "got 224x448" in refusal(path, open_zurich, zurich)


def test_values_above_ten_bits_are_refused(zurich: Path) -> None:
    path = zurich / "train" / "huawei_raw" / "1.png"
    mosaic = np.array(Image.open(path))
    mosaic[3, 5] = 1024
    save(path, mosaic)
    assert "values up to 1024, expected 1023" in refusal(path, open_zurich, zurich)


@pytest.mark.parametrize("cfa", ["BGGR", "GRBG", "GBRG"])
def test_a_mosaic_of_another_pattern_is_refused(cfa: str, zurich: Path) -> None:
    folder = zurich / "train" / "huawei_raw"
    for path in folder.iterdir():
        with Image.open(zurich / "train" / "canon" / f"{path.stem}.jpg") as target:
            save(path, sense(np.array(target), cfa))
    assert f"fit the target as {cfa}, not as RGGB" in refusal(folder, open_zurich, zurich)


def test_empty_and_missing_folders_are_named(zurich: Path) -> None:
    folder = zurich / "train" / "canon"
    shutil.rmtree(folder)
    assert "expected a folder" in refusal(folder, open_zurich, zurich)
    folder.mkdir()
    assert "no files" in refusal(folder, open_zurich, zurich)
    nowhere = zurich / "nowhere"
    assert "expected a folder" in refusal(nowhere / "train" / "huawei_raw", open_zurich, nowhere)


@pytest.mark.parametrize(
    "convention",
    [
        InputConvention(),
        InputConvention("keep", "as-shot", "camera", "none"),
        InputConvention("keep", "none", "canonical", "none"),
        InputConvention("keep", "none", "camera", "auto"),
    ],
)
def test_one_camera_has_no_gains_matrix_and_exposure(convention: InputConvention, zurich: Path) -> None:
    for dataset in (Zurich, MAI21):
        with pytest.raises(lwisp.InputError, match='its convention must say white_balance = "none"'):
            dataset(zurich, "train", convention)


def test_full_frames_are_listed_and_checked(tmp_path: Path) -> None:
    folder = tmp_path / "full_resolution" / "huawei_raw"
    frames = [save(folder / f"{name}.png", sense(colorful(16, 24))) for name in (72, 1096, 1167)]
    assert Zurich.full_frames(tmp_path) == frames
    cut_short(frames[1], 0.5)
    assert "cut short" in refusal(frames[1], Zurich.full_frames, tmp_path)
    save(frames[0], colorful(16, 24))
    assert "16 bits" in refusal(frames[0], Zurich.full_frames, tmp_path)
    nowhere = tmp_path / "nowhere"
    assert "expected a folder" in refusal(nowhere / "full_resolution" / "huawei_raw", Zurich.full_frames, nowhere)


# MAI21


def write_mai21(root: Path, black: int, white: int) -> tuple[DN, Picture]:
    """One pair for each split; the mosaic reaches from black to white."""
    picture = colorful(256, 256)
    mosaic = np.round(black + (sense(picture, top=1023) - 63.0) / 960 * (white - black)).astype(np.uint16)
    mosaic[0, :3] = black, white, (black + white) // 2
    for split in ("train", "val"):
        save(root / split / "mediatek_raw" / "0.png", mosaic)
        save(root / split / "fujifilm" / "0.png", picture)
    return mosaic, picture


@pytest.mark.parametrize(("black", "white"), [(63, 1023), (255, 4095), (0, 1023), (0, 4095)])
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_levels_of_mai21_are_told_from_its_values(
    black: int, white: int, split: Literal["train", "test"], tmp_path: Path
) -> None:
    mosaic, picture = write_mai21(tmp_path, black, white)
    values, target = MAI21(tmp_path, split).read(0)
    assert values[0, 0, :3].tolist() == pytest.approx([0, 1, 0.5], abs=1e-3)
    assert same(values, (mosaic[None].astype(np.float64) - black) / (white - black))
    assert same(target, planes_of(picture))
    assert same(MAI21(tmp_path, split, KEEP).read(0)[0], mosaic[None] / white)


def test_mai21_beyond_twelve_bits_is_refused(tmp_path: Path) -> None:
    mosaic, _ = write_mai21(tmp_path, 255, 4095)
    mosaic[100, 100] = 4096
    path = save(tmp_path / "train" / "mediatek_raw" / "0.png", mosaic)
    assert "values up to 4096, expected 4095" in refusal(path, MAI21, tmp_path, "train")


def test_mai21_says_when_the_count_is_not_the_published_one(tmp_path: Path) -> None:
    write_mai21(tmp_path, 63, 1023)
    assert_counted(MAI21(tmp_path, "train").notes, tmp_path, "train", "1 pair", "24,161")
    assert MAI21(tmp_path, "test").notes == ()


def test_pairs_of_one_photograph_are_one_scene_where_a_table_says_so(zurich: Path) -> None:
    table = zurich / "train" / "scenes.csv"
    table.write_text("name,scene\n0,bridge\n1,bridge\n")
    assert open_zurich(zurich).groups == ("bridge", "bridge")
    cases = list(Crops(Zurich(zurich, "test"), open_zurich(zurich), 32, 1).cases())
    assert [(case.name, case.scene) for case in cases] == [("0", "bridge"), ("1", "bridge")]
    for text, said in (
        ("name,scene\n0,bridge\n", "names no scene of 1"),
        ("name,scene\n0,bridge\n1,\n", "names no scene of 1"),
        ("picture,photo\n0,bridge\n", "the columns name and scene"),
        (b"\xff\xfe\x00".decode("latin-1"), "the columns name and scene"),
    ):
        table.write_bytes(text.encode("latin-1"))
        assert said in refusal(table, open_zurich, zurich)


def test_the_public_loaders_of_zurich_are_followed_by_name(zurich: Path) -> None:
    path = zurich / "train" / "huawei_raw" / "1.png"
    mosaic = np.array(Image.open(path))
    mosaic[10, 20:24] = 0, 63, 1020, 1023
    save(path, mosaic)
    lite = Zurich(zurich, "train", LITEISPNET).read(1)[0]
    assert same(lite, np.maximum(mosaic[None].astype(np.float32) - 63, 0) / (4 * 255 - 63))
    assert lite[0, 10, 20:24].tolist() == pytest.approx([0, 0, 1, 960 / 957])
    assert same(Zurich(zurich, "train", PYNET).read(1)[0], mosaic[None] / (4 * 255))


@pytest.mark.parametrize("convention", [LITEISPNET, PYNET], ids=["liteispnet", "pynet"])
def test_a_frame_is_developed_at_the_levels_that_its_network_was_trained_at(
    convention: InputConvention, zurich: Path
) -> None:
    path = zurich / "train" / "huawei_raw" / "0.png"
    mosaic = np.array(Image.open(path))
    mosaic[::7, ::5] = 20
    save(path, mosaic)
    raw = lwisp.read_mosaic(path, "RGGB", 63, 1023, (1.0, 1.0, 1.0))
    planes, _ = prepare(raw, convention)
    assert np.allclose(planes, pack(Zurich(zurich, "train", convention).read(0)[0][0]).numpy(), atol=1e-6)
    facts = inputs_of(raw, convention)
    assert facts["white_level"] == pytest.approx([1020] * 4)
    assert facts["mosaic"].min() == (63 if convention is LITEISPNET else 20)
    assert raw.mosaic.min() == 20


@pytest.mark.parametrize(("levels", "black"), [("liteispnet", "keep"), ("pynet", "subtract")])
def test_levels_of_a_loader_need_its_other_steps(levels: Literal["liteispnet"], black: Literal["keep"]) -> None:
    with pytest.raises(ValueError, match="expected black_level"):
        InputConvention(black, "none", "camera", "none", levels=levels)
    with pytest.raises(ValueError, match='white_balance = "none"'):
        InputConvention(levels=levels)


def test_the_levels_of_zurichs_loaders_are_none_of_mai21(tmp_path: Path) -> None:
    for folder in ("mediatek_raw", "fujifilm"):
        picture = colorful(256, 256)
        save(tmp_path / "train" / folder / "0.png", sense(picture) if "raw" in folder else picture)
    with pytest.raises(lwisp.InputError, match='expected levels = "sensor" for MAI21'):
        MAI21(tmp_path, "train", PYNET)


def test_aligned_truth_lies_on_the_raw_and_is_moved_once(zurich: Path, tmp_path: Path) -> None:
    canon = zurich / "train" / "canon" / "0.jpg"
    with Image.open(canon) as picture:
        shown = np.array(picture)
    smooth = np.array(Image.fromarray(shown).filter(ImageFilter.GaussianBlur(2)))
    save(zurich / "train" / "huawei_raw" / "0.png", sense(smooth))
    save(canon, np.roll(smooth, (2, 3), (0, 1)))
    cache = tmp_path / "cache"
    cache.mkdir()
    plain = Zurich(zurich, "train")
    aligned = AlignedZurich(plain, cache)
    assert "take" in aligned.notes[-1]
    values, target = aligned.read(0)
    inside = (slice(None), slice(20, -20), slice(20, -20))
    truth = torch.from_numpy(smooth).permute(2, 0, 1) / 255
    assert aligned.stored(0)[1].dtype == torch.uint8
    assert torch.equal(values, plain.read(0)[0])
    off, on = (metrics.psnr(rgb[inside], truth[inside]) for rgb in (plain.read(0)[1], target))
    assert on > off + 3
    kept = next(cache.iterdir())
    made = kept.stat().st_mtime_ns
    assert torch.equal(aligned.read(0)[1], target)
    assert (next(cache.iterdir()), kept.stat().st_mtime_ns) == (kept, made)
    batch, targets = Crops(aligned, aligned, crop=64, batch=1)[0]
    assert (batch.shape, targets.dtype) == ((1, 4, 32, 32), torch.float32)
