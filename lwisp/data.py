"""Training pairs: (planes, target), planes as the network's input convention wants them.

A batch is a function of its step alone, so the same seed gives the same batches however many workers make them, and
training resumes where it stopped.
"""

import csv
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn import functional

from lwisp import color, unprocess
from lwisp.checkpoint import Photo
from lwisp.errors import InputError
from lwisp.files import is_regular
from lwisp.image import check_picture, read_rgb

SUFFIXES = {".jpg", ".jpeg", ".png"}

CLEAN_SHARE = 0.2  # of samples without noise, so that a clean RAW keeps its detail
OVEREXPOSED_SHARE = 0.2
SHIFTED_SHARE = 0.2  # of samples whose exposure a user moved by --exposure
DEFECT_SHARE = 0.5
RECOLORED_SHARE = 0.2


class Photos:
    """Photographs through the inverse pipeline: canonical planes (B, 4, h, w) and sRGB targets (B, 3, 2h, 2w).

    Every sample draws its own crop, flip, camera, exposure, noise and defects. The exposure gain is the one that
    `color.exposure_gain` gives the whole photo behind that camera, so training and use see the same; the target is
    the photo at that exposure.
    """

    def __init__(self, photos: dict[Path, Photo], crop: int = 128, batch: int = 16, seed: int = 0) -> None:
        if crop < 32 or crop % 2:
            raise InputError(f"expected an even crop of at least 32 px, got {crop}")
        self.crop, self.batch, self.seed = crop, batch, seed
        self.pictures = [torch.from_numpy(read_rgb(path)).permute(2, 0, 1) for path in photos]  # uint8
        for path, picture in zip(photos, self.pictures, strict=True):
            if min(picture.shape[-2:]) < crop:
                raise InputError(f"{path}: {tuple(picture.shape[-2:])} px, expected {crop} px a side at least")
        self.linear = color.inverse_tone(torch.arange(256) / 255)
        self.frames = torch.stack([
            functional.adaptive_avg_pool2d(self._canonical(picture), color.GRID) for picture in self.pictures
        ])  # fmt: skip

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step: planes and target, float32."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        chosen = torch.randint(len(self.pictures), (self.batch,), generator=generator)
        crops = torch.stack([self._crop(self.pictures[index], generator) for index in chosen.tolist()])
        return simulate(self._canonical(crops), self.frames[chosen], generator)

    def __len__(self) -> int:
        return 2**31  # steps do not run out

    def _canonical(self, picture: Tensor) -> Tensor:
        return color.apply_matrix(color.SRGB_TO_CANONICAL, self.linear[picture.int()])

    def _crop(self, picture: Tensor, generator: Generator) -> Tensor:
        """The busier of two random crops, flipped at random: skies and blurred backgrounds teach little."""
        draw = torch.rand(7, generator=generator)
        crops = [
            picture[:, top : top + self.crop, left : left + self.crop]
            for top, left in (
                (int(y * (picture.shape[1] - self.crop + 1)), int(x * (picture.shape[2] - self.crop + 1)))
                for y, x in draw[:4].reshape(2, 2).tolist()
            )
        ]
        crop = max(crops, key=lambda crop: float(crop[1].float().diff().abs().mean()))
        dims = [dim for dim, chance in ((-1, draw[4]), (-2, draw[5])) if chance < 0.5]
        return crop.flip(dims).transpose(-1, -2) if draw[6] < 0.5 else crop.flip(dims)


def simulate(canonical: Tensor, frame: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Crops of photos as a random camera sees them, and what should be made of them.

    `canonical` (B, 3, H, W) is the light of the crops, `frame` (B, 3, 64, 64) that of their whole photos, linear.
    Gives canonical planes (B, 4, H/2, W/2) at the frame's exposure, and sRGB targets (B, 3, H, W) in [0, 1].
    """
    count = len(canonical)
    canonical, frame = recolor(canonical, frame, generator)
    camera = unprocess.random_camera(count, generator)
    over = torch.rand(count, generator=generator) < OVEREXPOSED_SHARE
    exposure = torch.where(over, unprocess.uniform(count, 0, 1, generator), unprocess.uniform(count, -2, 0, generator))
    exposure = exposure.exp2()

    seen = unprocess.expose(frame, camera, exposure).clamp(max=1)[:, [0, 1, 1, 2]]
    gain = color.exposure_gain(color.canonicalize(seen, camera.white_balance, camera.cam2rgb))
    shift = unprocess.uniform(count, -1.5, 2, generator)
    shift = torch.where(over, shift.abs(), shift)  # a darker frame would show what clipping had taken
    gain = gain * torch.where(torch.rand(count, generator=generator) < SHIFTED_SHARE, shift, 0.0).exp2()

    packed = unprocess.take_mosaic(unprocess.expose(canonical, camera, exposure).clamp(max=1))
    shot_noise, read_noise = unprocess.random_noise(count, generator)
    clean = torch.rand(count, generator=generator) < CLEAN_SHARE
    shot_noise, read_noise = (torch.where(clean, 0.0, noise) for noise in (shot_noise / gain, read_noise / gain**2))
    packed = unprocess.add_noise(packed, shot_noise, read_noise, generator)
    density = 10 ** unprocess.uniform(count, -4.5, -2.7, generator)
    packed = unprocess.add_defects(
        packed, torch.where(torch.rand(count, generator=generator) < DEFECT_SHARE, density, 0.0), generator
    )
    bits = torch.randint(10, 15, (count,), generator=generator)
    black = unprocess.uniform(count, -0.03, 0.06, generator).clamp(min=0)  # a third of cameras cut off below black
    packed = unprocess.digitize(packed, torch.where(clean, 14, bits), black)

    planes = color.canonicalize(packed, camera.white_balance, camera.cam2rgb) * gain[:, None, None, None]
    return planes, color.render(canonical * (exposure * gain)[:, None, None, None])


def recolor(canonical: Tensor, frame: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Tint and saturate some samples, beyond what sRGB photographs hold: a sensor sees wider colors than a screen."""
    count = len(canonical)
    some = (torch.rand(count, generator=generator) < RECOLORED_SHARE)[:, None]
    tint = torch.where(some, (0.15 * torch.randn(count, 3, generator=generator)).exp(), 1.0)[..., None, None]
    saturation = torch.where(some, unprocess.uniform(count, 0.8, 2, generator)[:, None], 1.0)[..., None, None]

    def change(light: Tensor) -> Tensor:
        luminance = (color.CANONICAL_TO_XYZ[1][:, None, None] * light).sum(1, keepdim=True)
        return torch.lerp(luminance, light, saturation).clamp(min=0) * tint

    return change(canonical), change(frame)


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
