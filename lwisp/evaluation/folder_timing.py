"""Time of a folder of RAW files: one `lwisp develop FOLDER` beside rawpy in a process for each processor."""

import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lwisp.engines.threads import available_processors
from lwisp.errors import InputError, one_line
from lwisp.evaluation import rawpy_loop
from lwisp.evaluation.commands import run_command
from lwisp.evaluation.network_timing import ratio
from lwisp.files.writing import make_folder, temporary_folder


@dataclass(frozen=True)
class FolderTiming:
    """One tool on a folder, its start included."""

    name: str
    processes: int
    seconds: tuple[float, ...] = ()
    """Of every round, by the wall clock."""
    core_seconds: tuple[float, ...] = ()
    """Of every round, summed over all cores, the system's part included."""
    ratio: float | None = None
    """Times as long as the first row takes, median over the rounds; None where that failed."""
    failure: str = ""


def time_folder(weights: Path, source: Path, count: int, rounds: int) -> list[FolderTiming]:
    """Time from a folder of RAW files to a folder of JPEGs, tools in turn.

    The files are one under many names, so they lie in the system's cache. A round before the others warms up: compiled
    networks are kept from it, as on any machine that has developed a file of this size before.

    Args:
        weights: The file of weights that lwisp develops with.
        source: The RAW.
        count: Files in the folder.
        rounds: Rounds after one to warm up.

    Returns:
        A row for each tool, related to lwisp's.
    """
    with temporary_folder() as place:
        folder = place / "raw"
        files = list(map(str, _make_copies(source, folder, count)))
        loops = min(available_processors(), count)
        develop = [sys.executable, "-m", "lwisp", "develop", str(folder), "--weights", str(weights.resolve()), "-o"]
        loop = [sys.executable, "-P", rawpy_loop.__file__]
        output = str(place / "jpg")
        contenders = {
            "lwisp": [[*develop, output]],
            "rawpy default": [[*loop, output, *files[first::loops]] for first in range(loops)],
        }
        rounds_of: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
        failures: dict[str, str] = {}
        for _ in range(rounds + 1):
            for name, commands in contenders.items():
                if name not in failures:
                    try:
                        rounds_of[name].append(_time_commands(commands, place, count))
                    except InputError as error:
                        failures[name] = f"{name} {error}"
    rows: list[FolderTiming] = []
    for name, commands in contenders.items():
        row = FolderTiming(name, len(commands), failure=failures.get(name, ""))
        if not row.failure:
            seconds, core_seconds = zip(*rounds_of[name][1:], strict=True)
            first = rows[0].seconds if rows else seconds
            row = replace(row, seconds=seconds, core_seconds=core_seconds)
            row = replace(row, ratio=ratio(list(seconds), list(first)) if first else None)
        rows.append(row)
    return rows


def _make_copies(source: Path, folder: Path, count: int) -> list[Path]:
    """A folder of so many files that are one RAW: links to one copy, or copies where there are no links."""
    make_folder(folder)
    files = [folder / f"{index:05}{source.suffix}" for index in range(count)]
    shutil.copyfile(source, files[0])
    for file in files[1:]:
        try:
            os.link(files[0], file)
        except OSError:
            shutil.copyfile(source, file)
    return files


def _time_commands(commands: list[list[str]], place: Path, count: int) -> tuple[float, float]:
    """Seconds and core-seconds of commands that run at once, and must make so many JPEGs in the new folder `jpg`."""
    output = place / "jpg"
    make_folder(output)
    try:
        with ThreadPoolExecutor(len(commands)) as pool:
            before = sum(os.times()[2:4])  # of children that have ended
            began = time.perf_counter()
            finished = list(pool.map(partial(run_command, home=place), commands))
            seconds = time.perf_counter() - began
            core_seconds = sum(os.times()[2:4]) - before
        for run in finished:
            if run.exit_code:
                said = one_line(ValueError(run.error_output or run.output))
                raise InputError(f"failed with exit code {run.exit_code}: {said}")
        made = len(list(output.glob("*.jpg")))
        if made != count:
            raise InputError(f"made {made} pictures of {count} files")
        return seconds, core_seconds
    finally:
        shutil.rmtree(output)
