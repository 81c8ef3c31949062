"""Time and memory from file to file: one RAW by lwisp and other tools, and how lwisp's cost grows with the file."""

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from lwisp.conversion import MURAL, MURAL_BALANCE
from lwisp.engines.cost import time_in_turn
from lwisp.engines.engine import Engine, prepare_engine
from lwisp.errors import InputError, one_line
from lwisp.evaluation import darktable, rawpy_loop, rawtherapee
from lwisp.evaluation.commands import run_command
from lwisp.evaluation.network_timing import Timing, ratio
from lwisp.evaluation.processes import call_in_new_process, peak_memory_mib
from lwisp.files.dng import write_dng
from lwisp.files.pictures import write_picture
from lwisp.files.raw import RawImage, read_mosaic, read_raw
from lwisp.files.writing import temporary_folder
from lwisp.pipeline import develop_with
from lwisp.weights import Weights, load


@dataclass(frozen=True)
class FileTiming:
    """A whole file developed in a process of its own."""

    megapixels: float
    threads: int
    seconds: float = 0.0
    peak_memory_mib: float = 0.0
    failure: str = ""


def time_tools(weights: Weights, path: Path, source: Path, rounds: int) -> list[Timing]:
    """Time from a RAW to a JPEG: lwisp and rawpy inside this process, and programs, each with its start.

    Args:
        weights: What lwisp develops with.
        path: Their file, for the command.
        source: The RAW.
        rounds: Rounds after one to warm up.

    Returns:
        A row for each tool, related to lwisp's inside this process; those that failed come last.
    """
    with temporary_folder() as folder:
        output = folder / "command.jpg"
        runs: dict[tuple[str, str], Callable[[], object]] = {
            ("lwisp", "in process"): partial(
                _develop, prepare_engine(weights.runnable), weights, source, folder / "lwisp.jpg"
            ),
            ("rawpy default", "in process"): partial(rawpy_loop.develop, source, folder / "rawpy.jpg"),
        }
        failures = []
        for tool, arguments in installed_commands(path, source, output).items():
            run = partial(_run, arguments, output)
            try:
                run()
            except InputError as error:
                failures.append(Timing(tool, "command", [], failure=str(error)))
            else:
                runs[tool, "command"] = run
        seconds = time_in_turn(list(runs.values()), rounds)
    rows = []
    for (tool, run_as), own in zip(runs, seconds, strict=True):
        rows.append(Timing(tool, run_as, own, ratio(own, seconds[0])))
    return rows + failures


def installed_commands(weights: Path, source: Path, output: Path) -> dict[str, list[str]]:
    """The commands from a RAW to a JPEG of quality 95, by the names of the programs that are installed.

    Args:
        weights: The file of lwisp's weights.
        source: The RAW.
        output: The JPEG, which is replaced.
    """
    develop = [sys.executable, "-m", "lwisp", "develop", str(source), "--weights", str(weights.resolve())]
    commands = {
        "lwisp": [*develop, "--overwrite", "-o", str(output)],
        darktable.PROGRAM: darktable.jpeg_command(source, output),
        rawtherapee.PROGRAM: rawtherapee.jpeg_command(source, output),
    }
    return {tool: arguments for tool, arguments in commands.items() if shutil.which(arguments[0])}


def _run(arguments: list[str], output: Path) -> None:
    """Run a command that must write that file; raises `InputError` where it doesn't."""
    output.unlink(missing_ok=True)
    finished = run_command(arguments, output.parent)
    if finished.exit_code or not output.is_file():
        said = one_line(ValueError(finished.error_output or finished.output))
        raise InputError(f"{arguments[0]} failed with exit code {finished.exit_code}: {said}")


def _develop(engine: Engine, weights: Weights, source: Path, output: Path) -> None:
    """What `develop_files` does for each of many files."""
    raw = read_raw(source)
    picture = develop_with(engine, weights.card.convention, raw, 0.0, np.uint8)
    write_picture(output, picture, "jpg", raw.exif, overwrite=True)


def time_file(name_or_path: str, megapixels: float, threads: int, memory: float | None) -> FileTiming:
    """Time and peak memory of one file of a given size, developed in a process of its own.

    Args:
        name_or_path: The weights.
        megapixels: Size of the file, which is made for it, 4:3.
        threads: Processors that may be used.
        memory: Bound on the process's memory in GB, as `lwisp develop --memory` has it.
    """
    with temporary_folder() as folder:
        source = folder / "mosaic.dng"
        raw = mural_of(megapixels)
        area = raw.mosaic.size / 1e6
        write_dng(source, raw)
        try:
            seconds, peak = call_in_new_process(
                _develop_alone, name_or_path, source, folder / "picture.jpg", threads, memory
            )
        except InputError as error:
            return FileTiming(area, threads, failure=str(error))
        return FileTiming(area, threads, seconds, peak)


def mural_of(megapixels: float) -> RawImage:
    """A RAW of about that size, 4:3: the mural that exports are checked with, side by side.

    Args:
        megapixels: Its size in millions of photosites.
    """
    height: int = 2 * round((megapixels * 1e6 * (3 / 4)) ** 0.5 / 2)
    width: int = 2 * round((megapixels * 1e6 * (4 / 3)) ** 0.5 / 2)
    mural = read_mosaic(MURAL, "RGGB", 0, 16383, MURAL_BALANCE)
    rows = -(-height // mural.mosaic.shape[0])
    columns = -(-width // mural.mosaic.shape[1])
    return replace(mural, mosaic=np.tile(mural.mosaic, (rows, columns))[:height, :width])


def _develop_alone(
    name_or_path: str, source: Path, output: Path, threads: int, memory: float | None
) -> tuple[float, float]:
    """Seconds and peak memory of a file developed in a new process, on so many processors, when it does so again.

    Imports and compiling are not counted; they do not grow with the file.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    torch.set_num_threads(threads)
    weights = load(name_or_path)
    engine = prepare_engine(weights.runnable, memory=memory)
    for _ in range(2):
        began = time.perf_counter()
        _develop(engine, weights, source, output)
    return time.perf_counter() - began, peak_memory_mib()
