"""Color spaces that finished pictures are written in, each with its ICC profile."""

import struct
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lwisp.files.icc import assemble, srgb_profile, text_tag
from lwisp.imaging.coding import D50, primaries_to_own_xyz, to_d50
from lwisp.imaging.white_point import D65

ProfileName = Literal["srgb", "p3", "rec2020"]
"""Names of the color spaces."""

PROFILE_NAMES: tuple[ProfileName, ...] = get_args(ProfileName)

SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""From code value to light: ((a x + b) ^ g) from d on, c x below; as (g, a, b, c, d), IEC 61966-2-1."""
REC2020_CURVE = (1 / 0.45, 1 / 1.09929683, 0.09929683 / 1.09929683, 1 / 4.5, 4.5 * 0.01805397)
"""The same of ITU-R BT.2020."""


@dataclass(frozen=True)
class ColorSpace:
    """An RGB color space by its primaries and its curve."""

    description: str
    primaries: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    """Chromaticities (x, y) of red, green, blue."""
    curve: tuple[float, float, float, float, float]
    """From code value to light, as `SRGB_CURVE`."""

    def to_xyz(self) -> NDArray[np.float64]:
        """(3, 3): linear RGB to XYZ, white at Y = 1."""
        return primaries_to_own_xyz(D65, *self.primaries)

    def decode(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Code values in [0, 1] to light."""
        gamma, a, b, c, d = (np.float32(number) for number in self.curve)
        light: NDArray[np.float32] = np.where(values >= d, np.maximum(a * values + b, 0) ** gamma, c * values)
        return light

    def encode(self, light: NDArray[np.float32]) -> NDArray[np.float32]:
        """Light in [0, 1] to code values."""
        gamma, a, b, c, d = (np.float32(number) for number in self.curve)
        curved = (np.maximum(light, 0) ** (1 / gamma) - b) / a
        values: NDArray[np.float32] = np.where(light >= c * d, curved, light / c)
        return values


SPACES: dict[ProfileName, ColorSpace] = {
    "srgb": ColorSpace("sRGB", ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), SRGB_CURVE),
    "p3": ColorSpace("Display P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), SRGB_CURVE),
    "rec2020": ColorSpace("Rec. 2020", ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), REC2020_CURVE),
}


def from_srgb(rgb: NDArray[Any], name: ProfileName) -> NDArray[Any]:
    """A picture in sRGB as the same colors in another space.

    Args:
        rgb: (H, W, 3): floats in [0, 1], or uint8 or uint16 over their range.
        name: The color space.

    Returns:
        (H, W, 3) float32 in [0, 1]; for "srgb" `rgb` itself.
    """
    if name == "srgb":
        return rgb
    srgb, space = SPACES["srgb"], SPACES[name]
    matrix = np.linalg.solve(space.to_xyz(), srgb.to_xyz()).astype(np.float32)
    scale = np.float32(1 if np.issubdtype(rgb.dtype, np.floating) else np.iinfo(rgb.dtype).max)
    converted = np.empty(rgb.shape, np.float32)
    for row in range(len(rgb)):  # a row at a time: the whole picture in floats would take four times its memory
        light = srgb.decode(rgb[row].astype(np.float32) / scale) @ matrix.T
        converted[row] = space.encode(np.clip(light, 0, 1))
    return converted


@cache
def profile_of(name: ProfileName) -> bytes:
    """The ICC profile of a color space.

    Args:
        name: The color space.

    Returns:
        LittleCMS's own for "srgb"; of others one of version 4 with matrix and parametric curves.
    """
    if name == "srgb":
        return srgb_profile()
    space = SPACES[name]
    to_xyz = space.to_xyz()
    adapt = to_d50(to_xyz.sum(1))
    red, green, blue = (adapt @ to_xyz).T
    curve = b"para\0\0\0\0\0\3\0\0" + _fixed(space.curve)
    tags = {
        b"desc": text_tag(space.description),
        b"cprt": text_tag("No copyright, use freely"),
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(D50),
        b"chad": b"sf32\0\0\0\0" + _fixed(adapt.ravel()),
        b"rXYZ": b"XYZ \0\0\0\0" + _fixed(red),
        b"gXYZ": b"XYZ \0\0\0\0" + _fixed(green),
        b"bXYZ": b"XYZ \0\0\0\0" + _fixed(blue),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    header = b"\0\0\0\0" + struct.pack(">I4s4s4s", 0x04300000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H", 2022, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(D50)
    return assemble(header, tags)


def _fixed(numbers: Any) -> bytes:
    """Numbers as ICC's s15Fixed16."""
    return b"".join(struct.pack(">i", round(float(number) * 65536)) for number in numbers)
