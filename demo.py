"""`make demo`: develop the bundled RAW files, and set each beside what its sensor saw and beside rawpy's default."""

from pathlib import Path

import numpy as np
import rawpy
from numpy.typing import NDArray
from PIL import Image

import lwisp
from lwisp.development import develop_files
from lwisp.imaging.bayer import plane_order
from lwisp.imaging.pixels import orient, to_integer
from lwisp.planning import plan

SAMPLES = Path("samples")
OUTPUT = Path("demo")
WIDTH = 960
"""Of each picture in a pair, in px."""


def main() -> None:
    """Write demo/NAME.jpg, demo/NAME_before_after.jpg and demo/NAME_beside_rawpy.jpg for every sample."""
    weights = lwisp.load("photo")
    for outcome in develop_files(weights, plan([SAMPLES], OUTPUT, None), overwrite=True):
        if outcome.error:
            raise SystemExit(f"demo: {outcome.error}")
        with Image.open(outcome.output) as picture:
            ours = np.asarray(picture)
        with rawpy.imread(str(outcome.source)) as raw:
            classical = raw.postprocess(use_camera_wb=True)
        before_after = write_pair("before_after", outcome.source.stem, sensor_view(outcome.source), ours)
        beside = write_pair("beside_rawpy", outcome.source.stem, ours, classical)
        print(
            f"{outcome.source} -> {outcome.output}\n"
            f"    left as the sensor saw it, right lwisp: {before_after}\n"
            f"    left lwisp, right rawpy's default:      {beside}"
        )


def sensor_view(path: Path) -> NDArray[np.uint8]:
    """A RAW at half size with nothing done but levels and the sRGB curve: (H/2, W/2, 3)."""
    raw = lwisp.read_raw(path)
    planes = []
    for (row, column), black, white in zip(plane_order(raw.cfa), raw.black_level, raw.white_level, strict=True):
        height, width = raw.mosaic.shape
        photosites = raw.mosaic[row : height - height % 2 : 2, column : width - width % 2 : 2]
        planes.append(np.clip((photosites - black) / (white - black), 0, 1))
    red, green_r, green_b, blue = planes
    linear = np.stack([red, (green_r + green_b) / 2, blue], -1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)  # sRGB's curve
    return orient(to_integer(encoded.astype(np.float32), 8), raw.orientation)


def write_pair(kind: str, name: str, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Path:
    """Two pictures side by side in demo/NAME_KIND.jpg."""
    size = (WIDTH, round(WIDTH * left.shape[0] / left.shape[1]))
    halves = [np.asarray(Image.fromarray(half).resize(size, Image.Resampling.LANCZOS)) for half in (left, right)]
    path = OUTPUT / f"{name}_{kind}.jpg"
    Image.fromarray(np.concatenate(halves, axis=1)).save(path, quality=90)
    return path


if __name__ == "__main__":
    main()
