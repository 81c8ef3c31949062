import numpy as np
import pytest

from lwisp.imaging.packing import PACKINGS, Packing, row_bytes, unpack_bits


def rows(*content: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.array([content], np.uint8)


def test_raw10_has_the_low_bits_of_four_photosites_in_the_fifth_byte() -> None:
    # 0x3FF, 0x000, 0x201, 0x156: high bytes FF 00 80 55, low bits 3, 0, 1, 2 from the lowest on: 10 01 00 11
    assert unpack_bits(rows(0xFF, 0x00, 0x80, 0x55, 0b10_01_00_11), "raw10", 4).tolist() == [[0x3FF, 0, 0x201, 0x156]]


def test_raw12_has_the_low_bits_of_two_photosites_in_the_third_byte() -> None:
    assert unpack_bits(rows(0xAB, 0x12, 0x3C), "raw12", 2).tolist() == [[0xABC, 0x123]]


def test_raw16_comes_in_both_orders() -> None:
    assert unpack_bits(rows(0x34, 0x12, 0xFF, 0x00), "raw16le", 2).tolist() == [[0x1234, 0x00FF]]
    assert unpack_bits(rows(0x34, 0x12, 0xFF, 0x00), "raw16be", 2).tolist() == [[0x3412, 0xFF00]]


def test_what_fills_the_last_group_is_dropped() -> None:
    assert unpack_bits(rows(1, 2, 3, 4, 0, 5, 6, 99, 99, 0), "raw10", 6).tolist() == [[4, 8, 12, 16, 20, 24]]
    assert row_bytes("raw10", 6) == 10
    assert row_bytes("raw12", 3) == 6
    assert row_bytes("raw16le", 3) == 6


@pytest.mark.parametrize("packing", PACKINGS)
def test_rows_stay_rows(packing: Packing) -> None:
    data = np.random.default_rng(0).integers(0, 256, (5, row_bytes(packing, 12)), dtype=np.uint8)
    whole = unpack_bits(data, packing, 12)
    assert (whole.dtype, whole.shape) == (np.dtype(np.uint16), (5, 12))
    assert np.array_equal(whole[3:4], unpack_bits(data[3:4], packing, 12))


def test_rows_that_lie_apart_in_memory_are_read() -> None:
    data = np.random.default_rng(0).integers(0, 256, (5, 24), dtype=np.uint8)
    for packing, length in (("raw10", 10), ("raw12", 12), ("raw16le", 16), ("raw16be", 16)):
        width = 8
        apart = unpack_bits(data[::2, :length], packing, width)  # type: ignore[arg-type]
        assert np.array_equal(apart, unpack_bits(data[::2, :length].copy(), packing, width))  # type: ignore[arg-type]
