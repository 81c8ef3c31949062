"""How good weights are: synthetic RAW of photographs they have not seen, beside a classical chain.

Protocol `photos`: each photo goes through `unprocess.capture` with its place in the list as seed, once clean and once
with noise; the truth is the photo. The network and the classical chain both get the true gains, matrix and exposure;
the chain is Menon's demosaicing (2007), then matrix and tone, in float: a bound for tools that do not denoise.
"""

import json
import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from lwisp import color, metrics, mosaic, unprocess
from lwisp.checkpoint import Weights, check_takes_raw
from lwisp.data import find_photos
from lwisp.errors import InputError
from lwisp.files import write_whole
from lwisp.image import read_rgb
from lwisp.inference import Precision, run

MIN_SIDE = 16  # px; SSIM needs 11
CASES, CHAINS = ("clean", "noisy"), ("network", "menon")
DECIMALS = {"psnr": 2, "ssim": 4, "delta_e": 2}


@dataclass(frozen=True)
class Row:
    """Scores of one photo developed one way."""

    photo: str
    case: str
    """"clean" or "noisy"."""
    chain: str
    """"network" or "menon"."""
    psnr: float
    ssim: float
    delta_e: float


@dataclass(frozen=True)
class Report:
    """All rows, and what they were made with."""

    protocol: str
    weights: str
    precision: str
    folders: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def data(self) -> str:
        """What was scored, in words."""
        return f"{len({row.photo for row in self.rows})} photos of {', '.join(self.folders)}"

    def summary(self) -> dict[str, Any]:
        """The means, rounded as they are printed, with what they were measured on."""
        means = {
            f"{case}, {chain}": {name: round(self.mean(case, chain, name), digits) for name, digits in DECIMALS.items()}
            for case in CASES
            for chain in CHAINS
        }
        return {"data": self.data, "precision": self.precision, **means}

    def mean(self, case: str, chain: str, score: str) -> float:
        """Mean of a score over the photos; those with infinite PSNR (all black, say) do not count."""
        values = [getattr(row, score) for row in self.rows if (row.case, row.chain) == (case, chain)]
        return float(np.mean([value for value in values if math.isfinite(value)] or [math.nan]))


def evaluate(weights: Weights, folders: list[Path], precision: Precision = "auto") -> Report:
    """Score weights on all photographs of some folders by the protocol `photos`; progress on stderr."""
    check_takes_raw(weights.card)
    paths = [path for folder in folders for path in find_photos(folder)]
    menon = _menon()
    rows = []
    console = Console(stderr=True)
    for seed, path in enumerate(track(paths, "evaluating", transient=True, console=console)):
        picture = torch.from_numpy(read_rgb(path)).permute(2, 0, 1) / 255
        height, width = (side // 2 * 2 for side in picture.shape[-2:])
        if min(height, width) < MIN_SIDE:
            raise InputError(f"{path}: {height}x{width} px, expected {MIN_SIDE} px a side at least")
        truth = picture[:, :height, :width]
        for case in CASES:
            raw = unprocess.capture(truth, seed, noisy=case == "noisy")
            pictures = {"network": run(weights.network, raw.planes[0], precision), "menon": classical(raw, menon)}
            for chain, rgb in pictures.items():
                scores = {name: getattr(metrics, name)(rgb, truth) for name in DECIMALS}
                rows.append(Row(f"{path.parent.name}/{path.name}", case, chain, **scores))
    return Report("photos", weights.card.name, precision, tuple(folder.name for folder in folders), tuple(rows))


def classical(raw: unprocess.Capture, demosaic: Callable[..., Any]) -> Tensor:
    """The perfect-knowledge chain: balance, demosaic, true matrix, true exposure, tone -> (3, H, W) in [0, 1]."""
    balanced = raw.packed * raw.camera.white_balance[:, [0, 1, 1, 2], None, None]
    full = demosaic(mosaic.unpack(balanced)[0].double().numpy(), "RGGB")  # (H, W, 3)
    rgb = torch.from_numpy(np.ascontiguousarray(full.transpose(2, 0, 1))).float()
    return color.render(color.apply_matrix(raw.camera.cam2rgb[0], rgb) / raw.exposure)


def to_markdown(report: Report) -> str:
    """The means as a table."""
    lines = [
        f"Protocol `{report.protocol}`, weights {report.weights} ({report.precision}), {report.data}.",
        "",
        "| RAW | chain | PSNR dB | SSIM | dE2000 |",
        "|---|---|---|---|---|",
    ]
    for case in CASES:
        for chain in CHAINS:
            scores = " | ".join(f"{report.mean(case, chain, name):.{digits}f}" for name, digits in DECIMALS.items())
            lines.append(f"| {case} | {chain} | {scores} |")
    return "\n".join(lines)


def write_json(path: Path, report: Report, overwrite: bool = False) -> None:
    """Write every row of a report to a JSON file; an infinite PSNR becomes null."""
    content = asdict(report)
    content["rows"] = [
        {key: None if value == math.inf else value for key, value in row.items()} for row in content["rows"]
    ]
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    write_whole(path, lambda file: file.write(text.encode()), overwrite)


def _menon() -> Callable[..., Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of plotting libraries that it lacks
            from colour_demosaicing import demosaicing_CFA_Bayer_Menon2007
    except ImportError as error:
        raise InputError("the classical chain needs colour-demosaicing: pip install 'lwisp[evaluate]'") from error
    return demosaicing_CFA_Bayer_Menon2007
