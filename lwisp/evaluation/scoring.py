"""Scores weights, or pictures made by other tools, under named protocols: per-picture scores, means, 95 % intervals.

A protocol (`protocols`) says what is developed, what the ground truth is, and what is done to the result before it is
scored. Published figures of one dataset mix several; here each has an id, and a report names it with weights, data and
command.
"""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from lwisp.data import folders as formats
from lwisp.data.cases import Case
from lwisp.data.datasets import read_tensor
from lwisp.data.optical_flow import move_onto, preview_planes
from lwisp.engines.names import Precision
from lwisp.engines.tensors import run_network
from lwisp.errors import InputError
from lwisp.evaluation.classical import BASELINES, Demosaic, develop_with_known_capture, import_menon
from lwisp.evaluation.contact_sheet import Entry, scale_down, write_sheet
from lwisp.evaluation.protocols import PROTOCOLS, Protocol, passes_of, precision_of, protocol_of
from lwisp.evaluation.submissions import SUBMISSIONS
from lwisp.files import report as report_writer
from lwisp.files.encoding import SUFFIX_FORMATS
from lwisp.files.report import Table
from lwisp.files.writing import check_outputs, make_folder, write_csv, write_text
from lwisp.imaging import color
from lwisp.imaging.pixels import to_integer
from lwisp.imaging.scores import DECIMALS, TITLES, interval, printed, score
from lwisp.weights import Weights, check_takes, load

MIN_SIDE = 162  # px; MS-SSIM with five scales and windows of 11 px needs 161, a mosaic even sides
REPORT = ("report.json", "report.md", "rows.csv", "sheet.png")


@dataclass(frozen=True)
class PictureScores:
    """Scores of one picture made one way."""

    picture: str
    case: str
    """"clean" or "noisy" for synthetic RAW, a level of noise or darkness, else empty."""
    chain: str
    """"network", "menon", "given", a classical baseline, a weights file, or the folder of another tool's pictures."""
    psnr: float
    psnr_fitted: float
    """dB after one 3x4 fit of its colors to the ground truth: an oracle, the same for every chain."""
    ssim: float
    ms_ssim: float
    lpips: float
    delta_e: float


@dataclass(frozen=True)
class Report:
    """Scores of every picture, and what they were made with."""

    protocol: str
    weights: str
    sha256: str
    precision: str
    passes: int
    """Passes of test-time augmentation of every network."""
    folders: tuple[str, ...]
    command: str
    rows: tuple[PictureScores, ...]

    @property
    def data(self) -> str:
        """What was scored, in words."""
        return f"{len({row.picture for row in self.rows})} pictures of {', '.join(self.folders)}"

    @property
    def groups(self) -> list[tuple[str, str]]:
        """Pairs of case and chain, in the order of the rows."""
        return list(dict.fromkeys((row.case, row.chain) for row in self.rows))

    def values(self, case: str, chain: str, score: str) -> list[float]:
        """The finite values of a score: the PSNR of a picture that equals its ground truth is infinite and left out.

        Args:
            case: A case of `groups`.
            chain: A chain of `groups`.
            score: A field of `PictureScores`, as the keys of `DECIMALS`.

        Returns:
            One value for each picture that is left, in the order of the rows.
        """
        values = [getattr(row, score) for row in self.rows if (row.case, row.chain) == (case, chain)]
        return [value for value in values if math.isfinite(value)]

    def mean(self, case: str, chain: str, score: str) -> float:
        """Mean of a score over the pictures, those of `values`.

        Args:
            case: A case of `groups`.
            chain: A chain of `groups`.
            score: A field of `PictureScores`, as the keys of `DECIMALS`.

        Returns:
            The mean, in the unit of the score; NaN without values.
        """
        return float(np.mean(self.values(case, chain, score) or [math.nan]))

    def interval(self, case: str, chain: str, score: str) -> tuple[float, float]:
        """The 95 % bootstrap confidence interval of `mean`, over pictures.

        Args:
            case: A case of `groups`.
            chain: A chain of `groups`.
            score: A field of `PictureScores`, as the keys of `DECIMALS`.

        Returns:
            (low, high), in the unit of the score; NaN without values.
        """
        return interval(self.values(case, chain, score))

    def summary(self) -> dict[str, Any]:
        """Means, rounded as they are printed, with data, precision and passes, for the card of the weights."""
        means = {
            ", ".join(filter(None, group)): {
                name: round(self.mean(*group, name), digits) for name, digits in DECIMALS.items()
            }
            for group in self.groups
        }
        return {"data": self.data, "precision": self.precision, "passes": self.passes, **means}


