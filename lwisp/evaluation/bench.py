"""`lwisp bench`: time and memory of the network and of baselines, of whole files, and how both grow.

What is compared runs in turn, round by round in one process, so that other load on the machine affects all alike; the
ratio is the median of the rounds' own ratios. Cold times and peak memory come from a process of their own for each.
"""

import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import torch

from lwisp.baselines.config import Name
from lwisp.errors import InputError
from lwisp.evaluation.file_timing import FileTiming, time_file, time_tools
from lwisp.evaluation.folder_timing import FolderTiming, time_folder
from lwisp.evaluation.network_timing import EAGER, ENGINES, Contender, Timing, resolve_engines, time_networks
from lwisp.evaluation.processes import describe_machine
from lwisp.files import report as report_writer
from lwisp.files.optional import import_dynamo, need
from lwisp.files.raw import read_raw
from lwisp.files.report import Block, Bullets, Command, Heading, Table
from lwisp.files.writing import check_outputs, make_folder, write_text, write_whole
from lwisp.weights import find, load

FILES = ("bench.json", "bench.md", "scaling.png")
"""What a report consists of."""
MEGAPIXELS = (0.01, 2000)
"""Smallest and largest file that is made."""
MAX_FILES = 10_000
"""Files in a folder."""


@dataclass(frozen=True)
class Report:
    """All that was measured, and on what."""

    command: str
    machine: dict[str, str]
    weights: str
    planes: tuple[int, int, int, int]
    """Shape of the input of `networks`."""
    networks: tuple[Timing, ...]
    tools: tuple[Timing, ...] = ()
    file: str = ""
    """What `tools` and `folders` developed."""
    folders: tuple[FolderTiming, ...] = ()
    folder: int = 0
    """Files in the folder that `folders` developed."""
    by_size: tuple[FileTiming, ...] = ()
    by_threads: tuple[FileTiming, ...] = ()


def bench(
    name_or_path: str = "photo",
    size: tuple[int, int] = (736, 992),
    engines: Sequence[str] = (EAGER, "auto"),
    against: Sequence[str] = (),
    rounds: int = 5,
    file: Path | None = None,
    megapixels: Sequence[float] = (),
    threads: Sequence[int] = (),
    memory: float | None = None,
    folder: int | None = None,
) -> Report:
    """Measure time and memory of a network and of baselines, of whole files, and how both grow.

    Args:
        name_or_path: The weights.
        size: Height and width of the planes that networks are timed on, half the picture's.
        engines: Names out of `ENGINES`.
        against: Names of `baselines`, which run in the same engines.
        rounds: Rounds after one to warm up.
        file: A RAW that is also developed from file to file, beside rawpy, darktable and RawTherapee where they are
            installed.
        megapixels: Sizes of whole files that are made and developed.
        threads: Numbers of threads on which a file of the size that belongs to `size` is developed.
        memory: Bound on the memory of a whole file's process, in GB.
        folder: Copies of `file` that are also developed as a folder, beside rawpy.

    Returns:
        All measurements, and the machine they come from.

    Raises:
        InputError: For unknown engines and networks and for what is not installed, before anything is measured.
    """
    _check(size, engines, against, rounds, file, megapixels, threads, folder)
    import_dynamo()  # which counting operations does
    weights = load(name_or_path)
    named = resolve_engines(weights, engines)
    contenders: list[Contender] = [(baseline, engine) for baseline in (None, *against) for engine in named]
    area = 4 * size[0] * size[1] / 1e6
    return Report(
        command=" ".join(["lwisp", *sys.argv[1:]]),
        machine=describe_machine(),
        weights=f"{weights.card.name} (SHA-256 of the tensors {weights.sha256[:16]})",
        planes=(1, weights.runnable.config.in_channels, *size),
        networks=tuple(time_networks(str(name_or_path), contenders, size, rounds)),
        tools=tuple(time_tools(weights, find(name_or_path), file, rounds)) if file else (),
        file=file.name if file else "",
        folders=tuple(time_folder(find(name_or_path), file, folder, rounds)) if file and folder else (),
        folder=folder or 0,
        by_size=tuple(time_file(str(name_or_path), each, torch.get_num_threads(), memory) for each in megapixels),
        by_threads=tuple(time_file(str(name_or_path), area, count, memory) for count in threads),
    )


