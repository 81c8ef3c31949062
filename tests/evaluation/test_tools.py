"""The tools' adapters: command lines, what becomes of the pictures, and the tools themselves where installed."""

import errno
import io
import os
import re
import shutil
import struct
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rawpy
import torch
from PIL import Image

import lwisp
from lwisp.evaluation import darktable, rawtherapee
from lwisp.evaluation.tools import Tool, all_tools
from lwisp.files.dng_tags import NOISE_PROFILE
from lwisp.files.pictures import read_rgb, write_picture
from lwisp.imaging import color
from lwisp.imaging.pixels import orient
from lwisp.pipeline import prepare
from lwisp.planning import Job
from lwisp.weights import InputConvention, Weights
from tests.conftest import SAMPLE, WriteDng

MOSAIC = np.random.default_rng(0).integers(500, 4000, (48, 66), dtype=np.uint16)
MODES = (", ignore", ", blend", ", reconstruct")
PLAIN: dict[str, Any] = {"no_auto_bright": True, "gamma": (2.4, 12.92)}
NOISE = ((NOISE_PROFILE, "d", 2, (0.002, 1e-5), True),)

FAKE = """#!{python}
import pathlib, sys
from PIL import Image
arguments = sys.argv[1:]
with open({log!r}, "a") as log:
    print(*arguments, sep="\\t", file=log)
if "-c" in arguments:
    files = [pathlib.Path(name) for name in arguments[arguments.index("-c") + 1:]]
    output = pathlib.Path(arguments[arguments.index("-o") + 1])
else:
    files = list(pathlib.Path(arguments[arguments.index("--import") + 1]).iterdir())
    output = pathlib.Path(arguments[arguments.index("--out-ext") - 1])
for file in files:
    if b"Testcam" in file.read_bytes() and "--import" in arguments and {refuses}:
        print("cannot read", file.name, file=sys.stderr)
        continue
    picture = Image.new("RGB", (6, 4), "black")
    picture.putpixel((0, 0), (255, 0, 0))
    picture.save(output / (file.stem + ".png"))
"""


def find(name: str, weights: Weights) -> Tool:
    (tool,) = [tool for tool in all_tools(weights, "fp32") if tool.name == name]
    return tool


def run(name: str, weights: Weights, *sources: Path) -> list[np.ndarray]:
    jobs = [Job(source, source.parent / f"{source.stem}.{index}.png", "png") for index, source in enumerate(sources)]
    assert find(name, weights).develop(jobs) == {}
    return [read_rgb(job.output) for job in jobs]


def put_fake(folder: Path, program: str, monkeypatch: pytest.MonkeyPatch, refuses: bool = False) -> Path:
    """A command that notes its arguments in a file and makes pictures of 6x4 px, red at the top left."""
    log, script = folder / "log", folder / "bin" / program
    script.parent.mkdir()
    script.write_text(FAKE.format(python=sys.executable, log=str(log), refuses=refuses))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    return log


def test_rawpy_takes_the_cameras_white_balance(toy: Weights, write_dng: WriteDng) -> None:
    path = write_dng(np.full((40, 60), 1000, np.uint16), neutral=(0.9, 1.0, 0.4))
    (found,) = run("rawpy AHD", toy, path)
    with rawpy.imread(str(path)) as raw:
        camera = raw.postprocess(use_camera_wb=True, no_auto_bright=True, gamma=(2.4, 12.92))
    with rawpy.imread(str(path)) as raw:
        daylight = raw.postprocess(no_auto_bright=True, gamma=(2.4, 12.92))
    assert np.array_equal(found, camera)
    assert not np.array_equal(found, daylight)


def test_rawpys_ways_with_highlights_are_all_there_and_differ(toy: Weights, write_dng: WriteDng) -> None:
    bright = np.full((200, 240), 300, np.uint16)
    bright[60:140, 60:180] = 4095
    bright[60:140:2, 60:180:2] = 2600  # red is not clipped
    path = write_dng(bright, neutral=(0.5, 1.0, 0.6))
    names = [f"rawpy AHD{mode}{bright}" for bright in ("", ", bright") for mode in ("", *MODES)]
    names[names.index("rawpy AHD, bright")] = "rawpy default"
    pictures = [run(name, toy, path)[0] for name in names]
    assert len({picture.tobytes() for picture in pictures}) == 8
    for name, picture, mode in zip(names, pictures, (0, 1, 2, 5) * 2, strict=True):
        with rawpy.imread(str(path)) as raw:
            options = {} if name.endswith("bright") or name == "rawpy default" else PLAIN
            expected = raw.postprocess(use_camera_wb=True, highlight_mode=rawpy.HighlightMode(mode), **options)
        assert np.array_equal(picture, expected), name
    finished = [tool.name for tool in all_tools(toy) if tool.name.startswith("rawpy") and tool.finished]
    assert finished == ["rawpy default", "rawpy tuned"]


