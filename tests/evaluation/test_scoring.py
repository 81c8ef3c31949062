import base64
import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops, ImageFilter
from scipy.io import loadmat, savemat
from scipy.stats import bootstrap

import lwisp
from lwisp.architecture import LWISPConfig
from lwisp.data import synthetic
from lwisp.data.datasets import AS_SENSED, SIDD
from lwisp.evaluation import scoring, submissions
from lwisp.evaluation.submissions import DND
from lwisp.imaging import metrics
from lwisp.imaging.pixels import to_integer
from lwisp.model import LWISP
from lwisp.restoration import denoise
from lwisp.weights import Card, InputConvention, Weights
from tests.samples import write_dnd


@pytest.fixture
def zurich(tmp_path: Path) -> Path:
    made = synthetic.pictures(2, 0, 448, 448)
    synthetic.write_zurich(tmp_path / "zurich", {"train": made[:1], "test": made})
    return tmp_path / "zurich"


@pytest.fixture
def sensed(toy: Weights) -> Weights:
    return replace(toy, card=replace(toy.card, convention=AS_SENSED))


@pytest.fixture
def denoiser() -> Weights:
    torch.manual_seed(0)
    config = LWISPConfig(width=4, in_channels=3, upsample=False)
    return Weights(LWISP(config).eval(), Card("denoiser", config, InputConvention(), "MIT"))


def test_weights_are_scored_beside_the_classical_chain(toy: Weights, photos: Path, tmp_path: Path) -> None:
    report = scoring.evaluate(toy, [photos], precision="fp32", sheet=tmp_path / "sheet.png")
    assert len(report.rows) == 3 * 2 * 2
    assert report.mean("clean", "menon", "psnr") > 20
    assert report.mean("clean", "menon", "psnr") > report.mean("noisy", "menon", "psnr")
    assert report.mean("clean", "menon", "psnr") > report.mean("clean", "network", "psnr")  # it has not been trained
    assert all(row.psnr_fitted >= row.psnr - 0.01 for row in report.rows)  # clipping costs the fit a little
    assert report.mean("clean", "menon", "lpips") < report.mean("noisy", "menon", "lpips")
    assert report.mean("clean", "menon", "ms_ssim") > report.mean("noisy", "menon", "ms_ssim")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 3 * 192
    assert scoring.evaluate(toy, [photos], precision="fp32").rows == report.rows


