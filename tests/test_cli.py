import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from lwisp.architecture import LWISPConfig
from lwisp.cli.commands import app
from lwisp.data.datasets import AS_SENSED
from lwisp.errors import log
from lwisp.evaluation.tools import all_tools
from lwisp.files.raw import read_raw
from lwisp.model import LWISP
from lwisp.weights import Camera, Card, Weights, load, save
from tests.conftest import ROOT, WriteDng

MOSAIC = np.random.default_rng(0).integers(64, 4000, (40, 60), dtype=np.uint16)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_develop_writes_beside_the_raw(write_dng: WriteDng, toy_file: Path) -> None:
    path = write_dng(MOSAIC, orientation=6)
    result = call("develop", path, "--weights", toy_file)
    assert result.exit_code == 0, result.output
    with Image.open(path.with_name("photo-lwisp.jpg")) as picture:
        assert picture.size == (40, 60)
        assert picture.getexif()[272] == "Testcam"


def test_retouching_has_the_manners_of_developing(tmp_path: Path) -> None:
    config = LWISPConfig(width=4, in_channels=3, upsample=False, residual=True)
    save(tmp_path / "toy.safetensors", LWISP(config), Card("toy", config, AS_SENSED, "MIT"))
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(MOSAIC.astype(np.uint8)).convert("RGB").save(folder / "a.png")
    (folder / "bad.jpg").write_text("no")
    for verb, mark in (("denoise", "denoised"), ("enhance", "enhanced")):
        result = call(verb, folder, "--weights", tmp_path / "toy.safetensors")
        assert result.exit_code == 1
        assert (folder / f"a-{mark}.png").is_file()
        assert "files failed: bad.jpg" in result.stderr.splitlines()[-1]
        assert "Traceback" not in result.output
        again = call(verb, folder / "a.png", "--weights", tmp_path / "toy.safetensors", "--passes", 1)
        assert (again.exit_code, "exists already" in again.stderr) == (1, True)
        done = call(verb, folder / "a.png", "-o", tmp_path / f"{verb}.tif", "--weights", tmp_path / "toy.safetensors")
        assert done.exit_code == 0, done.output
        assert call(verb, tmp_path / "none", "--weights", tmp_path / "toy.safetensors").exit_code == 1
        wrong = call(verb, folder / "a.png", "--weights", "photo")
        assert (wrong.exit_code, "expected a network from RGB" in wrong.stderr) == (2, True)


def test_a_raw_without_noise_is_a_raw(write_dng: WriteDng, toy_file: Path, tmp_path: Path) -> None:
    config = LWISPConfig(width=4, out_channels=4, upsample=False, residual=True)
    save(tmp_path / "planes.safetensors", LWISP(config), Card("planes", config, AS_SENSED, "MIT"))
    path, chosen = write_dng(MOSAIC), ("--weights", tmp_path / "planes.safetensors", "--develop-weights", toy_file)
    assert call("denoise-raw", path, *chosen).exit_code == 0
    assert call("develop", path.with_name("photo-denoised.dng"), "--weights", toy_file).exit_code == 0
    result = call("denoise-raw", path, "-o", tmp_path / "x.png", *chosen)
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (60, 40)
    assert call("denoise-raw", path, "-o", tmp_path / "y.dng", *chosen).exit_code == 0
    wrong = call("denoise-raw", path, "--weights", "photo")
    assert (wrong.exit_code, "expected a network from the planes" in wrong.stderr) == (2, True)


def test_a_folder_goes_into_a_folder(write_dng: WriteDng, toy_file: Path, tmp_path: Path) -> None:
    for name in ("a.dng", "b.dng"):
        write_dng(MOSAIC, name=name)
    result = call("develop", tmp_path, "-o", tmp_path / "out" / "deep", "--format", "tiff", "--weights", toy_file)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out" / "deep").iterdir()) == ["a.tif", "b.tif"]


def test_what_a_file_does_not_say_is_said_aloud(write_dng: WriteDng, toy_file: Path) -> None:
    result = call("develop", write_dng(MOSAIC, neutral=None), "--weights", toy_file)
    assert "estimated from the picture" in result.stderr


