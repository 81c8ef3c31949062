"""Tags of a photo that stay true of a picture made of it, as EXIF has them: each of the standard's type and count.

Texts pass as UTF-8. What is damaged, of another type or out of range is left out without a word.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from typing import Any

from PIL import Image
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

from lwisp.files.exif import EXIF_IFD, GPS_IFD, HEADER
from lwisp.files.xmp import OWN, Value

BYTE, TEXT, SHORT, LONG, RATIONAL, UNDEFINED, SIGNED_RATIONAL = 1, 2, 3, 4, 5, 7, 10
LETTERS = {SHORT: "H", LONG: "L"}
"""`struct`'s letters of TIFF's types."""

DESCRIPTION, ARTIST, COPYRIGHT, ISO = 270, 315, 33432, 34855
USER_COMMENT, LENS_SPECIFICATION = 37510, 42034
GPS_METHOD, GPS_AREA = 27, 28

MAIN_TAGS: dict[int, int] = {
    **dict.fromkeys((DESCRIPTION, 271, 272, 306, ARTIST, COPYRIGHT), TEXT),  # 271, 272: make, model; 306: date
    **dict.fromkeys(range(40091, 40096), BYTE),  # Windows' title, comment, author, keywords, subject
}
"""Types of the tags of the main directory that are kept."""
PHOTO_TAGS: dict[int, int] = {
    **dict.fromkeys((33434, 33437), RATIONAL),  # exposure time, aperture
    **dict.fromkeys((34850, ISO, 34864), SHORT),  # program, ISO, sensitivity type
    **dict.fromkeys((34865, 34866, 34867), LONG),  # sensitivities
    **dict.fromkeys((36867, 36868, 36880, 36881, 36882, 37520, 37521, 37522), TEXT),  # dates, offsets, fractions
    **dict.fromkeys((37377, 37380), SIGNED_RATIONAL),  # exposure value of the time, exposure compensation
    **dict.fromkeys((37378, 37381, 37382, 37386), RATIONAL),  # that of apertures, distance, focal length
    **dict.fromkeys((37383, 37384, 37385, 41986, 41987, 41989, 41990), SHORT),  # metering, light, flash, modes, 35 mm
    USER_COMMENT: UNDEFINED,
    **dict.fromkeys((42032, 42033, 42035, 42036, 42037), TEXT),  # owner, serial, make, model and serial of the lens
    LENS_SPECIFICATION: RATIONAL,
}
"""Those of the photo directory."""
GPS_TAGS: dict[int, int] = {
    **dict.fromkeys((1, 3, 8, 9, 10, 12, 14, 16, 18, 19, 21, 23, 25, 29), TEXT),
    **dict.fromkeys((2, 4, 6, 7, 11, 13, 15, 17, 20, 22, 24, 26, 31), RATIONAL),
    **dict.fromkeys((GPS_METHOD, GPS_AREA), UNDEFINED),
    5: BYTE,
    30: SHORT,
}
"""Those of the GPS directory; its version is lwisp's own."""
COUNTS = {LENS_SPECIFICATION: 4}
GPS_COUNTS = {2: 3, 4: 3, 7: 3, 20: 3, 22: 3}
"""How many numbers a tag has, where not one."""
DATE = re.compile(r"\d{4}:(0[1-9]|1[0-2]):(0[1-9]|[12]\d|3[01]) ([01]\d|2[0-3]):[0-5]\d:[0-5]\d")
PATTERNS = {
    **dict.fromkeys((306, 36867, 36868), DATE),
    **dict.fromkeys((36880, 36881, 36882), re.compile(r"[+-](0\d|1[0-4]):[0-5]\d")),
    **dict.fromkeys((37520, 37521, 37522), re.compile(r"\d+ *")),
}
GPS_PATTERNS = {
    **dict.fromkeys((1, 19), re.compile("[NS]")),
    **dict.fromkeys((3, 21), re.compile("[EW]")),
    **dict.fromkeys((12, 25), re.compile("[KMN]")),
    **dict.fromkeys((14, 16, 23), re.compile("[TM]")),
    9: re.compile("[AV]"),
    10: re.compile("[23]"),
    29: re.compile(r"\d{4}:\d\d:\d\d"),
}
"""What texts of a form look like."""
CHOICES: dict[int, frozenset[int]] = {
    34850: frozenset(range(10)),
    34864: frozenset(range(8)),
    37383: frozenset([*range(7), 255]),
    37384: frozenset([*range(5), *range(9, 25), 255]) - {16},
    41986: frozenset(range(3)),
    41987: frozenset(range(2)),
    41990: frozenset(range(4)),
}
"""The values of tags that have few."""

