"""Many files: none is lost, whatever lies around them and whatever goes wrong with one."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lwisp.batch import Finished, Made, Outcome, work
from lwisp.errors import InputError, OutputError
from lwisp.files.decoding import is_own
from lwisp.files.pictures import Picture, own_format, read_picture, write_picture
from lwisp.files.writing import check_output
from lwisp.planning import MARK, Job, plan
from lwisp.weights import Card, InputConvention, Weights
from tests.conftest import TOY

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
SUFFIXES = frozenset([".jpg", ".png"])
Step = Callable[[Path], Any]


def camera_picture(path: Path) -> bytes:
    """A picture that lwisp did not write."""
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(RGB).save(path)
    return path.read_bytes()


def run(
    jobs: list[Job],
    overwrite: bool = False,
    read: Callable[[Path], Picture] = read_picture,
    make: Step = lambda path: None,
    memory: float | None = None,
) -> list[str]:
    """What the jobs come to, if each is to copy its picture: an error for each, or nothing."""
    weights = SimpleNamespace(card=Card("copy", TOY, InputConvention(), "MIT"), sha256="")
    engine = SimpleNamespace(description="")

    def copy(picture: Picture, job: Job) -> Made:
        make(job.source)
        return Made(picture.rgb, weights, engine)  # type: ignore[arg-type]

    def write(finished: Finished[Picture]) -> None:
        job = finished.job
        write_picture(job.output, finished.made.picture, job.picture, finished.source.exif, finished.replaces)

    outcomes: list[Outcome] = list(work(jobs, read, copy, write, memory, overwrite))
    assert [outcome.source for outcome in outcomes] == [job.source for job in jobs]
    return [outcome.error for outcome in outcomes]


def planned(*sources: Path, output: Path | None = None, mark: str = MARK) -> list[Job]:
    return plan(list(sources), output, None, SUFFIXES, own_format, mark)


@pytest.mark.parametrize("name", ["IMG.jpg", "IMG.JPG"])
def test_beside_its_raw_a_picture_never_has_a_cameras_name(name: str, tmp_path: Path) -> None:
    content = camera_picture(tmp_path / name)
    raw = tmp_path / "IMG.dng"
    raw.touch()
    for output in (None, tmp_path, tmp_path / ".." / tmp_path.name):
        (job,) = plan([raw], output, None)
        assert job.output.name == "IMG-lwisp.jpg"
        assert not job.is_named
    (job,) = plan([raw], tmp_path / "other", None)
    assert job.output == tmp_path / "other" / "IMG.jpg"
    assert (tmp_path / name).read_bytes() == content


def test_a_folder_given_by_a_link_is_the_same_folder(tmp_path: Path) -> None:
    folder, link = tmp_path / "photos", tmp_path / "link"
    folder.mkdir()
    (folder / "IMG.dng").touch()
    link.symlink_to(folder)
    assert [job.output.name for job in plan([folder], link, None)] == ["IMG-lwisp.jpg"]


def test_overwriting_replaces_only_what_lwisp_wrote(tmp_path: Path) -> None:
    camera_picture(tmp_path / "in" / "a.jpg")
    camera_picture(tmp_path / "in" / "b.jpg")
    others = camera_picture(tmp_path / "out" / "a.jpg")
    write_picture(tmp_path / "out" / "b.jpg", RGB[:10], "jpg")
    jobs = planned(tmp_path / "in", output=tmp_path / "out")
    without = run(jobs)
    assert "was not written by lwisp" in without[0]
    assert "--overwrite" not in without[0]  # it would not help
    assert "--overwrite replaces it" in without[1]
    errors = run(jobs, overwrite=True)
    assert errors[0] == without[0]
    assert errors[1] == ""
    assert (tmp_path / "out" / "a.jpg").read_bytes() == others
    assert read_picture(tmp_path / "out" / "b.jpg").rgb.shape == RGB.shape
    assert run(jobs, overwrite=True)[1] == ""  # and again what it has just made


def test_what_another_process_makes_in_the_very_moment_of_the_look_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera_picture(tmp_path / "in" / "a.jpg")
    (job,) = planned(tmp_path / "in", output=tmp_path / "out")
    looks: list[Path] = []

    def check(path: Path, *settings: Any) -> None:
        if looks:  # the second look of a job, when the first has found nothing
            write_picture(tmp_path / "out" / "a.jpg", RGB[:10], "jpg", overwrite=True)
        looks.append(path)
        check_output(path, *settings)

    monkeypatch.setattr("lwisp.batch.check_output", check)
    made = Made(RGB)
    written: list[Path] = []
    (outcome,) = work(
        [job],
        read_picture,
        lambda picture, job: made,
        lambda finished: written.append(finished.job.output),
        is_done=lambda job: job.output.exists(),
    )
    assert (outcome.error, outcome.is_done_before, written) == ("", True, [])


def test_one_file_that_the_user_names_may_be_any(tmp_path: Path) -> None:
    camera_picture(tmp_path / "a.jpg")
    camera_picture(tmp_path / "b.jpg")
    jobs = planned(tmp_path / "a.jpg", output=tmp_path / "b.jpg")
    assert jobs[0].is_named
    assert "--overwrite replaces it" in run(jobs)[0]
    assert run(jobs, overwrite=True) == [""]
    assert is_own(tmp_path / "b.jpg")


def test_a_name_that_differs_in_case_only_is_the_same_elsewhere(tmp_path: Path) -> None:
    """On macOS and Windows; so the same command must not make them where it can."""
    camera_picture(tmp_path / "in" / "IMG.png")
    content = camera_picture(tmp_path / "out" / "img.PNG")
    jobs = planned(tmp_path / "in", output=tmp_path / "out")
    for overwrite in (False, True):
        assert f"{tmp_path / 'out' / 'img.PNG'} exists already and was not written" in run(jobs, overwrite)[0]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["img.PNG"]
    assert (tmp_path / "out" / "img.PNG").read_bytes() == content


@pytest.mark.parametrize("names", [("IMG.png", "img.png"), ("caf\xe9.png", "cafe\u0301.png")], ids=ascii)
def test_two_outputs_that_some_file_systems_take_for_one_are_not_both_made(
    names: tuple[str, str], tmp_path: Path
) -> None:
    sources = [tmp_path / str(index) / name for index, name in enumerate(names)]
    for source in sources:
        camera_picture(source)
    jobs = [Job(source, tmp_path / "out" / source.name, "png") for source in sources]
    errors = run(jobs, overwrite=True)
    assert errors[0] == ""
    assert f"was just made from {sources[0]}" in errors[1]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [names[0]]
    shutil.rmtree(tmp_path / "out")
    assert run(planned(*sources, output=tmp_path / "out")) == ["", ""]  # planned together they get two names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"0_{names[0]}", f"1_{names[1]}"]


def test_two_outputs_in_one_folder_by_two_paths_are_told_apart_from_none(tmp_path: Path) -> None:
    camera_picture(tmp_path / "a.png")
    camera_picture(tmp_path / "b.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    jobs = [Job(tmp_path / "a.png", tmp_path / "out" / "x.png", "png")]
    jobs.append(Job(tmp_path / "b.png", tmp_path / "link" / "x.png", "png"))
    errors = run(jobs, overwrite=True)
    assert (errors[0], "was just made from" in errors[1]) == ("", True)


@pytest.mark.parametrize("link", [os.link, os.symlink])
@pytest.mark.parametrize("named", [False, True])
def test_an_output_that_is_an_input_by_a_link_is_refused(
    link: Callable[[Path, Path], None], named: bool, tmp_path: Path
) -> None:
    write_picture(tmp_path / "a.png", RGB, "png")  # even of lwisp's own
    write_picture(tmp_path / "b.png", RGB, "png")
    content = (tmp_path / "b.png").read_bytes()
    (tmp_path / "out").mkdir()
    for name in ("a", "b"):
        link(tmp_path / "b.png", tmp_path / "out" / f"{name}.png")
    jobs = [Job(tmp_path / f"{name}.png", tmp_path / "out" / f"{name}.png", "png", named) for name in ("a", "b")]
    errors = run(jobs, overwrite=True)
    assert "is one of the files to be read" in errors[0]
    assert "is the file itself" in errors[1]
    for path in (tmp_path / "b.png", tmp_path / "out" / "a.png", tmp_path / "out" / "b.png"):
        assert path.read_bytes() == content


def test_a_file_that_comes_while_another_is_worked_on_is_kept(tmp_path: Path) -> None:
    """As when a camera's card is copied at the same time."""
    camera_picture(tmp_path / "in" / "a.jpg")
    (tmp_path / "out").mkdir()
    arrived = []
    errors = run(
        planned(tmp_path / "in", output=tmp_path / "out"),
        overwrite=True,
        make=lambda _: arrived.append(camera_picture(tmp_path / "out" / "a.jpg")),
    )
    assert "was not written by lwisp" in errors[0]
    assert (tmp_path / "out" / "a.jpg").read_bytes() == arrived[0]


