"""What people said of a photo: out of its XMP and IPTC, Windows' tags and sidecars, and what is said of edits."""

import struct
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tifffile
from PIL import Image

from lwisp.files.pictures import read_picture, read_properties, write_picture
from lwisp.files.raw import RawImage, read_raw
from lwisp.files.xmp import Value, build
from tests.conftest import WriteDng
from tests.files.test_iptc import BLOCK, data_set, resource

RNG = np.random.default_rng(2)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
MOSAIC = RNG.integers(64, 4000, (40, 60), dtype=np.uint16)
TOLD: dict[str, Value] = {"xmp:Rating": "3", "dc:subject": ("Möwe", "sea"), "dc:title": "Tag"}

CAMERA_RAW = 'xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"'
DARKTABLE = 'xmlns:darktable="http://darktable.sf.net/"'


def packet(attributes: str, inside: str = "") -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/" {attributes}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>'
    ).encode()


def test_a_jpegs_xmp_and_iptc_are_read_and_xmp_wins(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    segment = b"Photoshop 3.0\0" + resource(1005, bytes(16)) + resource(0x0404, BLOCK)
    Image.fromarray(RGB).save(path, xmp=build({**TOLD, "dc:format": "image/jpeg", "lwisp:Verb": "denoise"}))
    content = path.read_bytes()
    path.write_bytes(content[:2] + b"\xff\xed" + struct.pack(">H", 2 + len(segment)) + segment + content[2:])
    found = read_picture(path).properties
    assert found == {
        **TOLD,
        "dc:creator": ("Zoë",),
        "photoshop:City": "Łódź",
        "dc:rights": "©",
        "dc:description": "Ein Tagam Meer",
    }


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["bytes", "numbers", "photoshop"])
def test_a_tiffs_iptc_is_read_in_whatever_type_it_is_written(
    kind: str, order: Literal["<", ">"], tmp_path: Path
) -> None:
    block = BLOCK + bytes(-len(BLOCK) % 4)
    tag = {
        "bytes": (33723, "B", len(block), block, True),
        "numbers": (33723, "I", len(block) // 4, struct.unpack(f"{order}{len(block) // 4}I", block), True),
        "photoshop": (34377, "B", len(resource(0x404, block)), resource(0x404, block), True),
    }[kind]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", byteorder=order, metadata=None, extratags=[tag])
    assert read_picture(path).properties["dc:subject"] == ("Möwe", "sea")


def test_a_raws_own_xmp_and_iptc_are_read(write_dng: WriteDng) -> None:
    told = build({"xmp:Rating": "5", "dc:rights": "© Zoë"})
    tags = ((700, "B", len(told), told, True), (33723, "B", len(BLOCK), BLOCK, True))
    raw = read_raw(write_dng(MOSAIC, extra=tags))
    assert raw.properties["xmp:Rating"] == "5"
    assert raw.properties["dc:rights"] == "© Zoë"
    assert raw.properties["dc:subject"] == ("Möwe", "sea")
    assert raw.notes == ()


def test_windows_keywords_and_title_are_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[40094] = "Möwe; sea;\0".encode("utf-16-le")
    exif[40091] = "Tag\0".encode("utf-16-le")
    write_picture(tmp_path / "a.jpg", RGB, exif=exif)
    assert read_picture(tmp_path / "a.jpg").properties == {"dc:subject": ("Möwe", "sea"), "dc:title": "Tag"}


@pytest.mark.parametrize(("rating", "told"), [(3, {"xmp:Rating": "3"}), (0, {}), (77, {})])
def test_a_rating_among_exifs_tags_becomes_xmps(rating: int, told: dict[str, Value], tmp_path: Path) -> None:
    """Microsoft's tag is none of EXIF's standard; every program reads XMP's."""
    exif = Image.Exif()
    exif[18246] = rating
    Image.fromarray(RGB).save(tmp_path / "a.jpg", exif=exif)
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.properties == told
    write_picture(tmp_path / "b.jpg", picture.rgb, exif=picture.exif, properties=picture.properties)
    again = read_picture(tmp_path / "b.jpg")
    assert (again.properties, 18246 in again.exif) == (told, False)


@pytest.mark.parametrize("name", ["photo.xmp", "photo.XMP", "photo.dng.xmp"])
def test_a_sidecar_of_a_raw_is_read(name: str, write_dng: WriteDng, tmp_path: Path) -> None:
    path = write_dng(MOSAIC)
    (tmp_path / name).write_bytes(build(TOLD))
    raw = read_raw(path)
    assert (raw.properties, raw.notes) == (TOLD, ())
    assert read_raw(path.read_bytes()).properties == {}  # of a file without a place nothing lies beside


def test_the_sidecar_of_the_whole_name_wins_over_the_stems_and_both_over_the_file(
    write_dng: WriteDng, tmp_path: Path
) -> None:
    own = build({"xmp:Rating": "1", "dc:title": "one", "dc:rights": "©"})
    path = write_dng(MOSAIC, extra=((700, "B", len(own), own, True),))
    (tmp_path / "photo.xmp").write_bytes(build({"xmp:Rating": "2", "dc:title": "two"}))
    (tmp_path / "photo.dng.xmp").write_bytes(build({"xmp:Rating": "3"}))
    assert read_raw(path).properties == {"xmp:Rating": "3", "dc:title": "two", "dc:rights": "©"}


def test_of_a_picture_only_the_sidecar_of_its_whole_name_is_its_own(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", RGB)
    (tmp_path / "a.xmp").write_bytes(build({"xmp:Rating": "2"}))  # that of a.dng, if there is one
    assert read_picture(tmp_path / "a.jpg").properties == {}
    (tmp_path / "a.jpg.xmp").write_bytes(build({"xmp:Rating": "3"}))
    assert read_picture(tmp_path / "a.jpg").properties == {"xmp:Rating": "3"}


@pytest.mark.parametrize(
    ("content", "editor"),
    [
        (packet(f'{CAMERA_RAW} crs:Exposure2012="+0.50"'), "Camera Raw"),
        (packet(CAMERA_RAW, "<crs:Exposure2012>+0.50</crs:Exposure2012>"), "Camera Raw"),
        (packet(f'{CAMERA_RAW} crs:HasSettings="True"'), "Camera Raw"),
        (packet(f'{CAMERA_RAW} crs:HasSettings="False" crs:Sharpness="40"'), ""),
        (packet(f'{CAMERA_RAW} crs:Exposure2012="+0.50" crs:AlreadyApplied="True"'), ""),
        (packet(f'{CAMERA_RAW} crs:Version="15.0" crs:RawFileName="a.dng"'), ""),
        (
            packet(DARKTABLE, '<darktable:history><rdf:Seq><rdf:li darktable:num="0"/></rdf:Seq></darktable:history>'),
            "darktable",
        ),
        (packet(f'{DARKTABLE} darktable:history_end="3"'), "darktable"),
        (packet(f'{DARKTABLE} darktable:xmp_version="5" darktable:history_end="0"'), ""),
        (packet('xmp:Rating="2"'), ""),
    ],
)
def test_edits_in_a_sidecar_are_said_to_be_ignored(
    content: bytes, editor: str, write_dng: WriteDng, tmp_path: Path
) -> None:
    path = write_dng(MOSAIC)
    (tmp_path / "photo.xmp").write_bytes(content)
    assert read_raw(path).notes == ((f"edits of {editor} in photo.xmp are ignored",) if editor else ())


@pytest.mark.parametrize("content", [b"", b"<x", b"\xff\xfe\0", b"<!DOCTYPE a []><a/>", b" " * 5_000_000])
def test_a_damaged_sidecar_is_noted_and_not_fatal(content: bytes, write_dng: WriteDng, tmp_path: Path) -> None:
    path = write_dng(MOSAIC)
    (tmp_path / "photo.xmp").write_bytes(content)
    (tmp_path / "photo.dng.xmp").mkdir()
    raw = read_raw(path)
    assert (raw.properties, raw.notes) == ({}, ("photo.xmp beside it is damaged or too large: not read",))


def test_what_no_jpeg_has_room_for_is_noted(write_dng: WriteDng, tmp_path: Path) -> None:
    path = write_dng(MOSAIC)
    (tmp_path / "photo.xmp").write_bytes(build({**TOLD, "dc:description": "&" * 20_000}))
    raw = read_raw(path)
    assert raw.properties == TOLD
    assert raw.notes == ("dc:description is too long for a picture's XMP: left out",)
    write_picture(tmp_path / "a.jpg", RGB, exif=raw.exif, properties=raw.properties)
    assert read_properties(tmp_path / "a.jpg") == TOLD


def test_a_raw_made_in_memory_has_none() -> None:
    assert RawImage(MOSAIC, "RGGB", (0.0,) * 4, (4095.0,) * 4).properties == {}


def test_keywords_of_one_data_set_are_a_list() -> None:
    from lwisp.files.iptc import read_iptc

    assert read_iptc(data_set(2, 25, b"one")) == {"dc:subject": ("one",)}
