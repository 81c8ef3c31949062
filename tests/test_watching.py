"""A folder watched: by a clock of our own and a made-up development, and once in full by the command."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lwisp.batch import Outcome
from lwisp.cli.commands import app
from lwisp.development import Settings, develop_files
from lwisp.errors import ArgumentError, InputError
from lwisp.planning import Job
from lwisp.provenance import digest, read_provenance
from lwisp.watching import Develop, Pace, Watch
from lwisp.weights import load
from tests.conftest import ROOT, WriteDng, heed_signals


@dataclass
class World:
    """A clock that goes on only when the watch sleeps; things that happen meanwhile; files that fail."""

    folder: Path
    events: dict[int, object] = field(default_factory=dict)
    """What happens during the n-th sleep: something to call."""
    bad: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Errors and their kinds by names of files."""
    now: float = 0.0
    sleeps: int = 0
    asked: list[tuple[str, bool]] = field(default_factory=list)
    """Every file that was developed, and whether its picture might be replaced."""

    def __post_init__(self) -> None:
        self.source.mkdir(parents=True)

    @property
    def source(self) -> Path:
        return self.folder / "raw"

    @property
    def output(self) -> Path:
        return self.folder / "out"

    def put(self, name: str, content: bytes = b"raw") -> None:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(1, 10**9 * (2 + self.sleeps)))  # no two writes at one time

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.sleeps += 1
        if callable(event := self.events.get(self.sleeps)):
            event()
        if self.sleeps == 40:
            raise TimeoutError

    def develop(self, jobs: Sequence[Job], overwrite: bool) -> Iterator[Outcome]:
        for job in jobs:
            self.asked.append((job.source.name, overwrite))
            error, kind = self.bad.get(job.source.name, ("", ""))
            if not error:
                job.output.write_bytes(b"picture")
            yield Outcome(job.source, job.output, error, kind)

    def run(self, name: str = "", recursive: bool = True) -> list[Outcome]:
        watch = Watch(self.source, self.output, self.develop, None, recursive, name, False, Pace(1, 2, 10))
        found = []
        with pytest.raises(TimeoutError):
            for outcome in watch.run(self.sleep, lambda: self.now):
                found.append(outcome)  # noqa: PERF402  # it never ends
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def names(outcomes: Iterable[Outcome]) -> list[str]:
    return [str(outcome.output.relative_to(outcome.output.parents[1])) for outcome in outcomes]


def test_what_is_there_and_what_appears_is_made_once_below_the_same_folders(world: World) -> None:
    world.put("a.dng")
    world.put("notes.txt")
    world.events = {5: lambda: world.put("day 1.5/b.NEF"), 6: lambda: world.put(".hidden/c.dng")}
    outcomes = world.run()
    assert [outcome.output for outcome in outcomes] == [world.output / "a.jpg", world.output / "day 1.5" / "b.jpg"]
    assert world.asked == [("a.dng", False), ("b.NEF", False)]


def test_folders_below_are_left_out_if_asked_for(world: World) -> None:
    world.put("a.dng")
    world.put("below/b.dng")
    assert [outcome.source.name for outcome in world.run(recursive=False)] == ["a.dng"]


def test_a_file_that_grows_is_waited_for(world: World) -> None:
    world.put("a.dng", b"r")
    world.events = {step: lambda step=step: world.put("a.dng", b"r" * step) for step in range(1, 12)}
    made_at: list[int] = []
    develop = world.develop

    def note(jobs: Sequence[Job], overwrite: bool) -> Iterator[Outcome]:
        made_at.append(world.sleeps)
        return develop(jobs, overwrite)

    world.develop = note  # type: ignore[method-assign]
    assert len(world.run()) == 1
    assert made_at == [13]  # the first look after it stayed the same for two seconds


def test_a_bad_file_is_read_twice_and_told_of_once_until_it_changes(world: World) -> None:
    world.put("a.dng")
    world.put("b.dng")
    world.bad = {"a.dng": ("a.dng: damaged", "damaged")}
    world.events = {20: lambda: world.put("a.dng", b"other")}
    outcomes = world.run()
    assert [(outcome.source.name, outcome.error) for outcome in outcomes] == [
        ("b.dng", ""),
        ("a.dng", "a.dng: damaged"),
        ("a.dng", "a.dng: damaged"),
    ]
    assert [name for name, _ in world.asked].count("a.dng") == 4


