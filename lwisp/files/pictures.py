"""Finished pictures on disk: JPEG, PNG of 8 and 16 bits, TIFF of 16; sRGB profile, chosen tags, whole or not at all."""

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lwisp.errors import InputError, alternatives
from lwisp.files.decoding import DNG_VERSION, MAX_PIXELS, WRITTEN, opened, read_tags
from lwisp.files.encoding import ENCODERS, SUFFIX_FORMATS, Finish, Format
from lwisp.files.exif import read_directories
from lwisp.files.icc import is_srgb, to_srgb
from lwisp.files.profiles import from_srgb
from lwisp.files.properties import of_picture
from lwisp.files.sources import Source, name_source, path_or_content
from lwisp.files.tags import Form, finished_properties, finished_tags
from lwisp.files.writing import write_whole
from lwisp.files.xmp import XMP_TAG, Value, build, packet_of_boxes, read
from lwisp.imaging.pixels import limit_size, orient

DEEP = {"16B": "16L", "16L": "16B", "16N": "16L" if sys.byteorder == "big" else "16B"}
"""Ways in which Pillow takes 8 bits of 16, and the one that takes the other 8."""
MAX_PAGES = 1000  # of a TIFF, that are counted
RAW_PHOTOMETRICS = (32803, 34892)  # a mosaic, and one made linear RGB


@dataclass(frozen=True, eq=False)
class Picture:
    """A finished picture from disk."""

    rgb: NDArray[np.uint8] | NDArray[np.uint16]
    """(H, W, 3) sRGB over the type's whole range, upright."""
    exif: Image.Exif
    """The file's tags, unfiltered: `write_picture` lets a list of them through."""
    properties: Mapping[str, Value] = field(default_factory=dict)
    """What people said of the picture, in its XMP and IPTC and in a sidecar: rating, keywords, title and the like."""
    notes: tuple[str, ...] = ()
    """What of the file is lost, for the user's eyes."""


def check_picture(path: Path) -> None:
    """Check that a file is a finished picture of a likely size; its pixels are not read.

    Raises:
        InputError: It is none.
    """
    with opened(path) as picture:
        _refuse_raw_picture(picture, str(path))


def read_picture(source: Source, max_pixels: float = MAX_PIXELS) -> Picture:
    """A finished picture from a JPEG, PNG or TIFF of 8 or 16 bits a color: sRGB pixels, upright, and tags.

    A profile other than sRGB is converted, at 8 bits. Of a file with several pages the first is read.

    Args:
        source: A path, the content of a file, or a file open in binary mode.
        max_pixels: A picture of more is refused before it is decoded.

    Returns:
        Pixels, tags, and notes on what of the file is lost.

    Raises:
        InputError: The file is none of these, damaged, a RAW, or too large.
    """
    name = name_source(source, "the picture")
    content = path_or_content(source, name)
    notes: list[str] = []
    with opened(content, name, max_pixels) as picture:
        _refuse_raw_picture(picture, name)
        exif = read_tags(picture)
        properties = of_picture(picture, exif, source, notes)
        profile = picture.info.get("icc_profile")
        if picture.format == "TIFF" and _most_bits(picture) > 16:
            raise InputError(f"{name}: a TIFF of {_most_bits(picture)} bits a color; expected 8 or 16, save it so")
        if picture.format == "TIFF" and _has_deep_planes(picture):
            raise InputError(f"{name}: a TIFF of 16 bits with its colors in separate planes; save it interleaved")
        if picture.has_transparency_data:
            notes.append("its transparency is lost")
        if picture.mode.startswith("I"):
            profile = None  # of grays, not of RGB
        rgb = _read_pixels(content, name, picture, max_pixels)
        if picture.format == "TIFF" and (pages := _count_further_pages(content)):
            notes.append("1 further page left out" if pages == 1 else f"{pages} further pages left out")
    if profile and not is_srgb(profile):
        if rgb.dtype == np.uint16:
            rgb = (rgb >> 8).astype(np.uint8)
            notes.append("its profile is not sRGB: converted, at 8 bits")
        rgb = np.array(to_srgb(Image.fromarray(rgb), profile))
    orientation = exif.get(274, 1)
    upright = orient(rgb, orientation if orientation in range(1, 9) else 1)
    return Picture(upright, exif, properties, tuple(notes))


