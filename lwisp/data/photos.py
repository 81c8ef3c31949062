"""Training batches and validation cases: `Photos` of photographs alone, `Crops` of the aligned pairs in `datasets`.

A batch is a function of its step, so the same seed gives the same batches however many workers make them, and training
resumes where it stopped.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

import torch
from torch import Generator, Tensor
from torch.nn import functional

from lwisp.data import dead_leaves, degradation, folders, unprocess
from lwisp.data.datasets import AS_SENSED, MAI21, SIDD, SUFFIXES, LoL, Pairs, Pictures, PolyU, Zurich, read_picture, to_float
from lwisp.errors import InputError
from lwisp.files.pictures import check_picture, read_rgb
from lwisp.files.writing import is_regular
from lwisp.imaging import color, mosaic
from lwisp.model import Takes
from lwisp.data.degradation import Task
from lwisp.data.simulation import Simulation
from lwisp.weights import InputConvention, Photo

Kind = Literal[
    "photos", "denoise", "denoise-raw", "enhance", "zurich", "mai21", "sidd", "sidd-raw", "polyu", "lol", "pairs"
]

KEPT_BYTES = 2**30  # of pictures that a process keeps as they were read; whole datasets of small ones fit
MAX_CASES = 24  # pictures that a run is validated on; `evaluate` takes them all


@dataclass(frozen=True)
class Case:
    """One picture to score: planes (C, h, w) for the network and target (3, H, W), or clean planes."""

    name: str
    kind: str
    """"clean" or "noisy" for synthetic RAW, the level of noise or darkness where there are several, else empty."""
    planes: Tensor
    target: Tensor
    capture: unprocess.Capture | None = None
    """How synthetic RAW was made."""


class Data(Protocol):
    """What a run is trained and validated on."""

    seed: int
    """A batch follows from this and its step."""
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


class Crops:
    """Training batches out of aligned pairs: random crops, flipped so that the Bayer pattern stays what it is."""

    credits: tuple[Photo, ...] = ()

    def __init__(
        self, train: Pictures, held_out: Pictures, crop: int, batch: int, seed: int = 0, augment: bool = True
    ) -> None:
        self.train, self.held_out, self.crop, self.batch, self.seed, self.augment = (
            train, held_out, crop, batch, seed, augment,
        )  # fmt: skip
        self.takes, self.convention, self.names = train.takes, train.convention, train.names
        self.notes = tuple(dict.fromkeys((*train.notes, *held_out.notes)))
        if not train.names:
            raise InputError("nothing to train on: every picture is held out; add pictures of other scenes")
        _check_crop(crop)
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}
        self.room = KEPT_BYTES

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step."""
        generator = _generator(self.seed, step)
        chosen = torch.randint(len(self.names), (self.batch,), generator=generator)
        crops = []
        for index in chosen.tolist():
            picture, target = self._read(index)
            if min(picture.shape[-2:]) < self.crop:
                raise InputError(
                    f"{self.names[index]}: {tuple(picture.shape[-2:])}, too small for crops of {self.crop}"
                )
            crops.append(map(to_float, cut(picture, target, self.crop, generator, self.augment)))
        planes, targets = (_packed(torch.stack(parts)) for parts in zip(*crops, strict=True))
        return planes, targets

    def _read(self, index: int) -> tuple[Tensor, Tensor]:
        """A pair of the training pictures, decoded once while there is room."""
        if index in self.kept:
            return self.kept[index]
        pair = self.train.read(index)
        if (size := sum(part.nbytes for part in pair)) <= self.room:
            self.kept[index] = pair
            self.room -= size
        return pair

    def __len__(self) -> int:
        return 2**31  # steps do not run out

    def cases(self, side: int | None = None, limit: int | None = MAX_CASES) -> Iterator[Case]:
        """So many of the held-out pictures, evenly spread, whole or, with `side`, their middles."""
        return pair_cases(self.held_out, side, limit)