def test_bare_mosaics_are_developed_with_their_levels(toy_file: Path, tmp_path: Path) -> None:
    Image.fromarray(MOSAIC).save(tmp_path / "mosaic.png")
    levels = ("--cfa", "BGGR", "--black-level", 63, "--white-level", 4095)
    result = call("develop", tmp_path / "mosaic.png", *levels, "--weights", toy_file)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "mosaic-lwisp.jpg").is_file()
    assert call("develop", tmp_path / "mosaic.png", "--cfa", "BGGR", "--weights", toy_file).exit_code == 2


def test_failed_files_are_named_at_the_end_and_the_exit_code_is_1(
    write_dng: WriteDng, toy_file: Path, tmp_path: Path
) -> None:
    good, bad = write_dng(MOSAIC), tmp_path / "bad.dng"
    bad.write_bytes(good.read_bytes()[:2000])
    result = call("develop", bad, good, "--weights", toy_file)
    assert result.exit_code == 1
    assert good.with_name("photo-lwisp.jpg").is_file()
    lines = result.stderr.splitlines()
    assert lines[-1] == "lwisp: 1 of 2 files failed: bad.dng"
    assert any(line.startswith(f"lwisp: {bad}: ") for line in lines)
    again = call("develop", good, "--weights", toy_file, "--exposure", 1)
    assert again.exit_code == 1
    assert "exists already, made of another file or with other weights or settings" in again.stderr
    assert call("develop", good, "--weights", toy_file, "--overwrite").exit_code == 0


