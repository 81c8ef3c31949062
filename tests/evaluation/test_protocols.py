from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

import lwisp
from lwisp.architecture import LWISPConfig
from lwisp.data.datasets import AS_SENSED
from lwisp.data.sources import Kind
from lwisp.evaluation import scoring
from lwisp.evaluation.protocols import DATA_PROTOCOLS, PROTOCOLS, protocol_of
from lwisp.evaluation.scoring import evaluate, scale_to
from lwisp.model import LWISP
from lwisp.weights import Card, Weights, save

RNG = np.random.default_rng(0)


@pytest.fixture
def identity() -> Weights:
    """A denoiser that has learned nothing yet."""
    config = LWISPConfig(width=4, in_channels=3, upsample=False, residual=True)
    return Weights(LWISP(config).eval(), Card("identity", config, AS_SENSED, "MIT"))


def write_named(folder: Path, given: str, truth: str, noise: float = 8.0) -> None:
    folder.mkdir()
    for index in range(2):
        small = RNG.integers(40, 215, (6, 6, 3), dtype=np.uint8)
        clean = np.asarray(Image.fromarray(small).resize((200, 180), Image.Resampling.BICUBIC))
        noisy = (clean + RNG.normal(0, noise, clean.shape)).round().clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{given.format(index)}.png")
        Image.fromarray(clean).save(folder / f"{truth.format(index)}.png")


@pytest.mark.parametrize(
    ("protocol", "given", "truth"),
    [
        ("denoise/polyu", "{}_real", "{}_mean"),
        ("denoise/sidd-crops", "NOISY_{}", "GT_{}"),
        ("lowlight/pairs", "low_{}", "high_{}"),
    ],
)
def test_pairs_of_one_folder_are_told_by_their_names(
    protocol: str, given: str, truth: str, identity: Weights, tmp_path: Path
) -> None:
    write_named(tmp_path / "pairs", given, truth)
    report = evaluate(identity, [tmp_path / "pairs"], protocol, "fp32")
    assert [row.picture for row in report.rows if row.chain == "network"] == ["0", "1"]
    assert report.mean("", "given", "psnr") == report.mean("", "network", "psnr")
    noise = report.mean("", "given", "psnr")
    assert noise == pytest.approx(20 * np.log10(255 / 8.0), abs=0.2)
    (tmp_path / "pairs" / f"{truth.format(1)}.png").unlink()
    with pytest.raises(lwisp.InputError, match="has no partner"):
        evaluate(identity, [tmp_path / "pairs"], protocol)
    (tmp_path / "pairs" / f"{given.format(0)}.png").rename(tmp_path / "other.png")
    with pytest.raises(lwisp.InputError, match="no pictures named"):
        evaluate(identity, [tmp_path], protocol)


def test_filters_with_an_oracle_denoise_beside(identity: Weights, tmp_path: Path) -> None:
    write_named(tmp_path / "pairs", "{}_real", "{}_mean", noise=20)
    report = evaluate(identity, [tmp_path / "pairs"], "denoise/polyu", "fp32", beside=("nlm", "wavelets"))
    for name in ("nlm", "wavelets"):
        assert report.mean("", name, "psnr") > report.mean("", "given", "psnr") + 4
    assert "| all | wavelets |" in scoring.to_markdown(report)


@pytest.mark.slow
def test_low_light_is_judged_as_it_comes_out_and_at_the_truths_mean(
    identity: Weights, photos: Path, tmp_path: Path
) -> None:
    report = evaluate(
        identity, [photos], "lowlight/photos", "fp32", beside=("equalized", "clahe", "clahe-plain"), side=164
    )
    chains = Counter((row.case, row.chain) for row in report.rows)
    assert set(chains.values()) == {3}
    assert {case for case, _ in chains} == {"2 EV", "3.5 EV", "5 EV"}
    assert len(chains) == 3 * 5 * 2
    assert report.mean("2 EV", "clahe-plain", "psnr") <= report.mean("2 EV", "clahe", "psnr")
    assert report.mean("5 EV", "given", "psnr") < report.mean("2 EV", "given", "psnr")
    assert report.mean("3.5 EV", "given, scaled", "psnr") > report.mean("3.5 EV", "given", "psnr") + 3
    rgb, truth = torch.rand(3, 8, 9) * 0.2, torch.rand(3, 8, 9) * 0.2 + 0.3
    luma = np.array([0.299, 0.587, 0.114])
    scaled = scale_to(rgb, truth).numpy().mean((1, 2)) @ luma
    assert scaled == pytest.approx(truth.numpy().mean((1, 2)) @ luma, rel=1e-5)


