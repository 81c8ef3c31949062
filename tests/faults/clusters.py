"""A batch on workers of this machine, of which the command or a worker is killed by SIGKILL at random moments."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.faults.kills import SEED
from tests.faults.preload import Fault, Mode
from tests.faults.scenarios import BY_NAME, WEIGHTS, Scenario
from tests.faults.servers import children, has_ended
from tests.faults.sweep import MOST, Finding, Place, digests, leftovers, surroundings

PHOTOS = 120
ON_CLUSTER = ("--output", "out", "--cluster", "local", "--jobs", "2")


def _prepare(folder: Path) -> None:
    """More photos than two workers can take at once."""
    BY_NAME["develop"].prepare(folder)
    first = folder / "photos" / "a.dng"
    for number in range(PHOTOS - 2):
        shutil.copy(first, folder / "photos" / f"{number:03}.dng")


CLUSTER = Scenario("cluster", _prepare)


@contextmanager
def started(place: Place, *more: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The command as a process, with more options; what it says goes to `place.said`."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **surroundings(place.run)}
    command = [sys.executable, "-m", "lwisp", "develop", "photos", "--weights", WEIGHTS, *more]
    with (
        place.said.open("wb") as said,
        subprocess.Popen(command, stdout=said, stderr=said, env=variables, cwd=place.here) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def kill_cluster(place: Place, count: int, seed: int = SEED) -> Iterator[Finding]:
    """Kill one of the workers and the command in turn, each at a random moment; the next command goes on.

    Args:
        place: Where it runs.
        count: How many moments: the command's are drawn over the time that an undisturbed run takes, a worker's over
            a second after the first picture is there; one that dies as it starts is a refusal.
        seed: Of the moments.

    Yields:
        What should not be.
    """
    place.prepare(CLUSTER)
    place.begin()
    with started(place, "--output", "alone") as process:
        process.wait(MOST)
    expected = digests(place.here / "alone")
    assert len(expected) == PHOTOS
    began = time.monotonic()
    yield from _go_on(place, "undisturbed", expected)
    seconds = time.monotonic() - began
    moments = random.Random(seed)
    for number in range(1, count + 1):
        if number % 2:
            yield from _go_on(place, f"moment {number}", expected, partial(_kill_worker, place, moments))
        else:
            yield from _kill_command(place, f"moment {number}", expected, moments.uniform(0, seconds))
    yield from _go_on(place, "in the end", expected)


def _kill_command(place: Place, when: str, expected: dict[str, str], seconds: float) -> Iterator[Finding]:
    with started(place, *ON_CLUSTER) as process:
        time.sleep(seconds)
        workers = children(process.pid)
        process.kill()
    yield from (_finding(when, f"worker {worker} lives on", place) for worker in workers if not has_ended(worker))
    yield from (_finding(when, f"{name} is not what it was to be", place) for name in _wrong(place, expected))


def _kill_worker(place: Place, moments: random.Random, process: "subprocess.Popen[bytes]") -> bool:
    """Kill a worker at a moment after the first picture; False where there was none, though there was work for it."""

    def made() -> int:
        return len(list(place.here.glob("out/*.jpg")))

    before = made()  # by a command that was killed
    while process.poll() is None and made() == before:
        time.sleep(0.05)
    time.sleep(moments.uniform(0, 1))
    workers = children(process.pid)
    with contextlib.suppress(ProcessLookupError):
        if workers:
            os.kill(moments.choice(workers), signal.SIGKILL)
    return bool(workers) or made() == PHOTOS


def _go_on(
    place: Place,
    when: str,
    expected: dict[str, str],
    disturb: Callable[["subprocess.Popen[bytes]"], bool] = lambda process: True,
) -> Iterator[Finding]:
    """Run the command to its end, and tell what is wrong then; the next one begins with nothing done."""
    with started(place, *ON_CLUSTER) as process:
        if not disturb(process):
            yield _finding(when, "there was no worker to be killed", place)
        process.wait(MOST)
    if process.returncode != 0:
        yield _finding(when, f"exit code {process.returncode}", place)
    missing = expected.keys() - digests(place.here / "out").keys()
    yield from (_finding(when, f"{name} is missing", place) for name in sorted(missing))
    yield from (_finding(when, f"{name} is not what it was to be", place) for name in _wrong(place, expected))
    yield from (_finding(when, f"left for good: {name}", place) for name in leftovers(place.run))
    shutil.rmtree(place.here / "out", ignore_errors=True)


def _wrong(place: Place, expected: dict[str, str]) -> list[str]:
    """Pictures under their final names that are no whole ones."""
    found = digests(place.here / "out")
    return [name for name, digest in found.items() if Path(name).suffix == ".jpg" and expected.get(name) != digest]


def _finding(when: str, what: str, place: Place) -> Finding:
    return Finding(CLUSTER.name, Fault(Mode.KILL), when, what, place.said.read_text(errors="replace"))