NAMING = frozenset([DESCRIPTION, ARTIST, COPYRIGHT, *range(40091, 40096), USER_COMMENT, 42032, 42033, 42037])
"""Tags that name people and places, or the very camera and lens: `strip` drops them, and all of GPS."""
HARMLESS = frozenset(["xmp:Rating"])
"""Properties of a photo that name nobody."""
MAX_TAG_BYTES = 8192
MAX_BYTES = 60_000
"""Of all tags together: JPEG has room for 65,533 bytes, the directories in it."""
CHARACTER_CODES = {b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16", b"JIS\0\0\0\0\0": "iso2022_jp"}
"""How a user comment begins."""


@dataclass(frozen=True)
class Entry:
    """A tag as it is written."""

    kind: int
    count: int
    data: bytes
    """In little-endian order."""

    def value(self) -> Any:
        """The same as Pillow takes it, of the types of the main directory."""
        if self.kind in LETTERS:
            found = struct.unpack(f"<{self.count}{LETTERS[self.kind]}", self.data)
            return found[0] if self.count == 1 else found
        if self.kind == RATIONAL:
            return IFDRational(*struct.unpack("<LL", self.data))
        return self.data.removesuffix(b"\0") if self.kind == TEXT else self.data


Directory = dict[int, Entry]


@dataclass(frozen=True)
class Tags:
    """The directories of a picture, ready to be written."""

    main: Directory
    photo: Directory
    gps: Directory

    def tobytes(self) -> bytes:
        """All of them as JPEG and PNG hold them: a TIFF without a picture, behind `exif.HEADER`."""
        below, pointers = self.below(8)
        start = 8 + len(below)
        return HEADER + b"II*\0" + struct.pack("<L", start) + below + _encode({**self.main, **pointers}, start)

    def fill(self, directory: ImageFileDirectory_v2) -> bytes:
        """Write the main tags into a TIFF's directory.

        Args:
            directory: The directory of the picture.

        Returns:
            The photo and GPS directories, which belong into the file from byte 8 on.
        """
        below, pointers = self.below(8)
        for tag, entry in {**self.main, **pointers}.items():
            directory.tagtype[tag] = entry.kind
            directory[tag] = entry.value()
        return below

    def below(self, start: int) -> tuple[bytes, Directory]:
        """The photo and GPS directories.

        Args:
            start: Where in the file they begin; even.

        Returns:
            Their bytes, and the tags of the main directory that point at them.
        """
        content = b""
        pointers = {}
        for tag, directory in ((EXIF_IFD, self.photo), (GPS_IFD, self.gps)):
            if directory:
                pointers[tag] = numbers(LONG, start + len(content))
                content += _encode(directory, start + len(content))
        return content, pointers


def _encode(directory: Directory, start: int) -> bytes:
    """A directory with the values behind it: an even number of bytes."""
    entries, values = b"", b""
    place = start + 2 + 12 * len(directory) + 4
    for tag, entry in sorted(directory.items()):
        field = entry.data
        if len(field) > 4:
            field = struct.pack("<L", place + len(values))
            values += entry.data + b"\0" * (len(entry.data) % 2)
        entries += struct.pack("<HHL4s", tag, entry.kind, entry.count, field)
    return struct.pack("<H", len(directory)) + entries + bytes(4) + values


def text(value: str) -> Entry:
    """A text as EXIF holds it: UTF-8 with a NUL at its end."""
    data = value.encode("utf-8", "replace") + b"\0"
    return Entry(TEXT, len(data), data)


def numbers(kind: int, *values: int) -> Entry:
    """Whole numbers of the type SHORT or LONG."""
    return Entry(kind, len(values), struct.pack(f"<{len(values)}{LETTERS[kind]}", *values))


@dataclass(frozen=True)
class Form:
    """What EXIF says of a picture's form."""

    size: tuple[int, int] | None = None
    """Height and width in pixels; None of a TIFF or DNG, where other tags tell it."""
    is_jpeg: bool = False
    """Whether it is a JPEG, which must say how its colors lie."""
    is_srgb: bool = True
    """Whether its color space is sRGB: EXIF knows no other."""


def finished_tags(
    source: Image.Exif, properties: Mapping[str, Value] | None = None, strip: bool = False, form: Form = Form()
) -> Tags:
    """The tags of a picture made of a photo.

    Args:
        source: All tags of the photo.
        properties: Those of its XMP; where they tell its description, artist or copyright, the tags say the same.
        strip: Leave out what names people and places (`NAMING`).
        form: What is said of the picture's form.

    Returns:
        The sound ones of the tags that are kept, orientation 1 (it is applied), lwisp as software, and what the
        standard demands.
    """
    main = _sound(source, MAIN_TAGS, PATTERNS, COUNTS)
    photo = _sound(source.get_ifd(EXIF_IFD), PHOTO_TAGS, PATTERNS, COUNTS)
    gps = _sound(source.get_ifd(GPS_IFD), GPS_TAGS, GPS_PATTERNS, GPS_COUNTS)
    main |= _told_by(properties or {})
    for directory, tag in ((photo, USER_COMMENT), (gps, GPS_METHOD), (gps, GPS_AREA)):
        if tag in directory and (comment := _comment(directory.pop(tag).data, source.endian or "<")):
            directory[tag] = comment
    if strip:
        main = {tag: entry for tag, entry in main.items() if tag not in NAMING}
        photo = {tag: entry for tag, entry in photo.items() if tag not in NAMING}
        gps = {}
    _fit(main, photo, gps)
    resolution = Entry(RATIONAL, 1, struct.pack("<LL", 72, 1))
    main |= {274: numbers(SHORT, 1), 282: resolution, 283: resolution, 296: numbers(SHORT, 2)}
    main[305] = text(f"lwisp {version('lwisp')}")
    photo |= {
        36864: Entry(UNDEFINED, 4, b"0232"),
        40960: Entry(UNDEFINED, 4, b"0100"),
        40961: numbers(SHORT, 1 if form.is_srgb else 65535),
    }
    if form.size is not None:
        photo |= {40962: numbers(LONG, form.size[1]), 40963: numbers(LONG, form.size[0])}
    if form.is_jpeg:
        main[531] = numbers(SHORT, 1)  # color samples lie in the middle of theirs
        photo[37121] = Entry(UNDEFINED, 4, b"\1\2\3\0")  # Y, Cb, Cr
    if gps:
        gps[0] = Entry(BYTE, 4, b"\2\3\0\0")
    return Tags(main, photo, gps)


def finished_properties(properties: Mapping[str, Value], strip: bool) -> dict[str, Value]:
    """The properties of a picture made of a photo.

    Args:
        properties: The photo's, with those of `Provenance`.
        strip: Leave out what names people and places: all of the photo's but its rating.

    Returns:
        Values by names.
    """
    return {name: value for name, value in properties.items() if not strip or name.startswith(OWN) or name in HARMLESS}


def _sound(
    source: Mapping[int, Any], kinds: Mapping[int, int], patterns: Mapping[int, re.Pattern[str]], counts: dict[int, int]
) -> Directory:
    found = {}
    for tag, kind in kinds.items():
        if tag not in source:
            continue
        try:
            entry = _entry(tag, kind, source[tag], patterns.get(tag), counts.get(tag, 1))
        except (ValueError, TypeError, ArithmeticError, AttributeError, LookupError, struct.error):
            continue
        if entry is not None and len(entry.data) <= MAX_TAG_BYTES:
            found[tag] = entry
    return found


def _entry(tag: int, kind: int, value: Any, pattern: re.Pattern[str] | None, count: int) -> Entry | None:
    """A value as its tag demands; None, or an exception of arithmetic, where it is not so."""
    if kind == TEXT:
        if not isinstance(value, str) or not value.strip(" \0"):
            return None
        value = value.rstrip("\0") if tag == COPYRIGHT else value.partition("\0")[0]  # of photographer and editor
        return None if not value or (pattern is not None and not pattern.fullmatch(value)) else text(value)
    if kind in (BYTE, UNDEFINED):
        data = bytes(value if isinstance(value, bytes | tuple | list) else (value,))
        return Entry(kind, len(data), data) if data.strip(b"\0 ") or (kind == BYTE and len(data) == 1) else None
    values = value if isinstance(value, tuple | list) else (value,)
    if tag == ISO and isinstance(values[0], int):
        values = (min(values[0], 65535),)  # as the standard says of more
    if len(values) != count:
        return None
    if kind in LETTERS:
        if values[0] not in CHOICES.get(tag, values):
            return None
        return numbers(kind, *values)
    pairs = [part for number in values for part in _fraction(number, tag == LENS_SPECIFICATION)]
    return Entry(kind, count, struct.pack(f"<{len(pairs)}{'l' if kind == SIGNED_RATIONAL else 'L'}", *pairs))


def _fraction(number: Any, may_be_unknown: bool) -> tuple[int, int]:
    """Numerator and denominator. Raises `ValueError` for none."""
    numerator, denominator = getattr(number, "numerator", None), getattr(number, "denominator", None)
    if isinstance(numerator, int) and isinstance(denominator, int):
        if denominator == 0 and not (may_be_unknown and numerator == 0):
            raise ValueError("a fraction of nothing")
        return numerator, denominator
    fraction = Fraction(float(number)).limit_denominator(10_000)
    return fraction.numerator, fraction.denominator


def _told_by(properties: Mapping[str, Value]) -> Directory:
    """Tags that say what properties say, which people edit."""
    told = {}
    for tag, name in ((DESCRIPTION, "dc:description"), (ARTIST, "dc:creator"), (COPYRIGHT, "dc:rights")):
        value = properties.get(name, "")
        joined = value if isinstance(value, str) else "; ".join(value)
        entry = text(joined.replace("\0", ""))
        if joined.strip() and len(entry.data) <= MAX_TAG_BYTES:
            told[tag] = entry
    return told


def _comment(data: bytes, order: str) -> Entry | None:
    """A text behind its character code in the order of bytes that the picture's tags have; None if empty."""
    code, told = data[:8], data[8:]
    if code == b"UNICODE\0":
        if told[:2] in (b"\xff\xfe", b"\xfe\xff"):
            order = "<" if told[:2] == b"\xff\xfe" else ">"
            told = told[2:]
        elif told[::2].count(0) != told[1::2].count(0):  # zeros tell on which side Latin letters lie
            order = ">" if told[::2].count(0) > told[1::2].count(0) else "<"
        if order == ">":
            told = told.decode("utf-16-be", "replace").encode("utf-16-le")
    elif code not in (*CHARACTER_CODES, bytes(8)):
        code, told = (b"ASCII\0\0\0", data) if data.isascii() else (bytes(8), data)
    return Entry(UNDEFINED, len(code + told), code + told) if told.strip(b"\0 ") else None


def _fit(*directories: Directory) -> None:
    """Leave out the longest values until all have room."""
    while sum(len(entry.data) + 12 for directory in directories for entry in directory.values()) > MAX_BYTES:
        longest = max(directories, key=lambda one: max((len(entry.data) for entry in one.values()), default=0))
        del longest[max(longest, key=lambda tag: len(longest[tag].data))]