def test_a_report_says_what_it_was_made_with(toy_file: Path, photos: Path, tmp_path: Path) -> None:
    weights = lwisp.load(toy_file)
    report = scoring.evaluate(weights, [photos], precision="fp32")
    scoring.write_report(tmp_path / "report", report)
    with (tmp_path / "report" / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    page = (tmp_path / "report" / "report.md").read_text()
    noisy = [float(row["psnr"]) for row in rows if (row["case"], row["chain"]) == ("noisy", "network")]
    assert content["means"]["noisy, network"]["psnr"] == pytest.approx(np.mean(noisy), abs=0.006)
    assert f"| noisy | network | {np.mean(noisy):.2f} [" in page
    assert weights.sha256[:16] in page
    assert (len(rows), len(content["rows"]), content["sha256"]) == (12, 12, weights.sha256)
    with pytest.raises(lwisp.InputError, match="exists already"):
        scoring.write_report(tmp_path / "report", report)


def test_the_interval_is_the_bootstrap_of_scipy(toy: Weights, photos: Path) -> None:
    report = scoring.evaluate(toy, [photos], precision="fp32")
    rng = np.random.default_rng(5)
    drawn = [replace(report.rows[0], psnr=float(value)) for value in rng.normal(30, 3, 40)]
    many = replace(report, rows=tuple(drawn))
    values = many.values("clean", "network", "psnr")
    expected = bootstrap((values,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(1))
    assert many.interval("clean", "network", "psnr") == pytest.approx(tuple(expected.confidence_interval), abs=0.06)


def test_equal_pictures_do_not_spoil_the_means(toy: Weights, photos: Path) -> None:
    report = scoring.evaluate(toy, [photos], precision="fp32")
    one = replace(report.rows[0], psnr=30.0)
    mixed = replace(report, rows=(one, replace(one, psnr=float("inf"))))
    assert mixed.mean("clean", "network", "psnr") == 30.0


def test_the_shipped_weights_beat_the_classical_chain_under_noise(photos: Path) -> None:
    report = scoring.evaluate(lwisp.load("photo"), [photos], precision="fp32")
    assert report.mean("noisy", "network", "psnr") > report.mean("noisy", "menon", "psnr") + 1


def test_zurich_is_scored_as_its_pictures_would_lie_on_disk(sensed: Weights, zurich: Path) -> None:
    report = scoring.evaluate(sensed, [zurich], "zurich/original", "fp32")
    assert [row.picture for row in report.rows] == ["0", "1"]
    mosaic = np.array(Image.open(zurich / "test" / "huawei_raw" / "0.png")).astype(np.float32)
    levels = (mosaic - 63) / (1023 - 63)
    packed = np.stack([levels[0::2, 0::2], levels[0::2, 1::2], levels[1::2, 0::2], levels[1::2, 1::2]])
    with torch.inference_mode():
        rgb = (sensed.network(torch.from_numpy(packed)[None])[0] * 255).round() / 255
    truth = torch.from_numpy(np.array(Image.open(zurich / "test" / "canon" / "0.jpg"))).permute(2, 0, 1) / 255
    assert report.rows[0].psnr == pytest.approx(metrics.psnr(rgb, truth), abs=1e-3)
    luma = scoring.evaluate(sensed, [zurich], "zurich/y", "fp32").rows[0].psnr
    weights = np.array([0.299, 0.587, 0.114])
    error = np.tensordot(weights, (rgb - truth).numpy(), 1)
    assert luma == pytest.approx(-10 * np.log10(np.mean(error**2)), abs=1e-3)


@pytest.mark.slow
def test_truth_is_aligned_to_the_raw_once_for_all_results(sensed: Weights, zurich: Path, tmp_path: Path) -> None:
    other = tmp_path / "shifted"
    other.mkdir()
    for name in ("0", "1"):  # phone and camera do not quite see the same, and the other tool keeps to the phone
        with Image.open(zurich / "test" / "canon" / f"{name}.jpg") as picture:
            truth = picture.filter(ImageFilter.GaussianBlur(3))
        truth.save(other / f"{name}.png")
        ImageChops.offset(truth, 2, 3).save(zurich / "test" / "canon" / f"{name}.jpg", quality=95)
    scores = {
        protocol: scoring.evaluate(sensed, [zurich], protocol, "fp32", against=other).mean("", "shifted", "psnr")
        for protocol in ("zurich/original", "zurich/aligned-raw")
    }
    assert scores["zurich/aligned-raw"] > scores["zurich/original"] + 2


@pytest.mark.slow
def test_another_tools_pictures_are_scored_beside(sensed: Weights, zurich: Path, tmp_path: Path) -> None:
    other = tmp_path / "tool"
    other.mkdir()
    for name in ("0", "1"):
        with Image.open(zurich / "test" / "canon" / f"{name}.jpg") as picture:
            picture.save(other / f"{name}.png")
    report = scoring.evaluate(sensed, [zurich], "zurich/original", "fp32", against=other)
    assert [row.psnr for row in report.rows if row.chain == "tool"] == [float("inf")] * 2
    Image.new("RGB", (440, 448)).save(other / "1.png")
    with pytest.raises(lwisp.InputError, match=r"1\.png: expected 448x448"):
        scoring.evaluate(sensed, [zurich], "zurich/original", "fp32", against=other)
    (other / "1.png").unlink()
    with pytest.raises(lwisp.InputError, match=r"no picture 1\.png"):
        scoring.evaluate(sensed, [zurich], "zurich/original", "fp32", against=other)


def test_protocols_from_rgb_to_rgb(denoiser: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = synthetic.pictures(3, 1, 170, 180)
    synthetic.write_lol(tmp_path / "lol", {"our485": made[:1], "eval15": made})
    report = scoring.evaluate(denoiser, [tmp_path / "lol"], "lol/eval15", "fp32")
    assert [row.picture for row in report.rows if row.chain == "network"] == ["1", "2", "3"]
    assert {row.chain for row in report.rows} == {"network", "network, scaled"}
    assert "not measured here: LW-ISP trained on LoL: 20.18 dB" in scoring.to_markdown(report)

    monkeypatch.setattr(SIDD, "BLOCKS", (1, 2, 256, 256))
    blocks = np.random.default_rng(0).integers(0, 256, (1, 2, 256, 256, 3), dtype=np.uint8)
    for kind in ("Noisy", "Gt"):
        savemat(tmp_path / f"Validation{kind}BlocksSrgb.mat", {f"Validation{kind}BlocksSrgb": blocks})
    report = scoring.evaluate(denoiser, [tmp_path], "sidd/validation")
    assert "fp32, 1 pass," in scoring.to_markdown(report)  # as in papers
    rows = report.rows
    assert rows[0].psnr != scoring.evaluate(denoiser, [tmp_path], "sidd/validation", "fp32", passes=4).rows[0].psnr
    assert [row.picture for row in rows] == ["00_00", "00_01"]

    for folder in ("input", "target"):
        (tmp_path / "pairs" / folder).mkdir(parents=True)
        for index, picture in enumerate(made):
            Image.fromarray(picture.permute(1, 2, 0).numpy()).save(tmp_path / "pairs" / folder / f"{index}.png")
    assert len(scoring.evaluate(denoiser, [tmp_path / "pairs"], "pairs", "fp32").rows) == 3


def test_results_for_sidds_server_are_the_denoised_blocks(
    denoiser: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SIDD, "BLOCKS", (1, 2, 40, 40))
    blocks = np.random.default_rng(0).integers(0, 256, (1, 2, 40, 40, 3), dtype=np.uint8)
    savemat(tmp_path / "BenchmarkNoisyBlocksSrgb.mat", {"BenchmarkNoisyBlocksSrgb": blocks})
    submissions.submit(denoiser, tmp_path, "sidd/benchmark", tmp_path / "out", "fp32")
    with (tmp_path / "out" / "SubmitSrgb.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["ID"] for row in rows] == ["0", "1"]
    found = np.frombuffer(base64.b64decode(rows[1]["BLOCK"]), np.uint8).reshape(40, 40, 3)
    assert np.array_equal(found, to_integer(denoise(blocks[0, 1], denoiser, "fp32", "torch", passes=1), 8))
    with pytest.raises(lwisp.InputError, match="exists already"):
        submissions.submit(denoiser, tmp_path, "sidd/benchmark", tmp_path / "out", "fp32")
    submissions.submit(denoiser, tmp_path, "sidd/benchmark", tmp_path / "out", "fp32", overwrite=True)
    (tmp_path / "out" / "SubmitSrgb.csv").write_text("a table of another kind")
    with pytest.raises(lwisp.InputError, match="was not written by lwisp"):
        submissions.submit(denoiser, tmp_path, "sidd/benchmark", tmp_path / "out", "fp32", overwrite=True)


def test_results_for_dnds_server_are_the_denoised_crops(
    denoiser: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DND, "COUNT", 2)
    write_dnd(tmp_path, count=2)
    submissions.submit(denoiser, tmp_path, "dnd", tmp_path / "out", "fp32", passes=1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0001.mat", "0002.mat"]
    with torch.inference_mode():
        expected = denoiser.network(DND(tmp_path).crops(1)[4][None])[0].permute(1, 2, 0).numpy()
    assert np.allclose(loadmat(tmp_path / "out" / "0002.mat")["Idenoised"][0, 4], expected, atol=1e-5)
    with pytest.raises(lwisp.InputError, match="exists already"):
        submissions.submit(denoiser, tmp_path, "dnd", tmp_path / "out", "fp32")
    assert submissions.is_result(tmp_path / "out" / "0001.mat")
    noisy = (tmp_path / "images_srgb" / "0001.mat").read_bytes()
    with pytest.raises(lwisp.InputError, match="was not written by lwisp"):  # the dataset itself
        submissions.submit(denoiser, tmp_path, "dnd", tmp_path / "images_srgb", "fp32", overwrite=True)
    assert (tmp_path / "images_srgb" / "0001.mat").read_bytes() == noisy


def test_what_does_not_fit_is_refused(toy: Weights, denoiser: Weights, photos: Path) -> None:
    with pytest.raises(lwisp.InputError, match="unknown protocol 'zurich'; expected one of photos/val"):
        scoring.evaluate(toy, [photos], "zurich")
    with pytest.raises(lwisp.InputError, match="expected a network from RAW to RGB"):
        scoring.evaluate(denoiser, [photos])
    with pytest.raises(lwisp.InputError, match="expected a network from RGB to RGB"):
        submissions.submit(toy, photos, "dnd", photos / "out")
    with pytest.raises(lwisp.InputError, match="expected one of sidd/benchmark, dnd"):
        submissions.submit(denoiser, photos, "photos/val", photos / "out")
    with Image.open(photos / "1.png") as picture:
        picture.crop((0, 0, 190, 160)).save(photos / "1.png")
    with pytest.raises(lwisp.InputError, match=r"1\.png: 160x190 px, expected 162 px a side"):
        scoring.evaluate(toy, [photos], precision="fp32")
