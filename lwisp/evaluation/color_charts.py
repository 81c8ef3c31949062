"""Color against a ColorChecker 24 in the frame: where its patches lie, and how far a picture is from what they are."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lwisp.errors import InputError, one_line
from lwisp.files.optional import need
from lwisp.files.writing import quiet
from lwisp.imaging import color, metrics

PATCHES = 24
NEUTRALS = slice(18, 24)  # white to black
GRAYS = slice(19, 23)  # N8 to N3.5: what the cast is measured on


@dataclass(frozen=True)
class Chart:
    """The patches of one frame, in px of the RAW's visible area as it is stored."""

    centers: tuple[tuple[float, float], ...]
    """(x, y) of the 24, row by row from dark skin to black."""
    half_size: int
    """Half the side of the square that is averaged."""


def read_charts(path: Path) -> dict[str, Chart]:
    """Charts by the name of their RAW, in lower case and without suffix.

    The JSON file has `charts`, by any name: `file`, `centres` (24 of x, y) and `half_size`. Raises `InputError`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        charts = {}
        for entry in content["charts"].values():
            centers = tuple((float(x), float(y)) for x, y in entry["centres"])
            chart = Chart(centers, int(entry["half_size"]))
            if len(centers) != PATCHES or chart.half_size < 1:
                raise ValueError(f"{entry['file']}: {len(centers)} patches of half size {chart.half_size}")
            charts[Path(entry["file"]).stem.lower()] = chart
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: expected charts with file, 24 centres and half_size in JSON: {one_line(error)}"
        ) from error
    return charts


def measure(rgb: NDArray[np.uint8], chart: Chart) -> NDArray[np.float64]:
    """The patches (24, 3) of a picture (H, W, 3) that lies as the RAW does, in linear sRGB."""
    height, width = rgb.shape[:2]
    patches = []
    for x, y in chart.centers:
        top, left = round(y) - chart.half_size, round(x) - chart.half_size
        bottom, right = top + 2 * chart.half_size + 1, left + 2 * chart.half_size + 1
        if top < 0 or left < 0 or bottom > height or right > width:
            raise InputError(f"a patch at ({x:.0f}, {y:.0f}) does not lie in a picture of {height}x{width}")
        square = torch.from_numpy(rgb[top:bottom, left:right].astype(np.float64) / 255)
        patches.append(color.srgb_decode(square).mean((0, 1)).numpy())
    return np.array(patches)


def judge(patches: NDArray[np.float64]) -> tuple[float, float]:
    """Mean CIE dE2000 of patches (24, 3) in linear sRGB, as shot and with the cast of the grays removed.

    Both after one exposure, the scalar in linear light that brings L* of the six neutrals nearest. The reference are
    colour-science's values for charts made after November 2014, under D50 (Bradford).
    """
    colour = _colour()
    from scipy.optimize import minimize_scalar  # which colour-science brings

    reference = colour.CCS_COLOURCHECKERS["ColorChecker24 - After November 2014"]
    white = colour.xyY_to_XYZ(colour.xy_to_xyY(reference.illuminant))
    xyz = colour.xyY_to_XYZ(np.array(list(reference.data.values())))
    truth = colour.XYZ_to_Lab(xyz, reference.illuminant)
    d65 = color.SRGB_TO_XYZ.double().sum(-1).numpy()
    adapt = colour.adaptation.matrix_chromatic_adaptation_VonKries(d65, white, transform="Bradford")
    to_xyz = adapt @ color.SRGB_TO_XYZ.double().numpy()

    def to_lab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
        return colour.XYZ_to_Lab(linear @ to_xyz.T, reference.illuminant)  # type: ignore[no-any-return]

    def error(linear: NDArray[np.float64]) -> float:
        def miss(exposure: float) -> float:
            return float(np.square(to_lab(linear[NEUTRALS] * 2**exposure)[:, 0] - truth[NEUTRALS, 0]).sum())

        exposure = minimize_scalar(miss, bounds=(-5, 5), method="bounded").x
        pair = (torch.from_numpy(lab).T[..., None] for lab in (to_lab(linear * 2**exposure), truth))
        return float(metrics.delta_e_2000(*pair).mean())

    true_grays = (xyz @ np.linalg.inv(to_xyz).T)[GRAYS].mean(0)
    return error(patches), error(patches * true_grays / patches[GRAYS].mean(0))


def find_chart(charts: Mapping[str, Chart], source: Path) -> Chart | None:
    """The chart in a RAW, if any."""
    return charts.get(source.stem.lower())


def _colour() -> Any:
    with contextlib.suppress(InputError):
        need("matplotlib.font_manager")  # which it imports too, and whose list of fonts shall not lie elsewhere
    with quiet():  # it warns of plotting libraries that it lacks
        return need("colour", "scoring color charts")
