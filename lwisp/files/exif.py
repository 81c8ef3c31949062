"""Tags of TIFF-like files and of JPEGs, as an `Image.Exif` of plain values: picklable, without a file behind it.

Pillow's own reader keeps the file for what is asked later, and tells of damage by Python's warnings, which can be
silenced for a whole process only. Here damaged tags are left out without a word.
"""

import io
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from PIL import Image, TiffTags
from PIL.TiffImagePlugin import IFDRational

from lwisp.files.xmp import XMP_TAG

EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD, SUB_IFDS = 0x8769, 0x8825, 0xA005, 330
IPTC_TAG = 33723
MAX_PARTS = 16
NUMBERS = {3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 11: "f", 12: "d", 13: "L", 16: "Q"}
"""`struct`'s letters of TIFF's types."""
RATIONALS = {5: "L", 10: "l"}
"""Those of numerator and denominator."""
BYTES, TEXT, UNDEFINED = 1, 2, 7
HEADER = b"Exif\0\0"
XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
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


def read_types(file: BinaryIO) -> list[dict[int, int]]:
    """TIFF's types of the tags in the directories that `read_directories` gives, in the same order.

    Args:
        file: The file, open in binary mode.

    Raises:
        OSError: It cannot be read.
    """
    order, place = _read_head(file)
    parts = _read_directory(file, order, place).get(SUB_IFDS)
    places = [place, *(parts if isinstance(parts, tuple) else (parts,))[:MAX_PARTS]]
    return [{tag: kind for tag, kind, _, _ in _entries(file, order, place)} for place in places]


def read_jpeg(content: bytes) -> Image.Exif:
    """Tags of a JPEG, its XMP packet as a TIFF's tag; empty where it has none, or where the content is no JPEG."""
    found = {HEADER: b"", XMP_HEADER: b""}
    for segment in _segments(content):
        for header in found:
            if segment.startswith(header):
                found[header] += segment.removeprefix(header)
    exif = read_tiff(io.BytesIO(found[HEADER]))
    if found[XMP_HEADER]:
        exif[XMP_TAG] = found[XMP_HEADER]
    return exif


def _segments(content: bytes) -> Iterator[bytes]:
    """What applications wrote into a JPEG under its first marker."""
    place = 2 if content.startswith(b"\xff\xd8") else len(content)
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker == 0xDA:  # the picture itself
            break
        length = struct.unpack_from(">H", content, place + 2)[0]
        if marker == 0xE1:
            yield content[place + 4 : place + 2 + length]
        place += 2 + length


def _read_head(file: BinaryIO) -> tuple[str, int | None]:
    """`struct`'s letter of a TIFF's order of bytes, and where its first directory lies: None of any other file."""
    file.seek(0)
    head = file.read(8)
    order = ">" if head.startswith(b"MM") else "<"
    return order, struct.unpack(order + "L", head[4:])[0] if len(head) == 8 and head[:4] in MAGICS else None


def _read_directory(file: BinaryIO, order: str, place: Any, group: int | None = None) -> dict[int, Any]:
    """The sound values of a directory; `group` is the tag that points at it, for those are of tables of their own."""
    values: dict[int, Any] = {}
    left = file.seek(0, io.SEEK_END)  # bytes: values that overlap cannot take more than the file has
    for tag, kind, number, field in _entries(file, order, place):
        size = number * _size(kind)
        if tag in values or not 0 < size <= left:
            continue
        if size > 4:
            left -= size
            file.seek(struct.unpack(order + "L", field)[0])
            field = file.read(size)
        if len(field) >= size:
            single = TiffTags.lookup(tag, group).length == 1 and tag != IPTC_TAG  # which is a block, of whatever type
            values[tag] = _value(kind, order, field[:size], single)
    return values


def _entries(file: BinaryIO, order: str, place: Any) -> Iterator[tuple[int, int, int, bytes]]:
    """(tag, type, count, the four bytes of the value or of its place) of each entry of a directory."""
    if not isinstance(place, int) or not 0 <= place < file.seek(0, io.SEEK_END):  # a signed place may be below 0
        return
    file.seek(place)
    count = file.read(2)
    entries = file.read(12 * struct.unpack(order + "H", count)[0]) if len(count) == 2 else b""
    for start in range(0, len(entries) - 11, 12):
        tag, kind, number, field = struct.unpack_from(order + "HHL4s", entries, start)
        yield tag, kind, number, field


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
        return decode_text(data.removesuffix(b"\0"))
    letter = NUMBERS.get(kind) or RATIONALS[kind]
    numbers = struct.unpack(f"{order}{len(data) // struct.calcsize('=' + letter)}{letter}", data)
    if kind in RATIONALS:
        numbers = tuple(IFDRational(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True))
    return numbers[0] if single or len(numbers) == 1 else numbers


def decode_text(data: bytes) -> str:
    """A text as programs write it: UTF-8, and where it is none the Latin letters of Windows and old cameras.

    Args:
        data: The bytes, without the NUL at their end.

    Returns:
        The text; any bytes give one.
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def repair_text(text: str) -> str:
    """A text that Pillow read as Latin-1, as `decode_text` reads it.

    Args:
        text: As Pillow gives it.

    Returns:
        The text; one that Pillow cannot have read so stays as it is.
    """
    try:
        return decode_text(text.encode("latin-1"))
    except UnicodeEncodeError:
        return text
