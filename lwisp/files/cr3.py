"""Tags of Canon's CR3: a file of boxes, in which each of a TIFF's directories is a TIFF of its own."""

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image

from lwisp.files.exif import EXIF_IFD, GPS_IFD, read_tiff
from lwisp.files.makernotes import MAKER_NOTE
from lwisp.files.xmp import XMP_TAG

BRAND = b"ftypcrx "
"""What stands in a CR3 from byte 4 on."""
TAGS_BOX = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
"""The boxes of kind "uuid" that hold Canon's tags, in the box "moov", and the XMP packet."""
MOST = 2**22
"""Bytes of a box that is read."""
MOST_BOXES = 1000


def read_cr3(file: BinaryIO) -> Image.Exif:
    """All tags of a CR3, its XMP packet among them; empty of any other file, and of what is damaged.

    Args:
        file: The file, open in binary mode.

    Raises:
        OSError: It cannot be read.
    """
    exif = Image.Exif()
    file.seek(4)
    if file.read(8) != BRAND:
        return exif
    for kind, content in _boxes(file):
        if kind == b"moov":
            _read_tags(content, exif)
        elif kind == b"uuid" and content.startswith(XMP_BOX):
            exif[XMP_TAG] = content.removeprefix(XMP_BOX)
    return exif


def _read_tags(moov: bytes, exif: Image.Exif) -> None:
    for kind, content in _boxes(io.BytesIO(moov)):
        if kind != b"uuid" or not content.startswith(TAGS_BOX):
            continue
        for name, part in _boxes(io.BytesIO(content.removeprefix(TAGS_BOX))):
            tags = read_tiff(io.BytesIO(part))
            if name == b"CMT1":
                exif.endian = tags.endian
                for tag, value in tags.items():
                    exif[tag] = value
            elif name == b"CMT2":
                exif.get_ifd(EXIF_IFD).update(tags)
            elif name == b"CMT3":
                exif.get_ifd(EXIF_IFD)[MAKER_NOTE] = part[8:]  # behind a TIFF's head, the notes of other Canons
            elif name == b"CMT4":
                exif.get_ifd(GPS_IFD).update(tags)


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each box; that of a large one is passed over."""
    size = file.seek(0, io.SEEK_END)
    place = 0
    for _ in range(MOST_BOXES):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">L4s", head)
        before = 8
        if length == 1:  # then 64 bits tell it
            wide = file.read(8)
            before = 16
            length = struct.unpack(">Q", wide)[0] if len(wide) == 8 else 0
        if length < before or place + length > size:
            return
        if length - before <= MOST:
            yield kind, file.read(length - before)
        place += length
