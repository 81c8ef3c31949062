"""Tags of a CR3, whose boxes are laid out here byte by byte, as the format's public description has them."""

import io
import struct

import pytest

from lwisp.files.completion import complete
from lwisp.files.cr3 import BRAND, TAGS_BOX, XMP_BOX, read_cr3
from lwisp.files.exif import EXIF_IFD, GPS_IFD
from lwisp.files.xmp import XMP_TAG
from tests.files.test_completion import told
from tests.files.test_makernotes import canon, directory


def box(kind: bytes, content: bytes, wide: bool = False) -> bytes:
    if wide:
        return struct.pack(">L4sQ", 1, kind, 16 + len(content)) + content
    return struct.pack(">L4s", 8 + len(content), kind) + content


def tiff(entries: dict[int, tuple[int, int, bytes]]) -> bytes:
    return b"II*\0\x08\0\0\0" + directory("<", entries, 8)


def text(value: str) -> tuple[int, int, bytes]:
    data = value.encode() + b"\0"
    return 2, len(data), data


TAGS = (
    box(b"CNCV", b"CanonCR3_001/00.09.00/00.00.00")
    + box(b"CMT1", tiff({271: text("Canon"), 272: text("Canon EOS R5"), 315: text("Zoë")}))
    + box(b"CMT2", tiff({34855: (3, 1, struct.pack("<H", 800)), 36867: text("2024:02:29 23:59:59")}))
    + box(b"CMT3", b"II*\0\x08\0\0\0" + canon(lens=b"RF24-105mm F4 L IS USM"))
    + box(b"CMT4", tiff({1: text("N")}))
)
FILE = (
    box(b"ftyp", BRAND[4:] + b"\0\0\0\1crx isom")
    + box(b"moov", box(b"uuid", TAGS_BOX + TAGS) + box(b"mvhd", bytes(100)))
    + box(b"uuid", XMP_BOX + b"<x/>")
    + box(b"mdat", bytes(1000), wide=True)
)


def test_all_directories_are_read() -> None:
    exif = read_cr3(io.BytesIO(FILE))
    assert (exif[271], exif[272], exif[315], exif[XMP_TAG]) == ("Canon", "Canon EOS R5", "Zoë", b"<x/>")
    photo = exif.get_ifd(EXIF_IFD)
    assert (photo[34855], photo[36867]) == (800, "2024:02:29 23:59:59")
    assert exif.get_ifd(GPS_IFD) == {1: "N"}
    complete(exif, told(), FILE[:16])
    assert photo[42036] == "RF24-105mm F4 L IS USM"


@pytest.mark.parametrize("cut", range(0, len(FILE), 7))
def test_one_cut_short_tells_what_is_whole(cut: int) -> None:
    assert set(read_cr3(io.BytesIO(FILE[:cut]))) <= {271, 272, 315, XMP_TAG}


def test_other_files_and_endless_boxes_tell_nothing() -> None:
    assert not read_cr3(io.BytesIO(b"II*\0" + bytes(100)))
    assert not read_cr3(io.BytesIO(box(b"ftyp", BRAND[4:]) + struct.pack(">L4s", 0, b"moov") * 1000))
    assert not read_cr3(io.BytesIO(box(b"ftyp", BRAND[4:]) + struct.pack(">L4sQ", 1, b"moov", 2**63)))
