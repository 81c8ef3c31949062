import numpy as np
import pytest
import torch

from lwisp.engines.frames import FlippedFrame, WholeFrame, read_reflected
from lwisp.model import pad_to_multiple


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (20, 31), (48, 64)])
def test_a_window_is_read_as_the_network_pads(size: tuple[int, int]) -> None:
    planes = torch.rand(4, *size)
    padded = pad_to_multiple(planes).numpy()
    height, width = padded.shape[-2:]
    for rows, columns in (
        (slice(0, height), slice(0, width)),
        (slice(height - 16, height), slice(5, 21)),
        (slice(0, 16), slice(width - 16, width)),
    ):
        window = read_reflected(WholeFrame(planes.numpy()), rows, columns)
        assert np.array_equal(window, padded[None, :, rows, columns])
        assert window.dtype == np.float32
        assert window.flags.c_contiguous


@pytest.mark.parametrize("axes", [(), (0,), (1,), (0, 1)])
def test_a_flipped_frame_is_the_mirror_image(axes: tuple[int, ...]) -> None:
    planes = np.random.default_rng(0).random((3, 20, 30), np.float32)
    mirrored = np.flip(planes, tuple(axis + 1 for axis in axes))
    frame = FlippedFrame(WholeFrame(planes), axes)
    assert frame.shape == (3, 20, 30)
    window = np.full((3, 7, 26), np.nan, np.float32)
    frame.read(slice(2, 9), slice(4, 30), window)
    assert np.array_equal(window, mirrored[:, 2:9, 4:30])
