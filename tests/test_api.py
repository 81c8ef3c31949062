"""The public names of the package: few, brought when asked for, and as good as the command line."""

import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import lwisp
from lwisp.cli.commands import app
from lwisp.files.pictures import read_properties
from lwisp.weights import Weights
from tests.conftest import SAMPLE, WriteDng

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)

PUBLIC = [
    *(
        "InputError",
        "OutputError",
        "LWISP",
        "LWISPConfig",
        "FGAM",
        "CCB",
        "RawImage",
        "LinearImage",
        "Weights",
        "Developer",
    ),
    *("load", "read_raw", "read_any", "read_mosaic", "read_picture", "write_picture", "write_dng"),
    *("develop", "denoise", "enhance", "denoise_raw", "__version__"),
]


def test_there_are_these_public_names_and_no_others() -> None:
    assert sorted(lwisp.__all__) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(lwisp, name) is not None
    assert set(PUBLIC) <= set(dir(lwisp))


def test_the_version_is_the_installed_one() -> None:
    assert lwisp.__version__ == version("lwisp")


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [("devlop", "develop"), ("read_picure", "read_picture"), ("denoise_raws", "denoise_raw"), ("Wieghts", "Weights")],
)
def test_a_misspelt_name_is_told_the_nearest(wrong: str, nearest: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{wrong}'; did you mean '{nearest}'"):
        getattr(lwisp, wrong)


def test_a_name_like_none_is_told_all() -> None:
    with pytest.raises(AttributeError, match=r"there are .*write_picture"):
        lwisp.xyzzy  # noqa: B018
    assert not hasattr(lwisp, "retouch")


def test_importing_brings_no_module() -> None:
    code = "import sys; before = set(sys.modules); import lwisp; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "PIL", "importlib.metadata"} & set(eval(done.stdout))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_a_written_picture_is_the_one_of_the_command_line(
    name: str, write_dng: WriteDng, toy_file: Path, tmp_path: Path
) -> None:
    path = write_dng(RNG.integers(64, 4000, (40, 60), dtype=np.uint16), orientation=6)
    arguments = ["develop", str(path), "-o", str(tmp_path / name), "--weights", str(toy_file), "--backend", "torch"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    raw = lwisp.read_raw(path)
    rgb = lwisp.develop(lwisp.load(toy_file), raw, backend="torch")
    told = read_properties(tmp_path / name)  # what the command writes of how the picture was made
    lwisp.write_picture(tmp_path / f"own-{name}", rgb, exif=raw.exif, properties=told)
    assert (tmp_path / f"own-{name}").read_bytes() == (tmp_path / name).read_bytes()


def test_the_suffix_says_the_format_and_the_picture_its_depth(tmp_path: Path) -> None:
    lwisp.write_picture(str(tmp_path / "a.png"), RGB)
    lwisp.write_picture(tmp_path / "b.png", RGB.astype(np.uint16) * 257)
    assert lwisp.read_picture(tmp_path / "a.png").rgb.dtype == np.uint8
    deep = lwisp.read_picture(tmp_path / "b.png").rgb
    assert deep.dtype == np.uint16
    assert np.array_equal(deep, RGB.astype(np.uint16) * 257)
    with pytest.raises(lwisp.InputError, match=r"a\.bmp: expected a name ending in \.jpg, \.jpeg, \.png, "):
        lwisp.write_picture(tmp_path / "a.bmp", RGB)
    with pytest.raises(lwisp.InputError, match=r"expected the format jpg, .* or jxl, got 'gif'"):
        lwisp.write_picture(tmp_path / "c.png", RGB, "gif")  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_no_writer_replaces_a_file_unasked(tmp_path: Path) -> None:
    raw = lwisp.RawImage(np.full((4, 4), 9, np.uint16), "RGGB", (0.0,) * 4, (99.0,) * 4)
    writers: dict[str, Callable[..., None]] = {
        "a.jpg": lambda **options: lwisp.write_picture(tmp_path / "a.jpg", RGB, **options),
        "a.dng": lambda **options: lwisp.write_dng(str(tmp_path / "a.dng"), raw, **options),
    }
    for name, write in writers.items():
        (tmp_path / name).write_text("mine")
        with pytest.raises(lwisp.InputError, match="exists already"):
            write()
        assert (tmp_path / name).read_text() == "mine"
        write(overwrite=True)
        assert (tmp_path / name).read_bytes() != b"mine"


@pytest.mark.parametrize("kind", ["jpg", "png", "png16", "tiff"])
def test_a_picture_is_read_from_a_path_its_content_or_a_file(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    lwisp.write_picture(path, RNG.random((40, 50, 3)), kind)
    expected = lwisp.read_picture(path)
    content = path.read_bytes()
    with path.open("rb") as file:
        for source in (str(path), content, io.BytesIO(content), file):
            found = lwisp.read_picture(source)
            assert np.array_equal(found.rgb, expected.rgb)
            assert (found.rgb.dtype, dict(found.exif), found.notes) == (expected.rgb.dtype, dict(expected.exif), ())


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            b"",
            "the picture: cannot be read as a picture: not a picture of a known format; expected JPEG, PNG, TIFF or ",
        ),
        (SAMPLE.read_bytes(), "the picture: a RAW file, expected a finished picture; `lwisp develop`"),
        (io.StringIO("text"), "the picture: expected a path, bytes or a file open in binary mode, got str"),
        ("none.jpg", "none.jpg: expected a picture; there is no such file"),
    ],
    ids=["empty", "raw", "text", "none"],
)
def test_what_is_no_picture_is_refused_wherever_it_comes_from(source: Any, sentence: str) -> None:
    with pytest.raises(lwisp.InputError) as caught:
        lwisp.read_picture(source)
    assert str(caught.value).startswith(sentence)