def test_lwisp_without_look_is_its_picture_with_tone_and_exposure_undone(toy: Weights, write_dng: WriteDng) -> None:
    path = write_dng(MOSAIC // 4, neutral=(1.0, 1.0, 1.0))
    finished, plain = run("lwisp toy", toy, path)[0], run("lwisp toy, no look", toy, path)[0]
    raw = lwisp.read_raw(path)
    (unruled, _), (ruled, _) = (prepare(raw, InputConvention(exposure=rule)) for rule in ("none", "auto"))
    gain = float(np.median(ruled / unruled))
    assert gain > 1.5
    picture = lwisp.develop(toy, raw, exposure=-float(np.log2(gain)), precision="fp32")
    expected = color.srgb_encode(color.inverse_tone(torch.from_numpy(picture))).numpy()
    assert np.abs(plain / 255 - expected).max() < 0.005
    assert np.array_equal(finished, np.rint(lwisp.develop(toy, raw, precision="fp32") * 255))


def test_a_cameras_jpeg_is_found_beside_the_raw_or_in_it(toy: Weights, write_dng: WriteDng, tmp_path: Path) -> None:
    path = write_dng(MOSAIC, orientation=6)
    assert "there is no JPEG" in find("camera", toy).develop([Job(path, tmp_path / "none.png", "png")])[path]
    Image.new("RGB", (24, 33), "green").save(path.with_suffix(".JPG"))
    write_picture(path.with_suffix(".jpg"), np.zeros((33, 24, 3), np.float32), "jpg")  # which is none of the camera's
    (beside,) = run("camera", toy, path)
    assert beside.shape == (66, 48, 3)
    assert beside[..., 1].min() > 100
    (inside,) = run("camera", toy, Path(shutil.copy(SAMPLE.parent / "CRW_0117.CRW", tmp_path)))
    jpeg = lwisp.read_raw(SAMPLE.parent / "CRW_0117.CRW").jpeg
    with Image.open(io.BytesIO(jpeg or b"")) as picture:
        assert np.abs(inside.mean((0, 1)) - np.asarray(picture).mean((0, 1))).max() < 3


def test_a_file_that_fails_is_named_and_stops_no_other(toy: Weights, write_dng: WriteDng, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.dng", write_dng(MOSAIC)
    bad.write_text("no RAW")
    for name in ("lwisp toy", "lwisp toy, no look", "rawpy default", "camera"):
        jobs = [Job(bad, tmp_path / "bad.png", "png"), Job(good, tmp_path / "good.png", "png")]
        failures = find(name, toy).develop(jobs)
        assert str(bad) in failures[bad]
        assert (good in failures) == (name == "camera")


def test_a_full_disk_is_not_taken_for_a_tools_failure(
    toy: Weights, write_dng: WriteDng, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores would be told of fewer photos, and nobody would know why."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    job = Job(write_dng(MOSAIC), tmp_path / "made.png", "png")
    monkeypatch.setattr(os, "fsync", full)
    for name in ("lwisp toy", "lwisp toy, no look", "rawpy default"):
        with pytest.raises(lwisp.OutputError, match=r"made\.png: cannot be written: No space left"):
            find(name, toy).develop([job])


def test_darktable_is_called_once_for_all_files_and_keeps_to_itself(
    toy: Weights, write_dng: WriteDng, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = put_fake(tmp_path, "darktable-cli", monkeypatch)
    first, second = write_dng(MOSAIC, name="a.dng"), write_dng(MOSAIC, name="b.dng")
    pictures = run("darktable default", toy, first, second)
    assert [picture.shape for picture in pictures] == [(4, 6, 3)] * 2
    (line,) = log.read_text().splitlines()
    arguments = line.split("\t")
    assert ("--library", ":memory:") in pairwise(arguments)
    assert not Path(arguments[arguments.index("--configdir") + 1]).exists()  # a folder of its own, gone by now
    assert "plugins/darkroom/workflow=scene-referred" in arguments
    assert not any(argument.endswith(".xmp") for argument in arguments)
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".dng") == ["a.dng", "b.dng"]


def test_what_darktable_refuses_it_gets_as_a_plain_dng(
    toy: Weights, write_dng: WriteDng, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = put_fake(tmp_path, "darktable-cli", monkeypatch, refuses=True)
    run("darktable no look", toy, write_dng(MOSAIC))
    assert len(log.read_text().splitlines()) == 2
    damaged = tmp_path / "damaged.dng"
    damaged.write_bytes(b"Testcam")
    failures = find("darktable no look", toy).develop([Job(damaged, tmp_path / "no.png", "png")])
    assert failures == {damaged: f"{damaged}: darktable-cli (exit code 0): cannot read 00000.dng"}


def test_darktable_denoises_by_the_noise_model_that_a_file_states(
    toy: Weights, write_dng: WriteDng, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = put_fake(tmp_path, "darktable-cli", monkeypatch)
    stated, silent = write_dng(MOSAIC, extra=NOISE, name="a.dng"), write_dng(MOSAIC, name="b.dng")
    jobs = [Job(path, path.with_suffix(".png"), "png") for path in (stated, silent)]
    assert find("darktable no look + wavelets", toy).develop(jobs) == {silent: f"{silent}: states no noise model"}
    assert "look.xmp" in log.read_text()
    found = re.search('darktable:params="([0-9a-f]+)"', darktable.profiled_denoising(0.002, 1e-5))
    assert found is not None
    content = bytes.fromhex(found[1])
    assert len(content) == 412  # what darktable 4.2 calls version 11
    assert struct.unpack_from("<6f", content, 32) == pytest.approx((0.002,) * 3 + (1e-5,) * 3)
    assert struct.unpack_from("<i", content, 56) == (1,)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("RawTherapee default", ["-d"]),
        ("RawTherapee neutral", []),
        ("RawTherapee ISO High", ["-p", "Auto-Matched Curve - ISO High.pp3"]),
    ],
)
def test_rawtherapee_is_called_with_its_profile_and_without_lens_correction(
    name: str, words: list[str], toy: Weights, write_dng: WriteDng, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = put_fake(tmp_path, "rawtherapee-cli", monkeypatch)
    run(name, toy, write_dng(MOSAIC))
    (line,) = log.read_text().splitlines()
    arguments = [Path(argument).name for argument in line.split("\t")]
    assert arguments == ["-o", "out", "-n", "-b8", "-Y", *words, "-p", "settings.pp3", "-c", "00000.dng"]
    assert "UseDistortion=false" in rawtherapee.NO_LENS_CORRECTION


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_mirrored_pictures_of_rawtherapee_are_turned_upright(
    orientation: int, toy: Weights, write_dng: WriteDng, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_fake(tmp_path, "rawtherapee-cli", monkeypatch)
    (picture,) = run("RawTherapee neutral", toy, write_dng(MOSAIC, orientation=orientation))
    made = np.zeros((4, 6, 3), np.uint8)
    made[0, 0, 0] = 255
    assert np.array_equal(picture, orient(made, orientation if orientation in (2, 4, 5, 7) else 1))


def test_a_command_that_is_missing_is_said(toy: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    tools = all_tools(toy)
    assert {tool.program for tool in tools if not tool.installed} == {"darktable-cli", "rawtherapee-cli"}
    assert tools[0].installed
    assert tools[0].version == ""


@pytest.mark.parametrize("name", ["darktable default", "darktable no look + wavelets", "RawTherapee neutral + denoise"])
def test_the_tools_themselves_develop_where_they_are_installed(
    name: str, toy: Weights, write_dng: WriteDng, tmp_path: Path
) -> None:
    tool = find(name, toy)
    if not tool.installed:
        pytest.skip(f"{tool.program} is not installed")
    assert tool.version[0].isdigit()
    bright = np.full((300, 400), 900, np.uint16)
    bright[:, 200:] = 3600
    (picture,) = run(name, toy, write_dng(bright, neutral=(1.0, 1.0, 1.0), extra=NOISE, orientation=2))
    assert all(abs(side - expected) <= 8 for side, expected in zip(picture.shape, (300, 400, 3), strict=True))
    assert picture[:, :40].mean() > picture[:, -40:].mean() + 20  # mirrored
