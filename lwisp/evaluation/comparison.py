"""lwisp beside the tools that a photographer would pick instead: the same RAW, one page, scores where a truth exists.

Every tool's picture is laid onto the truth, or onto lwisp's picture, by a shift of whole pixels (tools cut off a few at
the border). Nothing is scored beyond that but what `metrics.fit_look` says it takes away.
"""

import math
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from lwisp.batch import Job, plan
from lwisp.data import folders as formats
from lwisp.data.datasets import to_tensor
from lwisp.engines.engine import Precision
from lwisp.errors import InputError, tell_failure
from lwisp.evaluation import color_charts
from lwisp.evaluation.tools import Tool, all_tools
from lwisp.files.pictures import SUFFIX_FORMATS, read_rgb
from lwisp.files.raw import read_orientation
from lwisp.files.report import Block, Gallery, Panel, Table, to_html, to_markdown, to_picture
from lwisp.files.writing import (
    check_outputs,
    clear_leftovers,
    make_folder,
    temporary_folder,
    write_csv,
    write_text,
    write_whole,
)
from lwisp.imaging import metrics
from lwisp.imaging.pixels import orient
from lwisp.imaging.registration import REACH, Picture, Shift, find_shift, lay
from lwisp.imaging.scores import interval
from lwisp.weights import Weights

PAGE = ("compare.csv", "compare.html", "compare.md", "compare.png")
CROP = 224  # px a side of what is shown
SHOWN = 3  # files whose pictures are shown, spread evenly over all
BORDER = 12  # px of the truth that are not scored: tools cut off or invent some
LOCAL_REACH = 24  # px by which a detail may be shifted after its picture has been laid
MAX_THREADS = 4  # that look at pictures: each holds a few whole ones in memory
INVERSE_ORIENTATION = {6: 8, 8: 6}  # all others undo themselves


@dataclass(frozen=True)
class Row:
    """One RAW developed by one tool. A score is nan where there is nothing to judge by."""

    picture: str
    case: str
    """The folder it lies in, where the RAWs lie in several."""
    tool: str
    seconds: float
    """Mean over all RAWs of the tool's run, its start included."""
    cpu_seconds: float
    failure: str = ""
    psnr: float = math.nan
    ssim: float = math.nan
    delta_e: float = math.nan
    psnr_fitted: float = math.nan
    """After `metrics.fit_look`, as are the next two."""
    ssim_fitted: float = math.nan
    delta_e_fitted: float = math.nan
    chart: float = math.nan
    """Mean dE2000 of a ColorChecker as shot."""
    chart_balanced: float = math.nan
    """The same with the cast of its grays removed."""


TITLES = {
    "psnr": ("PSNR dB", 2),
    "ssim": ("SSIM", 4),
    "delta_e": ("dE2000", 2),
    "psnr_fitted": ("PSNR dB, fitted", 2),
    "ssim_fitted": ("SSIM, fitted", 4),
    "delta_e_fitted": ("dE2000, fitted", 2),
    "chart": ("chart dE2000, as shot", 2),
    "chart_balanced": ("chart dE2000, cast removed", 2),
}
"""Of every score, with its decimals."""


@dataclass(frozen=True)
class Comparison:
    """All rows, the tools they come from, and the pictures that are shown."""

    weights: str
    precision: str
    tools: tuple[Tool, ...]
    rows: tuple[Row, ...]
    galleries: tuple[Gallery, ...]
    command: str

    @property
    def failures(self) -> list[str]:
        """Why lwisp itself has no picture of a RAW, for each of these."""
        return [row.failure for row in self.rows if row.tool == self.tools[0].name and row.failure]

    @property
    def count(self) -> int:
        """Of RAWs."""
        return len(self.rows) // len(self.tools)

    def values(self, case: str, tool: str, score: str) -> list[float]:
        """A score of one tool's pictures, in their order."""
        return [getattr(row, score) for row in self.rows if (row.case, row.tool) == (case, tool)]

    def mean(self, case: str, tool: str, score: str) -> float:
        """Its mean; nan where the tool lacks one of the pictures, for only means over the same can be compared."""
        return float(np.mean(self.values(case, tool, score) or [math.nan]))


