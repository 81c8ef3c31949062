"""Sequences of frames that are developed alike: what stands still keeps its color, whatever passes by."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

import lwisp
from lwisp.cli.commands import app
from lwisp.conversion import export
from lwisp.development import Settings, develop_files, pick
from lwisp.files.pictures import read_picture
from lwisp.files.raw import RawImage, read_raw
from lwisp.pipeline import Developer
from lwisp.planes import FrameExposure
from lwisp.planning import plan
from lwisp.sequences import Reference, common_light
from lwisp.weights import Weights, load
from tests.conftest import WriteDng, require

FRAMES = 6
HEIGHT, WIDTH = 96, 144
STATIC = slice(16, 40), slice(16, 48)
"""Of the scene: it stands still, under a light that does not change."""
INNER = slice(22, 34), slice(22, 42)
"""Of the static patch, away from its edges."""
BLACK, WHITE = 256, 4095


def frame(index: int) -> NDArray[np.uint16]:
    """A mosaic of a scene: a bright object crosses it, and the light on its right half drifts."""
    light = 0.03 + 0.1 * np.linspace(0, 1, WIDTH)[None].repeat(HEIGHT, 0)
    light[:, WIDTH // 2 :] *= 1 + 0.5 * index
    if index % 3:
        left = 10 + 20 * index
        light[56:92, left : left + 36] = 1.1
    light[STATIC] = 0.12
    values = BLACK + light * (WHITE - BLACK)
    values[::2, ::2] *= 0.9
    return values.round().clip(0, WHITE).astype(np.uint16)


def write_sequence(write_dng: WriteDng) -> list[Path]:
    """The frames as DNGs, whose as-shot balance drifts as that of a camera on automatic does."""
    paths = []
    for index in range(FRAMES):
        neutral = (0.5 + 0.02 * index, 1.0, 0.625 - 0.02 * index)
        paths.append(write_dng(frame(index), black=BLACK, white=WHITE, neutral=neutral, name=f"{index}.dng"))
    return paths


def static_means(files: list[Path]) -> NDArray[np.float64]:
    """Mean color of the static patch in each picture (frames, 3), of 255."""
    means = []
    for file in files:
        with Image.open(file) as picture:
            means.append(np.asarray(picture)[INNER].mean((0, 1)))
    return np.array(means)


def spread(means: NDArray[np.float64]) -> float:
    return float(np.ptp(means, axis=0).max())


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("reference", ["first", "median", "3.dng"])
@pytest.mark.parametrize("weights", ["photo", "photo-fast"])
def test_a_static_patch_of_a_sequence_keeps_its_color(
    weights: str, reference: str, write_dng: WriteDng, tmp_path: Path
) -> None:
    paths = write_sequence(write_dng)
    named = tmp_path / reference if reference.endswith(".dng") else reference
    options = ("--format", "png", "--weights", weights, "-o", tmp_path / "out")
    result = call("develop", *paths, *options, "--same-as", named)
    assert result.exit_code == 0, result.output
    made = [tmp_path / "out" / f"{path.stem}.png" for path in paths]
    assert spread(static_means(made)) <= 1
    assert f"{FRAMES} frames in" in result.stderr
    assert "frames per second at 0.0 MP" in result.stderr
    assert result.stderr.count("exposure and white balance of all files: ") == 1
    assert result.stderr.count("reading all files") == (reference == "median")


def test_without_it_every_frame_has_its_own_exposure(write_dng: WriteDng, tmp_path: Path) -> None:
    paths = write_sequence(write_dng)
    result = call("develop", *paths, "--format", "png", "--weights", "photo", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert spread(static_means([tmp_path / "out" / f"{path.stem}.png" for path in paths])) > 10
    assert "per second" not in result.stderr


def test_the_reference_itself_stays_the_same_picture(write_dng: WriteDng, tmp_path: Path) -> None:
    paths = write_sequence(write_dng)
    photo = load("photo")
    for folder, same_as in (("alone", None), ("same", paths[2])):
        jobs = plan(paths[2:3], tmp_path / folder, "png16")
        assert [outcome.error for outcome in develop_files(photo, jobs, Settings(same_as=same_as))] == [""]
    alone, same = (read_picture(tmp_path / folder / "2.png").rgb for folder in ("alone", "same"))
    assert np.array_equal(alone, same)


def test_exposure_comes_on_top(write_dng: WriteDng, toy: Weights) -> None:
    raw = read_raw(write_dng(frame(0), black=BLACK, white=WHITE))
    developer = Developer(toy)
    found = developer.measure(raw)
    half = FrameExposure(found.gain / 2, found.brightest / 2)
    doubled = developer.develop(raw, exposure=1.0, frame=half)
    assert np.array_equal(doubled, developer.develop(raw))


def test_an_exported_file_gives_the_same_sequence(toy: Weights, write_dng: WriteDng, tmp_path: Path) -> None:
    """The exposure rule is inside its graph; what the frames have in common reaches it as exposure."""
    require("onnxruntime")
    require("onnxscript")
    export(toy, tmp_path / "toy.onnx", "onnx", pixels="float32")
    bright, dark = (read_raw(write_dng(frame(index), black=BLACK, white=WHITE, name="a.dng")) for index in (1, 0))
    inside, outside = Developer(load(tmp_path / "toy.onnx")), Developer(toy)
    found = outside.measure(bright)
    assert inside.measure(bright).gain == pytest.approx(found.gain, rel=1e-5)
    assert outside.measure(dark).gain > 1.2 * found.gain
    expected = outside.develop(dark, frame=found)
    assert np.abs(inside.develop(dark, frame=found) - expected).max() < 1e-4
    assert np.abs(outside.develop(dark) - expected).max() > 1e-3


def raw_of(camera: str, white_balance: tuple[float, float, float] = (2.0, 1.0, 1.5)) -> RawImage:
    levels = (0.0,) * 4, (1.0,) * 4
    return RawImage(np.ones((2, 2), np.uint16), "RGGB", *levels, white_balance, model=camera)


def measured(
    reference: Reference, raws: dict[str, RawImage | Exception], watch: Callable[[int, int], None] = lambda *_: None
) -> lwisp.sequences.CommonLight:
    def read(path: Path) -> RawImage:
        found = raws[path.name]
        if isinstance(found, Exception):
            raise found
        return found

    def measure(raw: RawImage) -> FrameExposure:
        return FrameExposure(raw.white_balance[0])

    return common_light(reference, [Path(name) for name in raws], read, measure, watch)


def test_the_median_is_over_the_frames_that_can_be_read_and_are_of_one_camera() -> None:
    seen: list[tuple[int, int]] = []
    raws: dict[str, RawImage | Exception] = {
        "broken": lwisp.InputError("broken: damaged"),
        "a": raw_of("one", (2.0, 1.0, 1.4)),
        "other": raw_of("other", (9.0, 1.0, 9.0)),
        "b": raw_of("one", (2.2, 1.0, 1.2)),
        "c": raw_of("one", (3.0, 1.0, 1.1)),
    }
    light = measured("median", raws, lambda done, count: seen.append((done, count)))
    assert (light.frame.gain, light.white_balance, light.camera) == (2.2, (2.2, 1.0, 1.2), "one")
    assert light.source == "the median of 3"
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert measured("first", raws).source == "those of a"
    assert measured(Path("c"), raws).frame.gain == 3.0


def test_a_frame_of_another_camera_is_refused_and_the_others_are_done(
    toy: Weights, write_dng: WriteDng, tmp_path: Path
) -> None:
    paths = write_sequence(write_dng)[:2]
    other = write_dng(frame(0), black=BLACK, white=WHITE, name="other.dng", extra=((50827, "s", 0, "x", True),))
    content = other.read_bytes()
    other.write_bytes(content.replace(b"Testcam\0", b"Elsecam\0"))
    assert read_raw(other).camera == "Lwisp Elsecam"
    jobs = plan([paths[0], other, paths[1]], tmp_path / "out", "png")
    errors = [outcome.error for outcome in develop_files(toy, jobs, Settings(same_as="first"))]
    assert errors[::2] == ["", ""]
    assert "expected a frame of Lwisp Testcam" in errors[1]


@pytest.mark.parametrize("reference", ["first", "median"])
def test_nothing_is_developed_where_there_is_nothing_to_be_the_same_as(
    reference: Literal["first", "median"], toy: Weights, write_dng: WriteDng, tmp_path: Path
) -> None:
    (tmp_path / "bad.dng").write_text("no")
    good = write_dng(frame(0), black=BLACK, white=WHITE)
    with pytest.raises(lwisp.InputError, match=r"no exposure to take for all files: .*bad\.dng"):
        develop_files(toy, plan([tmp_path / "bad.dng"], tmp_path / "out", "png"), Settings(same_as=reference))
    jobs = plan([good], tmp_path / "out", "png")
    with pytest.raises(lwisp.InputError, match=r"no exposure to take for all files: .*bad\.dng"):
        develop_files(pick, jobs, Settings(same_as=tmp_path / "bad.dng"))
    assert not (tmp_path / "out").exists()
    refused = call("develop", good, "--same-as", tmp_path / "none.dng", "-o", tmp_path / "out")
    assert (refused.exit_code, "none.dng" in refused.stderr) == (2, True)