def _read_pixels(
    content: Path | bytes, name: str, picture: Image.Image, max_pixels: float
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """(H, W, 3) as they lie in the file, of 8 or 16 bits as there."""
    if picture.mode.startswith("I"):
        gray = np.array(picture).clip(0, 65535).astype(np.uint16)
        return np.repeat(gray[..., None], 3, -1)
    if not _is_deep(picture):
        return np.array(picture.convert("RGB"))
    upper = np.array(picture.convert("RGB"))  # Pillow decodes the upper 8 bits, and the lower 8 if told to
    with opened(content, name, max_pixels) as other:
        other.tile = _swapped(other) or []  # type: ignore[attr-defined]
        lower = np.array(other.convert("RGB"))
    deep: NDArray[np.uint16] = upper.astype(np.uint16) << 8 | lower
    return deep


def own_format(path: Path) -> Format:
    """The format in which a file is written that is to be like this one; its name decides where it is no picture."""
    with contextlib.suppress(InputError), opened(path, max_pixels=float("inf")) as picture:
        if picture.format == "PNG":
            return "png16" if _is_deep(picture) or picture.mode.startswith("I") else "png"
    return SUFFIX_FORMATS.get(path.suffix.lower(), "jpg")


def _refuse_raw_picture(picture: Image.Image, name: str) -> None:
    """Raise `InputError` for a RAW, most of which are TIFFs: Pillow would take the small picture in it for it."""
    if picture.format != "TIFF":
        return
    tags = getattr(picture, "tag_v2", {})
    is_reduced = bool(_integer(tags.get(254)) & 1)
    if DNG_VERSION in tags or tags.get(262) in RAW_PHOTOMETRICS or is_reduced:
        raise InputError(refuse_raw(name))


def refuse_raw(name: str) -> str:
    """What is said where a RAW comes instead of a finished picture."""
    return (
        f"{name}: a RAW file, expected a finished picture; `lwisp develop` makes one of it, "
        "`lwisp denoise-raw` takes its noise out"
    )


def _integer(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _count_further_pages(content: Path | bytes) -> int:
    """Pages of a TIFF after its first, so many at most as are worth counting; what cannot be read counts no more.

    The file is opened for that by itself, for on another page Pillow has other tags.
    """
    count = 0
    with contextlib.suppress(Exception), opened(content, max_pixels=float("inf")) as picture:
        for page in range(1, MAX_PAGES):
            picture.seek(page)
            count += 1
    return count


def _is_deep(picture: Image.Image) -> bool:
    """Whether the file has 16 bits a color of RGB; Pillow takes 8 of them."""
    return picture.mode in ("RGB", "RGBA") and _swapped(picture) is not None


def _most_bits(picture: Image.Image) -> int:
    """Bits of the deepest color of a TIFF."""
    bits = getattr(picture, "tag_v2", {}).get(258) or (8,)
    return max(value for value in bits if isinstance(value, int))


def _has_deep_planes(picture: Image.Image) -> bool:
    """Whether a TIFF holds what Pillow would read as noise."""
    tags = getattr(picture, "tag_v2", {})
    return tags.get(284) == 2 and max(tags.get(258) or (8,)) > 8


def _swapped(picture: Image.Image) -> list[Any] | None:
    """What Pillow is to decode for the other 8 bits of 16; None for a picture of 8."""
    tiles: list[Any] = []
    for tile in getattr(picture, "tile", ()):
        mode, *others = (tile.args,) if isinstance(tile.args, str) else tile.args or ("",)
        letters, _, way = str(mode).partition(";")
        if way not in DEEP:
            return None
        mode = f"{letters};{DEEP[way]}"
        tiles.append(tile._replace(args=(mode, *others) if others else mode))
    return tiles or None


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """The pixels of a picture file at 8 bits: (H, W, 3) uint8 sRGB, upright; a profile other than sRGB is converted.

    Raises:
        InputError: As `read_picture`.
    """
    with opened(path) as picture:
        _refuse_raw_picture(picture, str(path))
        rgb = ImageOps.exif_transpose(picture).convert("RGB")
        profile = picture.info.get("icc_profile")
        if profile:
            rgb = to_srgb(rgb, profile)
        return np.array(rgb)


def write_picture(
    path: str | Path,
    rgb: NDArray[Any],
    format: Format | None = None,
    exif: Image.Exif | None = None,
    overwrite: bool = False,
    properties: Mapping[str, Value] | None = None,
    finish: Finish = Finish(),
    strip: bool = False,
) -> None:
    """Write a finished picture as `lwisp develop` does: with its profile and tags, whole or not at all.

    Args:
        path: The file to write.
        rgb: (H, W, 3) sRGB: floats in [0, 1], or the format's own unsigned integers over their range (`BITS`).
        format: One of `encoding.FORMATS`, as "jpg" or "tiff"; None takes what the suffix says, of
            PNG the one of 16 bits for uint16.
        exif: Tags of the photo; those that stay true of a finished picture are written (`tags.finished_tags`).
        overwrite: Replace a file of this name.
        properties: For its XMP packet, as `xmp.build` takes them.
        finish: Quality, size and color space.
        strip: Leave out tags and properties that name people and places (`tags.NAMING`).

    Raises:
        InputError: The suffix is of no format, format or finish cannot be had, or the file exists and may not be
            replaced.
        OutputError: The file cannot be written.
        ValueError: `rgb` is of another shape or type.
    """
    path = Path(path)
    chosen = _format_of(path, rgb) if format is None else format
    finish.check(chosen)
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"expected a picture (H, W, 3), got {rgb.shape}")
    pixels = from_srgb(limit_size(rgb, finish.size), finish.profile)
    kept = finished_properties(properties or {}, strip)
    form = Form(None if chosen == "tiff" else pixels.shape[:2], chosen == "jpg", finish.profile == "srgb")
    tags = finished_tags(Image.Exif() if exif is None else exif, kept, strip, form)
    packet = build(kept)
    write = ENCODERS[chosen]
    write_whole(path, lambda file: write(file, pixels, tags, packet, finish), overwrite)


def _format_of(path: Path, rgb: NDArray[Any]) -> Format:
    """The format that a file's suffix names; a PNG has 16 bits where the picture has."""
    named = SUFFIX_FORMATS.get(path.suffix.lower())
    if named is None:
        raise InputError(f"{path}: expected a name ending in {alternatives(SUFFIX_FORMATS)}, or a format")
    return "png16" if named == "png" and rgb.dtype == np.uint16 else named


def read_properties(path: Path) -> dict[str, Value]:
    """The XMP properties of a picture or DNG.

    Args:
        path: The file.

    Returns:
        Values by names, as `xmp.read` gives them; empty of a file that has none, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            directory, *_ = read_directories(file)
        packet = directory.get(XMP_TAG)
        if not directory:
            with opened(path, formats=WRITTEN) as picture:
                packet = picture.info.get("xmp")
            with path.open("rb") as file:
                packet = packet or packet_of_boxes(file)
    except (InputError, OSError):
        return {}
    return read(packet) if isinstance(packet, bytes) else {}
