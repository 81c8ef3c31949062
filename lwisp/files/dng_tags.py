"""What a DNG says about light: color matrices, the as-shot light, black levels, opcode lists.

LibRaw answers most of it, but takes one matrix of two, moves an as-shot light told as (x, y) into the matrix, rounds
black levels, and passes over opcode lists.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwisp.files.damage import COLOR_FILTERS, DNG_VERSION, LINEAR
from lwisp.files.opcodes import NO_LISTS, OpcodeLists
from lwisp.imaging.black_levels import BlackLevels
from lwisp.imaging.camera_color import Calibration, CameraColor, Gains, normalize_color, normalize_forward
from lwisp.imaging.shading_maps import Frame
from lwisp.imaging.white_point import temperature_of

Tags = Mapping[int, Any]

COLOR_MATRICES, CALIBRATIONS, FORWARD_MATRICES, ILLUMINANTS, ILLUMINANT_DATA = (
    (50721, 50722, 52531),
    (50723, 50724, 52530),
    (50964, 50965, 52532),
    (50778, 50779, 52529),
    (52533, 52534, 52535),
)
OTHER_LIGHT = 255
"""Of illuminants: one that the file tells by chromaticity or spectrum."""
THIRD_LEFT_OUT = "the file's third color matrix is not used: its light is told in a way that is not read"
ANALOG_BALANCE, AS_SHOT_NEUTRAL, AS_SHOT_WHITE_XY = 50727, 50728, 50729
CALIBRATION_SIGNATURE, PROFILE_SIGNATURE = 50931, 50932
BLACK_REPEAT, BLACK_LEVEL, BLACK_DELTA_H, BLACK_DELTA_V, ACTIVE_AREA = 50713, 50714, 50715, 50716, 50829
NOISE_PROFILE = 51041
"""Shot and read noise: variance = shot * signal + read, of a signal with black 0 and white 1."""
OPCODE_LISTS = (51008, 51009, 51022)
KELVIN = {
    **{1: 5500, 2: 4150, 3: 2850, 4: 5500, 9: 5500, 10: 6500, 11: 7500},  # daylight, fluorescent, tungsten, flash, sky
    **{12: 6400, 13: 5050, 14: 4150, 15: 3525, 16: 2925},  # fluorescent lamps
    **{17: 2850, 18: 5500, 19: 6500, 20: 5500, 21: 6500, 22: 7500, 23: 5000, 24: 3200},  # A, B, C, D55 to D50, studio
}
"""Temperatures of EXIF's light sources, as Adobe's DNG SDK has them."""


@dataclass(frozen=True)
class LightTags:
    """What a DNG says about light; empty of any other file."""

    color: CameraColor | None = None
    as_shot: Gains | None = None
    """The as-shot gains, where they are told as the light's chromaticity."""
    has_chromaticity: bool = False
    black: BlackLevels | None = None
    """Relative to the visible area; None where LibRaw's answer is as good."""
    opcodes: OpcodeLists = NO_LISTS
    handed_on: OpcodeLists = NO_LISTS
    """Those of the lists that are as true of the visible area by itself."""
    frame: Frame = Frame(0, 0, 0, 0)
    """The active area, in photosites of the visible area."""
    noise: tuple[float, float] | None = None
    """Shot and read noise of green: variance = shot * light + read, light from black 0 to white 1."""
    notes: tuple[str, ...] = ()
    """What of it is not used, for the user's eyes."""