def test_usage_errors_are_one_sentence_with_exit_code_2(write_dng: WriteDng, toy_file: Path, tmp_path: Path) -> None:
    path = write_dng(MOSAIC)
    other = tmp_path / "other"
    other.mkdir()
    for arguments, word in (
        ((path, "--weights", "foto"), "unknown weights"),
        ((path, "--weights", path), "expected weights"),
        ((other, "--weights", toy_file), "no such files"),
        ((path, "--weights", toy_file, "--exposure", "nan"), "expected an exposure"),
        ((path, "--weights", toy_file, "-o", "x.bmp"), "a name ending in"),
        ((path, "--weights", "x" * 300 + ".safetensors"), "cannot be read"),
        ((path, path.parent / "b.dng", "-o", "a.jpg", "--weights", toy_file), "names one picture for 2 files"),
    ):
        result = call("develop", *arguments)
        assert result.exit_code == 2, result.output
        assert word in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert call("develop", path, "--exposure", "nan-ish").exit_code == 2
    assert call("develop").exit_code == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_one_clear_error(write_dng: WriteDng, toy_file: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    result = call("develop", write_dng(MOSAIC), "-o", closed, "--weights", toy_file)
    assert result.exit_code == 1
    assert "Permission denied" in result.stderr


def test_train_and_evaluate_run_from_the_command_line(photos: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "toy.toml"
    recipe.write_text(
        'name = "toy"\nlicence = "MIT"\nsteps = 2\nbatch = 1\ncrop = 32\nalpha = 0\n[architecture]\nwidth = 4\n'
    )
    shutil.copytree(photos, tmp_path / "data" / "train")
    output = tmp_path / "toy.safetensors"
    result = call("train", recipe, "--data", tmp_path / "data", "--output", output)
    assert result.exit_code == 0, result.output
    result = call("evaluate", output, "--data", photos, "--output", tmp_path / "report")
    assert result.exit_code == 0, result.output
    assert "| noisy | network |" in result.stdout
    assert call("evaluate", output, "--data", tmp_path / "none").exit_code == 1
    assert call("train", tmp_path / "none.toml", "--output", output).exit_code == 2
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {"report.md", "report.json", "rows.csv", "sheet.png"}
    assert call("evaluate", output, "--data", photos, "--output", tmp_path / "report").exit_code == 2


def test_data_that_are_not_there_stop_training_before_it_begins(tmp_path: Path) -> None:
    zurich = ROOT / "recipes" / "zurich.toml"
    for data, words in {
        tmp_path / "none": "no such folder; --data names where the data lie",
        tmp_path: "expected a folder with .png",
    }.items():
        result = call("train", zurich, "--data", data, "--output", tmp_path / "new.safetensors")
        assert (result.exit_code, words in result.stderr) == (1, True), result.stderr
        assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    result = call("reproduce", "table5", zurich, "--data", tmp_path / "none", "--output", tmp_path / "results")
    assert (result.exit_code, "no such folder" in result.stderr) == (1, True)
    result = call("synthesize", "zurich", tmp_path, "--output", tmp_path / "new")
    assert (result.exit_code, "expected a folder of photographs" in result.stderr) == (1, True)
    result = call("synthesize", "dng", tmp_path, "--headroom", "9", "--output", tmp_path / "new")
    assert (result.exit_code, "expected a headroom of 0 to 6 EV, got 9" in result.stderr) == (1, True)


def test_scores_are_recorded_on_the_card_and_shown(toy_file: Path, photos: Path) -> None:
    before = load(toy_file)
    assert call("evaluate", toy_file, "--data", photos, "--record").exit_code == 0
    after = load(toy_file)
    assert set(after.card.scores) == {"photos/val"}
    assert after.card.scores["photos/val"]["data"] == "3 pictures of photos"
    for name, value in before.network.state_dict().items():
        assert torch.equal(after.network.state_dict()[name], value)
    shown = call("weights", "show", toy_file).stdout
    assert "# Weights `toy`" in shown
    assert "- clean, menon:" in shown
    assert "photo" in call("weights", "list").stdout
    assert call("weights", "show", "foto").exit_code == 2


def test_help_and_import_bring_no_heavy_module() -> None:
    code = "import sys, lwisp, lwisp.cli; print([m for m in ('torch', 'numpy', 'rawpy', 'PIL') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_no_traceback_reaches_the_user(tmp_path: Path, toy_file: Path) -> None:
    (tmp_path / "bad.dng").write_text("no")
    command = [sys.executable, "-m", "lwisp", "develop", str(tmp_path / "bad.dng"), "--weights", str(toy_file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "not a RAW file" in result.stderr


def test_compare_writes_a_page_and_names_what_failed(
    write_dng: WriteDng, toy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    good, bad = write_dng(MOSAIC), tmp_path / "bad.dng"
    result = call("compare", good, "--output", tmp_path / "page", "--weights", toy_file)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "page" / "compare.html")
    again = call("compare", good, "--output", tmp_path / "page", "--weights", toy_file)
    assert (again.exit_code, "exists already" in again.stderr) == (2, True)
    bad.write_text("no RAW")
    result = call("compare", good, bad, "--output", tmp_path / "page", "--weights", toy_file, "--overwrite")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "lwisp: 1 of 2 files failed"
    none = call("compare", good, "--output", tmp_path / "new", "--charts", tmp_path / "none", "--weights", toy_file)
    assert (none.exit_code, "cannot be read" in none.stderr) == (2, True)


def test_compare_draws_networks_beside_each_other(write_dng: WriteDng, toy_file: Path, tmp_path: Path) -> None:
    wanted = ("compare", write_dng(MOSAIC), "-o", tmp_path / "out", "--weights", toy_file, "--networks")
    result = call(*wanted, toy_file)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "out" / "figure.png")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["figure.csv", "figure.png"]
    again = call(*wanted, toy_file)
    assert (again.exit_code, "exists already" in again.stderr) == (2, True)
    none = call(*wanted, "nothing", "--overwrite")
    assert (none.exit_code, "nothing" in none.stderr) == (2, True)
    charts = call(*wanted, toy_file, "--overwrite", "--charts", tmp_path / "charts.json")
    assert (charts.exit_code, "drop --charts" in charts.stderr) == (2, True)


def test_learned_weights_are_listed_picked_for_their_camera_and_removed(
    toy: Weights, write_dng: WriteDng, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = tmp_path / "data" / "lwisp" / "weights"
    path = write_dng(MOSAIC)
    card = replace(toy.card, name="testcam", camera=Camera(read_raw(path).camera, "Vivid"))
    save(folder / "testcam.safetensors", toy.network, card)
    assert call("weights", "list").stdout.splitlines()[-1].split()[:5] == [
        "testcam",
        "develop",
        "Lwisp",
        "Testcam",
        "Vivid",
    ]
    result = call("develop", path)
    assert result.exit_code == 0, result.output
    assert "weights testcam, the look of Lwisp Testcam" in result.stderr
    named = call("develop", path, "--weights", "testcam", "-o", tmp_path / "named.jpg")
    assert named.exit_code == 0, named.output
    assert (tmp_path / "named.jpg").read_bytes() == path.with_name("photo-lwisp.jpg").read_bytes()
    assert "Look of Lwisp Testcam Vivid" in call("weights", "show", "testcam").stdout

    assert call("weights", "remove", "testcam").exit_code == 0
    again = call("weights", "remove", "testcam")
    assert again.exit_code == 2
    assert "no learned weights 'testcam'" in again.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "x"), "belong to recipes"),
        ((), "no RAW files in this folder"),
        (("--overwrite", "no-recipe.toml"), None),
    ],
)
def test_a_folder_that_teaches_nothing_is_refused(
    arguments: tuple[str, ...], message: str | None, tmp_path: Path
) -> None:
    source = () if message is None else (tmp_path,)
    result = call("train", *source, *arguments)
    assert result.exit_code in (1, 2)
    assert (message or "a recipe takes --output") in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("jpeg", ["IMG_1.jpg", "IMG_1.JPG"])
