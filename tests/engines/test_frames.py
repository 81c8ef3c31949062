import pytest
import torch

from lwisp.engines.frames import FlippedFrame, WholeFrame, read_reflected
from lwisp.model import pad_to_multiple


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (20, 31), (48, 64)])
def test_a_window_is_read_as_the_network_pads(size: tuple[int, int]) -> None:
    planes = torch.rand(4, *size)
    padded = pad_to_multiple(planes)
    height, width = padded.shape[-2:]
    for rows, columns in ((slice(0, height), slice(0, width)), (slice(height - 16, height), slice(5, 21))):
        assert torch.equal(read_reflected(WholeFrame(planes), rows, columns), padded[:, rows, columns])


@pytest.mark.parametrize("axes", [(), (0,), (1,), (0, 1)])
def test_a_flipped_frame_is_the_mirror_image(axes: tuple[int, ...]) -> None:
    planes = torch.rand(3, 20, 30)
    mirrored = planes.flip([axis + 1 for axis in axes])
    frame = FlippedFrame(WholeFrame(planes), axes)
    assert torch.equal(frame.read(slice(2, 9), slice(4, 30)), mirrored[:, 2:9, 4:30])