@dataclass(frozen=True)
class _Frame:
    """One RAW on the bench."""

    source: Path
    case: str
    reference: Path
    """The truth, or lwisp's picture: what all others are laid onto."""
    has_truth: bool
    chart: color_charts.Chart | None


def compare(
    weights: Weights,
    sources: list[Path],
    output: Path,
    truth: Path | None = None,
    chart_file: Path | None = None,
    precision: Precision = "auto",
    overwrite: bool = False,
) -> Comparison:
    """Develop RAW files with lwisp and all other tools that are here, and write one page of it into a folder.

    `truth` is a folder with what the RAWs show, upright, `NAME.png` (or .jpg, .tif); `chart_file` says where
    ColorCheckers lie (`charts.read_charts`). Without both only finished looks are compared. Writes `compare.html`,
    `compare.png`, `compare.md` and `compare.csv`; progress on stderr. A tool that is missing, or fails, is named on the
    page. Raises `InputError`.
    """
    sources = [job.source for job in plan(sources, None, None)]
    known = color_charts.read_charts(chart_file) if chart_file else {}
    make_folder(output)
    clear_leftovers(output)
    check_outputs(output, PAGE, overwrite, _is_table)
    tools = [tool for tool in all_tools(weights, precision) if tool.finished or truth or chart_file]
    with temporary_folder() as bench:
        folders = {source.parent for source in sources}
        frames = [
            _Frame(
                source,
                source.parent.name if len(folders) > 1 else "",
                _find_truth(truth, source) if truth else _place(bench, 0, index),
                truth is not None,
                color_charts.find_chart(known, source),
            )
            for index, source in enumerate(sources)
        ]
        walls = {index: _Wall(frames[index]) for index in formats.sample(range(len(frames)), SHOWN)}
        rows: list[Row] = []
        numbered = list(enumerate(tools))
        for number, tool in track(numbered, "comparing", transient=True, console=Console(stderr=True)):
            rows += _try(tool, number, frames, bench, walls)
    comparison = Comparison(
        f"{weights.card.name} (SHA-256 of the tensors {weights.sha256[:16]})",
        precision,
        tuple(tools),
        tuple(rows),
        tuple(wall.gallery for wall in walls.values()),
        " ".join(["lwisp", *sys.argv[1:]]),
    )
    _write(output, comparison, overwrite)
    return comparison


def _is_table(path: Path) -> bool:
    """Whether this is a table of scores as `compare` writes it."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().split(",")[:3] == ["picture", "case", "tool"]
    except (OSError, ValueError):
        return False


def _place(bench: Path, number: int, index: int) -> Path:
    return bench / str(number) / f"{index}.png"


def _find_truth(folder: Path, source: Path) -> Path:
    found = [path for suffix in SUFFIX_FORMATS if (path := folder / f"{source.stem}{suffix}").is_file()]
    if not found:
        raise InputError(f"{folder}: no picture {source.stem}.png (or .jpg, .tif) of what {source.name} shows")
    return found[0]


def _try(tool: Tool, number: int, frames: list[_Frame], bench: Path, walls: "dict[int, _Wall]") -> list[Row]:
    """Let a tool develop all RAWs, and look at each picture; only the first tool's pictures are kept."""
    jobs = [Job(frame.source, _place(bench, number, index), "png") for index, frame in enumerate(frames)]
    (bench / str(number)).mkdir()
    start, cpu_start = time.perf_counter(), sum(os.times()[:4])
    if tool.installed:
        try:
            failures = tool.develop(jobs)
        except Exception as error:  # of one tool: the others are tried
            failures = {job.source: tell_failure(job.source, error) for job in jobs}
    else:
        failures = dict.fromkeys((job.source for job in jobs), f"{tool.program} is not installed")
    seconds, cpu_seconds = time.perf_counter() - start, sum(os.times()[:4]) - cpu_start

    def look(index: int, frame: _Frame, job: Job) -> Row:
        row = Row(frame.source.stem, frame.case, tool.name, seconds / len(jobs), cpu_seconds / len(jobs))
        try:
            if job.source in failures:
                raise InputError(failures[job.source])
            picture, reference = _lay_on(job.output, frame)
            row = replace(row, **_score(picture, reference, frame))  # type: ignore[arg-type]
            if index in walls:
                walls[index].hang(row, picture, reference)
        except Exception as error:
            row = replace(row, failure=tell_failure(frame.source, error))
        if number:
            job.output.unlink(missing_ok=True)
        return row

    threads = min(os.cpu_count() or 1, MAX_THREADS)
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(look, range(len(jobs)), frames, jobs))


