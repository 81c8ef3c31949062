"""Results for servers: files of the datasets written here in their published layout, read back and compared by hand."""

import base64
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.io import loadmat

import lwisp
from lwisp.architecture import LWISPConfig
from lwisp.data.datasets import AS_SENSED
from lwisp.evaluation.submissions import DND, submit, write_sidd_table
from lwisp.imaging.mosaic import pack
from lwisp.model import LWISP
from lwisp.training.initialization import initialize
from lwisp.weights import Card, Weights
from tests.conftest import refusal
from tests.samples import cut_short, same, save_hdf5, write_dnd, write_dnd_info


@pytest.mark.parametrize("depth", [np.uint8, np.float32])
def test_a_submission_to_sidd_holds_the_bytes_of_every_block(depth: type, tmp_path: Path) -> None:
    blocks: NDArray[Any] = np.random.default_rng(0).integers(0, 256, (4, 3, 6, 8, 3)).astype(depth)
    path = tmp_path / "SubmitSrgb.csv"
    write_sidd_table(path, blocks)
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["ID", "BLOCK"]
    assert [int(row[0]) for row in rows[1:]] == list(range(12))
    for index, (_, text) in enumerate(rows[1:]):
        block: NDArray[Any] = np.frombuffer(base64.b64decode(text, validate=True), depth).reshape(6, 8, 3)
        assert np.array_equal(block, blocks[index // 3, index % 3])
    with pytest.raises(lwisp.InputError, match="exists already"):
        write_sidd_table(path, blocks)
    write_sidd_table(path, blocks, overwrite=True)


# DND


COUNT, SIDE = 3, 6
PATTERNS = ([[1, 2], [2, 3]], [[2, 1], [3, 2]], [[2, 3], [1, 2]])
"""As MATLAB shows them: RGGB, GRBG, GBRG. Its pattern(1, 2) lies at [1, 0] in the file: see `samples.turned`."""
RGGB = ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2))
"""Row, column and color."""
FLIPS: tuple[Callable[[NDArray[Any]], NDArray[Any]], ...] = (lambda crop: crop, np.fliplr, np.flipud)


