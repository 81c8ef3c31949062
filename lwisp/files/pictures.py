"""Finished pictures on disk: read from any color space into sRGB, written whole or not at all with chosen tags."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lwisp.errors import ArgumentError, InputError, alternatives, check_switches, check_type, shown
from lwisp.files.colors import render
from lwisp.files.decoding import FINISHED, MAX_PIXELS, WRITTEN, opened, read_tags
from lwisp.files.encoding import ENCODERS, SUFFIX_FORMATS, Finish, Format
from lwisp.files.exif import read_directories
from lwisp.files.optional import is_there
from lwisp.files.profiles import from_srgb
from lwisp.files.properties import of_picture
from lwisp.files.raw_check import check_not_raw
from lwisp.files.samples import check_floats, check_samples, is_deep
from lwisp.files.sources import Source, name_source, path_or_content
from lwisp.files.tags import Form, finished_properties, finished_tags
from lwisp.files.writing import write_whole
from lwisp.files.xmp import XMP_TAG, Value, build, packet_of_boxes, read
from lwisp.imaging.pixels import limit_size, orient

MAX_PAGES = 1000
"""Pages of a TIFF that are counted."""


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
    is_gray: bool = False
    """Whether the file has one channel; `rgb` then has it three times."""


def check_picture(path: Path) -> None:
    """Check that a file is a finished picture of a likely size; its pixels are not read.

    Raises:
        InputError: It is none.
    """
    check_not_raw(path, str(path))
    with opened(path):
        pass


def read_picture(source: Source, max_pixels: float = MAX_PIXELS) -> Picture:
    """A finished picture from a JPEG, PNG, TIFF or HEIF: sRGB pixels, upright, and tags.

    Colors of another space are converted, as its profile or what else the file has says: at the depth of the file
    where they are told by curves and primaries, at 8 bits where by tables. Of several pages or frames the first is
    read.

    Args:
        source: A path, the content of a file, or a file open in binary mode.
        max_pixels: A picture of more is refused before it is decoded.

    Returns:
        Pixels, tags, and notes on what of the file is lost.

    Raises:
        InputError: The file is none of these, damaged, a RAW, HDR, of samples that are not read, or too large.
    """
    name = name_source(source, "the picture")
    content = path_or_content(source, name)
    check_not_raw(content, name)
    check_floats(content, name)
    with opened(content, name, max_pixels, FINISHED) as picture:
        check_samples(picture, name)
        is_png = picture.format == "PNG"  # its tags may lie behind its pixels, which are decoded to find them
        exif = Image.Exif() if is_png else read_tags(picture)
        notes = [*_left_out(content, picture)]
        if picture.has_transparency_data:
            notes.append("its transparency is lost")
        rendered = render(content, name, picture, max_pixels)
        exif = read_tags(picture) if is_png else exif
        properties = of_picture(picture, exif, content, notes)
    orientation = exif.get(274, 1)
    upright = orient(rendered.rgb, orientation if orientation in range(1, 9) else 1)
    return Picture(upright, exif, properties, (*notes, *rendered.notes), rendered.is_gray)


def own_format(path: Path) -> Format:
    """The format in which a file is written that is to be like this one; its name decides where it is no picture."""
    with contextlib.suppress(InputError), opened(path, max_pixels=float("inf")) as picture:
        if picture.format == "PNG":
            return "png16" if is_deep(picture) or picture.mode.startswith("I") else "png"
    return named_format(path)


def named_format(path: Path) -> Format:
    """The format that a file's name stands for; JPEG where it stands for none that can be written."""
    named = SUFFIX_FORMATS.get(path.suffix.lower(), "jpg")
    return "jpg" if named == "heif" and not is_there("pillow_heif") else named  # it fails by itself, when it is read


def _left_out(content: Path | bytes, picture: Image.Image) -> Iterator[str]:
    """Notes on pictures of a file beside its first."""
    what = {"TIFF": "page", "PNG": "frame"}.get(picture.format or "", "picture")
    count = _count_pages(content) if picture.format == "TIFF" else getattr(picture, "n_frames", 1)
    if count > 1:
        yield f"1 further {what} left out" if count == 2 else f"{count - 1} further {what}s left out"


def _count_pages(content: Path | bytes) -> int:
    """Pages of a TIFF, so many at most as are worth counting; what cannot be read counts no more.

    The file is opened for that by itself, for on another page Pillow has other tags.
    """
    count = 1
    with contextlib.suppress(Exception), opened(content, max_pixels=float("inf")) as picture:
        for page in range(1, MAX_PAGES):
            picture.seek(page)
            count += 1
    return count


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """The pixels of a picture file at 8 bits, the upper ones of 16: (H, W, 3) uint8 sRGB, upright.

    Raises:
        InputError: As `read_picture`.
    """
    rgb = read_picture(path).rgb
    return (rgb >> 8 if rgb.dtype == np.uint16 else rgb).astype(np.uint8, copy=False)


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
        rgb: (H, W, 3) sRGB, or (H, W) grays of the same curve: floats in [0, 1], or the format's own unsigned integers
            over their range (`BITS`).
        format: One of `encoding.FORMATS`, as "jpg" or "tiff"; None takes what the suffix says, of PNG the one of 16
            bits for uint16.
        exif: Tags of the photo; those that stay true of a finished picture are written (`tags.finished_tags`).
        overwrite: Replace a file of this name.
        properties: For its XMP packet, as `xmp.build` takes them.
        finish: Quality, size and color space.
        strip: Leave out tags and properties that name people and places (`tags.NAMING`).

    Raises:
        InputError: The suffix is of no format, format or finish cannot be had, or the file exists and may not be
            replaced; or an argument is of another shape or type.
        OutputError: The file cannot be written.
    """
    check_type("the path of a file to write", path, (str, os.PathLike))
    path = Path(path)
    if not isinstance(rgb, np.ndarray) or (rgb.ndim != 2 and rgb.shape[2:] != (3,)):
        raise ArgumentError(f"expected a picture (H, W, 3) or (H, W), got {getattr(rgb, 'shape', shown(rgb))}")
    check_type("a finish, from lwisp.files.encoding.Finish", finish, Finish)
    check_switches(overwrite=overwrite, strip=strip)
    chosen = _format_of(path, rgb) if format is None else format
    finish.check(chosen)
    small = limit_size(rgb, finish.size)
    pixels = small if rgb.ndim == 2 else from_srgb(small, finish.profile)
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
        raise ArgumentError(f"{path}: expected a name ending in {alternatives(SUFFIX_FORMATS)}, or a format")
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
