"""Finished pictures on disk: JPEG, PNG of 8 and 16 bits, TIFF of 16; sRGB profile, chosen tags, whole or not at all."""

import contextlib
import io
import struct
import sys
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin

from lwisp.errors import InputError
from lwisp.files.decoding import DNG_VERSION, MAX_PIXELS, opened, read_tags
from lwisp.files.writing import write_whole
from lwisp.imaging.pixels import orient, to_integer

Format = Literal["jpg", "png", "png16", "tiff"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIX_FORMATS: dict[str, Format] = {".jpg": "jpg", ".jpeg": "jpg", ".png": "png", ".tif": "tiff", ".tiff": "tiff"}
BITS: dict[Format, Literal[8, 16]] = {"jpg": 8, "png": 8, "png16": 16, "tiff": 16}
SUFFIXES: dict[Format, str] = {"jpg": ".jpg", "png": ".png", "png16": ".png", "tiff": ".tif"}

DEEP = {"16B": "16L", "16L": "16B", "16N": "16L" if sys.byteorder == "big" else "16B"}
"""Ways in which Pillow takes 8 bits of 16, and the one that takes the other 8."""
STRIP_ROWS = 64
MAX_PAGES = 1000  # of a TIFF, that are counted
RAW_PHOTOMETRICS = (32803, 34892)  # a mosaic, and one made linear RGB
MAX_TAG_BYTES = 900  # all allowed tags together stay below the 65,533 bytes that JPEG has for them
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
MAIN_TAGS = (270, 271, 272, 306, 315, 33432)  # description, make, model, date, artist, copyright
PHOTO_TAGS = (
    *(33434, 33437, 34850, 34855, 34864, 34865, 34866),  # exposure time, aperture, program, ISO
    *(36867, 36868, 36880, 36881, 36882, 37520, 37521, 37522),  # dates with offsets and fractions
    *(37377, 37378, 37380, 37381, 37382, 37383, 37384, 37385, 37386),  # exposure values, metering, light, focal length
    *(41986, 41987, 41989, 41990, 42034, 42035, 42036),  # exposure and balance mode, 35 mm length, lens
)
GPS_TAGS = tuple(range(32))
TEXT_TAGS = {*MAIN_TAGS, 36867, 36868, 36880, 36881, 36882, 37520, 37521, 37522, 42035, 42036}


@dataclass(frozen=True, eq=False)
class Picture:
    """A finished picture from disk."""

    rgb: NDArray[np.uint8] | NDArray[np.uint16]
    """(H, W, 3) sRGB over the type's whole range, upright."""
    exif: Image.Exif
    """The file's tags, unfiltered: `write_picture` lets a list of them through."""
    notes: tuple[str, ...] = ()
    """What of the file is lost, for the user's eyes."""


def check_picture(path: Path) -> None:
    """Raise `InputError` where a file is not a picture, or one too large to be true; its pixels are not read."""
    with opened(path) as picture:
        _check_finished(path, picture)


def read_picture(path: Path, max_pixels: float = MAX_PIXELS) -> Picture:
    """Read a JPEG, PNG or TIFF of 8 or 16 bits; an embedded profile other than sRGB is converted, at 8 bits.

    Of a file with several pages the first is read. Raises `InputError` where it is none of these, damaged, a RAW, or
    has more than `max_pixels`.
    """
    notes = []
    with opened(path, max_pixels=max_pixels) as picture:
        _check_finished(path, picture)
        exif, profile = read_tags(picture), picture.info.get("icc_profile")
        if picture.format == "TIFF" and _has_deep_planes(picture):
            raise InputError(f"{path}: a TIFF of 16 bits with its colors in separate planes; save it interleaved")
        if picture.has_transparency_data:
            notes.append("its transparency is lost")
        rgb: NDArray[np.uint8] | NDArray[np.uint16]
        if picture.mode.startswith("I"):
            rgb = np.repeat(np.array(picture).clip(0, 65535).astype(np.uint16)[..., None], 3, -1)
            profile = None  # of grays, not of RGB
        elif _is_deep(picture):
            rgb = _read_deep(path, picture, max_pixels)
        else:
            rgb = np.array(picture.convert("RGB"))
        if picture.format == "TIFF" and (pages := _count_further_pages(path)):
            notes.append("1 further page left out" if pages == 1 else f"{pages} further pages left out")
        if profile and not _is_srgb(profile):
            if rgb.dtype == np.uint16:
                rgb = (rgb >> 8).astype(np.uint8)
                notes.append("its profile is not sRGB: converted, at 8 bits")
            rgb = np.array(to_srgb(Image.fromarray(rgb), profile))
    orientation = exif.get(274, 1)
    return Picture(orient(rgb, orientation if orientation in range(1, 9) else 1), exif, tuple(notes))


def own_format(path: Path) -> Format:
    """The format in which a file is written that is to be like this one; its name decides where it is no picture."""
    with contextlib.suppress(InputError), opened(path, max_pixels=float("inf")) as picture:
        if picture.format == "PNG":
            return "png16" if _is_deep(picture) or picture.mode.startswith("I") else "png"
    return SUFFIX_FORMATS.get(path.suffix.lower(), "jpg")


def _check_finished(path: Path, picture: Image.Image) -> None:
    """Raise `InputError` for a RAW, most of which are TIFFs: Pillow would take the small picture in it for it."""
    tags = getattr(picture, "tag_v2", {})
    is_reduced = bool(_integer(tags.get(254)) & 1)
    if picture.format == "TIFF" and (DNG_VERSION in tags or tags.get(262) in RAW_PHOTOMETRICS or is_reduced):
        raise InputError(refuse_raw(path))


def refuse_raw(path: Path) -> str:
    """What is said where a RAW comes instead of a finished picture."""
    return (
        f"{path}: a RAW file, expected a finished picture; `lwisp develop` makes one of it, "
        "`lwisp denoise-raw` takes its noise out"
    )


def _integer(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _count_further_pages(path: Path) -> int:
    """Pages of a TIFF after its first, so many at most as are worth counting; what cannot be read counts no more.

    The file is opened for that by itself, for on another page Pillow has other tags.
    """
    count = 0
    with contextlib.suppress(Exception), opened(path, max_pixels=float("inf")) as picture:
        for page in range(1, MAX_PAGES):
            picture.seek(page)
            count += 1
    return count


def _is_deep(picture: Image.Image) -> bool:
    """Whether the file has 16 bits a color of RGB; Pillow takes 8 of them."""
    return picture.mode in ("RGB", "RGBA") and _swapped(picture) is not None


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


def _read_deep(path: Path, picture: Image.Image, max_pixels: float) -> NDArray[np.uint16]:
    """Pillow has no pictures of 16 bits a color, but decodes the upper 8 bits, and the lower 8 if told to."""
    upper = np.array(picture.convert("RGB"))
    with opened(path, max_pixels=max_pixels) as other:
        other.tile = _swapped(other) or []  # type: ignore[attr-defined]
        lower = np.array(other.convert("RGB"))
    deep: NDArray[np.uint16] = upper.astype(np.uint16) << 8 | lower
    return deep


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """A picture file -> (H, W, 3) uint8 sRGB, upright; an embedded profile other than sRGB is converted.

    Raises `InputError` as `read_picture` does.
    """
    with opened(path) as picture:
        _check_finished(path, picture)
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
) -> None:
    """Write a finished picture as `lwisp develop` does: with its sRGB profile and tags, whole or not at all.

    Args:
        path: The file to write.
        rgb: (H, W, 3) sRGB: floats in [0, 1], or the format's own unsigned integers over their range (`BITS`).
        format: "jpg", "png", "png16" or "tiff"; None takes what the suffix says, of PNG the one of 16 bits for uint16.
        exif: Tags of the photo; those that stay true of a finished picture are written (`finished_tags`).
        overwrite: Replace a file of this name.

    Raises:
        InputError: The suffix is of no format, the format is unknown, or the file exists and may not be replaced.
        OutputError: The file cannot be written.
        ValueError: `rgb` is of another shape or type.
    """
    path = Path(path)
    chosen = _format_of(path, rgb) if format is None else format
    if chosen not in FORMATS:
        raise InputError(f"{path}: expected the format {_or(FORMATS)}, got {chosen!r}")
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"expected a picture (H, W, 3), got {rgb.shape}")
    tags = finished_tags(Image.Exif() if exif is None else exif)
    write = WRITERS[chosen]
    write_whole(path, lambda file: write(file, rgb, tags), overwrite)


