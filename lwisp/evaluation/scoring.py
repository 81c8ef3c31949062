"""How good weights, or any other tool's pictures, are: named protocols, every picture a row, means with intervals.

A protocol (`protocols`) says what is developed, what the truth is, and what is done to the result before it is scored.
Published figures of one dataset mix several; here each has an id, and a report names it with weights, data and command.
"""

import contextlib
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from lwisp.data import folders as formats
from lwisp.data import unprocess
from lwisp.data.cases import Case
from lwisp.data.datasets import read_tensor
from lwisp.engines.engine import run_network
from lwisp.engines.names import Precision
from lwisp.errors import InputError
from lwisp.evaluation.classical import RIVALS
from lwisp.evaluation.protocols import PROTOCOLS, Protocol, passes_of
from lwisp.evaluation.submissions import SUBMISSIONS
from lwisp.files import report as report_writer
from lwisp.files.encoding import SUFFIX_FORMATS
from lwisp.files.optional import need
from lwisp.files.report import Table
from lwisp.files.writing import check_outputs, make_folder, quiet, write_csv, write_text, write_whole
from lwisp.imaging import color, matching, mosaic
from lwisp.imaging.pixels import to_integer
from lwisp.imaging.scores import DECIMALS, TITLES, interval, score
from lwisp.weights import Weights, check_takes, load

MIN_SIDE = 162  # px; MS-SSIM needs 161, a mosaic even sides
REPORT = ("report.json", "report.md", "rows.csv", "sheet.png")


@dataclass(frozen=True)
class Row:
    """Scores of one picture made one way."""

    picture: str
    case: str
    """"clean" or "noisy" for synthetic RAW, else empty."""
    chain: str
    """"network", "menon", "given", a rival's name, other weights' file, or the folder of another tool's pictures."""
    psnr: float
    psnr_fitted: float
    """After one 3x4 fit of its colors to the truth: an oracle, the same for every chain."""
    ssim: float
    ms_ssim: float
    lpips: float
    delta_e: float


