"""What many photos cost on many machines: a simulation of a cluster, and beside it workers on this machine.

    python benchmarks/scale.py                                   # the simulation alone, a second
    python benchmarks/scale.py --measure FOLDER --fast           # also FOLDER by one worker and by two

The simulation has one queue for each thing that workers share: the scheduler, which hands out one file after the
other, and the store, whose bytes go through one pipe. A worker fetches, develops and writes one picture at a time.
"""

import argparse
import heapq
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

GBIT = 1e9 / 8


@dataclass(frozen=True)
class Costs:
    """Of one picture, and of what machines share."""

    core_seconds: float
    """Reading, developing and writing."""
    read_bytes: float = 30e6
    """Of a RAW of 24 MP, compressed without loss."""
    written_bytes: float = 8e6
    """Of a JPEG of quality 95."""
    requests: int = 6
    """To the store: the RAW, two sidecars and the picture looked at, one read, one written."""
    request_seconds: float = 0.03
    scheduler_seconds: float = 0.0026
    """Of the scheduler and the client, for one file."""
    cores: int = 2
    """Of a worker."""
    link: float = 1.25 * GBIT
    """Bytes a second of one worker: 10 Gbit/s between eight of a machine with 16 cores."""
    store: float = 25 * GBIT
    """Bytes a second of all."""


@dataclass(frozen=True)
class Found:
    """What a cluster does."""

    rate: float
    """Pictures a second."""
    busy: dict[str, float]
    """Share of the time in which each part works: "cores", "store", "scheduler"."""


def simulate(costs: Costs, workers: int, each: int = 30, seed: int = 0) -> Found:
    """A cluster at work.

    Args:
        costs: What a picture takes.
        workers: How many.
        each: Pictures for each worker, after which the simulation ends.
        seed: Of the pictures' differences, a fifth about the mean.

    Returns:
        Its rate, and how busy its parts are.
    """
    chance = random.Random(seed)
    free = {"scheduler": 0.0, "store": 0.0}
    busy = dict.fromkeys(("cores", *free), 0.0)
    events = [(0.0, worker, "ask", 0) for worker in range(workers)]
    done = 0

    def through(part: str, now: float, seconds: float) -> float:
        free[part] = max(now, free[part]) + seconds
        busy[part] += seconds
        return free[part]

    end = 0.0
    while events:
        now, worker, step, count = heapq.heappop(events)
        if step == "ask":
            then = (through("scheduler", now, costs.scheduler_seconds), worker, "fetch", count)
        elif step == "fetch":
            sent = through("store", now, costs.read_bytes / costs.store)
            own = now + costs.requests * costs.request_seconds + costs.read_bytes / costs.link
            then = (max(sent, own), worker, "develop", count)
        elif step == "develop":
            seconds = costs.core_seconds / costs.cores * chance.uniform(0.8, 1.2)
            busy["cores"] += seconds / workers
            then = (now + seconds, worker, "write", count)
        else:
            sent = through("store", now, costs.written_bytes / costs.store)
            finished = max(sent, now + costs.written_bytes / costs.link)
            done, end = done + 1, max(end, finished)
            if count + 1 == each:
                continue
            then = (finished, worker, "ask", count + 1)
        heapq.heappush(events, then)
    return Found(done / end, {part: seconds / end for part, seconds in busy.items()})


def measure(folder: Path, workers: int, options: list[str]) -> tuple[int, float, float]:
    """Develop a folder by workers on this machine: files, seconds, and core-seconds, starts included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "lwisp", "develop", str(folder), "-o", output, "-q", *options]
        began = time.monotonic()
        subprocess.run([*command, "--cluster", "local", "--jobs", str(workers)], check=True)
        seconds = time.monotonic() - began
        files = sum(path.is_file() for path in Path(output).rglob("*"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return files, seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=float, default=1e6, help="how many photos")
    parser.add_argument("--measure", type=Path, help="a folder of RAW files to develop here")
    parser.add_argument("--fast", action="store_true", help="measure photo-fast")
    given = parser.parse_args()
    for name, seconds in (("photo", 12.2), ("photo-fast", 5.3)):
        print(f"\n{name}, {seconds} core-seconds a photo\n")
        print("| workers of 2 cores | store Gbit/s | photos/s | hours | core-hours | cores busy | store | scheduler |")
        print("|---|---|---|---|---|---|---|---|")
        for workers in (2, 64, 512, 2048, 4096):
            for store in (10, 100):
                costs = replace(Costs(seconds), store=store * GBIT)
                found = simulate(costs, workers)
                hours = given.photos / found.rate / 3600
                shares = " | ".join(f"{100 * found.busy[part]:.0f} %" for part in ("cores", "store", "scheduler"))
                row = f"{workers} | {store} | {found.rate:.1f} | {hours:.1f} | {hours * workers * costs.cores:,.0f}"
                print(f"| {row} | {shares} |")
    if given.measure is not None:
        print("\n| workers here | files | s | core-seconds a file, starts included |\n|---|---|---|---|")
        for workers in (1, 2):
            files, seconds, cores = measure(given.measure, workers, ["--fast"] if given.fast else [])
            print(f"| {workers} | {files} | {seconds:.1f} | {cores / max(files, 1):.1f} |", flush=True)


if __name__ == "__main__":
    main()
