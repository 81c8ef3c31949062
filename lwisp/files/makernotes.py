"""The picture style in the notes that camera makers keep in EXIF's tag 37500, where it can be read without guessing.

Layouts after ExifTool's tables: a directory like TIFF's behind a header of the maker's own.
"""

import struct
from typing import Any

from PIL import Image

from lwisp.files.exif import EXIF_IFD

MAKER_NOTE = 37500
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8}
"""Bytes of a value, by TIFF's type."""
CANON_STYLES = {
    **{
        0x00: "",
        0x01: "Standard",
        0x02: "Portrait",
        0x03: "High Saturation",
        0x04: "Adobe RGB",
        0x05: "Low Saturation",
    },
    **{0x06: "CM Set 1", 0x07: "CM Set 2", 0x21: "User Def. 1", 0x22: "User Def. 2", 0x23: "User Def. 3"},
    **{0x81: "Standard", 0x82: "Portrait", 0x83: "Landscape", 0x84: "Neutral", 0x85: "Faithful", 0x86: "Monochrome"},
    **{0x87: "Auto", 0x88: "Fine Detail"},
}
PANASONIC_STYLES = {
    **{1: "Standard", 2: "Vivid", 3: "Natural", 4: "Monochrome", 5: "Scenery", 6: "Portrait", 8: "Cinelike D"},
    **{9: "Cinelike V", 11: "L. Monochrome", 15: "L. Monochrome D"},
}
FUJI_FILMS = {
    **{0x000: "Provia", 0x100: "Studio Portrait", 0x110: "Studio Portrait", 0x120: "Astia", 0x200: "Velvia"},
    **{0x400: "Velvia", 0x500: "Pro Neg. Std", 0x501: "Pro Neg. Hi", 0x600: "Classic Chrome", 0x700: "Eterna"},
    **{0x800: "Classic Negative", 0x900: "Eterna Bleach Bypass", 0xA00: "Nostalgic Negative", 0xB00: "Reala Ace"},
}


def picture_style(tags: Image.Exif) -> str:
    """The name of the picture style, color mode or film that a RAW's or JPEG's tags tell; "" where they do not."""
    note = tags.get_ifd(EXIF_IFD).get(MAKER_NOTE)
    maker = str(tags.get(271, "")).upper()
    if not isinstance(note, bytes):
        return ""
    order = tags.endian or "<"
    try:
        if note.startswith(b"Nikon\0"):
            order = "<" if note[10:12] == b"II" else ">"
            return _text(_entries(note[10:], 8, order).get(0x23, b"")[4:24]).title()
        if note.startswith(b"FUJIFILM"):
            found = _entries(note, struct.unpack_from("<I", note, 8)[0], "<").get(0x1401)
            return _named(FUJI_FILMS, struct.unpack_from("<H", found)[0]) if found else ""
        if note.startswith(b"SONY"):
            return _text(_entries(note, 12, order, guess=True).get(0xB020, b""))
        if note.startswith(b"Panasonic"):
            found = _entries(note, 12, order, guess=True).get(0x89)
            return _named(PANASONIC_STYLES, struct.unpack_from(order + "H", found)[0]) if found else ""
        if maker.startswith("CANON"):
            found = _entries(note, 0, order, guess=True).get(0xA0, b"")
            return _named(CANON_STYLES, struct.unpack_from(order + "h", found, 20)[0]) if len(found) >= 22 else ""
    except struct.error:  # cut short, or not what its header says
        pass
    return ""


def _entries(note: bytes, start: int, order: str, guess: bool = False) -> dict[int, bytes]:
    """The values of a directory, as bytes.

    Where values lie elsewhere, their places count from the note's start; or, to be guessed, from that of the file the
    note lay in: then the first of them follows the directory.
    """
    count = struct.unpack_from(order + "H", note, start)[0]
    found: list[Any] = [struct.unpack_from(order + "HHI4s", note, start + 2 + 12 * index) for index in range(count)]
    values, places = {}, {}
    for tag, kind, number, field in found:
        size = SIZES.get(kind, 0) * number
        if size <= 4:
            values[tag] = field[:size]
        else:
            places[tag] = struct.unpack(order + "I", field)[0], size
    base = min((place for place, _ in places.values()), default=0) - (start + 2 + 12 * count + 4) if guess else 0
    for tag, (place, size) in places.items():
        values[tag] = note[max(0, place - base) :][:size]
    return values


def _text(value: bytes) -> str:
    return " ".join(value.split(b"\0")[0].decode("ascii", "replace").split())


def _named(names: dict[int, str], number: int) -> str:
    return names.get(number, f"style {number}")
