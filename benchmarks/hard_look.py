"""Bounds for `lwisp train` on the simulated camera: how near its JPEGs can come to what made them.

    python benchmarks/hard_look.py CAMERA PHOTOS

CAMERA is what `lwisp synthesize camera` made of the folder PHOTOS. Prints the mean dE2000 from each JPEG: of the hard
look of the photograph itself, which JPEG alone has changed, and of the hard look put on the picture that `photo` makes
of the RAW, as if the look were known and only detail and noise were left to get wrong.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import lwisp
from lwisp.data import synthetic
from lwisp.data.datasets import read_tensor
from lwisp.data.photos import find_photos
from lwisp.imaging import color, metrics


def main(camera: Path, photos: Path) -> None:
    """Print both for every photograph, and their means."""
    weights = lwisp.load("photo")
    convention = replace(weights.card.convention, exposure="none")
    weights = replace(weights, card=replace(weights.card, convention=convention))
    rows = []
    for path in find_photos(photos):
        jpeg = read_tensor(camera / f"{path.stem}.jpg")
        picture = read_tensor(path)[:, : jpeg.shape[1], : jpeg.shape[2]]
        developed = torch.from_numpy(lwisp.develop(weights, lwisp.read_raw(camera / f"{path.stem}.dng")))
        plain = color.srgb_encode(color.inverse_tone(developed.permute(2, 0, 1)).clamp(0, 1))
        rows.append([metrics.delta_e(synthetic.hard_look(shown), jpeg) for shown in (picture, plain)])
        print(f"{path.name:40} {rows[-1][0]:5.2f} {rows[-1][1]:5.2f}", flush=True)
    print(f"{'mean':40} {' '.join(f'{value:5.2f}' for value in np.mean(rows, 0))}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
