"""The camera's crop and the shape of pixels, in files that say them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rawpy
from PIL import Image

import lwisp
from lwisp.files.dng import write_dng as write_dng_of
from lwisp.weights import Weights
from tests.conftest import SAMPLE, WriteDng

MOSAIC = np.random.default_rng(0).integers(64, 4000, (60, 80), dtype=np.uint16)


def crop_tags(left: int, top: int, width: int, height: int) -> tuple[Any, ...]:
    return (50719, "I", 2, (left, top), True), (50720, "I", 2, (width, height), True)


def scale_tag(across: int, down: int) -> tuple[Any, ...]:
    return ((50718, "2I", 2, (across, 1, down, 1), True),)


def test_a_dngs_crop_is_read_to_the_photosite(write_dng: WriteDng) -> None:
    assert lwisp.read_raw(write_dng(MOSAIC, extra=crop_tags(9, 5, 41, 31))).crop == (5, 9, 31, 41)


def test_fractions_of_a_photosite_are_rounded(write_dng: WriteDng) -> None:
    tags = (50719, "2I", 2, (17, 2, 9, 4), True), (50720, "2I", 2, (40, 1, 61, 2), True)  # 8.5, 2.25; 40, 30.5
    assert lwisp.read_raw(write_dng(MOSAIC, extra=tags)).crop == (2, 9, 31, 40)


def test_a_crop_counts_from_the_active_area(write_dng: WriteDng) -> None:
    active = (50829, "I", 4, (4, 6, 57, 77), True)  # top, left, bottom, right
    raw = lwisp.read_raw(write_dng(MOSAIC, extra=(active, *crop_tags(9, 3, 41, 31))))
    assert raw.mosaic.shape == (53, 71)
    assert raw.crop == (3, 9, 31, 41)


def test_an_odd_active_area_keeps_the_crops_place_on_the_sensor(write_dng: WriteDng) -> None:
    active = (50829, "I", 4, (5, 7, 57, 77), True)
    raw = lwisp.read_raw(write_dng(MOSAIC, extra=(active, *crop_tags(9, 4, 41, 31))))
    assert raw.crop is not None
    top, left, height, width = raw.crop
    shown = raw.mosaic[top : top + height, left : left + width]
    assert np.array_equal(shown, MOSAIC[9:40, 16:57])


def test_a_crop_of_everything_is_none(write_dng: WriteDng) -> None:
    assert lwisp.read_raw(write_dng(MOSAIC, extra=crop_tags(0, 0, 80, 60))).crop is None


@pytest.mark.parametrize("tags", [crop_tags(70, 50, 41, 31), crop_tags(2**31, 0, 2**31, 60)])
def test_a_crop_that_reaches_out_of_the_picture_ends_with_it(tags: tuple[Any, ...], write_dng: WriteDng) -> None:
    raw = lwisp.read_raw(write_dng(MOSAIC, extra=tags))
    assert raw.crop == (50, 70, 10, 10) or (raw.crop is None and "outside" in raw.notes[0])


def test_libraws_crop_serves_where_a_file_is_no_dng() -> None:
    assert lwisp.read_raw(SAMPLE.parent / "CRW_0101.CRW").crop == (8, 20, 1704, 2272)


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_a_cropped_picture_is_that_part_of_the_whole_one(orientation: int, toy: Weights, write_dng: WriteDng) -> None:
    raw = lwisp.read_raw(write_dng(MOSAIC, orientation=orientation, extra=crop_tags(9, 5, 41, 31)))
    whole = Image.fromarray(np.rint(lwisp.develop(toy, raw, crop="none") * 255).astype(np.uint8))
    shown = np.rint(lwisp.develop(toy, raw) * 255)
    steps = {2: [0], 3: [3], 4: [1], 5: [5], 6: [4], 7: [6], 8: [2]}  # Pillow's names of what EXIF asks for
    as_stored = whole
    for step in steps.get(orientation, []):
        back = {2: 4, 4: 2}.get(step, step)
        as_stored = as_stored.transpose(Image.Transpose(back))
    cropped = as_stored.crop((9, 5, 50, 36))
    for step in steps.get(orientation, []):
        cropped = cropped.transpose(Image.Transpose(step))
    assert np.array_equal(shown, np.asarray(cropped))


def test_pixels_are_made_square_as_libraw_does(toy: Weights, write_dng: WriteDng) -> None:
    for across, down in ((1, 2), (2, 1)):
        path = write_dng(MOSAIC, orientation=6, extra=scale_tag(across, down))
        raw = lwisp.read_raw(path)
        assert raw.pixel_aspect == across / down
        with rawpy.imread(str(path)) as libraw:
            assert lwisp.develop(toy, raw).shape == libraw.postprocess().shape


def test_impossible_pixels_are_taken_as_square_and_told(write_dng: WriteDng) -> None:
    raw = lwisp.read_raw(write_dng(MOSAIC, extra=scale_tag(9, 1)))
    assert raw.pixel_aspect == 1
    assert any("9 times as wide as high" in note for note in raw.notes)


def test_an_unknown_crop_is_refused(toy: Weights, write_dng: WriteDng) -> None:
    with pytest.raises(lwisp.InputError, match="camera or none"):
        lwisp.develop(toy, lwisp.read_raw(write_dng(MOSAIC)), crop="all")  # type: ignore[arg-type]


def test_crop_and_pixels_go_from_raw_to_dng(tmp_path: Path, write_dng: WriteDng) -> None:
    raw = lwisp.read_raw(write_dng(MOSAIC, extra=(*crop_tags(9, 5, 41, 31), *scale_tag(1, 2))))
    write_dng_of(tmp_path / "again.dng", raw)
    again = lwisp.read_raw(tmp_path / "again.dng")
    assert (again.crop, again.pixel_aspect) == (raw.crop, raw.pixel_aspect) == ((5, 9, 31, 41), 0.5)
    assert np.array_equal(again.mosaic, raw.mosaic)