@pytest.fixture
def dnd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three images, one for each pattern, with twenty boxes that differ from image to image."""
    monkeypatch.setattr(DND, "COUNT", COUNT)
    rng = np.random.default_rng(0)
    for index in range(COUNT):
        raw, srgb = rng.random((20, 31), np.float32), rng.random((20, 31, 3), np.float32)
        save_hdf5(tmp_path / "images_raw" / f"{index + 1:04d}.mat", "Inoisy", raw)
        save_hdf5(tmp_path / "images_srgb" / f"{index + 1:04d}.mat", "InoisySRGB", srgb)
    boxes = []
    for _ in range(COUNT):
        corners = np.stack([rng.integers(0, 7, 20) * 2 + 1, rng.integers(0, 12, 20) * 2 + 1], 1).astype(np.float64)
        boxes.append(np.concatenate([corners, corners + SIDE - 1], 1))
    write_dnd_info(tmp_path, PATTERNS, boxes)
    return tmp_path


def public_crops(root: Path, image: int, folder: str, key: str) -> list[NDArray[np.float32]]:
    """What the loader that comes with DND cuts out."""
    with h5py.File(root / "info.mat") as file, h5py.File(root / folder / f"{image + 1:04d}.mat") as source:
        noisy = np.array(source[key]).T.astype(np.float32)
        boxes = np.array(file[file["info"]["boundingboxes"][0][image]]).T
    crops = []
    for k in range(20):
        rows = slice(int(boxes[k, 0] - 1), int(boxes[k, 2]))
        columns = slice(int(boxes[k, 1] - 1), int(boxes[k, 3]))
        crops.append(noisy[rows, columns].copy())
    return crops


@pytest.mark.parametrize("image", range(COUNT))
def test_dnd_is_cut_as_its_own_loader_does_and_flipped_to_begin_with_red(image: int, dnd: Path) -> None:
    raw, srgb = DND(dnd, "raw").crops(image), DND(dnd, "rgb").crops(image)
    assert len(raw) == len(srgb) == 20
    for found, expected in zip(raw, public_crops(dnd, image, "images_raw", "Inoisy"), strict=True):
        assert expected.shape == (SIDE, SIDE)
        assert same(found, FLIPS[image](expected)[None])
    for found, expected in zip(srgb, public_crops(dnd, image, "images_srgb", "InoisySRGB"), strict=True):
        assert same(found, expected.transpose(2, 0, 1))


def test_red_comes_out_of_dnd_as_red_whatever_the_pattern_and_the_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scene of red, green and blue patches, seen by every pattern; boxes begin at even and at odd places."""
    monkeypatch.setattr(DND, "COUNT", COUNT)
    patches = np.random.default_rng(0).permutation(np.eye(3, dtype=np.float32).repeat(20, 0)).reshape(6, 10, 3)
    scene = patches.repeat(6, 0).repeat(6, 1)  # 36x60, each patch one pure color
    boxes = [[1 + k % 5 * 3, 1 + k * 2 + k % 3, 1 + k % 5 * 3 + 11, 1 + k * 2 + k % 3 + 13] for k in range(20)]
    rows, columns = np.indices(scene.shape[:2])
    for index, pattern in enumerate(PATTERNS):
        colors = np.array(pattern)[rows % 2, columns % 2] - 1  # 1 is red, 2 green, 3 blue
        mosaic = np.take_along_axis(scene, colors[..., None], 2)[..., 0]
        save_hdf5(tmp_path / "images_raw" / f"{index + 1:04d}.mat", "Inoisy", mosaic)
    write_dnd_info(tmp_path, PATTERNS, [boxes] * COUNT)
    dataset = DND(tmp_path, "raw")
    for image in range(COUNT):
        crops = dataset.crops(image)
        for crop, (top, left, bottom, right) in zip(crops, boxes, strict=True):
            shown = scene[top - 1 : bottom, left - 1 : right]
            planes = [
                np.stack([turn[row::2, column::2, color] for row, column, color in RGGB])
                for turn in (shown, shown[::-1], shown[:, ::-1], shown[::-1, ::-1])
            ]
            assert any(np.array_equal(pack(crop[0]).numpy(), expected) for expected in planes), (image, top, left)
            exchanged = [expected[[3, 1, 2, 0]] for expected in planes]
            assert not any(np.array_equal(pack(crop[0]).numpy(), wrong) for wrong in exchanged)
        dataset.write_results(tmp_path, image, crops)
        found = loadmat(tmp_path / f"{image + 1:04d}.mat")["Idenoised"]
        for index, noisy in enumerate(public_crops(tmp_path, image, "images_raw", "Inoisy")):
            assert np.array_equal(found[0, index], noisy)  # as the file has it, pattern and box


@pytest.mark.parametrize("image", range(COUNT))
def test_results_for_dnd_lie_as_the_noisy_crops_do(image: int, dnd: Path) -> None:
    for takes, folder, key in (("raw", "images_raw", "Inoisy"), ("rgb", "images_srgb", "InoisySRGB")):
        dataset = DND(dnd, "raw" if takes == "raw" else "rgb")
        output = dnd / takes
        output.mkdir()
        halves = [crop / 2 for crop in dataset.crops(image)]
        halves[3] = halves[3] * 4 - 1  # beyond black and white
        dataset.write_results(output, image, halves)
        content = loadmat(output / f"{image + 1:04d}.mat")
        assert bool(content["israw"].item()) == (takes == "raw")
        assert content["eval_version"].item() == "1.0"
        assert content["Idenoised"].shape == (1, 20)
        for index, noisy in enumerate(public_crops(dnd, image, folder, key)):
            found = content["Idenoised"][0, index]
            expected = noisy / 2 if index != 3 else np.clip(noisy * 2 - 1, 0, 1)
            assert found.dtype == np.float32
            assert found.shape == expected.shape
            assert np.allclose(found, expected, atol=1e-6)


def test_a_missing_image_of_dnd_is_named(dnd: Path) -> None:
    missing = dnd / "images_srgb" / "0002.mat"
    missing.unlink()
    assert "missing, as 1 of 3 images are" in refusal(missing, DND, dnd)
    assert DND(dnd, "raw").crops(1)


def test_a_damaged_image_of_dnd_is_named(dnd: Path) -> None:
    path = dnd / "images_raw" / "0001.mat"
    cut_short(path, 0.5)
    assert "cannot be read" in refusal(path, DND(dnd, "raw").crops, 0)
    save_hdf5(path, "Iclean", np.zeros((20, 31)))
    assert "expected an array named Inoisy" in refusal(path, DND(dnd, "raw").crops, 0)


