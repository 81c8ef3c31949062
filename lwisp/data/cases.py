"""Validation cases: a network's input and what its output is compared with, picture by picture."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lwisp.data import degradation, folders, unprocess
from lwisp.data.datasets import Pictures, read_tensor
from lwisp.data.degradation import Task
from lwisp.imaging import mosaic
from lwisp.imaging.pixels import middle, to_float

MAX_CASES = 24
"""Pictures that a training run is validated on; `evaluate` takes them all."""


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


def pair_cases(pictures: Pictures, side: int | None = None, limit: int | None = None) -> Iterator[Case]:
    """Cases out of aligned pairs.

    Args:
        pictures: the dataset.
        side: px of the middle that is taken; None takes whole pictures.
        limit: how many pairs are taken, evenly spread; None takes all.
    """
    for index in folders.sample(range(len(pictures.names)), limit or len(pictures.names)):
        picture, target = pictures.read(index)
        picture, target = to_float(crop_middle(picture, side)), to_float(crop_middle(target, side))
        yield Case(pictures.names[index], "", pack_mosaics(picture), pack_mosaics(target))


def photo_cases(photos: Iterable[tuple[int, Path]], side: int | None = None) -> Iterator[Case]:
    """Photographs as synthetic RAW, each without and with noise (`unprocess.capture`).

    Args:
        photos: a seed and a file each.
        side: px of the middle that is taken; None takes whole pictures.
    """
    for seed, path in photos:
        truth = crop_middle(read_tensor(path), side)
        for kind in ("clean", "noisy"):
            capture = unprocess.capture(truth, seed, kind == "noisy")
            yield Case(f"{path.parent.name}/{path.name}", kind, capture.planes[0], truth, capture)


def task_cases(task: Task, photos: Iterable[tuple[int, Path]], side: int | None = None) -> Iterator[Case]:
    """Degraded photographs, each at every level of a task (`degradation.case`).

    Args:
        task: what is to be undone.
        photos: a seed and a file each.
        side: px of the middle that is taken; None takes whole pictures.
    """
    for seed, path in photos:
        photo = crop_middle(read_tensor(path), side)
        for level in degradation.levels_of(task):
            yield Case(f"{path.parent.name}/{path.name}", level, *degradation.case(task, photo, seed, level))


def pack_mosaics(pictures: Tensor) -> Tensor:
    """Mosaics (..., 1, H, W) as planes (..., 4, H/2, W/2); RGB as it is."""
    return mosaic.pack(pictures.squeeze(-3)) if pictures.shape[-3] == 1 else pictures


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