def _check(
    size: tuple[int, int],
    engines: Sequence[str],
    against: Sequence[str],
    rounds: int,
    file: Path | None,
    megapixels: Sequence[float],
    threads: Sequence[int],
    folder: int | None,
) -> None:
    for given, known in ((engines, ENGINES), (against, get_args(Name))):
        for name in given:
            if name not in known:
                raise InputError(f"expected names out of {', '.join(known)}, got {name!r}")
    if not engines or rounds < 1 or min(size) < 1:
        raise InputError(f"expected an engine, rounds and sides from 1 up, got {engines}, {rounds} and {size}")
    least, most = MEGAPIXELS
    if any(not least <= area <= most for area in megapixels):
        given_sizes = ", ".join(map(str, megapixels))
        raise InputError(f"expected sizes of {least} to {most} megapixels, got {given_sizes}")
    processors = os.cpu_count() or 1
    if any(not 1 <= count <= processors for count in threads):
        raise InputError(f"expected 1 to {processors} threads, got {', '.join(map(str, threads))}")
    if folder is not None and (file is None or not 1 <= folder <= MAX_FILES):
        raise InputError(f"expected 1 to {MAX_FILES} copies of the file that --end-to-end names, got {folder}")
    if file is not None:
        read_raw(file)


def to_markdown(report: Report) -> str:
    """The report as a page of Markdown: the machine, the networks, the tools, and how time and memory grow."""
    machine = [f"{key}: {value}" for key, value in report.machine.items()]
    blocks: list[Block] = [Command(report.command), Bullets([*machine, f"weights: {report.weights}"])]
    blocks += _networks_section(report)
    if report.tools:
        blocks += _tools_section(report)
    if report.folders:
        blocks += _folder_section(report)
    if report.by_size or report.by_threads:
        blocks += _growth_section(report)
    return report_writer.to_markdown("What it costs", blocks, rule="---")


def _networks_section(report: Report) -> list[Block]:
    height, width = report.planes[2:]
    about = (
        f"Planes of {'x'.join(map(str, report.planes))} float32, a picture of {2 * height}x{2 * width}, in turn, "
        f"{len(report.networks[0].seconds)} rounds after one to warm up: median [fastest, slowest]. *Times*: how long "
        "beside the first row, and beside lwisp in the same engine, median of the rounds' ratios. *Cold*, *peak*: in a "
        "process of its own, from making ready to the first picture; the whole process, imports too."
    )
    megapixels = 4 * height * width / 1e6
    rows = [_network_cells(row, megapixels) for row in report.networks]
    head = ["network", "engine", "parameters", "multiply-adds", "cold s", "ms", "MP/s", "peak MiB", "times"]
    return [Heading("The network alone"), about, Table([*head, "in its engine"], rows)]


def _network_cells(row: Timing, megapixels: float) -> list[str]:
    return [
        row.name,
        row.engine,
        f"{row.params:,}" if row.params else "",
        f"{row.macs / 1e9:,.1f} G" if row.macs else "",
        f"{row.cold_seconds:.2f}",
        _spread(row.seconds, 1000),
        f"{megapixels / statistics.median(row.seconds):.2f}",
        f"{row.peak_memory_mib:,.0f}",
        f"{row.ratio:.3g}",
        f"{row.engine_ratio:.3g}",
    ]


def _tools_section(report: Report) -> list[Block]:
    rows = []
    for row in report.tools:
        figures = [row.failure] if row.failure else [_spread(row.seconds, 1), f"{row.ratio:.2f}"]
        rows.append([row.name, row.engine, *figures])
    return [
        Heading(f"From file to file: {report.file}"),
        "RAW to JPEG of quality 95, in turn. Commands are started anew every time.",
        Table(["tool", "run as", "s", "times"], rows),
    ]


