"""Tags of finished pictures: what they hold, byte by byte, and that texts pass unchanged."""

import io
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

import lwisp
from lwisp.files.encoding import Format
from lwisp.files.exif import EXIF_IFD, GPS_IFD, read_jpeg
from lwisp.files.pictures import read_picture, read_properties, write_picture
from lwisp.files.properties import of_raw
from lwisp.files.raw import read_raw
from lwisp.files.tags import MAX_BYTES, finished_tags
from lwisp.files.xmp import Value, build
from tests.conftest import WriteDng

RGB = np.random.default_rng(3).integers(0, 256, (20, 30, 3), dtype=np.uint8)
FORMATS: tuple[Format, ...] = ("jpg", "png", "png16", "tiff")
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 10: 8}
TEXTS = {270: "Café, Łódź, 東京", 315: "Zoë", 33432: "© 2024 Été"}


def everything() -> Image.Exif:
    """Tags as a camera and its owner may write them."""
    exif = Image.Exif()
    exif.endian = "<"
    for tag, value in {**TEXTS, 271: "Make", 272: "Model", 306: "2024:02:29 23:59:59", 18246: 4}.items():
        exif[tag] = value
    exif[40094] = "Möwe;sea\0".encode("utf-16-le")
    exif.get_ifd(EXIF_IFD).update(
        {
            33434: IFDRational(1, 250),
            33437: IFDRational(28, 10),
            34850: 2,
            34855: 400,
            36867: "2024:02:29 23:59:59",
            36881: "+01:00",
            37380: IFDRational(1, 3),
            37510: b"ASCII\0\0\0by the sea",
            42032: "Zoë Ähm",
            42033: "0123",
            42034: (IFDRational(18), IFDRational(55), IFDRational(0, 0), IFDRational(0, 0)),
            42036: "18-55mm",
            42037: "77",
        }
    )
    exif.get_ifd(GPS_IFD).update({1: "N", 2: (47.5, 0.0, 0.0), 3: "E", 4: (19.0, 2.0, 30.0), 29: "2024:02:29"})
    return exif


def directories(content: bytes) -> dict[int, dict[int, tuple[int, int, bytes]]]:
    """Type, count and bytes of the tags of a TIFF of little endian, by the tag that points at their directory."""
    assert content[:4] == b"II*\0"
    found: dict[int, dict[int, tuple[int, int, bytes]]] = {}
    places = {0: struct.unpack("<L", content[4:8])[0]}
    while places:
        name, place = places.popitem()
        count = struct.unpack_from("<H", content, place)[0]
        order = []
        found[name] = {}
        for index in range(count):
            tag, kind, number, field = struct.unpack_from("<HHL4s", content, place + 2 + 12 * index)
            order.append(tag)
            size = SIZES[kind] * number
            start = struct.unpack("<L", field)[0]
            if size > 4:
                assert start % 2 == 0
                field = content[start : start + size]
            assert len(field) >= size
            found[name][tag] = kind, number, field[:size]
            if tag in (EXIF_IFD, GPS_IFD):
                places[tag] = start
        assert order == sorted(set(order))
        assert content[place + 2 + 12 * count :][:4] == bytes(4)
    return found


def exif_of(jpeg: bytes) -> bytes:
    place = jpeg.index(b"Exif\0\0")
    length = struct.unpack(">H", jpeg[place - 2 : place])[0]
    return jpeg[place + 6 : place - 2 + length]


def test_a_jpegs_tags_are_what_the_standard_demands(tmp_path: Path) -> None:
    """EXIF 2.32, tables 4 to 8 and 21: types, counts, texts with a NUL, and the mandatory tags of a JPEG."""
    write_picture(tmp_path / "a.jpg", RGB, exif=everything())
    found = directories(exif_of((tmp_path / "a.jpg").read_bytes()))
    main, photo, gps = found[0], found[EXIF_IFD], found[GPS_IFD]
    for tag, text in TEXTS.items():
        assert main[tag] == (2, len(text.encode()) + 1, text.encode() + b"\0")
    assert main[274] == (3, 1, b"\1\0")
    assert main[282] == main[283] == (5, 1, struct.pack("<LL", 72, 1))
    assert main[296] == (3, 1, b"\2\0")
    assert main[531] == (3, 1, b"\1\0")
    assert not {256, 257, 258, 259, 262, 273, 277} & set(main)  # a JPEG's own markers tell
    assert photo[36864] == (7, 4, b"0232")
    assert photo[37121] == (7, 4, b"\1\2\3\0")
    assert photo[40960] == (7, 4, b"0100")
    assert photo[40961] == (3, 1, b"\1\0")
    assert photo[40962] == (4, 1, struct.pack("<L", 30))
    assert photo[40963] == (4, 1, struct.pack("<L", 20))
    assert photo[33434] == (5, 1, struct.pack("<LL", 1, 250))
    assert photo[37380] == (10, 1, struct.pack("<ll", 1, 3))
    assert photo[42034] == (5, 4, struct.pack("<8L", 18, 1, 55, 1, 0, 0, 0, 0))
    assert photo[42032] == (2, 10, "Zoë Ähm".encode() + b"\0")
    assert photo[37510][2] == b"ASCII\0\0\0by the sea"
    assert gps[0] == (1, 4, b"\2\3\0\0")
    assert gps[1] == (2, 2, b"N\0")
    assert gps[2] == (5, 3, struct.pack("<6L", 95, 2, 0, 1, 0, 1))


