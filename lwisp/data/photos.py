"""Training batches and validation cases made of photographs: synthetic RAW, or degraded pictures for a task."""

import csv
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn import functional

from lwisp.architecture import Takes
from lwisp.data import dead_leaves, degradation, folders, linear_light, thin_lines, unprocess
from lwisp.data.cases import MAX_CASES, Case, photo_cases, seeded, task_cases
from lwisp.data.crops import check_crop, step_generator
from lwisp.data.datasets import AS_SENSED, SUFFIXES
from lwisp.data.degradation import Task
from lwisp.data.simulation import Simulation
from lwisp.errors import InputError
from lwisp.files.pictures import check_picture, read_rgb
from lwisp.files.writing import is_regular
from lwisp.imaging import color
from lwisp.weights import InputConvention, Photo


class Photos:
    """Batches of photographs and what a simulated camera makes of them.

    Without a task: canonical planes (B, 4, h, w) of synthetic RAW (`unprocess.simulate`) and sRGB targets
    (B, 3, 2h, 2w). Every sample draws its own crop, flip, camera, exposure, noise and defects. The exposure gain is
    the one that `color.exposure_gain` gives the whole photo behind that camera, so that training and use see the same;
    the target is the photo at that exposure. Where the convention says so it is demosaiced light in place of a RAW, RGB
    of full size (`linear_light`).

    With a task: degraded photographs (`degradation`), with noise, as noisy planes, or in low light.

    Args:
        root: folder with `train`, and `val` to be validated on, if there is any.
        crop: side of the crops in px, even.
        batch: crops in a batch.
        seed: of all random numbers, together with the step.
        exclude_licences: photographs of these licences are left out.
        task: "denoise", "denoise-raw", "enhance", or None for synthetic RAW.
        simulation: constants of the simulators.
        convention: headroom, whether the noise is told and whether light is demosaiced, for synthetic RAW; all else is
            as `InputConvention` has it.

    Raises:
        InputError: for a missing or empty folder, files that are no pictures, and pictures smaller than a crop.
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
        convention: InputConvention = InputConvention(),
    ) -> None:
        check_crop(crop)
        self.root = root
        self.batch = batch
        self.seed = seed
        self.task = task
        self.simulation = simulation
        self.crop = crop + (degradation.MARGIN if task in ("denoise", "enhance") else 0)
        takes: dict[Task | None, Takes] = {None: "raw", "denoise-raw": "planes"}
        self.takes: Takes = "linear" if task is None and convention.demosaiced else takes.get(task, "rgb")
        usual = InputConvention(headroom=convention.headroom, noise=convention.noise, demosaiced=convention.demosaiced)
        if task is None and convention != usual:
            raise InputError(
                f"photographs decide how planes are prepared, but for headroom and noise; got {convention}"
            )
        self.convention = convention if task is None else AS_SENSED
        photos = find_photos(root / "train", exclude_licences)
        self.credits = tuple(photos.values())
        self.names = tuple(path.name for path in photos)
        self.pictures = [torch.from_numpy(read_rgb(path)).permute(2, 0, 1) for path in photos]  # uint8
        for path, picture in zip(photos, self.pictures, strict=True):
            if min(picture.shape[-2:]) < self.crop:
                raise InputError(f"{path}: {tuple(picture.shape[-2:])} px, expected {self.crop} px a side at least")
        self.linear = color.inverse_tone(torch.arange(256) / 255)
        grids = [functional.adaptive_avg_pool2d(self._canonical(picture), color.GRID) for picture in self.pictures]
        self.frames = torch.stack(grids)

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step, float32.

        Args:
            step: of the training run, from 0.

        Returns:
            Input, planes (B, 4, H/2, W/2) or RGB (B, 3, H, W), and target, RGB or clean planes.
        """
        generator = step_generator(self.seed, step)
        chosen = torch.randint(len(self.pictures), (self.batch,), generator=generator)
        crops = torch.stack([self._crop(self.pictures[index], generator) for index in chosen.tolist()])
        if self.task is not None:
            return degradation.BATCHES[self.task](crops / 255, generator, self.simulation)
        if self.simulation.lines.share:
            crops = torch.stack([self._with_lines(crop, generator) for crop in crops])
        light = self._canonical(crops), self.frames[chosen]
        if self.takes == "linear":
            return linear_light.simulate(*light, self.convention, generator, self.simulation)
        if self.convention.headroom:
            return unprocess.simulate_headroom(*light, self.convention, generator, self.simulation)
        return unprocess.simulate(*light, generator, self.simulation)

    @property
    def kept_bytes(self) -> int:
        """Bytes of the photographs, which every process has."""
        return sum(picture.nbytes for picture in self.pictures)

    def stored(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step, which is made in float32.

        Args:
            step: of the training run, from 0.

        Returns:
            As `__getitem__`.
        """
        return self[step]

    def to_float(self, picture: Tensor) -> Tensor:
        """What `stored` gives, as it is.

        Args:
            picture: input or target, float32.
        """
        return picture

    def __len__(self) -> int:
        return 2**31  # steps do not run out

    def cases(self, side: int | None = None, limit: int | None = MAX_CASES) -> Iterator[Case]:
        """Validation cases of the photographs in `val`: RAW without and with noise, or every level of the task.

        Args:
            side: px of the middle that is taken; None takes whole pictures.
            limit: how many photographs are taken, evenly spread; None takes all.
        """
        if not (self.root / "val").is_dir():
            return
        photos = seeded(find_photos(self.root / "val"))
        chosen = folders.sample(photos, limit or len(photos))
        if self.takes == "linear":
            yield from linear_light.linear_cases(chosen, side, self.convention)
        elif self.task is None:
            yield from photo_cases(chosen, side, self.convention)
        else:
            yield from task_cases(self.task, chosen, side)

    def _canonical(self, picture: Tensor) -> Tensor:
        """Linear canonical RGB of uint8 sRGB (..., 3, H, W)."""
        return color.apply_matrix(color.SRGB_TO_CANONICAL, self.linear[picture.int()])

    def _with_lines(self, crop: Tensor, generator: Generator) -> Tensor:
        """A crop (3, crop, crop) uint8, with thin lines over it in some of the samples."""
        if torch.rand((), generator=generator) >= self.simulation.lines.share:
            return crop
        drawn = thin_lines.draw(crop / 255, generator, self.simulation.lines)
        return (drawn * 255).round().to(torch.uint8)

    def _crop(self, picture: Tensor, generator: Generator) -> Tensor:
        """A random crop (3, crop, crop) uint8 of a photograph (3, H, W), resized and flipped at random.

        Of two crops the one with more detail is taken, because skies and blur teach little; for low light the first
        one, because brightness is learned from all of them. For denoising, some are dead leaves in the photo's colors.
        """
        draws = torch.rand(9, generator=generator).tolist()
        places = (draws[0:2], draws[2:4])
        flip_columns, flip_rows, transpose = (chance < 0.5 for chance in draws[4:7])
        resizing, amount = draws[7:9]
        if self._denoises and torch.rand((), generator=generator) < self.simulation.dead_leaves.share:
            return self._dead_leaves(picture, generator)
        side = min(int(self.crop * self._shrinking(resizing, amount)), *picture.shape[-2:])
        crops = []
        for y, x in places:
            top = int(y * (picture.shape[1] - side + 1))
            left = int(x * (picture.shape[2] - side + 1))
            crops.append(picture[:, top : top + side, left : left + side])
        crop = crops[0] if self.task == "enhance" else max(crops, key=_detail)
        if side != self.crop:
            size = (self.crop, self.crop)
            resized = functional.interpolate(crop[None].float(), size, mode="bicubic", antialias=True)[0]
            crop = resized.round().clamp(0, 255).to(torch.uint8)
        dims = [dim for dim, flipped in ((-1, flip_columns), (-2, flip_rows)) if flipped]
        crop = crop.flip(dims)
        return crop.transpose(-1, -2) if transpose else crop

    @property
    def _denoises(self) -> bool:
        return self.task in ("denoise", "denoise-raw")

    def _dead_leaves(self, picture: Tensor, generator: Generator) -> Tensor:
        """A dead-leaves picture (3, crop, crop) uint8 in the colors of a photograph."""
        model = self.simulation.dead_leaves
        palette = picture[:, :: model.palette_step, :: model.palette_step].flatten(1) / 255
        drawn = dead_leaves.draw(self.crop, palette, generator, model)
        return (drawn * 255).round().to(torch.uint8)

    def _shrinking(self, resizing: float, amount: float) -> float:
        """The factor by which a crop is cut larger than it is used; below 1 it is enlarged. Arguments are in [0, 1]."""
        model = self.simulation.crops
        if self._denoises and resizing > 1 - model.enlarged_share:
            return 1 / (1 + (model.max_enlarging - 1) * amount)
        share, largest = model.shrunk_share, model.max_shrinking
        if self.task == "enhance":
            share, largest = model.wide_share, model.max_wide_shrinking
        return 1 + (largest - 1) * amount if resizing < share else 1.0


def _detail(crop: Tensor) -> float:
    """Mean absolute difference of neighbors in green."""
    return float(crop[1].float().diff().abs().mean())


def find_photos(folder: Path, exclude_licences: tuple[str, ...] = ()) -> dict[Path, Photo]:
    """The photographs of a folder, sorted, with their licences.

    Licences stand in LICENCES.tsv in the folder or above it, with the columns file, licence, author, source.

    Args:
        folder: of photographs.
        exclude_licences: photographs of these licences are left out, and one that the table does not name is refused.

    Raises:
        InputError: for a missing or empty folder, files that are no pictures, and a table that cannot be read.
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
    """The rows of a table of licences by file; none where there is no table."""
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
