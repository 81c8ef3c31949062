"""Every failure is one sentence, and no text makes a terminal do anything."""

import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lwisp
from lwisp import errors
from lwisp.batch import work
from lwisp.conversion import export
from lwisp.development import Settings, develop_files
from lwisp.errors import InputError, printable, tell_failure
from lwisp.files.encoding import Finish
from lwisp.files.raw import RawImage
from lwisp.planes import FrameExposure
from lwisp.planning import Job
from lwisp.restoration import denoise_raw_files, restore_files
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
        (OSError("libx.so.1: failed to map segment from shared object"), "a.jpg: there is not enough memory for it"),
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


MOSAIC = np.random.default_rng(5).integers(64, 4000, (64, 96), dtype=np.uint16)
RAW = RawImage(MOSAIC, "RGGB", (0.0,) * 4, (4095.0,) * 4)
RGB = np.zeros((8, 8, 3), np.float32)
NAN = float("nan")
ENGINE: list[tuple[dict[str, Any], str]] = [
    ({"precision": "int8"}, "precision"),
    ({"precision": None}, "precision"),
    ({"precision": ["fp32"]}, "precision"),
    ({"backend": "tensorrt"}, "back end"),
    ({"backend": 3}, "back end"),
    ({"memory": -1}, "memory"),
    ({"memory": NAN}, "memory"),
    ({"memory": "2"}, "memory"),
    ({"memory": True}, "memory"),
    ({"memory": [1]}, "memory"),
]
LIGHT: list[tuple[dict[str, Any], str]] = [
    ({"exposure": NAN}, "exposure"),
    ({"exposure": 6}, "exposure"),
    ({"exposure": "1"}, "exposure"),
    ({"exposure": None}, "exposure"),
    ({"exposure": np.zeros(2)}, "exposure"),
    ({"crop": "x"}, "crop"),
    ({"crop": None}, "crop"),
    ({"white_balance": "warm"}, "white balance"),
    ({"white_balance": None}, "white balance"),
    ({"white_balance": 5200}, "white balance"),
    ({"white_balance": "1,0,1"}, "white balance"),
    ({"keep_hot_pixels": "no"}, "keep_hot_pixels"),
    ({"keep_hot_pixels": 1}, "keep_hot_pixels"),
]
PASSES: list[tuple[dict[str, Any], str]] = [
    ({"passes": wrong}, "1, 2 or 4 passes") for wrong in (3, 0, "4", True, 1.5, 2.0, None)
]


def refused(words: str, call: Callable[..., object], *arguments: Any, **more: Any) -> None:
    with pytest.raises(errors.ArgumentError, match=words):
        call(*arguments, **more)


@pytest.mark.parametrize(("wrong", "words"), [*ENGINE, *LIGHT], ids=str)
def test_develop_refuses_arguments_of_wrong_values_and_types(wrong: dict[str, Any], words: str, toy: Weights) -> None:
    refused(words, lwisp.develop, toy, RAW, **wrong)
    light = {name: value for name, value in wrong.items() if name in Settings.__dataclass_fields__}
    running = {name: value for name, value in wrong.items() if name not in light}
    refused(words, develop_files, toy, [], Settings(**light), **running)


@pytest.mark.parametrize(
    ("wrong", "words"), [*ENGINE, *[({"threads": n}, "thread") for n in (0, 1.5, "2", True)]], ids=str
)
def test_a_developer_refuses_arguments_of_wrong_values_and_types(
    wrong: dict[str, Any], words: str, toy: Weights
) -> None:
    refused(words, lwisp.Developer, toy, **wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        *LIGHT,
        *[({"dtype": wrong}, "the type float32") for wrong in (np.int32, "float16", None, float)],
        *[({"frame": FrameExposure(wrong)}, "gain above 0") for wrong in (0.0, NAN, -1.0, float("inf"))],
        *[({"frame": wrong}, "FrameExposure") for wrong in (1.0, "1", (1.0, 1.0))],
        *[({"highlights": wrong}, "highlights of 0 to 1") for wrong in (-0.1, 1.1, NAN, "1", True)],
        *[({"noise_reduction": wrong}, "noise reduction of 0 to 2") for wrong in (-0.1, 2.1, NAN, "1", True)],
    ],
    ids=str,
)
def test_a_developers_picture_refuses_them_before_any_work(wrong: dict[str, Any], words: str, toy: Weights) -> None:
    developer = lwisp.Developer(toy)
    developer.engine = None  # type: ignore[assignment]  # so that work would fail otherwise
    refused(words, developer.develop, RAW, **wrong)


