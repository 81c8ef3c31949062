import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import lwisp
from lwisp import weights as checkpoint
from lwisp.architecture import LWISPConfig
from lwisp.baselines.build import Baseline
from lwisp.baselines.config import BaselineConfig
from lwisp.engines.tensors import run_network
from lwisp.files.tensors import digest_of
from lwisp.imaging.tensors import to_bytes
from lwisp.model import LWISP
from lwisp.weights import Camera, Card, InputConvention, Weights, describe, load, names, of_camera, save
from tests.conftest import ROOT, TOY, rubbish


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_weights_come_back_with_their_card(dtype: type[np.floating[Any]], toy: Weights, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "toy.safetensors"
    save(path, toy.network, toy.card, dtype)
    loaded = load(path)
    assert loaded.card == toy.card
    assert not loaded.network.training
    for name, value in toy.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], torch.from_numpy(value.numpy().astype(dtype)).float())
    assert [file.name for file in path.parent.iterdir()] == ["toy.safetensors"]


def test_other_networks_come_back_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Baseline(BaselineConfig("srgan"))  # with batch normalization
    network(torch.rand(2, 4, 16, 16))
    card = Card("other", network.config, InputConvention(), "MIT")
    save(tmp_path / "other.safetensors", network, card, np.float32)
    loaded = load(tmp_path / "other.safetensors")
    assert loaded.card == card
    planes = torch.rand(4, 9, 12)
    with torch.inference_mode():
        expected = network.eval()(planes[None])[0]
    assert torch.allclose(run_network(loaded.network, planes, "fp32"), expected, atol=1e-5)
    assert run_network(loaded.network, planes, "bf16").dtype == torch.float32
    save_file(
        load_file(tmp_path / "other.safetensors"),
        tmp_path / "none.safetensors",
        {"lwisp": _header(tmp_path / "other.safetensors").replace("srgan", "vgg")},
    )
    with pytest.raises(lwisp.InputError, match="its card does not fit"):
        load(tmp_path / "none.safetensors")


def test_the_same_weights_give_the_same_bytes(toy: Weights, tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / f"{name}.safetensors", toy.network, toy.card)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_the_shipped_weights_are_the_papers_student() -> None:
    assert "photo" in names()
    weights = load("photo")
    assert weights.card.architecture == LWISPConfig(in_channels=5, attention="centered")  # a plane more tells the noise
    assert weights.card.name == "photo"
    licences = {photo.licence for photo in weights.card.photos}
    assert licences
    assert not any("SA" in licence or licence == "unknown" for licence in licences)