def test_a_damaged_info_of_dnd_is_named(dnd: Path) -> None:
    path = dnd / "info.mat"
    content = path.read_bytes()
    for damaged in (b"", b"no MATLAB file", content[: len(content) // 2]):
        path.write_bytes(damaged)
        assert "cannot be read as DND's info" in refusal(path, DND, dnd)
    for name in ("info", "info/camera", "info/boundingboxes", "#refs#/camera1/pattern"):
        path.write_bytes(content)
        with h5py.File(path, "a") as file:
            del file[name]
        assert "cannot be read as DND's info" in refusal(path, DND, dnd)
    path.write_bytes(content)
    with h5py.File(path, "a") as file:
        file["info/boundingboxes"][0, 2] = h5py.Reference()
    assert "cannot be read as DND's info" in refusal(path, DND, dnd)
    path.write_bytes(content)
    with h5py.File(path, "a") as file:
        file["#refs#/camera1/pattern"][...] = [[3, 2], [2, 1]]
    assert "image 2 has the unknown Bayer pattern (3, 2, 2, 1)" in refusal(path, DND, dnd)
    path.write_bytes(content)
    with h5py.File(path, "a") as file:
        file["#refs#/box1"][3, 0] += 1
    assert "expected boxes of even sides for image 2" in refusal(path, DND, dnd)
    for corner in (np.nan, 0, 30):  # top of the second box: nowhere, before the first row, below its bottom
        path.write_bytes(content)
        with h5py.File(path, "a") as file:
            file["#refs#/box0"][0, 1] = corner
        assert "expected 20 boxes for image 1" in refusal(path, DND, dnd)
    path.write_bytes(content)
    with h5py.File(path, "a") as file:
        file["#refs#/box2"][2, 1] = 40
    assert "smaller than its boxes" in refusal(dnd / "images_srgb" / "0003.mat", DND(dnd).crops, 2)
    path.unlink()
    assert "No such file" in refusal(path, DND, dnd)


def test_a_synthetic_dnd_opens_as_dnd(tmp_path: Path) -> None:
    write_dnd(tmp_path, side=8)
    for takes, channels in (("raw", 1), ("rgb", 3)):
        dataset = DND(tmp_path, "raw" if takes == "raw" else "rgb")
        crops = dataset.crops(49)
        assert [tuple(crop.shape) for crop in crops] == [(channels, 8, 8)] * 20
    with h5py.File(tmp_path / "images_srgb" / "0050.mat") as file:
        first = np.array(file["InoisySRGB"]).T[:8, :8]
    assert np.array_equal(crops[0].numpy(), first.transpose(2, 0, 1))
    with h5py.File(tmp_path / "info.mat") as file:  # MATLAB's GRBG lies there with its axes turned round
        assert file[file["info/camera"][0, 1]]["pattern"][()].tolist() == [[2, 3], [1, 2]]
    raw, shown = DND(tmp_path, "raw").crops(1)[0][0], DND(tmp_path).crops(1)[0].flip(-1)
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        assert torch.equal(raw[row::2, column::2], shown[channel, row::2, column::2])


def test_raw_of_dnd_is_denoised_by_planes_and_lies_as_it_came(dnd: Path) -> None:
    config = LWISPConfig(4, 4, upsample=False, out_channels=4, residual=True)  # begins as the identity
    network = LWISP(config).eval()
    initialize(network)
    card = Card("raw", config, AS_SENSED, "MIT")
    submit(Weights(network, card), dnd, "dnd-raw", dnd / "out")
    for image in range(COUNT):
        content = loadmat(dnd / "out" / f"{image + 1:04d}.mat")
        assert bool(content["israw"].item())
        for index, noisy in enumerate(public_crops(dnd, image, "images_raw", "Inoisy")):
            assert np.allclose(content["Idenoised"][0, index], noisy, atol=1e-6)
    with pytest.raises(lwisp.InputError, match="RGB"):
        submit(Weights(network, card), dnd, "dnd", dnd / "srgb")
    with pytest.raises(lwisp.InputError, match="expected one of sidd/benchmark, dnd, dnd-raw"):
        submit(Weights(network, card), dnd, "dnd-mosaic", dnd / "other")
