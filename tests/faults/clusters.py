"""A batch on workers of this machine, of which the command or a worker is killed by SIGKILL at random moments."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.kills import SEED
from tests.faults.preload import Fault, Mode
from tests.faults.scenarios import BY_NAME, WEIGHTS, Scenario
from tests.faults.servers import children, has_ended
from tests.faults.sweep import MOST, Finding, Place, digests, leftovers

PHOTOS = 24


def _prepare(folder: Path) -> None:
    """More photos than two workers can take at once."""
    BY_NAME["develop"].prepare(folder)
    first = folder / "photos" / "a.dng"
    for number in range(PHOTOS - 2):
        shutil.copy(first, folder / "photos" / f"{number:02}.dng")


CLUSTER = Scenario("cluster", _prepare)


def start(place: Place, *more: str) -> "subprocess.Popen[str]":
    """The command as a process, with more options."""
    variables = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(place.run / "tmp"),
        "HOME": str(place.run / "home"),
    }
    command = [sys.executable, "-m", "lwisp", "develop", "photos", "--weights", WEIGHTS, *more]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=variables, cwd=place.here, text=True
    )


def start_on_cluster(place: Place) -> "subprocess.Popen[str]":
    """The command with two workers."""
    return start(place, "--output", "out", "--cluster", "local", "--jobs", "2")


def kill_cluster(place: Place, count: int, seed: int = SEED) -> Iterator[Finding]:
    """Kill the command and one of its workers in turn, each at a random moment; the next command goes on.

    Args:
        place: Where it runs.
        count: How many moments, drawn over the time that an undisturbed run takes.
        seed: Of the moments.

    Yields:
        What should not be.
    """
    place.prepare(CLUSTER)
    place.begin()
    start(place, "--output", "alone").communicate(timeout=MOST)
    expected = digests(place.here / "alone")
    assert len(expected) == PHOTOS
    began = time.monotonic()
    yield from _judge_end(place, "undisturbed", start_on_cluster(place), expected)
    seconds = time.monotonic() - began
    moments = random.Random(seed)
    for number in range(1, count + 1):
        process = start_on_cluster(place)
        time.sleep(moments.uniform(0, seconds))
        workers = children(process.pid)
        if number % 2:
            process.kill()
            process.communicate()
            wrong = [f"worker {worker} lives on" for worker in workers if not has_ended(worker)]
            wrong += [f"{name} is not what it was to be" for name in _wrong(place, expected)]
            yield from (_finding(f"moment {number}", what) for what in wrong)
        else:
            if workers:
                os.kill(moments.choice(workers), signal.SIGKILL)
            yield from _judge_end(place, f"moment {number}", process, expected)
    yield from _judge_end(place, "in the end", start_on_cluster(place), expected)


def _judge_end(
    place: Place, when: str, process: "subprocess.Popen[str]", expected: dict[str, str]
) -> Iterator[Finding]:
    """What is wrong with a command that was to come to its end; then the folder is as in the beginning."""
    _, said = process.communicate(timeout=MOST)
    out = place.here / "out"
    if process.returncode != 0:
        yield _finding(when, f"exit code {process.returncode}", said)
    missing = expected.keys() - digests(out).keys() if out.exists() else expected.keys()
    yield from (_finding(when, f"{name} is missing", said) for name in sorted(missing))
    yield from (_finding(when, f"{name} is not what it was to be", said) for name in _wrong(place, expected))
    yield from (_finding(when, f"left for good: {name}", said) for name in leftovers(place.run))
    shutil.rmtree(out, ignore_errors=True)


def _wrong(place: Place, expected: dict[str, str]) -> list[str]:
    """Pictures under their final names that are no whole ones."""
    found = digests(place.here / "out") if (place.here / "out").exists() else {}
    return [name for name, digest in found.items() if Path(name).suffix == ".jpg" and expected.get(name) != digest]


def _finding(when: str, what: str, said: str = "") -> Finding:
    return Finding(CLUSTER.name, Fault(Mode.KILL), when, what, said)