def test_a_file_that_was_cut_short_when_it_was_first_read_is_not_told_of(world: World) -> None:
    world.put("a.dng")
    world.bad = {"a.dng": ("a.dng: cut short", "damaged")}
    world.events = {3: world.bad.clear}
    assert [outcome.error for outcome in world.run()] == [""]


def test_a_full_disk_is_told_once_and_the_file_tried_again(world: World) -> None:
    world.put("a.dng")
    world.bad = {"a.dng": ("out: the disk is full", "disk")}
    world.events = {30: world.bad.clear}
    assert [outcome.error for outcome in world.run()] == ["out: the disk is full", ""]


def test_a_file_that_went_is_forgotten_without_a_word(world: World) -> None:
    world.put("a.dng")
    world.bad = {"a.dng": ("a.dng: no such file", "not-found")}
    world.events = {2: (world.source / "a.dng").unlink}
    assert world.run() == []


def test_a_folder_that_is_away_is_told_of_once_and_waited_for(world: World) -> None:
    world.put("a.dng")
    away = world.folder / "away"
    world.events = {
        5: lambda: world.source.rename(away),
        12: lambda: away.rename(world.source),
        13: lambda: world.put("b.dng"),
    }
    outcomes = world.run()
    assert [outcome.source.name for outcome in outcomes] == ["a.dng", "raw", "b.dng"]
    assert "cannot be read" in outcomes[1].error
    assert [name for name, _ in world.asked] == ["a.dng", "b.dng"]


def test_files_of_one_name_get_pictures_of_their_own(world: World) -> None:
    world.put("IMG.CR2")
    world.events = {8: lambda: world.put("img.NEF")}
    assert names(world.run()) == ["out/IMG.jpg", "out/img_NEF.jpg"]


def test_a_template_names_the_pictures(world: World) -> None:
    world.put("IMG.CR2")
    world.put("IMG.NEF")
    assert names(world.run("{stem}.{suffix}")) == ["out/IMG.CR2.jpg", "out/IMG.NEF.jpg"]


@pytest.mark.parametrize("name", ["{number}", "{folder}/{stem}", "{nothing}", "../{stem}"])
def test_a_template_that_depends_on_when_a_file_came_is_refused(world: World, name: str) -> None:
    with pytest.raises(ArgumentError, match="--name"):
        next(Watch(world.source, world.output, world.develop, name=name).run())


def test_what_is_no_folder_is_refused(world: World) -> None:
    with pytest.raises(InputError, match="expected a folder to watch"):
        next(Watch(world.source / "nothing", world.output, world.develop).run())


def test_the_pictures_may_lie_in_the_folder(world: World) -> None:
    world.put("a.dng")
    world.put("out/b.dng")
    watch = Watch(world.source, world.source / "out", world.develop, pace=Pace(1, 2, 10))
    run = watch.run(world.sleep, lambda: world.now)
    assert next(run).source.name == "a.dng"
    with pytest.raises(TimeoutError):
        next(run)


@pytest.fixture
def raws(write_dng: WriteDng, tmp_path: Path) -> list[bytes]:
    """Three different RAW files."""
    rng = np.random.default_rng(0)
    return [write_dng(rng.integers(64, 4000, (40, 60), dtype=np.uint16)).read_bytes() for _ in range(3)]


def test_a_restart_makes_nothing_again_and_a_changed_file_is_made_anew(
    world: World, raws: list[bytes], toy_file: Path
) -> None:
    weights = load(toy_file)

    def develop(jobs: Sequence[Job], overwrite: bool) -> Iterator[Outcome]:
        return develop_files(weights, jobs, Settings(), overwrite=overwrite)

    world.develop = develop  # type: ignore[method-assign]
    world.put("IMG.dng", raws[0])
    world.events = {6: lambda: world.put("IMG.nef", raws[1])}
    assert [outcome.is_done_before for outcome in world.run()] == [False, False]
    before = {path.name: path.read_bytes() for path in world.output.iterdir()}
    assert set(before) == {"IMG.jpg", "IMG_nef.jpg"}
    world.sleeps, world.events = 0, {}
    assert [outcome.is_done_before for outcome in world.run()] == [True, True]
    world.sleeps, world.events = 0, {9: lambda: world.put("IMG.nef", raws[2])}
    outcomes = world.run()
    assert [(outcome.error, outcome.is_done_before) for outcome in outcomes] == [("", True), ("", True), ("", False)]
    after = {path.name: path.read_bytes() for path in world.output.iterdir()}
    assert after["IMG.jpg"] == before["IMG.jpg"]
    assert after["IMG_nef.jpg"] != before["IMG_nef.jpg"]


