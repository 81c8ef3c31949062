"""A network of somebody else's on the command line: trained, gone on with, scored, or refused in one sentence."""

import shutil
import sys
from pathlib import Path

import pytest

from lwisp.baselines.config import OwnConfig
from lwisp.data import synthetic
from lwisp.weights import read_card
from tests.test_cli import call

MODULE = """
from torch import nn

class Small(nn.Module):
    takes = "raw"

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(4, 12, 3, padding=1), nn.PixelShuffle(2), nn.Sigmoid())

    def forward(self, planes):
        return self.layers(planes)

class Picture(nn.Module):
    takes = "rgb"

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, rgb):
        return self.layer(rgb)

class Silent(Small):
    takes = None
"""
RECIPE = """
name = "mine"
licence = "MIT"
data = "zurich"
convention = { white_balance = "none", color = "camera", exposure = "none" }
steps = 2
batch = 1
crop = 64
scales = 2
checkpoint_every = 1
validate_every = 2
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module, a recipe and data."""
    (tmp_path / "strangers.py").write_text(MODULE)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    pictures = synthetic.pictures(2, 0, 448, 448)
    synthetic.write_zurich(tmp_path / "data", {"train": pictures[:1], "test": pictures[1:]})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "strangers", raising=False)
    return tmp_path


@pytest.mark.slow
def test_a_network_in_the_current_folder_is_trained_and_scored(work: Path) -> None:
    before = list(sys.path)
    given = ("--data", work / "data", "--network", "strangers:Small")
    result = call("train", "recipe.toml", *given, "-o", "mine.safetensors")
    assert result.exit_code == 0, result.output
    assert read_card(work / "mine.safetensors").architecture == OwnConfig("strangers:Small", "raw")
    assert sys.path == before
    content = (work / "mine.safetensors").read_bytes()
    (work / "mine.safetensors").unlink()
    assert call("train", "recipe.toml", *given, "-o", "mine.safetensors").exit_code == 0  # goes on from its state
    assert (work / "mine.safetensors").read_bytes() == content
    result = call("evaluate", "mine.safetensors", *given, "--protocol", "zurich/original")
    assert result.exit_code == 0, result.output
    assert "PSNR" in result.stdout


def test_what_does_not_fit_is_one_sentence(work: Path) -> None:
    given = ("--data", work / "data", "-o", "mine.safetensors")
    for network, said in (
        ("strangers:Silent", "expected an attribute takes"),
        ("strangers:Picture", "expected a network with takes = 'raw', got 'rgb' of strangers:Picture"),
        ("nobody:Small", "nobody cannot be imported"),
    ):
        result = call("train", "recipe.toml", "--network", network, *given)
        assert (result.exit_code in (1, 2), said in result.stderr) == (True, True), result.stderr
        assert "Traceback" not in result.stderr
    (work / "distilled.toml").write_text(RECIPE + "beta = 0.1\n")
    result = call("train", "distilled.toml", "--network", "strangers:Small", *given)
    assert "does not fit this network: expected beta = 0" in result.stderr
    shutil.copytree(work / "data", work / "photos")
    result = call("train", "photos", "--network", "strangers:Small")
    assert "belong to recipes" in result.stderr
    assert not (work / "mine.safetensors").exists()
