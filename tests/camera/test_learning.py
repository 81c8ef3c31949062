"""From a folder of pairs to weights that develop picks by itself."""

import errno
import hashlib
import os
import shutil
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from PIL import Image

import lwisp
from lwisp import weights
from lwisp.camera import learning, look, photos, report, scoring
from lwisp.camera.pairs import Pair, find_pairs
from lwisp.camera.placement import AlignedPair, align
from lwisp.camera.settings import (
    CameraSettings,
    LookFit,
    NetworkFit,
    PieceLimits,
    ReportSettings,
    ValidationSettings,
)
from lwisp.collection import OWN, TITLE, remove
from lwisp.data import synthetic
from lwisp.development import develop_files, pick
from lwisp.errors import OutputError
from lwisp.files.exif import EXIF_IFD
from lwisp.files.pictures import read_rgb
from lwisp.files.raw import RawImage, read_raw
from lwisp.files.runs import run_folder
from lwisp.files.writing import write_csv
from lwisp.imaging.metrics import delta_e
from lwisp.planning import plan
from lwisp.weights import LearnedPair
from tests.conftest import SAMPLE

CAMERA = "lwisp plain DNG"  # what synthetic files say of themselves
FAST = CameraSettings(
    look=LookFit(steps=150, shading_steps=40),
    validation=ValidationSettings(draws=1),
    report=ReportSettings(tools=("rawpy default",)),
)
BRIEF = replace(FAST, look=LookFit(steps=20), validation=ValidationSettings(folds=2, draws=1))
learn = partial(learning.learn, settings=FAST)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pairs of a camera with a hard look."""
    photos = tmp_path_factory.mktemp("photos")
    for index in range(4):
        rng = np.random.default_rng(index)
        picture = np.zeros((256, 320, 3), np.uint8)
        for side in (64, 32, 16):  # a patchwork: many colors, edges everywhere
            colors = rng.integers(10, 245, (256 // side, 320 // side, 3), dtype=np.uint8)
            chosen = rng.random(colors.shape[:2]) < (1 if side == 64 else 0.4)
            big = np.ones((side, side, 1), np.uint8)
            picture = np.where(np.kron(chosen[..., None], big), np.kron(colors, big), picture).astype(np.uint8)
        Image.fromarray(picture).save(photos / f"{index}.png")
    made = photos / "camera"
    synthetic.write_camera(made, sorted(photos.glob("*.png")))
    return made


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.mark.slow
def test_a_look_is_learned_proven_and_picked_for_its_camera(folder: Path, tmp_path: Path) -> None:
    (learned,), refusals = learn(folder)
    assert not refusals
    assert learned.weights == tmp_path / "data" / "lwisp" / "weights" / "lwisp-plain-dng.safetensors"
    assert learned.report is not None
    assert len(learned.report.photos) == 4
    near = learned.report.mean(OWN)
    assert near < 0.7 * learned.report.mean("rawpy default")
    assert learned.page is not None
    assert f"| {OWN} | {near:.2f} |" in learned.page.with_suffix(".md").read_text()

    card = weights.read_card(learned.weights)
    assert card.convention.exposure == "none"
    assert card.camera is not None
    assert (card.camera.name, len(card.camera.pairs)) == (CAMERA, 4)
    assert card.training["look"] == asdict(FAST.look)
    assert card.training["pair limits"] == asdict(FAST.pairs)
    assert card.training["cross-validation"] == asdict(FAST.validation)
    assert card.training["whole network"] is None
    assert LearnedPair("0.dng", hashlib.sha256((folder / "0.dng").read_bytes()).hexdigest()) in card.camera.pairs

    raw = read_raw(folder / "0.dng")
    chosen = pick(raw)
    assert chosen.card == card
    picture = torch.from_numpy(lwisp.develop(chosen, raw)).permute(2, 0, 1)
    jpeg = torch.from_numpy(read_rgb(folder / "0.jpg")).permute(2, 0, 1) / 255
    plain = torch.from_numpy(lwisp.develop(lwisp.load("photo"), raw)).permute(2, 0, 1)
    assert delta_e(picture, jpeg) < 0.7 * delta_e(plain, jpeg)
    assert pick(read_raw(SAMPLE)).card.name == "photo"

    outcomes = list(develop_files(pick, plan([folder / "0.dng", SAMPLE], tmp_path / "out", None)))
    assert [outcome.weights for outcome in outcomes] == ["lwisp-plain-dng", "photo"]
    assert [outcome.camera and outcome.camera.name for outcome in outcomes] == [CAMERA, None]

    with pytest.raises(lwisp.InputError, match="exists already"):
        learn(folder)
    assert learned.weights in remove("lwisp-plain-dng").files
    assert pick(raw).card.name == "photo"
    with pytest.raises(lwisp.InputError, match="weights 'photo' are part of lwisp"):
        remove("photo")


@pytest.mark.slow
def test_what_was_stopped_goes_on_and_gives_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = tmp_path / "whole.safetensors", tmp_path / "stopped.safetensors"
    make_report = report.make_report

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "make_report", interrupt)
    with pytest.raises(KeyboardInterrupt):
        learn(folder, stopped)
    assert not stopped.exists()
    monkeypatch.setattr(report, "make_report", make_report)
    monkeypatch.setattr(look, "fit", None)  # all that is fitted lies there already
    learn(folder, stopped)
    monkeypatch.undo()
    assert lwisp.load(stopped).card.camera is not None
    assert not whole.exists()


@pytest.mark.slow
def test_what_was_stopped_before_its_report_is_finished_by_the_same_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, reports = tmp_path / "own.safetensors", tmp_path / "reports"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "write_csv", interrupt)
    with pytest.raises(KeyboardInterrupt):
        learn(folder, own, reports, settings=BRIEF)
    first = own.read_bytes()
    (reports / "own.html").write_text("begun")
    other = tmp_path / "other"
    other.mkdir()
    (other / "own.html").write_text("another's report")
    with pytest.raises(lwisp.InputError, match=r"own\.html exists already"):
        learn(folder, own, other, settings=BRIEF)
    own.write_bytes(b"another's weights")
    with pytest.raises(lwisp.InputError, match=r"own\.safetensors exists already"):
        learn(folder, own, reports, settings=BRIEF)
    own.write_bytes(first)
    monkeypatch.setattr(report, "write_csv", write_csv)
    learn(folder, own, reports, settings=BRIEF)
    assert own.read_bytes() == first
    assert "<h1>" in (reports / "own.html").read_text()
    with pytest.raises(lwisp.InputError, match="exists already"):
        learn(folder, own, reports, settings=BRIEF)


@pytest.mark.slow
def test_every_photo_is_decoded_and_aligned_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    aligned: list[str] = []

    def count_read(path: Path) -> RawImage:
        decoded.append(path.name)
        return read_raw(path)

    def count_align(pair: Pair, *rest: Any) -> AlignedPair:
        aligned.append(pair.raw.name)
        return align(pair, *rest)

    monkeypatch.setattr(photos, "read_raw", count_read)
    monkeypatch.setattr(photos, "align", count_align)
    names = [f"{index}.dng" for index in range(4)]
    (learned,), _ = learn(folder, tmp_path / "own.safetensors", settings=BRIEF)
    assert (decoded, aligned) == (names, names)
    small = replace(BRIEF, memory=0)
    (again,), _ = learn(folder, tmp_path / "own.safetensors", overwrite=True, settings=small)
    assert aligned == names  # what is decoded again is not aligned again
    assert learned.report is not None
    assert again.report is not None
    assert again.report.scores == learned.report.scores


@pytest.mark.slow
def test_many_full_size_pairs_teach_the_whole_network(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(
        FAST,
        network=NetworkFit(min_photos=4, steps=6, batch=2, crop=32),
        pieces=PieceLimits(side=64),
        validation=replace(FAST.validation, min_gain=-100.0),  # taken even where six steps do no good
    )
    (learned,), _ = learn(folder, tmp_path / "whole.safetensors", settings=settings)
    assert learned.report is not None
    assert learned.report.whole
    assert learned.report.photos == ("0.dng",)  # what the network was not shown
    assert set(learned.report.ways) == {OWN, report.ALONE, report.BASELINE, "rawpy default"}
    assert learned.weights is not None
    network, base = lwisp.load(learned.weights).network, lwisp.load("photo").network
    changed = [
        not torch.equal(value, base.state_dict()[key])
        for key, value in network.state_dict().items()
        if "look" not in key
    ]
    assert sum(changed) > len(changed) / 2
    raw = read_raw(folder / "0.dng")
    picture = torch.from_numpy(lwisp.develop(lwisp.load(learned.weights), raw)).permute(2, 0, 1)
    jpeg = torch.from_numpy(read_rgb(folder / "0.jpg")).permute(2, 0, 1) / 255
    assert delta_e(picture, jpeg) == pytest.approx(learned.report.mean(OWN), abs=0.8)  # of what is usable

    settings = replace(settings, validation=replace(FAST.validation, min_gain=100.0))
    (alone,), _ = learn(folder, tmp_path / "alone.safetensors", settings=settings)
    # nothing is as much better: the look alone stays
    assert alone.report is not None
    assert not alone.report.whole
    assert len(alone.report.photos) == 4


@pytest.mark.slow
def test_wrong_pairs_are_named_and_change_nothing(folder: Path, tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    shutil.copytree(folder, planted)
    for name in ("cut-short", "merged", "other"):
        shutil.copy(folder / "1.dng", planted / f"{name}.dng")
    shutil.copy(folder / "2.jpg", planted / "other.jpg")
    whole = (folder / "1.jpg").read_bytes()
    (planted / "cut-short.jpg").write_bytes(whole[: len(whole) // 2])
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[41985] = 3  # CustomRendered: HDR
    with Image.open(folder / "1.jpg") as picture:
        picture.save(planted / "merged.jpg", exif=exif)
    (learned,), refusals = learn(planted, tmp_path / "planted.safetensors")
    (good,), _ = learn(folder, tmp_path / "good.safetensors")
    reasons = {refusal.path.name: refusal.reason for refusal in refusals}
    assert "another shot" in reasons.pop("other.dng")
    assert "cannot be read" in reasons.pop("cut-short.dng")
    assert "merged of several shots" in reasons.pop("merged.dng")
    assert not reasons
    assert learned.weights is not None
    assert good.weights is not None
    assert lwisp.load(learned.weights).sha256 == lwisp.load(good.weights).sha256


def test_a_full_disk_ends_it_and_leaves_nothing_behind(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(lwisp.InputError, match=r"cannot be written: No space left on device$"):
        learn(folder, tmp_path / "own.safetensors")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_two_processes_do_not_learn_one_camera_at_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, elsewhere = tmp_path / "own.safetensors", tmp_path / "elsewhere"
    for output in (None, own):
        place = output or weights.user_folder() / "lwisp-plain-dng.safetensors"
        run = run_folder(place)
        run.mkdir(parents=True)
        with pytest.MonkeyPatch.context() as patch, FileLock(run / "lock"):
            patch.setattr(photos, "prepare_pair", None)  # not one photo is looked at
            with pytest.raises(lwisp.InputError, match=r"run: another process is learning there; wait for it, or name"):
                learn(folder, output)
        assert [path.name for path in run.iterdir()] == ["lock"]
        place.write_bytes(b"learned meanwhile")
        with pytest.raises(lwisp.InputError, match="exists already"):
            learn(folder, output)
        assert place.read_bytes() == b"learned meanwhile"
        assert not run.exists()  # nothing came to lie there
        place.unlink()
    elsewhere.mkdir()
    (elsewhere / "own.html").write_text("another's report")
    with pytest.raises(lwisp.InputError, match=r"own\.html exists already"):
        learn(folder, own, elsewhere)


def test_the_lock_is_held_to_the_end_and_let_go_of(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, seen = tmp_path / "own.safetensors", []

    def prepare_pair(*_: object) -> None:
        with pytest.raises(Timeout):
            FileLock(run_folder(own) / "lock").acquire(timeout=0)
        seen.append("held")
        raise OutputError("stopped")

    monkeypatch.setattr(photos, "prepare_pair", prepare_pair)
    for _ in range(2):
        with pytest.raises(lwisp.InputError, match="stopped"):
            learn(folder, own)
    assert seen == ["held", "held"]


def test_two_cameras_whose_files_would_have_one_name_are_not_mixed_up(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, refusals = find_pairs(folder)
    pairs = [replace(pair, camera="相机" if index > 1 else "相機") for index, pair in enumerate(found)]
    monkeypatch.setattr(learning, "find_pairs", lambda *_: (pairs, refusals))
    with pytest.raises(lwisp.InputError, match=r"camera\.safetensors would be another camera's too"):
        learn(folder)


def test_one_pair_is_too_few_and_said_so(folder: Path, tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.mkdir()
    for suffix in ("dng", "jpg"):
        shutil.copy(folder / f"0.{suffix}", one)
    (result,), _ = learn(one)
    assert result.weights is None
    assert "the only pair of lwisp plain DNG; one more photo" in result.reason


def test_two_styles_do_not_go_into_one_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, refusals = find_pairs(folder)
    styles = [replace(pair, style="Vivid" if index > 1 else "Neutral") for index, pair in enumerate(found)]
    monkeypatch.setattr(learning, "find_pairs", lambda *_: (styles, refusals))
    with pytest.raises(
        lwisp.InputError, match=r"2 cameras or styles \(lwisp plain DNG, Neutral; lwisp plain DNG, Vivid\)"
    ):
        learn(folder, tmp_path / "one.safetensors")


def test_detail_is_told_from_softness() -> None:
    picture: NDArray[np.float32] = np.random.default_rng(0).random((128, 128, 3), np.float32)
    small = Image.fromarray((picture * 255).astype(np.uint8)).resize((64, 64))
    soft = np.asarray(small.resize((128, 128))).astype(np.float32)
    assert scoring.detail(soft) < 0.7 * scoring.detail(picture)
    assert scoring.detail(picture * np.float32(0.5)) == pytest.approx(scoring.detail(picture), rel=1e-3)


def test_names_of_files_are_plain() -> None:
    assert learning.slug("Canon PowerShot S40", "Vivid+ (1)") == "canon-powershot-s40-vivid-1"
    assert learning.slug("相机", "") == "camera"


@pytest.mark.parametrize("name", ["own.md", "own.html", "own.csv"])
@pytest.mark.parametrize("is_named", [True, False])
def test_a_report_replaces_reports_only(name: str, is_named: bool, tmp_path: Path) -> None:
    reports = tmp_path / ("reports" if is_named else "own-report")
    reports.mkdir()
    (reports / name).write_text("notes")
    for overwrite in (False, True):
        with pytest.raises(lwisp.InputError, match="not written by lwisp"):
            learning._check_free(tmp_path / "own.safetensors", reports if is_named else None, overwrite)
    (reports / "own.md").write_text(f"# {TITLE} somebody")
    learning._check_free(tmp_path / "own.safetensors", reports if is_named else None, overwrite=True)