def _lay_on(path: Path, frame: _Frame) -> tuple[Picture, Picture]:
    """A tool's picture laid onto the reference, and that; raises `InputError` where it cannot be the same picture."""
    if not frame.reference.is_file():
        raise InputError(f"{frame.source}: there is no picture of lwisp's to lay others onto")
    picture, reference = read_rgb(path), read_rgb(frame.reference)
    if any(abs(side - other) > REACH for side, other in zip(picture.shape, reference.shape, strict=True)):
        sizes = ["x".join(map(str, size.shape[:2])) for size in (picture, reference)]
        raise InputError(f"{frame.source}: a picture of {sizes[0]} px, expected about {sizes[1]}")
    shift = find_shift(picture, reference)
    if frame.has_truth and min(reference.shape[:2]) < 2 * BORDER + metrics.WINDOW:
        raise InputError(f"{frame.reference}: expected {2 * BORDER + metrics.WINDOW} px a side at least to score")
    if frame.has_truth and not _covers(picture, reference, shift):
        raise InputError(f"{frame.source}: a picture that lies {shift} px off leaves part of the truth uncovered")
    return lay(picture, shift, reference.shape[:2]), reference


def _score(picture: Picture, reference: Picture, frame: _Frame) -> dict[str, float]:
    scores: dict[str, float] = {}
    if frame.has_truth:
        rgb, truth = (to_tensor(rgb[BORDER:-BORDER, BORDER:-BORDER]) for rgb in (picture, reference))
        scores |= _three(rgb, truth, "") | _three(metrics.fit_look(rgb, truth), truth, "_fitted")
    if frame.chart is not None:
        orientation = read_orientation(frame.source)
        stored = orient(picture, INVERSE_ORIENTATION.get(orientation, orientation))
        scores["chart"], scores["chart_balanced"] = color_charts.judge(color_charts.measure(stored, frame.chart))
    return scores


def _three(rgb: Tensor, truth: Tensor, suffix: str) -> dict[str, float]:
    return {
        f"psnr{suffix}": metrics.psnr(rgb, truth),
        f"ssim{suffix}": metrics.ssim(rgb, truth),
        f"delta_e{suffix}": metrics.delta_e(rgb[:, ::2, ::2], truth[:, ::2, ::2]),
    }


def _covers(picture: Picture, reference: Picture, shift: Shift) -> bool:
    """Whether it shows all of the reference but its `BORDER`."""
    return all(
        -offset <= BORDER and other - BORDER <= side - offset
        for side, other, offset in zip(picture.shape[:2], reference.shape[:2], shift, strict=True)
    )


