"""Picture style, camera and lens in the notes that makers keep in EXIF's tag 37500, where they can be read safely.

Layouts after ExifTool's tables: a directory like TIFF's behind a header of the maker's own.
"""

import struct
from dataclasses import dataclass
from typing import Any, Literal

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


@dataclass(frozen=True)
class Notes:
    """A maker's notes, where their layout is known."""

    maker: Literal["Canon", "Nikon", "Fujifilm", "Sony", "Panasonic"]
    order: str
    """`struct`'s letter of their order of bytes."""
    values: dict[int, bytes]
    """By the maker's own tags."""


def read_notes(tags: Image.Exif) -> Notes | None:
    """The maker's notes in a RAW's or JPEG's tags; None where there are none that can be read."""
    note = tags.get_ifd(EXIF_IFD).get(MAKER_NOTE)
    maker = str(tags.get(271, "")).upper()
    if not isinstance(note, bytes):
        return None
    order = tags.endian or "<"
    try:
        if note.startswith(b"Nikon\0"):
            order = "<" if note[10:12] == b"II" else ">"
            return Notes("Nikon", order, _entries(note[10:], 8, order))
        if note.startswith(b"FUJIFILM"):
            return Notes("Fujifilm", "<", _entries(note, struct.unpack_from("<I", note, 8)[0], "<"))
        if note.startswith(b"SONY"):
            return Notes("Sony", order, _entries(note, 12, order, guess=True))
        if note.startswith(b"Panasonic"):
            return Notes("Panasonic", order, _entries(note, 12, order, guess=True))
        if maker.startswith("CANON"):
            return Notes("Canon", order, _entries(note, 0, order, guess=True))
    except struct.error:  # cut short, or not what its header says
        pass
    return None


def picture_style(tags: Image.Exif) -> str:
    """The name of the picture style, color mode or film that a RAW's or JPEG's tags tell; "" where they do not."""
    notes = read_notes(tags)
    if notes is None:
        return ""
    values, order = notes.values, notes.order
    try:
        if notes.maker == "Nikon":
            return _text(values.get(0x23, b"")[4:24]).title()
        if notes.maker == "Fujifilm":
            found = values.get(0x1401)
            return _named(FUJI_FILMS, struct.unpack_from("<H", found)[0]) if found else ""
        if notes.maker == "Sony":
            return _text(values.get(0xB020, b""))
        if notes.maker == "Panasonic":
            found = values.get(0x89)
            return _named(PANASONIC_STYLES, struct.unpack_from(order + "H", found)[0]) if found else ""
        found = values.get(0xA0, b"")
        return _named(CANON_STYLES, struct.unpack_from(order + "h", found, 20)[0]) if len(found) >= 22 else ""
    except struct.error:
        return ""


@dataclass(frozen=True)
class Gear:
    """The very camera and lens that a photo was taken with; what is not told is empty."""

    owner: str = ""
    serial: str = ""
    """Of the camera."""
    lens: str = ""
    lens_serial: str = ""
    lens_range: tuple[float, float, float, float] | None = None
    """Shortest and longest focal length in mm, with the f-numbers of either; 0 for one that is not told."""


def read_gear(tags: Image.Exif) -> Gear:
    """What a maker's notes tell of camera and lens, of makers that kept it out of EXIF's own tags."""
    notes = read_notes(tags)
    if notes is None:
        return Gear()
    values, order = notes.values, notes.order
    try:
        if notes.maker == "Canon":
            owner = _name(values.get(0x09, b""))
            lens_range = _canon_range(values.get(0x01, b""), order)
            serial = _canon_serial(values.get(0x0C, b""), order, str(tags.get(272, "")))
            return Gear("" if owner == "unknown" else owner, serial, _name(values.get(0x95, b"")), "", lens_range)
        if notes.maker == "Nikon":
            return Gear(serial=_name(values.get(0x1D, b"")), lens_range=_nikon_range(values.get(0x84, b""), order))
        if notes.maker == "Panasonic":
            return Gear(lens=_name(values.get(0x51, b"")), lens_serial=_name(values.get(0x52, b"")))
    except struct.error:
        pass
    return Gear()


def _canon_serial(value: bytes, order: str, model: str) -> str:
    number = struct.unpack(order + "I", value)[0] if len(value) == 4 else 0
    return f"{number:06}" if number and "EOS-1D" in model else f"{number:010}" if number else ""


def _canon_range(settings: bytes, order: str) -> tuple[float, float, float, float] | None:
    """Of the camera's settings, numbers of 16 bits, the focal lengths and the steps a mm that they count in."""
    if len(settings) < 52:
        return None
    longest, shortest, steps = struct.unpack_from(order + "3H", settings, 46)
    return (shortest / steps, longest / steps, 0.0, 0.0) if steps and 0 < shortest <= longest else None


def _nikon_range(value: bytes, order: str) -> tuple[float, float, float, float] | None:
    if len(value) != 32:
        return None
    parts = struct.unpack(order + "8I", value)
    if 0 in parts[1::2] or parts[0] == 0:
        return None
    shortest, longest, wide, tele = (top / bottom for top, bottom in zip(parts[::2], parts[1::2], strict=True))
    return shortest, longest, wide, tele


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


def _name(value: bytes) -> str:
    """A name of ASCII letters; "" where they are others, for then its place was guessed wrong."""
    text = value.split(b"\0")[0]
    return text.decode("ascii").strip() if text.isascii() and text.decode("ascii").isprintable() else ""


def _named(names: dict[int, str], number: int) -> str:
    return names.get(number, f"style {number}")
