"""Compares lwisp with other RAW converters on the same files: one page, with scores where there is a ground truth.

Every tool's picture is shifted by whole pixels onto the ground truth, or onto lwisp's picture, because tools cut off a
few at the border. Scores are taken as is, and once more without what `matching.fit_look` takes away.
"""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from lwisp.data import folders as formats
from lwisp.engines.names import Precision
from lwisp.errors import InputError, OutputError, tell_failure
from lwisp.evaluation import color_charts
from lwisp.evaluation.comparison_gallery import Frame, GalleryBuilder
from lwisp.evaluation.comparison_page import Comparison, ToolScores, describe
from lwisp.evaluation.tools import Tool, all_tools
from lwisp.files.encoding import SUFFIX_FORMATS
from lwisp.files.pictures import read_rgb
from lwisp.files.raw import read_orientation
from lwisp.files.report import to_html, to_markdown, to_picture
from lwisp.files.writing import (
    check_outputs,
    clear_leftovers,
    is_regular,
    make_folder,
    temporary_folder,
    without_temporary_folders,
    write_csv,
    write_text,
    write_whole,
)
from lwisp.imaging import matching, metrics
from lwisp.imaging.alignment import REACH, Picture, Shift, find_shift, shift_image
from lwisp.imaging.pixels import unorient
from lwisp.imaging.tensors import to_tensor
from lwisp.planning import Job, plan
from lwisp.weights import Weights

PAGE = ("compare.csv", "compare.html", "compare.md", "compare.png")
"""What a comparison consists of."""
SHOWN = 3  # files whose pictures are shown, spread evenly over all
BORDER = 12  # px at each border of the ground truth that are not scored: tools cut off some, or invent some
MAX_THREADS = 4  # that score pictures: each holds a few whole ones in memory


def compare(
    weights: Weights,
    sources: list[Path],
    output: Path,
    truth: Path | None = None,
    chart_file: Path | None = None,
    precision: Precision = "auto",
    overwrite: bool = False,
) -> Comparison:
    """Develop RAW files with lwisp and all other tools that are here, and write one page of it; progress on stderr.

    A tool that is missing, or fails, is named on the page. Without `truth` and `chart_file` only tools that give a
    finished picture take part.

    Args:
        weights: What lwisp develops with.
        sources: RAW files, or folders of them.
        output: Folder of `compare.html`, `compare.png`, `compare.md` and `compare.csv`.
        truth: Folder of what the RAWs show, upright: `NAME.png` (or .jpg, .tif).
        chart_file: JSON file that says where ColorCheckers are (`color_charts.read_charts`).
        precision: What lwisp's network computes in.
        overwrite: Whether an earlier page may be replaced.

    Returns:
        All scores, and the pictures that are shown.

    Raises:
        InputError: If nothing can be compared, or something is in the way.
    """
    sources = [job.source for job in plan(sources, None, None)]
    known = color_charts.read_charts(chart_file) if chart_file else {}
    make_folder(output)
    clear_leftovers(output)
    check_outputs(output, PAGE, overwrite, _is_table)
    tools = [tool for tool in all_tools(weights, precision) if tool.finished or truth or chart_file]
    with temporary_folder() as workspace:
        folders = {source.parent for source in sources}
        frames = [
            Frame(
                source,
                source.parent.name if len(folders) > 1 else "",
                find_truth(truth, source) if truth else _place(workspace, 0, index),
                truth is not None,
                color_charts.find_chart(known, source),
            )
            for index, source in enumerate(sources)
        ]
        builders = {index: GalleryBuilder(frames[index]) for index in formats.sample(range(len(frames)), SHOWN)}
        rows: list[ToolScores] = []
        numbered = list(enumerate(tools))
        for number, tool in track(numbered, "comparing", transient=True, console=Console(stderr=True)):
            rows += _run_tool(tool, number, frames, workspace, builders)
    comparison = Comparison(
        weights=f"{weights.card.name} (SHA-256 of the tensors {weights.sha256[:16]})",
        precision=precision,
        tools=tuple(tools),
        rows=tuple(rows),
        galleries=tuple(builder.gallery for builder in builders.values()),
        command=" ".join(["lwisp", *sys.argv[1:]]),
    )
    _write(output, comparison, overwrite)
    return comparison


def _is_table(path: Path) -> bool:
    """Whether this is a table of scores as `compare` writes it."""
    try:
        if not is_regular(path):
            return False
        with path.open(encoding="utf-8") as file:
            return file.readline().split(",")[:3] == ["picture", "case", "tool"]
    except (OSError, ValueError, InputError):
        return False


def _place(workspace: Path, number: int, index: int) -> Path:
    return workspace / str(number) / f"{index}.png"


def find_truth(folder: Path, source: Path) -> Path:
    """The picture of what a RAW shows.

    Args:
        folder: Where it lies, as `NAME.png` (or .jpg, .tif).
        source: The RAW file.

    Raises:
        InputError: There is none.
    """
    found = [path for suffix in SUFFIX_FORMATS if (path := folder / f"{source.stem}{suffix}").is_file()]
    if not found:
        raise InputError(f"{folder}: no picture {source.stem}.png (or .jpg, .tif) of what {source.name} shows")
    return found[0]


