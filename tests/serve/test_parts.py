"""Parts of the server that need no server: knobs, names, hosts, what is shown beside a picture."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lwisp.errors import ArgumentError
from lwisp.files.linear import read_any
from lwisp.serve.guard import is_own_name
from lwisp.serve.knobs import FIELDS, Knobs, read_knobs, to_schema
from lwisp.serve.limits import Limits
from lwisp.serve.photo_facts import decode_camera_picture, facts_of, frame_of, rawpy_picture, shown_size, write_jpeg
from lwisp.serve.refusals import RefusedError, status_of, status_of_kind
from lwisp.serve.server import address_of, is_loopback, listen
from lwisp.serve.uploads import display_name
from tests.conftest import ROOT, WriteDng

CANON = ROOT / "samples" / "CRW_0101.CRW"


def test_knobs_are_read_from_texts() -> None:
    told = {
        "exposure": " -0.5",
        "fast": "on",
        "quality": "80",
        "white-balance": "5200,10",
        "look": "",
        "format": "tiff",
    }
    expected = Knobs(exposure=-0.5, fast=True, quality=80, white_balance="5200,10", format="tiff")
    assert read_knobs(told) == expected
    assert read_knobs({}) == Knobs()
    assert set(vars(Knobs())) == set(FIELDS) == set(to_schema())
    for wrong in (
        {"fast": "2"},
        {"size": "1e3"},
        {"exposure": "1/3"},
        {"exposur": "1"},
        {"crop": "none", "Crop": "none"},
    ):
        with pytest.raises(ArgumentError):
            read_knobs(wrong)
    with pytest.raises(ArgumentError, match="twice"):
        read_knobs({"white_balance": "auto", "white-balance": "auto"})
    with pytest.raises(ArgumentError, match="fast and weights"):
        Knobs(fast=True, weights="photo").check()
    Knobs(weights="photo").check()


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("IMG_1.CR2", "IMG_1.CR2"),
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\a.nef", "a.nef"),
        ("..", "photo"),
        ("", "photo"),
        ("a\x00\x1b[2J.dng", "ax00x1b[2J.dng"),
        ("na\u00efve \u5199\u771f.dng", "na\u00efve \u5199\u771f.dng"),
        ("x" * 300 + ".dng", "x" * 90 + ".dng"),
        ("x" * 300, "x" * 100),
    ],
)
def test_names_of_files_are_shown_without_paths_and_controls(told: str, shown: str) -> None:
    assert display_name(told) == shown


def test_hosts_are_known_by_address_and_name() -> None:
    for host in ("127.0.0.1", "127.5.5.5:80", "[::1]", "localhost:8000", "LOCALHOST", "localhost."):
        assert is_own_name(host, (), True), host
    for host in (
        "192.168.1.2",
        "evil.example",
        "localhost.evil",
        "a@localhost",
        "localhost/x",
        "localhost:x",
        "[::1",
        "",
    ):
        assert not is_own_name(host, (), True), host
    assert is_own_name("192.168.1.2:8000", (), False)
    assert is_own_name("Nas.local:8000", ("nas.local",), False)
    assert not is_own_name("other.local", ("nas.local",), False)
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "example.com")] == [
        *(True, True, True),
        *(False, False, False),
    ]
    assert address_of("::1", 80) == "http://[::1]:80/"
    with pytest.raises(ArgumentError, match="--host"):
        listen("no such host", 0)


def test_every_failure_has_a_status() -> None:
    kinds = {"argument": 400, "damaged": 422, "time": 422, "disk": 507, "unforeseen": 500, "stopped": 503}
    assert {kind: status_of_kind(kind) for kind in kinds} == kinds
    assert status_of(ArgumentError("")) == 400
    assert status_of(RefusedError(418, "teapot", "")) == 418


def test_workers_may_map_what_memory_allows_and_more() -> None:
    assert Limits(memory=2).address_space == 10 * 10**9
    assert Limits(jobs=1000).address_space == 8 * 10**9


def test_the_tags_of_a_photo_are_told_in_words(write_dng: WriteDng) -> None:
    raw = read_any(write_dng(np.full((40, 60), 900, np.uint16) + np.arange(60, dtype=np.uint16), orientation=6))
    photo = raw.exif.get_ifd(0x8769)
    photo[33434], photo[33437], photo[37386] = Fraction(1, 250), float("nan"), 35
    told = dict(facts_of(raw))
    assert told["Exposure time"] == "1/250 s"
    assert told["Focal length"] == "35 mm"
    assert "Aperture" not in told
    assert told["Size"].startswith("40 x 60 px")


def test_both_pictures_to_compare_with_show_what_the_developed_one_shows(tmp_path: Path) -> None:
    raw = read_any(CANON)
    height, width = shown_size(raw)
    assert raw.crop is not None
    write_jpeg(tmp_path / "before.jpg", rawpy_picture(CANON, frame_of(raw)))
    assert raw.jpeg is not None
    shown = decode_camera_picture(raw.jpeg, raw.orientation, shown_size(raw))
    assert shown is not None
    write_jpeg(tmp_path / "camera.jpg", *shown)
    with Image.open(tmp_path / "before.jpg") as before, Image.open(tmp_path / "camera.jpg") as camera:
        assert before.size == (width, height)
        assert abs(camera.width / camera.height - width / height) < 0.01
        small = [np.asarray(picture.convert("L").resize((64, 48)), np.float32) for picture in (before, camera)]
    assert np.corrcoef(small[0].ravel(), small[1].ravel())[0, 1] > 0.9
