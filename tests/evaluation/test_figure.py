"""The grid of pictures by several networks: what stands in it, and its figures."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lwisp
from lwisp.data import synthetic
from lwisp.data.datasets import AS_SENSED
from lwisp.data.zurich import Zurich
from lwisp.evaluation.figure import draw_figure, raw_as_seen
from lwisp.imaging import color
from lwisp.imaging.metrics import psnr
from lwisp.imaging.mosaic import pack
from lwisp.imaging.tensors import to_tensor
from lwisp.model import LWISP
from lwisp.weights import Weights
from tests.conftest import TOY, WriteDng


@pytest.fixture
def other(toy: Weights) -> Weights:
    """Another network of one camera, by PyNET's levels."""
    levels = replace(AS_SENSED, black_level="keep", levels="pynet")
    return replace(toy, source=LWISP(TOY).eval(), card=replace(toy.card, convention=levels))


@pytest.fixture
def zurich(tmp_path: Path) -> Path:
    made = synthetic.pictures(2, 0, 448, 448)
    synthetic.write_zurich(tmp_path / "zurich", {"train": made[:1], "test": made})
    frames = tmp_path / "zurich" / "full_resolution" / "huawei_raw"
    frames.mkdir(parents=True)
    mosaic = np.array(Image.open(tmp_path / "zurich" / "test" / "huawei_raw" / "0.png"))
    Image.fromarray(mosaic[:128, :192]).save(frames / "9.png")
    return tmp_path / "zurich"


@pytest.mark.slow
def test_the_grid_of_zurich_has_raw_networks_camera_and_ours(
    toy: Weights, other: Weights, zurich: Path, tmp_path: Path
) -> None:
    ours = replace(toy, card=replace(toy.card, convention=AS_SENSED))
    scores = draw_figure(ours, {"nets/pynet.safetensors": other}, [zurich], tmp_path / "out", precision="fp32")
    assert [(row.picture, row.column) for row in scores] == [
        (picture, column)
        for picture in ("test/0", "test/1", "full_resolution/9, no truth")
        for column in ("pynet", "ours: toy")
    ]
    for weights, column in ((ours, "ours: toy"), (other, "pynet")):  # each at the levels of its own card
        mosaic, truth = Zurich(zurich, "test", weights.card.convention).read(1)
        with torch.inference_mode():
            rounded = (weights.network(pack(mosaic[0])[None])[0] * 255).round() / 255
        shown = [row.psnr for row in scores if row.column == column]
        assert shown[1] == pytest.approx(psnr(rounded, truth), abs=0.01)
        assert np.isnan(shown[2])
    with (tmp_path / "out" / "figure.csv").open() as table:
        assert [row["column"] for row in csv.DictReader(table)] == ["pynet", "ours: toy"] * 3
    with Image.open(tmp_path / "out" / "figure.png") as grid:
        rows = np.asarray(grid.convert("RGB"))
        camera = Image.open(zurich / "test" / "canon" / "0.jpg")
        camera.thumbnail((320, 320), Image.Resampling.LANCZOS)
    left = 6 + 2 * 326  # after the RAW and one network
    columns = rows[:, left : left + 320]
    assert any(np.array_equal(columns[top : top + 320], np.asarray(camera)) for top in range(100))


def test_raw_files_are_scored_by_their_truth_and_shown_without_one(
    toy: Weights, write_dng: WriteDng, tmp_path: Path
) -> None:
    truth = synthetic.pictures(1, 3, 200, 240)[0].permute(1, 2, 0).numpy()
    raw = write_dng(4 * truth[..., 1].astype(np.uint16))
    (tmp_path / "truth").mkdir()
    Image.fromarray(truth).save(tmp_path / "truth" / f"{raw.stem}.png")
    (row, ours) = draw_figure(toy, {"a": toy}, [raw], tmp_path / "out", tmp_path / "truth", "fp32")
    developed = lwisp.develop(toy, lwisp.read_raw(raw), precision="fp32")
    rounded = (developed * 255).round().astype(np.uint8)
    assert row.psnr == ours.psnr == pytest.approx(psnr(to_tensor(rounded), to_tensor(truth)), abs=0.01)
    plain = draw_figure(toy, {}, [raw], tmp_path / "out", precision="fp32", overwrite=True)
    assert np.isnan(plain[0].psnr)
    with pytest.raises(lwisp.InputError, match="exists already"):
        draw_figure(toy, {}, [raw], tmp_path / "out", precision="fp32")
    Image.fromarray(truth[:100]).save(tmp_path / "truth" / f"{raw.stem}.png")
    with pytest.raises(lwisp.InputError, match=r"a truth of 100x240 px, expected .* 200x240"):
        draw_figure(toy, {}, [raw], tmp_path / "new", tmp_path / "truth", "fp32")


def test_networks_that_develop_no_raw_and_a_second_truth_are_refused(
    toy: Weights, other: Weights, zurich: Path, tmp_path: Path
) -> None:
    with pytest.raises(lwisp.InputError, match="expected a network from RAW"):
        draw_figure(toy, {"denoise": lwisp.load("denoise")}, [zurich], tmp_path / "out")
    with pytest.raises(lwisp.InputError, match="expected no --truth"):
        draw_figure(other, {}, [zurich], tmp_path / "out", tmp_path)
    with pytest.raises(lwisp.InputError, match="this dataset has no gains and no matrix"):
        draw_figure(other, {"toy": toy}, [zurich], tmp_path / "out")


def test_the_raw_is_shown_as_its_sensor_saw_it(write_dng: WriteDng) -> None:
    mosaic = np.zeros((64, 80), np.uint16)
    mosaic[0::2, 0::2], mosaic[0::2, 1::2], mosaic[1::2, 0::2], mosaic[1::2, 1::2] = 400, 300, 500, 200
    raw = replace(lwisp.read_raw(write_dng(mosaic)), mosaic=mosaic, cfa="RGGB", black_level=(100.0,) * 4)
    raw = replace(raw, white_level=(1100.0,) * 4)
    shown = raw_as_seen(raw)
    light = torch.tensor([0.3, 0.3, 0.1])[:, None]
    assert shown.shape == (64, 80, 3)
    assert shown.reshape(-1, 3).max(0).tolist() == (color.srgb_encode(light) * 255).round()[:, 0].tolist()