FAILURES = [
    RuntimeError("Exception from src/inference/src/cpp/core.cpp:104:\nCheck failed"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
    MemoryError(),
    OSError(28, "No space left on device"),
    OutputError("disk full"),
    TypeError("'NoneType' object is not subscriptable"),
    InputError("expected something else"),
    AssertionError(),
]


@pytest.mark.parametrize("memory", [None, 1.0])
@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["read", "make"])
def test_whatever_goes_wrong_with_a_file_the_others_are_done(
    error: Exception, where: str, memory: float | None, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        camera_picture(tmp_path / "in" / f"{name}.png")

    def fail(path: Path) -> None:
        if path.stem == "b":
            raise error

    def read(path: Path) -> Picture:
        if where == "read":
            fail(path)
        return read_picture(path)

    jobs = planned(tmp_path / "in", output=tmp_path / "out")
    errors = run(jobs, read=read, make=fail if where == "make" else lambda _: None, memory=memory)
    assert [bool(found) for found in errors] == [False, True, False]
    assert "\n" not in errors[1]
    assert isinstance(error, InputError) or errors[1].startswith(f"{jobs[1].source}: ")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


def test_the_log_has_the_traceback_of_what_nobody_foresaw(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    camera_picture(tmp_path / "a.png")

    def fail(path: Path) -> None:
        raise ZeroDivisionError("division by zero") if path.stem == "a" else InputError("no picture")

    with caplog.at_level(logging.DEBUG, "lwisp"):
        (error,) = run(planned(tmp_path / "a.png"), make=fail)
    assert error == f"{tmp_path / 'a.png'}: failed for an unforeseen reason (ZeroDivisionError: division by zero)"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


def test_the_keyboard_stops_all(tmp_path: Path) -> None:
    camera_picture(tmp_path / "a.png")

    def stop(_: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(planned(tmp_path / "a.png"), make=stop)


def test_what_killed_runs_left_in_the_folders_to_be_written_is_deleted(tmp_path: Path) -> None:
    camera_picture(tmp_path / "in" / "a.png")
    left = [tmp_path / folder / ".lwisp-00000000-1-0123456789abcdef.tmp" for folder in ("in", "out")]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (0, 0))
    assert run(planned(tmp_path / "in", output=tmp_path / "out")) == [""]
    assert [path.exists() for path in left] == [True, False]
    assert run(planned(tmp_path / "in")) == [""]
    assert not left[0].exists()


def test_a_raw_among_finished_pictures_is_refused_with_what_to_do(tmp_path: Path) -> None:
    from lwisp.architecture import LWISPConfig
    from lwisp.data.datasets import AS_SENSED
    from lwisp.model import LWISP
    from lwisp.restoration import restore_files

    torch.manual_seed(0)
    config = LWISPConfig(width=4, in_channels=3, upsample=False, residual=True)
    weights = Weights(LWISP(config).eval(), Card("toy", config, AS_SENSED, "MIT"))
    camera_picture(tmp_path / "a.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "b.CR2")  # whatever is in it
    jobs = plan([tmp_path / "b.CR2", tmp_path / "a.png"], None, None, SUFFIXES, own_format, "-denoised")
    errors = [outcome.error for outcome in restore_files("denoise", weights, jobs, backend="torch", passes=1)]
    assert "`lwisp develop`" in errors[0]
    assert "`lwisp denoise-raw`" in errors[0]
    assert errors[1] == ""
    jobs = plan([tmp_path / "a.png"], tmp_path / "c.png", None, SUFFIXES, own_format)
    (outcome,) = restore_files("denoise", weights, jobs, backend="torch", passes=1, max_pixels=599)
    assert "20x30 px" in outcome.error
