"""The files datasets consist of, against Pillow, numpy, h5py and scipy."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import lwisp
from lwisp.data import folders
from lwisp.data.datasets import LoL
from lwisp.data.zurich import Zurich
from lwisp.imaging.bayer import CFAS
from tests.conftest import refusal


def write(path: Path, shape: tuple[int, ...] = (8, 10, 3), depth: type = np.uint8) -> Path:
    top = 255 if depth is np.uint8 else 1023
    Image.fromarray(np.random.default_rng(0).integers(0, top, shape).astype(depth)).save(path)
    return path


def test_files_come_in_the_order_people_count_in(tmp_path: Path) -> None:
    for name in ("10.png", "9.PNG", "b.png", "100.png", "1.txt"):
        (tmp_path / name).touch()
    found = folders.list_files(tmp_path, [".png"])
    assert list(found) == ["9", "b", "10", "100"]
    assert found["9"] == tmp_path / "9.PNG"


def test_a_folder_that_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    assert "no files (.png, .jpg)" in refusal(tmp_path, folders.list_files, tmp_path, [".png", ".jpg"])
    nowhere = tmp_path / "nowhere"
    assert "expected a folder" in refusal(nowhere, folders.list_files, nowhere, [".png"])
    file = write(tmp_path / "a.png")
    assert "expected a folder" in refusal(file, folders.list_files, file, [".png"])


def test_two_files_of_one_name_are_named(tmp_path: Path) -> None:
    for name in ("1.jpg", "1.png", "2.png"):
        (tmp_path / name).touch()
    message = refusal(tmp_path / "1.png", folders.list_files, tmp_path, [".png", ".jpg"])
    assert "1.jpg lies beside it" in message


def test_files_are_paired_by_name_and_lonely_ones_are_named() -> None:
    inputs = {name: Path("in") / f"{name}.png" for name in "abc"}
    targets = {name: Path("out") / f"{name}.jpg" for name in "cab"}
    pairs = folders.match(inputs, targets)
    assert list(pairs) == ["a", "b", "c"]
    assert pairs["c"] == (Path("in/c.png"), Path("out/c.jpg"))
    without = {name: path for name, path in targets.items() if name != "b"}
    assert "no partner of this name in out" in refusal(Path("in/b.png"), folders.match, inputs, without)
    fewer = {"a": inputs["a"], "b": inputs["b"]}
    assert "no partner of this name in in;" in refusal(Path("out/c.jpg"), folders.match, fewer, targets)


def test_whole_files_of_the_right_kind_pass(tmp_path: Path) -> None:
    colors = [write(tmp_path / name) for name in ("a.png", "a.jpg")]
    folders.check_files(colors, "rgb", (8, 10))
    folders.check_files([write(tmp_path / "m.png", (8, 10), np.uint16)], "mosaic", (8, 10))
    padded = tmp_path / "padded.jpg"
    padded.write_bytes(colors[1].read_bytes() + bytes(20))
    folders.check_files([padded], "rgb")


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("share", [0.5, 0.999])
def test_a_file_cut_short_is_named_among_whole_ones(name: str, share: float, tmp_path: Path) -> None:
    whole, short = write(tmp_path / f"whole-{name}", (64, 64, 3)), write(tmp_path / name, (64, 64, 3))
    content = short.read_bytes()
    short.write_bytes(content[: int(len(content) * share)])
    assert "cut short" in refusal(short, folders.check_files, [whole, short, whole], "rgb")


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    for content in (b"", b"no picture", b"\x89PNG\r\n\x1a\n"):
        path = tmp_path / "a.png"
        path.write_bytes(content)
        assert "cannot be read as a picture" in refusal(path, folders.check_files, [path], "rgb")
    missing = tmp_path / "b.png"
    assert "cannot be read as a picture" in refusal(missing, folders.check_files, [missing], "rgb")
    (tmp_path / "c.png").mkdir()
    folder = tmp_path / "c.png"
    assert "cannot be read as a picture" in refusal(folder, folders.check_files, [folder], "rgb")


@pytest.mark.parametrize(
    ("shape", "depth", "kind", "reason"),
    [
        ((8, 10), np.uint8, "mosaic", "expected a grayscale mosaic of 16 bits, got mode L"),
        ((8, 10, 3), np.uint8, "mosaic", "got mode RGB"),
        ((8, 10), np.uint8, "rgb", "expected an RGB picture of 8 bits a channel, got mode L"),
        ((8, 10, 4), np.uint8, "rgb", "got mode RGBA"),
        ((10, 8, 3), np.uint8, "rgb", "expected 8x10 (height x width), got 10x8"),
    ],
)
def test_another_mode_or_size_is_said(
    shape: tuple[int, ...], depth: type, kind: folders.Kind, reason: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.png", shape, depth)
    assert reason in refusal(path, folders.check_files, [path], kind, (8, 10))


def test_a_sample_is_evenly_spread_and_holds_both_ends() -> None:
    names = [str(index) for index in range(101)]
    assert folders.sample(names, 5) == ["0", "25", "50", "75", "100"]
    assert folders.sample(names[:3], 5) == ["0", "1", "2"]
    assert folders.sample([], 5) == []


def colorful() -> NDArray[np.float64]:
    """(64, 80, 3): blocks of one random color, so that neighbors agree."""
    blocks = np.random.default_rng(1).uniform(0.05, 0.95, (8, 10, 3))
    return blocks.repeat(8, 0).repeat(8, 1)


def sensed(picture: NDArray[np.float64], cfa: str) -> Tensor:
    """The picture behind a sensor of this pattern, packed as if it were RGGB."""
    planes = []
    for place, letter in enumerate(cfa):
        row, column = divmod(place, 2)
        planes.append(picture[row::2, column::2, "RGB".index(letter)] ** 2 * 0.4 + 0.05)
    return torch.from_numpy(np.stack(planes)).float()


@pytest.mark.parametrize("cfa", CFAS)
def test_only_rggb_passes_for_rggb(cfa: str) -> None:
    picture, path = colorful(), Path("a.png")
    target = torch.from_numpy(picture.transpose(2, 0, 1)).float()
    if cfa == "RGGB":
        folders.check_cfa(path, [(sensed(picture, cfa), target)])
    else:
        assert f"as {cfa}, not" in refusal(path, folders.check_cfa, path, [(sensed(picture, cfa), target)])


@pytest.mark.parametrize("flat", [True, False])
def test_a_picture_without_colors_passes_whatever_the_pattern(flat: bool) -> None:
    gray = np.full_like(colorful(), 0.4) if flat else colorful()[..., :1].repeat(3, 2)
    target = torch.from_numpy(gray.transpose(2, 0, 1)).float()
    folders.check_cfa(Path("a.png"), [(sensed(gray, "BGGR"), target)])


def test_phone_and_camera_need_not_stand_in_one_place() -> None:
    picture = colorful().repeat(4, 0).repeat(4, 1)
    target = torch.from_numpy(np.roll(picture, (5, -7), (0, 1)).transpose(2, 0, 1)).float()
    folders.check_cfa(Path("a.png"), [(sensed(picture, "RGGB"), target)])


def test_a_picture_is_decoded_once_and_again_when_it_changes(tmp_path: Path) -> None:
    path, cache, decoded = tmp_path / "a.png", tmp_path / "cache", 0
    cache.mkdir()
    write(path)

    def read(source: Path) -> NDArray[np.uint8]:
        nonlocal decoded
        decoded += 1
        return np.array(Image.open(source))

    expected = np.array(Image.open(path))
    for _ in range(3):
        assert np.array_equal(folders.remember(path, read, cache), expected)
    assert decoded == 1
    Image.fromarray(255 - expected).save(path)
    os.utime(path, ns=(1, 1))
    assert np.array_equal(folders.remember(path, read, cache), 255 - expected)
    assert decoded == 2
    assert len(list(cache.iterdir())) == 2
    for _ in range(2):
        folders.remember(path, read, None)
    assert decoded == 4


def test_what_lies_damaged_in_a_cache_is_decoded_anew(tmp_path: Path) -> None:
    path, cache = write(tmp_path / "a.png"), tmp_path / "cache"
    cache.mkdir()

    def read(source: Path) -> NDArray[np.uint8]:
        return np.array(Image.open(source))

    expected = folders.remember(path, read, cache).copy()
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    for content in (b"", b"no array", whole[:40], whole[:-5]):
        kept.write_bytes(content)
        assert np.array_equal(folders.remember(path, read, cache), expected)
        assert kept.read_bytes() == whole
    path.unlink()
    assert "cannot be read: No such file" in refusal(path, folders.remember, path, read, cache)


def test_a_dataset_of_another_layout_is_told_what_is_there_instead(tmp_path: Path) -> None:
    """LoL v2 where v1 is expected, and a Zurich of another year."""
    for split in ("Train", "Test"):
        (tmp_path / "lol" / "Real_captured" / split / "Low").mkdir(parents=True)
    with pytest.raises(lwisp.InputError) as told:
        LoL(tmp_path / "lol", "our485")
    said = str(told.value)
    assert said.startswith(f"{tmp_path / 'lol' / 'our485' / 'low'}: expected a folder with .png: No such file")
    assert said.endswith(f"; {tmp_path / 'lol'} holds Real_captured")
    for name in "abcdefgh":
        (tmp_path / "zurich" / "train" / f"{name}_raw").mkdir(parents=True)
    with pytest.raises(lwisp.InputError, match=r"train holds a_raw, b_raw, c_raw, d_raw, e_raw, f_raw, \.\.\.$"):
        Zurich(tmp_path / "zurich", "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(lwisp.InputError, match=r"empty holds nothing$"):
        LoL(tmp_path / "empty", "eval15")
