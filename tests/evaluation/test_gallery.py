"""The script that makes the page of pictures: its list, its charts, its pictures side by side."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lwisp.data.resolution_charts import line_fan
from lwisp.evaluation.comparison_gallery import cut_alike
from lwisp.files.raw import read_raw
from lwisp.files.report import Heading
from tests.conftest import ROOT

SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "gallery.py"))


def save(path: Path, picture: np.ndarray) -> Path:
    Image.fromarray(picture).save(path)
    return path


def test_the_shipped_list_names_twelve_frames_three_of_them_made(tmp_path: Path) -> None:
    frames = SCRIPT["read_frames"](ROOT / "benchmarks" / "gallery.toml")
    assert len({frame.name for frame in frames}) == 12
    assert all(frame.words for frame in frames)
    made = SCRIPT["make_charts"](tmp_path)
    assert sum(frame.file in made for frame in frames) == 3
    assert all(read_raw(path).mosaic.shape == (512, 512) for path in made.values())


def test_a_list_that_is_none_and_a_file_that_is_nowhere_are_said(tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    for text in ("[[frame]]\nname = 1", "frame = 3", "file =", "[other]"):
        path.write_text(text)
        with pytest.raises(SystemExit, match=r"expected tables \[\[frame\]\]"):
            SCRIPT["read_frames"](path)
    path.write_text('[[frame]]\nfile = "a.dng"\nwords = "b"\ncrop = [3, 4]')
    (frame,) = SCRIPT["read_frames"](path)
    assert frame.crop == (3, 4)
    with pytest.raises(SystemExit, match=r"a\.dng"):
        SCRIPT["find_sources"]([frame], [tmp_path], {})
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.dng").touch()
    assert SCRIPT["find_sources"]([frame], [tmp_path], {}) == [tmp_path / "below" / "a.dng"]


def test_pictures_stand_side_by_side_whole_and_as_a_detail_at_the_same_place(tmp_path: Path) -> None:
    fan = np.ascontiguousarray(line_fan(800, 0.02, 0.8).permute(1, 2, 0).numpy())
    pictures = {"one": save(tmp_path / "1.png", fan), "two": save(tmp_path / "2.png", fan[6:, 4:])}  # cut off some
    frame = SCRIPT["Frame"]("fan.dng", "A fan.", (40, 250))
    heading, words, whole, detail = SCRIPT["show"](frame, pictures, tmp_path)
    assert (heading, words) == (Heading("fan.dng"), "A fan.")
    assert whole.endswith(f"({tmp_path.name}/fan-whole.jpg)") and detail.endswith(f"({tmp_path.name}/fan-detail.jpg)")
    with Image.open(tmp_path / "fan-whole.jpg") as page:
        assert page.width > 2 * 640
    assert np.array_equal(cut_alike(fan, fan, (40, 250), 320), fan[40:360, 250:570])
    with Image.open(tmp_path / "fan-detail.jpg") as page:
        left, right = (np.asarray(page).astype(int)[48:368, start : start + 320] for start in (6, 332))
    assert np.abs(left - fan[40:360, 250:570]).mean() < 8  # JPEG
    assert np.abs(right - left).mean() < 8
