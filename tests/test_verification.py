"""Pictures that are made again and compared: the same, edited since, or not to be said."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from lwisp.cli.commands import app
from lwisp.development import Settings, develop_files
from lwisp.engines.backends import is_installed
from lwisp.files.encoding import Finish
from lwisp.files.pictures import read_picture, read_properties, write_picture
from lwisp.planning import Job, Product
from lwisp.provenance import read_provenance
from lwisp.restoration import denoise_raw_files, restore_files
from lwisp.verification import verify
from lwisp.weights import Weights, load
from tests.conftest import WriteDng
from tests.samples import colorful, cut_short, sense

FINISHES: list[tuple[Product, dict[str, Any]]] = [
    ("jpg", {"exposure": 0.5, "finish": Finish(quality=80, size=50), "strip": True}),
    ("tiff", {"white_balance": "daylight", "finish": Finish(profile="rec2020")}),
    ("png16", {"crop": "none", "keep_hot_pixels": True}),
    ("png", {"white_balance": "2,1,1.5"}),
    ("avif", {}),
]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def raw(write_dng: WriteDng) -> Path:
    """A RAW with a hot photosite and a crop, so that all settings change its picture."""
    mosaic = sense(colorful(64, 80))
    mosaic[31, 41] = 1000
    crop = ((50719, "I", 2, (4, 6), True), (50720, "I", 2, (68, 52), True))
    return write_dng(mosaic, black=63, white=1000, extra=crop)


def make(raw: Path, weights: Weights, output: Path, product: Product = "tiff", **settings: Any) -> Path:
    backend = settings.pop("backend", "auto")
    jobs = [Job(raw, output, product, is_named=True)]
    (outcome,) = develop_files(weights, jobs, Settings(**settings), backend=backend)
    assert not outcome.error
    return output


def edit(path: Path, change: Any) -> None:
    """Change the pixels of a picture as an editor that keeps its tags does."""
    picture, properties = read_picture(path), read_properties(path)
    rgb = change(picture.rgb.astype(np.int64)).clip(0, np.iinfo(picture.rgb.dtype).max).astype(picture.rgb.dtype)
    write_picture(path, rgb, None, picture.exif, True, properties)


@pytest.mark.parametrize(("product", "settings"), FINISHES, ids=[product for product, _ in FINISHES])
def test_a_picture_of_any_settings_is_the_same(
    product: Product, settings: dict[str, Any], raw: Path, toy_file: Path, tmp_path: Path
) -> None:
    suffix = {"tiff": "tif", "png16": "png"}.get(product, product)
    picture = make(raw, load(toy_file), tmp_path / f"made.{suffix}", product, **settings)
    plain = make(raw, load(toy_file), tmp_path / f"plain.{suffix}", product)
    verdict = verify(picture, raw, [toy_file])
    assert (verdict.status, verdict.largest, verdict.share) == ("same", 0, 0), verdict.reason
    if settings:
        assert picture.read_bytes() != plain.read_bytes()
    assert not [path for path in tmp_path.iterdir() if "again" in path.name]


def test_an_edit_is_found_with_its_size_and_its_place(raw: Path, toy_file: Path, tmp_path: Path) -> None:
    picture = make(raw, load(toy_file), tmp_path / "a.tif", crop="none")

    def paint(rgb: Any) -> Any:
        rgb[10:14, 20:30] = 65535 - rgb[10:14, 20:30]
        rgb[10, 20] = rgb[13, 29] = 0 if rgb[10:14, 20:30].mean() > 30000 else 65535
        return rgb

    edit(picture, paint)
    verdict = verify(picture, raw, [toy_file])
    assert verdict.status == "other"
    assert "in rows 10 to 13 and columns 20 to 29" in verdict.reason
    assert verdict.share == pytest.approx(40 / (64 * 80))
    assert "edited since" in verdict.reason


def test_brightening_cropping_and_a_single_value_are_found(raw: Path, toy_file: Path, tmp_path: Path) -> None:
    weights = load(toy_file)
    picture = make(raw, weights, tmp_path / "a.tif")
    edit(picture, lambda rgb: rgb + 2570)
    brighter = verify(picture, raw, [toy_file])
    assert brighter.status == "other"
    assert "brighter by" in brighter.reason
    picture = make(raw, weights, tmp_path / "b.tif")
    edit(picture, lambda rgb: rgb[2:])
    assert "50x68 pixels, 52x68 as it was made" in verify(picture, raw, [toy_file]).reason
    picture = make(raw, weights, tmp_path / "c.tif")
    edit(picture, lambda rgb: np.where(np.arange(rgb.size).reshape(rgb.shape) == 99, rgb ^ 1, rgb))
    assert verify(picture, raw, [toy_file]).status == "other"


def test_a_picture_saved_again_with_other_settings_is_not_the_same(raw: Path, toy_file: Path, tmp_path: Path) -> None:
    picture = make(raw, load(toy_file), tmp_path / "a.jpg", "jpg")
    with Image.open(picture) as opened:
        opened.save(picture, quality=40, exif=opened.info["exif"], xmp=opened.info["xmp"])
    assert verify(picture, raw, [toy_file]).status == "other"


def test_a_picture_that_was_cut_short_is_not_the_same(raw: Path, toy_file: Path, tmp_path: Path) -> None:
    picture = make(raw, load(toy_file), tmp_path / "a.jpg", "jpg")
    cut_short(picture, 0.9)
    verdict = verify(picture, raw, [toy_file])
    assert verdict.status == "other"
    assert "damaged or replaced since" in verdict.reason


def test_a_failure_that_is_not_the_pictures_is_no_verdict(
    raw: Path, toy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = make(raw, load(toy_file), tmp_path / "a.tif")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    verdict = verify(picture, raw, [toy_file])
    assert verdict.status == "unknown"
    assert "No such file or directory" in verdict.reason


def told_anew(path: Path, **changes: Any) -> None:
    """Let a picture tell something else of how it was made; its pixels stay."""
    found = read_provenance(path)
    assert found is not None
    picture, properties = read_picture(path), read_properties(path)
    properties |= replace(found, **changes).to_properties()
    write_picture(path, picture.rgb, None, picture.exif, True, properties)


@pytest.mark.parametrize("changes", [{"version": "0.0.1"}, {"engine": "openvino in bf16 on 8 threads"}])
def test_other_versions_and_engines_may_round_otherwise(
    changes: dict[str, str], raw: Path, toy_file: Path, tmp_path: Path
) -> None:
    picture = make(raw, load(toy_file), tmp_path / "a.tif")
    edit(picture, lambda rgb: rgb + 100)  # 0.4 of 255
    assert verify(picture, raw, [toy_file]).status == "other"
    told_anew(picture, **changes)
    verdict = verify(picture, raw, [toy_file])
    assert verdict.status == "same"
    assert "to within 0.39 of 255" in verdict.reason
    assert next(iter(changes.values())) in verdict.reason
    edit(picture, lambda rgb: rgb + 2570)
    assert verify(picture, raw, [toy_file]).status == "other"


@pytest.mark.skipif(not is_installed("onnxruntime"), reason="onnxruntime is not installed")
def test_it_is_made_again_by_the_engine_that_made_it(raw: Path, toy_file: Path, tmp_path: Path) -> None:
    picture = make(raw, load(toy_file), tmp_path / "a.tif", backend="onnxruntime")
    verdict = verify(picture, raw, [toy_file])
    assert verdict.status == "same"
    assert verdict.engine.startswith("onnxruntime in fp32")


def test_another_raw_and_other_weights_are_named(
    raw: Path, toy_file: Path, write_dng: WriteDng, tmp_path: Path
) -> None:
    picture = make(raw, load(toy_file), tmp_path / "a.tif")
    other = write_dng(sense(colorful(64, 80, 1)), black=63, white=1000, name="other.dng")
    verdict = verify(picture, other, [toy_file])
    assert verdict.status == "other"
    assert "made of another file" in verdict.reason
    missing = verify(picture, raw)
    assert missing.status == "unknown"
    assert "'toy'" in missing.reason
    assert "--weights" in missing.reason


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"exposure": "bright", "format": "tiff"}, "exposure"),
        ({"format": "gif"}, "gif"),
        ({}, "format"),
        ({"format": "tiff", "size": True}, "size"),
        ({"format": "tiff", "sharpness": 3}, "sharpness"),
        ({"format": "tiff", "white-balance": "moon"}, "moon"),
        ({"format": "tiff", "exposure": 1e9}, "exposure"),
        ({"format": "tiff", "same-as": "exposure and white balance of all files: the median of 3 (gain 1)"}, "median"),
        ({"format": "tiff", "same-as": "exposure and balance: those of ../x.dng (gain 1)"}, "x.dng"),
    ],
)
def test_settings_that_cannot_be_repeated_are_refused_by_name(
    settings: dict[str, Any], words: str, raw: Path, toy_file: Path, tmp_path: Path
) -> None:
    picture = make(raw, load(toy_file), tmp_path / "a.tif")
    told_anew(picture, settings=settings)
    verdict = verify(picture, raw, [toy_file])
    assert verdict.status == "unknown"
    assert words in verdict.reason


def test_a_frame_of_a_sequence_is_made_again_where_its_reference_is_there(
    toy_file: Path, write_dng: WriteDng, tmp_path: Path
) -> None:
    frames = [
        write_dng(sense(colorful(64, 80, seed), top=700), black=63, white=1000, name=f"{seed}.dng") for seed in (1, 2)
    ]
    jobs = [Job(frame, frame.with_suffix(".tif"), "tiff") for frame in frames]
    assert not [
        outcome.error for outcome in develop_files(load(toy_file), jobs, Settings(same_as="first")) if outcome.error
    ]
    for job in jobs:
        verdict = verify(job.output, job.source, [toy_file])
        assert verdict.status == "same", verdict.reason
    frames[0].unlink()
    verdict = verify(jobs[1].output, frames[1], [toy_file])
    assert verdict.status == "unknown"
    assert "--same-as 1.dng" in verdict.reason


def test_finished_pictures_are_verified_too(tmp_path: Path) -> None:
    source = tmp_path / "photo.png"
    Image.fromarray(colorful(48, 64)).save(source)
    weights = load("denoise")
    for passes in (1, 4):
        job = Job(source, tmp_path / f"clean{passes}.png", "png")
        (outcome,) = restore_files("denoise", weights, [job], passes=passes)
        assert not outcome.error
        verdict = verify(job.output, source)
        assert (verdict.status, verdict.largest) == ("same", 0), verdict.reason
    edit(job.output, lambda rgb: rgb[:, ::-1])
    assert verify(job.output, source).status == "other"


@pytest.mark.parametrize("product", ["dng", "png"])
def test_denoised_raws_are_verified_too(product: Product, raw: Path, tmp_path: Path) -> None:
    job = Job(raw, tmp_path / f"clean.{product}", product)
    (outcome,) = denoise_raw_files(load("denoise-raw"), [job], load("photo"), keep_hot_pixels=True)
    assert not outcome.error
    verdict = verify(job.output, raw)
    assert (verdict.status, verdict.largest) == ("same", 0), verdict.reason
    if product == "dng":
        content = bytearray(job.output.read_bytes())
        content[-1000] ^= 0x40  # in the mosaic, which comes last
        job.output.write_bytes(content)
        assert verify(job.output, raw).status == "other"


def test_the_command_says_it_in_one_line_and_by_its_exit_code(raw: Path, toy_file: Path, tmp_path: Path) -> None:
    picture = make(raw, load(toy_file), tmp_path / "a.tif")
    result = call("verify", picture, raw, "--weights", toy_file)
    assert (result.exit_code, result.stdout) == (0, f"{picture}: the same picture: all pixels are equal\n")
    told = json.loads(call("verify", picture, raw, "--weights", toy_file, "--json").stdout)
    assert (told["status"], told["largest"], told["provenance"]["weights"]) == ("same", 0, "toy")
    edit(picture, lambda rgb: rgb // 2)
    result = call("verify", picture, raw, "--weights", toy_file)
    assert result.exit_code == 1
    assert "not the same: another picture, or edited since" in result.stdout
    assert "darker by" in result.stdout


@pytest.mark.parametrize("what", ["no tags", "no file", "no raw", "a pipe", "no picture"])
def test_what_cannot_be_said_has_an_exit_code_of_its_own(what: str, raw: Path, toy_file: Path, tmp_path: Path) -> None:
    picture = make(raw, load(toy_file), tmp_path / "a.tif")
    if what == "no tags":
        write_picture(picture, colorful(64, 80).astype(np.float32) / 255, overwrite=True)
    elif what == "no file":
        picture.unlink()
    elif what in ("no raw", "a pipe"):
        raw.unlink()
        if what == "a pipe":
            os.mkfifo(raw)
    else:
        picture.write_bytes(picture.read_bytes()[:200])
    result = call("verify", picture, raw, "--weights", toy_file)
    assert result.exit_code == 2, result.stdout
    assert "cannot be said: " in result.stdout
    assert len(result.stdout.splitlines()) == 1
