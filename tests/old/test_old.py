"""Files of every released version are read by today's code (`tests.old.make` wrote them)."""

import json
import lzma
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lwisp import develop, read_picture, read_raw
from lwisp.baselines.own import import_own
from lwisp.engines.exported import Exported
from lwisp.engines.tensors import run_network
from lwisp.files.logs import JsonLines
from lwisp.files.runs import run_folder
from lwisp.provenance import digest, is_made_of, read_provenance
from lwisp.records import parse
from lwisp.training.log import last_step
from lwisp.training.progress import Reporter
from lwisp.training.recipe import Recipe
from lwisp.training.runs import train
from lwisp.weights import describe, load
from tests.conftest import require
from tests.old.make import CARD, OLD, write_photos
from tests.samples import colorful, sense

VERSIONS = sorted(path.name for path in OLD.iterdir() if path.name[0].isdigit())
PICTURES = ("photo-lwisp.jpg", "photo-lwisp.png", "photo-lwisp.tif")


@pytest.fixture(params=VERSIONS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of a version's files, unpacked, which may be written into."""
    folder = tmp_path / str(request.param)
    shutil.copytree(OLD / folder.name, folder)
    for path in folder.glob("*.xz"):
        path.with_suffix("").write_bytes(lzma.decompress(path.read_bytes()))
        path.unlink()
    return folder


@pytest.fixture
def _network() -> Iterator[None]:
    import_own("tests.old.network:Layer")
    yield


def test_there_is_a_folder_of_the_first_version() -> None:
    assert "0.1.0" in VERSIONS


def test_the_samples_are_small_and_name_no_place_of_the_machine_that_made_them(old: Path) -> None:
    assert sum(path.stat().st_size for path in (OLD / old.name).rglob("*") if path.is_file()) < 300_000
    for path in old.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for word in (b"/work", b"/tmp", b"/home", b"/root", b"/usr", b"site-packages", b"C:\\"):
            assert word not in content, f"{path.name}: {word!r}"


def test_weights_of_an_old_version_are_read_with_their_card(old: Path) -> None:
    weights = load(old / "toy.safetensors")
    assert weights.card.training["versions"]["lwisp"] == old.name
    expected = {**CARD.training, "versions": {"lwisp": old.name}}
    assert weights.card == replace(CARD, training=expected)
    assert "Look of Lwisp Testcam Vivid" in describe(old / "toy.safetensors")
    picture = weights.network(torch.rand(1, 4, 32, 48))
    assert picture.shape == (1, 3, 64, 96)
    assert picture.isfinite().all()


def test_an_exported_file_of_an_old_version_gives_what_its_weights_give(old: Path) -> None:
    require("onnxruntime")
    exported, weights = load(old / "toy.onnx"), load(old / "toy.safetensors")
    assert exported.card == weights.card
    assert exported.sha256
    network = exported.runnable
    assert isinstance(network, Exported)
    planes = torch.rand(4, 33, 50, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(
        torch.from_numpy(network(planes[None].numpy())[0]),
        run_network(weights.network, planes, "fp32", "torch"),
        atol=1e-4,
    )


def test_pictures_of_an_old_version_tell_what_they_were_made_of(old: Path) -> None:
    sha256 = load(old / "toy.safetensors").sha256
    for name in PICTURES:
        told = read_provenance(old / name)
        assert told is not None, name
        assert told.version == old.name
        assert (told.verb, told.weights, told.weights_sha256) == ("develop", "toy", sha256)
        assert told.source_sha256 == digest(old / "photo.dng")
        assert told.settings["exposure"] == 0.5
        assert is_made_of(old / name, "develop", told.settings, old / "photo.dng", lambda: sha256)
        assert read_picture(old / name).rgb.shape == (64, 96, 3)


def test_a_dng_of_an_old_version_gives_its_mosaic_and_the_picture_of_then(old: Path) -> None:
    raw = read_raw(old / "photo.dng")
    assert np.array_equal(raw.mosaic, sense(colorful(64, 96)))
    assert (raw.cfa, set(raw.black_level), set(raw.white_level)) == ("RGGB", {63.0}, {1000.0})
    assert np.allclose(raw.white_balance, (2, 1, 1.5), atol=1e-3)
    told = read_provenance(old / "photo.dng")
    assert told is not None
    assert told.version == old.name
    again = develop(load(old / "toy.safetensors"), raw, exposure=0.5)
    then = read_picture(old / "photo-lwisp.png").rgb
    assert then.std((0, 1)).min() > 5  # of all of one value nothing would be learned
    assert np.abs(again - then / 255).max() < 0.02  # of bf16, where it was made so


def test_a_log_of_an_old_version_is_read_and_goes_on(old: Path) -> None:
    path = old / "log.jsonl"
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [event["event"] for event in events] == ["file", "end"] * len(PICTURES)
    assert [Path(event["output"]).name for event in events[::2]] == list(PICTURES)
    assert {event["status"] for event in events[::2]} == {"made"}
    log = JsonLines(path)
    log.write({"event": "end"})
    log.close()
    assert len(path.read_text(encoding="utf-8").splitlines()) == len(events) + 1


@pytest.mark.usefixtures("_network")
def test_a_run_of_an_old_version_goes_on(old: Path) -> None:
    weights = load(old / "run.safetensors")
    assert weights.card.training["versions"]["lwisp"] == old.name
    facts = json.loads((run_folder(old / "run.safetensors") / "run.json").read_text(encoding="utf-8"))
    assert facts["versions"]["lwisp"] == old.name
    assert facts["command"] == ["lwisp", "train", "run.toml"]
    recipe = parse(Recipe, facts["recipe"])
    log = run_folder(old / "run.safetensors") / "log.jsonl"
    assert last_step(log) == recipe.steps
    before = log.read_text(encoding="utf-8")

    write_photos(old / "root")
    longer = replace(recipe, steps=recipe.steps + 1)
    train(longer, old / "run.safetensors", old / "root", reporter=Reporter())
    assert log.read_text(encoding="utf-8").startswith(before)
    assert last_step(log) == longer.steps
    assert load(old / "run.safetensors").card.training["recipe"]["steps"] == longer.steps
