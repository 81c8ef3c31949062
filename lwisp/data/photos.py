"""Training batches and validation cases: `Photos` of photographs alone, `Crops` of the aligned pairs in `datasets`.

A batch is a function of its step, so the same seed gives the same batches however many workers make them, and training
resumes where it stopped.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn import functional

from lwisp.data import dead_leaves, degradation, folders, unprocess
from lwisp.data.cases import MAX_CASES, Case, photo_cases, task_cases
from lwisp.data.crops import check_crop, generator_of
from lwisp.data.datasets import AS_SENSED, SUFFIXES
from lwisp.data.degradation import Task
from lwisp.data.simulation import Simulation
from lwisp.errors import InputError
from lwisp.files.pictures import check_picture, read_rgb
from lwisp.files.writing import is_regular
from lwisp.imaging import color
from lwisp.model import Takes
from lwisp.weights import InputConvention, Photo


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
        check_crop(crop)
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
        generator = generator_of(self.seed, step)
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
