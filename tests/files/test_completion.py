"""What a RAW tells elsewhere than in EXIF's own tags."""

import os
import struct
import subprocess
import sys
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import rawpy
from PIL import Image

from lwisp.files.completion import complete
from lwisp.files.exif import EXIF_IFD
from lwisp.files.makernotes import MAKER_NOTE
from lwisp.files.raw import read_raw
from lwisp.files.shots import read_shot
from lwisp.files.tags import finished_tags
from lwisp.files.xmp import build
from tests.conftest import WriteDng
from tests.files.test_makernotes import NIKON_LENS, canon

MOSAIC = np.random.default_rng(4).integers(64, 4000, (40, 60), dtype=np.uint16)


def told(**others: Any) -> rawpy.RawPy:
    """What LibRaw tells of a file."""
    other = {
        "iso_speed": 0.0,
        "shutter_speed": 0.0,
        "aperture": 0.0,
        "focal_length": 0.0,
        "timestamp": datetime(1970, 1, 1),
    }
    lens = {"model": "", "make": "", "min_focal": 0.0, "max_focal": 0.0}
    raw = SimpleNamespace(
        other=SimpleNamespace(**{name: others.get(name, value) for name, value in other.items()}),
        lens=SimpleNamespace(**{name: others.get(name, value) for name, value in lens.items()}),
    )
    return cast(rawpy.RawPy, raw)


def completed(
    raw: rawpy.RawPy, photo: dict[int, Any] | None = None, main: dict[int, Any] | None = None
) -> dict[int, Any]:
    exif = Image.Exif()
    exif.endian = "<"
    exif.get_ifd(EXIF_IFD).update(photo or {})
    for tag, value in (main or {}).items():
        exif[tag] = value
    complete(exif, raw, b"II*\0" + bytes(12))
    return dict(exif.get_ifd(EXIF_IFD))


def test_libraw_tells_date_and_exposure_where_the_file_has_no_exif() -> None:
    raw = told(
        iso_speed=84.0, shutter_speed=0.0025, aperture=2.5, focal_length=37.0, timestamp=datetime(1998, 5, 6, 7, 8)
    )
    expected = {33434: 0.0025, 33437: 2.5, 37386: 37.0, 34855: 84, 36867: "1998:05:06 07:08:00"}
    assert completed(raw) == expected
    assert completed(raw, {34855: 0, 36867: "    :  :  "}) == expected
    own = {33434: 0.5, 33437: 8.0, 37386: 50.0, 34855: 100, 36867: "2001:01:01 00:00:00"}
    assert completed(raw, own) == own
    assert completed(told()) == {}


def test_tags_of_the_main_directory_count_where_the_photos_lacks_them(write_dng: WriteDng) -> None:
    tags = (
        (33434, "2I", 1, (1, 125), True),
        (34855, "H", 1, 320, True),
        (306, "s", 0, "1999:12:31 23:58:57", True),
        (42036, "s", 0, "Tele", True),
    )
    path = write_dng(MOSAIC, extra=tags)
    photo = finished_tags(read_raw(path).exif).photo
    assert photo[33434].data == struct.pack("<LL", 1, 125)
    assert photo[34855].data == struct.pack("<H", 320)
    assert photo[36867].data == b"1999:12:31 23:58:57\0"
    assert photo[42036].data == b"Tele\0"
    shot = read_shot(path)
    assert (shot.taken, shot.iso) == (datetime(1999, 12, 31, 23, 58, 57), 320)


def test_lens_and_serial_numbers_are_found_where_makers_keep_them() -> None:
    lens, serial, span = 42036, 42033, 42034
    found = completed(told(), {MAKER_NOTE: canon(lens=b"EF-S18-55mm f/3.5-5.6")}, {271: "Canon"})
    assert (found[lens], found[serial], found[42032]) == ("EF-S18-55mm f/3.5-5.6", "0530910263", "Zoe")
    assert found[span][:2] == (18, 55)
    assert (found[span][2].numerator, found[span][2].denominator) == (0, 0)  # unknown, as EXIF writes it
    assert completed(told(), {MAKER_NOTE: canon()}, {271: "Canon"})[lens] == "18-55mm"
    nikon = completed(told(), {MAKER_NOTE: NIKON_LENS}, {271: "NIKON CORPORATION"})
    assert (nikon[lens], nikon[serial], nikon[span]) == ("18-55mm f/3.5-5.6", "6438342", (18, 55, 3.5, 5.6))
    assert completed(told(min_focal=50.0, max_focal=50.0))[lens] == "50mm"
    assert completed(told(model="EF 50"), {MAKER_NOTE: canon(lens=b"x")}, {271: "Canon"})[lens] == "EF 50"
    assert completed(told(model="EF 50"), {lens: "own"})[lens] == "own"


def test_a_dngs_own_tags_and_xmp_tell_lens_and_serial_numbers() -> None:
    packet = build({"aux:Lens": "Zoom", "aux:LensSerialNumber": "9", "aux:OwnerName": "Zoë", "aux:SerialNumber": "x"})
    found = completed(told(), {}, {50735: "4711", 50736: (18.0, 55.0, 3.5, 5.6), 700: packet})
    assert found == {42036: "Zoom", 42037: "9", 42032: "Zoë", 42033: "4711", 42034: (18.0, 55.0, 3.5, 5.6)}


@pytest.mark.skipif(sys.platform == "win32", reason="needs zones by name")
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_the_local_clock_of_a_crw_is_the_same_in_every_time_zone(zone: str) -> None:
    """2021-04-08 14:51:12 as seconds since 1970, by hand: 18725 days and 53472 s."""
    code = (
        "from datetime import datetime; from PIL import Image; from lwisp.files.completion import complete\n"
        "from tests.files.test_completion import told\n"
        "exif = Image.Exif()\n"
        "stamp = datetime.fromtimestamp(18725 * 86400 + 53472)  # as rawpy does\n"
        "complete(exif, told(timestamp=stamp), b'II\\x1a\\0\\0\\0HEAPCCDR')\n"
        "print(exif.get_ifd(0x8769)[36867], exif[306])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TZ": zone}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "2021:04:08 14:51:12 2021:04:08 14:51:12"


def test_a_clock_beyond_what_python_counts_is_passed_over() -> None:
    class Broken:
        lens = told().lens

        @property
        def other(self) -> None:
            raise OverflowError("year 60000 is out of range")

    exif = Image.Exif()
    complete(exif, cast(rawpy.RawPy, Broken()), b"")
    assert 36867 not in exif.get_ifd(EXIF_IFD)