def evaluate(
    weights: Weights,
    folders: list[Path],
    protocol: str | None = None,
    precision: Precision | None = None,
    against: Path | None = None,
    sheet: Path | None = None,
    beside: Sequence[str] = (),
    side: int | None = None,
    passes: int | None = None,
) -> Report:
    """Score weights by a protocol; progress on stderr.

    Args:
        weights: What is scored.
        folders: The protocol's data.
        protocol: Id of a protocol; that of the data on the weights' card if not given (`protocols.protocol_of`).
        precision: What networks compute in; fp32 for a published protocol if not given, else "auto".
        against: Folder of pictures made by another tool, which are scored too: `NAME.png` (or .jpg, .tif), in a folder
            of the case's name where the protocol has cases.
        sheet: A PNG that shows the best, the median and the worst picture of the weights, with ground truth and error.
        beside: Names of classical baselines and weights files for the same task, which are scored too where the
            protocol gives a picture to improve.
        side: px a side of the middle that is scored; whole pictures if not given.
        passes: Passes of test-time augmentation for every network; if not given, one for a published protocol, else as
            many as `denoise` and `enhance` use.

    Returns:
        The scores of every picture, and what they were made with.

    Raises:
        InputError: If the data, the weights or other pictures do not fit the protocol.
    """
    protocol = protocol or protocol_of(weights.card)
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol {protocol!r}; expected one of {', '.join((*PROTOCOLS, *SUBMISSIONS))}")
    plan = PROTOCOLS[protocol]
    if beside and not plan.given:
        raise InputError(f"{protocol} has no place for others beside the weights; --against names a tool's pictures")
    passes, precision = passes_of(weights, passes, plan.published), precision_of(precision, plan.published)
    others = _load_others(weights, beside)
    menon = import_menon() if plan.classical else None
    chains = _Chains(weights, plan, precision, passes, others, against, menon)
    rows: list[PictureScores] = []
    shown: list[Entry] = []
    console = Console(stderr=True)
    for whole in track(plan.cases(folders, weights), "evaluating", transient=True, console=console):
        case = whole if side is None else _middle(whole, side)
        height, width = case.target.shape[-2:]
        if min(height, width) < MIN_SIDE:
            raise InputError(f"{case.name}: {height}x{width} px, expected {MIN_SIDE} px a side at least")
        pictures = chains.run_network(case)
        target = (
            move_onto(case.target, preview_planes(case.planes, case.target)) if plan.align == "raw" else case.target
        )
        if plan.scaled:
            pictures |= {f"{chain}, scaled": scale_to(_rounded(rgb), target) for chain, rgb in pictures.items()}
        for chain, rgb in pictures.items():
            ready, truth = _prepare(plan, _to_rgb(rgb), _to_rgb(target))
            row = PictureScores(case.name, case.kind, chain, **score(ready, truth))
            rows.append(row)
            if sheet is not None and chain == "network":
                name = f"{row.picture} {row.case}"
                shown.append(Entry(name, row.psnr, scale_down(ready), scale_down(truth)))
    if sheet is not None:
        write_sheet(sheet, shown)
    return Report(
        protocol=protocol,
        weights=weights.card.name,
        sha256=weights.sha256,
        precision=precision,
        passes=passes,
        folders=tuple(folder.name for folder in folders),
        command=" ".join(["lwisp", *sys.argv[1:]]),
        rows=tuple(rows),
    )


def _load_others(weights: Weights, beside: Sequence[str]) -> dict[str, Weights | None]:
    """Weights by the name of their file; None for the names of classical baselines."""
    others = {name: None if name in BASELINES else load(name) for name in beside}
    task = weights.card.takes
    for other in others.values():
        if other is not None and task is not None:
            check_takes(other.card, task)
    return others


@dataclass(frozen=True)
class _Chains:
    """All ways in which a case's picture is made."""

    weights: Weights
    plan: Protocol
    precision: Precision
    passes: int
    others: dict[str, Weights | None]
    """Weights beside; None for classical baselines."""
    against: Path | None
    menon: Demosaic | None

    def run_network(self, case: Case) -> dict[str, Tensor]:
        """Chain -> picture (3, H, W) in [0, 1], or planes (4, h, w) where the network gives planes."""
        pictures = {"network": self._run(self.weights, case)}
        if self.plan.given:
            pictures["given"] = case.planes
            for name, other in self.others.items():
                if other is None:
                    pictures[name] = BASELINES[name](_to_rgb(case.planes), _to_rgb(case.target))
                else:
                    pictures[name] = self._run(other, case)
        if self.menon is not None and case.capture is not None:
            pictures["menon"] = develop_with_known_capture(case.capture, self.menon)
        if self.against is not None:
            pictures[self.against.name] = _read_other(self.against, case)
        return pictures

    def _run(self, weights: Weights, case: Case) -> Tensor:
        return run_network(weights.network, case.planes, self.precision, "torch", passes=self.passes)


