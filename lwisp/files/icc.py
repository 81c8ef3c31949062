"""ICC profiles of pictures: sRGB and its gray, and from others to sRGB.

What a profile is called says nothing here: colors go through it, and what comes out decides.
"""

import io
import struct
from collections.abc import Mapping
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from lwisp.imaging.coding import GRID, SRGB_TO_XYZ, Coding, tabulate

Space = Literal["RGB", "GRAY", "CMYK", "LAB"]
"""Color spaces of the pictures that a profile may be for."""

SPACES: dict[bytes, Space] = {b"RGB ": "RGB", b"GRAY": "GRAY", b"CMYK": "CMYK", b"Lab ": "LAB"}
MODES: dict[Space, str] = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "LAB": "LAB"}
"""Pillow's modes of them."""
HEADER = 128
"""Bytes."""
MOST_TAGS = 200
TABLES = (b"A2B0", b"A2B1", b"A2B2", b"D2B0", b"D2B1", b"D2B2", b"D2B3")
"""Tags of profiles that convert by tables of colors, whatever curves they have beside."""
PARAMETERS = (1, 3, 4, 5, 7)
"""Numbers of a parametric curve, by its type."""


@cache
def srgb_profile() -> bytes:
    """LittleCMS's sRGB profile, its date set still so that equal pictures are equal files."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2022, 1, 1, 0, 0, 0)
    return bytes(profile)


@cache
def gray_profile() -> bytes:
    """A profile of grays with sRGB's curve."""
    source = srgb_profile()
    tags = _tags(source)
    kept = {b"desc": text_tag("sRGB Gray"), b"cprt": tags[b"cprt"], b"wtpt": tags[b"wtpt"], b"kTRC": tags[b"rTRC"]}
    return assemble(source[4:16] + b"GRAY" + source[20:84], kept)


def assemble(header: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    """An ICC profile of these tags (ICC.1:2010, sections 7.2 and 7.3).

    Args:
        header: What follows the profile's size in its header; what is missing at the end is zero.
        tags: Contents by their names of four letters.

    Returns:
        The profile.
    """
    table, body = struct.pack(">I", len(tags)), b""
    start = HEADER + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    return (struct.pack(">I", start + len(body)) + header).ljust(HEADER, b"\0") + table + body


def text_tag(text: str) -> bytes:
    """A text as ICC's multi-localized Unicode, in American English."""
    letters = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(letters), 28) + letters


def space_of(profile: bytes) -> Space | None:
    """What pictures an ICC profile is for; None of one that is damaged, or for none that are read here."""
    try:
        ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (ImageCms.PyCMSError, OSError):
        return None
    return SPACES.get(profile[16:20])


def is_srgb(profile: bytes) -> bool:
    """Whether an ICC profile for RGB is sRGB: a fixed set of colors goes through it and comes out within 1 of 255."""
    grays = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
    colors = np.concatenate([np.rint(GRID * 255).astype(np.uint8), grays])[None]
    converted = convert(Image.fromarray(colors), profile)
    return converted is not None and bool(np.abs(np.asarray(converted).astype(int) - colors).max() <= 1)


def convert(picture: Image.Image, profile: bytes) -> Image.Image | None:
    """A picture converted from its ICC profile to sRGB, at 8 bits.

    Args:
        picture: The picture, of the mode that the profile is for: "RGB", "L", "CMYK" or "LAB".
        profile: Content of the ICC profile.

    Returns:
        The picture of mode "RGB"; None where the profile is damaged, or for another kind of picture.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None


def to_srgb(rgb: Image.Image, profile: bytes) -> Image.Image:
    """An RGB picture converted from its ICC profile to sRGB.

    Args:
        rgb: The picture, of mode "RGB".
        profile: Content of the ICC profile.

    Returns:
        The picture in sRGB; `rgb` itself where the profile is damaged or not one for RGB.
    """
    return convert(rgb, profile) or rgb


def lab_to_srgb(picture: Image.Image) -> Image.Image:
    """A picture of mode "LAB" (CIE L*a*b* under D50) in sRGB, of mode "RGB"."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    converted = convert(picture, profile.tobytes())
    if converted is None:
        raise ValueError("expected a picture of mode LAB")
    return converted


def coding_of(profile: bytes) -> Coding | None:
    """What an ICC profile does, to be computed at more than 8 bits.

    Args:
        profile: Content of the profile, for RGB or grays.

    Returns:
        None of a profile that converts by tables of colors, is for other pictures, or is damaged.
    """
    try:
        tags = _tags(profile)
        if any(name in tags for name in TABLES):
            return None
        if profile[16:20] == b"GRAY":
            curve = _curve(tags[b"kTRC"])
            if profile[20:24] == b"Lab ":
                curve = _light(curve)
            return Coding(np.stack([curve] * 3), SRGB_TO_XYZ)
        if profile[16:24] != b"RGB XYZ ":
            return None
        curves = np.stack([_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")])
        columns = [_numbers(tags[name][8:], 3) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    except (KeyError, ValueError, struct.error):
        return None
    return Coding(curves, np.array(columns).T)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """Contents of a profile's tags; raises `struct.error` where it is cut short."""
    (count,) = struct.unpack_from(">I", profile, HEADER)
    tags = {}
    for index in range(min(count, MOST_TAGS)):
        name, start, length = struct.unpack_from(">4sII", profile, HEADER + 4 + 12 * index)
        tags[name] = profile[start : start + length]
    return tags


def _numbers(content: bytes, count: int) -> list[float]:
    return [number / 65536 for number in struct.unpack_from(f">{count}i", content)]


def _curve(tag: bytes) -> NDArray[np.float32]:
    """The table of a tag of the type "curv" or "para" (ICC.1:2010, sections 10.5 and 10.15)."""
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        values = np.frombuffer(tag[12 : 12 + 2 * count], ">u2")
        if len(values) != count:
            raise ValueError("a curve cut short")
        if count == 0:
            return tabulate(lambda x: x)
        if count == 1:
            return tabulate(lambda x: x ** (values[0] / 256))
        return tabulate(lambda x: np.interp(x, np.linspace(0, 1, count), values / 65535))
    if tag[:4] != b"para":
        raise ValueError("a curve of another type")
    (kind,) = struct.unpack_from(">H", tag, 8)
    if kind >= len(PARAMETERS):
        raise ValueError("a curve of another type")
    gamma, a, b, c, d, e, f = [*_numbers(tag[12:], PARAMETERS[kind]), *[0.0] * 6][:7]
    if kind == 0:
        return tabulate(lambda x: x**gamma)
    if kind in (1, 2):  # (a x + b)^g + c from -b / a on, c below
        return tabulate(lambda x: np.maximum(a * x + b, 0) ** gamma + c)
    return tabulate(lambda x: np.where(x >= d, np.maximum(a * x + b, 0) ** gamma + e, c * x + f))


def _light(lightness: NDArray[np.float32]) -> NDArray[np.float32]:
    """CIE lightness in [0, 1] to light."""
    values = lightness.astype(np.float64) * 100
    light = np.where(values > 8, ((values + 16) / 116) ** 3, values / 903.2963)
    return light.astype(np.float32)
