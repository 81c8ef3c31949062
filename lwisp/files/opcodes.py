"""DNG's opcode lists: what a file asks to be done to its picture, read, and told apart by what is done here.

The lists are big-endian whatever the file is. Nothing in them is believed: a list that ends early, or an operation
whose numbers make no sense, is left out and said.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lwisp.imaging.shading_maps import Frame, GainMap, RadialGain, Shading

OpcodeLists = tuple[bytes, bytes, bytes]
"""OpcodeList1, 2 and 3 as a file has them, each empty where it has none: for the values as stored, for the mosaic in
linear light, for the demosaiced picture."""

NO_LISTS: OpcodeLists = (b"", b"", b"")
NAMES = {
    1: "WarpRectilinear (lens distortion)",
    2: "WarpFisheye (lens distortion)",
    3: "FixVignetteRadial (lens shading)",
    4: "FixBadPixelsConstant",
    5: "FixBadPixelsList",
    6: "TrimBounds",
    7: "MapTable",
    8: "MapPolynomial",
    9: "GainMap (lens shading)",
    10: "DeltaPerRow",
    11: "DeltaPerColumn",
    12: "ScalePerRow",
    13: "ScalePerColumn",
    14: "WarpRectilinear2 (lens distortion)",
}
"""Operations by their number."""
VIGNETTE, GAIN_MAP = 3, 9
LEFT_OUT = "the file asks for "
"""How the note begins that names operations which are not applied."""
MAX_OPCODES = 1000
MAX_GAIN = 1000.0
GAIN_MAP_HEAD = ">10L4dL"
VIGNETTE_PARTS = ">7d"
COLORS = 3


@dataclass(frozen=True)
class Asked:
    """What opcode lists ask for."""

    shading: tuple[Shading, ...] = ()
    """What can be applied to a mosaic, in its order."""
    left_out: tuple[str, ...] = ()
    """Names of the other operations, each once."""
    is_damaged: bool = False
    """Whether a part of the lists could not be read."""

    @property
    def notes(self) -> list[str]:
        """Messages for the user about what is not applied."""
        found = []
        if self.left_out:
            found.append(f"{LEFT_OUT}{', '.join(self.left_out)}: not applied")
        if self.is_damaged:
            found.append("the file's list of lens corrections is damaged: not applied from there on")
        return found


def read_lists(lists: OpcodeLists, frame: Frame) -> Asked:
    """What the opcode lists of a DNG ask for.

    GainMap and FixVignetteRadial of lists 2 and 3 can be applied; what list 3 asks for a color of the demosaiced
    picture is asked for the photosites of this color.

    Args:
        lists: The lists.
        frame: The active area, to which the lists refer.
    """
    shading: list[Shading] = []
    left_out: list[str] = []
    is_damaged = False
    for index, content in enumerate(lists):
        try:
            for number, data in _split(content):
                if index and number == GAIN_MAP:
                    shading.append(_gain_map(data, frame, is_demosaiced=index == 2))
                elif index and number == VIGNETTE:
                    shading.append(_vignette(data, frame))
                else:
                    left_out.append(NAMES.get(number, f"operation {number}"))
        except (ValueError, struct.error):
            is_damaged = True
    return Asked(tuple(shading), tuple(dict.fromkeys(left_out)), is_damaged)


def _split(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and parameters of each operation. Raises `ValueError` or `struct.error` where the list ends early."""
    if not content:
        return
    (count,) = struct.unpack_from(">L", content)
    place = 4
    for _ in range(min(count, MAX_OPCODES)):
        number, _version, _flags, size = struct.unpack_from(">4L", content, place)
        place += 16
        if place + size > len(content):
            raise ValueError(f"expected {size} bytes, got {len(content) - place}")
        yield number, content[place : place + size]
        place += size


def _gain_map(data: bytes, frame: Frame, is_demosaiced: bool) -> GainMap:
    """A GainMap. Raises `ValueError` or `struct.error` where it makes no sense."""
    numbers = struct.unpack_from(GAIN_MAP_HEAD, data)
    top, left, bottom, right, plane, planes, row_pitch, column_pitch, down, across = numbers[:10]
    spacing, origin, map_planes = numbers[10:12], numbers[12:14], numbers[14]
    gains = np.frombuffer(data, ">f4", offset=struct.calcsize(GAIN_MAP_HEAD))
    if not (down and across and map_planes and planes and row_pitch and column_pitch):
        raise ValueError("expected a map of some gains for some photosites")
    if len(gains) < down * across * map_planes:
        raise ValueError(f"expected {down * across * map_planes} gains, got {len(gains)}")
    gains = gains[: down * across * map_planes].reshape(down, across, map_planes).astype(np.float32)
    if not (np.isfinite(gains).all() and gains.min() >= 0 and gains.max() <= MAX_GAIN):
        raise ValueError("expected gains from 0 up")
    spacing = tuple(1.0 if points == 1 else step for points, step in zip((down, across), spacing, strict=True))
    if not (all(1e-6 < step < 1e6 for step in spacing) and all(abs(place) < 1e6 for place in origin)):
        raise ValueError(f"expected a grid over the picture, got steps of {spacing} from {origin}")
    own = [min(color - plane, map_planes - 1) if plane <= color < plane + planes else None for color in range(COLORS)]
    if not is_demosaiced:  # a mosaic is one plane
        own = [0 if plane == 0 else None] * COLORS
    return GainMap(
        frame,
        (top, left, bottom, right),
        (row_pitch, column_pitch),
        (spacing[0], spacing[1]),
        (origin[0], origin[1]),
        gains,
        (own[0], own[1], own[2]),
    )


def _vignette(data: bytes, frame: Frame) -> RadialGain:
    """A FixVignetteRadial. Raises `ValueError` or `struct.error` where it makes no sense."""
    *terms, across, down = struct.unpack_from(VIGNETTE_PARTS, data)
    if not (all(abs(term) < MAX_GAIN for term in terms) and all(abs(place) < 1e3 for place in (across, down))):
        raise ValueError(f"expected terms of a gain and a center, got {terms} at {down}, {across}")
    return RadialGain(frame, (terms[0], terms[1], terms[2], terms[3], terms[4]), (down, across))
