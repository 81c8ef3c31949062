"""RAWs without a Bayer mosaic become pictures: planes against arithmetic by hand, every verb with toy weights."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from typer.testing import CliRunner, Result

import lwisp
from lwisp.architecture import LWISPConfig
from lwisp.batch import Outcome
from lwisp.cli import app
from lwisp.conversion import export
from lwisp.development import Settings, develop_files, pick
from lwisp.diagnosis import Examiner, tell
from lwisp.engines.eager import EagerSteps
from lwisp.engines.engine import prepare_engine
from lwisp.files import linear
from lwisp.files.dng import write_linear_dng
from lwisp.files.linear import LinearImage, read_any
from lwisp.files.white_balance import parse_balance, with_balance
from lwisp.imaging import color, highlights
from lwisp.imaging.patterns import XTRANS, colors_of
from lwisp.linear_planes import LinearPlanes, brightest_of, noise_of
from lwisp.model import LWISP
from lwisp.pipeline import Developer, develop_with
from lwisp.planes import FrameExposure
from lwisp.planning import plan
from lwisp.verification import verify
from lwisp.weights import Card, InputConvention, Weights
from tests.conftest import SAMPLE, WriteDng, require
from tests.files.test_linear import gray_dng

RNG = np.random.default_rng(0)
TELLING = InputConvention(headroom=2.0, noise=True, demosaiced=True)
SILENT = replace(TELLING, noise=False)
MATRIX = np.array([[1.5, -0.4, -0.1], [-0.2, 1.4, -0.2], [0, -0.5, 1.5]], np.float32)
GAINS = (2.1, 1.0, 1.6)


def toy_of(convention: InputConvention, change: float = 0.0, name: str = "toy-linear") -> Weights:
    """A network of width 4, which changes nothing unless it is told to."""
    torch.manual_seed(0)
    config = LWISPConfig(in_channels=3 + convention.noise, width=4, upsample=False, residual=True)
    network = LWISP(config).eval()
    if change:
        nn.init.normal_(network.out.weight, std=change)
    return Weights(network, Card(name, config, convention, "MIT"))


def image_of(height: int = 150, width: int = 170, way: str = linear.DEMOSAICED, **facts: Any) -> LinearImage:
    """A scene of smooth colors and blown places, black at 1000 and white at 9000 DN."""
    rows, columns = np.mgrid[0:height, 0:width]
    light = [np.sin(rows / period) * np.cos(columns / period / 1.3) for period in (17, 23, 31)]
    rgb = np.clip(6000 + 5500 * np.stack(light, -1) + RNG.normal(0, 20, (height, width, 3)), 0, 9000)
    return LinearImage(rgb.astype(np.uint16), way, (1000.0,) * 3, (9000.0,) * 3, GAINS, MATRIX, **facts)


def read_whole(planes: LinearPlanes) -> NDArray[np.float32]:
    found = np.empty(planes.shape, np.float32)
    planes.read(slice(0, planes.shape[1]), slice(0, planes.shape[2]), found)
    return found


@pytest.fixture
def xtrans(write_dng: WriteDng) -> Path:
    rows, columns = np.mgrid[0:96, 0:102] / 20
    truth = np.stack([2000 + 900 * np.sin(rows), 2000 + 900 * np.cos(columns), 1500 + 500 * np.sin(rows + columns)], -1)
    index = colors_of(XTRANS, (96, 102), "RGB")[..., None].astype(int)
    mosaic = np.take_along_axis(truth, index, 2)[..., 0].round().astype(np.uint16)
    return write_dng(mosaic, "".join(XTRANS.ravel()), side=6, white=4095, name="xtrans.dng")


# -- planes


def test_planes_are_the_picture_as_it_is_seen() -> None:
    """A dim scene by hand: levels, gains of which the smallest is 1, matrix, exposure, sRGB."""
    image = replace(image_of(), rgb=(1000 + image_of().rgb // 6).astype(np.uint16))
    planes = LinearPlanes(EagerSteps(), image, SILENT, exposure=-1.0, frame=FrameExposure(1.2))
    light = (image.rgb.astype(np.float64) - 1000) / 8000 * GAINS @ MATRIX.T.astype(np.float64)
    exposed = torch.from_numpy((light * 1.2 / 2).transpose(2, 0, 1)).float()
    assert float(exposed.max()) < highlights.KNEE
    expected = color.render(exposed)
    found = torch.from_numpy(read_whole(planes))
    shown = expected > 0  # what sRGB can show
    assert float((found - expected)[shown].abs().max()) < 1e-5
    assert float(found[~shown].max()) <= 0


def test_the_exposure_rule_is_that_of_mosaics() -> None:
    """A gray of 0.1: white at 1 goes a stop up at most, as `color.exposure_gain` says of planes with two greens."""
    image = LinearImage(np.full((64, 64, 3), 1000, np.uint16), linear.DEMOSAICED, white_level=(10000.0,) * 3)
    gain = float(color.exposure_gain(torch.full((1, 4, 64, 64), 0.1)))
    assert LinearPlanes(EagerSteps(), image, SILENT).frame.gain == pytest.approx(gain, rel=1e-5)
    fixed = LinearPlanes(EagerSteps(), image, SILENT, frame=FrameExposure(2.0))
    assert read_whole(fixed) == pytest.approx(float(color.tone(torch.tensor(0.2))), abs=1e-5)


@pytest.mark.parametrize("backend", ["torch", "openvino", "onnxruntime"])
@pytest.mark.parametrize("size", [(150, 170), (40, 33), (1, 2)])
def test_any_window_is_that_part_of_the_whole(backend: Any, size: tuple[int, int]) -> None:
    require(backend)
    image = image_of(*size)
    engine = prepare_engine(toy_of(TELLING).network, backend, "fp32")
    whole = read_whole(LinearPlanes(engine, image, TELLING, 0.5))
    height, width = size
    rows, columns = slice(height // 3, height), slice(width // 4, max(3 * width // 4, 1))
    part = np.empty((4, rows.stop - rows.start, columns.stop - columns.start), np.float32)
    LinearPlanes(engine, image, TELLING, 0.5).read(rows, columns, part)
    if backend == "onnxruntime":  # whose vectors end elsewhere in rows of another length
        assert np.abs(part - whole[:, rows, columns]).max() < 1e-6
    else:
        assert np.array_equal(part, whole[:, rows, columns])
    assert np.abs(whole - read_whole(LinearPlanes(EagerSteps(), image, TELLING, 0.5))).max() < 1e-4


def test_tiles_give_what_the_whole_picture_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    image = image_of(530, 600)
    engine = prepare_engine(toy_of(TELLING, 0.01).network, "torch", "fp32")
    whole = develop_with(engine, TELLING, image, 0.0, np.float32)
    monkeypatch.setattr(engine, "_choose_window", lambda *_: 256)
    assert np.abs(develop_with(engine, TELLING, image, 0.0, np.float32) - whole).max() < 1e-5
    assert np.abs(whole - develop_with(engine, TELLING, image, 1.0, np.float32)).max() > 0.05


def test_a_clipped_color_keeps_its_hue() -> None:
    """Orange light of which red is clipped, beside the same light a little dimmer."""
    light = np.array([0.5, 0.45, 0.1])
    dim, bright = (np.round(1000 + 8000 * np.minimum(scale * light / GAINS * 2.1, 1)) for scale in (0.8, 1.15))
    rgb = np.empty((64, 64, 3), np.uint16)
    rgb[:, :32], rgb[:, 32:] = dim, bright
    image = LinearImage(rgb, linear.DEMOSAICED, (1000.0,) * 3, (9000.0,) * 3, GAINS)
    shown = color.inverse_tone(torch.from_numpy(read_whole(LinearPlanes(EagerSteps(), image, SILENT))).clamp(0, 1))
    ratios = shown[0] / shown[1]
    assert float(ratios[:, 60].mean()) == pytest.approx(float(ratios[:, 4].mean()), rel=0.12)


def test_light_above_white_is_kept_where_the_file_has_it() -> None:
    values = np.full((64, 64, 3), 2000, np.uint16)
    values[:20, :20] = 8000  # two stops above white
    merged = LinearImage(values, linear.DEMOSAICED, (0.0,) * 3, (4000.0,) * 3)
    assert brightest_of(merged) == 2.0
    found = read_whole(LinearPlanes(EagerSteps(), merged, SILENT))
    assert np.allclose(found[:, :20, :20], 1, atol=1e-3)
    assert 0.5 < found[0, 40, 40] < 0.9
    assert brightest_of(replace(merged, way=linear.XTRANS)) == 1.0
    speck = np.full((256, 256, 3), 2000, np.uint16)
    speck[0, 0] = 8000  # a defect, which tells nothing of the sensor's limit
    assert brightest_of(replace(merged, rgb=speck)) == 1.0
    assert brightest_of(replace(merged, rgb=np.minimum(values, 4100))) == 1.0


def test_highlights_and_noise_reduction_are_in_the_planes() -> None:
    image = image_of()
    usual = read_whole(LinearPlanes(EagerSteps(), image, TELLING))
    clipped = read_whole(LinearPlanes(EagerSteps(), image, TELLING, highlights=0.0))
    assert clipped[:3].mean() > usual[:3].mean()
    assert np.allclose(clipped[3], usual[3])
    twice = read_whole(LinearPlanes(EagerSteps(), image, TELLING, noise_reduction=2.0))
    assert np.array_equal(twice[:3], usual[:3])
    assert np.allclose(twice[3], 2**0.5 * usual[3], rtol=1e-5)
    assert float(usual[3].min()) > 0


@pytest.mark.parametrize("shot", [2e-4, 2e-3, 1e-2])
def test_the_noise_of_pixels_is_measured_on_green(shot: float) -> None:
    ramp = np.broadcast_to(np.linspace(0.05, 0.7, 400), (400, 400))
    noisy = ramp + RNG.normal(0, 1, (400, 400)) * np.sqrt(shot * ramp + 1e-5)
    rgb = np.repeat((8000 + 40000 * noisy)[..., None], 3, 2).astype(np.uint16)
    image = LinearImage(rgb, linear.DEMOSAICED, (8000.0,) * 3, (48000.0,) * 3)
    found = noise_of(image)
    assert found[0] * 0.3 + found[1] == pytest.approx(shot * 0.3 + 1e-5, rel=0.2)


# -- weights


def test_weights_are_told_apart_by_their_convention(toy: Weights) -> None:
    assert toy_of(TELLING).card.takes == toy_of(SILENT).card.takes == "linear"
    rgb = replace(toy_of(SILENT).card, convention=InputConvention())
    assert rgb.takes == "rgb"
    assert replace(toy_of(TELLING).card, convention=SILENT).takes is None  # a plane too many
    assert replace(toy.card, convention=SILENT).takes is None
    image = image_of()
    with pytest.raises(lwisp.InputError, match=r"'toy' develop Bayer mosaics, not a RAW of another kind \(already dem"):
        lwisp.develop(toy, image)
    with pytest.raises(lwisp.InputError, match="'toy-linear' develop RAWs without a Bayer mosaic"):
        lwisp.develop(toy_of(TELLING), lwisp.read_raw(SAMPLE))
    with pytest.raises(lwisp.InputError, match="expected a network from RGB to RGB"):
        lwisp.denoise(image.rgb, toy_of(SILENT))
    with pytest.raises(lwisp.InputError, match="expected a RAW, from"):
        lwisp.denoise_raw(image)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"headroom": 0.0}, {"exposure": "none"}, {"color": "camera"}, {"shading": (1, 0, 0)}]
)
def test_conventions_that_no_planes_follow_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="where planes are demosaiced"):
        replace(SILENT, **wrong)


def test_an_exported_file_takes_planes_and_gives_the_same_picture(tmp_path: Path) -> None:
    require("onnxruntime")
    weights = toy_of(TELLING, 0.01)
    export(weights, tmp_path / "toy.onnx", "onnx")
    image = image_of(70, 50)
    expected = lwisp.develop(weights, image, precision="fp32", backend="torch")
    assert np.abs(lwisp.develop(lwisp.load(tmp_path / "toy.onnx"), image) - expected).max() < 1e-4


# -- developing


def test_a_picture_is_what_the_network_makes_of_the_planes_upright() -> None:
    image = image_of(orientation=6, crop=(10, 20, 100, 120), pixel_aspect=1.0)
    picture = lwisp.develop(toy_of(TELLING), image, precision="fp32")
    planes = read_whole(LinearPlanes(EagerSteps(), image, TELLING))[:3, 10:110, 20:140].clip(0, 1)
    assert picture.shape == (120, 100, 3)
    assert np.abs(picture - np.rot90(planes.transpose(1, 2, 0), -1)).max() < 1e-4
    developer = Developer(toy_of(TELLING), precision="fp32")
    assert np.abs(developer.develop(image, dtype=np.uint16) / 65535 - picture).max() < 1e-4
    assert developer.measure(image).gain == LinearPlanes(EagerSteps(), image, TELLING).frame.gain


@pytest.mark.parametrize("words", ["2.5,1,1.2", "auto"])
def test_white_balance_is_put_on_demosaiced_light(words: str) -> None:
    image = replace(image_of(), cam2rgb=np.eye(3, dtype=np.float32))
    gains = with_balance(image, parse_balance(words)).white_balance
    expected = lwisp.develop(toy_of(TELLING), replace(image, white_balance=gains))
    assert np.array_equal(lwisp.develop(toy_of(TELLING), image, white_balance=words), expected)
    assert gains != GAINS
    with pytest.raises(lwisp.InputError, match="no color matrix for this camera"):
        lwisp.develop(toy_of(TELLING), image, white_balance="5200")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_of_a_file_that_is_demosaiced_only_noise_is_changed(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = toy_of(TELLING, 0.05, "toy")
    engine = prepare_engine(weights.network, "openvino", "fp32")
    image = image_of(90, 110, orientation=6)

    def made(share: float) -> NDArray[np.float64]:
        monkeypatch.setattr("lwisp.pipeline.share_of_noise", lambda given, cleaned: share)
        picture = develop_with(engine, weights.card.convention, image, 0.0, dtype, crop="none")
        return picture.astype(np.float64)

    seen = read_whole(LinearPlanes(engine, image, weights.card.convention))[:3].transpose(1, 2, 0)
    top = np.iinfo(dtype).max if dtype != np.float32 else 1
    given, step = np.rot90(seen.clip(0, 1), -1) * top, 1.1 if dtype != np.float32 else 1e-5
    whole = made(1.0)
    assert np.abs(whole - given).max() > 2e-3 * top
    assert np.abs(made(0.0) - given).max() < step
    assert np.abs(made(0.25) - (0.75 * given + 0.25 * whole)).max() < step


def test_behind_another_demosaicing_all_is_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lwisp.pipeline.share_of_noise", lambda given, cleaned: 0.0)
    weights = toy_of(TELLING, 0.05, "toy")
    image = image_of(90, 110, linear.XTRANS)
    seen = read_whole(LinearPlanes(EagerSteps(), image, weights.card.convention))[:3].transpose(1, 2, 0)
    assert np.abs(lwisp.develop(weights, image) - seen).max() > 2e-3


def test_develop_takes_an_xtrans_file_and_says_which_way(xtrans: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    done = call("develop", xtrans, "-o", target)
    assert done.exit_code == 0, done.output
    assert "developed by photo-linear: X-Trans mosaic demosaiced by LibRaw" in done.output
    with Image.open(target) as picture:
        assert (picture.size, picture.mode) == ((102, 96), "RGB")
    assert "1 of 1 files were done before" in call("develop", xtrans, "-o", target).output
    assert call("develop", xtrans, "--fast", "-o", tmp_path / "fast.png").exit_code == 0
    assert (tmp_path / "fast.png").read_bytes() == target.read_bytes()
    assert verify(target, xtrans).status == "same"
    told = tell(Examiner().examine(xtrans))
    assert "  mosaic          X-Trans mosaic demosaiced by LibRaw, 96x102 (0.0098 MP)" in told
    assert not any("hot pixels" in line for line in told)
    assert any(line.startswith("  weights         photo-linear") for line in told)
    assert any("(openvino in " in line for line in told)


def test_a_monochrome_file_gives_a_gray_picture_in_one_channel(write_dng: WriteDng, tmp_path: Path) -> None:
    path = gray_dng(write_dng, RNG.integers(64, 4000, (48, 66), dtype=np.uint16), black=64, white=4000)
    image = read_any(path)
    assert lwisp.develop(pick(image), image).shape == (48, 66)
    for name, mode in (("png", "L"), ("jpg", "L"), ("tiff", "I;16"), ("png16", "I;16")):
        done = call("develop", path, "--format", name, "--white-balance", "2,1,1.5", "-o", tmp_path / name)
        assert done.exit_code == 0, done.output
        (made,) = (tmp_path / name).iterdir()
        with Image.open(made) as picture:
            assert picture.mode == mode


def test_files_of_both_kinds_go_through_one_call(xtrans: Path, write_dng: WriteDng, tmp_path: Path) -> None:
    quad = "RRGG" + "RRGG" + "GGBB" + "GGBB"
    mosaic = RNG.integers(64, 4000, (64, 96), dtype=np.uint16)
    paths = [
        xtrans,
        write_dng(mosaic, name="bayer.dng"),
        write_dng(mosaic, quad, side=4, name="quad.dng"),
        write_dng(np.stack([mosaic] * 3, -1), photometric=34892, name="linear.dng"),
    ]
    made = list(develop_files(pick, plan(paths, tmp_path / "out", "png")))
    assert [outcome.error for outcome in made] == [""] * 4
    assert [outcome.weights for outcome in made] == ["photo-linear", "photo", "photo", "photo-linear"]
    assert linear.BINNED in made[2].notes
    assert "developed by photo-linear: already demosaiced" in made[3].notes


def test_a_sequence_of_demosaiced_frames_has_one_exposure(tmp_path: Path) -> None:
    paths = []
    for index, level in enumerate((3000, 2000)):
        rgb = np.full((64, 64, 3), 2000, np.uint16)
        rgb[:, 32:] = level * (1 + index)
        paths.append(tmp_path / f"{index}.dng")
        write_linear_dng(paths[-1], LinearImage(rgb, linear.DEMOSAICED, (0.0,) * 3, (8000.0,) * 3))
    made = list(develop_files(pick, plan(paths, tmp_path / "out", "png"), Settings(same_as="first")))
    assert [outcome.error for outcome in made] == ["", ""]
    levels = [int(np.asarray(Image.open(tmp_path / "out" / f"{index}.png"))[32, 8, 1]) for index in (0, 1)]
    assert abs(levels[0] - levels[1]) <= 2


def refused(outcomes: Iterator[Outcome]) -> str:
    (outcome,) = outcomes
    return outcome.error


def test_named_weights_for_mosaics_refuse_such_a_file(xtrans: Path, tmp_path: Path) -> None:
    error = refused(develop_files(lwisp.load("photo"), plan([xtrans], tmp_path / "out.png", None)))
    assert f"{xtrans}: weights 'photo' develop Bayer mosaics, not a RAW of another kind" in error
    done = call("denoise-raw", xtrans, "-o", tmp_path / "out.dng")
    assert "an X-Trans sensor (6x6 pattern); expected a Bayer mosaic" in done.output
