import numpy as np
import pytest

from lwisp.imaging.framing import frame_picture, square_size
from lwisp.imaging.pixels import convert

RAMP = np.linspace(0.2, 0.8, 40, dtype=np.float32)[:, None, None] * np.ones((1, 30, 3), np.float32)


def test_square_pixels_and_no_crop_leave_the_picture_itself() -> None:
    assert frame_picture(RAMP, None) is RAMP


def test_the_side_that_is_too_short_grows() -> None:
    assert square_size(120, 320, 0.5) == (240, 320)
    assert square_size(976, 848, 1.5346) == (976, 1301)


def test_a_crop_at_odd_places_is_that_part() -> None:
    assert np.array_equal(frame_picture(RAMP, (3, 5, 21, 7)), RAMP[3:24, 5:12])


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.uint8])
def test_a_ramp_stays_a_ramp_in_every_type(dtype: type) -> None:
    found = frame_picture(convert(RAMP, np.dtype(dtype)), (0, 0, 40, 20), 0.5)
    assert found.dtype == np.dtype(dtype)
    assert found.shape == (80, 20, 3)
    values = convert(found, np.dtype(np.float32))[4:-4, 10, 1]
    expected = np.interp((np.arange(80) + 0.5) / 2 - 0.5, np.arange(40), RAMP[:, 0, 0])[4:-4]  # centers of pixels
    assert np.abs(values - expected).max() < (0.003 if dtype == np.uint8 else 0.001)


def test_values_stay_within_their_range_at_hard_edges() -> None:
    edge = np.zeros((20, 20, 3), np.float32)
    edge[10:] = 1
    found = frame_picture(edge, None, 0.5)
    assert found.min() == 0
    assert found.max() == 1
