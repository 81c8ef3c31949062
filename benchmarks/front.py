"""Quality against seconds: what the truth test scored, and what each takes for a RAW here; writes front.csv, front.png.

    python benchmarks/front.py RAW [--output docs/results] [--networks srcnn,unet,nafnet] [--size 1504x2000]

Upper row: fitted PSNR of the truth test (truth.csv, truth-fast.csv) against seconds from the file RAW, of 12 MP, to an
8-bit picture: lwisp and rawpy in this process, without writing it; other programs, where they are installed, as
commands that write a PNG. What is not installed has its quality only, at the margin.

Lower row, another scale, for those networks are not in the truth test: PSNR with colors fitted on the synthetic Zurich
after equally many steps (table1.csv) and after equal time (table1-clock.csv), short trainings both, against seconds of
the network alone on planes of `--size`. No figure of one row may be compared with one of the other.
"""

import argparse
import csv
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rawpy

from lwisp.baselines.config import NETWORKS
from lwisp.engines.cost import time_in_turn
from lwisp.engines.engine import prepare_engine
from lwisp.engines.threads import default_threads
from lwisp.errors import InputError
from lwisp.evaluation.network_timing import load_network, make_ready, random_planes, resolve_engines
from lwisp.evaluation.processes import call_in_new_process, describe_machine
from lwisp.evaluation.tools import RAWPY, all_tools
from lwisp.files.optional import need
from lwisp.files.raw import read_raw
from lwisp.files.writing import make_folder, temporary_folder, write_csv, write_whole
from lwisp.pipeline import develop_with
from lwisp.planning import Job
from lwisp.weights import load

WEIGHTS = ("photo", "photo-fast")
CASES = {"clean": "no noise", "middle": "about ISO 800", "high": "about ISO 6400"}
TABLES = {"table1": "networks, equal steps", "table1-clock": "networks, equal time of training"}
COLORS = {"lwisp": "tab:red", "rawpy": "tab:blue", "darktable": "tab:green", "RawTherapee": "tab:purple"}
LABELED = (
    *("lwisp photo, no look", "lwisp photo-fast, no look", "rawpy AHD", "rawpy DCB + FBDD + median"),
    *("RawTherapee neutral", "RawTherapee neutral + denoise", "RawTherapee ISO High", "darktable no look"),
    "darktable no look + wavelets",
)
"""Those of the truth test whose names are drawn; all are in the CSV."""


@dataclass(frozen=True)
class Point:
    """One tool or network on one panel."""

    panel: str
    name: str
    psnr: float
    """dB: fitted PSNR of the truth test, or PSNR with colors fitted of the table."""
    seconds: float
    """Median; NaN where it was not measured here."""
    measured: str
    """What was timed, or why nothing was."""
    machine: str


def means(path: Path, group: tuple[str, str], score: str) -> dict[tuple[str, str], float]:
    """Means of a score in a CSV over the rows that share two columns; without groups that lack a value."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            values[line.get(group[0], ""), line[group[1]]].append(float(line[score]))
    found = {key: statistics.fmean(each) for key, each in values.items()}
    return {key: mean for key, mean in found.items() if math.isfinite(mean)}


def time_tools(raw: Path, rounds: int) -> dict[str, tuple[float, str]]:
    """Median seconds of every tool that is installed, by its name in the truth test, and what was timed."""
    calls: dict[str, Callable[[], object]] = {}
    for name in WEIGHTS:
        weights = load(name)
        engine = prepare_engine(weights.runnable)
        convention = weights.card.convention

        def develop(engine: Any = engine, convention: Any = convention) -> None:
            develop_with(engine, convention, read_raw(raw), 0.0, np.uint8)

        calls[f"lwisp {name}"] = develop
    calls |= {name: partial(develop_by_rawpy, raw, options) for name, (_, options) in RAWPY.items()}
    found = {}
    for name, seconds in zip(calls, time_in_turn(list(calls.values()), rounds), strict=True):
        found[name] = statistics.median(seconds), "file to picture, in process"
    for name in WEIGHTS:
        found[f"lwisp {name}, no look"] = found[f"lwisp {name}"]  # the same work
    with temporary_folder() as folder:
        for tool in all_tools(load(WEIGHTS[0])):
            if tool.program and tool.installed:
                found[tool.name] = time_program(tool.develop, Job(raw, folder / "picture.png", "png"), rounds)
    return found


def develop_by_rawpy(raw: Path, options: dict[str, Any]) -> None:
    """A picture by rawpy with the camera's white balance."""
    with rawpy.imread(str(raw)) as opened:
        opened.postprocess(use_camera_wb=True, **options)


def time_program(develop: Callable[[list[Job]], dict[Path, str]], job: Job, rounds: int) -> tuple[float, str]:
    """Median seconds of a program with its start, or NaN and why it failed."""
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        failures = develop([job])
        if failures:
            return math.nan, next(iter(failures.values()))
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:]), "file to PNG, command"


def time_network(baseline: str | None, engine: str, size: tuple[int, int], rounds: int) -> float:
    """Median seconds of a network alone; in a process of its own."""
    network = load_network(WEIGHTS[0], baseline)
    run = make_ready(network, engine, size)
    return statistics.median(time_in_turn([partial(run, random_planes(network, size))], rounds)[0])


