import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import lwisp
from lwisp.architecture import LWISPConfig, Takes
from lwisp.cli import restore
from lwisp.data import cases
from lwisp.data.datasets import AS_SENSED
from lwisp.engines.engine import prepare_engine
from lwisp.engines.tensors import run_network
from lwisp.errors import InputError
from lwisp.files.decoding import PICTURE_SUFFIXES
from lwisp.files.pictures import own_format, read_picture, read_rgb, write_picture
from lwisp.files.raw import RawImage
from lwisp.imaging import color, metrics
from lwisp.imaging.framing import CROPS
from lwisp.model import LWISP
from lwisp.planning import plan
from lwisp.restoration import PASSES, denoise, denoise_raw, denoise_raw_files, restore_files
from lwisp.weights import Card, Weights, save
from tests.conftest import ROOT, SAMPLE, TOY, WriteDng

RNG = np.random.default_rng(0)
STRUCTURES: dict[Takes, LWISPConfig] = {
    "rgb": replace(TOY, in_channels=3, upsample=False, residual=True),
    "planes": replace(TOY, out_channels=4, upsample=False, residual=True),
}


@pytest.fixture
def all_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a network takes away is taken for noise."""
    monkeypatch.setattr("lwisp.restoration.share_of_noise", lambda given, cleaned: 1.0)


def weights(takes: Takes, residual: bool = True, change: float = 0.01) -> Weights:
    """A network of width 4 that changes its input a little, everywhere."""
    torch.manual_seed(0)
    config = replace(STRUCTURES[takes], residual=residual)
    network = LWISP(config).eval()
    if residual:
        nn.init.normal_(network.out.weight, std=change)
    return Weights(network, Card(takes, config, AS_SENSED, "MIT"))


def picture(height: int, width: int, dtype: type[Any] = np.uint8) -> NDArray[Any]:
    small = RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    smooth = np.array(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    return smooth if dtype == np.uint8 else smooth.astype(dtype) * 257 + RNG.integers(0, 256, smooth.shape, dtype=dtype)


@pytest.mark.usefixtures("all_noise")
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (33, 70), (300, 411)])
def test_a_picture_of_any_size_is_what_the_network_makes_of_it(size: tuple[int, int], residual: bool) -> None:
    chosen, rgb = weights("rgb", residual), picture(*size)
    made = denoise(rgb, chosen, "fp32", "torch", passes=1)
    with torch.inference_mode():
        expected = chosen.network(torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255)[0].permute(1, 2, 0).numpy()
    assert (made.shape, made.dtype.name) == (rgb.shape, "float32")
    assert np.abs(made - expected).max() < 1e-6
    assert residual is False or size == (1, 1) or np.abs(made - rgb / 255).max() > 1e-3


@pytest.mark.usefixtures("all_noise")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_strength_mixes_the_picture_with_what_the_network_makes_of_it(dtype: type[Any]) -> None:
    chosen, rgb = weights("rgb", change=0.1), picture(40, 50)
    given = rgb.astype(np.float32) / 255
    rgb = given if dtype == np.float32 else rgb.astype(dtype) * dtype(np.iinfo(dtype).max // 255)

    def made(strength: float, of: NDArray[Any] = rgb) -> NDArray[np.float32]:
        return denoise(of, chosen, "fp32", "openvino", passes=1, noise_reduction=strength)

    once = made(1.0)
    untouched = made(0.0, rgb.astype(np.float64) if dtype == np.float32 else rgb)
    assert untouched.dtype == np.float32
    assert not np.shares_memory(made(0.0), rgb)
    assert np.abs(untouched - given).max() < 1e-6
    assert np.abs(made(0.25) - (0.75 * given + 0.25 * once)).max() < 1e-6
    twice = made(1.0, once)
    assert np.abs(twice - once).max() > 1e-3
    assert np.abs(made(1.5) - (once + twice) / 2).max() < 1e-6
    assert np.abs(made(2.0) - twice).max() < 1e-6


@pytest.mark.parametrize("strength", [-0.1, 2.1, float("nan"), "1", None, True])
def test_strengths_out_of_range_are_refused(strength: Any, toy: Weights, tmp_path: Path) -> None:
    raw = RawImage(np.zeros((8, 8), np.uint16), "RGGB", (0.0,) * 4, (1023.0,) * 4)
    for call in (
        lambda: denoise(picture(8, 8), weights("rgb"), noise_reduction=strength),
        lambda: denoise_raw(raw, weights("planes"), noise_reduction=strength),
        lambda: restore_files("denoise", weights("rgb"), [], noise_reduction=strength),
        lambda: denoise_raw_files(weights("planes"), [], toy, noise_reduction=strength),
    ):
        with pytest.raises(InputError, match="noise reduction of 0 to 2"):
            call()


@pytest.mark.parametrize("cfa", ["RGGB", "GBRG"])
def test_the_strength_mixes_a_mosaic_with_what_it_was(cfa: Any) -> None:
    chosen = weights("planes")
    mosaic = RNG.integers(64, 4096, (42, 56), dtype=np.uint16)
    raw = RawImage(mosaic, cfa, (60.0, 62.0, 64.0, 66.0), (4000.0,) * 4)

    def made(strength: float, of: RawImage = raw) -> NDArray[np.float64]:
        clean = denoise_raw(of, chosen, "fp32", "openvino", keep_hot_pixels=True, noise_reduction=strength)
        assert clean.black_level == (4096.0,) * 4
        return clean.mosaic.astype(np.float64)

    blacks = np.empty((2, 2))
    for letter, black in zip(("R", "B"), (60.0, 66.0), strict=True):
        place = cfa.index(letter)
        blacks[place // 2, place % 2] = black
    row = cfa.index("R") // 2
    greens = [place for place in range(4) if cfa[place] == "G"]
    for place in greens:
        blacks[place // 2, place % 2] = 62.0 if place // 2 == row else 64.0
    levels = np.tile(blacks, (21, 28))
    given = np.clip((mosaic - levels) / (4000 - levels) * (65535 - 4096) + 4096, 0, 65535)
    once = made(1.0)
    assert np.abs(made(0.0) - given).max() <= 0.51
    assert np.abs(made(0.5) - (given + once) / 2).max() <= 1.1
    twice = made(
        1.0, replace(raw, mosaic=once.astype(np.uint16), black_level=(4096.0,) * 4, white_level=(65535.0,) * 4)
    )
    assert np.abs(made(2.0) - twice).max() <= 1


def test_what_is_no_noise_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chosen, rgb = weights("rgb", change=0.1), picture(40, 50)
    write_picture(tmp_path / "in.png", rgb)

    def run(share: float, strength: float = 1.0) -> tuple[NDArray[Any], tuple[str, ...]]:
        monkeypatch.setattr("lwisp.restoration.share_of_noise", lambda given, cleaned: share)
        jobs = plan([tmp_path / "in.png"], tmp_path / "out.png", None, PICTURE_SUFFIXES)
        settings: dict[str, Any] = {"backend": "openvino", "overwrite": True, "passes": 1, "noise_reduction": strength}
        (outcome,) = restore_files("denoise", chosen, jobs, "fp32", **settings)
        assert not outcome.error
        return read_picture(tmp_path / "out.png").rgb, outcome.notes

    kept, notes = run(0.0)
    assert np.array_equal(kept, rgb)
    assert notes == ("little noise was found, so 0% of what the network takes away is taken",)
    whole, notes = run(1.0)
    assert notes == ()
    half, notes = run(0.25)
    assert np.abs(half - (0.75 * rgb + 0.25 * whole)).max() <= 1
    assert "25%" in notes[0]
    doubled, _ = run(0.25, 2.0)
    assert np.abs(doubled.astype(float) - rgb).mean() > 1.5 * np.abs(half.astype(float) - rgb).mean()


def test_only_what_takes_noise_away_has_a_strength() -> None:
    assert "noise_reduction" in signature(restore.denoise).parameters
    assert "noise_reduction" in signature(restore.denoise_raw).parameters
    assert "noise_reduction" not in signature(restore.enhance).parameters


@pytest.mark.parametrize("takes", ["rgb", "planes"])
@pytest.mark.parametrize("residual", [True, False])
def test_tiles_give_what_the_whole_picture_gives(takes: Takes, residual: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    network = weights(takes, residual).network
    planes = torch.rand(network.config.in_channels, 530, 610)
    whole = run_network(network, planes, "fp32", "torch")
    engine = prepare_engine(network, "torch", "fp32")
    monkeypatch.setattr(engine, "_choose_window", lambda *_: 256)
    assert whole.shape == planes.shape
    assert np.abs(engine(planes.numpy()) - whole.permute(1, 2, 0).numpy()).max() < 1e-5


@pytest.mark.usefixtures("all_noise")
@pytest.mark.parametrize("passes", [2, 4])
def test_passes_are_a_mean_over_mirror_images(passes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network = weights("rgb", residual=False).network
    planes = torch.rand(3, 290, 301)
    flips: list[list[int]] = [[], [1, 2], [1], [2]]
    each = [run_network(network, planes.flip(dims), "fp32", "torch").flip(dims) for dims in flips[:passes]]
    assert float((each[0] - each[1]).abs().max()) > 1e-3
    engine = prepare_engine(network, "torch", "fp32", passes=passes)
    assert f"the mean of {passes} passes" in engine.description
    whole = engine(planes.numpy())
    mean = torch.stack(each).mean(0).permute(1, 2, 0).numpy()
    assert np.abs(whole - mean).max() < 1e-6
    engine = prepare_engine(network, "torch", "fp32", passes=passes)
    monkeypatch.setattr(engine, "_choose_window", lambda *_: 256)
    assert np.abs(engine(planes.numpy()) - whole).max() < 1e-5
    rgb = picture(40, 50, np.uint16)
    made = denoise(rgb, weights("rgb"), "fp32", "torch", passes=passes)
    again = denoise(np.ascontiguousarray(rgb[::-1, ::-1]), weights("rgb"), "fp32", "torch", passes=passes)
    assert np.abs(again[::-1, ::-1] - made).max() < 1e-6  # turned around, the same comes out


def test_passes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match="1, 2 or 4 passes, got 3"):
        prepare_engine(weights("rgb").network, "torch", passes=3)
    with pytest.raises(InputError, match="networks that take RGB"):
        prepare_engine(weights("planes").network, "torch", passes=2)


@pytest.mark.parametrize("verb", [restore.denoise, restore.enhance])
def test_the_verbs_take_as_many_passes_as_the_library(verb: Callable[..., None]) -> None:
    assert signature(verb).parameters["passes"].default == PASSES == signature(denoise).parameters["passes"].default


def test_what_is_added_is_added_in_full_precision() -> None:
    """bf16 has eight bits: of a picture of 16 it would lose half if it went through the network."""
    rgb = picture(64, 64, np.uint16)
    nothing = weights("rgb", change=0.0)
    for backend in ("torch", "openvino"):
        made = denoise(rgb, nothing, "bf16", backend)
        assert np.array_equal(np.uint16(made * 65535 + 0.5), rgb)


def test_files_keep_their_form_their_tags_and_their_place(tmp_path: Path) -> None:
    folder, exif = tmp_path / "photos", Image.Exif()
    folder.mkdir()
    exif[272], exif[274], exif[37500] = "Testcam", 6, b"maker"
    Image.fromarray(picture(40, 60)).save(folder / "a.jpg", exif=exif, quality=95)
    write_picture(folder / "b.png", picture(40, 60, np.uint16), "png16", exif)
    write_picture(folder / "c.tif", picture(40, 60, np.uint16), "tiff", exif)
    write_picture(folder / "d.png", picture(40, 60), "png", exif)
    (folder / "bad.png").write_bytes(b"no picture")
    jobs = plan([folder], None, None, frozenset([".jpg", ".png", ".tif"]), own_format, "-denoised")
    outcomes = {
        outcome.source.name: outcome for outcome in restore_files("denoise", weights("rgb"), jobs, backend="torch")
    }
    assert {name for name, outcome in outcomes.items() if outcome.error} == {"bad.png"}
    assert str(folder / "bad.png") in outcomes["bad.png"].error
    for name, dtype in (("a.jpg", "uint8"), ("b.png", "uint16"), ("c.tif", "uint16"), ("d.png", "uint8")):
        before, after = read_picture(folder / name), read_picture(outcomes[name].output)
        assert outcomes[name].output.name == name.replace(".", "-denoised.")
        assert (after.rgb.shape, after.rgb.dtype.name) == (before.rgb.shape, dtype)
        assert (after.exif[272], after.exif[274]) == ("Testcam", 1)
        assert 37500 not in after.exif.get_ifd(0x8769)
    assert read_picture(outcomes["a.jpg"].output).rgb.shape == (60, 40, 3)  # it stood on its side
    again = plan([folder], None, None, frozenset([".jpg", ".png", ".tif"]), own_format, "-denoised")
    assert [job.source for job in again] == [job.source for job in jobs]  # what was made is not taken for input
    assert all(
        "exists already" in outcome.error
        for outcome in restore_files("denoise", weights("rgb"), again)
        if "bad" not in outcome.source.name
    )


def test_a_picture_of_16_bits_gains_by_them(tmp_path: Path) -> None:
    rgb = picture(48, 64, np.uint16)
    write_picture(tmp_path / "in.png", rgb, "png16")
    jobs = plan([tmp_path / "in.png"], tmp_path / "out.png", None, default=own_format)
    assert jobs[0].format == "png16"
    list(restore_files("denoise", weights("rgb"), jobs, "fp32", backend="torch"))
    expected = denoise(rgb, weights("rgb"), "fp32", "torch")
    assert np.array_equal(read_picture(tmp_path / "out.png").rgb, np.uint16(expected * 65535 + 0.5))


@pytest.mark.usefixtures("all_noise")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("deep", [False, True])
def test_gray_stays_gray(suffix: str, deep: bool, tmp_path: Path) -> None:
    """The network tints it a little; what is written is the mean of its three colors."""
    gray = picture(48, 64, np.uint16 if deep and suffix != ".jpg" else np.uint8)[..., 1]
    source = tmp_path / f"in{suffix}"
    options: dict[str, Any] = {"quality": 100} if suffix == ".jpg" else {}
    Image.fromarray(gray).save(source, **options)
    jobs = plan([source], None, None, default=own_format, mark="-denoised")
    chosen = weights("rgb", change=0.05)
    (outcome,) = restore_files("denoise", chosen, jobs, "fp32", backend="torch", passes=1)
    assert (outcome.error, outcome.notes) == ("", ())
    given = read_picture(source)
    with Image.open(outcome.output) as written:
        assert len(written.getbands()) == 1
    after = read_picture(outcome.output).rgb[..., 0]
    tinted = denoise(given.rgb, chosen, "fp32", "torch", passes=1)
    assert np.ptp(tinted, -1).max() > 1e-3
    top = np.iinfo(after.dtype).max
    assert np.abs(after / top - tinted.mean(-1)).max() < (4 / 255 if suffix == ".jpg" else 1.01 / top)


def test_raws_of_any_name_and_heif_without_its_reader_are_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for name in ("photo.dng", "photo.tif"):
        shutil.copy(SAMPLE, tmp_path / name)
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    jobs = plan([tmp_path / "photo.dng", tmp_path], tmp_path / "out", None, PICTURE_SUFFIXES, own_format)
    outcomes = {job.source.name: job for job in restore_files("denoise", weights("rgb"), jobs, backend="torch")}
    assert {"photo.dng", "photo.tif", "phone.heic"} == set(outcomes)
    for name in ("photo.dng", "photo.tif"):
        assert "a RAW file" in outcomes[name].error
        assert "`lwisp denoise-raw`" in outcomes[name].error
    assert outcomes["phone.heic"].error.endswith("not installed; pip install pillow-heif")


@pytest.mark.parametrize("cfa", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_a_raw_stays_where_it_is_and_what_it_is(cfa: Any, tmp_path: Path) -> None:
    values = RNG.integers(64, 4000, (37, 46), dtype=np.uint16)
    raw = RawImage(values, cfa, (64.0, 60.0, 62.0, 64.0), (4095.0,) * 4, (2.0, 1.0, 1.5), orientation=6)
    clean = denoise_raw(raw, weights("planes", change=0.0), "fp32", "torch")
    assert (clean.cfa, clean.white_balance, clean.orientation) == (cfa, raw.white_balance, 6)
    black = np.empty(values.shape)
    rows, columns = np.divmod(cfa.index("R"), 2)
    for place, level in enumerate(raw.black_level):
        down, right = divmod(place, 2)
        black[(rows + down) % 2 :: 2, (columns + right) % 2 :: 2] = level
    expected = np.clip((values - black) / (4095 - black), 0, 1) * (65535 - 4096) + 4096
    assert np.abs(clean.mosaic - expected).max() <= 0.51
    with_noise = denoise_raw(raw, weights("planes"), "fp32", "torch")
    assert not np.array_equal(with_noise.mosaic, clean.mosaic)


def test_raw_files_become_dngs_or_pictures(toy: Weights, write_dng: WriteDng, tmp_path: Path) -> None:
    path = write_dng(RNG.integers(64, 4000, (40, 60), dtype=np.uint16), orientation=6)
    jobs = plan([path], None, None, default=lambda file: "dng", mark="-denoised")
    (outcome,) = denoise_raw_files(weights("planes"), jobs, toy, backend="torch")
    assert (outcome.error, outcome.output.name) == ("", "photo-denoised.dng")
    before, after = lwisp.read_raw(path), lwisp.read_raw(outcome.output)
    assert after.mosaic.shape == before.mosaic.shape
    assert (after.orientation, after.black_level, after.white_level) == (6, (4096.0,) * 4, (65535.0,) * 4)
    assert np.allclose(after.white_balance, before.white_balance, rtol=1e-3)
    assert np.allclose(after.cam2rgb, before.cam2rgb, atol=1e-3)
    jobs = plan([path], tmp_path / "x.png", None, default=lambda file: "dng")
    (outcome,) = denoise_raw_files(weights("planes"), jobs, toy, backend="torch")
    assert read_picture(outcome.output).rgb.shape == (60, 40, 3)
    (outcome,) = denoise_raw_files(weights("planes"), plan([path], tmp_path / "y.dng", "dng"), toy, backend="torch")
    assert not outcome.error


def test_hot_photosites_are_repaired_before_noise_is_unless_they_are_to_stay(
    toy: Weights, write_dng: WriteDng, tmp_path: Path
) -> None:
    identity = weights("planes", change=0)
    mosaic = np.random.default_rng(0).integers(390, 410, (64, 64), dtype=np.uint16)
    mosaic[20, 31] = mosaic[41, 12] = 4095
    path = write_dng(mosaic, black=64, white=4095)
    raw = lwisp.read_raw(path)
    assert denoise_raw(raw, identity).mosaic.max() < 12000
    assert denoise_raw(raw, identity, keep_hot_pixels=True).mosaic.max() == 65535
    for keep in (False, True):
        jobs = plan([path], tmp_path / f"{keep}.dng", "dng")
        assert not next(denoise_raw_files(identity, jobs, toy, keep_hot_pixels=keep)).error
        assert (lwisp.read_raw(tmp_path / f"{keep}.dng").mosaic.max() == 65535) == keep


def test_the_crop_is_passed_on_as_tags_or_left_out(toy: Weights, write_dng: WriteDng, tmp_path: Path) -> None:
    tags = (50719, "I", 2, (9, 5), True), (50720, "I", 2, (41, 31), True)
    path = write_dng(np.random.default_rng(0).integers(390, 410, (64, 64), dtype=np.uint16), extra=tags)
    crops = []
    for crop in CROPS:
        jobs = plan([path], tmp_path / f"{crop}.dng", "dng")
        outcomes = denoise_raw_files(weights("planes"), jobs, toy, crop=crop)
        assert not next(outcomes).error
        made = lwisp.read_raw(tmp_path / f"{crop}.dng")
        assert made.mosaic.shape == (64, 64)
        crops.append(made.crop)
    assert crops == [(5, 9, 31, 41), None]


def test_weights_for_something_else_are_refused(toy: Weights) -> None:
    with pytest.raises(lwisp.InputError, match="expected a network from RGB to RGB"):
        denoise(picture(32, 32), toy)
    with pytest.raises(lwisp.InputError, match="expected a network from the planes of a RAW to clean ones"):
        denoise_raw(lwisp.read_raw(SAMPLE), weights("rgb"))
    with pytest.raises(lwisp.InputError, match="expected a network from RAW to RGB"):
        lwisp.develop(weights("rgb"), lwisp.read_raw(SAMPLE))


def test_weights_on_disk_are_those_that_were_saved(tmp_path: Path) -> None:
    made = weights("planes")
    save(tmp_path / "x.safetensors", made.network, made.card, np.float32)
    loaded = lwisp.load(tmp_path / "x.safetensors")
    planes = torch.rand(4, 32, 48)
    assert torch.equal(run_network(loaded.network, planes), run_network(made.network, planes))
    assert loaded.card.architecture.takes == "planes"


def developed() -> Tensor:
    """A piece (3, 256, 256) of the developed sample."""
    rgb = read_rgb(ROOT / "docs" / "images" / "before_after.jpg")[40:296, -300:-44]
    return torch.from_numpy(rgb.copy()).permute(2, 0, 1) / 255


@pytest.mark.parametrize(("name", "level", "gain"), [("denoise", "middle", 2.0), ("enhance", "3.5 EV", 6.0)])
def test_the_shipped_weights_come_nearer_to_the_truth(
    name: Literal["denoise", "enhance"], level: str, gain: float
) -> None:
    truth = developed()
    given, _ = cases.degraded_case(name, truth, 0, level)
    rgb = lwisp.denoise(given.permute(1, 2, 0).numpy(), lwisp.load(name))
    assert metrics.psnr(torch.from_numpy(rgb).permute(2, 0, 1), truth) > metrics.psnr(given, truth) + gain


def test_the_shipped_weights_take_noise_out_of_planes() -> None:
    photo = developed()
    network = lwisp.load("denoise-raw").network
    for level in cases.NOISE_LEVELS:
        given, truth = cases.degraded_case("denoise-raw", photo, 0, level)
        clean = run_network(network, given)
        scored = [
            metrics.psnr(color.srgb_encode(planes.clamp(0, 1)), color.srgb_encode(truth)) for planes in (clean, given)
        ]
        assert scored[0] > scored[1] + 1.0
