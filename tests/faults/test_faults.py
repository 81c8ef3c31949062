"""Calls that fail, killed processes, and surroundings that are not as they should be; `--long` tries all of them."""

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.clusters import kill_cluster
from tests.faults.kills import kill_at_moments
from tests.faults.preload import Fault, Mode, why_not
from tests.faults.scenarios import BY_NAME, Scenario
from tests.faults.servers import kill_server
from tests.faults.sweep import Finding, Place, Sweep, digests, leftovers

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not()), pytest.mark.slow]
YEARS = 10 * 365 * 86400
"""Ten, in seconds."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One warm process for all tests of this file."""
    with Place(tmp_path_factory.mktemp("faults")) as made:
        yield made


@pytest.fixture(scope="module")
def batch(place: Place) -> Sweep:
    """A batch that was run undisturbed; a test begins with `place.prepare`."""
    return Sweep(place, BY_NAME["develop"])


def findings(place: Place, name: str, modes: list[Mode], step: int) -> str:
    """What should not be, after every `step`-th call of a command has failed."""
    tried = Sweep(place, BY_NAME[name])
    found = [found for fault in tried.faults(modes, step) for found in tried.try_one(fault)]
    assert tried.report.runs > 0
    return "\n".join(map(str, found))


@pytest.mark.parametrize(
    ("name", "step"),
    [("sample", 1), ("dng", 3), ("develop", 13), ("bare-pth", 11), ("wrap", 3), ("hub", 11)],
)
def test_a_call_that_fails_is_one_sentence_and_harms_nothing(name: str, step: int, place: Place) -> None:
    assert findings(place, name, [Mode.ONCE], step) == ""


@pytest.mark.parametrize(
    ("name", "mode", "step"),
    [
        ("develop", Mode.SHORT, 20),
        ("develop", Mode.KILL, 15),
        ("dng", Mode.KILL, 4),
        ("bare-pth", Mode.SHORT, 16),
        ("bare-pth", Mode.KILL, 16),
    ],
)
def test_so_it_is_where_a_disk_fills_up_or_the_process_is_killed(
    name: str, mode: Mode, step: int, place: Place
) -> None:
    assert findings(place, name, [mode], step) == ""


def test_a_batch_killed_at_random_moments_comes_to_the_same(place: Place) -> None:
    assert list(map(str, kill_at_moments(place, BY_NAME["develop"], 2))) == []


def test_a_read_only_file_system_is_one_sentence(place: Place) -> None:
    for name in ("develop", "dng"):
        scenario = BY_NAME[name]
        place.prepare(scenario)
        place.begin()
        code, said = place.call(scenario, Fault(Mode.FROM_THEN_ON, 1, errno.EROFS, removing=True))
        assert code in (1, 2)
        assert os.strerror(errno.EROFS) in said
        assert "unforeseen" not in said
        assert digests(place.here) == digests(place.template / "here")


def test_a_folder_that_vanishes_fails_its_files_alone(place: Place) -> None:
    scenario = BY_NAME["develop-tiff"]
    place.prepare(scenario)
    place.begin()

    def vanish() -> None:
        wait_for(place, 6)
        shutil.rmtree(place.here / "out", ignore_errors=True)
        shutil.rmtree(place.here / "photos")

    code, said = place.call(scenario, Fault(Mode.SLOW, microseconds=50_000), meanwhile=vanish)
    assert code == 1
    assert "2 of 2 files failed" in said or "1 of 2 files failed" in said
    assert "Traceback" not in said
    assert "unforeseen" not in said
    assert not leftovers(place.run)


def wait_for(place: Place, calls: int) -> None:
    """Wait until a command has made so many calls."""
    deadline = time.monotonic() + 60
    while place.control.count < calls and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(Mode.SLOW, microseconds=20_000), id="a slow folder"),
        pytest.param(Fault(clock=YEARS, nth=5), id="a clock that jumps ahead"),
        pytest.param(Fault(clock=-YEARS, nth=5), id="a clock that jumps back"),
        pytest.param(Fault(no_shm=True), id="no shared memory"),
    ],
)
def test_surroundings_change_no_byte(fault: Fault, place: Place, batch: Sweep) -> None:
    place.prepare(batch.scenario)
    place.begin()
    code, said = place.call(batch.scenario, fault)
    assert (code, batch.judge_files(code, fault)) == (0, []), said


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"HOME": None}, id="none"),
        pytest.param({"HOME": ""}, id="empty"),
        pytest.param({"HOME": "/dev/null"}, id="no folder"),
        pytest.param({"HOME": "/proc", "TMPDIR": "/nowhere/at/all"}, id="read-only"),
    ],
)
def test_no_home_and_no_place_for_temporary_files_change_nothing(
    variables: dict[str, str | None], place: Place, batch: Sweep
) -> None:
    without = dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"))
    place.prepare(batch.scenario)
    place.begin()
    code, said = place.call(batch.scenario, variables={**without, **variables})
    assert (code, batch.judge_files(code, Fault())) == (0, []), said


def test_workers_that_cannot_share_memory_are_told_of(place: Place) -> None:
    train = BY_NAME["train"]

    def prepare(folder: Path) -> None:
        train.prepare(folder)
        recipe = folder / "tiny.toml"
        recipe.write_text(recipe.read_text() + "workers = 1\n")

    scenario = replace(train, prepare=prepare)
    place.prepare(scenario)
    place.begin()
    code, said = place.call(scenario, Fault(no_shm=True))
    assert code == 1
    assert "lwisp: workers = 1 needs memory that processes share (/dev/shm), which cannot be had here:" in said
    assert "Traceback" not in said


def test_files_from_the_future_and_the_past_are_told_apart_by_their_process(place: Place) -> None:
    """What a killed process left goes, whatever its time; what another machine's process left goes when it is old."""
    scenario = BY_NAME["dng"]
    tried = Sweep(place, scenario)
    place.begin()
    out = place.here / "out"
    out.mkdir()
    foreign = ".lwisp-00000000-1-0123456789abcdef.tmp"
    for name, age in ((foreign, -YEARS), (foreign.replace("-1-", "-2-"), 10.0)):
        (out / name).touch()
        os.utime(out / name, (time.time() + age,) * 2)
    code, said = place.call(scenario)
    assert code == 0, said
    assert [path.name for path in out.glob(".*")] == [foreign.replace("-1-", "-2-")]
    (out / foreign.replace("-1-", "-2-")).unlink()
    assert not tried.judge_sum(*place.call(scenario))


@pytest.mark.parametrize("name", BY_NAME)
def test_every_command_of_the_long_run_comes_to_its_end_undisturbed(name: str, place: Place) -> None:
    place.prepare(BY_NAME[name])
    place.begin()
    before = digests(place.here)
    code, said = place.call(BY_NAME[name])
    assert code == 0, said
    assert digests(place.here) != before


@pytest.mark.parametrize("kill", [kill_server, kill_cluster])
def test_servers_and_clusters_are_killed_too(kill: Callable[..., Iterator[Finding]], place: Place) -> None:
    assert list(kill(place, 1)) == []


def test_the_library_counts_what_a_program_writes(place: Place, tmp_path: Path) -> None:
    """The faults are real: were nothing counted or failed, all of the above would pass."""
    scenario = Scenario("sample", lambda folder: None, ("sample",))
    place.prepare(scenario)
    place.begin()
    code, said = place.call(scenario, Fault(Mode.ONCE, 1, errno.EIO))
    assert code == 1
    assert said == f"lwisp: photo.dng: cannot be written: {os.strerror(errno.EIO)}\n"
    assert place.control.what.startswith("open ")
