"""A few inputs of each target from a fixed seed, without coverage, and the inputs that broke a promise once."""

import random
from collections.abc import Iterator
from pathlib import Path

from fuzz.contract import contract
from fuzz.mutators import mutate
from fuzz.records import Finding
from fuzz.targets import TARGETS, Target
from fuzz.values import LONGEST

CRASHERS = Path(__file__).parent / "crashers"
"""A folder for each target, with the smallest inputs that broke a promise once."""


def replay(name: str) -> Iterator[Finding]:
    """What of a target's kept inputs breaks a promise (again).

    Args:
        name: Of the target.
    """
    folder = CRASHERS / name
    with contract(TARGETS[name]) as held:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if finding := held.check(path.read_bytes()):
                yield Finding(f"{finding.kind} ({path.name})", finding.details)


def fitting(target: Target, corpus: Path | None) -> list[Path]:
    """The files of a folder that a target may begin with, by their suffixes and lengths.

    Args:
        target: The target.
        corpus: The folder; None for none.
    """
    paths = sorted(corpus.rglob("*")) if corpus is not None else []
    return [path for path in paths if path.suffix.lower() in target.suffixes and path.stat().st_size <= LONGEST]


def run_quickly(name: str, inputs: int = 40, seed: int = 0, corpus: Path | None = None) -> Iterator[Finding]:
    """What of a few mutated inputs breaks a promise.

    Args:
        name: Of the target.
        inputs: How many.
        seed: Of the mutations.
        corpus: A folder of more files to begin with.
    """
    rng = random.Random(seed)
    target = TARGETS[name]
    seeds = [*target.seeds(), *(path.read_bytes() for path in fitting(target, corpus))]
    with contract(target) as held:
        for data in seeds:
            if finding := held.check(data):
                yield finding
        for _ in range(inputs):
            data = rng.choice(seeds)
            for _ in range(rng.choice((1, 1, 2, 4))):
                data = mutate(data, rng)
            if finding := held.check(data):
                yield finding
