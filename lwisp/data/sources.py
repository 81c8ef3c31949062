"""Sources of training data by name: photographs through a simulator, or the aligned pairs of a dataset."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol, get_args

from torch import Tensor

from lwisp.architecture import Takes
from lwisp.data.cases import MAX_CASES, Case
from lwisp.data.crops import Crops
from lwisp.data.datasets import SIDD, LoL, Pairs, Part, Pictures, PolyU, SIDDBlocks
from lwisp.data.photos import Photos
from lwisp.data.simulation import Simulation
from lwisp.data.zurich import MAI21, AlignedZurich, Zurich
from lwisp.errors import InputError
from lwisp.weights import InputConvention, Photo

Kind = Literal[
    "photos",
    "linear",
    "denoise",
    "denoise-raw",
    "enhance",
    "zurich",
    "zurich/aligned-raw",
    "mai21",
    "sidd",
    "sidd/all",
    "sidd-raw",
    "sidd-raw/all",
    "polyu",
    "lol",
    "pairs",
]


class Data(Protocol):
    """What a network is trained and validated on."""

    seed: int
    """A batch follows from this and its step."""
    takes: Takes
    convention: InputConvention
    credits: tuple[Photo, ...]
    """Photographs to be named on the card."""
    names: tuple[str, ...]
    """Everything that is trained on; a run is resumed only with the same."""
    notes: tuple[str, ...]
    """Warnings for the user about the data."""

    @property
    def kept_bytes(self) -> int:
        """Bytes of pictures that each process which makes batches keeps in its memory, at most."""

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step, float32.

        Args:
            step: of the training run, from 0.

        Returns:
            Input, planes (B, 4, H/2, W/2) or RGB (B, 3, H, W), and target, RGB (B, 3, H, W); planes (B, 4, H/2, W/2)
            where `takes` is "planes".
        """

    def stored(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step as it is stored, with fewer bytes where that is possible.

        Args:
            step: of the training run, from 0.

        Returns:
            Input and target, which `to_float` makes what `[step]` gives.
        """

    def to_float(self, picture: Tensor) -> Tensor:
        """What `stored` gives as float32, on the device where it lies.

        Args:
            picture: input or target.
        """

    def cases(self, side: int | None = None, limit: int | None = MAX_CASES) -> Iterator[Case]:
        """Validation cases.

        Args:
            side: px of the middle that is taken; None takes whole pictures.
            limit: how many pictures are taken, evenly spread; None takes all.
        """


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
    """The training data in a folder, checked as a whole.

    Args:
        kind: what the folder holds; "linear", "denoise", "denoise-raw" and "enhance" are photographs for these tasks.
        root: the folder.
        crop: side of the crops in px, even.
        batch: crops in a batch.
        seed: of all random numbers, together with the step.
        convention: how RAW is prepared, for Zurich, "mai21" and "pairs"; for "photos" and "linear" headroom and noise
            of it.
        exclude_licences: photographs of these licences are left out.
        augment: whether crops of pairs are flipped and transposed at random.
        cache: folder that decoded pictures of SIDD, and the moved truth of "zurich/aligned-raw", are kept in; those of
            other pairs too, where they are more than a process keeps in its memory.
        simulation: constants of the simulators, for photographs.

    Raises:
        InputError: for the first thing that is wrong.
    """
    if kind not in get_args(Kind):
        raise InputError(f"unknown data {kind!r}; expected one of {', '.join(get_args(Kind))}")
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; --data names where the data lie")
    if convention.demosaiced != (kind == "linear"):
        raise InputError(
            f"data = {kind!r} and demosaiced = {str(convention.demosaiced).lower()} of the convention do not fit; "
            'demosaiced = true is for data = "linear"'
        )
    if kind in ("photos", "linear"):
        return Photos(root, crop, batch, seed, exclude_licences, None, simulation, convention)
    if kind in ("denoise", "denoise-raw", "enhance"):
        return Photos(root, crop, batch, seed, exclude_licences, kind, simulation)
    train: Pictures
    test: Pictures
    if kind in ("zurich", "zurich/aligned-raw", "mai21"):
        is_aligned = kind == "zurich/aligned-raw"
        dataset = MAI21 if kind == "mai21" else Zurich
        train, test = _open_one_camera(dataset, root, convention, None if is_aligned else cache)
        if is_aligned:
            train, test = AlignedZurich(train, cache), AlignedZurich(test, cache)
    elif kind in ("sidd", "sidd-raw"):
        takes: Literal["rgb", "planes"] = "rgb" if kind == "sidd" else "planes"
        train, test = SIDD(root, takes, "train", cache), SIDD(root, takes, "held-out", cache)
    elif kind == "sidd/all":
        train, test = SIDD(root, "rgb", "all", cache), SIDDBlocks(root)
    elif kind == "sidd-raw/all":
        train = SIDD(root, "planes", "all", cache)
        test = Part(train, ())
        train.notes += ("nothing is held out: a block of SIDD's validation in RAW does not say its Bayer pattern",)
    elif kind == "polyu":
        train, test = PolyU(root, "train", cache), PolyU(root, "val", cache)
    elif kind == "lol":
        train, test = LoL(root, "our485", cache), LoL(root, "eval15", cache)
    else:
        train, test = Pairs(root, "train", convention, cache), Pairs(root, "held-out", convention, cache)
    return Crops(train, test, crop, batch, seed, augment)


def _open_one_camera(
    dataset: type[Zurich], root: Path, convention: InputConvention, cache: Path | None
) -> tuple[Zurich, Zurich]:
    """Both splits of a dataset of one camera, whose levels must agree."""
    train, test = dataset(root, "train", convention, cache), dataset(root, "test", convention, cache)
    train_levels, test_levels = (train.black_level, train.white_level), (test.black_level, test.white_level)
    if train_levels != test_levels:
        raise InputError(
            f"black and white levels seem to be {train_levels} in train, {test_levels} in test; expected one camera"
        )
    return train, test