def _run_tool(
    tool: Tool, number: int, frames: list[Frame], workspace: Path, builders: dict[int, GalleryBuilder]
) -> list[ToolScores]:
    """Let a tool develop all RAWs, and score each picture; only the first tool's pictures are kept."""
    jobs = [Job(frame.source, _place(workspace, number, index), "png") for index, frame in enumerate(frames)]
    (workspace / str(number)).mkdir()
    start = time.perf_counter()
    cpu_start = sum(os.times()[:4])
    if tool.installed:
        try:
            failures = tool.develop(jobs)
        except OutputError:  # of the disk: no tool's pictures would have room
            raise
        except Exception as error:  # of one tool: the others are tried
            failures = {job.source: tell_failure(job.source, error) for job in jobs}
    else:
        failures = dict.fromkeys((job.source for job in jobs), f"{tool.program} is not installed")
    seconds = time.perf_counter() - start
    cpu_seconds = sum(os.times()[:4]) - cpu_start

    def score(index: int, frame: Frame, job: Job) -> ToolScores:
        row = ToolScores(frame.source.stem, frame.case, tool.name, seconds / len(jobs), cpu_seconds / len(jobs))
        try:
            if job.source in failures:
                raise InputError(failures[job.source])
            picture, reference = _lay_on(job.output, frame)
            row = replace(row, **_score(picture, reference, frame))  # type: ignore[arg-type]
            if index in builders:
                builders[index].add(row, picture, reference)
        except Exception as error:
            row = replace(row, failure=without_temporary_folders(tell_failure(frame.source, error)))
        if number:
            job.output.unlink(missing_ok=True)
        return row

    threads = min(os.cpu_count() or 1, MAX_THREADS)
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(score, range(len(jobs)), frames, jobs))


def _lay_on(path: Path, frame: Frame) -> tuple[Picture, Picture]:
    """A tool's picture shifted onto the reference, and the reference; raises `InputError` if they can't be the same."""
    if not frame.reference.is_file():
        raise InputError(f"{frame.source}: there is no picture of lwisp's to lay others onto")
    picture = read_rgb(path)
    reference = read_rgb(frame.reference)
    if any(abs(side - other) > REACH for side, other in zip(picture.shape, reference.shape, strict=True)):
        sizes = ["x".join(map(str, size.shape[:2])) for size in (picture, reference)]
        raise InputError(f"{frame.source}: a picture of {sizes[0]} px, expected about {sizes[1]}")
    shift = find_shift(picture, reference)
    if frame.has_truth and min(reference.shape[:2]) < 2 * BORDER + metrics.WINDOW:
        raise InputError(f"{frame.reference}: expected {2 * BORDER + metrics.WINDOW} px a side at least to score")
    if frame.has_truth and not _covers(picture, reference, shift):
        raise InputError(f"{frame.source}: a picture that lies {shift} px off leaves part of the truth uncovered")
    return shift_image(picture, shift, reference.shape[:2]), reference


def _score(picture: Picture, reference: Picture, frame: Frame) -> dict[str, float]:
    """All scores that a frame allows for, by their names in `ToolScores`."""
    scores: dict[str, float] = {}
    if frame.has_truth:
        rgb = to_tensor(picture[BORDER:-BORDER, BORDER:-BORDER])
        truth = to_tensor(reference[BORDER:-BORDER, BORDER:-BORDER])
        scores |= _scores(rgb, truth, "")
        fitted = matching.fit_look(rgb, truth)
        scores |= _scores(fitted, truth, "_fitted")
        scores["false_color"] = metrics.false_color(fitted, truth)
    if frame.chart is not None:
        stored = np.ascontiguousarray(unorient(picture, read_orientation(frame.source)))
        patches = color_charts.measure(stored, frame.chart)
        scores["chart"], scores["chart_balanced"] = color_charts.judge(patches)
    return scores


def _scores(rgb: Tensor, truth: Tensor, suffix: str) -> dict[str, float]:
    return {
        f"psnr{suffix}": metrics.psnr(rgb, truth),
        f"ssim{suffix}": metrics.ssim(rgb, truth),
        f"delta_e{suffix}": metrics.delta_e(rgb[:, ::2, ::2], truth[:, ::2, ::2]),
    }


def _covers(picture: Picture, reference: Picture, shift: Shift) -> bool:
    """Whether a shifted picture covers the reference except for its `BORDER`."""
    return all(
        -offset <= BORDER and other - BORDER <= side - offset
        for side, other, offset in zip(picture.shape[:2], reference.shape[:2], shift, strict=True)
    )


def _write(folder: Path, comparison: Comparison, overwrite: bool) -> None:
    title = "lwisp beside other tools"
    blocks = describe(comparison)
    check_outputs(folder, PAGE, overwrite, _is_table)
    write_csv(folder / "compare.csv", comparison.rows, overwrite)
    write_text(folder / "compare.md", to_markdown(title, blocks), overwrite)
    write_text(folder / "compare.html", to_html(title, blocks), overwrite)
    write_whole(folder / "compare.png", lambda file: to_picture(blocks).save(file, "PNG"), overwrite)