def test_without_overwrite_a_picture_of_another_file_stays(world: World, raws: list[bytes], toy_file: Path) -> None:
    weights = load(toy_file)

    def develop(jobs: Sequence[Job], overwrite: bool) -> Iterator[Outcome]:
        return develop_files(weights, jobs, Settings(), overwrite=overwrite)

    world.put("a.dng", raws[0])
    world.develop = develop  # type: ignore[method-assign]
    world.run()
    world.put("a.dng", raws[1])
    first = read_provenance(world.output / "a.jpg")
    for overwrite, says in ((False, "made of another file"), (True, "")):
        watch = Watch(world.source, world.output, develop, overwrite=overwrite, pace=Pace(1, 2, 10))
        world.sleeps = 0
        assert says in next(watch.run(world.sleep, lambda: world.now)).error
        assert (read_provenance(world.output / "a.jpg") == first) == (not overwrite)


def by_weights(toy_file: Path) -> Develop:
    weights = load(toy_file)

    def develop(jobs: Sequence[Job], overwrite: bool) -> Iterator[Outcome]:
        return develop_files(weights, jobs, Settings(), overwrite=overwrite)

    return develop


def outcomes_of(world: World, develop: Develop, name: str = "", overwrite: bool = False) -> list[tuple[str, str]]:
    """What a watch from the start tells: names of files, and of their pictures or their errors."""
    world.sleeps = 0
    told = []
    with pytest.raises(TimeoutError):
        for one in Watch(world.source, world.output, develop, name=name, overwrite=overwrite, pace=Pace(1, 2, 10)).run(
            world.sleep, lambda: world.now
        ):
            told.append((one.source.name, one.error or one.output.name))  # noqa: PERF401  # it never ends
    return told


def taken_at(write_dng: WriteDng, time: str, seed: int) -> bytes:
    """A RAW that tells when it was taken."""
    mosaic = np.random.default_rng(seed).integers(64, 4000, (40, 60), dtype=np.uint16)
    return write_dng(mosaic, extra=((306, "s", 0, f"2026:11:28 {time}", True),)).read_bytes()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("late", ["a.dng", "b.dng"])
def test_of_a_burst_with_one_name_the_first_keeps_its_picture(
    late: str, overwrite: bool, world: World, write_dng: WriteDng, toy_file: Path
) -> None:
    early = {"a.dng": "b.dng", "b.dng": "a.dng"}[late]
    develop, name = by_weights(toy_file), "{date}_{time}"
    world.put(early, taken_at(write_dng, "14:05:09", 1))
    world.events = {8: lambda: world.put(late, taken_at(write_dng, "14:05:09", 2))}
    picture = world.output / "2026-11-28_14-05-09.jpg"
    first, second = outcomes_of(world, develop, name, overwrite)
    assert first == (early, picture.name)
    assert second[0] == late
    assert f"{picture}, which is that of {world.source / early}" in second[1]
    before = picture.read_bytes()
    world.events = {}
    assert sorted(outcomes_of(world, develop, name, overwrite)) == sorted([first, second])  # a restart flips nothing
    assert picture.read_bytes() == before


def test_of_two_frames_of_one_name_in_one_look_one_is_made(world: World, write_dng: WriteDng, toy_file: Path) -> None:
    for seed, name in enumerate(("a.dng", "b.dng")):
        world.put(name, taken_at(write_dng, "14:05:09", seed))
    told = outcomes_of(world, by_weights(toy_file), "{date}_{time}", overwrite=True)
    assert told[0] == ("a.dng", "2026-11-28_14-05-09.jpg")
    assert [name for name, _ in told] == ["a.dng", "b.dng"]
    assert "which is that of" in told[1][1]


