import json
from pathlib import Path

import pytest

import lwisp
from lwisp import evaluation
from lwisp.checkpoint import Weights


def test_weights_are_scored_beside_the_classical_chain(toy: Weights, photos: Path, tmp_path: Path) -> None:
    report = evaluation.evaluate(toy, [photos], "fp32")
    assert len(report.rows) == 3 * 2 * 2
    assert report.mean("clean", "menon", "psnr") > 20
    assert report.mean("clean", "menon", "psnr") > report.mean("noisy", "menon", "psnr")
    assert report.mean("clean", "menon", "psnr") > report.mean("clean", "network", "psnr")  # it has not been trained
    assert "| clean | menon |" in evaluation.to_markdown(report)
    evaluation.write_json(tmp_path / "rows.json", report)
    assert len(json.loads((tmp_path / "rows.json").read_text())["rows"]) == 12
    with pytest.raises(lwisp.InputError, match="exists already"):
        evaluation.write_json(tmp_path / "rows.json", report)


def test_the_shipped_weights_beat_the_classical_chain_under_noise(photos: Path) -> None:
    report = evaluation.evaluate(lwisp.load("photo"), [photos], "fp32")
    assert report.mean("noisy", "network", "psnr") > report.mean("noisy", "menon", "psnr") + 1


def test_the_same_call_gives_the_same_rows(toy: Weights, photos: Path) -> None:
    assert evaluation.evaluate(toy, [photos], "fp32") == evaluation.evaluate(toy, [photos], "fp32")
