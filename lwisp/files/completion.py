"""What a RAW tells elsewhere than in EXIF's own tags, put there: by LibRaw, a DNG's tags, XMP and maker notes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import rawpy
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from lwisp.files.exif import EXIF_IFD
from lwisp.files.makernotes import read_gear
from lwisp.files.tags import ISO, LENS_SPECIFICATION, PHOTO_TAGS
from lwisp.files.xmp import XMP_TAG, Value, read

EXPOSURE_TIME, APERTURE, FOCAL_LENGTH, TAKEN, DATE_TIME = 33434, 33437, 37386, 36867, 306
OWNER, SERIAL, LENS_MODEL, LENS_SERIAL = 42032, 42033, 42036, 42037
DNG_SERIAL, DNG_LENS = 50735, 50736
FIRST_YEAR = 1985  # before it no camera took files: a clock that LibRaw does not know counts from 1970
CIFF = b"HEAPCCDR"
"""What stands in a CRW from byte 6 on; its clock counts the camera's local seconds, which LibRaw takes for UTC."""


def complete(tags: Image.Exif, raw: rawpy.RawPy, head: bytes) -> None:
    """Add to a RAW's tags what they lack: exposure, ISO, date, lens, owner and serial numbers.

    Args:
        tags: All tags of the file; they are changed.
        raw: The file, open in LibRaw.
        head: Its first 16 bytes.
    """
    photo = tags.get_ifd(EXIF_IFD)
    for tag in PHOTO_TAGS:
        if tag in tags:  # where early cameras wrote it
            photo.setdefault(tag, tags[tag])
    _add_exposure(tags, photo, raw, head[6:14] == CIFF)
    _add_gear(tags, photo, raw)


def _add_exposure(tags: Image.Exif, photo: dict[int, Any], raw: rawpy.RawPy, has_utc: bool) -> None:
    try:
        other = raw.other
        taken = other.timestamp
        if has_utc:
            taken = datetime.fromtimestamp(taken.timestamp(), UTC)
    except (ValueError, OverflowError, OSError):  # a clock beyond what Python counts
        return
    for tag, value in (
        (EXPOSURE_TIME, other.shutter_speed),
        (APERTURE, other.aperture),
        (FOCAL_LENGTH, other.focal_length),
    ):
        if 0 < value < 1e5 and not _is_told(photo.get(tag)):
            photo[tag] = float(f"{value:.6g}")
    if 1 <= other.iso_speed < 1e7 and not _is_told(photo.get(ISO)):
        photo[ISO] = round(other.iso_speed)
    if taken.year >= FIRST_YEAR and (has_utc or not _is_told(photo.get(TAKEN))):
        photo[TAKEN] = f"{taken:%Y:%m:%d %H:%M:%S}"
        if has_utc:
            tags[DATE_TIME] = photo[TAKEN]


def _add_gear(tags: Image.Exif, photo: dict[int, Any], raw: rawpy.RawPy) -> None:
    gear, lens = read_gear(tags), raw.lens
    packet = tags.get(XMP_TAG)
    told: Mapping[str, Value] = read(packet) if isinstance(packet, bytes) else {}
    for tag, texts in (
        (LENS_MODEL, (lens.model, told.get("aux:Lens"), gear.lens)),
        (LENS_SERIAL, (told.get("aux:LensSerialNumber"), gear.lens_serial)),
        (SERIAL, (tags.get(DNG_SERIAL), told.get("aux:SerialNumber"), gear.serial)),
        (OWNER, (told.get("aux:OwnerName"), gear.owner)),
    ):
        found = next((text for text in texts if isinstance(text, str) and text.strip(" \0")), "")
        if found and not _is_told(photo.get(tag)):
            photo[tag] = found
    span = gear.lens_range
    if span is None and 0 < lens.min_focal <= lens.max_focal < 1e5:
        span = (lens.min_focal, lens.max_focal, 0.0, 0.0)
    dng = tags.get(DNG_LENS)
    if isinstance(dng, tuple) and len(dng) == 4:
        photo.setdefault(LENS_SPECIFICATION, dng)
    elif span is not None:
        photo.setdefault(LENS_SPECIFICATION, tuple(float(f"{part:.6g}") or IFDRational(0, 0) for part in span))
    if span is not None and not _is_told(photo.get(LENS_MODEL)):
        photo[LENS_MODEL] = _name_lens(*span)


def _is_told(value: Any) -> bool:
    """Whether a tag tells something: cameras write blanks and zeros for what they do not know."""
    value = value[0] if isinstance(value, tuple) and value else value
    if isinstance(value, str):
        return bool(value.strip(" \0:0"))
    try:
        return value is not None and value > 0
    except TypeError:
        return False


def _name_lens(shortest: float, longest: float, wide: float, tele: float) -> str:
    """A lens as its ring has it: "18-55mm f/3.5-5.6"."""
    lengths = f"{shortest:g}mm" if shortest == longest else f"{shortest:g}-{longest:g}mm"
    numbers = f"{wide:g}" if wide == tele else f"{wide:g}-{tele:g}"
    return f"{lengths} f/{numbers}" if wide and tele else lengths