def test_a_cameras_jpeg_survives_whatever_is_asked_of_a_folder(
    jpeg: str, write_dng: WriteDng, toy_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    write_dng(MOSAIC, name="photos/IMG_1.dng")
    Image.fromarray(MOSAIC.astype(np.uint8)).save(folder / jpeg)
    content = (folder / jpeg).read_bytes()
    codes = [
        call("develop", folder, "--weights", toy_file, *options).exit_code
        for options in ((), ("--overwrite",), ("-o", folder, "--overwrite"))
    ]
    assert codes == [0, 0, 0]
    assert sorted(path.name for path in folder.iterdir()) == sorted([jpeg, "IMG_1-lwisp.jpg", "IMG_1.dng"])
    assert (folder / jpeg).read_bytes() == content
    named = call("develop", folder / "IMG_1.dng", "--weights", toy_file, "-o", folder / jpeg)
    assert (named.exit_code, "--overwrite replaces it" in named.stderr) == (1, True)
    assert (folder / jpeg).read_bytes() == content
    assert (
        call("develop", folder / "IMG_1.dng", "--weights", toy_file, "-o", folder / jpeg, "--overwrite").exit_code == 0
    )


def test_an_unforeseen_failure_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "registered_commands", list(app.registered_commands))

    @app.command()
    def fail() -> None:
        raise ZeroDivisionError("by nought")

    result = call("fail")
    assert result.exit_code == 1
    assert result.stderr.startswith("lwisp: failed for an unforeseen reason (ZeroDivisionError: by nought)")
    assert result.stderr.count("\n") == 1


EVIL = "a\x1b[2Jb\nlwisp: all is well\u202e"


def test_names_are_shown_and_not_obeyed(write_dng: WriteDng, toy_file: Path, tmp_path: Path) -> None:
    good = write_dng(MOSAIC, neutral=None, name=f"{EVIL}.dng")
    done = call("develop", good, "--weights", toy_file)
    assert done.exit_code == 0, done.output
    assert r"a\x1b[2Jb\nlwisp: all is well\u202e.dng -> " in done.stdout
    assert r"\u202e.dng: the file has no as-shot white balance" in done.stderr
    folder = tmp_path / EVIL
    folder.mkdir()
    for result in (
        done,
        call("develop", good.with_suffix(".cr2"), "--weights", toy_file),
        call("develop", folder, "--weights", toy_file),
        call("develop", good, "--weights", tmp_path / f"{EVIL}.safetensors"),
        call("denoise", good.with_suffix(".jpg")),
        call("train", folder),
        call("train", folder / "recipe.toml", "-o", tmp_path / "x.safetensors"),
        call("weights", "show", f"{EVIL}.safetensors"),
        call("compare", good.with_suffix(".cr2"), "-o", tmp_path / "page", "--charts", folder),
    ):
        assert r"\x1b[2Jb" in result.output
        assert not {"\x1b", "\u202e"} & set(result.output)
        assert not any(line.startswith("lwisp: all is well") for line in result.output.splitlines())


