"""What a RAW file holds, which weights would serve it and how near it is to what they learned from, undeveloped."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwisp.development import Photo, pick
from lwisp.engines.memory import resident_memory
from lwisp.engines.names import Backend, Precision
from lwisp.errors import InputError, tell_failure
from lwisp.files.decoding import opened
from lwisp.files.linear import AnyRaw, LinearImage, read_any, size_of
from lwisp.files.opcodes import LEFT_OUT
from lwisp.files.properties import sidecars_of
from lwisp.files.raw import GUESSED_BALANCE
from lwisp.files.shots import shot_of
from lwisp.imaging.bayer import plane_order
from lwisp.imaging.framing import CropBox, square_size
from lwisp.imaging.hot_pixels import repair_hot_pixels
from lwisp.imaging.noise import estimate_noise
from lwisp.imaging.shading_maps import GainMap, Shading
from lwisp.imaging.white_point import temperature_of
from lwisp.linear_planes import noise_of
from lwisp.pipeline import Developer, planes_of
from lwisp.weights import SIMULATED, Card, Weights

Range = tuple[float, float]

SHOT_NOISE: Range = (1e-4, 2.5e-2)
"""Of the simulated cameras; for cards that do not have the constants of their simulator (docs/training-data.md)."""
RED_GAIN: Range = (1.3, 2.6)
BLUE_GAIN: Range = (1.2, 2.6)
BRIGHTENING: Range = (0.0, 3.0)
"""EV by the exposure rule: photographs were exposed up to 2 EV below white, and the rule lifts dark ones by up to 1."""
SPENT: Range = (0.0, 0.05)
"""Share of photosites at white or black, where the sensor tells nothing; more than a twentieth is worth a word."""
TILE = 768
"""Photosites along a side of the tile that is developed to learn how fast this machine is."""


@dataclass(frozen=True)
class Measure:
    """One measure of how near a file is to what weights learned from."""

    name: str
    value: float
    learned: Range
    """Lowest and highest of what they learned from."""
    is_within: bool
    on_card: bool = False
    """Whether the range stands on the card of the weights."""


@dataclass(frozen=True)
class Serving:
    """The weights that would serve a file, and what it would take here."""

    weights: str
    look: str = ""
    """Camera whose look they have; empty without one."""
    photos: int = 0
    """Files that this look was learned from."""
    is_own_camera: bool = False
    """Whether they were learned from files of this camera."""
    nearness: tuple[Measure, ...] = ()
    """None where they learned from something else than simulated cameras."""
    engine: str = ""
    seconds: float | None = None
    """About, to read and develop it here; None where it cannot be developed."""
    memory_bytes: float | None = None
    """About, of the whole process."""
    window: int | None = None
    """Side of the windows that it would be run by, in pixels of the planes; None where it is run as a whole."""
    obstacle: str = ""
    """Why it cannot be developed here, though it can be read."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What a RAW holds."""

    camera: str
    iso: int
    """0 where it is not told."""
    taken: str
    """Local time of the camera as 2026-11-28T14:05:09; empty where it is not told."""
    cfa: str
    """The Bayer pattern; where there is none, how its colors came about."""
    height: int
    """Of the visible area, in photosites."""
    width: int
    picture: tuple[int, int]
    """(height, width) of the picture that `develop` makes."""
    crop: CropBox | None
    """Top, left, height, width of the camera's crop; None where there is none."""
    pixel_aspect: float
    black_level: tuple[float, ...]
    """DN, in the order R, Gr, Gb, B."""
    white_level: tuple[float, ...]
    white_balance: tuple[float, ...]
    """Gains that multiply R, G, B."""
    is_guessed: bool
    """Whether the file does not tell the white balance."""
    light: tuple[float, float] | None
    """Kelvin and tint of that; None where the camera's color is not known."""
    color_matrix: tuple[float, ...]
    """Kelvin of the lights for which there is a color matrix, one or two; 0 where the light is not told."""
    has_matrix: bool
    clipped: tuple[float, float, float]
    """Share of the photosites of R, G, B that are at white."""
    dark: float
    """Share of all that are at black or below."""
    hot_pixels: int | None
    """Single hot and dead photosites, which are repaired; None where no mosaic is looked at for them."""
    noise: tuple[float, float] | None
    """Shot and read noise by `imaging.noise.estimate_noise`."""
    corrections: tuple[str, ...]
    """Lens corrections in the file that are applied."""
    left_out: tuple[str, ...]
    """Operations that the file asks for and that are not applied."""
    sidecars: tuple[str, ...]
    """Names of those beside it that are read."""
    jpeg: tuple[int, int] | None
    """(height, width) of the embedded JPEG."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """What can be told of a file without developing it."""

    file: Path
    error: str = ""
    """Why it is refused; nothing else is known then."""
    facts: Facts | None = None
    serving: Serving | None = None


class Examiner:
    """Looks at files one by one; engines and their speed are kept for the next.

    Args:
        weights: Those for all, or a function that says which for each.
        read: How to read a file, where it is no RAW, such as a bare mosaic.
        backend: As for `pipeline.develop`, like the other arguments.
        precision: Likewise.
        memory: Likewise, in GB.
    """

    def __init__(
        self,
        weights: Weights | Callable[[Photo], Weights] = pick,
        read: Callable[[Path], AnyRaw] = read_any,
        backend: Backend = "auto",
        precision: Precision = "auto",
        memory: float | None = None,
    ) -> None:
        self.weights, self.read = weights, read
        self.backend, self.precision, self.memory = backend, precision, memory
        self._developers: dict[tuple[str, str], Developer] = {}
        self._rates: dict[tuple[str, str], float] = {}

    def examine(self, file: Path) -> Diagnosis:
        """Look at a file; whatever goes wrong with it stands in the result.

        Args:
            file: A RAW.
        """
        try:
            began = time.monotonic()
            raw = self.read(file)
            reading = time.monotonic() - began
            facts = look_at(raw, file)
            return Diagnosis(file, facts=facts, serving=self._serve(raw, facts, reading))
        except Exception as error:  # of a decoder or the memory: it is this file's, not the others'
            return Diagnosis(file, error=tell_failure(file, error))

    def _serve(self, raw: AnyRaw, facts: Facts, reading: float) -> Serving:
        weights = self.weights if isinstance(self.weights, Weights) else self.weights(raw)
        card = weights.card
        told = Serving(card.name, notes=weights.notes)
        if card.camera is not None:
            is_own = card.camera.name == raw.camera
            told = replace(told, look=card.camera.name, photos=len(card.camera.pairs), is_own_camera=is_own)
        try:
            key = weights.sha256, card.name
            if key not in self._developers:
                self._developers[key] = Developer(weights, self.backend, self.precision, self.memory)
            developer = self._developers[key]
            told = replace(told, engine=developer.engine.description)
            told = replace(told, nearness=_nearness(card, facts, developer.measure(raw).gain))
            planes = planes_of(developer.engine, raw, card.convention).shape
            picture = np.empty((facts.height, facts.width, 3), np.uint8)
            needed, window = developer.engine.forecast(planes[1:], picture)
            if key not in self._rates:
                self._rates[key] = _seconds_per_pixel(developer, raw)
            seconds = reading + self._rates[key] * facts.height * facts.width
            return replace(told, seconds=seconds, memory_bytes=resident_memory() + needed, window=window)
        except InputError as error:
            return replace(told, obstacle=str(error))


def look_at(raw: AnyRaw, file: Path) -> Facts:
    """What a RAW holds.

    Args:
        raw: The RAW.
        file: The file it was read from.

    Returns:
        The facts; nothing is developed for them.
    """
    shot = shot_of(raw.exif)
    height, width = size_of(raw)
    rows, columns = raw.crop[2:] if raw.crop else (height, width)
    shown = square_size(rows, columns, raw.pixel_aspect)
    planes = _planes(raw)
    clipped = [float((plane >= white).mean()) for plane, white in zip(planes, raw.white_level, strict=True)]
    dark = [float((plane <= black).mean()) for plane, black in zip(planes, raw.black_level, strict=True)]
    hot_pixels = None
    shading: tuple[Shading, ...] = ()
    if isinstance(raw, LinearImage):
        noise: tuple[float, float] | None = noise_of(raw)
    else:
        hot_pixels = repair_hot_pixels(raw.mosaic, min(raw.black_level), max(raw.white_level))[1]
        noise = estimate_noise(raw.mosaic, raw.cfa, raw.black_level, raw.white_level)
        shading = raw.shading
    light = None
    if raw.color is not None:
        with suppress(ValueError):
            light = temperature_of(raw.color.light(raw.white_balance))
    calibrations = raw.color.calibrations if raw.color else []
    jpeg = None
    if raw.jpeg:
        with suppress(InputError), opened(raw.jpeg) as picture:
            jpeg = picture.height, picture.width
    asked = [note for note in raw.notes if note.startswith(LEFT_OUT)]
    return Facts(
        camera=raw.camera,
        iso=shot.iso,
        taken=shot.taken.isoformat() if shot.taken else "",
        cfa=raw.way if isinstance(raw, LinearImage) else raw.cfa,
        height=height,
        width=width,
        picture=shown[::-1] if raw.orientation >= 5 else shown,
        crop=raw.crop,
        pixel_aspect=raw.pixel_aspect,
        black_level=raw.black_level,
        white_level=raw.white_level,
        white_balance=tuple(map(float, raw.white_balance)),
        is_guessed=any(note.startswith(GUESSED_BALANCE) for note in raw.notes),
        light=light,
        color_matrix=tuple(one.kelvin for one in calibrations if one is not None),
        has_matrix=raw.color is not None or not np.array_equal(raw.cam2rgb, np.eye(3)),
        clipped=(clipped[0], sum(clipped[1:-1]) / len(clipped[1:-1]), clipped[-1]),
        dark=sum(dark) / len(dark),
        hot_pixels=hot_pixels,
        noise=noise,
        corrections=tuple(
            dict.fromkeys("GainMap" if isinstance(one, GainMap) else "FixVignetteRadial" for one in shading)
        ),
        left_out=tuple(
            name for note in asked for name in note.removeprefix(LEFT_OUT).removesuffix(": not applied").split(", ")
        ),
        sidecars=tuple(path.name for path in sidecars_of(file, True)),
        jpeg=jpeg,
        notes=raw.notes,
    )


def _planes(raw: AnyRaw) -> list[NDArray[np.uint16]]:
    """The values in DN of R, Gr, Gb, B, or of R, G, B."""
    if isinstance(raw, LinearImage):
        return [raw.rgb[..., channel] for channel in range(3)]
    return [raw.mosaic[row::2, column::2] for row, column in plane_order(raw.cfa)]


def _nearness(card: Card, facts: Facts, gain: float) -> tuple[Measure, ...]:
    """Measures against what weights learned from; none of weights that did not learn from simulated cameras."""
    recipe = card.training.get("recipe")
    recipe = recipe if isinstance(recipe, Mapping) else {}
    if card.camera is None and recipe.get("data") not in SIMULATED:
        return ()
    simulation = recipe.get("simulation")
    on_card = simulation if isinstance(simulation, Mapping) else {}
    log_shot = _range(on_card, "noise", "log_shot")
    measures = []
    if facts.noise is not None:  # without noise is in the range: a share of what they learned from has none
        learned = (math.exp(log_shot[0]), math.exp(log_shot[1])) if log_shot else SHOT_NOISE
        shot = facts.noise[0]
        measures.append(Measure("shot noise", shot, learned, shot <= learned[1], log_shot is not None))
    for name, value, key, otherwise in (
        ("gain of red", facts.white_balance[0], "red_gain", RED_GAIN),
        ("gain of blue", facts.white_balance[2], "blue_gain", BLUE_GAIN),
    ):
        found = _range(on_card, "cameras", key)
        learned = found or otherwise
        measures.append(Measure(name, value, learned, learned[0] <= value <= learned[1], found is not None))
    spent = sum(facts.clipped[index] * share for index, share in enumerate((0.25, 0.5, 0.25))) + facts.dark
    for name, value, learned in (
        ("brightening in EV", math.log2(gain), BRIGHTENING),
        ("share at white or black", spent, SPENT),
    ):
        measures.append(Measure(name, value, learned, value <= learned[1]))
    return tuple(measures)


def _range(simulation: Mapping[str, Any], group: str, name: str) -> Range | None:
    """A range on a card; None where there is none that makes sense."""
    found = simulation.get(group)
    values = found.get(name) if isinstance(found, Mapping) else None
    if isinstance(values, list | tuple) and len(values) == 2:
        low, high = values
        if all(isinstance(value, int | float) for value in values) and -100 < low <= high < 100:
            return float(low), float(high)
    return None


def _seconds_per_pixel(developer: Developer, raw: AnyRaw) -> float:
    """Time to develop a tile of a RAW, by the photosite; once before that it is compiled for."""
    height, width = (min(side, TILE) for side in size_of(raw))
    top, left = ((side - part) // 4 * 2 for side, part in zip(size_of(raw), (height, width), strict=True))
    place = slice(top, top + height), slice(left, left + width)
    small: AnyRaw
    if isinstance(raw, LinearImage):
        small = replace(raw, rgb=np.ascontiguousarray(raw.rgb[place]), crop=None, pixel_aspect=1.0)
    else:
        tile = np.ascontiguousarray(raw.mosaic[place])
        small = replace(raw, mosaic=tile, crop=None, pixel_aspect=1.0, shading=())
    developer.develop(small, dtype=np.uint8)
    began = time.monotonic()
    developer.develop(small, dtype=np.uint8)
    return (time.monotonic() - began) / (height * width)


def tell(diagnosis: Diagnosis) -> list[str]:
    """A diagnosis as lines for a terminal.

    Args:
        diagnosis: From `Examiner.examine`.

    Returns:
        The file's name, then a line for each fact.
    """
    lines = [str(diagnosis.file)]
    if diagnosis.facts is None or diagnosis.serving is None:
        return [*lines, _line("refused", diagnosis.error.removeprefix(f"{diagnosis.file}: "))]
    told = {**_tell_facts(diagnosis.facts), **_tell_serving(diagnosis.serving)}
    lines += [_line(name, text) for name, text in told.items() if text]
    kept = [note for note in diagnosis.facts.notes if not note.startswith((LEFT_OUT, *GUESSED_BALANCE))]
    return [*lines, *(_line("note", note) for note in (*kept, *diagnosis.serving.notes))]


def _line(name: str, text: str) -> str:
    return f"  {name:<16}{text}"


def _tell_facts(facts: Facts) -> dict[str, str]:
    red, _, blue = facts.white_balance
    light = f", {facts.light[0]:.0f} K, tint {round(facts.light[1]):+d}" if facts.light else ""
    guess = next((note for note in facts.notes if note.startswith(GUESSED_BALANCE)), "")
    balance = f"guessed, for {guess}" if facts.is_guessed else "as shot"
    frame = "the visible area"
    if facts.crop:
        top, left, height, width = facts.crop
        frame = f"the camera's crop of {height}x{width} at {top}, {left}"
    aspect = "" if facts.pixel_aspect == 1 else f"; photosites {facts.pixel_aspect:.3g} times as wide as high"
    return {
        "camera": ", ".join(filter(None, (facts.camera, f"ISO {facts.iso}" if facts.iso else "", facts.taken))),
        "mosaic": f"{facts.cfa}, {facts.height}x{facts.width} ({facts.height * facts.width / 1e6:.2g} MP)",
        "picture": f"{facts.picture[0]}x{facts.picture[1]}: {frame}{aspect}",
        "levels": f"black {_levels(facts.black_level)}, white {_levels(facts.white_level)} DN",
        "white balance": f"{balance} (red {red:.3g}, blue {blue:.3g}{light})",
        "color matrix": _tell_matrix(facts),
        "clipped": "red {}, green {}, blue {}; at black {}".format(*map(_percent, (*facts.clipped, facts.dark))),
        "noise": "" if facts.noise is None else "shot {:.2g}, read {:.2g} (variance, white 1)".format(*facts.noise),
        "hot pixels": _tell_hot_pixels(facts.hot_pixels),
        "lens, applied": ", ".join(facts.corrections) or "no corrections in the file",
        "not applied": ", ".join(facts.left_out),
        "sidecar": ", ".join(facts.sidecars) or "none",
        "embedded JPEG": f"{facts.jpeg[0]}x{facts.jpeg[1]}" if facts.jpeg else "none",
    }


def _tell_hot_pixels(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count}, repaired unless --keep-hot-pixels" if count else "none"


def _tell_matrix(facts: Facts) -> str:
    if not facts.has_matrix:
        return "none: colors are taken as they are"
    lights = [f"{kelvin:.0f} K" for kelvin in facts.color_matrix if kelvin]
    if len(facts.color_matrix) == 2:
        return f"of two illuminants, {' and '.join(lights)}, interpolated"
    return f"of one illuminant{', ' + lights[0] if lights else ''}"


def _tell_serving(serving: Serving) -> dict[str, str]:
    learned = "learned from simulated cameras, no real one among them" if serving.nearness else "no camera's look"
    if serving.look:
        whose = "this camera" if serving.is_own_camera else "another camera"
        learned = f"the look of {serving.look}, {whose}; learned from {serving.photos} of its files"
    within = [f"{one.name} {one.value:.2g}" for one in serving.nearness if one.is_within]
    beyond = [
        f"{one.name} {one.value:.3g} (learned: {one.learned[0]:.3g} to {one.learned[1]:.3g})"
        for one in serving.nearness
        if not one.is_within
    ]
    cost = f"not possible: {serving.obstacle}" if serving.obstacle else ""
    if serving.seconds is not None and serving.memory_bytes is not None:
        parts = f", in windows of {serving.window}" if serving.window else ""
        cost = (
            f"about {serving.seconds:.1f} s, up to about {serving.memory_bytes / 1e9:.1f} GB{parts} ({serving.engine})"
        )
    return {
        "weights": f"{serving.weights}, {learned}",
        "as learned": ", ".join(within) or ("" if serving.nearness else "not known of these weights"),
        "not as learned": "; ".join(beyond),
        "here": cost,
    }


def _levels(levels: tuple[float, ...]) -> str:
    different = levels if len(set(levels)) > 1 else levels[:1]
    return " ".join(f"{level:g}" for level in different)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
