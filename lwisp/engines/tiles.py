"""LW-ISP in stages, so that tiles give exactly what the whole picture gives; and its tail at the planes' size.

The network averages over the frame in five places: the channel attention of its four FGAMs and the global vector. Each
stage ends before such an average; it is gathered over all tiles before the next stage begins. Inside a stage every
value depends on a neighborhood only, so a window with a halo gives the values of its core exactly: at a window's side
inside the picture the convolutions reflect what is not there, but no further than the halo, which is thrown away, and
at the picture's own border a window ends where the picture ends.
"""

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lwisp.model import FGAM, LWISP

Read = Callable[[slice, slice], Tensor]
"""Rows and columns of the frame, padded to multiples of 16 -> planes (1, C, rows, columns)."""
Write = Callable[[Tensor, int, int, "Span", "Span"], None]
"""(output of a window, its first row and column, its rows and its columns with their cores) -> nothing."""

INPUTS: dict[str, tuple[str, ...]] = {
    "p0": ("planes",),
    "p1": ("p0",),
    "p2": ("p1",),
    "p3": ("p2",),
    "bottom": ("p3",),
    "low": ("p1", "p2"),
    "high": ("planes", "p1", "low"),
}
"""Inputs of the stages, which stand in their order and are named for their outputs (p0 to p3: the four poolings)."""
SCALES = {"planes": 1, "p0": 2, "p1": 4, "p2": 8, "p3": 16, "bottom": 16, "low": 4, "high": 1}
"""Pixels of the planes along a side of one value."""
HALOS = {"p0": 16, "p1": 16, "p2": 16, "p3": 32, "bottom": 48, "low": 64, "high": 32}
"""Halo in planes' pixels: the reach of a stage around a value, rounded up to multiples of 16."""
STORED = 7
"""Values kept between stages at one time, per pixel of the planes, with the default width: p1, p2 and `low`."""


class Span(NamedTuple):
    """A window along one side of the frame, and its core: what it alone is responsible for."""

    start: int
    stop: int
    first: int
    last: int


def spans(side: int, window: int, halo: int) -> list[Span]:
    """Windows of one size whose cores cover a side without overlap; all in multiples of 16.

    As few windows as will do, and these no longer than they must be: what overlaps is computed twice.

    Args:
        side: Length of the side.
        window: Longest window allowed.
        halo: Values beside a core that a window computes, but that are not used.

    Returns:
        The windows, from first to last.

    Raises:
        ValueError: A window is not longer than its halos.
    """
    if window >= side:
        return [Span(0, side, 0, side)]
    if window <= 2 * halo:
        raise ValueError(f"expected windows longer than two halos of {halo}, got {window}")
    inner = side - 2 * halo
    count = -(-inner // (window - 2 * halo))
    window = -(-inner // (16 * count)) * 16 + 2 * halo
    found, done = [], 0
    while done < side:
        start = min(max(done - halo, 0), side - window)
        stop = start + window
        last = side if stop == side else stop - halo
        found.append(Span(start, stop, done, last))
        done = last
    return found


def can_tile(network: nn.Module) -> bool:
    """Whether a network can be run by the stages of `split`, tile by tile.

    Args:
        network: Any network.

    Returns:
        True for LW-ISP with both of its blocks, FGAM and CCB.
    """
    return isinstance(network, LWISP) and network.config.fgam and network.config.ccb


def split(network: LWISP, tail: nn.Module) -> dict[str, nn.Module]:
    """The stages of a network by name, and "whole", which is all of it; they share the network's modules.

    Args:
        network: LW-ISP with both of its blocks.
        tail: `Tail` or `PackedTail` of this network, the last part of "high" and "whole".
    """
    return {
        "whole": Whole(network, tail),
        **{f"p{level}": Descend(network, level) for level in range(4)},
        "bottom": Bottom(network),
        "low": Low(network),
        "high": High(network, tail),
    }


class Whole(nn.Module):
    """Planes (1, C, h, w), h and w multiples of 16 -> output of the tail."""

    def __init__(self, network: LWISP, tail: nn.Module) -> None:
        super().__init__()
        self.body, self.tail = copy.copy(network), tail
        self.body._modules = {**network._modules, "last_up": nn.Identity()}  # the network itself keeps its own

    def forward(self, planes: Tensor) -> Tensor:
        return self.tail(self.body.blocks(planes, ("up4",))["up4"])  # type: ignore[no-any-return]


class Tail(nn.Module):
    """The features that the last up block begins with (1, 16, h, w) -> RGB (1, 3, 2h, 2w), as the network does it.

    Without upsampling (1, C, h, w); with a residual what is to be added to the planes, which then need not be rounded.
    """

    packed = False

    def __init__(self, network: LWISP) -> None:
        super().__init__()
        self.last_up, self.out, self.look = network.last_up, network.out, network.look
        self.residual = network.config.residual

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.last_up(x).to(self.out.weight.dtype))
        return out if self.residual else self.look(torch.sigmoid(out))

    def extra_repr(self) -> str:
        return f"residual={self.residual}"


class PackedTail(nn.Module):
    """Output of `Tail` as cells (1, h, w, 12) of 2x2 pixels of RGB, its convolutions done at the planes' size.

    A 3x3 convolution of 16 channels at 2h x 2w is one of 64 channels at h x w with three weights in four zero. That is
    four times the operations, but the matrix units like its width, and the shuffle of 16 channels falls away.
    Reflecting by one pixel at 2h x 2w is repeating the border at h x w, where the zeros hide what is wrong with it.
    """

    packed = True

    def __init__(self, network: LWISP) -> None:
        super().__init__()
        assert isinstance(network.last_up, nn.Sequential)
        self.first = network.last_up[0]
        self.activation = network.last_up[1]
        second = network.last_up[3]
        assert isinstance(second, nn.Conv2d)
        self.second = _packed(second)
        self.out = _packed(network.out)
        order = torch.arange(12).view(3, 4).T.reshape(-1)  # RGB of one pixel side by side
        self.out.weight.data, bias = self.out.weight.data[order], self.out.bias
        assert bias is not None
        bias.data = bias.data[order]

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.second(_repeat_border(self.activation(self.first(x)))))
        return torch.sigmoid(self.out(_repeat_border(x))).permute(0, 2, 3, 1)


