"""Validation cases: a network's input and what its output is compared with, picture by picture."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lwisp.data import degradation, folders, unprocess
from lwisp.data.datasets import Pictures, read_tensor
from lwisp.data.degradation import Task
from lwisp.data.unprocess import ISO_NOISE
from lwisp.imaging import mosaic
from lwisp.imaging.pixels import middle
from lwisp.provenance import digest
from lwisp.weights import InputConvention

MAX_CASES = 24
"""Pictures that a training run is validated on; `evaluate` takes them all."""
CASE_DRIFT = 0.07
"""Standard deviation of the log of white-balance errors in the test cases of low light."""
NOISE_LEVELS = {"low": ISO_NOISE[200], "middle": ISO_NOISE[800], "high": ISO_NOISE[6400]}
"""Shot and read noise of the test cases."""
LIGHT_LEVELS = {"2 EV": 2.0, "3.5 EV": 3.5, "5 EV": 5.0}
"""Underexposure in EV of the test cases of low light."""
DARK_NOISE = ISO_NOISE[200]
"""Shot and read noise of these."""


@dataclass(frozen=True)
class Case:
    """One picture to score."""

    name: str
    kind: str
    """"clean" or "noisy" for synthetic RAW, the level of noise or darkness where there are several, else empty."""
    planes: Tensor
    """(C, h, w), the network's input: planes or RGB."""
    target: Tensor
    """(3, H, W) in [0, 1], or clean planes (4, h, w)."""
    capture: unprocess.Capture | None = None
    """How synthetic RAW was made."""
    scene: str = ""
    """What it shows, where several pictures show the same and so are not independent; empty: what its name says."""


def pair_cases(pictures: Pictures, side: int | None = None, limit: int | None = None) -> Iterator[Case]:
    """Cases out of aligned pairs.

    Args:
        pictures: the dataset.
        side: px of the middle that is taken; None takes whole pictures.
        limit: how many pairs are taken, evenly spread; None takes all.
    """
    for index in folders.sample(range(len(pictures.names)), limit or len(pictures.names)):
        picture, target = (pictures.to_float(crop_middle(part, side)) for part in pictures.stored(index))
        name, scene = pictures.names[index], pictures.groups[index]
        yield Case(name, "", pack_mosaics(picture), pack_mosaics(target), scene=scene)


def seeded(photos: Iterable[Path]) -> list[tuple[int, Path]]:
    """Photographs with the seed of their test cases: of the file's content, so that neither order nor names decide it.

    Args:
        photos: files.

    Returns:
        For each a seed of 32 bits, the start of its SHA-256, and the file.

    Raises:
        InputError: for a file that cannot be read.
    """
    return [(int(digest(path)[:8], 16), path) for path in photos]


def photo_cases(
    photos: Iterable[tuple[int, Path]], side: int | None = None, convention: InputConvention = InputConvention()
) -> Iterator[Case]:
    """Photographs as synthetic RAW, each without and with noise (`unprocess.capture`).

    Args:
        photos: a seed and a file each.
        side: px of the middle that is taken; None takes whole pictures.
        convention: what the network expects of its input: headroom, and whether the noise is told.
    """
    for seed, path in photos:
        truth = crop_middle(read_tensor(path), side)
        for kind in ("clean", "noisy"):
            capture = unprocess.capture(truth, seed, kind == "noisy")
            yield Case(f"{path.parent.name}/{path.name}", kind, capture.planes(convention)[0], truth, capture)


def task_cases(task: Task, photos: Iterable[tuple[int, Path]], side: int | None = None) -> Iterator[Case]:
    """Degraded photographs, each at every level of a task (`degraded_case`).

    Args:
        task: what is to be undone.
        photos: a seed and a file each.
        side: px of the middle that is taken; None takes whole pictures.
    """
    for seed, path in photos:
        photo = crop_middle(read_tensor(path), side)
        for level in levels_of(task):
            yield Case(f"{path.parent.name}/{path.name}", level, *degraded_case(task, photo, seed, level))


def levels_of(task: Task) -> tuple[str, ...]:
    """The names of the levels of noise or darkness of a task's test cases."""
    return tuple(LIGHT_LEVELS if task == "enhance" else NOISE_LEVELS)


def degraded_case(task: Task, photo: Tensor, seed: int, level: str) -> tuple[Tensor, Tensor]:
    """A seeded test case: a random camera of 14 bits with a plain sRGB curve, without denoising and JPEG.

    At every level of a seed the camera is the same.

    Args:
        task: what is to be undone.
        photo: (3, H, W) in [0, 1], even sides.
        seed: of all draws.
        level: one of `levels_of(task)`.

    Returns:
        The degraded picture and the photograph, or for "denoise-raw" noisy and clean planes (4, H/2, W/2).
    """
    generator = torch.Generator().manual_seed(seed)
    camera = unprocess.random_camera(1, generator)
    zero, one = torch.zeros(1), torch.ones(1)
    drift = (CASE_DRIFT * torch.randn(1, 3, generator=generator)).exp() if task == "enhance" else torch.ones(1, 3)
    shot, read = DARK_NOISE if task == "enhance" else NOISE_LEVELS[level]
    bits, black = torch.tensor([14]), torch.tensor([0.03])
    as_it_is = torch.ones(1, 2)
    chain = degradation.Chain(
        camera, shot * one, read * one, bits, black, as_it_is, as_it_is, zero, one, zero, zero, drift
    )
    light = degradation.decode(photo[None], zero)
    exposure = one * 2 ** -LIGHT_LEVELS[level] if task == "enhance" else one
    if task == "denoise-raw":
        clean = degradation.sensor_planes(light, chain, exposure)
        taken = unprocess.add_noise(clean, chain.shot_noise, chain.read_noise, generator)
        return unprocess.digitize(taken, bits, black)[0], clean[0]
    return degradation.store(degradation.finish(degradation.retake(light, chain, exposure, generator), zero))[0], photo


def pack_mosaics(pictures: Tensor) -> Tensor:
    """Mosaics as packed planes; RGB as it is.

    Args:
        pictures: Mosaics (..., 1, H, W), H and W even and begun with red, or (..., 2, H, W) with the noise that is
            told, the same in all of a cell; or RGB (..., 3, H, W).

    Returns:
        Planes (..., 4, H/2, W/2), or (..., 5, H/2, W/2), or `pictures`.
    """
    if pictures.shape[-3] > 2:
        return pictures
    planes = mosaic.pack(pictures[..., 0, :, :])
    return torch.cat([planes, pictures[..., 1:, ::2, ::2]], -3)


def crop_middle(picture: Tensor, side: int | None) -> Tensor:
    """The middle of a picture (C, H, W), of even sides and begun at even places.

    Args:
        picture: a mosaic keeps its phase.
        side: px at most; None takes all but an odd last row and column.
    """
    height, width = picture.shape[-2:]
    rows = middle(height, min(side or height, height) // 2 * 2, 2)
    columns = middle(width, min(side or width, width) // 2 * 2, 2)
    return picture[:, rows, columns]
