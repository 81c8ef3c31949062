"""Validation cases: what a network is given and what it is compared with, picture by picture."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lwisp.data import degradation, folders, unprocess
from lwisp.data.datasets import Pictures, read_tensor
from lwisp.data.degradation import Task
from lwisp.imaging import mosaic
from lwisp.imaging.pixels import middle, to_float

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


def pair_cases(pictures: Pictures, side: int | None = None, limit: int | None = None) -> Iterator[Case]:
    """So many of the pairs, evenly spread, whole or, with `side`, their middles."""
    for index in folders.sample(range(len(pictures.names)), limit or len(pictures.names)):
        picture, target = map(to_float, middle_of(pictures.read(index), side))
        yield Case(pictures.names[index], "", pack_mosaics(picture), pack_mosaics(target))


def photo_cases(photos: Iterable[tuple[int, Path]], side: int | None = None) -> Iterator[Case]:
    """Photographs, each with its seed, as synthetic RAW without and with noise, whole or, with `side`, the middle."""
    for seed, path in photos:
        picture = read_tensor(path)
        _, truth = middle_of((picture, picture), side)
        for kind in ("clean", "noisy"):
            capture = unprocess.capture(truth, seed, kind == "noisy")
            yield Case(f"{path.parent.name}/{path.name}", kind, capture.planes[0], truth, capture)


def task_cases(task: Task, photos: Iterable[tuple[int, Path]], side: int | None = None) -> Iterator[Case]:
    """Photographs, each with its seed, taken again at each level of a task, whole or, with `side`, the middle."""
    for seed, path in photos:
        picture = read_tensor(path)
        _, photo = middle_of((picture, picture), side)
        for level in degradation.levels_of(task):
            yield Case(f"{path.parent.name}/{path.name}", level, *degradation.case(task, photo, seed, level))


def pack_mosaics(pictures: Tensor) -> Tensor:
    """Mosaics (..., 1, H, W) as planes (..., 4, H/2, W/2); RGB as it is."""
    return mosaic.pack(pictures.squeeze(-3)) if pictures.shape[-3] == 1 else pictures


def middle_of(pair: tuple[Tensor, Tensor], side: int | None) -> tuple[Tensor, Tensor]:
    """The middle of input and target (C, H, W), of even sides and begun at an even place; with None all of it."""
    height, width = pair[0].shape[-2:]
    rows = middle(height, min(side or height, height) // 2 * 2, 2)
    columns = middle(width, min(side or width, width) // 2 * 2, 2)
    return pair[0][:, rows, columns], pair[1][:, rows, columns]
