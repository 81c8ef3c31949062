"""Finished pictures of any color space in sRGB: what a file tells of its colors, and its pixels made of it."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lwisp.errors import UnsupportedError
from lwisp.files.exif import EXIF_IFD, INTEROPERABILITY_IFD
from lwisp.files.icc import coding_of, convert, is_srgb, lab_to_srgb, space_of
from lwisp.files.profiles import SPACES
from lwisp.files.samples import Pixels, lost_bits, read_samples
from lwisp.imaging.coding import Coding, decode_srgb, primaries_to_xyz, tabulate
from lwisp.imaging.pixels import average_channels
from lwisp.imaging.white_point import D65

ADOBE_PRIMARIES = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
ADOBE_GAMMA = 2.19921875
"""Adobe RGB (1998), sections 4.3.1 and 4.3.4."""
PRIMARIES = {9: SPACES["rec2020"].primaries, 12: SPACES["p3"].primaries}
"""Of ITU-T H.273's numbers those that are wider than sRGB's: BT.2020 and Display P3."""
GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
"""Its transfer characteristics that are powers; of others the curve is taken for sRGB's, as everyone does."""
HDR = {16: "PQ", 18: "HLG"}
SRGB_GAMMA = (0.45, 0.46)
"""PNG's gAMA that stands for sRGB's curve: 0.45455 is what its specification writes with it."""
UNCALIBRATED = "R03"
"""EXIF's InteroperabilityIndex of Adobe RGB (DCF 2.0); its ColorSpace is then 65535, or 2 by custom."""
HEAD = 2**16
"""Bytes of a PNG that are searched for the chunk cICP, which comes before its pixels."""

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From code value to light."""
NOT_RGB = "its profile is for pictures of another kind and was left aside"
DAMAGED = "its color profile is damaged: its colors are taken for sRGB"


class Rendered(NamedTuple):
    """A picture in sRGB."""

    rgb: Pixels
    """(H, W, 3), over the type's range; of grays three times the same."""
    is_gray: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Told:
    """What a file tells of its colors."""

    profile: bytes = b""
    coding: Coding | None = None
    """Without a profile; None for sRGB."""
    notes: tuple[str, ...] = ()


def render(content: Path | bytes, name: str, picture: Image.Image, max_pixels: float) -> Rendered:
    """A picture in sRGB, not turned upright.

    Args:
        content: The picture's file, or its content.
        name: What messages call it.
        picture: The picture, open.
        max_pixels: As for `decoding.opened`.

    Returns:
        Pixels of 8 bits, or of 16 where the file has them; what of the colors is lost stands in the notes.

    Raises:
        InputError: The picture is HDR, or has samples that are not read.
    """
    told = _tell(content, name, picture)
    notes = told.notes
    if bits := lost_bits(picture):
        notes += (f"of {bits} bits a color: read at 8",)
    if picture.mode == "F" and not told.profile:
        notes += ("a TIFF of floats without a profile: taken for sRGB's code values, not for light",)
    if picture.mode == "CMYK":
        mixed, found = _from_inks(picture, told.profile)
        return Rendered(mixed, False, (*notes, *found))
    if picture.mode == "LAB":
        return Rendered(np.array(lab_to_srgb(picture)), False, notes)
    values = read_samples(content, name, picture, max_pixels)
    is_gray = values.ndim == 2
    rgb: NDArray[Any] = np.repeat(values[..., None], 3, -1) if is_gray else values
    if told.coding is not None:
        rgb = told.coding.to_srgb(rgb)
    elif told.profile:
        rgb, found = _through_profile(rgb, is_gray, told.profile)
        notes += found
    if is_gray and not np.array_equal(rgb[..., 0], rgb[..., 1]):  # by a profile for RGB
        rgb = np.repeat(average_channels(rgb)[..., None], 3, -1)
    return Rendered(rgb, is_gray, notes)


def _through_profile(rgb: NDArray[Any], is_gray: bool, profile: bytes) -> tuple[NDArray[Any], tuple[str, ...]]:
    """(H, W, 3) in sRGB, and notes."""
    space = space_of(profile)
    if space is None:
        return rgb, (DAMAGED,)
    if space not in (("RGB", "GRAY") if is_gray else ("RGB",)):
        return rgb, (NOT_RGB,)
    if space == "RGB" and is_srgb(profile):
        return rgb, ()
    coding = coding_of(profile)
    if coding is not None and (space == "GRAY" or rgb.dtype == np.uint16):
        return (rgb if coding.is_srgb() else coding.to_srgb(rgb)), ()
    shallow = (rgb >> 8).astype(np.uint8) if rgb.dtype == np.uint16 else rgb
    picture = Image.fromarray(np.ascontiguousarray(shallow[..., 0]) if space == "GRAY" else shallow)
    converted = convert(picture, profile)
    if converted is None:
        return rgb, (DAMAGED,)
    notes = ("its profile is one of tables: converted, at 8 bits",) if rgb.dtype == np.uint16 else ()
    return np.array(converted), notes


