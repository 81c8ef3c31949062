"""Weights as Hugging Face's repositories: what lies in a folder, and that all ways of reading it give the same."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import lwisp
from lwisp.cli.commands import app
from lwisp.errors import ArgumentError, InputError, OutputError
from lwisp.hub import hub_class
from lwisp.model import LWISP
from lwisp.model_cards import Facts, model_card, without_paths
from lwisp.repositories import pack
from lwisp.weights import Camera, Card, InputConvention, LearnedPair, Photo, load, save, shipped_files
from tests.conftest import TOY, WriteDng, require
from tests.test_downloads import put

for package in ("huggingface_hub", "onnx", "onnxruntime"):
    require(package)


def write(folder: Path, name: str = "mine", **facts: Any) -> Path:
    """Small weights from RAW to RGB in a file."""
    torch.manual_seed(0)
    path = folder / f"{name}.safetensors"
    save(path, LWISP(TOY), Card(name, TOY, InputConvention(), "MIT", **facts))
    return path


def head_of(page: Path) -> dict[str, Any]:
    found: dict[str, Any] = require("huggingface_hub.repocard").metadata_load(page)
    return found


def test_a_folder_holds_the_same_bytes_and_is_read_in_all_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_dng: WriteDng
) -> None:
    source = write(tmp_path)
    (packed,) = pack([source], tmp_path / "out", "me")
    assert (packed.folder, packed.address, packed.is_changed) == (tmp_path / "out" / "mine", "hf://me/mine", False)
    files = {path.name: path.read_bytes() for path in packed.folder.iterdir()}
    assert set(files) == {"README.md", "config.json", "model.safetensors", "model.onnx"}
    assert files["model.safetensors"] == source.read_bytes()
    weights = load(source)
    assert isinstance(weights.network, LWISP)
    again = hub_class().from_pretrained(str(packed.folder)).eval()
    assert again.config == TOY
    planes = torch.rand(1, 4, 32, 48)
    assert torch.equal(again(planes), weights.network(planes))
    constants = require("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    put(tmp_path / "hub", files, "me/mine")
    found = load("hf://me/mine")
    assert (found.sha256, found.card) == (weights.sha256, weights.card)
    exported = load(packed.folder / "model.onnx")
    raw = lwisp.read_raw(write_dng(np.random.default_rng(0).integers(64, 4000, (70, 90), dtype=np.uint16)))
    made, expected = (
        lwisp.Developer(one, precision="fp32").develop(raw, dtype=np.uint8) for one in (exported, weights)
    )
    assert int(np.abs(made.astype(int) - expected.astype(int)).max()) <= 1


def test_the_page_says_limits_first_and_its_head_is_what_the_hub_reads(tmp_path: Path) -> None:
    scores = {"photos/val": {"data": "3 pictures", "clean, network": {"psnr": 30.5, "ssim": 0.9}}}
    photos = (Photo("a|b.jpg", "CC0-1.0", "<b>A</b>", "somewhere"),)
    (packed,) = pack([write(tmp_path, scores=scores, photos=photos)], tmp_path / "out", "me")
    page = packed.folder / "README.md"
    head = head_of(page)
    assert (head["license"], head["library_name"], head["pipeline_tag"]) == ("mit", "lwisp", "image-to-image")
    text = page.read_text(encoding="utf-8")
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles[:4] == ["## Limits", "## Use", "## Input and output", "## Quality and time"]
    assert "| clean, network | 30.5 | 0.9 |" in text
    assert "| a\\|b.jpg | CC0-1.0 | &lt;b>A&lt;/b> | somewhere |" in text
    assert f'lwisp.load("hf://me/mine#sha256={load(packed.folder / "model.safetensors").sha256}")' in text


def facts_of(path: Path) -> Facts:
    return Facts(path.stem, load(path).sha256, 10**6, 10**9, "mosaic HxW uint16 -> picture HxWx3 uint8", "me")


@pytest.mark.parametrize("path", shipped_files(), ids=lambda path: path.stem)
def test_pages_of_shipped_weights_have_their_figures(path: Path) -> None:
    page = model_card(load(path).card, facts_of(path))
    assert "](../" not in page
    assert ("| **lwisp photo** | 33.55 | 31.12 | 27.52 | 4.0 |" in page) == (path.stem == "photo")
    assert page.count("RawTherapee neutral |") == (path.stem in ("photo", "photo-fast"))
    assert page.index("## Limits") < page.index("## Quality and time") < page.index("## Training data")
    assert (
        "lwisp enhance photo.jpg" in page
        if path.stem == "enhance"
        else "lwisp enhance" not in page.partition("## In")[0]
    )


def test_weights_of_another_digest_do_not_get_figures_of_shipped_ones(tmp_path: Path) -> None:
    path = write(tmp_path, "photo")
    assert "RawTherapee" not in model_card(load(path).card, facts_of(path))


def test_a_look_names_its_camera_and_an_odd_licence_is_other() -> None:
    weights = load("photo")
    pairs = (LearnedPair("DSC_1.NEF", "0" * 64),)
    card = replace(weights.card, licence="mine: don't", camera=Camera("NIKON D5000", "Vivid", pairs), photos=())
    page = model_card(card, facts_of(shipped_files()[0]))
    assert 'license: other\nlicense_name: "mine: don\'t"' in page
    assert "the look of the JPEGs of NIKON D5000, picture style Vivid" in page
    assert f"- DSC_1.NEF: `{'0' * 64}`" in page


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/anna/My Photos/set.zip", "set.zip"),
        ("C:\\Users\\Anna\\x.safetensors", "x.safetensors"),
        ("\\\\nas\\anna\\x", "x"),
        ("~/photos", "photos"),
        ("../anna/x", "x"),
        ("file:///home/anna/x", "x"),
        ("from /home/anna/x.pth, twice", "from x.pth, twice"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("data/photos", "data/photos"),
        ("1 / 2 and RAW/JPEG", "1 / 2 and RAW/JPEG"),
        ("/", ""),
    ],
)
def test_paths_are_cut_to_names(text: str, left: str) -> None:
    assert without_paths({"a": [text, 3, None, True]}) == {"a": [left, 3, None, True]}


def test_no_path_of_the_machine_is_in_a_folder_and_the_tensors_stay(tmp_path: Path) -> None:
    source = write(tmp_path, training={"root": str(tmp_path / "anna"), "recipe": {"start": str(tmp_path / "x.pth")}})
    (packed,) = pack([source], tmp_path / "out")
    assert packed.is_changed
    for path in packed.folder.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path.name
    found = load(packed.folder / "model.safetensors")
    assert found.sha256 == load(source).sha256
    assert found.card.training == {"root": "anna", "recipe": {"start": "x.pth"}}


def test_only_folders_that_it_wrote_are_replaced(tmp_path: Path) -> None:
    source, out = write(tmp_path), tmp_path / "out"
    (first,) = pack([source], out)
    with pytest.raises(InputError, match="exists already; --overwrite replaces it"):
        next(pack([source], out))
    page = first.folder / "README.md"
    (again,) = pack([source], out, "another", overwrite=True)
    assert "another/mine" in page.read_text(encoding="utf-8")
    assert not again.is_page_kept
    (again.folder / "diary.txt").write_text("mine")
    with pytest.raises(InputError, match="did not write, which replaces no such folder"):
        next(pack([source], out, overwrite=True))
    assert (again.folder / "diary.txt").read_text() == "mine"
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_a_page_that_somebody_changed_stays_and_it_is_said(tmp_path: Path) -> None:
    source, out = write(tmp_path), tmp_path / "out"
    (first,) = pack([source], out)
    page, model = first.folder / "README.md", first.folder / "model.onnx"
    for _ in range(2):
        page.write_text("mine")
        model.write_bytes(b"old")
        done = CliRunner().invoke(app, ["hub", "pack", str(source), "-o", str(out), "--overwrite"])
        assert done.exit_code == 0, done.output
        assert "README.md was changed by somebody, and stays" in done.stderr
        assert page.read_text() == "mine"
        assert model.read_bytes() != b"old"
    page.unlink()
    (again,) = pack([source], out, overwrite=True)
    assert page.exists()
    assert not again.is_page_kept


@pytest.mark.parametrize("ended_by", [OSError(13, "Permission denied"), KeyboardInterrupt()])
def test_where_replacing_ends_midway_no_file_is_lost(
    ended_by: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = write(tmp_path), tmp_path / "out"
    (first,) = pack([source], out)
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    moves: list[Path] = []

    def fails(rename: Callable[..., Path]) -> Callable[..., Path]:
        def move(self: Path, target: Path) -> Path:
            if first.folder in (self, target, target.parent):
                moves.append(target)
                if len(moves) == 2:
                    raise ended_by
            return rename(self, target)

        return move

    with monkeypatch.context() as patch:
        for name in ("rename", "replace"):
            patch.setattr(Path, name, fails(getattr(Path, name)))
        with pytest.raises((OutputError, KeyboardInterrupt)):
            next(pack([source], out, overwrite=True))
    assert {path.name for path in first.folder.iterdir()} == set(before)
    assert (first.folder / "model.safetensors").read_bytes() == before["model.safetensors"]
    (again,) = pack([source], out, overwrite=True)
    assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == before


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_what_lies_there_stays(there: str, tmp_path: Path) -> None:
    source, place = write(tmp_path), tmp_path / "out" / "mine"
    place.parent.mkdir()
    if there == "file":
        place.write_text("mine")
    elif there == "folder":
        place.mkdir()
    else:
        place.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="replaces no such folder"):
        next(pack([source], place.parent, overwrite=True))


def test_what_cannot_be_packed_is_said_before_any_work(tmp_path: Path) -> None:
    source = write(tmp_path)
    (tmp_path / "other").mkdir()
    same = write(tmp_path / "other")
    out = tmp_path / "out"
    with pytest.raises(ArgumentError, match="several of these weights are called mine"):
        next(pack([source, same], out))
    with pytest.raises(ArgumentError, match="--owner a/b: expected a name"):
        next(pack([source], out, "a/b"))
    with pytest.raises(InputError, match="unknown weights 'nothing'"):
        next(pack([source, "nothing"], out))
    assert not out.exists()


def test_the_command_tells_folders_and_addresses(tmp_path: Path) -> None:
    source = write(tmp_path)
    done = CliRunner().invoke(app, ["hub", "pack", str(source), "-o", str(tmp_path / "out"), "--owner", "me"])
    assert done.exit_code == 0, done.output
    assert "for hf://me/mine" in done.stdout
    config = json.loads((tmp_path / "out" / "mine" / "config.json").read_text(encoding="utf-8"))
    assert set(config) == {"config", "lwisp"}
    done = CliRunner().invoke(app, ["hub", "pack", str(source), "-o", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "exists already" in done.output
