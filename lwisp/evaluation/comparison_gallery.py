"""What a comparison of tools shows of one RAW: every tool's picture, whole and in three details."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn import functional

from lwisp.evaluation.color_charts import Chart
from lwisp.evaluation.comparison_page import ToolScores
from lwisp.files.report import Gallery, Panel
from lwisp.imaging.alignment import Picture, find_shift, shift_image
from lwisp.imaging.tensors import to_tensor

CROP = 224  # px a side of what is shown
LOCAL_REACH = 24  # px by which a detail may be shifted once more: a camera's JPEG is scaled and corrected for its lens


@dataclass(frozen=True)
class Frame:
    """One RAW that all tools develop."""

    source: Path
    case: str
    """The folder it lies in, where the RAWs lie in several."""
    reference: Path
    """The ground truth, or lwisp's picture: what all other pictures are shifted onto."""
    has_truth: bool
    chart: Chart | None


class GalleryBuilder:
    """Collects the pictures that tools made of one RAW, side by side: whole, and three details."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.places: dict[str, tuple[int, int]] = {}
        self.columns: list[list[Panel]] = []

    def add(self, row: ToolScores, picture: Picture, reference: Picture) -> None:
        """Add one tool's picture; the ground truth comes before the first one.

        Args:
            row: The tool's scores.
            picture: (H, W, 3), shifted onto the reference.
            reference: (H, W, 3), the ground truth or lwisp's picture.
        """
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
        panels += [Panel(cut_alike(picture, reference, place, CROP), name) for name, place in self.places.items()]
        self.columns.append(panels)

    @property
    def gallery(self) -> Gallery:
        """A row for the whole picture and for each detail, a column for each tool."""
        title = " ".join(filter(None, (self.frame.source.name, self.frame.case)))
        return Gallery(title, list(zip(*self.columns, strict=True)))


def cut_alike(picture: Picture, reference: Picture, place: tuple[int, int], side: int) -> Picture:
    """A detail of a picture, shifted by whole pixels once more onto the reference's.

    Args:
        picture: (H, W, 3), shifted onto the reference as a whole.
        reference: (H, W, 3).
        place: Top and left of the detail in px.
        side: px.

    Returns:
        (side, side, 3), smaller where the reference ends.
    """
    top, left = place
    rows = slice(max(0, top - side // 2), top + side + side // 2)
    columns = slice(max(0, left - side // 2), left + side + side // 2)
    near = find_shift(picture[rows, columns], reference[rows, columns], LOCAL_REACH)
    return shift_image(picture, near, reference.shape[:2])[top : top + side, left : left + side]


def find_details(picture: Picture) -> dict[str, tuple[int, int]]:
    """The places of a picture with the most detail, the most detail in shadows, and the most color.

    Args:
        picture: (H, W, 3).

    Returns:
        "detail", "shadows" and "color", each with top and left of a square of `CROP` px.
    """
    rgb = to_tensor(picture)
    luma = rgb.mean(0)
    change = (luma.diff(dim=0)[:, :-1].abs() + luma.diff(dim=1)[:-1].abs())[None]
    side = min(CROP, *change.shape[1:])
    saturation = rgb.amax(0) - rgb.amin(0)
    detail = _window_means(change, side)
    light = _window_means(luma[None, :-1, :-1], side)
    color = _window_means(saturation[None, :-1, :-1], side)
    dark = light <= light.quantile(0.25)
    details = {}
    for name, worth in (("detail", detail), ("shadows", detail * dark), ("color", color * detail.sqrt())):
        row, column = divmod(int(worth.argmax()), worth.shape[1])
        for shown in (detail, color):  # nothing is shown twice while there is anything else
            shown[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = 0
        details[name] = (row * (side // 2), column * (side // 2))
    return details


def _window_means(values: Tensor, side: int) -> Tensor:
    """Means of (1, H, W) over squares of `side` px that overlap by half."""
    return functional.avg_pool2d(values, side, side // 2)[0]
