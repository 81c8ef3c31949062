"""IPTC's older blocks of tags (IIM) in JPEGs, TIFFs and RAWs, read as the XMP properties that took their place."""

import struct
from collections.abc import Iterator

from lwisp.files.exif import decode_text
from lwisp.files.xmp import LISTS, Value

IPTC_TAG, PHOTOSHOP_TAG = 33723, 34377
"""TIFF's tags for such a block, and for Photoshop's resources, of which one is such a block."""
RESOURCE = 0x0404
"""Number of that resource."""
CHARACTER_SET = (1, 90)
LATIN_1 = b"\x1b.A"
NAMES = {
    5: "dc:title",
    15: "photoshop:Category",
    25: "dc:subject",
    40: "photoshop:Instructions",
    80: "dc:creator",
    85: "photoshop:AuthorsPosition",
    90: "photoshop:City",
    92: "Iptc4xmpCore:Location",
    95: "photoshop:State",
    100: "Iptc4xmpCore:CountryCode",
    101: "photoshop:Country",
    103: "photoshop:TransmissionReference",
    105: "photoshop:Headline",
    110: "photoshop:Credit",
    115: "photoshop:Source",
    116: "dc:rights",
    120: "dc:description",
    122: "photoshop:CaptionWriter",
}
"""Names of the properties, by the numbers of the data sets of record 2."""
MOST_VALUES = 1000
"""Data sets of a block that are read."""


def read_iptc(block: bytes) -> dict[str, Value]:
    """The properties of an IIM block.

    Args:
        block: The data sets, one behind the other.

    Returns:
        Values by names, as `xmp.read` gives them; those before the place where the block is damaged.
    """
    found: dict[str, list[str]] = {}
    is_latin = False
    for number, (record, data_set, content) in enumerate(_data_sets(block)):
        if number == MOST_VALUES:
            break
        if (record, data_set) == CHARACTER_SET:
            is_latin = content == LATIN_1
        elif record == 2 and data_set in NAMES:
            text = content.decode("latin-1") if is_latin else decode_text(content)
            if text := text.replace("\0", "").strip():
                found.setdefault(NAMES[data_set], []).append(text)
    return {name: tuple(values) if name in LISTS else values[0] for name, values in found.items()}


def _data_sets(block: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Record, number and content of each."""
    place = 0
    while place + 5 <= len(block) and block[place] == 0x1C:
        record, data_set, size = struct.unpack_from(">BBH", block, place + 1)
        place += 5
        if size & 0x8000:  # the size of the size
            length = size & 0x7FFF
            size = int.from_bytes(block[place : place + length][:9], "big")
            place += length
        if place + size > len(block):
            return
        yield record, data_set, block[place : place + size]
        place += size


def find_resource(resources: bytes) -> bytes:
    """The IIM block among Photoshop's resources.

    Args:
        resources: All of them, as they stand in a TIFF, or in a JPEG behind their header.

    Returns:
        The block; b"" where there is none.
    """
    place = 0
    while place + 12 <= len(resources) and resources[place : place + 4] == b"8BIM":
        number, named = struct.unpack_from(">HB", resources, place + 4)
        place += 6 + (1 + named + 1) // 2 * 2
        if place + 4 > len(resources):
            break
        size = struct.unpack_from(">L", resources, place)[0]
        content = resources[place + 4 : place + 4 + size]
        if number == RESOURCE:
            return content
        place += 4 + size + size % 2
    return b""
