"""IPTC's older blocks, laid out here byte by byte after the IIM standard, read as XMP properties."""

import struct

import pytest

from lwisp.files.iptc import find_resource, read_iptc

UTF_8 = b"\x1b%G"


def data_set(record: int, number: int, content: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, record, number, len(content)) + content


def resource(number: int, content: bytes, name: bytes = b"") -> bytes:
    named = bytes([len(name)]) + name
    return (
        b"8BIM"
        + struct.pack(">H", number)
        + named
        + b"\0" * (len(named) % 2)
        + struct.pack(">L", len(content))
        + content
        + b"\0" * (len(content) % 2)
    )


BLOCK = (
    data_set(1, 90, UTF_8)
    + data_set(2, 0, b"\0\4")
    + data_set(2, 25, "Möwe".encode())
    + data_set(2, 25, b"sea")
    + data_set(2, 80, "Zoë".encode())
    + data_set(2, 90, "Łódź".encode())
    + data_set(2, 116, "©".encode())
    + data_set(2, 120, b"Ein Tag\0am Meer")
)


def test_keywords_caption_and_byline_are_read() -> None:
    assert read_iptc(BLOCK) == {
        "dc:subject": ("Möwe", "sea"),
        "dc:creator": ("Zoë",),
        "photoshop:City": "Łódź",
        "dc:rights": "©",
        "dc:description": "Ein Tagam Meer",
    }


@pytest.mark.parametrize("character_set", [b"", b"\x1b.A"], ids=["none", "latin-1"])
def test_latin_letters_without_utf_8_are_read(character_set: bytes) -> None:
    before = data_set(1, 90, character_set) if character_set else b""
    assert read_iptc(before + data_set(2, 116, b"\xa9 \xc9t\xe9")) == {"dc:rights": "© Été"}


def test_utf_8_is_known_without_being_told_and_latin_1_where_it_is_told() -> None:
    assert read_iptc(data_set(2, 105, "Möwe".encode())) == {"photoshop:Headline": "Möwe"}
    told = data_set(1, 90, b"\x1b.A") + data_set(2, 105, "Ã¶".encode("latin-1"))
    assert read_iptc(told) == {"photoshop:Headline": "Ã¶"}


def test_long_data_sets_tell_the_size_of_their_size() -> None:
    text = b"x" * 40_000
    block = struct.pack(">BBBH", 0x1C, 2, 120, 0x8004) + struct.pack(">L", len(text)) + text
    assert read_iptc(block + data_set(2, 25, b"after")) == {"dc:description": text.decode(), "dc:subject": ("after",)}


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\x1c",
        b"no block",
        data_set(2, 25, b"word")[:-1],
        struct.pack(">BBBH", 0x1C, 2, 25, 0xFFFF) + b"\xff" * 70_000,
        struct.pack(">BBBH", 0x1C, 2, 25, 0x8004) + b"\xff\xff\xff\xff",
        b"\x1c\2\x19\0\0" * 100_000,
    ],
    ids=["empty", "marker", "text", "cut", "endless size", "huge", "many"],
)
def test_damaged_blocks_tell_nothing(damaged: bytes) -> None:
    assert read_iptc(damaged) == {}


def test_the_block_is_found_among_photoshops_resources() -> None:
    others = resource(1005, bytes(16), b"odd") + resource(1061, b"abc")
    assert find_resource(others + resource(0x0404, BLOCK) + others) == BLOCK
    assert find_resource(others) == b""
    for length in range(len(others)):
        assert find_resource(others[:length]) in (b"", bytes(16), b"abc")
    assert find_resource(b"8BIM\4\4\0\0\xff\xff\xff\xffrest") == b"rest"
