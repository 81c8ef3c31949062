"""The named protocols: what is scored, what the ground truth is, and what is done to a result before it is scored."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from lwisp.data import folders as formats
from lwisp.data.cases import Case, pair_cases, photo_cases, seeded, task_cases
from lwisp.data.datasets import SUFFIXES, LoL, Pairs, Pictures, SIDDBlocks, read_same_size
from lwisp.data.degradation import Task
from lwisp.data.linear_light import linear_cases
from lwisp.data.photos import find_photos
from lwisp.data.zurich import Zurich
from lwisp.engines.names import Precision
from lwisp.errors import InputError
from lwisp.restoration import PASSES
from lwisp.weights import Card, Weights, check_takes


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
    published: bool = False
    """Whether papers print figures of it: by default one pass in fp32 is scored, as theirs are."""
    quoted: str = ""
    """Published figures to stand beside, with their source; not measured here."""


def _photos(folders: list[Path], weights: Weights) -> Iterator[Case]:
    photos = seeded(path for folder in folders for path in find_photos(folder))
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
        yield from pair_cases(SIDDBlocks(root))


def _pictures(pictures: Pictures, weights: Weights) -> Iterator[Case]:
    check_takes(weights.card, pictures.takes)
    return pair_cases(pictures)


def _degraded(task: Task, folders: list[Path], weights: Weights) -> Iterator[Case]:
    check_takes(weights.card, "planes" if task == "denoise-raw" else "rgb")
    return task_cases(task, seeded(path for folder in folders for path in find_photos(folder)))


def _named(given: str, truth: str, folders: list[Path], weights: Weights) -> Iterator[Case]:
    """Pairs of pictures in one folder, matched by their names."""
    check_takes(weights.card, "rgb")
    for folder in folders:
        pairs = formats.match_named(formats.list_files(folder, SUFFIXES), given, truth)
        for name, pair in pairs.items():
            yield Case(name, "", *read_same_size(*pair))


PROTOCOLS = {
    "photos/val": Protocol(
        "photographs as seeded synthetic RAW (`unprocess.capture`, the file's SHA-256 is the seed), without and "
        "with noise; the truth is the photograph; nothing is rounded. Menon's demosaicing (2007) with the true gains, "
        "matrix and exposure, in float, is a bound for tools that do not denoise.",
        _photos,
        eight_bits=False,
        classical=True,
    ),
    "zurich/original": Protocol(
        "Zurich's test pairs as they are, results rounded to 8 bits; phone and camera do not quite see the same.",
        _zurich,
        published=True,
    ),
    "zurich/aligned-raw": Protocol(
        "as zurich/original, but the truth is moved onto the RAW by optical flow, once for all results.",
        _zurich,
        align="raw",
        published=True,
    ),
    "zurich/aligned-result": Protocol(
        "as zurich/original, but the truth is moved onto each result by optical flow. Warning: it can move the truth "
        "to where the result is wrong, and every result gets a truth of its own.",
        _zurich,
        align="result",
        published=True,
    ),
    "zurich/y": Protocol("as zurich/original, on luma (BT.601) only.", _zurich, luma=True, published=True),
    "sidd/validation": Protocol(
        "SIDD's 1,280 validation blocks in sRGB, results rounded to 8 bits.", _sidd, published=True
    ),
    "lol/eval15": Protocol(
        "LoL's eval15, results rounded to 8 bits, brightness as it comes out, and scaled to the truth's mean.",
        _lol,
        scaled=True,
        published=True,
        quoted="LW-ISP trained on LoL: 20.18 dB (Chen and Ma, BMVC 2022, section 4.2, which does not say whether "
        "brightness was scaled)",
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
        "file's SHA-256 is the seed); the truth is the photograph; brightness as it comes out, and scaled to its mean.",
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
        "chain (`cases.degraded_case`, the file's SHA-256 is the seed); the truth is the photograph.",
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


DATA_PROTOCOLS = {
    "photos": "photos/val",
    "linear": "photos/val",
    "denoise": "denoise/photos",
    "denoise-raw": "denoise-raw/photos",
    "enhance": "lowlight/photos",
    "zurich": "zurich/original",
    "zurich/aligned-raw": "zurich/aligned-raw",
    "sidd": "sidd/validation",
    "sidd/all": "sidd/validation",
    "polyu": "denoise/polyu",
    "lol": "lol/eval15",
    "pairs": "pairs",
}
"""The protocol of weights that were trained on a kind of data (`data.sources.Kind`)."""
DEFAULT_PROTOCOL = "photos/val"


def protocol_of(card: Card) -> str:
    """The protocol that weights are scored by where none is named: that of the data their card says they learned from.

    Args:
        card: The weights' card.

    Returns:
        Id of a protocol; `DEFAULT_PROTOCOL` where the card names no data.

    Raises:
        InputError: The card names data that have no protocol.
    """
    recipe = card.training.get("recipe")
    data = recipe.get("data") if isinstance(recipe, dict) else None
    if data is None:
        return DEFAULT_PROTOCOL
    if data not in DATA_PROTOCOLS:
        raise InputError(
            f"weights {card.name!r} were trained on {data!r}, for which there is no protocol; expected --protocol, one "
            f"of {', '.join(PROTOCOLS)}"
        )
    return DATA_PROTOCOLS[data]


def passes_of(weights: Weights, passes: int | None, published: bool) -> int:
    """The passes of test-time augmentation that weights are scored with.

    Args:
        weights: The weights; their task decides the default.
        passes: 1, 2 or 4; None for the default.
        published: Whether the protocol is a published one.

    Returns:
        `passes`; by default 1 by a published protocol and for weights that do not go from RGB to RGB, else as many as
        `lwisp denoise` takes (`restoration.PASSES`).
    """
    if passes is None:
        return PASSES if weights.card.architecture.takes == "rgb" and not published else 1
    return passes


def precision_of(precision: Precision | None, published: bool) -> Precision:
    """What networks are scored in.

    Args:
        precision: What was asked for; None for the default.
        published: Whether the protocol is a published one.

    Returns:
        `precision`; by default "fp32" by a published protocol, else "auto".
    """
    return precision or ("fp32" if published else "auto")
