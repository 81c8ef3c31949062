"""Faults of all commands: `python -m tests.faults --long` has all of them, which takes hours.

Without `--long` each n-th call of each command fails in one way, and each command is killed a few times.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults.clusters import CLUSTER, kill_cluster
from tests.faults.kills import kill_at_moments
from tests.faults.preload import Mode, why_not
from tests.faults.scenarios import BY_NAME, Scenario
from tests.faults.servers import SERVER, kill_server
from tests.faults.sweep import Finding, Place, Sweep

SHORT, LONG = 5, 50
"""Moments at which each command is killed."""
KILLERS = {SERVER.name: kill_server, CLUSTER.name: kill_cluster}
"""What is only killed, for its processes are many."""


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _follow(name: str, findings: Iterator[Finding], count: Callable[[], int]) -> int:
    """Tell of findings as they come; how many."""
    began = time.monotonic()
    number = 0
    for finding in findings:
        number += 1
        say(f"  {finding}")
    say(f"{name}: {count()} runs, {number} findings, {time.monotonic() - began:.0f} s")
    return number


def _sweep(place: Place, scenario: Scenario, mode: Mode, step: int) -> int:
    tried = Sweep(place, scenario)
    findings = (found for fault in tried.faults([mode], step) for found in tried.try_one(fault))
    name = f"{scenario.name}, {mode.name} at each of {tried.report.calls} calls"
    return _follow(name, findings, lambda: tried.report.runs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="all ways to fail, and 50 moments of being killed")
    parser.add_argument(
        "--only", nargs="*", default=[*BY_NAME, *KILLERS], metavar="COMMAND", help="these commands alone"
    )
    parser.add_argument("--modes", nargs="*", choices=Mode.__members__, help="these ways to fail alone")
    parser.add_argument("--step", type=int, default=1, metavar="N", help="only each N-th call")
    parser.add_argument("--kills", type=int, metavar="N", help="moments at which each command is killed")
    given = parser.parse_args()
    if why_not():
        parser.error(why_not())
    modes = given.modes
    if modes is None:
        modes = ["ONCE", "FROM_THEN_ON", "SHORT", "KILL"] if given.long else ["ONCE"]
    moments = given.kills if given.kills is not None else LONG if given.long else SHORT
    bad = 0
    with tempfile.TemporaryDirectory() as folder, Place(Path(folder)) as place:
        for name in given.only:
            if name in KILLERS:
                bad += _follow(f"{name}, killed", KILLERS[name](place, moments), lambda: moments)
                continue
            for mode in modes:
                bad += _sweep(place, BY_NAME[name], Mode[mode], given.step)
            if moments:
                bad += _follow(f"{name}, killed", kill_at_moments(place, BY_NAME[name], moments), lambda: moments)
    return bool(bad)


if __name__ == "__main__":
    raise SystemExit(main())
