"""One page of several tools: pictures laid onto each other, scores by a truth, what is missing or fails said."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import colour
import numpy as np
import pytest
import rawpy
from PIL import Image

import lwisp
from lwisp.data import synthetic
from lwisp.evaluation import comparison as compare
from lwisp.evaluation.comparison_gallery import find_details
from lwisp.evaluation.tools import all_tools
from lwisp.imaging.matching import fit_look
from lwisp.imaging.metrics import false_color, psnr
from lwisp.imaging.tensors import to_tensor
from lwisp.weights import Weights
from tests.conftest import WriteDng
from tests.evaluation.test_color_charts import CENTERS, true_patches

RNG = np.random.default_rng(0)


def scene(seed: int = 0, height: int = 260, width: int = 300) -> np.ndarray:
    return synthetic.pictures(1, seed, height, width)[0].permute(1, 2, 0).numpy()


@pytest.fixture(autouse=True)
def _only_what_python_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


def test_details_are_where_there_is_something_to_see() -> None:
    picture = np.full((600, 800, 3), 128, np.uint8)
    picture[300:, 500:] = RNG.integers(0, 256, (300, 300, 1), dtype=np.uint8)
    picture[:250, :250] = RNG.integers(0, 20, (250, 250, 1), dtype=np.uint8)
    picture[350:, :250, 0] = RNG.integers(200, 250, (250, 250), dtype=np.uint8)
    places = find_details(picture)
    assert list(places) == ["detail", "shadows", "color"]
    assert places["detail"][0] > 200 and places["detail"][1] > 350
    assert max(places["shadows"]) < 120
    assert places["color"][0] > 200 and places["color"][1] < 120


def test_finished_looks_stand_on_one_page_and_what_is_missing_is_said(
    toy: Weights, write_dng: WriteDng, tmp_path: Path
) -> None:
    raw = write_dng(4 * scene()[..., 1].astype(np.uint16))
    Image.fromarray(scene()[::2, ::2]).save(raw.with_suffix(".jpg"))
    comparison = compare.compare(toy, [raw], tmp_path / "page", precision="fp32")
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == [
        *("compare.csv", "compare.html", "compare.md", "compare.png"),
    ]
    names = [row.tool for row in comparison.rows if not row.failure]
    assert names == ["lwisp toy", "rawpy default", "rawpy tuned", "camera"]
    page = (tmp_path / "page" / "compare.html").read_text()
    assert page.count("<figure>") == 4 * len(names)
    assert "darktable-cli is not installed" in page
    assert "rawtherapee-cli is not installed" in page
    assert "PSNR" not in (tmp_path / "page" / "compare.md").read_text()
    with (tmp_path / "page" / "compare.csv").open() as file:
        assert [row["tool"] for row in csv.DictReader(file)][:2] == ["lwisp toy", "rawpy default"]
    with pytest.raises(lwisp.InputError, match="exists already"):
        compare.compare(toy, [raw], tmp_path / "page")


def test_pictures_are_scored_where_a_truth_exists(toy: Weights, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(scene(0, 200, 240)).save(photos / "0.png")
    synthetic.synthesize("dng", [photos], tmp_path / "dngs")
    folders = [tmp_path / "dngs" / level for level in ("clean", "high")]
    comparison = compare.compare(toy, folders, tmp_path / "page", tmp_path / "dngs" / "truth", precision="fp32")
    clean, high = (comparison.mean(case, "rawpy AHD", "psnr") for case in ("clean", "high"))
    assert clean > 22
    assert clean > high + 3
    for case in ("clean", "high"):
        fitted = [comparison.mean(case, tool, "psnr_fitted") for tool in ("rawpy default", "rawpy AHD")]
        assert fitted[0] == pytest.approx(fitted[1], abs=0.7)  # a look costs nothing
    with Image.open(tmp_path / "dngs" / "truth" / "0.png") as file:
        truth = np.asarray(file)
    with rawpy.imread(str(folders[0] / "0.dng")) as raw:
        rgb = raw.postprocess(use_camera_wb=True, no_auto_bright=True, gamma=(2.4, 12.92))
    developed, shown = (to_tensor(picture[12:-12, 12:-12]) for picture in (rgb, truth))
    alike = fit_look(developed, shown)
    (row,) = [row for row in comparison.rows if (row.case, row.picture, row.tool) == ("clean", "0", "rawpy AHD")]
    assert row.psnr_fitted == pytest.approx(psnr(alike, shown))
    assert row.false_color == pytest.approx(false_color(alike, shown))
    assert comparison.mean("high", "rawpy AHD", "false_color") > comparison.mean("clean", "rawpy AHD", "false_color")
    page = (tmp_path / "page" / "compare.md").read_text()
    assert "dB fitted PSNR ahead of" in page
    assert f"{clean:.2f}" in page
    assert "| false color |" in page
    assert np.isnan(comparison.mean("high", "camera", "psnr"))


def test_color_is_scored_where_a_chart_is(toy: Weights, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    chart = np.zeros((140, 200, 3), np.uint8)
    colors = np.rint(colour.cctf_encoding(true_patches().clip(0, 1), "sRGB") * 255)
    for (x, y), value in zip(CENTERS, colors, strict=True):
        chart[int(y) - 12 : int(y) + 13, int(x) - 12 : int(x) + 13] = value
    Image.fromarray(chart).save(photos / "chart.png")
    synthetic.synthesize("dng", [photos], tmp_path / "dngs")
    entry = {"file": "chart.dng", "centres": CENTERS, "half_size": 6}
    (tmp_path / "corners.json").write_text(json.dumps({"charts": {"one": entry}}))
    raw = tmp_path / "dngs" / "clean" / "chart.dng"
    comparison = compare.compare(toy, [raw], tmp_path / "page", chart_file=tmp_path / "corners.json", precision="fp32")
    (row,) = [row for row in comparison.rows if row.tool == "rawpy AHD"]
    assert row.chart == pytest.approx(0, abs=1)  # cyan lies outside of sRGB
    assert row.chart_balanced == pytest.approx(row.chart, abs=0.3)
    assert next(row.chart for row in comparison.rows if row.tool == "lwisp toy") > 5  # it has not been trained
    assert "cast removed" in (tmp_path / "page" / "compare.md").read_text()


def test_what_cannot_be_compared_is_refused_or_said(toy: Weights, write_dng: WriteDng, tmp_path: Path) -> None:
    path = write_dng(RNG.integers(64, 4000, (80, 90), dtype=np.uint16))
    truth = tmp_path / "truth"
    truth.mkdir()
    with pytest.raises(lwisp.InputError, match=r"no picture photo\.png"):
        compare.compare(toy, [path], tmp_path / "page", truth)
    for size, words in {(300, 300): "expected about 300x300", (30, 34): "expected 35 px"}.items():
        Image.new("RGB", size).save(truth / "photo.png")
        comparison = compare.compare(toy, [path], tmp_path / "page", truth, overwrite=True)
        assert words in comparison.failures[0]
    bad = tmp_path / "bad.dng"
    bad.write_text("no RAW")
    comparison = compare.compare(toy, [path, bad], tmp_path / "page", overwrite=True)
    assert [str(bad) in failure for failure in comparison.failures] == [True]
    assert "bad.dng" in (tmp_path / "page" / "compare.md").read_text()


def test_whatever_goes_wrong_with_one_tool_or_picture_the_others_are_compared(
    toy: Weights, write_dng: WriteDng, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise RuntimeError("of a tool")

    known = all_tools(toy, "fp32")
    tools = (known[0], replace(known[2], develop=fail), known[2])
    monkeypatch.setattr(compare, "all_tools", lambda *_: tools)
    sources = [write_dng(RNG.integers(64, 4000, (80, 90), dtype=np.uint16), name=f"{name}.dng") for name in "ab"]
    done = compare.compare(toy, sources, tmp_path / "page", precision="fp32")
    failures = [bool(row.failure) for row in done.rows]
    assert failures == [False, False, True, True, False, False]
    assert done.rows[2].failure == f"{sources[0]}: failed for an unforeseen reason (RuntimeError: of a tool)"

    silent = (known[0], replace(known[2], develop=lambda jobs: {}))
    monkeypatch.setattr(compare, "all_tools", lambda *_: silent)
    page = tmp_path / "nothing"
    done = compare.compare(toy, sources, page, precision="fp32")  # of a tool that makes nothing, and does not say so
    assert [row.failure.partition(":")[0] for row in done.rows[2:]] == ["1/0.png", "1/1.png"]
    assert "1/0.png" in (page / "compare.html").read_text(encoding="utf-8")
    for path in page.iterdir():
        assert b".lwisp-" not in path.read_bytes()

    monkeypatch.setattr(compare, "all_tools", lambda *_: tools)
    measure = compare._lay_on
    monkeypatch.setattr(
        compare, "_lay_on", lambda path, frame: fail() if frame.source == sources[0] else measure(path, frame)
    )
    done = compare.compare(toy, sources, tmp_path / "other", precision="fp32")
    assert [bool(row.failure) for row in done.rows] == [True, False, True, True, True, False]
