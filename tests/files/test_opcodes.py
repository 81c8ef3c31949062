"""Opcode lists and black levels of DNGs, from the file to the mosaic and on to the next file."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from lwisp.files.dng import write_dng as write_dng_of
from lwisp.files.opcodes import read_lists
from lwisp.files.raw import read_raw
from lwisp.imaging.shading_maps import Frame, GainMap, RadialGain
from lwisp.pipeline import without_shading
from tests.conftest import WriteDng

RNG = np.random.default_rng(0)
MOSAIC = RNG.integers(500, 3000, (48, 64), dtype=np.uint16)
WARP = (1, bytes(100))


def a_list(*operations: tuple[int, bytes]) -> bytes:
    parts = [struct.pack(">4L", number, 0x01030000, 1, len(data)) + data for number, data in operations]
    return struct.pack(">L", len(parts)) + b"".join(parts)


def gain_map(
    gains: Any, area: Any = (0, 0, 48, 64), plane: int = 0, planes: int = 1, pitch: int = 1
) -> tuple[int, bytes]:
    values = np.asarray(gains, ">f4")
    down, across, count = values.shape
    steps = 1 / max(down - 1, 1), 1 / max(across - 1, 1)
    head = struct.pack(">10L4dL", *area, plane, planes, pitch, pitch, down, across, *steps, 0, 0, count)
    return 9, head + values.tobytes()


def vignette(*terms: float) -> tuple[int, bytes]:
    return 3, struct.pack(">7d", *terms, 0.5, 0.5)


def opcodes(tag: int, content: bytes) -> tuple[Any, ...]:
    return ((tag, 7, len(content), content, True),)


def test_gain_maps_of_each_phase_undo_the_shading(write_dng: WriteDng) -> None:
    phases = [
        gain_map([[[gain]]], (row, column, 48, 64), pitch=2)
        for gain, row, column in ((1.0, 0, 0), (1.25, 0, 1), (1.5, 1, 0), (2.0, 1, 1))
    ]
    raw = read_raw(write_dng(MOSAIC // 2, white=4095, extra=opcodes(51009, a_list(*phases))))
    assert raw.notes == ()
    even = without_shading(raw)
    gains = np.tile([[1, 1.25], [1.5, 2]], (24, 32))
    assert np.abs(even.mosaic / 65535 - raw.mosaic * gains / 4095).max() < 1e-5
    assert even.black_level == (0,) * 4
    assert without_shading(even) is even


def test_a_map_of_three_planes_is_for_the_demosaiced_colors(write_dng: WriteDng) -> None:
    three = gain_map([[[1.0, 1.5, 2.0]]], planes=3)
    raw = read_raw(write_dng(MOSAIC // 2, "GRBG", extra=opcodes(51022, a_list(three, vignette(0.1, 0, 0, 0, 0)))))
    assert [type(one) for one in raw.shading] == [GainMap, RadialGain]
    assert isinstance(raw.shading[0], GainMap)
    gains = np.tile([[1.5, 1.0], [2.0, 1.5]], (24, 32))
    assert raw.shading[0].colors == (0, 1, 2)
    middle = np.s_[22:26, 30:34]
    found = without_shading(raw).mosaic[middle] / 65535
    assert found == pytest.approx((raw.mosaic * gains)[middle] / 4095, rel=2e-3)


def test_what_is_not_applied_is_named(write_dng: WriteDng) -> None:
    content = a_list(WARP, (5, bytes(8)), WARP, (77, b""), gain_map([[[1.0]]]))
    raw = read_raw(write_dng(MOSAIC, extra=opcodes(51022, content)))
    expected = "the file asks for WarpRectilinear (lens distortion), FixBadPixelsList, operation 77: not applied"
    assert raw.notes == (expected,)
    assert len(raw.shading) == 1


def test_lists_are_handed_on_byte_for_byte(write_dng: WriteDng, tmp_path: Path) -> None:
    lists = [a_list((4, bytes(8))), a_list(gain_map([[[1.5]]])), a_list(WARP, vignette(0.2, 0, 0, 0, 0))]
    extra = tuple(
        tag for code, content in zip((51008, 51009, 51022), lists, strict=True) for tag in opcodes(code, content)
    )
    raw = read_raw(write_dng(MOSAIC, extra=extra))
    write_dng_of(tmp_path / "again.dng", raw)
    with tifffile.TiffFile(tmp_path / "again.dng") as tiff:
        tags = tiff.pages.first.tags
        assert [tags[code].value for code in (51008, 51009, 51022)] == lists
        assert tags[50707].value == bytes([1, 3, 0, 0])
    again = read_raw(tmp_path / "again.dng")
    assert again.opcode_lists == raw.opcode_lists
    assert np.array_equal(without_shading(again).mosaic, without_shading(raw).mosaic)


def test_a_list_that_counts_from_outside_the_picture_is_applied_but_not_handed_on(write_dng: WriteDng) -> None:
    area = ((50829, "I", 4, (4, 6, 44, 60), True),)
    ramp = gain_map([[[1], [3]], [[1], [3]]], (0, 0, 40, 54))
    raw = read_raw(
        write_dng(MOSAIC // 4, extra=(*opcodes(51008, a_list((5, bytes(8)))), *opcodes(51009, a_list(ramp)), *area))
    )
    assert raw.mosaic.shape == (40, 54)
    assert any("count from outside" in note for note in raw.notes)
    assert raw.opcode_lists == (b"", a_list(ramp), b"")
    gains = 1 + 2 * (np.arange(54) + 0.5) / 54
    assert np.abs(without_shading(raw).mosaic / 65535 - np.minimum(raw.mosaic * gains / 4095, 1)).max() < 1e-5


def test_damaged_lists_are_said_and_do_no_harm(write_dng: WriteDng) -> None:
    sound = a_list(gain_map(np.full((3, 3, 1), 1.5)), vignette(0.1, 0, 0, 0, 0))
    cut = read_raw(write_dng(MOSAIC, extra=opcodes(51009, sound[:-20]))).notes
    assert cut == ("the file's list of lens corrections is damaged: not applied from there on",)
    frame = Frame(0, 0, 48, 64)
    for _ in range(2000):
        damaged = bytearray(sound)
        for place in RNG.integers(0, len(damaged), 4):
            damaged[place] = (0, 1, 127, 128, 255)[RNG.integers(5)]
        asked = read_lists((b"", bytes(damaged), bytes(damaged)), frame)
        for one in asked.shading:
            gain = one.gain(np.arange(48), np.arange(64), 0)
            assert gain is None or np.isfinite(gain).all()
    huge = a_list((9, struct.pack(">10L4dL", 0, 0, 48, 64, 0, 1, 1, 1, 2**31, 2**31, 1, 1, 0, 0, 1)))
    for wrong in (
        huge,
        struct.pack(">L", 2**32 - 1),
        b"\0",
        a_list(gain_map([[[float("nan")]]])),
        a_list(gain_map([[[-1.0]]])),
        a_list(vignette(float("inf"), 0, 0, 0, 0)),
    ):
        assert read_lists((b"", wrong, b""), frame).is_damaged


def test_fractions_of_the_black_level_count(write_dng: WriteDng) -> None:
    content = write_dng(MOSAIC, black=0)
    with tifffile.TiffFile(content, mode="r+") as tiff:
        value = tiff.pages.first.tags[50714]
        value.overwrite((129, 2), dtype="2I")
    assert read_raw(content).black_level == (64.5,) * 4


def test_rows_and_columns_with_a_black_of_their_own_are_leveled(write_dng: WriteDng) -> None:
    rows, columns = RNG.integers(-8, 9, 48), RNG.integers(-8, 9, 64)
    banded = (MOSAIC + rows[:, None] + columns).astype(np.uint16)
    deltas = tuple(
        (code, "2i", len(values), tuple(int(part) for value in values for part in (value, 1)), True)
        for code, values in ((50716, rows), (50715, columns))
    )
    raw = read_raw(write_dng(banded, black=64, white=4000, extra=deltas))
    assert raw.white_level == (64000,) * 4
    place = {(0, 0): 0, (0, 1): 1, (1, 0): 2, (1, 1): 3}
    for (row, column), plane in place.items():
        found = (raw.mosaic[row::2, column::2] - raw.black_level[plane]) / 16
        assert np.abs(found - (MOSAIC[row::2, column::2] - 64.0)).max() < 0.1
