"""Picture styles, cameras and lenses out of makers' notes, laid out here byte by byte after ExifTool's tables."""

import struct

import pytest
from PIL import Image

from lwisp.files.makernotes import Gear, picture_style, read_gear


def directory(order: str, entries: dict[int, tuple[int, int, bytes]], place: int) -> bytes:
    """A directory whose longer values follow it; `place` is what its first byte counts as."""
    fixed, data = struct.pack(order + "H", len(entries)), b""
    behind = place + 2 + 12 * len(entries) + 4
    for tag, (kind, count, value) in entries.items():
        field = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(order + "I", behind + len(data))
        fixed += struct.pack(order + "HHI", tag, kind, count) + field
        data += value if len(value) > 4 else b""
    return fixed + b"\0\0\0\0" + data


def tags(make: str, note: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif[271] = make
    exif.get_ifd(0x8769)[37500] = note
    exif.endian = "<"
    return exif


CANON = directory("<", {1: (3, 4, bytes(8)), 0xA0: (3, 14, struct.pack("<14h", *range(10), 0x83, 0, 0, 0))}, 700)
NIKON = b"Nikon\0\2\x10\0\0MM\0*\0\0\0\x08" + directory(
    ">", {1: (7, 4, b"0210"), 0x23: (7, 58, (b"0100VIVID".ljust(24, b"\0") + bytes(34)))}, 8
)
FUJI = b"FUJIFILM" + struct.pack("<I", 12) + directory("<", {0x1401: (3, 1, struct.pack("<H", 0x600))}, 12)
SONY = b"SONY DSC \0\0\0" + directory(
    "<", {0x102: (4, 1, bytes(4)), 0xB020: (2, 16, b"Portrait".ljust(16, b"\0"))}, 3000
)
PANASONIC = b"Panasonic\0\0\0" + directory("<", {0x89: (3, 1, struct.pack("<H", 2))}, 900)


@pytest.mark.parametrize(
    ("make", "note", "style"),
    [
        ("Canon", CANON, "Landscape"),
        ("NIKON CORPORATION", NIKON, "Vivid"),
        ("FUJIFILM", FUJI, "Classic Chrome"),
        ("SONY", SONY, "Portrait"),
        ("Panasonic", PANASONIC, "Vivid"),
        ("Canon", CANON[:-28] + CANON[-28:].replace(b"\x83\0", b"\x99\0"), "style 153"),
        ("GoPro", b"\x0b\0\x11\0\0\x80\x86G", ""),
    ],
    ids=["Canon", "Nikon", "Fujifilm", "Sony", "Panasonic", "unknown style", "GoPro"],
)
def test_the_style_is_read(make: str, note: bytes, style: str) -> None:
    assert picture_style(tags(make, note)) == style


def test_damaged_notes_tell_nothing() -> None:
    assert picture_style(Image.Exif()) == ""
    for note in (CANON, NIKON, FUJI, SONY, PANASONIC):
        make = "Canon" if note is CANON else ""
        for length in range(0, len(note), 5):
            assert isinstance(picture_style(tags(make, note[:length])), str)
        assert isinstance(picture_style(tags(make, note[:12] + b"\xff" * 40)), str)


def canon(**others: bytes) -> bytes:
    """Notes with settings that tell of 18 to 55 mm in steps of half a mm."""
    settings = [0] * 30
    settings[23:26] = [110, 36, 2]
    entries = {
        0x01: (3, 30, struct.pack("<30H", *settings)),
        0x09: (2, 32, others.get("owner", b"Zoe").ljust(32, b"\0")),
        0x0C: (4, 1, struct.pack("<I", 530910263)),
    }
    if "lens" in others:
        entries[0x95] = (2, 64, others["lens"].ljust(64, b"\0"))
    return directory("<", entries, 700)


NIKON_LENS = b"Nikon\0\2\x10\0\0MM\0*\0\0\0\x08" + directory(
    ">", {0x1D: (2, 8, b"6438342\0"), 0x84: (5, 4, struct.pack(">8I", 180, 10, 550, 10, 35, 10, 56, 10))}, 8
)
PANASONIC_LENS = b"Panasonic\0\0\0" + directory(
    "<", {0x51: (2, 34, b"LUMIX G VARIO 12-32".ljust(34, b"\0")), 0x52: (2, 14, b"03JG8251017".ljust(14, b"\0"))}, 900
)


@pytest.mark.parametrize(
    ("make", "note", "gear"),
    [
        ("Canon", canon(lens=b"EF-S18-55mm"), Gear("Zoe", "0530910263", "EF-S18-55mm", "", (18, 55, 0, 0))),
        ("Canon", canon(owner=b"unknown"), Gear("", "0530910263", "", "", (18, 55, 0, 0))),
        ("Canon", canon(owner=b"\xff\x07"), Gear("", "0530910263", "", "", (18, 55, 0, 0))),
        ("NIKON CORPORATION", NIKON_LENS, Gear(serial="6438342", lens_range=(18, 55, 3.5, 5.6))),
        ("Panasonic", PANASONIC_LENS, Gear(lens="LUMIX G VARIO 12-32", lens_serial="03JG8251017")),
        ("SONY", SONY, Gear()),
        ("GoPro", b"\x0b\0\x11", Gear()),
    ],
    ids=["Canon", "no owner", "rubbish", "Nikon", "Panasonic", "Sony", "GoPro"],
)
def test_camera_and_lens_are_read(make: str, note: bytes, gear: Gear) -> None:
    assert read_gear(tags(make, note)) == gear


def test_damaged_notes_tell_no_lens() -> None:
    for make, note in (("Canon", canon(lens=b"EF")), ("NIKON", NIKON_LENS), ("Panasonic", PANASONIC_LENS)):
        for length in range(len(note)):
            read_gear(tags(make, note[:length]))
