"""Weights listed, found by their camera, and removed with what belongs to them and nothing else."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from typer.testing import CliRunner, Result

import lwisp
from lwisp.cli.commands import app
from lwisp.collection import OWN, PROTOCOL, TITLE, list_weights, load_look, remove
from lwisp.files.optional import cache_folder
from lwisp.files.raw import read_raw
from lwisp.weights import Camera, InputConvention, LearnedPair, Weights, save
from tests.conftest import WriteDng, rubbish

MOSAIC = np.random.default_rng(0).integers(64, 4000, (40, 60), dtype=np.uint16)
PAIRS = tuple(LearnedPair(f"{index}.NEF", "0" * 64) for index in range(3))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of weights, and a cache of his own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "lwisp" / "weights"
    folder.mkdir(parents=True)
    return folder


def learn(folder: Path, toy: Weights, name: str, camera: str, style: str = "", error: float = 2.345) -> Path:
    scores = {PROTOCOL: {OWN: {"delta_e": error}, "curves and matrix": {"delta_e": 9.0}, "photos": 3}}
    card = replace(toy.card, name=name, camera=Camera(camera, style, PAIRS), scores=scores)
    path = folder / f"{name}.safetensors"
    save(path, toy.network, card)
    return path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_list_tells_task_camera_style_photos_error_and_date(folder: Path, toy: Weights) -> None:
    os.utime(learn(folder, toy, "nikon", "NIKON D5000", "Vivid"), (1_700_000_000, 1_700_000_000))
    found = {entry.name: entry for entry in list_weights()}
    assert (found["nikon"].task, found["nikon"].camera, found["nikon"].style) == ("develop", "NIKON D5000", "Vivid")
    assert (found["nikon"].photos, found["nikon"].error, found["nikon"].is_shipped) == (3, 2.35, False)
    assert found["nikon"].date in ("2023-11-14", "2023-11-15")  # by the time zone
    tasks = {name: found[name].task for name in ("photo", "photo-fast", "denoise", "denoise-raw", "enhance")}
    assert tasks == {
        "photo": "develop",
        "photo-fast": "develop",
        "denoise": "denoise",
        "denoise-raw": "denoise-raw",
        "enhance": "enhance",
    }
    assert (found["photo"].is_shipped, found["photo"].date, found["photo"].camera) == (True, None, "")
    assert found["photo"].error == pytest.approx((2.12 + 3.0) / 2, abs=0.006)  # clean and noisy, on its card

    lines = call("weights", "list").stdout.splitlines()
    assert lines[0].split() == ["name", "task", "camera", "style", "photos", "error", "dE2000", "date"]
    (row,) = (line for line in lines if line.startswith("nikon "))
    start = lines[0].index
    assert row[start("camera") : start("style")].strip() == "NIKON D5000"
    assert row[start("style") : start("photos")].strip() == "Vivid"
    assert row[start("error") : start("date")].strip() in ("2.34", "2.35")
    told = {entry["name"]: entry for entry in json.loads(call("weights", "list", "--json").stdout)}
    assert set(told) == set(found)
    assert (told["nikon"]["style"], told["photo"]["date"]) == ("Vivid", None)


def test_damaged_weights_are_listed_as_such(folder: Path, toy: Weights) -> None:
    learn(folder, toy, "good", "Canon \x1b[31m写真機")
    count = len(rubbish(folder))
    shown = call("weights", "list")
    assert shown.exit_code == 0
    assert "\x1b" not in shown.stdout
    assert sum("(damaged: " in line for line in shown.stdout.splitlines()) == count
    told = json.loads(call("weights", "list", "--json").stdout)
    assert sum(bool(entry["damage"]) for entry in told) == count


@pytest.mark.parametrize("name", ["nikon-vivid", "NIKON D5000 Vivid", "nikon d5000, vivid", "Canon EOS 30D", "canon"])
def test_a_look_is_found_by_the_name_of_its_weights_or_camera(name: str, folder: Path, toy: Weights) -> None:
    learn(folder, toy, "nikon-vivid", "NIKON D5000", "Vivid")
    learn(folder, toy, "nikon-neutral", "NIKON D5000", "Neutral")
    learn(folder, toy, "canon", "Canon EOS 30D")
    camera = load_look(name).card.camera
    assert camera is not None
    assert (camera.name, camera.style) == (
        ("NIKON D5000", "Vivid") if "ikon" in name.lower() else ("Canon EOS 30D", "")
    )
    assert load_look(str(folder / "canon.safetensors")).card.name == "canon"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NIKON D5000", r"2 looks are called 'NIKON D5000'; name one of nikon-neutral \(.*\), nikon-vivid \("),
        ("Canon EOS 20D", r"no look 'Canon EOS 20D'; did you mean canon \(Canon EOS 30D\)\?"),
        ("nikon-vivd", r"did you mean nikon-vivid \(NIKON D5000, Vivid\)"),
        ("30D", r"did you mean canon \(Canon EOS 30D\)\?$"),
        ("photo", r"no look 'photo'; there are: canon \(Canon EOS 30D\), nikon-neutral"),
        ("", r"no look ''; there are: "),
        ("x" * 5000, r"no look 'x+'; there are: "),
        ("\0.dng", r"no look '\\x00.dng'; there are: "),
    ],
)
def test_what_is_no_look_is_refused_with_those_that_may_be_meant(
    name: str, message: str, folder: Path, toy: Weights
) -> None:
    learn(folder, toy, "nikon-vivid", "NIKON D5000", "Vivid")
    learn(folder, toy, "nikon-neutral", "NIKON D5000", "Neutral")
    learn(folder, toy, "canon", "Canon EOS 30D")
    with pytest.raises(lwisp.InputError, match=message):
        load_look(name)


def test_without_any_look_it_is_said_how_one_is_learned(folder: Path) -> None:
    with pytest.raises(lwisp.InputError, match=r"none was learned here yet; `lwisp train FOLDER`"):
        load_look("canon")


def test_a_look_that_takes_one_cameras_own_colors_is_not_for_others(folder: Path, toy: Weights) -> None:
    own = replace(toy, card=replace(toy.card, convention=InputConvention(color="camera")))
    learn(folder, own, "canon", "Canon EOS 30D")
    with pytest.raises(lwisp.InputError, match="colors of one camera alone"):
        load_look("canon")


def test_a_look_develops_files_of_another_camera(
    folder: Path, toy: Weights, write_dng: WriteDng, tmp_path: Path
) -> None:
    learn(folder, toy, "canon", "Canon EOS 30D")
    path = write_dng(MOSAIC)
    assert read_raw(path).camera == "Lwisp Testcam"
    done = call("develop", path, "--look", "canon eos 30d", "-o", tmp_path / "look.png")
    assert done.exit_code == 0, done.output
    assert "weights canon, the look of Canon EOS 30D" in done.stderr
    same = call("develop", path, "--weights", "canon", "-o", tmp_path / "weights.png")
    assert same.exit_code == 0, same.output
    assert (tmp_path / "look.png").read_bytes() == (tmp_path / "weights.png").read_bytes()
    wrong = call("develop", path, "--look", "Canon EOS 20D")
    assert (wrong.exit_code, "did you mean canon (Canon EOS 30D)?" in wrong.stderr) == (2, True)
    for other in (("--fast",), ("--weights", "photo")):
        both = call("develop", path, "--look", "canon", *other)
        assert (both.exit_code, "drop one of them" in both.stderr) == (2, True)


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def belongings(path: Path) -> None:
    """What learning leaves beside weights."""
    report = path.with_name(f"{path.stem}-report")
    report.mkdir()
    (report / f"{path.stem}.md").write_text(f"# {TITLE} a camera\n")
    for suffix in ("html", "csv"):
        (report / f"{path.stem}.{suffix}").touch()
    run = path.with_name(f"{path.name}.run")
    (run / "network-0.safetensors.run").mkdir(parents=True)
    (run / "network-0.safetensors.run" / "log.jsonl").touch()
    (run / "lock").touch()


def test_removing_takes_what_belongs_to_weights_and_nothing_else(
    folder: Path, toy: Weights, write_dng: WriteDng, tmp_path: Path
) -> None:
    raw = write_dng(MOSAIC)
    for name in ("canon", "canon-2"):
        belongings(learn(folder, toy, name, "Canon EOS 30D"))
    (folder / "notes.txt").touch()
    for number, chosen in enumerate((("--weights", "photo"), ("--look", "canon"))):  # compile what others need too
        picture = tmp_path / f"{number}.png"
        assert call("develop", raw, *chosen, "--backend", "openvino", "-o", picture).exit_code == 0
    before = everything(tmp_path)
    other = lwisp.LWISP(replace(toy.card.architecture, width=8))  # type: ignore[arg-type]
    card = replace(toy.card, name="own", architecture=other.config, camera=Camera("Own", "", PAIRS))
    save(folder / "own.safetensors", other, card)
    belongings(folder / "own.safetensors")
    done = call("develop", raw, "--look", "own", "--backend", "openvino", "-o", tmp_path / "2.png")
    assert done.exit_code == 0, done.output
    made = {path.name for path in cache_folder().iterdir()}
    assert any(name.startswith("structure-") for name in made)

    removed = call("weights", "remove", "own")
    assert removed.exit_code == 0, removed.output
    assert everything(tmp_path) - {"2.png"} == before
    lines = removed.stdout.splitlines()
    for name in ("own.safetensors", "own-report", "own.safetensors.run"):
        assert f"{folder / name} is deleted" in lines
    assert sum("files for them in" in line for line in lines) == 1


def test_what_people_put_into_a_report_folder_stays(folder: Path, toy: Weights) -> None:
    path = learn(folder, toy, "canon", "Canon EOS 30D")
    belongings(path)
    report = folder / "canon-report"
    (report / "mine.txt").touch()
    removed = remove("canon")
    assert removed.kept == (report,)
    assert [entry.name for entry in report.iterdir()] == ["mine.txt"]
    assert not path.exists()

    belongings(learn(folder, toy, "nikon", "NIKON D5000"))
    (folder / "nikon-report" / "nikon.md").write_text("my own page")
    assert remove("nikon").kept == (folder / "nikon-report",)
    assert len(list((folder / "nikon-report").iterdir())) == 3


def test_links_are_not_followed(folder: Path, toy: Weights, tmp_path: Path) -> None:
    learn(folder, toy, "canon", "Canon EOS 30D")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "canon.md").write_text(f"# {TITLE} a camera\n")
    (folder / "canon-report").symlink_to(elsewhere)
    (folder / "canon.safetensors.run").symlink_to(elsewhere)
    remove("canon")
    assert [entry.name for entry in elsewhere.iterdir()] == ["canon.md"]


def test_weights_that_are_being_learned_are_not_removed(folder: Path, toy: Weights) -> None:
    path = learn(folder, toy, "canon", "Canon EOS 30D")
    belongings(path)
    before = everything(folder)
    with FileLock(folder / "canon.safetensors.run" / "lock"), pytest.raises(lwisp.InputError, match="another process"):
        remove("canon")
    assert everything(folder) == before


def test_damaged_weights_can_be_removed_and_shipped_ones_cannot(folder: Path) -> None:
    (folder / "text.safetensors").write_text("no weights")
    assert remove("text").files == (folder / "text.safetensors",)
    with pytest.raises(lwisp.InputError, match="weights 'photo' are part of lwisp"):
        remove("photo")
    with pytest.raises(lwisp.InputError, match="no learned weights 'nobody'; there are: none"):
        remove("nobody")
