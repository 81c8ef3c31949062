"""Every failure is one sentence, and no text makes a terminal do anything."""

import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lwisp
from lwisp import errors
from lwisp.errors import InputError, printable, tell_failure
from lwisp.weights import Weights
from tests.conftest import WriteDng


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("photo 1.dng", "photo 1.dng"),
        ("caf\xe9 \u96ea \U0001f4f7.dng", "caf\xe9 \u96ea \U0001f4f7.dng"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("a\nlwisp: all is well\r", r"a\nlwisp: all is well\r"),
        ("gpj.\u202egnd", r"gpj.\u202egnd"),
        ("a\u2028b\u2029c\u200bd\ufeff\x9b31m", r"a\u2028b\u2029c\u200bd\ufeff\x9b31m"),
        ("\udcff\udc80 \ud800", r"\xff\x80 \ud800"),
        ("\U000e0041", r"\U000e0041"),
        (r"C:\photos\x1b", r"C:\photos\x1b"),
    ],
    ids=ascii,
)
def test_what_a_terminal_would_obey_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_nothing_shown_is_a_control_or_format_character() -> None:
    shown = printable("".join(map(chr, (*range(0x11000), *range(0xE0000, 0xE0100)))))
    assert not {unicodedata.category(letter) for letter in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    shown.encode()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (InputError("x.jpg: no picture"), "x.jpg: no picture"),
        (OSError(28, "No space left on device"), "a.jpg: No space left on device"),
        (MemoryError(), "a.jpg: there is not enough memory for it"),
        (RuntimeError("can't allocate memory: 9 bytes"), "a.jpg: there is not enough memory for it"),
        (RuntimeError("one\ntwo"), "a.jpg: failed for an unforeseen reason (RuntimeError: one two)"),
        (AssertionError(), "a.jpg: failed for an unforeseen reason (AssertionError: no more is known)"),
    ],
    ids=str,
)
def test_a_failure_names_its_file(error: Exception, sentence: str) -> None:
    assert tell_failure(Path("a.jpg"), error) == sentence


def test_programs_can_tell_errors_apart(write_dng: WriteDng, toy: Weights, tmp_path: Path) -> None:
    sound = write_dng(np.random.default_rng(0).integers(64, 4000, (40, 60), dtype=np.uint16))
    cut = tmp_path / "cut.dng"
    cut.write_bytes(sound.read_bytes()[:2000])
    (tmp_path / "empty.dng").touch()
    quad = write_dng(np.full((40, 60), 500, np.uint16), cfa="RRGGRRGGGGBBGGBB", side=4, name="quad.dng")
    raw = lwisp.read_raw(sound)
    cases: list[tuple[type[errors.InputError], str, Callable[[], object]]] = [
        (errors.NotFoundError, "not-found", lambda: lwisp.read_raw(tmp_path / "none.dng")),
        (errors.NotFoundError, "not-found", lambda: lwisp.read_picture(tmp_path / "none.jpg")),
        (errors.NotFoundError, "not-found", lambda: lwisp.load("nobody")),
        (errors.NotFoundError, "not-found", lambda: lwisp.load(tmp_path / "none.safetensors")),
        (errors.DamagedError, "damaged", lambda: lwisp.read_raw(cut)),
        (errors.DamagedError, "damaged", lambda: lwisp.read_raw(tmp_path / "empty.dng")),
        (errors.UnsupportedError, "unsupported", lambda: lwisp.read_raw(quad)),
        (errors.UnsupportedError, "unsupported", lambda: lwisp.read_picture(sound)),
        (errors.ArgumentError, "argument", lambda: lwisp.develop(toy, raw, precision="int8")),  # type: ignore[arg-type]
        (errors.ArgumentError, "argument", lambda: lwisp.develop(toy, raw, backend="cuda")),  # type: ignore[arg-type]
        (errors.ArgumentError, "argument", lambda: lwisp.develop(toy, raw, float("nan"))),
        (errors.ArgumentError, "argument", lambda: lwisp.develop(toy, raw, memory=-1)),
        (errors.ArgumentError, "argument", lambda: lwisp.develop(toy, raw, crop="x")),  # type: ignore[arg-type]
        (errors.ArgumentError, "argument", lambda: lwisp.develop(toy, raw, white_balance="sunny")),
        (errors.ArgumentError, "argument", lambda: lwisp.denoise(np.zeros((8, 8, 3)), passes=3)),
        (errors.ArgumentError, "argument", lambda: lwisp.Developer(toy, threads=0)),
        (errors.OutOfMemoryError, "memory", lambda: lwisp.develop(toy, raw, memory=1e-6, backend="torch")),
    ]
    for expected, kind, call in cases:
        with pytest.raises(errors.InputError) as caught:
            call()
        assert type(caught.value) is expected, caught.value
        assert errors.kind_of(caught.value) == kind


def test_what_is_not_read_of_a_file_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    with pytest.raises(errors.UnsupportedError) as caught:
        lwisp.read_raw(tmp_path / "a.jpg")
    assert caught.value.feature == "JPEG"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(28, "No space left on device"), "disk"),
        (FileNotFoundError(2, "No such file or directory"), "not-found"),
        (PermissionError(13, "Permission denied"), "other"),
        (MemoryError(), "memory"),
        (RuntimeError("can't allocate memory"), "memory"),
        (ZeroDivisionError(), "unforeseen"),
    ],
)
def test_errors_of_others_have_a_kind_too(error: Exception, kind: str) -> None:
    assert errors.kind_of(error) == kind


def test_a_full_disk_is_told_from_a_folder_that_is_not_ours() -> None:
    assert isinstance(errors.unwritable("a", OSError(28, "No space left on device")), errors.DiskFullError)
    assert not isinstance(errors.unwritable("a", PermissionError(13, "Permission denied")), errors.DiskFullError)


def test_the_library_logs_in_silence() -> None:
    code = "import lwisp.pipeline, logging; log = logging.getLogger('lwisp'); print(log.handlers, log.level)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[] 0", "")