def to_markdown(report: Report) -> str:
    """The report as Markdown without a title: means with 95 % intervals, and everything that they depend on."""
    about = (
        f"Weights {report.weights} (SHA-256 of the tensors {report.sha256[:16]}), {report.precision}, "
        f"{report.passes} pass{'es' if report.passes > 1 else ''}, {report.data}. "
        f"In brackets 95 % intervals of the means (bootstrap over pictures). Command: `{report.command}`"
    )
    rows = []
    for case, chain in report.groups:
        cells = [case or "all", chain]
        for name in DECIMALS:
            low, high = [printed(name, value) for value in report.interval(case, chain, name)]
            cells.append(f"{printed(name, report.mean(case, chain, name))} [{low}, {high}]")
        rows.append(cells)
    table = Table(["data", "chain", *TITLES.values()], rows)
    protocol = f"Protocol `{report.protocol}`: {PROTOCOLS[report.protocol].about}"
    quoted = PROTOCOLS[report.protocol].quoted
    said = [f"Published, not measured here: {quoted}."] if quoted else []
    return report_writer.to_markdown("", [protocol, about, table, *said], rule="---").removesuffix("\n")


def check_report(folder: Path, overwrite: bool = False) -> None:
    """Make the folder of a report, and refuse to replace what should stay.

    Args:
        folder: Where the report is written to.
        overwrite: Whether a report may be replaced; `report.json` tells whether there is one.

    Raises:
        InputError: If something is in the way.
    """
    make_folder(folder)
    check_outputs(folder, REPORT, overwrite, _is_report)


def _is_report(path: Path) -> bool:
    return report_writer.is_facts(path, ("protocol", "rows", "sha256"))


def write_report(folder: Path, report: Report, overwrite: bool = False) -> None:
    """Write `rows.csv`, `report.json` and `report.md`; an infinite PSNR is `inf` in CSV and null in JSON.

    Args:
        folder: Where they are written to.
        report: What `evaluate` returned.
        overwrite: Whether a report may be replaced.

    Raises:
        InputError: If something is in the way, or cannot be written.
    """
    make_folder(folder)
    check_outputs(folder, REPORT[:-1], overwrite, _is_report)
    content = {**asdict(report), "means": report.summary()}
    content["rows"] = [
        {key: None if value == math.inf else value for key, value in asdict(row).items()} for row in report.rows
    ]
    write_text(folder / "report.json", json.dumps(content, indent=1, allow_nan=False) + "\n", overwrite)
    write_csv(folder / "rows.csv", report.rows, overwrite)
    write_text(folder / "report.md", to_markdown(report) + "\n", overwrite)


def scale_to(rgb: Tensor, truth: Tensor) -> Tensor:
    """A picture multiplied so that its mean luma is the truth's: an oracle, as in many published figures on LoL.

    Args:
        rgb: (3, H, W) in [0, 1].
        truth: (3, H, W) in [0, 1].

    Returns:
        (3, H, W), clipped to [0, 1].
    """
    gain = (color.BT601_LUMA @ truth.mean((1, 2))) / (color.BT601_LUMA @ rgb.mean((1, 2))).clamp(min=1e-4)
    return (rgb * gain).clamp(0, 1)


def _rounded(rgb: Tensor) -> Tensor:
    return torch.from_numpy(to_integer(rgb.numpy(), 8)) / 255


def _to_rgb(picture: Tensor) -> Tensor:
    """Planes (4, h, w) as a picture (3, h, w), with the sRGB curve; RGB as it is."""
    if len(picture) == 3:
        return picture
    red, green_r, green_b, blue = picture.clamp(0, 1)
    return color.srgb_encode(torch.stack([red, (green_r + green_b) / 2, blue]))


def _middle(case: Case, side: int) -> Case:
    """The middle of a case, `side` px a side of its target; it begins at an even row and column of the planes."""
    factor = case.target.shape[-1] // case.planes.shape[-1]
    length = side // factor
    top, left = [max(whole - length, 0) // 4 * 2 for whole in case.planes.shape[-2:]]
    planes = case.planes[..., top : top + length, left : left + length]
    target = case.target[..., factor * top : factor * top + side, factor * left : factor * left + side]
    return replace(case, planes=planes, target=target, capture=None)


def _prepare(plan: Protocol, rgb: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """A picture and its ground truth as the protocol scores them."""
    if plan.eight_bits:
        rgb = _rounded(rgb)
    if plan.align == "result":
        truth = move_onto(truth, rgb)
    if plan.luma:
        return _luma(rgb), _luma(truth)
    return rgb, truth


def _luma(rgb: Tensor) -> Tensor:
    """Luma (BT.601) on three equal channels (3, H, W)."""
    return (color.BT601_LUMA[:, None, None] * rgb).sum(0).clamp(0, 1).expand(3, -1, -1)


def _read_other(folder: Path, case: Case) -> Tensor:
    stem = Path(case.name).stem
    place = folder / case.kind if case.kind else folder
    found = [place / f"{stem}{suffix}" for suffix in SUFFIX_FORMATS if (place / f"{stem}{suffix}").is_file()]
    if not found:
        raise InputError(f"{place}: no picture {stem}.png (or .jpg, .tif) to score")
    formats.check_files(found[:1], "rgb", (case.target.shape[-2], case.target.shape[-1]))
    return read_tensor(found[0])