def can_pack_tail(network: LWISP) -> bool:
    """Whether `PackedTail` computes the end of a network.

    Args:
        network: LW-ISP.

    Returns:
        True with CCB, an output of twice the size, reflected borders and no look.
    """
    config = network.config
    return config.ccb and config.upsample and config.padding == "reflect" and not config.look


def _packed(convolution: nn.Conv2d) -> nn.Conv2d:
    """A 3x3 convolution at twice the size as one without padding on the channels that a PixelShuffle would spread."""
    weight, bias = convolution.weight.data, convolution.bias
    assert bias is not None
    out, channels = weight.shape[:2]
    spread = weight.new_zeros(out, 2, 2, channels, 2, 2, 3, 3)
    for row, column, top, left in itertools.product((0, 1), (0, 1), range(3), range(3)):
        (down, phase_row), (right, phase_column) = divmod(row + top - 1, 2), divmod(column + left - 1, 2)
        spread[:, row, column, :, phase_row, phase_column, down + 1, right + 1] = weight[:, :, top, left]
    packed = nn.Conv2d(4 * channels, 4 * out, 3)
    packed.weight.data = spread.reshape(4 * out, 4 * channels, 3, 3)
    packed.bias.data = bias.data.repeat_interleave(4)  # type: ignore[union-attr]
    return packed


def _repeat_border(x: Tensor) -> Tensor:
    return functional.pad(x, (1, 1, 1, 1), mode="replicate")


class Descend(nn.Module):
    """(1, C, h, w) planes, or a pooling's output with its FGAM's channel map -> output of the next pooling."""

    def __init__(self, network: LWISP, level: int) -> None:
        super().__init__()
        self.network, self.level = network, level

    def forward(self, x: Tensor, channel_map: Tensor | None = None) -> Tensor:
        network, level = self.network, self.level
        x = network.head(x) if level == 0 else network.attend(level - 1, x, channel_map)
        return network.pool(level, network.encode(level, x))

    def extra_repr(self) -> str:
        return f"level={self.level}"


class Bottom(nn.Module):
    """Output of the last pooling -> (1, 256, h/16, w/16), whose means become the global vector."""

    def __init__(self, network: LWISP) -> None:
        super().__init__()
        self.network = network

    def forward(self, p3: Tensor, map3: Tensor) -> Tensor:
        return self.network.bottom(self.network.attend(3, p3, map3))  # type: ignore[no-any-return]