@pytest.mark.parametrize("name", names())
def test_the_page_of_the_shipped_weights_is_their_card(name: str) -> None:
    page = (ROOT / "docs" / "models" / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(describe(name))


def test_unknown_names_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(lwisp.InputError, match=r"unknown weights 'foto'; there are: .*photo"):
        load("foto")
    with pytest.raises(lwisp.InputError, match="no such weights file"):
        load(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(lwisp.InputError, match="expected weights in a safetensors file"):
        load(tmp_path / "text.safetensors")


def rewrite(path: Path, **changes: object) -> None:
    """Give the weights a card with these fields changed (None: without a card)."""
    card = {**json.loads(_header(path)), **changes} if changes else None
    save_file(load_file(path), path, {"lwisp": json.dumps(card)} if card else {})


def _header(path: Path) -> str:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    text: str = header["__metadata__"]["lwisp"]
    return text


def test_files_without_a_fitting_card_are_refused(toy_file: Path) -> None:
    digest = json.loads(_header(toy_file))["sha256"]
    rewrite(toy_file, sha256="0" * 64)
    with pytest.raises(lwisp.InputError, match="SHA-256 differs"):
        load(toy_file)
    for width in (8, 2**40):
        rewrite(toy_file, architecture={"width": width}, sha256=digest)
        with pytest.raises(lwisp.InputError, match="do not fit its card"):
            load(toy_file)
    rewrite(toy_file, architecture={"width": 4, "depth": 9})
    with pytest.raises(lwisp.InputError, match="does not fit"):
        load(toy_file)
    rewrite(toy_file, convention={"color": "sepia"})
    with pytest.raises(lwisp.InputError, match="does not fit"):
        load(toy_file)
    rewrite(toy_file)
    with pytest.raises(lwisp.InputError, match="without a lwisp card"):
        load(toy_file)


def test_values_that_float16_cannot_hold_come_back(toy: Weights, tmp_path: Path) -> None:
    with torch.no_grad():
        toy.network.get_parameter("out.bias").copy_(torch.tensor([1.0, 70_000.0, -2e9]))
    save(tmp_path / "large.safetensors", toy.network, toy.card)
    again, known = load(tmp_path / "large.safetensors").network.state_dict(), toy.network.state_dict()
    assert torch.equal(again["out.bias"], known["out.bias"])
    assert torch.equal(again["out.weight"], known["out.weight"].half().float())


def test_tensors_that_are_no_finite_numbers_are_refused(toy: Weights, tmp_path: Path) -> None:
    with torch.no_grad():
        next(toy.network.parameters()).fill_(torch.nan)
    save(tmp_path / "nan.safetensors", toy.network, toy.card)
    with pytest.raises(lwisp.InputError, match="finite numbers"):
        load(tmp_path / "nan.safetensors")


def test_a_card_is_shown_without_what_could_harm_a_terminal(toy: Weights, tmp_path: Path) -> None:
    path = tmp_path / "toy.safetensors"
    save(path, toy.network, replace(toy.card, licence="MIT\x1b[31m"))
    page = describe(path)
    assert "Licence: MIT[31m." in page
    assert "\x1b" not in page
    rewrite(path, scores={"photos": 5})
    with pytest.raises(lwisp.InputError, match="does not fit"):
        describe(path)


def test_a_truncated_file_is_refused(toy_file: Path) -> None:
    toy_file.write_bytes(toy_file.read_bytes()[:-100])
    with pytest.raises(lwisp.InputError, match="safetensors"):
        load(toy_file)


class OnDevice(torch.Tensor):
    """As on a GPU: numpy cannot see it, before it is fetched."""

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def cpu(self, *_: Any, **__: Any) -> torch.Tensor:
        return self.as_subclass(torch.Tensor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64])
def test_a_digest_is_the_same_wherever_the_tensors_lie(dtype: torch.dtype) -> None:
    values = torch.arange(24).to(dtype).reshape(2, 3, 2, 2)
    expected = digest_of(to_bytes({"a": values, "b": values[0, 0, 0, 0]}))
    moved = values.as_subclass(OnDevice).contiguous(memory_format=torch.channels_last)
    assert digest_of(to_bytes({"b": values[0, 0, 0, 0].as_subclass(OnDevice), "a": moved})) == expected
    if dtype.is_floating_point:
        assert digest_of(to_bytes({"a": torch.nn.Parameter(values), "b": values[0, 0, 0, 0]})) == expected


@pytest.fixture
def learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of learned weights, empty."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = checkpoint.user_folder()
    folder.mkdir(parents=True)
    return folder


def test_what_is_no_weights_is_left_out_of_a_cameras(learned: Path, toy: Weights) -> None:
    """A pipe would be waited for without end, were it opened."""
    left_out = rubbish(learned)
    for name, style in (("old", ""), ("plain", "Standard"), ("other", "Vivid")):
        camera = Camera("Lwisp Testcam", style)
        save(learned / f"{name}.safetensors", toy.network, replace(toy.card, camera=camera))
    for age, name in enumerate(("other", "plain", "old")):
        os.utime(learned / f"{name}.safetensors", (age, age))
    found, notes = of_camera("Lwisp Testcam", "Vivid")
    assert [path.stem for path in found] == ["other", "old", "plain"]
    assert sorted(note.split(" is left out: ")[0] for note in notes) == sorted(str(path) for path in left_out)
    assert not any("\n" in note or note.count(str(learned)) > 1 for note in notes)
    assert of_camera("Another") == ([], notes)


def test_names_of_what_is_no_weights_are_told_and_refused(learned: Path) -> None:
    rubbish(learned)
    assert {"pipe", "folder", "loop", "text"} <= set(checkpoint.learned_names())
    for name in ("pipe", "folder", "loop"):
        for action in (load, describe, lambda name: checkpoint.read_card(learned / f"{name}.safetensors")):
            with pytest.raises(lwisp.InputError, match="expected weights in a safetensors file, got"):
                action(name)


def test_without_a_home_there_are_no_learned_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setattr(Path, "home", home)
    assert of_camera("Lwisp Testcam") == ([], [])
    assert load("photo").card.name == "photo"
    with pytest.raises(lwisp.InputError, match="no home folder"):
        checkpoint.user_folder()


def test_learned_weights_may_lie_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lwisp").write_text("a file where a folder is expected")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert of_camera("Lwisp Testcam") == ([], [])


def test_a_page_tells_of_ablations_only_where_there_are_any(toy: Weights, tmp_path: Path) -> None:
    studied = replace(TOY, fgam_maps="channel")
    save(tmp_path / "a.safetensors", LWISP(studied), replace(toy.card, architecture=studied))
    assert "- fgam_maps: channel\n" in describe(str(tmp_path / "a.safetensors"))
    assert "fgam_reduced" not in describe(str(tmp_path / "a.safetensors"))
    assert load(tmp_path / "a.safetensors").card.architecture == studied
