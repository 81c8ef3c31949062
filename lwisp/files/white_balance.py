"""White balance by words, as `--white-balance` and the library take them, put on a RAW."""

import math
from dataclasses import dataclass, replace
from typing import TypeVar

from lwisp.errors import ArgumentError, InputError
from lwisp.files.linear import AnyRaw, LinearImage
from lwisp.files.raw import GUESSED_BALANCE
from lwisp.imaging.automatic_balance import average, estimate_from_cells, estimate_gains
from lwisp.imaging.camera_color import LARGEST_GAIN, Gains, matrix_under
from lwisp.imaging.white_point import D65, KELVIN_RANGE, TINT_RANGE, Chromaticity, light_of

AS_SHOT, AUTO, DAYLIGHT = "as-shot", "auto", "daylight"
FORMS = (
    f"{AS_SHOT}, {AUTO}, {DAYLIGHT}, KELVIN ({KELVIN_RANGE[0]:g} to {KELVIN_RANGE[1]:g}), KELVIN,TINT "
    f"({TINT_RANGE[0]:g} to {TINT_RANGE[1]:g}) or the gains R,G,B"
)
"""What may be written, for messages."""

R = TypeVar("R", bound=AnyRaw)


@dataclass(frozen=True)
class Balance:
    """A white balance as somebody asked for it: a word, or the light of the scene, or gains."""

    words: str
    """As it was written."""
    light: Chromaticity | None = None
    gains: Gains | None = None
    """G = 1."""


def parse_balance(words: str) -> Balance:
    """A white balance out of words.

    Args:
        words: "as-shot", what the camera took, or where it did not say, as "auto"; "auto", estimated from the picture;
            "daylight", D65; "5200", kelvin of natural light: a black body's up to 4000 K, daylight's from 5000 K;
            "5200,10", kelvin and tint, as in `imaging.white_point`; "2.1,1,1.6", gains that multiply R, G and B.

    Raises:
        InputError: They are none of these.
    """
    word = words.strip().lower() if isinstance(words, str) else ""
    if word in (AS_SHOT, AUTO):
        return Balance(word)
    if word == DAYLIGHT:
        return Balance(word, D65)
    try:
        numbers = [float(part) for part in word.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) in (1, 2) and _is_light(*numbers):
        return Balance(word, light_of(*numbers))
    if len(numbers) == 3 and all(0 < number < math.inf for number in numbers):
        red, green, blue = numbers
        if max(numbers) < LARGEST_GAIN * min(numbers):
            return Balance(word, gains=(red / green, 1.0, blue / green))
    raise ArgumentError(f"expected a white balance of {FORMS}, got {words!r}")


def _is_light(kelvin: float, tint: float = 0.0) -> bool:
    return KELVIN_RANGE[0] <= kelvin <= KELVIN_RANGE[1] and TINT_RANGE[0] <= tint <= TINT_RANGE[1]


def with_balance(raw: R, balance: Balance, name: str = "the RAW") -> R:
    """A RAW with another white balance, and the color matrix that belongs to it.

    Args:
        raw: The RAW, which stays as it is.
        balance: From `parse_balance`.
        name: What messages call the RAW.

    Returns:
        The RAW; its notes say how an automatic balance came about. A monochrome one, which has none, as it is.

    Raises:
        InputError: The balance needs to know the camera's color, and the file has no color matrix; or its sensor cannot
            show this light.
    """
    if balance.words == AS_SHOT or (isinstance(raw, LinearImage) and raw.is_gray):
        return raw
    notes = tuple(note for note in raw.notes if not note.startswith(GUESSED_BALANCE))
    if balance.gains is not None:
        gains = balance.gains
    elif balance.light is None:
        gains, how = _estimate(raw)
        notes += (f"automatic white balance: {how}",)
    elif raw.color is None:
        raise InputError(
            f"{name}: no color matrix for this camera, which a white balance of {balance.words} needs; "
            f"take {AUTO}, or gains as 2,1,1.5"
        )
    else:
        try:
            gains = raw.color.gains(balance.light)
        except ValueError as error:
            raise InputError(
                f"{name}: the camera's color matrix has no white balance of {balance.words}; take {AUTO}, or gains as "
                "2,1,1.5"
            ) from error
    return replace(raw, white_balance=gains, cam2rgb=matrix_under(gains, raw.color, raw.cam2rgb), notes=notes)


def _estimate(raw: AnyRaw) -> tuple[Gains, str]:
    """Gains estimated from the picture, and how."""
    if isinstance(raw, LinearImage):
        return estimate_from_cells(*average(raw.rgb, raw.black_level, raw.white_level), raw.color)
    return estimate_gains(raw.mosaic, raw.cfa, raw.black_level, raw.white_level, raw.color)
