import json
from pathlib import Path

import colour
import numpy as np
import pytest

import lwisp
from lwisp.evaluation import color_charts
from lwisp.imaging.pixels import to_integer
from tests.conftest import refusal

CENTERS = tuple((20.0 + 30 * column, 15.0 + 30 * row) for row in range(4) for column in range(6))


def true_patches() -> np.ndarray:
    """The reference chart in linear sRGB, by colour-science's own way."""
    chart = colour.CCS_COLOURCHECKERS["ColorChecker24 - After November 2014"]
    xyz = colour.xyY_to_XYZ(np.array(list(chart.data.values())))
    return colour.XYZ_to_RGB(xyz, "sRGB", chart.illuminant, "Bradford")


def test_the_true_colors_are_right_at_any_exposure() -> None:
    for exposure in (1, 0.4):
        assert color_charts.judge(true_patches() * exposure) == pytest.approx((0, 0), abs=0.02)


def test_a_cast_is_seen_as_shot_and_then_removed() -> None:
    as_shot, balanced = color_charts.judge(true_patches() * [1.3, 1, 0.8])
    assert as_shot > 5
    assert balanced == pytest.approx(0, abs=0.02)


def test_wrong_colors_stay_wrong_without_their_cast() -> None:
    gray = true_patches().mean(1, keepdims=True).repeat(3, 1)
    assert color_charts.judge(gray)[1] > 10


def test_patches_are_measured_where_they_lie_in_linear_light() -> None:
    picture = np.zeros((130, 190, 3), np.float32)
    values = np.random.default_rng(0).uniform(0.1, 0.9, (24, 3)).astype(np.float32)
    for (x, y), value in zip(CENTERS, values, strict=True):
        picture[int(y) - 6 : int(y) + 7, int(x) - 6 : int(x) + 7] = value
    measured = color_charts.measure(to_integer(picture, 8), color_charts.Chart(CENTERS, 6))
    assert np.allclose(measured, colour.cctf_decoding(np.rint(values * 255) / 255, "sRGB"), atol=1e-4)
    with pytest.raises(lwisp.InputError, match="does not lie in a picture"):
        color_charts.measure(to_integer(picture, 8)[:100], color_charts.Chart(CENTERS, 6))


def test_charts_are_found_by_the_name_of_their_raw(tmp_path: Path) -> None:
    path = tmp_path / "corners.json"
    path.write_text(json.dumps({"charts": {"one": {"file": "a/IMG_1.DNG", "centres": CENTERS, "half_size": 6}}}))
    known = color_charts.read_charts(path)
    assert color_charts.find_chart(known, Path("other/img_1.dng")) == color_charts.Chart(CENTERS, 6)
    assert color_charts.find_chart(known, Path("img_2.dng")) is None


def test_files_that_tell_of_no_charts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "corners.json"
    entry = {"file": "a.dng", "centres": CENTERS[:20], "half_size": 6}
    for content in ("no json", "[]", '{"charts": {"one": {}}}', json.dumps({"charts": {"one": entry}})):
        path.write_text(content)
        assert "expected charts" in refusal(path, color_charts.read_charts, path)
    assert "cannot be read" in refusal(tmp_path / "none", color_charts.read_charts, tmp_path / "none")


def test_the_neutrals_are_the_last_row() -> None:
    linear = true_patches()[color_charts.NEUTRALS]
    assert (linear.max(1) / linear.min(1)).max() < 1.1
    assert (np.diff(linear.mean(1)) < 0).all()