def _folder_section(report: Report) -> list[Block]:
    rows = []
    for row in report.folders:
        figures = [row.failure]
        if not row.failure:
            related = "" if row.ratio is None else f"{row.ratio:.2f}"
            each = statistics.median(row.seconds) / report.folder
            figures = [_spread(row.seconds, 1), f"{each:.2f}", related, _spread(row.core_seconds, 1)]
        rows.append([row.name, str(row.processes), *figures])
    return [
        Heading(f"A folder of {report.folder} files: {report.file} under as many names"),
        f"RAW to JPEG of quality 95, in turn, {len(report.folders[0].seconds)} rounds after one to warm up: one "
        "`lwisp develop FOLDER` beside rawpy's loop in a process for each processor, their starts included. "
        "*Core-seconds*: summed over all cores.",
        Table(["tool", "processes", "s", "s a file", "times", "core-seconds"], rows),
    ]


def _growth_section(report: Report) -> list[Block]:
    rows = []
    for point in (*report.by_size, *report.by_threads):
        speed = point.megapixels / point.seconds if point.seconds else 0.0
        measured = [f"{point.seconds:.2f}", f"{speed:.2f}", f"{point.peak_memory_mib:,.0f}"]
        figures = [point.failure] if point.failure else measured
        rows.append([f"{point.megapixels:.2f}", str(point.threads), *figures])
    return [
        Heading("How it grows"),
        "A plain DNG to a JPEG, the second of two times, each size in a process of its own; imports and compiling "
        "count in its memory but not in its time.",
        Table(["megapixels", "threads", "s", "MP/s", "peak MiB"], rows),
    ]


def _spread(seconds: Sequence[float], scale: float) -> str:
    """Median, fastest and slowest in seconds times `scale`, with about three digits."""
    middle = scale * statistics.median(seconds)
    low = scale * min(seconds)
    high = scale * max(seconds)
    decimals = 0 if middle >= 100 else 1 if middle >= 10 else 2
    return f"{middle:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"


def check_report(folder: Path, overwrite: bool = False) -> None:
    """Make the folder of a report, and refuse to replace what should stay.

    Args:
        folder: Where the report is written to.
        overwrite: Whether a report may be replaced; `bench.json` tells whether there is one.

    Raises:
        InputError: If something is in the way.
    """
    make_folder(folder)
    check_outputs(folder, FILES, overwrite, _is_report)


def _is_report(path: Path) -> bool:
    return report_writer.is_facts(path, ("machine", "by_size", "by_threads"))


def write_report(folder: Path, report: Report, overwrite: bool = False) -> None:
    """Write `bench.md`, `bench.json`, and `scaling.png` where growth was measured.

    Args:
        folder: Where they are written to.
        report: What `bench` returned.
        overwrite: Whether a report may be replaced.

    Raises:
        InputError: If something is in the way, or cannot be written.
    """
    check_report(folder, overwrite)
    write_text(folder / "bench.json", json.dumps(asdict(report), indent=1) + "\n", overwrite)
    write_text(folder / "bench.md", to_markdown(report), overwrite)
    if report.by_size or report.by_threads:
        _plot(folder / "scaling.png", report, overwrite)


def _plot(path: Path, report: Report, overwrite: bool) -> None:
    """Time and memory against megapixels, time against threads."""
    sizes = [point for point in report.by_size if not point.failure]
    counts = [point for point in report.by_threads if not point.failure]
    panels = {
        ("megapixels", "seconds"): [(point.megapixels, point.seconds) for point in sizes],
        ("megapixels", "peak memory, MiB"): [(point.megapixels, point.peak_memory_mib) for point in sizes],
        ("threads", "seconds"): [(float(point.threads), point.seconds) for point in counts],
    }
    figure = need("matplotlib.figure").Figure(figsize=(12, 4), layout="constrained")
    for axes, (labels, values) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        axes.plot([across for across, _ in values], [up for _, up in values], marker="o")
        axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(0, None), ylim=(0, None))
        axes.grid(alpha=0.3)
    figure.suptitle(report.machine["processor"], fontsize=9)
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=110), overwrite)