def test_each_verb_has_its_shipped_weights() -> None:
    for verb, name in ((lwisp.denoise, "denoise"), (lwisp.enhance, "enhance")):
        expected = verb(RGB, lwisp.load(name), "fp32", "torch", passes=1)
        assert np.array_equal(verb(RGB, precision="fp32", backend="torch", passes=1), expected)
    raw = replace(lwisp.read_raw(SAMPLE), mosaic=lwisp.read_raw(SAMPLE).mosaic[:64, :96].copy())
    clean = lwisp.denoise_raw(raw, precision="fp32", backend="torch")
    assert np.array_equal(clean.mosaic, lwisp.denoise_raw(raw, lwisp.load("denoise-raw"), "fp32", "torch").mosaic)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"precision": "int8"}, "expected the precision auto, fp32 or bf16, got 'int8'"),
        ({"backend": "tensorrt"}, "expected the back end auto, torch, openvino or onnxruntime, got 'tensorrt'"),
    ],
)
def test_choices_that_do_not_exist_are_refused(options: Any, sentence: str, toy: lwisp.Weights) -> None:
    raw = lwisp.read_raw(SAMPLE)
    for call in (
        lambda: lwisp.develop(toy, raw, **options),
        lambda: lwisp.Developer(toy, **options),
        lambda: lwisp.denoise(RGB, **options),
        lambda: lwisp.enhance(RGB, **options),
        lambda: lwisp.denoise_raw(raw, **options),
    ):
        with pytest.raises(lwisp.InputError, match=f"^{sentence}$"):
            call()
    with pytest.raises(lwisp.InputError, match="1, 2 or 4 passes, got 3"):
        lwisp.denoise(RGB, passes=3)


def test_weights_with_another_network_run_that_one(toy: Weights) -> None:
    loaded = lwisp.load("photo")
    assert loaded.runnable is loaded.source
    built = loaded.network
    assert loaded.runnable is replace(loaded, sha256="").runnable is built
    assert replace(loaded, source=toy.network).runnable is toy.network