class Low(nn.Module):
    """Outputs of the second and third pooling, their channel maps, the global vector -> decoder (1, 64, h/4, w/4)."""

    def __init__(self, network: LWISP) -> None:
        super().__init__()
        self.network = network

    def forward(self, p1: Tensor, p2: Tensor, map1: Tensor, map2: Tensor, vector: Tensor) -> Tensor:
        network = self.network
        skip2 = network.encode(2, network.attend(1, p1, map1))
        skip3 = network.encode(3, network.attend(2, p2, map2))
        return network.climb(0, network.decode(skip3, vector), skip3, skip2)


class High(nn.Module):
    """Planes, output of the second pooling, decoder at h/4, channel maps -> output of the tail."""

    def __init__(self, network: LWISP, tail: nn.Module) -> None:
        super().__init__()
        self.network, self.tail = network, tail

    def forward(self, planes: Tensor, p1: Tensor, low: Tensor, map0: Tensor, map1: Tensor) -> Tensor:
        network = self.network
        first = network.head(planes)
        skip0 = network.encode(0, first)
        skip1 = network.encode(1, network.attend(0, network.pool(0, skip0), map0))
        skip2 = network.encode(2, network.attend(1, p1, map1))
        decoder = network.climb(1, low, skip2, skip1)
        decoder = network.climb(2, decoder, skip1, skip0)
        return self.tail(first * decoder)  # type: ignore[no-any-return]


def run_tiles(
    network: LWISP,
    call: Callable[..., Tensor],
    read: Read,
    write: Write,
    size: tuple[int, int],
    window: int,
    dtype: torch.dtype,
) -> None:
    """Run the whole network by windows of the frame. Averages are sums in float64, always in the same order.

    Args:
        network: LW-ISP in float32, which computes the channel maps and the global vector.
        call: (name of a stage, inputs) -> its output.
        read: (rows, columns) of the frame -> planes (1, C, rows, columns).
        write: Takes the output of each window; see `Write`.
        size: (h, w) of the planes, multiples of 16.
        window: Longest side of a window in planes' pixels; deeper stages take twice that.
        dtype: Of what is kept between stages.
    """
    height, width = size
    kept: dict[str, Tensor] = {}

    def outputs(name: str, *vectors: Tensor) -> Iterator[tuple[Span, Span, Tensor]]:
        side = window if "planes" in INPUTS[name] else 2 * window  # deeper stages take less memory
        rows_of, columns_of = spans(height, side, HALOS[name]), spans(width, side, HALOS[name])
        for rows, columns in itertools.product(rows_of, columns_of):
            inputs = [
                read(slice(rows.start, rows.stop), slice(columns.start, columns.stop))
                if source == "planes"
                else _at(kept[source], SCALES[source], rows.start, rows.stop, columns.start, columns.stop)
                for source in INPUTS[name]
            ]
            yield rows, columns, call(name, *inputs, *vectors)

    def gather(name: str, *vectors: Tensor) -> Tensor:
        """Run a stage over the frame and keep its output; the output's means over the frame (1, C)."""
        scale = SCALES[name]
        total = torch.zeros(())
        for rows, columns, output in outputs(name, *vectors):
            if name not in kept:
                kept[name] = torch.empty((1, output.shape[1], height // scale, width // scale), dtype=dtype)
            top, left = rows.start, columns.start
            core = _at(output, scale, rows.first - top, rows.last - top, columns.first - left, columns.last - left)
            _at(kept[name], scale, rows.first, rows.last, columns.first, columns.last).copy_(core)
            total = total + core.sum((-2, -1), dtype=torch.float64)
        return (total * (scale * scale / (height * width))).float()

    def channel_map(level: int, means: Tensor) -> Tensor:
        attention = network.down[level].get_submodule("1")
        assert isinstance(attention, FGAM)
        return attention.channel[1:](means[..., None, None])  # type: ignore[no-any-return]

    map0 = channel_map(0, gather("p0"))
    map1 = channel_map(1, gather("p1", map0))
    del kept["p0"]
    map2 = channel_map(2, gather("p2", map1))
    map3 = channel_map(3, gather("p3", map2))
    vector = network.world(gather("bottom", map3))
    del kept["p3"], kept["bottom"]
    gather("low", map1, map2, vector)
    del kept["p2"]
    for rows, columns, output in outputs("high", map0, map1):
        write(output, rows.start, columns.start, rows, columns)


def _at(values: Tensor, scale: int, top: int, bottom: int, left: int, right: int) -> Tensor:
    return values[..., top // scale : bottom // scale, left // scale : right // scale]