def _from_inks(picture: Image.Image, profile: bytes) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """(H, W, 3) uint8 of a CMYK picture, and notes."""
    if picture.format in ("JPEG", "MPO") and "adobe" not in picture.info:
        picture = Image.fromarray(255 - np.array(picture), "CMYK")  # Pillow takes all for inverted, as Adobe's are
    if profile and space_of(profile) == "CMYK":
        converted = convert(picture, profile)
        if converted is not None:
            return np.array(converted), ()
    why = "without a profile" if not profile else "its profile damaged, or not one for CMYK"
    return np.array(picture.convert("RGB")), (f"CMYK, {why}: converted by arithmetic, its colors are a guess",)


def _tell(content: Path | bytes, name: str, picture: Image.Image) -> _Told:
    info = picture.info
    profile = info.get("icc_profile")
    if picture.format == "PNG":
        coded = _find_cicp(content)
        if coded is not None:
            return _coded(name, *coded)
        if "srgb" in info:
            return _Told()
        if not profile:
            return _from_chunks(info)
    if isinstance(profile, bytes) and profile:
        return _Told(profile)
    if "nclx_profile" in info:
        nclx = info["nclx_profile"]
        return _coded(name, nclx.get("color_primaries", 1), nclx.get("transfer_characteristics", 13))
    if picture.format != "PNG" and _is_adobe_rgb(picture.getexif()):
        return _Told(coding=_coding(_power(ADOBE_GAMMA), D65, ADOBE_PRIMARIES))
    return _Told()


def _coding(curve: Curve, white: tuple[float, float], primaries: tuple[tuple[float, float], ...]) -> Coding:
    return Coding(np.stack([tabulate(curve)] * 3), primaries_to_xyz(white, *primaries))


def _power(exponent: float) -> Curve:
    def curve(values: NDArray[np.float64]) -> NDArray[np.float64]:
        light: NDArray[np.float64] = values**exponent
        return light

    return curve


def _coded(name: str, primaries: int, transfer: int) -> _Told:
    """By the numbers of ITU-T H.273."""
    if transfer in HDR:
        raise UnsupportedError(f"{name}: an HDR picture ({HDR[transfer]}); expected one of standard range, save it so")
    if primaries not in PRIMARIES and transfer not in GAMMAS:
        return _Told()
    curve: Curve = _power(GAMMAS[transfer]) if transfer in GAMMAS else decode_srgb
    return _Told(coding=_coding(curve, D65, PRIMARIES.get(primaries, SPACES["srgb"].primaries)))


def _from_chunks(info: dict[Any, Any]) -> _Told:
    """By PNG's chunks gAMA and cHRM; one alone leaves the rest to sRGB."""
    gamma, points = info.get("gamma"), info.get("chromaticity")
    if gamma is None and points is None:
        return _Told()
    curve: Curve = decode_srgb
    try:
        if gamma is not None and not SRGB_GAMMA[0] <= gamma <= SRGB_GAMMA[1]:
            curve = _power(_exponent(gamma))
        white, *primaries = [tuple(pair) for pair in zip(points[::2], points[1::2], strict=True)] if points else [D65]
        coding = _coding(curve, white, tuple(primaries or SPACES["srgb"].primaries))
    except (ValueError, TypeError, np.linalg.LinAlgError):
        return _Told(notes=("its chunks gAMA or cHRM make no sense: its colors are taken for sRGB",))
    return _Told(coding=None if coding.is_srgb() else coding)


def _exponent(gamma: float) -> float:
    """The exponent from code value to light by gAMA; raises `ValueError` where that makes no sense."""
    if not 0.1 <= gamma <= 10:
        raise ValueError(f"expected a gamma of 0.1 to 10, got {gamma}")
    return 1 / gamma


def _find_cicp(content: Path | bytes) -> tuple[int, int] | None:
    """Primaries and transfer characteristics of a PNG's chunk cICP."""
    if isinstance(content, bytes):
        head = content[:HEAD]
    else:
        with content.open("rb") as file:
            head = file.read(HEAD)
    place = 8
    while place + 12 <= len(head):
        length, kind = struct.unpack_from(">I4s", head, place)
        if kind == b"cICP" and length == 4:
            return head[place + 8], head[place + 9]
        if kind == b"IDAT":
            break
        place += 12 + length
    return None


def _is_adobe_rgb(tags: Image.Exif) -> bool:
    """By the rules of camera files (DCF 2.0): cameras say so in a tag and embed no profile."""
    index = tags.get_ifd(INTEROPERABILITY_IFD).get(1)
    return str(index).strip("\0 ") == UNCALIBRATED or tags.get_ifd(EXIF_IFD).get(40961) == 2
