"""Color accuracy on a ColorChecker 24 in the frame: where its patches are, and their mean dE2000."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lwisp.errors import InputError, one_line
from lwisp.files.optional import need_colour
from lwisp.files.writing import read_regular
from lwisp.imaging import color, matrices, metrics

PATCHES = 24
NEUTRALS = slice(18, 24)  # white to black
GRAYS = slice(19, 23)  # N8 to N3.5: what the cast is measured on
EXPOSURES = (-5, 5)  # EV in which the exposure of a chart is searched


@dataclass(frozen=True)
class Chart:
    """Where the patches of one ColorChecker are, in px of the RAW's visible area as it is stored."""

    centers: tuple[tuple[float, float], ...]
    """(x, y) of the 24 patches, row by row from dark skin to black."""
    half_size: int
    """Half the side of the square that is averaged, px."""


def read_charts(path: Path) -> dict[str, Chart]:
    """Charts by the name of their RAW, in lower case and without suffix.

    Args:
        path: A JSON file: `charts` with entries by any name, each with `file`, `centres` (24 of x, y) and `half_size`.

    Raises:
        InputError: If the file cannot be read or has another form.
    """
    try:
        content = json.loads(read_regular(path))
        charts = {}
        for entry in content["charts"].values():
            centers = tuple((float(x), float(y)) for x, y in entry["centres"])
            chart = Chart(centers, int(entry["half_size"]))
            if len(centers) != PATCHES or chart.half_size < 1:
                raise ValueError(f"{entry['file']}: {len(centers)} patches of half size {chart.half_size}")
            charts[Path(entry["file"]).stem.lower()] = chart
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: expected charts with file, 24 centres and half_size in JSON: {one_line(error)}"
        ) from error
    return charts


def measure(rgb: NDArray[np.uint8], chart: Chart) -> NDArray[np.float64]:
    """Mean colors of the patches of a chart.

    Args:
        rgb: (H, W, 3), sRGB, in the orientation that the RAW is stored in.
        chart: Where the patches are.

    Returns:
        (24, 3), linear sRGB in [0, 1].

    Raises:
        InputError: If a patch is not inside the picture.
    """
    height, width = rgb.shape[:2]
    patches = []
    for x, y in chart.centers:
        side = 2 * chart.half_size + 1
        top = round(y) - chart.half_size
        left = round(x) - chart.half_size
        bottom = top + side
        right = left + side
        if top < 0 or left < 0 or bottom > height or right > width:
            raise InputError(f"a patch at ({x:.0f}, {y:.0f}) does not lie in a picture of {height}x{width}")
        square = torch.from_numpy(rgb[top:bottom, left:right].astype(np.float64) / 255)
        patches.append(color.srgb_decode(square).mean((0, 1)).numpy())
    return np.array(patches)


def judge(patches: NDArray[np.float64]) -> tuple[float, float]:
    """Mean CIE dE2000 of the patches, as shot and with the color cast of the grays removed.

    Both after one exposure: the scalar in linear light that brings L* of the six neutrals nearest (least squares). The
    reference is colour-science's "ColorChecker24 - After November 2014" under D50, adapted by Bradford.

    Args:
        patches: (24, 3), linear sRGB.

    Returns:
        dE2000 as shot, and dE2000 without the cast.

    Raises:
        InputError: If colour-science is not installed.
    """
    colour = _colour()
    from scipy.optimize import minimize_scalar  # which colour-science brings

    reference = colour.CCS_COLOURCHECKERS["ColorChecker24 - After November 2014"]
    white = colour.xyY_to_XYZ(colour.xy_to_xyY(reference.illuminant))
    xyz = colour.xyY_to_XYZ(np.array(list(reference.data.values())))
    truth = colour.XYZ_to_Lab(xyz, reference.illuminant)
    d65 = matrices.SRGB_TO_XYZ.sum(-1, dtype=np.float64)
    adapt = colour.adaptation.matrix_chromatic_adaptation_VonKries(d65, white, transform="Bradford")
    to_xyz = adapt @ matrices.SRGB_TO_XYZ.astype(np.float64)

    def to_lab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
        return colour.XYZ_to_Lab(linear @ to_xyz.T, reference.illuminant)  # type: ignore[no-any-return]

    def error(linear: NDArray[np.float64]) -> float:
        def lightness_error(exposure: float) -> float:
            lightness = to_lab(linear[NEUTRALS] * 2**exposure)[:, 0]
            return float(np.square(lightness - truth[NEUTRALS, 0]).sum())

        exposure = minimize_scalar(lightness_error, bounds=EXPOSURES, method="bounded").x
        lab = to_lab(linear * 2**exposure)
        return float(metrics.delta_e_2000(_as_pixels(lab), _as_pixels(truth)).mean())

    true_grays = (xyz @ np.linalg.inv(to_xyz).T)[GRAYS].mean(0)
    return error(patches), error(patches * true_grays / patches[GRAYS].mean(0))


def _as_pixels(lab: NDArray[np.float64]) -> torch.Tensor:
    """Colors (N, 3) as an image (3, N, 1)."""
    return torch.from_numpy(lab).T[..., None]


def find_chart(charts: Mapping[str, Chart], source: Path) -> Chart | None:
    """The chart in a RAW, or None.

    Args:
        charts: What `read_charts` returned.
        source: The RAW, whose name is looked up.
    """
    return charts.get(source.stem.lower())


def _colour() -> Any:
    return need_colour("colour", "scoring ColorCheckers")