def measure(options: argparse.Namespace) -> list[Point]:
    """All points of all panels."""
    folder, rounds = options.output, options.rounds
    facts = describe_machine()
    machine = f"{facts['processor']}; {facts['instructions']}; {default_threads()} threads"
    scores: dict[tuple[str, str], float] = {}
    for path in (folder / "truth.csv", folder / "truth-fast.csv"):
        scores |= means(path, ("case", "tool"), "psnr_fitted")
    seconds = time_tools(options.raw, rounds)
    points = [
        Point(case, name, psnr, *seconds.get(name, (math.nan, "not installed here")), machine)
        for (case, name), psnr in scores.items()
    ]
    (engine,) = resolve_engines(load(WEIGHTS[0]), ["auto"])
    size = tuple(map(int, options.size.split("x")))
    taken: dict[str, tuple[float, str]] = {}
    for baseline in (None, *filter(None, options.networks.split(","))):
        title = "LW-ISP" if baseline is None else NETWORKS[baseline].title
        try:
            median = call_in_new_process(time_network, baseline, engine, size, rounds)
            taken[title] = median, f"network alone, planes of {options.size}, {engine}"
        except InputError as error:
            taken[title] = math.nan, str(error)
    for table in TABLES:
        for (_, title), psnr in means(folder / f"{table}.csv", ("", "variant"), "psnr_fitted").items():
            points.append(Point(table, title, psnr, *taken.get(title, (math.nan, "not measured")), machine))
    return points


def draw(path: Path, points: list[Point], raw: str, size: str) -> None:
    """The panels as one picture; what has no seconds stands at the right margin."""
    figure = need("matplotlib.figure").Figure(figsize=(16, 11), layout="constrained")
    upper, lower = figure.subfigures(2, 1)
    for part, panels, across in (
        (upper, CASES, f"seconds from {raw} to an 8-bit picture"),
        (lower, TABLES, f"seconds of the network alone on planes of {size}"),
    ):
        for axes, (panel, title) in zip(part.subplots(1, len(panels)), panels.items(), strict=True):
            draw_panel(axes, [point for point in points if point.panel == panel], title)
            axes.set(xlabel=across, ylabel="PSNR, dB, look fitted" if panels is CASES else "PSNR, dB, colors fitted")
    upper.suptitle("The truth test; lwisp's named marks are without its look, the others with it", fontsize=12)
    lower.suptitle("Short trainings on the synthetic Zurich: another scale, not to be compared with above", fontsize=12)
    figure.suptitle(points[0].machine, fontsize=9)
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=100))


def draw_panel(axes: Any, points: list[Point], title: str) -> None:
    """Marks and names; the axis of seconds is logarithmic and ends at the dotted line."""
    known = [point.seconds for point in points if math.isfinite(point.seconds)]
    span = max(known) / min(known)
    margin = max(known) * span**0.25
    axes.set_xscale("log")
    axes.set_xlim(min(known) / span**0.1, margin * span**0.95)
    axes.axvline(margin / span**0.05, color="gray", linestyle=":")
    ticker = need("matplotlib.ticker")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_title(f"{title}; right of the dotted line: seconds not measured", fontsize=9)
    axes.grid(alpha=0.3)
    named: dict[str, list[tuple[Point, float]]] = {"left": [], "right": []}  # of their marks
    for point in points:
        is_known = math.isfinite(point.seconds)
        place = point.seconds if is_known else margin
        axes.plot(place, point.psnr, "o" if is_known else ">", color=color_of(point), markersize=6)
        if point.name in LABELED or point.panel in TABLES:
            is_late = is_known and point.seconds > min(known) * span**0.5
            named["left" if is_late else "right"].append((point, place))
    low, high = axes.get_ylim()
    for side, chosen in named.items():
        before: dict[bool, float] = defaultdict(
            lambda: -math.inf
        )  # the height of the last name, here and at the margin
        for point, place in sorted(chosen, key=lambda pair: pair[0].psnr):
            group = place == margin
            before[group] = max(point.psnr, before[group] + (high - low) * 0.032)
            axes.annotate(
                point.name.removesuffix(", no look"),
                (place, before[group]),
                xytext=(9 if side == "right" else -9, 0),
                textcoords="offset points",
                ha="left" if side == "right" else "right",
                va="center",
                fontsize=8,
                color=color_of(point),
            )


def color_of(point: Point) -> str:
    """The color of a tool's family."""
    return COLORS.get(point.name.split()[0], "black")


def main() -> None:
    """Measure, and write the CSV and the picture."""
    parser = argparse.ArgumentParser(description="Quality against seconds.")
    parser.add_argument("raw", type=Path, help="a RAW of 12 MP")
    parser.add_argument("--output", type=Path, default=Path("docs/results"), help="holds truth.csv and table1.csv too")
    parser.add_argument("--networks", default="srcnn,unet,nafnet", help=", ".join(NETWORKS))
    parser.add_argument("--size", default="1504x2000", help="of the planes that networks are timed on")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    make_folder(options.output)
    points = measure(options)
    write_csv(options.output / "front.csv", points)
    draw(options.output / "front.png", points, options.raw.name, options.size)
    for point in sorted(points, key=lambda point: (point.panel, math.isnan(point.seconds), point.seconds)):
        print(f"{point.panel:12} {point.name:32} {point.psnr:6.2f} dB  {point.seconds:7.3f} s  {point.measured}")


if __name__ == "__main__":
    main()