@pytest.mark.parametrize("format", FORMATS)
def test_tags_pass_unchanged_in_every_format(format: Format, tmp_path: Path) -> None:
    path = tmp_path / f"a.{format}"
    properties: dict[str, Value] = {"dc:subject": ("sea", "Möwe"), "dc:title": "Am Meer", "xmp:Rating": "4"}
    write_picture(
        path, RGB if format in ("jpg", "png") else RGB.astype(np.uint16), format, everything(), False, properties
    )
    picture = read_picture(path)
    assert {tag: picture.exif[tag] for tag in TEXTS} == TEXTS
    photo = picture.exif.get_ifd(EXIF_IFD)
    assert (photo[42032], photo[42033], photo[42036], photo[42037]) == ("Zoë Ähm", "0123", "18-55mm", "77")
    assert picture.exif[40094] == "Möwe;sea\0".encode("utf-16-le")
    assert {**properties} == {name: picture.properties[name] for name in properties}


@pytest.mark.parametrize(
    ("written", "read"),
    [("© Été".encode(), "© Été"), (b"\xa9 \xc9t\xe9", "© Été"), (b"\x93quoted\x94 \x81", "“quoted” \ufffd")],
    ids=["utf-8", "latin-1", "windows"],
)
def test_texts_of_old_cameras_become_utf_8(written: bytes, read: str, write_dng: WriteDng, tmp_path: Path) -> None:
    mosaic = np.random.default_rng(1).integers(64, 4000, (40, 60), dtype=np.uint16)
    raw = read_raw(write_dng(mosaic, extra=((33432, "s", 0, written, True),)))
    assert raw.exif[33432] == read
    write_picture(tmp_path / "a.jpg", RGB, exif=raw.exif)
    assert directories(exif_of((tmp_path / "a.jpg").read_bytes()))[0][33432][2] == read.encode() + b"\0"
    lwisp.write_dng(tmp_path / "b.dng", raw, exif=raw.exif)
    assert read_raw(tmp_path / "b.dng").exif[33432] == read


@pytest.mark.parametrize("format", FORMATS)
def test_strip_leaves_nobodys_name(format: Format, tmp_path: Path) -> None:
    path = tmp_path / f"a.{format}"
    told: dict[str, Value] = {"dc:creator": ("Zoë",), "dc:subject": ("Möwe",), "photoshop:City": "Łódź"}
    rgb = RGB if format in ("jpg", "png") else RGB.astype(np.uint16)
    write_picture(path, rgb, format, everything(), False, {**told, "xmp:Rating": "4", "lwisp:Verb": "x"}, strip=True)
    picture = read_picture(path)
    assert read_properties(path) == {"xmp:Rating": "4", "lwisp:Verb": "x"}
    photo = picture.exif.get_ifd(EXIF_IFD)
    assert not {270, 315, 33432, 40094} & set(picture.exif)
    assert not {37510, 42032, 42033, 42037} & set(photo)
    assert picture.exif.get_ifd(GPS_IFD) == {}
    assert (picture.exif[271], photo[36867], photo[42036]) == ("Make", "2024:02:29 23:59:59", "18-55mm")
    for name in ("Zoë", "Möwe", "Łódź", "0123"):
        assert name.encode() not in path.read_bytes()


def test_what_people_edit_wins_over_the_tags_of_the_camera() -> None:
    told: dict[str, Value] = {"dc:description": "Anna", "dc:creator": ("A", "B")}
    tags = finished_tags(everything(), told)
    assert tags.main[270].data == b"Anna\0"
    assert tags.main[315].data == b"A; B\0"
    assert tags.main[33432].data == "© 2024 Été".encode() + b"\0"


@pytest.mark.parametrize(
    ("comment", "order", "written"),
    [
        (b"UNICODE\0" + "Möwe".encode("utf-16-be"), ">", b"UNICODE\0" + "Möwe".encode("utf-16-le")),
        (b"UNICODE\0" + "Möwe".encode("utf-16-le"), ">", b"UNICODE\0" + "Möwe".encode("utf-16-le")),
        (b"UNICODE\0\xfe\xff" + "東京".encode("utf-16-be"), "<", b"UNICODE\0" + "東京".encode("utf-16-le")),
        (b"UNICODE\0" + "東京".encode("utf-16-be"), ">", b"UNICODE\0" + "東京".encode("utf-16-le")),
        (b"plain words", "<", b"ASCII\0\0\0plain words"),
        ("Möwe".encode(), "<", bytes(8) + "Möwe".encode()),
        (b"ASCII\0\0\0" + b" " * 30, "<", None),
        (bytes(264), "<", None),
    ],
)
def test_user_comments_are_written_in_the_pictures_order_of_bytes(
    comment: bytes, order: str, written: bytes | None
) -> None:
    exif = Image.Exif()
    exif.endian = order
    exif.get_ifd(EXIF_IFD)[37510] = comment
    found = finished_tags(exif).photo.get(37510)
    assert (None if found is None else found.data) == written


