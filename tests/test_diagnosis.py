"""What `doctor` tells of a file, against files whose facts are known; nothing is made."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from lwisp.cli.commands import app
from lwisp.data.simulation import Simulation
from lwisp.development import pick
from lwisp.diagnosis import BLUE_GAIN, RED_GAIN, SHOT_NOISE, Examiner, Facts, Measure, Serving, look_at, tell
from lwisp.files.raw import read_raw
from lwisp.files.xmp import build
from lwisp.imaging.white_point import D65, to_xyz
from lwisp.weights import Camera, LearnedPair, Weights, load, save, user_folder
from tests.conftest import SAMPLE, XYZ2CAM, WriteDng
from tests.files.test_opcodes import WARP, a_list, gain_map, opcodes
from tests.samples import colorful, sense


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def facts_of(path: Path) -> Facts:
    return look_at(read_raw(path), path)


def examined(path: Path, weights: Weights) -> Serving:
    found = Examiner(weights).examine(path)
    assert found.serving is not None, found.error
    return found.serving


def simulated(toy: Weights, **recipe: Any) -> Weights:
    """Weights that learned from simulated cameras, as the shipped ones."""
    return replace(toy, card=replace(toy.card, training={"recipe": {"data": "photos", **recipe}}))


def measures(serving: Serving) -> dict[str, Measure]:
    return {measure.name: measure for measure in serving.nearness}


def test_the_facts_of_a_made_file_are_told(write_dng: WriteDng, tmp_path: Path) -> None:
    mosaic = sense(colorful(96, 128), "GRBG", top=900)
    mosaic[:2] = 63
    mosaic[10:12, 4:14] = 1000  # in each color 10 photosites, in green 20
    mosaic[51, 61] = 999
    extra = (
        *((50719, "I", 2, (4, 6), True), (50720, "I", 2, (116, 80), True)),
        *opcodes(51009, a_list(gain_map(np.ones((2, 2, 1)), (0, 0, 96, 128)))),
        *opcodes(51022, a_list(WARP)),
    )
    path = write_dng(mosaic, "GRBG", (63, 63, 63, 63), 1000, orientation=6, extra=extra)
    (tmp_path / "photo.xmp").write_bytes(build({"xmp:Rating": "3"}))
    facts = facts_of(path)
    assert (facts.camera, facts.cfa, facts.height, facts.width) == ("Lwisp Testcam", "GRBG", 96, 128)
    assert (facts.crop, facts.picture) == ((6, 4, 80, 116), (116, 80))
    assert (facts.black_level, facts.white_level) == ((63,) * 4, (1000,) * 4)
    assert facts.white_balance == pytest.approx((2, 1, 1.6))
    assert not facts.is_guessed
    plane = 48 * 64
    assert facts.clipped == pytest.approx((5 / plane, 5 / plane, 5 / plane))
    assert facts.dark == pytest.approx(2 / 96, abs=1e-3)
    assert facts.corrections == ("GainMap",)
    assert facts.left_out == ("WarpRectilinear (lens distortion)",)
    assert facts.sidecars == ("photo.xmp",)
    assert facts.jpeg is None
    assert facts.color_matrix == (6500,)


def test_the_light_is_told_in_kelvin(write_dng: WriteDng) -> None:
    neutral = XYZ2CAM @ to_xyz(D65)
    path = write_dng(sense(colorful(64, 80)), neutral=tuple(neutral / neutral[1]))
    light = facts_of(path).light
    assert light is not None
    assert light[0] == pytest.approx(6504, abs=30)


def test_hot_photosites_are_counted(write_dng: WriteDng) -> None:
    mosaic = np.full((96, 128), 400, np.uint16)
    mosaic += np.arange(128, dtype=np.uint16)
    for row, column in ((20, 30), (41, 51), (70, 100)):
        mosaic[row, column] = 4000
    assert facts_of(write_dng(mosaic)).hot_pixels == 3


def test_missing_balance_and_matrix_are_said(write_dng: WriteDng) -> None:
    path = write_dng(sense(colorful(64, 80)), neutral=None, matrix=None, white=1000, black=63)
    found = facts_of(path)
    assert found.is_guessed
    assert not found.has_matrix
    lines = "\n".join(tell(Examiner(load("photo-fast")).examine(path)))
    assert "guessed, for the file has no as-shot white balance" in lines
    assert "color matrix    none" in lines


def test_two_illuminants_are_told(write_dng: WriteDng) -> None:
    values = tuple(int(part) for value in XYZ2CAM.ravel() for part in (round(value * 10000), 10000))
    second = ((50722, "2i", 9, values, True), (50779, "H", 1, 17, True))
    path = write_dng(sense(colorful(64, 80)), extra=second)
    assert facts_of(path).color_matrix == (2850, 6500)
    assert "of two illuminants, 2850 K and 6500 K" in "\n".join(tell(Examiner(load("photo-fast")).examine(path)))


def test_square_pixels_and_the_embedded_jpeg_are_told(write_dng: WriteDng) -> None:
    scale = ((50718, "2I", 2, (1, 1, 2, 1), True),)
    assert facts_of(write_dng(sense(colorful(64, 160)), extra=scale)).picture == (128, 160)
    canon = SAMPLE.parent / "CRW_0101.CRW"
    jpeg = read_raw(canon).jpeg
    assert jpeg is not None
    with Image.open(io.BytesIO(jpeg)) as picture:
        assert facts_of(canon).jpeg == picture.size[::-1]


def noisy(write_dng: WriteDng, shot: float) -> Path:
    light = np.linspace(0.05, 0.85, 256)[None].repeat(192, 0)
    values = light + np.random.default_rng(0).normal(0, 1, light.shape) * np.sqrt(shot * light)
    mosaic = (1000 + values * 15000).round().clip(0, 16000).astype(np.uint16)
    return write_dng(mosaic, black=1000, white=16000, name=f"{shot}.dng")


def test_more_noise_than_was_learned_is_said(write_dng: WriteDng, toy: Weights) -> None:
    weights = simulated(toy)
    near = measures(examined(noisy(write_dng, 1e-3), weights))
    far = measures(examined(noisy(write_dng, 6e-2), weights))
    assert near["shot noise"].value == pytest.approx(1e-3, rel=0.2)
    assert near["shot noise"].is_within
    assert not far["shot noise"].is_within
    assert far["shot noise"].learned == SHOT_NOISE
    assert not near["shot noise"].on_card


def test_ranges_on_the_card_count_where_they_make_sense(write_dng: WriteDng, toy: Weights) -> None:
    path = noisy(write_dng, 1e-2)
    strict = {"noise": {"log_shot": [-12.0, math.log(1e-3)]}, "cameras": {"red_gain": [2.5, 3.0]}}
    found = measures(examined(path, simulated(toy, simulation=strict)))
    assert found["shot noise"].learned == pytest.approx((math.exp(-12), 1e-3))
    assert (found["shot noise"].is_within, found["gain of red"].is_within) == (False, False)
    assert found["shot noise"].on_card
    assert found["gain of blue"].learned == BLUE_GAIN
    for odd in ({"noise": 3}, {"noise": {"log_shot": ["a", 1]}}, {"noise": {"log_shot": [1e9, 1e9]}}, [1]):
        found = measures(examined(path, simulated(toy, simulation=odd)))
        assert found["shot noise"].learned == SHOT_NOISE


def test_light_beyond_the_sensor_and_odd_balances_are_said(write_dng: WriteDng, toy: Weights) -> None:
    mosaic = sense(colorful(96, 128), top=900)
    mosaic[:48] = 1000
    path = write_dng(mosaic, black=63, white=1000, neutral=(0.9, 1.0, 0.3))
    found = measures(examined(path, simulated(toy)))
    spent = found["share at white or black"]
    assert spent.value == pytest.approx(0.5, abs=0.01)
    assert not spent.is_within
    assert not found["gain of red"].is_within
    assert found["gain of blue"].value == pytest.approx(1 / 0.3, rel=1e-3)
    assert "gain of blue 3.33 (learned: 1.2 to 2.6)" in "\n".join(tell(Examiner(simulated(toy)).examine(path)))


def test_weights_of_other_data_have_no_such_measures(write_dng: WriteDng, toy: Weights) -> None:
    serving = examined(write_dng(sense(colorful(64, 80))), toy)
    assert serving.nearness == ()


def test_the_ranges_without_a_card_are_those_of_the_simulators() -> None:
    simulation = Simulation()
    assert (simulation.cameras.red_gain, simulation.cameras.blue_gain) == (RED_GAIN, BLUE_GAIN)
    assert tuple(map(math.exp, simulation.noise.log_shot)) == pytest.approx(SHOT_NOISE, rel=1e-3)


def test_the_look_of_the_own_camera_is_picked_and_named(
    write_dng: WriteDng, toy: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    pairs = (LearnedPair("a.dng", "0" * 64), LearnedPair("b.dng", "1" * 64))
    save(
        user_folder() / "own.safetensors",
        toy.network,
        replace(toy.card, name="own", camera=Camera("Lwisp Testcam", pairs=pairs)),
    )
    found = Examiner(pick).examine(write_dng(sense(colorful(64, 80))))
    assert found.serving is not None
    assert (found.serving.weights, found.serving.look, found.serving.photos) == ("own", "Lwisp Testcam", 2)
    assert found.serving.is_own_camera
    assert "this camera; learned from 2 of its files" in "\n".join(tell(found))
    other = Examiner(load("own")).examine(SAMPLE)
    assert other.serving is not None
    assert not other.serving.is_own_camera


def test_time_and_memory_grow_with_the_picture(write_dng: WriteDng, toy: Weights) -> None:
    examiner = Examiner(toy)
    small, large = (
        examiner.examine(write_dng(sense(colorful(side, side)), name=f"{side}.dng")).serving for side in (256, 1536)
    )
    assert small is not None
    assert large is not None
    assert small.seconds is not None
    assert large.seconds is not None
    assert 0 < small.seconds < large.seconds < 60
    assert small.memory_bytes is not None
    assert large.memory_bytes is not None
    assert large.memory_bytes - small.memory_bytes > 1e7


def test_what_memory_cannot_hold_is_said(write_dng: WriteDng) -> None:
    path = write_dng(sense(colorful(512, 512)))
    found = Examiner(load("photo"), memory=0.01).examine(path)
    assert found.error == ""
    assert found.serving is not None
    assert "--memory allows 0.01 GB" in found.serving.obstacle
    assert "not possible: " in "\n".join(tell(found))


def test_the_command_tells_a_screen_a_file_and_goes_on(write_dng: WriteDng, toy_file: Path, tmp_path: Path) -> None:
    good = write_dng(sense(colorful(64, 80)), name="good.dng")
    bad = tmp_path / "bad.dng"
    bad.write_bytes(good.read_bytes()[:300])
    before = sorted(tmp_path.iterdir())
    result = call("doctor", bad, tmp_path / "missing.dng", good, "--weights", toy_file)
    assert result.exit_code == 1
    pages = result.stdout.strip().split("\n\n")
    assert [page.splitlines()[0] for page in pages] == [str(bad), str(tmp_path / "missing.dng"), str(good)]
    assert "  refused         a damaged file, cut short" in pages[0]
    assert "  refused  " in pages[1]
    assert 10 < len(pages[2].splitlines()) <= 24
    assert "about " in pages[2]
    assert sorted(tmp_path.iterdir()) == before
    assert call("doctor", good, "--weights", toy_file).exit_code == 0


def test_the_command_tells_json_lines(write_dng: WriteDng, toy_file: Path, tmp_path: Path) -> None:
    write_dng(sense(colorful(64, 80)), name="a.dng")
    (tmp_path / "b.dng").write_text("no")
    result = call("doctor", tmp_path, "--weights", toy_file, "--json")
    assert result.exit_code == 1
    good, bad = (json.loads(line) for line in result.stdout.splitlines())
    assert (good["file"], good["error"]) == (str(tmp_path / "a.dng"), "")
    assert (good["facts"]["cfa"], good["serving"]["weights"]) == ("RGGB", "toy")
    assert good["facts"]["hot_pixels"] == 0
    assert (bad["facts"], bad["serving"]) == (None, None)
    assert "b.dng: " in bad["error"]


def test_bare_mosaics_are_told_of_too(toy_file: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", sense(colorful(64, 80)))
    (tmp_path / "sensor.toml").write_text('cfa = "RGGB"\nblack_level = 63\nwhite_level = 1000\n')
    result = call("doctor", tmp_path / "a.npy", "--weights", toy_file)
    assert result.exit_code == 0, result.stdout
    assert "RGGB, 64x80" in result.stdout
    assert "guessed, for no white balance given" in result.stdout