def test_a_crop_is_refused_before_an_engine_is_made(toy: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lwisp.pipeline.cached_engine", lambda *_: pytest.fail("an engine was made"))
    refused("crop", lwisp.develop, toy, RAW, crop="x")


@pytest.mark.parametrize(("wrong", "words"), [*ENGINE, *PASSES], ids=str)
def test_denoise_and_enhance_refuse_arguments_of_wrong_values_and_types(wrong: dict[str, Any], words: str) -> None:
    refused(words, lwisp.denoise, RGB, **wrong)
    refused(words, lwisp.enhance, RGB, **wrong)
    refused(words, restore_files, "denoise", lwisp.load("denoise"), [], **wrong)


@pytest.mark.parametrize(("wrong", "words"), [*ENGINE, ({"keep_hot_pixels": "yes"}, "keep_hot_pixels")], ids=str)
def test_denoise_raw_refuses_arguments_of_wrong_values_and_types(wrong: dict[str, Any], words: str) -> None:
    refused(words, lwisp.denoise_raw, RAW, **wrong)


@pytest.mark.parametrize(
    "wrong", [np.zeros((8, 8)), np.zeros((8, 8, 3), np.int64), np.zeros((0, 8, 3)), [[1]], "a.jpg"]
)
def test_a_picture_of_another_shape_or_type_is_refused(wrong: Any, tmp_path: Path) -> None:
    refused("expected a picture", lwisp.denoise, wrong)
    if not isinstance(wrong, np.ndarray):
        refused("expected a picture", lwisp.write_picture, tmp_path / "a.jpg", wrong)


@pytest.mark.parametrize("wrong", ["photo", None, 3])
def test_weights_by_name_and_raws_by_path_are_refused_in_words(wrong: Any, toy: Weights, tmp_path: Path) -> None:
    words = "weights, from lwisp.load; got "
    refused(words, lwisp.develop, wrong, RAW)
    refused(words, lwisp.Developer, wrong)
    refused(words, develop_files, wrong, [])
    refused(words, denoise_raw_files, wrong, [], toy)
    refused(words, restore_files, "denoise", wrong, [])
    refused(words, export, wrong, tmp_path / "a.onnx", "onnx")
    if wrong is not None:
        refused(words, lwisp.denoise, RGB, wrong)
        refused(words, lwisp.denoise_raw, RAW, wrong)
    refused("a RAW, from lwisp.read_raw", lwisp.develop, toy, wrong)
    refused("a RAW, from lwisp.read_raw", lwisp.Developer(toy).develop, wrong)
    refused("a RAW, from lwisp.read_raw", lwisp.denoise_raw, wrong)
    refused("a RAW, from lwisp.read_raw", lwisp.write_dng, tmp_path / "a.dng", wrong)
    refused("do not fit", lwisp.denoise, RGB, toy)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("parallel", [0, -1, 1.5, "2", True, None])
def test_no_batch_is_begun_with_a_wrong_number_of_jobs(parallel: Any, toy: Weights) -> None:
    words = "1 job at once or more"
    refused(words, develop_files, toy, [], parallel=parallel)
    refused(words, restore_files, "denoise", lwisp.load("denoise"), [], parallel=parallel)
    refused(words, denoise_raw_files, lwisp.load("denoise-raw"), [], toy, parallel=parallel)
    refused(words, work, [], None, None, None, parallel=parallel)


WRONG_FINISHES: list[dict[str, Any]] = [
    *[{"quality": wrong} for wrong in (0, 101, NAN, "90", True)],
    *[{"size": wrong} for wrong in (0, 1.5)],
    {"profile": "x"},
]


@pytest.mark.parametrize("wrong", WRONG_FINISHES, ids=str)
def test_a_picture_is_not_written_with_a_wrong_finish(wrong: dict[str, Any], toy: Weights, tmp_path: Path) -> None:
    finish = Finish(**wrong)
    refused("expected", lwisp.write_picture, tmp_path / "a.jpg", RGB, finish=finish)
    jobs = [Job(tmp_path / "a.dng", tmp_path / "a.jpg", "jpg")]
    refused("expected", develop_files, toy, jobs, Settings(finish=finish))
    assert not list(tmp_path.iterdir())


def test_other_public_functions_refuse_arguments_of_wrong_types(toy: Weights, tmp_path: Path) -> None:
    for wrong in (3, None, b"photo", ["photo"]):
        refused("name or path of weights", lwisp.load, wrong)
    for wrong in (3, None, ["a.dng"]):
        refused("expected a path, bytes or a file", lwisp.read_raw, wrong)
        refused("expected a path, bytes or a file", lwisp.read_picture, wrong)
    path = tmp_path / "mosaic.npy"
    np.save(path, MOSAIC)
    told: dict[str, Any] = {"cfa": "RGGB", "black_level": 64, "white_level": 4095}
    for name, value in (
        ("cfa", "RGBG"),
        ("cfa", 3),
        ("black_level", [1, 2]),
        ("black_level", NAN),
        ("black_level", "low"),
        ("white_level", NAN),
        ("white_level", 10),
        ("white_level", "high"),
        ("white_balance", (1, 0, 1)),
        ("white_balance", 3),
    ):
        refused("expected", lwisp.read_mosaic, path, **{**told, name: value})
    refused("frame of same_as", develop_files, toy, [], Settings(same_as="last"))  # type: ignore[arg-type]
    refused("strip", develop_files, toy, [], Settings(strip="yes"))  # type: ignore[arg-type]
    refused("overwrite", develop_files, toy, [], overwrite=1)
    output = tmp_path / "a.onnx"
    refused("format", export, toy, output, "onyx")
    refused("precision", export, toy, output, "onnx", "bf16")
    refused(r"size \(h, w\)", export, toy, output, "onnx", size=64)
    refused(r"size \(h, w\)", export, toy, output, "onnx", size=(64, "64"))
    refused("multiples of 16", export, toy, output, "onnx", size=(64, 65))
    refused("overwrite", export, toy, output, "onnx", overwrite="no")
    refused("type of the picture", export, toy, output, "onnx", pixels="int8")
    refused("path of a file to write", export, toy, "a.onnx", "onnx")
    refused("path of a file to write", lwisp.write_picture, 3, RGB)
    assert list(tmp_path.iterdir()) == [path]


def test_wrong_arguments_are_value_errors_as_pythons_own(toy: Weights) -> None:
    with pytest.raises(ValueError, match="expected an exposure"):
        lwisp.develop(toy, RAW, exposure=9)


def test_the_kinds_of_errors_are_reached_without_another_import() -> None:
    code = "import lwisp, sys; assert 'lwisp.errors' not in sys.modules; print(lwisp.errors.DamagedError.kind)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "damaged\n"
