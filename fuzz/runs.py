"""Long runs: a process for each target, started anew when an input ends it; they can be stopped and go on."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fuzz.contract import contract
from fuzz.quick import fitting
from fuzz.records import HANG, Finding, Plan, Record
from fuzz.targets import TARGETS, Target

STALL = 4 * HANG
"""Seconds without any input after which a process is ended."""
SLOW = 0.05
"""Seconds of the processor; seeds that take more, as of large pictures, are left out."""
_SEEDING = threading.Lock()
EXITS = {70: "hang", 77: "death"}
"""Exit codes of libFuzzer."""


def fuzz_targets(
    names: Sequence[str], inputs: int, folder: Path, corpus: Path | None, jobs: int
) -> list[dict[str, Any]]:
    """Run so many inputs in all, each target its share; what ran before in this folder counts.

    Args:
        names: Of targets.
        inputs: How many.
        folder: For corpora, counts and findings.
        corpus: A folder of more seeds, each for the targets that its suffix fits.
        jobs: Targets that are fuzzed at once.

    Returns:
        What became of each target, as `report.json` there has it.
    """
    targets = [TARGETS[name] for name in names]
    whole = sum(target.share for target in targets)

    def fuzz(target: Target) -> dict[str, Any]:
        return fuzz_one(target, -(-inputs * target.share // whole), folder / target.name, corpus)

    with ThreadPoolExecutor(jobs) as pool:
        reports = list(pool.map(fuzz, targets))
    (folder / "report.json").write_text(json.dumps(reports, indent=1))
    return reports


def fuzz_one(target: Target, inputs: int, folder: Path, corpus: Path | None = None) -> dict[str, Any]:
    """Run so many inputs of one target.

    Args:
        target: The reader.
        inputs: How many, with those of runs before.
        folder: Of the target.
        corpus: A folder of more seeds.

    Returns:
        Counts, seconds and findings.
    """
    _write_seeds(target, folder, corpus)
    known = folder / "report.json"
    report: dict[str, Any] = (
        json.loads(known.read_text()) if known.exists() else {"inputs": 0, "seconds": 0.0, "deaths": 0}
    )
    counter = folder / "count"
    report["inputs"] += _take(counter)  # of a run that was stopped
    while report["inputs"] < inputs:
        began = time.monotonic()
        code = _run(Plan(target.name, str(folder), inputs - report["inputs"], seed=report["inputs"] + 1), counter)
        ran = _take(counter)
        report["inputs"] += ran
        report["seconds"] += time.monotonic() - began
        if code != 0:
            report["deaths"] += 1
            _record_death(target, folder, code)
        report |= {"target": target.name, "corpus": sum(1 for _ in (folder / "corpus").iterdir())}
        known.write_text(json.dumps(report, indent=1))
        if ran == 0 and code != 0:
            break  # it does not even start
    report["findings"] = _findings(folder)
    return report


def _take(counter: Path) -> int:
    """The inputs that were counted, which are then counted anew."""
    ran = int(counter.read_text() or 0) if counter.exists() else 0
    counter.write_text("0")
    return ran


def _write_seeds(target: Target, folder: Path, corpus: Path | None) -> None:
    if (folder / "seeds").is_dir():  # of a run that is gone on with
        return
    for name in ("corpus", "seeds", "findings"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.seeds()):
        (folder / "seeds" / f"own-{number}").write_bytes(data)
    with _SEEDING, contract(target) as held:
        for path in fitting(target, corpus):
            data, began = path.read_bytes(), time.thread_time()
            if held.check(data) is None and time.thread_time() - began < SLOW:
                (folder / "seeds" / path.name).write_bytes(data)


def _run(plan: Plan, counter: Path) -> int:
    """The exit code of a process that fuzzes; one that stands still is ended."""
    command = [sys.executable, "-m", "fuzz.guided", json.dumps(asdict(plan))]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        last, since = "", time.monotonic()
        while True:
            try:
                return process.wait(1)
            except subprocess.TimeoutExpired:
                told = counter.read_text()
                if told != last:
                    last, since = told, time.monotonic()
                elif time.monotonic() - since > STALL:
                    process.kill()


def _record_death(target: Target, folder: Path, code: int) -> None:
    current = folder / "current"
    data = current.read_bytes() if current.exists() else b""
    said = (folder / "stderr").read_text(errors="replace")[-3000:] if (folder / "stderr").exists() else ""
    signal = next((line for line in said.splitlines() if "ERROR" in line), "").split("ERROR:")[-1].strip()[:80]
    Record(folder).add(Finding(f"{target.name}: {EXITS.get(code, f'exit {code}')} {signal}", said), data)


def _findings(folder: Path) -> list[dict[str, Any]]:
    return [
        {key: told[key] for key in ("kind", "count")} | {"input": path.stem}
        for path in sorted((folder / "findings").glob("*.json"))
        for told in [json.loads(path.read_text())]
    ]
