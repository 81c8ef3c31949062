"""What a run of fuzzing is asked for, and what it keeps on disk; imports nothing that is fuzzed."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

HANG = 300
"""Seconds on the clock after which an input is taken for a hang; of the processor it has less (`fuzz.contract`)."""


@dataclass(frozen=True)
class Finding:
    """A promise that was broken."""

    kind: str
    """What and where, the same for all inputs that break it so."""
    details: str


@dataclass(frozen=True)
class Plan:
    """What one process does."""

    target: str
    folder: str
    """Of the target's corpus, findings and counts."""
    inputs: int
    """How many to run."""
    seed: int


class Record:
    """Counts and findings of a target, on disk as they come.

    Args:
        folder: Of the target.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.current, self.counter, self.findings = folder / "current", folder / "count", folder / "findings"
        self.findings.mkdir(parents=True, exist_ok=True)
        self.ran = 0

    def begin(self, data: bytes) -> None:
        """Keep an input until it has been read."""
        self.current.write_bytes(data)
        self.ran += 1
        self.counter.write_text(str(self.ran))

    def add(self, finding: Finding, data: bytes) -> None:
        """Keep the smallest input of each kind of finding, and count them."""
        name = "".join(letter if letter.isalnum() else "-" for letter in finding.kind)[:120]
        place, told = self.findings / name, self.findings / f"{name}.json"
        known = json.loads(told.read_text()) if told.exists() else {**asdict(finding), "count": 0}
        known["count"] += 1
        if not place.exists() or len(data) < place.stat().st_size:
            place.write_bytes(data)
            known["details"] = finding.details
        told.write_text(json.dumps(known))
