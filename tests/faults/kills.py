"""Commands killed by SIGKILL at random moments, again and again in one folder; then the sum is looked at."""

import random
from collections.abc import Iterator

from tests.faults.preload import Fault, Mode
from tests.faults.scenarios import Scenario
from tests.faults.sweep import MOST, Finding, Place, Sweep

SEED = 31


def kill_at_moments(place: Place, scenario: Scenario, count: int, seed: int = SEED) -> Iterator[Finding]:
    """Kill a command at random moments; after each the next goes on in the same folder.

    Moments are drawn over the time that an undisturbed run takes. A command that comes to its end begins anew.

    Args:
        place: Where it runs.
        scenario: The command.
        count: How many moments.
        seed: Of the moments.

    Yields:
        What should not be.
    """
    tried = Sweep(place, scenario)
    moments = random.Random(seed)
    fault = Fault(Mode.KILL)  # what a killed process may leave; none at a call of a number

    def told(number: int, said: str, wrong: list[str]) -> Iterator[Finding]:
        for what in wrong:
            yield Finding(scenario.name, fault, f"moment {number}", what, said)

    place.begin()
    for number in range(1, count + 1):
        code, said = place.call(scenario, seconds=moments.uniform(0, tried.seconds))
        if code == -9:
            yield from told(number, said, tried.judge_files(code, fault))
        else:
            yield from told(number, said, tried.judge_sum(code, said))
            place.begin()
    code, said = place.call(scenario, seconds=MOST)
    yield from told(count, said, tried.judge_sum(code, said))