def read_light(directories: Sequence[Tags], shape: tuple[int, int], margins: tuple[int, int]) -> LightTags:
    """What a DNG says about light.

    Args:
        directories: Tags of the first directory and of its SubIFDs, from `exif.read_directories`.
        shape: (height, width) of the visible area.
        margins: Rows above it and columns left of it, in the stored mosaic.
    """
    if not any(DNG_VERSION in tags for tags in directories):
        return LightTags()
    own = main_directory(directories)
    tags = {**own, **directories[0]}
    frame = _frame(own, shape, margins)
    first, second, third = (own[tag] if isinstance(own.get(tag), bytes) else b"" for tag in OPCODE_LISTS)
    is_whole = frame == Frame(0, 0, *shape)
    color = _color(tags)
    noise, noise_notes = _noise(tags.get(NOISE_PROFILE))
    has_third = color is not None and _matrix(tags.get(COLOR_MATRICES[2])) is not None
    return LightTags(
        color,
        _as_shot(tags, color),
        AS_SHOT_WHITE_XY in tags,
        _black(own, frame, shape),
        (first, second, third),
        (b"" if any(margins) else first, second if is_whole else b"", third if is_whole else b""),
        frame,
        noise,
        (*((THIRD_LEFT_OUT,) if has_third and color is not None and color.third is None else ()), *noise_notes),
    )


def main_directory(directories: Sequence[Tags]) -> Tags:
    """The tags of a DNG's own picture, its mosaic or what is demosaiced already; empty of any other file.

    Args:
        directories: Tags of the first directory and of its SubIFDs.
    """
    if any(DNG_VERSION in tags for tags in directories):
        for kind in (COLOR_FILTERS, LINEAR):
            found = [tags for tags in directories if (tags.get(262), tags.get(254, 0)) == (kind, 0)]
            if found:
                return max(found, key=_size)
    return {}


def _size(tags: Tags) -> int:
    sides = [tags.get(256), tags.get(257)]
    return sides[0] * sides[1] if isinstance(sides[0], int) and isinstance(sides[1], int) else 0


def _frame(tags: Tags, shape: tuple[int, int], margins: tuple[int, int]) -> Frame:
    area = tags.get(ACTIVE_AREA)
    if isinstance(area, tuple) and len(area) == 4 and all(isinstance(side, int) for side in area):
        top, left, bottom, right = area
        if top < bottom and left < right:
            return Frame(top - margins[0], left - margins[1], bottom - top, right - left)
    height, width = tags.get(257), tags.get(256)
    is_sound = isinstance(height, int) and isinstance(width, int) and min(height, width) > 0
    return Frame(-margins[0], -margins[1], *((height, width) if is_sound else shape))


def numbers_of(value: Any) -> NDArray[np.float64]:
    """The finite numbers of a tag; none where one is not."""
    values = value if isinstance(value, tuple) else (value,)
    try:
        found = np.array([float(one) for one in values], np.float64)
    except (TypeError, ValueError, ArithmeticError):
        return np.empty(0)
    return found if np.isfinite(found).all() else np.empty(0)


def _noise(value: Any) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """Shot and read noise of green of a NoiseProfile, and notes on one that makes no sense."""
    if value is None:
        return None, ()
    numbers = numbers_of(value)
    if len(numbers) not in (2, 6):
        told = f"of {len(value) if isinstance(value, tuple) else 1} numbers, expected 2 or 6 finite ones"
    else:
        shot, read = numbers if len(numbers) == 2 else numbers[2:4]
        if 0 <= shot <= 1 and 0 <= read <= 1 and shot + read > 0:
            return (float(shot), float(read)), ()
        told = f"({shot:g}, {read:g}), expected two numbers of 0 to 1, not both 0"
    return None, (f"the file's noise profile is not used, the noise is measured: it is {told}",)


def _matrix(value: Any) -> NDArray[np.float64] | None:
    numbers = numbers_of(value)
    return numbers.reshape(3, 3) if len(numbers) == 9 else None


def _color(tags: Tags) -> CameraColor | None:
    """The matrices; None where there are none, or they make no sense."""
    balance = numbers_of(tags.get(ANALOG_BALANCE))
    analog = np.diag(balance) if len(balance) == 3 and balance.min() > 0 else None
    is_ours = tags.get(CALIBRATION_SIGNATURE, "") == tags.get(PROFILE_SIGNATURE, "")
    found = [one for one in (_sound_calibration(tags, index, analog, is_ours) for index in (0, 1)) if one is not None]
    found.sort(key=lambda calibration: calibration.kelvin)
    if not found:
        return None
    if len(found) == 2 and 0 < found[0].kelvin < found[1].kelvin:
        third = _sound_calibration(tags, 2, analog, is_ours)
        return CameraColor(found[0], found[1], third if third is not None and third.kelvin > 0 else None)
    return CameraColor(found[-1])


