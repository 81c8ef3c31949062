"""The named protocols: what is scored, what the truth is, and what is done to a result before."""

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
from lwisp.data.photos import find_photos
from lwisp.data.zurich import Zurich
from lwisp.imaging.pixels import to_tensor
from lwisp.restoration import PASSES
from lwisp.weights import Weights, check_takes


@dataclass(frozen=True)
class Protocol:
    """What is scored, and how; `about` is said in every report."""

    about: str
    cases: Callable[[list[Path], Weights], Iterator[Case]]
    eight_bits: bool = True
    """Whether results are rounded to 8 bits first, as they would be on disk."""
    luma: bool = False
    """Whether only Y of BT.601 is scored, on all three channels alike."""
    align: Literal["nothing", "raw", "result"] = "nothing"
    """What the truth is moved onto by optical flow before it is scored."""
    classical: bool = False
    """Whether Menon's chain with perfect knowledge is scored beside."""
    given: bool = False
    """Whether what the network is given is scored too, and other networks and filters may be beside."""
    scaled: bool = False
    """Whether everything is scored once more, made as bright on average as the truth: an oracle."""


def _photos(folders: list[Path], weights: Weights) -> Iterator[Case]:
    check_takes(weights.card, "raw")
    return photo_cases(enumerate(path for folder in folders for path in find_photos(folder)))


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
        noisy, clean = (SIDD.blocks(root / f"Validation{kind}BlocksSrgb.mat") for kind in ("Noisy", "Gt"))
        for scene, block in np.ndindex(*SIDD.BLOCKS[:2]):
            yield Case(f"{scene:02d}_{block:02d}", "", to_tensor(noisy[scene, block]), to_tensor(clean[scene, block]))


def _pictures(pictures: Pictures, weights: Weights) -> Iterator[Case]:
    check_takes(weights.card, pictures.takes)
    return pair_cases(pictures)


def _retaken(task: Task, folders: list[Path], weights: Weights) -> Iterator[Case]:
    check_takes(weights.card, "planes" if task == "denoise-raw" else "rgb")
    return task_cases(task, list(enumerate(path for folder in folders for path in find_photos(folder))))


def _named(given: str, truth: str, folders: list[Path], weights: Weights) -> Iterator[Case]:
    """Pairs that lie in one folder, told by their names."""
    check_takes(weights.card, "rgb")
    for folder in folders:
        for name, pair in formats.match_named(formats.list_files(folder, SUFFIXES), given, truth).items():
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
        "photographs taken again by a random camera that lacks 2, 3.5 and 5 EV of light (`recapture.case`, the place "
        "in the list is the seed); the truth is the photograph; brightness as it comes out, and scaled to its mean.",
        partial(_retaken, "enhance"),
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
        "chain (`recapture.case`, the place in the list is the seed); the truth is the photograph.",
        partial(_retaken, "denoise"),
        given=True,
    ),
    "denoise-raw/photos": Protocol(
        "the packed planes of a random camera with low, middle and high noise (`recapture.case`); the truth are the "
        "planes without it. Both are scored as pictures of half the size, with the sRGB curve and no balance.",
        partial(_retaken, "denoise-raw"),
        given=True,
    ),
    "pairs": Protocol("all pairs of the folders `input` and `target`, results rounded to 8 bits.", _pairs),
}
"""By id."""


def passes_of(weights: Weights, passes: int | None) -> int:
    """The passes of test-time augmentation that weights are scored with: those asked for, else what the verb takes."""
    if passes is None:
        return PASSES if weights.card.architecture.takes == "rgb" else 1
    return passes
