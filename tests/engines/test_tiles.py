from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from lwisp.architecture import LWISPConfig
from lwisp.engines import tiles
from lwisp.engines.contract import Array
from lwisp.engines.eager_runner import EagerRunner
from lwisp.model import LWISP, _demosaicings
from tests.conftest import TOY

CELLS = LWISPConfig(width=4, cell=4, detail=8)
RNG = np.random.default_rng(0)


def network(config: LWISPConfig = TOY) -> LWISP:
    """Random, but so that what lies far away matters as it does in a trained one."""
    torch.manual_seed(0)
    net = LWISP(config).eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, a=0.2)
    if net.cells is not None:  # demosaicing stays, and nothing is mixed by logits so large that rounding is enlarged
        net.cells.bases.weight.data.copy_(_demosaicings())
        net.out.weight.data.mul_(0.03)
    return net


def whole_picture(network: LWISP, planes: Array) -> Array:
    """(H, W, 3), by the network's own pass."""
    with torch.inference_mode():
        picture: torch.Tensor = network(torch.from_numpy(planes))[0]
    return picture.permute(1, 2, 0).numpy()


def by_windows(network: LWISP, planes: Array, window: int, bf16: bool = False) -> NDArray[np.float32]:
    factor = network.config.cell // 2  # planes' pixels of one of the first stage
    scale = 2 * factor
    height, width = (side // factor for side in planes.shape[-2:])
    picture = np.full((scale * height, scale * width, 3), np.nan, np.float32)

    def read(rows: slice, columns: slice) -> Array:
        down, across = (slice(factor * place.start, factor * place.stop) for place in (rows, columns))
        return planes[:, :, down, across]

    def write(made: Array, total: Array, rows: tiles.Span, columns: tiles.Span) -> None:
        assert np.isclose(total, made.sum(dtype=np.float64), rtol=1e-2)  # which is of values that may exceed [0, 1]
        place = picture[scale * rows.first : scale * rows.last, scale * columns.first : scale * columns.last]
        assert np.isnan(place).all()  # nothing is written twice
        down, across = (
            slice(scale * (span.first - span.start), scale * (span.last - span.start)) for span in (rows, columns)
        )
        place[...] = made[down, across]

    with EagerRunner(network, "fp32", None).caller(0) as call:
        tiles.run_tiles(call, read, write, (height, width), window, bf16, "float32")
    return picture


@pytest.mark.parametrize("size", [(272, 352), (240, 512)])
@pytest.mark.parametrize("window", [80, 96, 144, 208, 1024])
def test_windows_give_what_the_whole_picture_gives(size: tuple[int, int], window: int) -> None:
    net, planes = network(), RNG.random((1, 4, *size), np.float32)
    whole, tiled = whole_picture(net, planes), by_windows(net, planes, window)
    assert float(whole.std()) > 0.01  # not a flat picture, in which all would agree
    assert float(np.abs(tiled - whole).max()) < 1e-5
    assert np.array_equal(tiled, by_windows(net, planes, window))


@pytest.mark.parametrize("window", [80, 96, 144, 1024])
def test_windows_of_cells_give_what_the_whole_picture_gives(window: int) -> None:
    net, planes = network(CELLS), RNG.random((1, 4, 480, 544), np.float32)
    whole, tiled = whole_picture(net, planes), by_windows(net, planes, window)
    assert float(whole.std()) > 0.01
    assert float(np.abs(tiled - whole).max()) < 5e-6


def test_what_is_kept_in_bf16_between_stages_is_rounded_little() -> None:
    net, planes = network(), RNG.random((1, 4, 240, 256), np.float32)
    difference = np.abs(by_windows(net, planes, 96, bf16=True) - whole_picture(net, planes))
    assert 1e-5 < float(difference.max()) < 0.02


@pytest.mark.parametrize("value", [0.0, -1.5, 1.00390625, -3.3e38, 1e-30])
def test_numbers_are_rounded_to_bf16_as_torch_does(value: float) -> None:
    values = np.float32(value) * np.linspace(0.9, 1, 50, dtype=np.float32)
    expected = torch.from_numpy(values).bfloat16().float().numpy()
    found = tiles._unpack(tiles._pack(values))
    assert np.allclose(found, expected, rtol=2**-7)  # what lies in the middle of two may go either way
    assert np.mean(found == expected) > 0.9


@pytest.mark.parametrize(
    "choice",
    [
        {"attention": "multiply"},
        {"attention": "centered"},
        {"core_input": "twice"},
        {"core_input": "decoder"},
        {"contrast": "gated"},
        {"padding": "zeros"},
        {"attention": "product"},
    ],
    ids=str,
)
def test_every_choice_of_the_network_can_be_tiled(choice: dict[str, str]) -> None:
    net, planes = network(replace(TOY, **choice)), RNG.random((1, 4, 240, 256), np.float32)  # type: ignore[arg-type]
    assert float(np.abs(by_windows(net, planes, 96) - whole_picture(net, planes)).max()) < 1e-5


@pytest.mark.parametrize("config", [TOY, CELLS], ids=["cells of 2", "cells of 4"])
def test_a_halo_less_would_be_seen(config: LWISPConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    net, planes = network(config), RNG.random((1, 4, 240 * config.cell // 2, 256 * config.cell // 2), np.float32)
    monkeypatch.setitem(tiles.HALOS, "high", 16)
    assert float(np.abs(by_windows(net, planes, 96) - whole_picture(net, planes)).max()) > 1e-5


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
