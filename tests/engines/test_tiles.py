from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from lwisp.architecture import LWISPConfig
from lwisp.engines import tiles
from lwisp.model import LWISP
from tests.conftest import TOY


def network(config: LWISPConfig = TOY) -> LWISP:
    """Random, but so that what lies far away matters as it does in a trained one."""
    torch.manual_seed(0)
    net = LWISP(config).eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, a=0.2)
    return net


def by_windows(network: LWISP, planes: torch.Tensor, window: int) -> torch.Tensor:
    modules = tiles.split(network, tiles.Tail(network))
    height, width = planes.shape[-2:]
    picture = torch.full((3, 2 * height, 2 * width), torch.nan)

    def write(output: torch.Tensor, top: int, left: int, rows: tiles.Span, columns: tiles.Span) -> None:
        place = picture[:, 2 * rows.first : 2 * rows.last, 2 * columns.first : 2 * columns.last]
        assert place.isnan().all()  # nothing is written twice
        down, right = (slice(2 * (span.first - span.start), 2 * (span.last - span.start)) for span in (rows, columns))
        place.copy_(output[0, :, down, right])

    with torch.inference_mode():
        tiles.run_tiles(
            network,
            lambda name, *inputs: modules[name](*inputs),
            lambda rows, columns: planes[:, :, rows, columns],
            write,
            (height, width),
            window,
            torch.float32,
        )
    return picture


@pytest.mark.parametrize("size", [(272, 352), (240, 512)])
@pytest.mark.parametrize("window", [80, 96, 144, 208, 1024])
def test_windows_give_what_the_whole_picture_gives(size: tuple[int, int], window: int) -> None:
    net, planes = network(), torch.rand(1, 4, *size)
    with torch.inference_mode():
        whole = net(planes)[0]
    tiled = by_windows(net, planes, window)
    assert float(whole.std()) > 0.01  # not a flat picture, in which all would agree
    assert float((tiled - whole).abs().max()) < 1e-5
    assert torch.equal(tiled, by_windows(net, planes, window))


@pytest.mark.parametrize(
    "choice",
    [
        {"attention": "multiply"},
        {"attention": "centered"},
        {"core_input": "twice"},
        {"core_input": "decoder"},
        {"contrast": "gated"},
        {"padding": "zeros"},
    ],
    ids=str,
)
def test_every_choice_of_the_network_can_be_tiled(choice: dict[str, str]) -> None:
    net, planes = network(replace(TOY, **choice)), torch.rand(1, 4, 240, 256)  # type: ignore[arg-type]
    with torch.inference_mode():
        assert float((by_windows(net, planes, 96) - net(planes)[0]).abs().max()) < 1e-5


def test_a_halo_less_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    net, planes = network(), torch.rand(1, 4, 240, 256)
    monkeypatch.setitem(tiles.HALOS, "high", 16)
    with torch.inference_mode():
        assert float((by_windows(net, planes, 96) - net(planes)[0]).abs().max()) > 1e-5


def test_the_packed_tail_gives_the_pixels_of_the_tail_in_cells() -> None:
    net, features = network(), torch.randn(1, 4, 16, 48)
    with torch.inference_mode():
        pixels = tiles.Tail(net)(features)[0]
        cells = tiles.PackedTail(net)(features)[0].view(16, 48, 2, 2, 3)
    assert float(pixels.std()) > 0.01
    assert float((cells.permute(4, 0, 2, 1, 3).reshape(3, 32, 96) - pixels).abs().max()) < 1e-5


def test_cores_cover_a_side_once() -> None:
    for side, window, halo in ((512, 160, 32), (512, 512, 64), (528, 512, 64), (4000, 144, 64), (32, 160, 48)):
        found = tiles.spans(side, window, halo)
        assert found[0].first == 0
        assert found[-1].last == side
        for before, after in pairwise(found):
            assert before.last == after.first
        for span in found:
            assert span.stop - span.start == found[0].stop - found[0].start <= min(window, side)
            assert span.start == 0 or span.first - span.start >= halo
            assert span.stop == side or span.stop - span.last >= halo
    assert [span.stop - span.start for span in tiles.spans(2000, 1024, 32)] == [720] * 3  # not 3 of 1024
    with pytest.raises(ValueError, match="longer than two halos"):
        tiles.spans(512, 64, 32)