def test_a_file_whose_tags_change_replaces_its_own_picture_alone(
    world: World, write_dng: WriteDng, toy_file: Path
) -> None:
    world.put("a.dng", taken_at(write_dng, "14:00:00", 1))
    world.put("b.dng", taken_at(write_dng, "15:00:00", 2))
    pictures = [world.output / "14-00-00.jpg", world.output / "15-00-00.jpg"]
    before: list[bytes] = []

    def change() -> None:
        before.extend(picture.read_bytes() for picture in pictures)
        world.put("b.dng", taken_at(write_dng, "14:00:00", 3))

    world.events = {8: change}
    told = outcomes_of(world, by_weights(toy_file), "{time}")
    assert told == [("a.dng", "14-00-00.jpg"), ("b.dng", "15-00-00.jpg"), ("b.dng", "15-00-00.jpg")]
    assert sorted(world.output.iterdir()) == pictures
    assert pictures[0].read_bytes() == before[0]
    assert pictures[1].read_bytes() != before[1]


def test_a_file_that_changes_keeps_its_pictures_name_though_another_of_its_name_came(
    world: World, raws: list[bytes], toy_file: Path
) -> None:
    world.put("IMG.dng", raws[0])
    world.events = {8: lambda: world.put("IMG.nef", raws[1]), 16: lambda: world.put("IMG.dng", raws[2])}
    told = outcomes_of(world, by_weights(toy_file))
    assert told == [("IMG.dng", "IMG.jpg"), ("IMG.nef", "IMG_nef.jpg"), ("IMG.dng", "IMG.jpg")]
    made = read_provenance(world.output / "IMG.jpg")
    assert made is not None
    assert made.source_sha256 == digest(world.source / "IMG.dng")
    assert {path.name for path in world.output.iterdir()} == {"IMG.jpg", "IMG_nef.jpg"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--profile", "p3"], "p3"),
        (["--exposure", "9"], "-5 to 5"),
        (["--weights", "denoise"], "do not fit"),
        (["--weights", "nothing"], "unknown weights"),
        (["--name", "{number}"], "are not for a watched folder"),
    ],
)
def test_wrong_settings_are_said_before_a_file_comes(world: World, options: list[str], says: str) -> None:
    done = CliRunner().invoke(app, ["watch", str(world.source), "-o", str(world.output), *options])
    assert done.exit_code == 2
    assert says in done.output


@pytest.mark.slow
def test_the_command_develops_what_appears_and_ends_tidily(tmp_path: Path, raws: list[bytes], toy_file: Path) -> None:
    source, output, log = tmp_path / "raw", tmp_path / "out", tmp_path / "log"
    source.mkdir()
    (source / "a.dng").write_bytes(raws[0])
    (source / "bad.dng").write_bytes(raws[1][: len(raws[1]) // 2])
    command = ["watch", str(source), "-o", str(output), "--weights", str(toy_file), "--every", "0.2", "--log", str(log)]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "lwisp", *command],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_signals,
        )

    def wait_for(*names: str) -> None:
        until = time.monotonic() + 90
        while not all((output / name).is_file() for name in names) or "bad.dng" not in log.read_text():
            assert time.monotonic() < until
            time.sleep(0.1)

    def stop(process: subprocess.Popen[str]) -> tuple[str, str]:
        process.send_signal(signal.SIGINT)
        told, complained = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGINT, complained
        assert "Traceback" not in complained
        ours = [line for line in complained.splitlines() if line.startswith("lwisp: ")]  # LibRaw prints too
        assert len(ours) == 2, complained
        assert "bad.dng: a damaged file" in ours[0]
        assert not list(output.glob(".lwisp*"))
        return told, complained

    watching = start()
    try:
        while not log.exists():
            time.sleep(0.1)
        wait_for("a.jpg")
        shutil.copy(source / "a.dng", source / "b.dng")
        wait_for("a.jpg", "b.jpg")
        told, complained = stop(watching)
        assert told.count("->") == 2
        assert "2 pictures were made; the same command goes on" in complained
        log.unlink()
        watching = start()
        while not log.exists():
            time.sleep(0.1)
        wait_for("a.jpg", "b.jpg")
        told, complained = stop(watching)
        assert told == ""
        assert "0 pictures were made" in complained
    finally:
        watching.kill()
        watching.communicate()