@dataclass(frozen=True)
class Report:
    """All rows, and what they were made with."""

    protocol: str
    weights: str
    sha256: str
    precision: str
    passes: int
    """Of every network, over mirror images."""
    folders: tuple[str, ...]
    command: str
    rows: tuple[Row, ...]

    @property
    def data(self) -> str:
        """What was scored, in words."""
        return f"{len({row.picture for row in self.rows})} pictures of {', '.join(self.folders)}"

    @property
    def groups(self) -> list[tuple[str, str]]:
        """Case and chain of the rows, in the order they first came."""
        return list(dict.fromkeys((row.case, row.chain) for row in self.rows))

    def values(self, case: str, chain: str, score: str) -> list[float]:
        """A score of the pictures; those with infinite PSNR (equal to the truth) do not count in it."""
        values = [getattr(row, score) for row in self.rows if (row.case, row.chain) == (case, chain)]
        return [value for value in values if math.isfinite(value)]

    def mean(self, case: str, chain: str, score: str) -> float:
        """Mean of a score over the pictures."""
        return float(np.mean(self.values(case, chain, score) or [math.nan]))

    def interval(self, case: str, chain: str, score: str) -> tuple[float, float]:
        """The 95 % interval of the mean, over pictures."""
        return interval(self.values(case, chain, score))

    def summary(self) -> dict[str, Any]:
        """The means, rounded as they are printed, with what they were measured on: for the card."""
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
    protocol: str = "photos/val",
    precision: Precision = "auto",
    against: Path | None = None,
    sheet: Path | None = None,
    beside: Sequence[str] = (),
    side: int | None = None,
    passes: int | None = None,
) -> Report:
    """Score weights by a protocol on the data in some folders; progress on stderr.

    With `against`, a folder of pictures made by another tool is scored beside: `NAME.png` (or .jpg, .tif), in a folder
    of the case's name where the protocol has cases. With `sheet`, a PNG shows the best, the median and the worst
    picture of the weights with truth and error. `beside` are names out of `RIVALS` and weights files for the same task,
    where the protocol allows for them; `side` takes only the middle of every picture. Without `passes` every network is
    given as many as `restoration.denoise` gives it. Raises `InputError`.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol {protocol!r}; expected one of {', '.join((*PROTOCOLS, *SUBMISSIONS))}")
    plan = PROTOCOLS[protocol]
    if beside and not plan.given:
        raise InputError(f"{protocol} has no place for others beside the weights; --against names a tool's pictures")
    others = {name: None if name in RIVALS else load(name) for name in beside}
    for other in others.values():
        if other is not None and weights.card.architecture.takes is not None:
            check_takes(other.card, weights.card.architecture.takes)
    menon = _menon() if plan.classical else None
    passes = passes_of(weights, passes)
    rows, shown = [], []
    console = Console(stderr=True)
    for whole in track(plan.cases(folders, weights), "evaluating", transient=True, console=console):
        case = whole if side is None else _middle(whole, side)
        height, width = case.target.shape[-2:]
        if min(height, width) < MIN_SIDE:
            raise InputError(f"{case.name}: {height}x{width} px, expected {MIN_SIDE} px a side at least")
        pictures = {"network": run_network(weights.network, case.planes, precision, "torch", passes=passes)}
        if plan.given:
            pictures["given"] = case.planes
            for name, other in others.items():
                pictures[name] = (
                    RIVALS[name](_seen(case.planes), _seen(case.target))
                    if other is None
                    else run_network(other.network, case.planes, precision, "torch", passes=passes)
                )
        if menon is not None and case.capture is not None:
            pictures["menon"] = classical(case.capture, menon)
        if against is not None:
            pictures[against.name] = _read_other(against, case)
        target = move(case.target, _see(case.planes, case.target)) if plan.align == "raw" else case.target
        if plan.scaled:
            pictures |= {f"{chain}, scaled": scale_to(_rounded(rgb), target) for chain, rgb in pictures.items()}
        for chain, rgb in pictures.items():
            ready, truth = _prepare(plan, _seen(rgb), _seen(target))
            rows.append(Row(case.name, case.kind, chain, **score(ready, truth)))
            if sheet is not None and chain == "network":
                shown.append((rows[-1], _small(ready), _small(truth)))
    if sheet is not None:
        _write_sheet(sheet, shown)
    return Report(
        protocol,
        weights.card.name,
        weights.sha256,
        precision,
        passes,
        tuple(folder.name for folder in folders),
        " ".join(["lwisp", *sys.argv[1:]]),
        tuple(rows),
    )


def classical(raw: unprocess.Capture, demosaic: Callable[..., Any]) -> Tensor:
    """The perfect-knowledge chain: balance, demosaic, true matrix, true exposure, tone -> (3, H, W) in [0, 1]."""
    balanced = raw.packed * raw.camera.white_balance[:, [0, 1, 1, 2], None, None]
    full = demosaic(mosaic.unpack(balanced)[0].double().numpy(), "RGGB")  # (H, W, 3)
    rgb = torch.from_numpy(np.ascontiguousarray(full.transpose(2, 0, 1))).float()
    return color.render(color.apply_matrix(raw.camera.cam2rgb[0], rgb) / raw.exposure)


def move(truth: Tensor, onto: Tensor) -> Tensor:
    """The truth (3, H, W) moved onto another picture of the scene by dense optical flow on their structure."""
    registration = need("skimage.registration", "optical flow")
    flow = registration.optical_flow_tvl1(_structure(onto), _structure(truth), attachment=1, num_warp=3)  # (2, H, W) px
    flow = torch.from_numpy(flow.astype(np.float32))
    height, width = truth.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([2 * (columns + flow[1]) / (width - 1) - 1, 2 * (rows + flow[0]) / (height - 1) - 1], -1)
    moved = functional.grid_sample(truth[None], places[None], "bicubic", "reflection", align_corners=True)
    return moved[0].clamp(0, 1)


def to_markdown(report: Report) -> str:
    """The means with their 95 % intervals as a table, and everything that the figures depend on."""
    about = (
        f"Weights {report.weights} (SHA-256 of the tensors {report.sha256[:16]}), {report.precision}, "
        f"{report.passes} pass{'es' if report.passes > 1 else ''}, {report.data}. "
        f"In brackets 95 % intervals of the means (bootstrap over pictures). Command: `{report.command}`"
    )
    rows = []
    for case, chain in report.groups:
        cells = [case or "all", chain]
        for name, digits in DECIMALS.items():
            low, high = report.interval(case, chain, name)
            cells.append(f"{report.mean(case, chain, name):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]")
        rows.append(cells)
    table = Table(["data", "chain", *TITLES.values()], rows)
    protocol = f"Protocol `{report.protocol}`: {PROTOCOLS[report.protocol].about}"
    return report_writer.to_markdown("", [protocol, about, table], rule="---").removesuffix("\n")


def check_report(folder: Path, overwrite: bool = False) -> None:
    """Make the folder of a report; raises `InputError` where something is in the way that is not replaced.

    With `overwrite` that is what is no report of ours: `report.json` tells.
    """
    make_folder(folder)
    check_outputs(folder, REPORT, overwrite, _is_report)


def _is_report(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"protocol", "rows", "sha256"} <= set(content)


def write_report(folder: Path, report: Report, overwrite: bool = False) -> None:
    """Write `rows.csv`, `report.json` and `report.md` into a folder; an infinite PSNR is `inf` in CSV, null in JSON."""
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
    """A picture multiplied so that its mean luma is the truth's: what published figures on LoL often do, an oracle."""
    gain = (color.BT601_LUMA @ truth.mean((1, 2))) / (color.BT601_LUMA @ rgb.mean((1, 2))).clamp(min=1e-4)
    return (rgb * gain).clamp(0, 1)


