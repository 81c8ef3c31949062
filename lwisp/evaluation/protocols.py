"""The named protocols: what is scored, what the ground truth is, and what is done to a result before it is scored."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from lwisp.data import folders as formats
from lwisp.data.cases import Case, pair_cases, photo_cases, task_cases
from lwisp.data.datasets import SIDD, SUFFIXES, LoL, Pairs, Pictures, read_same_size
from lwisp.data.degradation import Task
from lwisp.data.linear_light import linear_cases
from lwisp.data.photos import find_photos
from lwisp.data.zurich import Zurich
from lwisp.imaging.tensors import to_tensor
from lwisp.restoration import PASSES
from lwisp.weights import Weights, check_takes


@dataclass(frozen=True)
class Protocol:
    """What is scored, and how."""

    about: str
    """Description for reports."""
    cases: Callable[[list[Path], Weights], Iterator[Case]]
    """The pictures of some folders, with their ground truth; raises `InputError` for weights of another task."""
    eight_bits: bool = True
    """Whether results are rounded to 8 bits first, as they would be on disk."""
    luma: bool = False
    """Whether only luma (BT.601) is scored, copied to all three channels."""
    align: Literal["nothing", "raw", "result"] = "nothing"
    """What the ground truth is moved onto by optical flow before it is compared."""
    classical: bool = False
    """Whether Menon's demosaicing with the true balance, matrix and exposure is scored too (oracle)."""
    given: bool = False
    """Whether the network's input is scored too, and classical baselines and other weights may be."""
    scaled: bool = False
    """Whether everything is scored once more with the mean luma of the ground truth (oracle)."""


def _photos(folders: list[Path], weights: Weights) -> Iterator[Case]:
    photos = enumerate(path for folder in folders for path in find_photos(folder))
    if weights.card.takes == "linear":
        return linear_cases(photos, None, weights.card.convention)
    check_takes(weights.card, "raw")
    return photo_cases(photos, None, weights.card.convention)


def _zurich(folders: list[Path], weights: Weights) -> Iterator[Case]:
    for root in folders:
        yield from _pictures(Zurich(root, "test", weights.card.convention), weights)


def _lol(folders: list[Path], weights: Weights) -> Iterator[Case]:
    for root in folders:
        yield from _pictures(LoL(root, "eval15"), weights)


def _pairs(folders: list[Path], weights: Weights) -> Iterator[Case]:
    for root in folders:
        yield from _pictures(Pairs(root, "all", weights.card.convention), weights)


def _sidd(folders: list[Path], weights: Weights) -> Iterator[Case]:
    check_takes(weights.card, "rgb")
    for root in folders:
        noisy = SIDD.blocks(root / "ValidationNoisyBlocksSrgb.mat")
        clean = SIDD.blocks(root / "ValidationGtBlocksSrgb.mat")
        for scene, block in np.ndindex(*SIDD.BLOCKS[:2]):
            yield Case(f"{scene:02d}_{block:02d}", "", to_tensor(noisy[scene, block]), to_tensor(clean[scene, block]))


def _pictures(pictures: Pictures, weights: Weights) -> Iterator[Case]:
    check_takes(weights.card, pictures.takes)
    return pair_cases(pictures)


def _degraded(task: Task, folders: list[Path], weights: Weights) -> Iterator[Case]:
    check_takes(weights.card, "planes" if task == "denoise-raw" else "rgb")
    photos = [path for folder in folders for path in find_photos(folder)]
    return task_cases(task, list(enumerate(photos)))


def _named(given: str, truth: str, folders: list[Path], weights: Weights) -> Iterator[Case]:
    """Pairs of pictures in one folder, matched by their names."""
    check_takes(weights.card, "rgb")
    for folder in folders:
        pairs = formats.match_named(formats.list_files(folder, SUFFIXES), given, truth)
        for name, pair in pairs.items():
            yield Case(name, "", *read_same_size(*pair))


PROTOCOLS = {
    "photos/val": Protocol(
        "photographs as seeded synthetic RAW (`unprocess.capture`, the place in the list is the seed), without and "
        "with noise; the truth is the photograph; nothing is rounded. Menon's demosaicing (2007) with the true gains, "
        "matrix and exposure, in float, is a bound for tools that do not denoise.",
        _photos,
        eight_bits=False,
        classical=True,
    ),
    "zurich/original": Protocol(
        "Zurich's test pairs as they are, results rounded to 8 bits; phone and camera do not quite see the same.",
        _zurich,
    ),
    "zurich/aligned-raw": Protocol(
        "as zurich/original, but the truth is moved onto the RAW by optical flow, once for all results.",
        _zurich,
        align="raw",
    ),
    "zurich/aligned-result": Protocol(
        "as zurich/original, but the truth is moved onto each result by optical flow. Warning: it can move the truth "
        "to where the result is wrong, and every result gets a truth of its own.",
        _zurich,
        align="result",
    ),
    "zurich/y": Protocol("as zurich/original, on luma (BT.601) only.", _zurich, luma=True),
    "sidd/validation": Protocol("SIDD's 1,280 validation blocks in sRGB, results rounded to 8 bits.", _sidd),
    "lol/eval15": Protocol(
        "LoL's eval15, results rounded to 8 bits, brightness as it comes out, and scaled to the truth's mean.",
        _lol,
        scaled=True,
    ),
    "lowlight/pairs": Protocol(
        "pairs low_NAME, high_NAME of a folder, results rounded to 8 bits, brightness as it comes out, and scaled to "
        "the truth's mean.",
        partial(_named, "low_NAME", "high_NAME"),
        given=True,
        scaled=True,
    ),
    "lowlight/photos": Protocol(
        "photographs taken again by a random camera that lacks 2, 3.5 and 5 EV of light (`cases.degraded_case`, the "
        "place "
        "in the list is the seed); the truth is the photograph; brightness as it comes out, and scaled to its mean.",
        partial(_degraded, "enhance"),
        given=True,
        scaled=True,
    ),
    "denoise/polyu": Protocol(
        "pairs NAME_real, NAME_mean of a folder (PolyU, CC15), results rounded to 8 bits.",
        partial(_named, "NAME_real", "NAME_mean"),
        given=True,
    ),
    "denoise/sidd-crops": Protocol(
        "pairs NOISY_NAME, GT_NAME of a folder, results rounded to 8 bits.",
        partial(_named, "NOISY_NAME", "GT_NAME"),
        given=True,
    ),
    "denoise/photos": Protocol(
        "photographs taken again by a random camera with low, middle and high noise, which goes through its whole "
        "chain (`cases.degraded_case`, the place in the list is the seed); the truth is the photograph.",
        partial(_degraded, "denoise"),
        given=True,
    ),
    "denoise-raw/photos": Protocol(
        "the packed planes of a random camera with low, middle and high noise (`cases.degraded_case`); the truth are "
        "the "
        "planes without it. Both are scored as pictures of half the size, with the sRGB curve and no balance.",
        partial(_degraded, "denoise-raw"),
        given=True,
    ),
    "pairs": Protocol("all pairs of the folders `input` and `target`, results rounded to 8 bits.", _pairs),
}
"""Protocols by id."""


def passes_of(weights: Weights, passes: int | None) -> int:
    """The passes of test-time augmentation that weights are scored with.

    Args:
        weights: The weights; their task decides the default.
        passes: 1, 2 or 4; None for the number that `lwisp denoise` and the other commands take by default.

    Returns:
        `passes`; by default `restoration.PASSES` for weights from RGB to RGB, else 1.
    """
    if passes is None:
        return PASSES if weights.card.architecture.takes == "rgb" else 1
    return passes