def _sound_calibration(tags: Tags, index: int, analog: NDArray[np.float64] | None, is_ours: bool) -> Calibration | None:
    """The calibration of this index; None where there is none, or it makes no sense."""
    try:
        calibration = _calibration(tags, index, analog, is_ours)
        if calibration is not None:
            CameraColor(calibration)
    except ValueError:
        return None
    return calibration


def _calibration(tags: Tags, index: int, analog: NDArray[np.float64] | None, is_ours: bool) -> Calibration | None:
    color = _matrix(tags.get(COLOR_MATRICES[index]))
    if color is None:
        return None
    forward = _matrix(tags.get(FORWARD_MATRICES[index]))
    unit = _matrix(tags.get(CALIBRATIONS[index])) if is_ours else None
    if analog is not None:
        unit = analog if unit is None else analog @ unit
    kelvin, tint = _light(tags, index)
    told = None if forward is None else normalize_forward(forward)
    return Calibration(kelvin, normalize_color(color), told, unit, tint)


def _light(tags: Tags, index: int) -> tuple[float, float]:
    """Temperature and tint of the light of a calibration; (0, 0) where it is not known."""
    illuminant, data = tags.get(ILLUMINANTS[index], 0), tags.get(ILLUMINANT_DATA[index])
    if illuminant != OTHER_LIGHT or not isinstance(data, bytes) or len(data) != 18:
        return float(KELVIN.get(illuminant, 0)), 0.0
    for order in "<>":
        kind, *parts = struct.unpack(f"{order}H4L", data)
        if kind == 0 and parts[1] and parts[3]:  # a chromaticity; others are spectra
            x, y = parts[0] / parts[1], parts[2] / parts[3]
            if min(x, y) > 0.01 and x + y < 1:
                return temperature_of((x, y))
    return 0.0, 0.0


def _as_shot(tags: Tags, color: CameraColor | None) -> Gains | None:
    """The gains for AsShotWhiteXY; None where the file has a neutral, or the light is no light of the camera's."""
    light = numbers_of(tags.get(AS_SHOT_WHITE_XY))
    if color is None or AS_SHOT_NEUTRAL in tags or len(light) != 2:
        return None
    if not (light.min() > 0.01 and light.sum() < 1):
        return None
    try:
        return color.gains((float(light[0]), float(light[1])))
    except ValueError:
        return None


def _black(tags: Tags, frame: Frame, shape: tuple[int, int]) -> BlackLevels | None:
    """Black levels where LibRaw's are not exact: fractions, rows or columns of their own, other patterns than 2x2."""
    repeat = numbers_of(tags.get(BLACK_REPEAT, (1, 1)))
    levels = numbers_of(tags.get(BLACK_LEVEL, 0))
    height, width = (int(repeat[0]), int(repeat[1])) if len(repeat) == 2 else (1, 1)
    if min(height, width) < 1 or len(levels) != height * width or levels.min() < 0:
        return None
    rows = _delta(tags.get(BLACK_DELTA_V), frame.top, frame.height, shape[0])
    columns = _delta(tags.get(BLACK_DELTA_H), frame.left, frame.width, shape[1])
    is_plain = (levels % 1 == 0).all() and max(height, width) <= 2 and not (rows.any() or columns.any())
    is_moved = frame.top % 2 or frame.left % 2
    if is_plain and not (is_moved and np.ptp(levels)):
        return None
    pattern = np.roll(levels.reshape(height, width), (frame.top, frame.left), (0, 1))
    return BlackLevels(pattern, rows, columns)


def _delta(value: Any, start: int, count: int, side: int) -> NDArray[np.float64]:
    """Parts (side,) of the black level; 0 where the file has none, or not as many as its active area has lines."""
    numbers = numbers_of(value)
    found = np.zeros(side)
    if len(numbers) == count:
        lines = np.arange(side) - start
        inside = (lines >= 0) & (lines < count)
        found[inside] = numbers[lines[inside]]
    return found
