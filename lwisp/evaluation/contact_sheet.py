"""The contact sheet of an evaluation: the best, the median and the worst picture with ground truth and error."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from lwisp.files.writing import write_whole
from lwisp.imaging.pixels import to_integer

SIDE = 320  # px of a picture's longer side, at most
LINE = 20  # px of the text above each picture
ERROR_GAIN = 4  # by which errors are multiplied, to be seen


@dataclass(frozen=True)
class Entry:
    """One scored picture, scaled down."""

    name: str
    psnr: float
    """dB, of the picture at its own size."""
    rgb: Tensor
    truth: Tensor


def scale_down(picture: Tensor, side: int = SIDE) -> Tensor:
    """A picture scaled down to fit a square, by bilinear interpolation with antialiasing.

    Args:
        picture: (3, H, W).
        side: Pixels that its longer side may have.

    Returns:
        (3, h, w) of the same aspect ratio; a smaller picture keeps its size.
    """
    factor = max(1.0, max(picture.shape[-2:]) / side)
    size = [max(1, round(length / factor)) for length in picture.shape[-2:]]
    return functional.interpolate(picture[None], size, mode="bilinear", antialias=True)[0]


def write_sheet(path: Path, entries: Sequence[Entry]) -> None:
    """Write the best, the median and the worst picture by PSNR as one PNG: result, ground truth, error.

    Args:
        path: The PNG, which is replaced.
        entries: All pictures, at least one.
    """
    ordered = sorted(entries, key=lambda entry: -entry.psnr)
    chosen = [("best", ordered[0]), ("median", ordered[len(ordered) // 2]), ("worst", ordered[-1])]
    height = sum(entry.rgb.shape[1] + LINE for _, entry in chosen)
    width = 3 * max(entry.rgb.shape[2] for _, entry in chosen)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    top = 0
    for word, entry in chosen:
        label = f"{word}: {entry.name} {entry.psnr:.2f} dB - result, truth, {ERROR_GAIN} x error"
        draw.text((4, top + 4), label, fill="black")
        error = (ERROR_GAIN * (entry.rgb - entry.truth).abs()).clamp(0, 1)
        panels = torch.cat([entry.rgb, entry.truth, error], -1)
        sheet.paste(Image.fromarray(to_integer(panels.permute(1, 2, 0).numpy(), 8)), (0, top + LINE))
        top += panels.shape[1] + LINE
    write_whole(path, lambda file: sheet.save(file, "PNG"))