class _Wall:
    """Where the pictures of one RAW are hung side by side: whole, and three details."""

    def __init__(self, frame: _Frame) -> None:
        self.frame = frame
        self.places: dict[str, tuple[int, int]] = {}
        self.columns: list[list[Panel]] = []

    def hang(self, row: Row, picture: Picture, reference: Picture) -> None:
        """One more picture, laid onto the reference; the truth comes before the first."""
        if not self.columns:
            self.places = find_details(reference)
            if self.frame.has_truth:
                self._add(["truth"], reference, reference)
        said = [f"{row.seconds:.2f} s"]
        if self.frame.has_truth:
            said.append(f"{row.psnr:.1f} dB, fitted {row.psnr_fitted:.1f}")
        if self.frame.chart is not None:
            said.append(f"chart {row.chart:.1f}, cast removed {row.chart_balanced:.1f}")
        self._add([row.tool, *said], picture, reference)

    def _add(self, lines: list[str], picture: Picture, reference: Picture) -> None:
        whole = Image.fromarray(picture)
        whole.thumbnail((CROP, CROP), Image.Resampling.LANCZOS)
        panels = [Panel(np.asarray(whole), "\n".join(lines))]
        for name, (top, left) in self.places.items():
            around = tuple(slice(max(0, side - CROP // 2), side + CROP + CROP // 2) for side in (top, left))
            near = find_shift(picture[around], reference[around], LOCAL_REACH)  # a camera's JPEG is scaled, too
            panels.append(Panel(lay(picture, near, reference.shape[:2])[top : top + CROP, left : left + CROP], name))
        self.columns.append(panels)

    @property
    def gallery(self) -> Gallery:
        """A row for the whole picture and for each detail, a column for each tool."""
        return Gallery(
            " ".join(filter(None, (self.frame.source.name, self.frame.case))), list(zip(*self.columns, strict=True))
        )


def find_details(picture: Picture) -> dict[str, tuple[int, int]]:
    """Where a picture (H, W, 3) is worth a closer look: name -> top and left of a square of `CROP` px."""
    rgb = to_tensor(picture)
    luma = rgb.mean(0)
    change = (luma.diff(dim=0)[:, :-1].abs() + luma.diff(dim=1)[:-1].abs())[None]
    side = min(CROP, *change.shape[1:])
    detail, light, color = (
        functional.avg_pool2d(x, side, side // 2)[0]
        for x in (change, luma[None, :-1, :-1], (rgb.amax(0) - rgb.amin(0))[None, :-1, :-1])
    )
    dark = light <= light.quantile(0.25)
    details = {}
    for name, worth in (("detail", detail), ("shadows", detail * dark), ("color", color * detail.sqrt())):
        row, column = divmod(int(worth.argmax()), worth.shape[1])
        for shown in (detail, color):  # nothing is shown twice while there is anything else
            shown[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = 0
        details[name] = (row * (side // 2), column * (side // 2))
    return details


def report(comparison: Comparison) -> list[Block]:
    """The page: what was done, the tools, the scores, the pictures."""
    blocks: list[Block] = [
        f"{comparison.count} RAW files. Weights {comparison.weights}, {comparison.precision}. "
        f"Command: {comparison.command}",
        _tools_table(comparison),
        "Seconds are a picture's share of the tool's whole run, its start and the writing of a PNG included; CPU "
        "seconds are summed over all cores.",
    ]
    cases = list(dict.fromkeys(row.case for row in comparison.rows))
    if any(not math.isnan(row.psnr) for row in comparison.rows):
        blocks.append(HOW)
        for case in cases:
            blocks += [f"{case or 'All'}: {_lead(comparison, case)}", _scores_table(comparison, case)]
    if any(not math.isnan(row.chart) for row in comparison.rows):
        blocks += [HOW_CHARTS, _charts_table(comparison)]
    return [*blocks, *comparison.galleries]


HOW = (
    "As is: the 8-bit picture against the truth, laid onto it by whole pixels, 12 px left out on every side; dE2000 on "
    "every fourth pixel. A finished look, of any tool, scores badly so. Fitted: after the rising curve for each "
    "channel, the 3x4 matrix in linear light and again the rising curve for each channel that bring that picture "
    "nearest to its truth, so that nobody is punished for its look: what is left is detail and noise. The tool that is "
    "told the noise model is told the true one."
)
HOW_CHARTS = (
    "Charts: mean CIE dE2000 of the 24 patches after one exposure (a scalar in linear light, fitted to L* of the six "
    "neutrals), as shot, and with the cast removed (gains that give the mean of N8 to N3.5 its true color). Reference: "
    "colour-science's ColorChecker 24 after November 2014, D50, Bradford."
)


def _tools_table(comparison: Comparison) -> Table:
    rows = []
    for tool in comparison.tools:
        own = [row for row in comparison.rows if row.tool == tool.name]
        failed = [row.failure for row in own if row.failure]
        done = len(failed) < len(own)
        note = f"{len(failed)} of {len(own)} failed: {failed[0]}" if failed else ""
        times = [f"{own[0].seconds:.2f}", f"{own[0].cpu_seconds:.2f}"] if done else ["", ""]
        rows.append([tool.name, tool.version if tool.installed else "", tool.about, *times, note])
    return Table(["tool", "version", "options", "s", "CPU s", "note"], rows)


def _scores_table(comparison: Comparison, case: str) -> Table:
    names = [name for name in TITLES if not name.startswith("chart")]
    means = {tool.name: [comparison.mean(case, tool.name, name) for name in names] for tool in comparison.tools}
    ranked = sorted(
        (tool for tool in means if not math.isnan(means[tool][0])),
        key=lambda tool: -means[tool][names.index("psnr_fitted")],
    )
    rows = [
        [tool, *(f"{mean:.{TITLES[name][1]}f}" for name, mean in zip(names, means[tool], strict=True))]
        for tool in ranked
    ]
    return Table(["tool", *(TITLES[name][0] for name in names)], rows)


def _lead(comparison: Comparison, case: str) -> str:
    """How far each of lwisp's two is ahead of the best other tool, by means over the same pictures."""
    ours, others = comparison.tools[:2], [tool.name for tool in comparison.tools[2:]]
    said = []
    for name, sign, unit in (("psnr_fitted", 1, "dB fitted PSNR"), ("delta_e", -1, "dE2000 as is")):
        scored = [tool for tool in others if not math.isnan(comparison.mean(case, tool, name))]
        if not scored:
            return "no other tool has made all pictures."
        best = max(scored, key=lambda tool: sign * comparison.mean(case, tool, name))
        for own in ours:
            pairs = zip(comparison.values(case, own.name, name), comparison.values(case, best, name), strict=True)
            leads = [sign * (first - second) for first, second in pairs]
            low, high = interval(leads)
            said.append(f"{own.name} {np.mean(leads):+.2f} [{low:+.2f}, {high:+.2f}] {unit} ahead of {best}")
    return "; ".join(said) + " (in brackets 95 % intervals, bootstrap over pictures)."


def _charts_table(comparison: Comparison) -> Table:
    pictures = list(dict.fromkeys(row.picture for row in comparison.rows if not math.isnan(row.chart)))
    rows = []
    for tool in comparison.tools:
        own = {row.picture: row for row in comparison.rows if row.tool == tool.name and not math.isnan(row.chart)}
        if own:
            pairs = [(own[name].chart, own[name].chart_balanced) if name in own else None for name in pictures]
            rows.append([tool.name, *(f"{pair[0]:.1f} / {pair[1]:.1f}" if pair else "" for pair in pairs)])
    return Table(["as shot / cast removed", *pictures], rows)


def _write(folder: Path, comparison: Comparison, overwrite: bool) -> None:
    blocks, title = report(comparison), "lwisp beside other tools"
    check_outputs(folder, PAGE, overwrite, _is_table)
    write_csv(folder / "compare.csv", comparison.rows, overwrite)
    write_text(folder / "compare.md", to_markdown(title, blocks), overwrite)
    write_text(folder / "compare.html", to_html(title, blocks), overwrite)
    write_whole(folder / "compare.png", lambda file: to_picture(blocks).save(file, "PNG"), overwrite)