def test_a_name_that_is_no_text_is_shown(tmp_path: Path, toy_file: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/no-\xff-text.dng")
    command = [sys.executable, "-m", "lwisp", "develop", path, "--weights", str(toy_file), "--backend", "torch"]
    done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert rb"no-\xff-text.dng" in done.stderr
    assert b"Traceback" not in done.stderr


def test_the_traceback_of_an_unforeseen_failure_is_shown_if_asked_for(
    write_dng: WriteDng, toy_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_dng(MOSAIC)
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "level", log.level)

    def fail(*_: object) -> None:
        raise RuntimeError("of an engine\nin two lines")

    monkeypatch.setattr("lwisp.pipeline.develop_with", fail)
    short, long = (call("develop", path, "--weights", toy_file, *options) for options in ((), ("-v",)))
    assert (short.exit_code, long.exit_code) == (1, 1)
    sentence = f"lwisp: {path}: failed for an unforeseen reason (RuntimeError: of an engine in two lines)"
    assert short.stderr.splitlines() == [sentence, "lwisp: 1 of 1 files failed"]
    assert "Traceback" in long.stderr
    assert long.stderr.splitlines()[-2:] == short.stderr.splitlines()


def test_finished_pictures_may_be_as_large_as_is_said(tmp_path: Path, toy_file: Path) -> None:
    Image.fromarray(MOSAIC).save(tmp_path / "mosaic.png")
    levels = ("--cfa", "BGGR", "--black-level", 63, "--white-level", 4095, "--weights", toy_file)
    assert call("develop", tmp_path / "mosaic.png", *levels, "--max-pixels", 2400).exit_code == 0
    for arguments in (("develop", *levels), ("denoise",), ("enhance",)):
        verb, *options = arguments
        result = call(verb, tmp_path / "mosaic.png", *options, "--max-pixels", 2399, "-o", tmp_path / "x.png")
        assert (result.exit_code, "40x60 px" in result.stderr) == (1, True), result.output


def test_overwriting_a_report_leaves_files_that_are_none(
    photos: Path, write_dng: WriteDng, toy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("lwisp.evaluation.comparison.all_tools", lambda *arguments: all_tools(*arguments)[:3])
    raw = write_dng(MOSAIC)
    for verb, arguments, names in (
        ("evaluate", (toy_file, "--data", photos, "--side", 168), ("sheet.png", "report.md", "rows.csv")),
        ("compare", (raw, "--weights", toy_file), ("compare.png", "compare.html", "compare.csv")),
    ):
        for name in names:
            folder = tmp_path / verb / name
            folder.mkdir(parents=True)
            (folder / name).write_text("mine")
            result = call(verb, *arguments, "--output", folder, "--overwrite")
            assert (result.exit_code, "was not written by lwisp" in result.stderr) == (2, True), result.output
            assert [(path.name, path.read_text()) for path in folder.iterdir()] == [(name, "mine")]
        for _ in range(2):
            result = call(verb, *arguments, "--output", tmp_path / verb / "new", "--overwrite")
            assert result.exit_code == 0, result.output


def test_pages_that_are_not_ours_are_left(tmp_path: Path) -> None:
    notes = tmp_path / "table3.md"
    notes.write_text("my notes")
    result = call("reproduce", "table3", "-o", tmp_path)
    assert (result.exit_code, notes.read_text()) == (1, "my notes")
    assert "was not written by lwisp" in result.stderr


def test_a_name_that_is_too_long_fails_by_itself(write_dng: WriteDng, toy_file: Path, tmp_path: Path) -> None:
    source = write_dng(np.random.default_rng(0).integers(0, 4000, (64, 64), dtype=np.uint16))
    result = call("develop", "n" * 300 + ".dng", source, "--weights", toy_file, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert (tmp_path / "out" / f"{source.stem}.jpg").exists()
    assert "1 of 2 files failed" in result.stderr


def test_a_white_balance_is_said_where_it_was_estimated_and_refused_where_it_is_none(
    write_dng: WriteDng, toy_file: Path
) -> None:
    path = write_dng(MOSAIC, neutral=None)
    guessed = call("develop", path, "--weights", toy_file)
    assert "no as-shot white balance: estimated from the picture" in guessed.stderr
    told = call("develop", path, "--weights", toy_file, "--white-balance", "5200,10", "--overwrite")
    assert (told.exit_code, "white balance" in told.stderr) == (0, False)
    wrong = call("develop", path, "--weights", toy_file, "--white-balance", "noon", "--overwrite")
    assert wrong.exit_code == 2
    assert "expected a white balance of as-shot, auto, daylight, KELVIN" in wrong.stderr
