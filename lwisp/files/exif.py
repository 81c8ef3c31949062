"""Tags of TIFF-like files and of JPEGs, as an `Image.Exif` of plain values: picklable, without a file behind it.

Pillow's own reader keeps the file for what is asked later, and tells of damage by Python's warnings, which can be
silenced for a whole process only. Here damaged tags are left out without a word.
"""

import io
import struct
from importlib.metadata import version
from typing import Any, BinaryIO

from PIL import Image, TiffTags
from PIL.TiffImagePlugin import IFDRational

EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD, SUB_IFDS = 0x8769, 0x8825, 0xA005, 330
MAX_PARTS = 16
NUMBERS = {3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 11: "f", 12: "d", 13: "L", 16: "Q"}
"""`struct`'s letters of TIFF's types."""
RATIONALS = {5: "L", 10: "l"}
"""Those of numerator and denominator."""
BYTES, TEXT, UNDEFINED = 1, 2, 7
MAX_TAG_BYTES = 900  # all allowed tags together stay below the 65,533 bytes that JPEG has for them
MAIN_TAGS = (270, 271, 272, 306, 315, 33432)  # description, make, model, date, artist, copyright
PHOTO_TAGS = (
    *(33434, 33437, 34850, 34855, 34864, 34865, 34866),  # exposure time, aperture, program, ISO
    *(36867, 36868, 36880, 36881, 36882, 37520, 37521, 37522),  # dates with offsets and fractions
    *(37377, 37378, 37380, 37381, 37382, 37383, 37384, 37385, 37386),  # exposure values, metering, light, focal length
    *(41986, 41987, 41989, 41990, 42034, 42035, 42036),  # exposure and balance mode, 35 mm length, lens
)
GPS_TAGS = tuple(range(32))
TEXT_TAGS = {*MAIN_TAGS, 36867, 36868, 36880, 36881, 36882, 37520, 37521, 37522, 42035, 42036}
HEADER = b"Exif\0\0"
MAGICS = frozenset([b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"IIRO", b"IIRS", b"MMOR", b"IIU\0"])
"""How files begin; Olympus and Panasonic write other numbers where TIFF has 42, and some have its bytes exchanged."""


def read_tiff(file: BinaryIO) -> Image.Exif:
    """Tags of a TIFF-like file, with its photo, GPS and interoperability directories; empty of any other file.

    Args:
        file: The file, open in binary mode.

    Raises:
        OSError: It cannot be read.
    """
    exif = Image.Exif()
    order, place = _read_head(file)
    if place is None:
        return exif
    tags = _read_directory(file, order, place)
    photo = _read_directory(file, order, tags.get(EXIF_IFD), EXIF_IFD)
    gps = _read_directory(file, order, tags.get(GPS_IFD), GPS_IFD)
    interoperability = _read_directory(file, order, photo.get(INTEROPERABILITY_IFD), INTEROPERABILITY_IFD)
    exif.endian = order
    exif.get_ifd(INTEROPERABILITY_IFD).update(interoperability)  # before its place is known, or Pillow looks for a file
    exif.get_ifd(GPS_IFD).update(gps)
    exif.get_ifd(EXIF_IFD).update(photo)
    for tag, value in tags.items():
        exif[tag] = value
    return exif


def read_directories(file: BinaryIO) -> list[dict[int, Any]]:
    """Tags of the first directory of a TIFF-like file and of its SubIFDs; empty of any other file.

    Args:
        file: The file, open in binary mode.

    Returns:
        A dictionary a directory, value by tag.

    Raises:
        OSError: It cannot be read.
    """
    order, place = _read_head(file)
    tags = _read_directory(file, order, place)
    parts = tags.get(SUB_IFDS)
    places = parts if isinstance(parts, tuple) else (parts,)
    return [tags, *(_read_directory(file, order, place) for place in places[:MAX_PARTS])]


def read_jpeg(content: bytes) -> Image.Exif:
    """Tags of a JPEG; empty where it has none, or where the content is no JPEG."""
    return read_tiff(io.BytesIO(_exif_segments(content).removeprefix(HEADER)))


def _exif_segments(content: bytes) -> bytes:
    found = b""
    place = 2 if content.startswith(b"\xff\xd8") else len(content)
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker == 0xDA:  # the picture itself
            break
        length = struct.unpack_from(">H", content, place + 2)[0]
        segment = content[place + 4 : place + 2 + length]
        if marker == 0xE1 and segment.startswith(HEADER):
            found += segment.removeprefix(HEADER)
        place += 2 + length
    return found


def _read_head(file: BinaryIO) -> tuple[str, int | None]:
    """`struct`'s letter of a TIFF's order of bytes, and where its first directory lies: None of any other file."""
    file.seek(0)
    head = file.read(8)
    order = ">" if head.startswith(b"MM") else "<"
    return order, struct.unpack(order + "L", head[4:])[0] if len(head) == 8 and head[:4] in MAGICS else None


def _read_directory(file: BinaryIO, order: str, place: Any, group: int | None = None) -> dict[int, Any]:
    """The sound values of a directory; `group` is the tag that points at it, for those are of tables of their own."""
    values: dict[int, Any] = {}
    if not isinstance(place, int):
        return values
    left = file.seek(0, io.SEEK_END)  # bytes: values that overlap cannot take more than the file has
    file.seek(place)
    count = file.read(2)
    entries = file.read(12 * struct.unpack(order + "H", count)[0]) if len(count) == 2 else b""
    for start in range(0, len(entries) - 11, 12):
        tag, kind, number, field = struct.unpack_from(order + "HHL4s", entries, start)
        size = number * _size(kind)
        if tag in values or not 0 < size <= left:
            continue
        if size > 4:
            left -= size
            file.seek(struct.unpack(order + "L", field)[0])
            field = file.read(size)
        if len(field) >= size:
            values[tag] = _value(kind, order, field[:size], TiffTags.lookup(tag, group).length == 1)
    return values


def _size(kind: int) -> int:
    """Bytes of one value of TIFF's types; 0 of others."""
    if kind in NUMBERS:
        return struct.calcsize("=" + NUMBERS[kind])
    return {BYTES: 1, TEXT: 1, UNDEFINED: 1}.get(kind, 8 if kind in RATIONALS else 0)


def _value(kind: int, order: str, data: bytes, single: bool) -> Any:
    """A value as Pillow has it: bytes, a string, a number, or a tuple of numbers."""
    if kind in (BYTES, UNDEFINED):
        return data
    if kind == TEXT:
        return data.removesuffix(b"\0").decode("latin-1")
    letter = NUMBERS.get(kind) or RATIONALS[kind]
    numbers = struct.unpack(f"{order}{len(data) // struct.calcsize('=' + letter)}{letter}", data)
    if kind in RATIONALS:
        numbers = tuple(IFDRational(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True))
    return numbers[0] if single or len(numbers) == 1 else numbers


def finished_tags(source: Image.Exif) -> Image.Exif:
    """Those tags of a photo that stay true of the picture made of it, for writing.

    Args:
        source: All tags of the photo.

    Returns:
        The allowed ones that are sound, with orientation 1 (it is applied), lwisp as software, and sRGB.
    """
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