def test_noise_has_levels_and_planes_are_seen_as_pictures(identity: Weights, photos: Path) -> None:
    with Image.open(photos / "0.png") as picture:
        picture.resize((400, 340)).save(photos / "0.png")
    report = evaluate(identity, [photos], "denoise/photos", "fp32", side=164)
    levels = [report.mean(level, "given", "psnr") for level in ("low", "middle", "high")]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > levels[2] + 6
    config = LWISPConfig(width=4, out_channels=4, upsample=False, residual=True)
    planes = Weights(LWISP(config).eval(), Card("planes", config, AS_SENSED, "MIT"))
    with pytest.raises(lwisp.InputError, match="expected a network from the planes"):
        evaluate(identity, [photos], "denoise-raw/photos")
    for name in ("1.png", "2.png"):
        (photos / name).unlink()
    report = evaluate(planes, [photos], "denoise-raw/photos", "fp32")
    assert report.mean("low", "network", "psnr") == pytest.approx(report.mean("low", "given", "psnr"), abs=0.1)


def test_other_weights_are_set_beside(identity: Weights, toy_file: Path, photos: Path, tmp_path: Path) -> None:
    save(tmp_path / "other.safetensors", identity.network, identity.card)
    other = str(tmp_path / "other.safetensors")
    report = evaluate(identity, [photos], "denoise/photos", "fp32", beside=(other,), side=164)
    assert report.values("low", other, "psnr") == report.values("low", "network", "psnr")
    with pytest.raises(lwisp.InputError, match="expected a network from RGB to RGB"):
        evaluate(identity, [photos], "denoise/photos", beside=(str(toy_file),))
    with pytest.raises(lwisp.InputError, match="no place for others"):
        evaluate(identity, [photos], "lol/eval15", beside=("bm3d",))
    with pytest.raises(lwisp.InputError, match="unknown weights 'bm4d'"):
        evaluate(identity, [photos], "denoise/photos", beside=("bm4d",))


def test_every_protocol_says_what_it_is() -> None:
    assert all(protocol.about.endswith(".") for protocol in PROTOCOLS.values())


@pytest.mark.parametrize("data", get_args(Kind))
def test_weights_are_scored_by_the_protocol_of_the_data_that_their_card_names(data: str, identity: Weights) -> None:
    card = replace(identity.card, training={"recipe": {"data": data}})
    if data in ("sidd-raw", "sidd-raw/all", "mai21"):
        with pytest.raises(lwisp.InputError, match=f"trained on '{data}', for which there is no protocol"):
            protocol_of(card)
    else:
        assert protocol_of(card) == DATA_PROTOCOLS[data]
        assert DATA_PROTOCOLS[data] in PROTOCOLS


def test_the_protocol_is_that_of_the_card_where_none_is_named(identity: Weights, tmp_path: Path) -> None:
    write_named(tmp_path / "pairs", "{}_real", "{}_mean")
    trained = replace(identity, card=replace(identity.card, training={"recipe": {"data": "polyu"}}))
    assert evaluate(trained, [tmp_path / "pairs"]).protocol == "denoise/polyu"
    assert protocol_of(replace(identity.card, training={"recipe": 3})) == "photos/val"


def test_the_order_of_the_data_and_the_names_decide_no_score(identity: Weights, photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (photos / "0.png").rename(other / "z.png")
    reports = [
        evaluate(identity, folders, "denoise/photos", "fp32", side=164, passes=1)
        for folders in ([photos, other], [other, photos])
    ]
    scores = [{(Path(row.picture).name, row.case, row.chain): row.psnr for row in report.rows} for report in reports]
    assert scores[0] == scores[1]
    (other / "z.png").rename(other / "a.png")
    renamed = evaluate(identity, [other], "denoise/photos", "fp32", side=164, passes=1)
    assert {row.psnr for row in renamed.rows} <= set(scores[0].values())