@pytest.mark.parametrize("tag", [27, 28])
def test_gps_texts_have_the_order_of_bytes_of_the_picture(tag: int) -> None:
    exif = Image.Exif()
    exif.endian = ">"
    exif.get_ifd(GPS_IFD)[tag] = b"UNICODE\0" + "Gerät".encode("utf-16-be")
    assert finished_tags(exif).gps[tag].data == b"UNICODE\0" + "Gerät".encode("utf-16-le")


@pytest.mark.parametrize(
    ("ifd", "tag", "value"),
    [
        (None, 306, "0000:00:00 00:00:00"),
        (None, 306, "yesterday"),
        (None, 271, "   "),
        (None, 271, 5),
        (EXIF_IFD, 33434, IFDRational(1, 0)),
        (EXIF_IFD, 33434, float("nan")),
        (EXIF_IFD, 33434, -1.0),
        (EXIF_IFD, 33434, "fast"),
        (EXIF_IFD, 34850, 77),
        (EXIF_IFD, 34855, ()),
        (EXIF_IFD, 34855, "ISO"),
        (EXIF_IFD, 37510, 10**12),
        (EXIF_IFD, 42034, (1.0, 2.0)),
        (GPS_IFD, 1, "Q"),
        (GPS_IFD, 2, (1.0,)),
        (GPS_IFD, 2, (IFDRational(-1, 2),) * 3),
        (GPS_IFD, 5, -1),
        (GPS_IFD, 29, "today"),
    ],
    ids=str,
)
def test_what_is_not_sound_is_left_out(ifd: int | None, tag: int, value: Any) -> None:
    exif = Image.Exif()
    (exif if ifd is None else exif.get_ifd(ifd))[tag] = value
    tags = finished_tags(exif)
    assert tag not in {None: tags.main, EXIF_IFD: tags.photo, GPS_IFD: tags.gps}[ifd]


def test_an_iso_beyond_16_bits_is_the_largest_that_the_tag_has() -> None:
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[34855] = 102400
    assert finished_tags(exif).photo[34855].data == b"\xff\xff"


def test_all_tags_together_fit_into_a_jpeg(tmp_path: Path) -> None:
    exif = everything()
    for tag in (270, 271, 272, 315, 33432):
        exif[tag] = "ä" * 4000
    for tag in (42032, 42033, 42035, 42036, 42037):
        exif.get_ifd(EXIF_IFD)[tag] = "ö" * (4000 + tag % 10)
    write_picture(tmp_path / "a.jpg", RGB, exif=exif)
    with Image.open(tmp_path / "a.jpg") as picture:
        assert MAX_BYTES - 10_000 < len(picture.info["exif"]) < 65_533
        assert len(picture.getexif()) > 5
    exif[270] = "x" * 10_000
    assert 270 not in finished_tags(exif).main


def test_tags_of_jpegs_are_read_as_pillow_reads_them(tmp_path: Path) -> None:
    """Two readers, of which one is not ours, and a writer of others' bytes."""
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "JPEG", exif=finished_tags(everything()).tobytes())
    ours = read_jpeg(file.getvalue())
    with Image.open(file) as picture:
        theirs = picture.getexif()
        assert set(ours) == set(theirs)
        assert dict(ours.get_ifd(GPS_IFD)) == dict(theirs.get_ifd(GPS_IFD))
        photo = theirs.get_ifd(EXIF_IFD)
    assert ours.get_ifd(EXIF_IFD)[42032] == photo[42032].encode("latin-1").decode()
    assert ours[315] == "Zoë"


def test_the_xmp_of_a_raws_embedded_jpeg_is_read_with_its_tags() -> None:
    """Where a RAF keeps what its camera rated."""
    file = io.BytesIO()
    packet = build({"xmp:Rating": "5"})
    Image.fromarray(RGB).save(file, "JPEG", exif=finished_tags(everything()).tobytes(), xmp=packet)
    tags = read_jpeg(file.getvalue())
    assert (tags[700], tags[315]) == (packet, "Zoë")
    notes: list[str] = []
    assert of_raw(tags, b"", notes)["xmp:Rating"] == "5"
    assert notes == []


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_exiftool_finds_nothing_to_warn_of(tmp_path: Path) -> None:
    properties: dict[str, Value] = {"dc:subject": ("Möwe",), "xmp:Rating": "4", "lwisp:Verb": "develop"}
    write_picture(tmp_path / "a.jpg", RGB, exif=everything(), properties=properties)
    command = ["exiftool", "-validate", "-warning", "-a", "-s3", str(tmp_path / "a.jpg")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["OK"]
    command = ["exiftool", "-s3", "-Copyright", "-OwnerName", "-UserComment", "-LensModel", str(tmp_path / "a.jpg")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert told == ["© 2024 Été", "Zoë Ähm", "by the sea", "18-55mm"]
