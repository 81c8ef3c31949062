"""The data of a training run by name: photographs through a simulator, or the aligned pairs of a dataset."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol, get_args

from torch import Tensor

from lwisp.data.cases import MAX_CASES, Case
from lwisp.data.crops import Crops
from lwisp.data.datasets import SIDD, LoL, Pairs, Pictures, PolyU
from lwisp.data.photos import Photos
from lwisp.data.simulation import Simulation
from lwisp.data.zurich import MAI21, Zurich
from lwisp.errors import InputError
from lwisp.model import Takes
from lwisp.weights import InputConvention, Photo

Kind = Literal[
    "photos", "denoise", "denoise-raw", "enhance", "zurich", "mai21", "sidd", "sidd-raw", "polyu", "lol", "pairs"
]


class Data(Protocol):
    """What a run is trained and validated on."""

    takes: Takes
    convention: InputConvention
    credits: tuple[Photo, ...]
    """Photographs to be named on the card."""
    names: tuple[str, ...]
    """Everything it is trained on; a run goes on only with the same."""
    notes: tuple[str, ...]
    """What is odd about it, for the user's eyes."""

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step: planes (B, 4, H/2, W/2), or RGB (B, 3, H, W), and targets (B, 3, H, W), float32.

        Targets are planes (B, 4, H/2, W/2) where it takes "planes".
        """

    def cases(self, side: int | None = None, limit: int | None = MAX_CASES) -> Iterator[Case]:
        """So many of the held-out pictures, evenly spread, whole or, with `side`, their middles."""


def open_data(
    kind: Kind,
    root: Path,
    crop: int,
    batch: int,
    seed: int,
    convention: InputConvention,
    exclude_licences: tuple[str, ...] = (),
    augment: bool = True,
    cache: Path | None = None,
    simulation: Simulation = Simulation(),
) -> Data:
    """The data of that kind in a folder, checked as a whole; raises `InputError` for the first thing that is wrong."""
    if kind not in get_args(Kind):
        raise InputError(f"unknown data {kind!r}; expected one of {', '.join(get_args(Kind))}")
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; --data names where the data lie")
    if kind == "photos":
        return Photos(root, crop, batch, seed, exclude_licences, None, simulation)
    if kind in ("denoise", "denoise-raw", "enhance"):
        return Photos(root, crop, batch, seed, exclude_licences, kind, simulation)
    train: Pictures
    test: Pictures
    if kind in ("zurich", "mai21"):
        dataset = Zurich if kind == "zurich" else MAI21
        train, test = _same_levels(dataset(root, "train", convention), dataset(root, "test", convention))
    elif kind in ("sidd", "sidd-raw"):
        takes: Literal["rgb", "planes"] = "rgb" if kind == "sidd" else "planes"
        train, test = SIDD(root, takes, "train", cache), SIDD(root, takes, "held-out", cache)
    elif kind == "polyu":
        train, test = PolyU(root, "train"), PolyU(root, "val")
    elif kind == "lol":
        train, test = LoL(root, "our485"), LoL(root, "eval15")
    else:
        train, test = Pairs(root, "train", convention), Pairs(root, "held-out", convention)
    return Crops(train, test, crop, batch, seed, augment)


def _same_levels(train: Zurich, test: Zurich) -> tuple[Zurich, Zurich]:
    first, second = ((data.black_level, data.white_level) for data in (train, test))
    if first != second:
        raise InputError(f"black and white levels seem to be {first} in train, {second} in test; expected one camera")
    return train, test