def _rounded(rgb: Tensor) -> Tensor:
    return torch.from_numpy(to_integer(rgb.numpy(), 8)) / 255


def _seen(picture: Tensor) -> Tensor:
    """Planes (4, h, w) as a picture (3, h, w), with the sRGB curve; RGB as it is."""
    if len(picture) == 3:
        return picture
    red, green_r, green_b, blue = picture.clamp(0, 1)
    return color.srgb_encode(torch.stack([red, (green_r + green_b) / 2, blue]))


def _middle(case: Case, side: int) -> Case:
    """The middle of a picture, begun at an even place."""
    factor = case.target.shape[-1] // case.planes.shape[-1]
    tops = [(max(length - side // factor, 0) // 4 * 2) for length in case.planes.shape[-2:]]
    parts = [
        values[..., first * tops[0] : first * tops[0] + length, first * tops[1] : first * tops[1] + length]
        for values, first, length in ((case.planes, 1, side // factor), (case.target, factor, side))
    ]
    return replace(case, planes=parts[0], target=parts[1], capture=None)


def _prepare(plan: Protocol, rgb: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    if plan.eight_bits:
        rgb = _rounded(rgb)
    if plan.align == "result":
        truth = move(truth, rgb)
    if plan.luma:
        rgb, truth = ((color.BT601_LUMA[:, None, None] * x).sum(0).clamp(0, 1).expand(3, -1, -1) for x in (rgb, truth))
    return rgb, truth


def _see(packed: Tensor, truth: Tensor) -> Tensor:
    """Packed planes (4, h, w) as a coarse picture (3, 2h, 2w) in the truth's colors: what optical flow can follow."""
    red, green_r, green_b, blue = color.srgb_encode(packed.clamp(0, 1))
    cells = torch.stack([red, (green_r + green_b) / 2, blue])
    return matching.fit_colors(functional.interpolate(cells[None], scale_factor=2, mode="bilinear")[0], truth)


def _read_other(folder: Path, case: Case) -> Tensor:
    stem = Path(case.name).stem
    place = folder / case.kind if case.kind else folder
    found = [place / f"{stem}{suffix}" for suffix in SUFFIX_FORMATS if (place / f"{stem}{suffix}").is_file()]
    if not found:
        raise InputError(f"{place}: no picture {stem}.png (or .jpg, .tif) to score")
    formats.check_files(found[:1], "rgb", (case.target.shape[-2], case.target.shape[-1]))
    return read_tensor(found[0])


def _structure(picture: Tensor) -> NDArray[np.float32]:
    """(3, H, W) -> luma (H, W) without noise, brightness and contrast of its surroundings: what flow can compare."""
    from skimage.filters import gaussian

    luma = gaussian((color.BT601_LUMA[:, None, None] * picture).sum(0).numpy(), 1.5)
    detail = luma - gaussian(luma, 12)
    return detail / (np.sqrt(gaussian(detail**2, 12)) + 0.05)  # type: ignore[no-any-return]


def _small(picture: Tensor, side: int = 320) -> Tensor:
    """Scaled down so that the longer side has `side` px at most."""
    factor = max(1.0, max(picture.shape[-2:]) / side)
    size = [max(1, round(length / factor)) for length in picture.shape[-2:]]
    return functional.interpolate(picture[None], size, mode="bilinear", antialias=True)[0]


def _write_sheet(path: Path, shown: list[tuple[Row, Tensor, Tensor]]) -> None:
    """The best, the median and the worst by PSNR: result, truth, four times the error."""
    ordered = sorted(shown, key=lambda entry: -entry[0].psnr)
    chosen = [("best", ordered[0]), ("median", ordered[len(ordered) // 2]), ("worst", ordered[-1])]
    height = sum(entry[1].shape[1] + 20 for _, entry in chosen)
    page = Image.new("RGB", (3 * max(entry[1].shape[2] for _, entry in chosen), height), "white")
    draw, top = ImageDraw.Draw(page), 0
    for word, (row, rgb, truth) in chosen:
        label = f"{word}: {row.picture} {row.case} {row.psnr:.2f} dB - result, truth, 4 x error"
        draw.text((4, top + 4), label, fill="black")
        panels = torch.cat([rgb, truth, (4 * (rgb - truth).abs()).clamp(0, 1)], -1)
        page.paste(Image.fromarray(to_integer(panels.permute(1, 2, 0).numpy(), 8)), (0, top + 20))
        top += panels.shape[1] + 20
    write_whole(path, lambda file: page.save(file, "PNG"))


def _menon() -> Callable[..., Any]:
    with contextlib.suppress(InputError):
        need("matplotlib.font_manager")  # which it imports too, and whose list of fonts shall not lie elsewhere
    with quiet():  # it warns of plotting libraries that it lacks
        demosaicing = need("colour_demosaicing", "the classical chain")
    return demosaicing.demosaicing_CFA_Bayer_Menon2007  # type: ignore[no-any-return]