def _format_of(path: Path, rgb: NDArray[Any]) -> Format:
    """The format that a file's suffix names; a PNG has 16 bits where the picture has."""
    named = SUFFIX_FORMATS.get(path.suffix.lower())
    if named is None:
        raise InputError(f"{path}: expected a name ending in {_or(SUFFIX_FORMATS)}, or a format")
    return "png16" if named == "png" and rgb.dtype == np.uint16 else named


def _or(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}"


@cache
def srgb_profile() -> bytes:
    """LittleCMS's sRGB profile, its date set still so that equal pictures are equal files."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2022, 1, 1, 0, 0, 0)
    return bytes(profile)


def _write_jpeg(file: BinaryIO, rgb: NDArray[Any], tags: Image.Exif) -> None:
    picture = Image.fromarray(to_integer(rgb, 8))
    picture.save(file, "JPEG", quality=95, subsampling=0, icc_profile=srgb_profile(), exif=tags)


def _write_png8(file: BinaryIO, rgb: NDArray[Any], tags: Image.Exif) -> None:
    picture = Image.fromarray(to_integer(rgb, 8))
    picture.save(file, "PNG", compress_level=3, icc_profile=srgb_profile(), exif=tags)


def _write_png16(file: BinaryIO, rgb: NDArray[Any], tags: Image.Exif) -> None:
    """PNG of 16 bits a channel, which Pillow does not write: each row as its difference from the row above."""
    height, width = rgb.shape[:2]
    file.write(b"\x89PNG\r\n\x1a\n")
    _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    _write_chunk(file, b"iCCP", b"sRGB\0\0" + zlib.compress(srgb_profile()))
    _write_chunk(file, b"eXIf", tags.tobytes().removeprefix(b"Exif\0\0"))
    deflate = zlib.compressobj(1)
    above = np.zeros((1, width * 6), np.uint8)
    for top in range(0, height, STRIP_ROWS):
        rows = to_integer(rgb[top : top + STRIP_ROWS], 16).astype(">u2").reshape(-1, width * 3).view(np.uint8)
        filtered = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
        filtered[:, 0] = 2  # PNG's filter "up"
        np.subtract(rows, np.concatenate([above, rows[:-1]]), out=filtered[:, 1:])
        above = rows[-1:]
        _write_chunk(file, b"IDAT", deflate.compress(filtered.tobytes()))
    _write_chunk(file, b"IDAT", deflate.flush())
    _write_chunk(file, b"IEND", b"")


def _write_chunk(file: BinaryIO, kind: bytes, content: bytes) -> None:
    file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)))


def _write_tiff(file: BinaryIO, rgb: NDArray[Any], tags: Image.Exif) -> None:
    """TIFF of 16 bits a channel, which Pillow does not write either: deflated strips of differences from the left."""
    strips = []
    for top in range(0, len(rgb), STRIP_ROWS):
        samples = to_integer(rgb[top : top + STRIP_ROWS], 16).astype("<u2")  # a copy
        samples[:, 1:] -= samples[:, :-1].copy()
        strips.append(zlib.compress(samples.tobytes(), 1))
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory.tagtype[273] = directory.tagtype[279] = 4  # 32 bits, however small the picture
    for tag, value in {
        **tags,
        **{ifd: tags.get_ifd(ifd) for ifd in (EXIF_IFD, GPS_IFD) if tags.get_ifd(ifd)},
        256: rgb.shape[1],
        257: rgb.shape[0],
        258: (16, 16, 16),  # bits
        259: 8,  # deflate
        262: 2,  # RGB
        273: tuple(np.cumsum([0, *map(len, strips[:-1])]).tolist()),  # Pillow counts them from the directory's end
        277: 3,
        278: STRIP_ROWS,
        279: tuple(map(len, strips)),
        317: 2,  # differences
        34675: srgb_profile(),
    }.items():
        directory[tag] = value
    file.write(b"II*\0\x08\0\0\0" + directory.tobytes(8))
    for strip in strips:
        file.write(strip)


WRITERS: dict[Format, Callable[[BinaryIO, NDArray[Any], Image.Exif], None]] = {
    "jpg": _write_jpeg,
    "png": _write_png8,
    "png16": _write_png16,
    "tiff": _write_tiff,
}


def finished_tags(source: Image.Exif) -> Image.Exif:
    """Those tags that stay true of a finished picture; orientation is applied, so it is 1."""
    tags = Image.Exif()
    for tag in MAIN_TAGS:
        if tag in source and _writable(None, tag, source[tag]):
            tags[tag] = source[tag]
    tags[274], tags[305] = 1, f"lwisp {version('lwisp')}"
    for ifd, allowed in ((EXIF_IFD, PHOTO_TAGS), (GPS_IFD, GPS_TAGS)):
        found = source.get_ifd(ifd)
        kept = {tag: found[tag] for tag in allowed if tag in found and _writable(ifd, tag, found[tag])}
        if ifd == EXIF_IFD:
            kept[40961] = 1  # color space: sRGB
        if kept:
            tags.get_ifd(ifd).update(kept)
    return tags


def _writable(ifd: int | None, tag: int, value: Any) -> bool:
    """Whether a tag of a possibly damaged file can be written again: tried by itself, and not of monstrous size."""
    if isinstance(value, str) and not (value.isascii() and value.strip(" \0")):
        return False
    if ifd != GPS_IFD and (tag in TEXT_TAGS) != isinstance(value, str):
        return False
    probe = Image.Exif()
    try:
        (probe if ifd is None else probe.get_ifd(ifd))[tag] = value
        return len(probe.tobytes()) < MAX_TAG_BYTES
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, struct.error):
        return False


def _is_srgb(profile: bytes) -> bool:
    try:
        return "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError):
        return False


def to_srgb(rgb: Image.Image, profile: bytes) -> Image.Image:
    """An RGB picture of this ICC profile in sRGB; as it is where the profile is damaged, or not one for RGB."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(rgb, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return rgb  # a profile that is not for RGB, or damaged: the pixels as they are
    return converted or rgb