def cut(picture: Tensor, target: Tensor, crop: int, generator: Generator, augment: bool) -> tuple[Tensor, Tensor]:
    """The same random square of input and target (C, H, W), flipped and transposed at random with `augment`.

    A mosaic (one channel, RGGB) stays RGGB: it is cut at even places, or, to be flipped, at odd ones, so that a red
    photosite comes first again; where the picture leaves no room for that it is not flipped.
    """
    bayer = len(picture) == 1
    draw = torch.rand(5, generator=generator).tolist()
    dims = []
    for dim, place, flip in ((-2, draw[0], draw[2] < 0.5), (-1, draw[1], draw[3] < 0.5)):
        room = picture.shape[dim] - crop
        shift = 1 if augment and flip and bayer and room > 0 else 0
        step = 2 if bayer else 1
        start = step * int(place * ((room - shift) // step + 1)) + shift
        picture, target = picture.narrow(dim, start, crop), target.narrow(dim, start, crop)
        if augment and flip and (shift or not bayer):
            dims.append(dim)
    picture, target = picture.flip(dims), target.flip(dims)
    if augment and draw[4] < 0.5:
        picture, target = picture.transpose(-1, -2), target.transpose(-1, -2)
    return picture, target


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


class Photos:
    """Photographs through the inverse pipeline: canonical planes (B, 4, h, w) and sRGB targets (B, 3, 2h, 2w).

    Those in the folder `train` are trained on, those in `val` beside it validated on, if there are any. Every sample
    draws its own crop, flip, camera, exposure, noise and defects. The exposure gain is the one that
    `color.exposure_gain` gives the whole photo behind that camera, so training and use see the same; the target is
    the photo at that exposure.

    With a task, they are photographs taken again (`recapture`) instead: with noise, as noisy planes, or in low light.
    """

    notes: tuple[str, ...] = ()

    def __init__(
        self,
        root: Path,
        crop: int = 128,
        batch: int = 16,
        seed: int = 0,
        exclude_licences: tuple[str, ...] = (),
        task: Task | None = None,
        simulation: Simulation = Simulation(),
    ) -> None:
        _check_crop(crop)
        self.root, self.batch, self.seed, self.task, self.simulation = root, batch, seed, task, simulation
        self.crop = crop + (degradation.MARGIN if task in ("denoise", "enhance") else 0)
        takes: dict[Task | None, Takes] = {None: "raw", "denoise-raw": "planes"}
        self.takes: Takes = takes.get(task, "rgb")
        self.convention = InputConvention() if task is None else AS_SENSED
        photos = find_photos(root / "train", exclude_licences)
        self.credits = tuple(photos.values())
        self.names = tuple(path.name for path in photos)
        self.pictures = [torch.from_numpy(read_rgb(path)).permute(2, 0, 1) for path in photos]  # uint8
        for path, picture in zip(photos, self.pictures, strict=True):
            if min(picture.shape[-2:]) < self.crop:
                raise InputError(f"{path}: {tuple(picture.shape[-2:])} px, expected {self.crop} px a side at least")
        self.linear = color.inverse_tone(torch.arange(256) / 255)
        self.frames = torch.stack([
            functional.adaptive_avg_pool2d(self._canonical(picture), color.GRID) for picture in self.pictures
        ])  # fmt: skip

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step: planes and target, float32."""
        generator = _generator(self.seed, step)
        chosen = torch.randint(len(self.pictures), (self.batch,), generator=generator)
        crops = torch.stack([self._crop(self.pictures[index], generator) for index in chosen.tolist()])
        if self.task is not None:
            return degradation.BATCHES[self.task](crops / 255, generator, self.simulation)
        return unprocess.simulate(self._canonical(crops), self.frames[chosen], generator, self.simulation)

    def __len__(self) -> int:
        return 2**31  # steps do not run out

    def cases(self, side: int | None = None, limit: int | None = MAX_CASES) -> Iterator[Case]:
        """The photographs of `val`, each as a synthetic RAW without and with noise, or at each level of the task."""
        if not (self.root / "val").is_dir():
            return
        photos = list(enumerate(find_photos(self.root / "val")))
        chosen = folders.sample(photos, limit or len(photos))
        yield from photo_cases(chosen, side) if self.task is None else task_cases(self.task, chosen, side)

    def _canonical(self, picture: Tensor) -> Tensor:
        return color.apply_matrix(color.SRGB_TO_CANONICAL, self.linear[picture.int()])

    def _crop(self, picture: Tensor, generator: Generator) -> Tensor:
        """The busier of two random crops, some shrunk, flipped at random: skies and blur teach little.

        To denoise, some are made larger, and some are dead leaves in the photograph's colors.
        """
        draws = torch.rand(9, generator=generator).tolist()
        first_place, second_place, flips, (kind, amount) = draws[:2], draws[2:4], draws[4:7], draws[7:]
        leaves_model = self.simulation.dead_leaves
        is_dark, is_noisy = self.task == "enhance", self.task in ("denoise", "denoise-raw")
        if is_noisy and torch.rand((), generator=generator) < leaves_model.share:
            step = leaves_model.palette_step
            palette = picture[:, ::step, ::step].flatten(1) / 255
            drawn = dead_leaves.draw(self.crop, palette, generator, leaves_model)
            return (drawn * 255).round().to(torch.uint8)
        shrinking = self._shrinking(kind, amount, is_dark, is_noisy)
        side = min(int(self.crop * shrinking), *picture.shape[-2:])
        crops = []
        for y, x in (first_place, second_place):
            top = int(y * (picture.shape[1] - side + 1))
            left = int(x * (picture.shape[2] - side + 1))
            crops.append(picture[:, top : top + side, left : left + side])
        crop = crops[0] if is_dark else max(crops, key=_detail)
        if side != self.crop:
            size = (self.crop, self.crop)
            small = functional.interpolate(crop[None].float(), size, mode="bicubic", antialias=True)[0]
            crop = small.round().clamp(0, 255).to(torch.uint8)
        across, down, transposed = (chance < 0.5 for chance in flips)
        dims = [dim for dim, flipped in ((-1, across), (-2, down)) if flipped]
        return crop.flip(dims).transpose(-1, -2) if transposed else crop.flip(dims)

    def _shrinking(self, kind: float, amount: float, is_dark: bool, is_noisy: bool) -> float:
        """By which factor a crop is cut larger than it is used; below 1 smaller. `kind` and `amount` are in [0, 1]."""
        model = self.simulation.crops
        if is_noisy and kind > 1 - model.enlarged_share:
            return 1 / (1 + (model.max_enlarging - 1) * amount)
        share, most = model.shrunk_share, model.max_shrinking
        if is_dark:
            share, most = model.wide_share, model.max_wide_shrinking
        return 1 + (most - 1) * amount if kind < share else 1.0


def _detail(crop: Tensor) -> float:
    """Mean absolute difference of neighbors in green."""
    return float(crop[1].float().diff().abs().mean())


def pair_cases(pictures: Pictures, side: int | None = None, limit: int | None = None) -> Iterator[Case]:
    """So many of the pairs, evenly spread, whole or, with `side`, their middles."""
    for index in folders.sample(range(len(pictures.names)), limit or len(pictures.names)):
        picture, target = map(to_float, _middle(pictures.read(index), side))
        yield Case(pictures.names[index], "", _packed(picture), _packed(target))


def photo_cases(photos: Iterable[tuple[int, Path]], side: int | None = None) -> Iterator[Case]:
    """Photographs, each with its seed, as synthetic RAW without and with noise, whole or, with `side`, the middle."""
    for seed, path in photos:
        picture = read_picture(path)
        _, truth = _middle((picture, picture), side)
        for kind in ("clean", "noisy"):
            capture = unprocess.capture(truth, seed, kind == "noisy")
            yield Case(f"{path.parent.name}/{path.name}", kind, capture.planes[0], truth, capture)


def task_cases(task: Task, photos: Iterable[tuple[int, Path]], side: int | None = None) -> Iterator[Case]:
    """Photographs, each with its seed, taken again at each level of a task, whole or, with `side`, the middle."""
    for seed, path in photos:
        picture = read_picture(path)
        _, photo = _middle((picture, picture), side)
        for level in degradation.levels_of(task):
            yield Case(f"{path.parent.name}/{path.name}", level, *degradation.case(task, photo, seed, level))


def find_photos(folder: Path, exclude_licences: tuple[str, ...] = ()) -> dict[Path, Photo]:
    """The photographs of a folder, sorted, with what LICENCES.tsv in it or above it says of them.

    The table has the columns file, licence, author, source; with licences to exclude, a photo it does not name is
    refused. Raises `InputError` for a missing or empty folder and for files that are no pictures.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and is_regular(path))
        known = {
            **_read_licences(folder.parent / "LICENCES.tsv"),
            **_read_licences(folder / "LICENCES.tsv"),
        }
    except OSError as error:
        raise InputError(f"{folder}: expected a folder of photographs: {error.strerror or error}") from error
    photos = {}
    for path in files:
        photo = known.get(path)
        if photo is None and exclude_licences:
            raise InputError(f"{path}: not named in LICENCES.tsv, so its licence cannot be checked; add a row for it")
        if photo is None or photo.licence not in exclude_licences:
            photos[path] = photo or Photo(path.name)
            check_picture(path)
    if not photos:
        raise InputError(f"{folder}: no photographs ({', '.join(sorted(SUFFIXES))}) that may be used")
    return photos


def _read_licences(table: Path) -> dict[Path, Photo]:
    if not table.is_file():
        return {}
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        return {
            table.parent / row["file"]: Photo(
                Path(row["file"]).name, row["licence"], row["author"] or "", row["source"] or ""
            )
            for row in rows
        }
    except (KeyError, TypeError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: expected the columns file, licence, author, source, tab-separated") from error


def _packed(pictures: Tensor) -> Tensor:
    """Mosaics (..., 1, H, W) as planes (..., 4, H/2, W/2); RGB as it is."""
    return mosaic.pack(pictures.squeeze(-3)) if pictures.shape[-3] == 1 else pictures


def _check_crop(crop: int) -> None:
    if crop < 32 or crop % 2:
        raise InputError(f"expected an even crop of at least 32 px, got {crop}")


def _generator(seed: int, step: int) -> Generator:
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def _middle(pair: tuple[Tensor, Tensor], side: int | None) -> tuple[Tensor, Tensor]:
    """The middle of input and target, of even sides and begun at an even place."""
    height, width = (min(side or size, size) // 2 * 2 for size in pair[0].shape[-2:])
    top, left = ((size - part) // 4 * 2 for size, part in zip(pair[0].shape[-2:], (height, width), strict=True))
    first, second = (picture[:, top : top + height, left : left + width] for picture in pair)
    return first, second
