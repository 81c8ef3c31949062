"""What engines run, as torch modules: the steps before the network, the network whole and in stages, its pixels.

They are the one source. torch runs them as they are; `tracing` makes ONNX of them, which the other engines run and
which works without torch.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from lwisp.engines.developed import SAMPLES, Preparation
from lwisp.engines.names import PIXELS, Pixels
from lwisp.imaging import color, highlights
from lwisp.imaging.shading import shading_gain
from lwisp.model import FGAM, LWISP, reflected_indices

Balance = Literal["none", "neutral", "unclipped", "rebuilt"]
"""What becomes of a clipped cell that is balanced: neutral, rebuilt, or there is none."""
BALANCES: dict[str, Balance] = {"": "none", "b": "neutral", "g": "unclipped", "h": "rebuilt"}
LIMITS = {"uint8": 255, "uint16": 65535}
"""White in the integers of a picture."""


class Light(nn.Module):
    """Photosites -> planes in linear light, not yet exposed: levels, balance, canonical color.

    Input: photosites (2h + 4, 2w + 4) in DN, RGGB, two more than the planes on each side; black and white level (4,) in
    DN in the order R, Gr, Gb, B; to balance, white-balance gains (3,); to rebuild highlights, the colors of bright
    light (3, h + 2, w + 2) at the cells, one more on each side; to mix, the matrix (3, 3) from balanced camera RGB to
    canonical RGB. Output (1, 4, h, w).
    """

    def __init__(self, balance: Balance, mixes: bool) -> None:
        super().__init__()
        self.balance, self.mixes = balance, mixes
        kernels = functional.pixel_unshuffle(color.MALVAR.reshape(12, 1, 6, 6), 2)  # on planes, as a 3x3 convolution
        self.kernels = kernels.reshape(4, 3, 4, 3, 3)  # R, G and B at each of the four sites

    def forward(self, photosites: Tensor, black: Tensor, white: Tensor, *colors: Tensor) -> Tensor:
        planes = _packed(photosites, black, white)
        if self.balance == "rebuilt":
            planes = highlights.rebuild(planes, colors[0], colors[1])
        elif self.balance == "neutral":
            planes = color.balance(planes, colors[0])
        elif self.balance == "unclipped":
            planes = planes * highlights.balance_gains(colors[0])
        if not self.mixes:
            return planes[..., 1:-1, 1:-1]
        rows = colors[-1][[0, 1, 1, 2]]  # the row for each photosite's own color
        return functional.conv2d(planes, (rows[..., None, None, None] * self.kernels).sum(1))

    def extra_repr(self) -> str:
        return f"balance={self.balance}, mixes={self.mixes}"


class Colors(nn.Module):
    """Photosites of cells out of a frame -> the colors of bright light in its 64x64 parts (3, 64, 64).

    Input: photosites (2h, 2w) in DN, RGGB, h and w from 1 up; levels (4,) and white-balance gains (3,), as for `Light`.
    """

    def forward(self, photosites: Tensor, black: Tensor, white: Tensor, gains: Tensor) -> Tensor:
        evidence = highlights.bright_colors(_packed(photosites, black, white), gains)
        height, width = torch._shape_as_tensor(evidence)[2:].unbind()
        return highlights.spread_colors(_part_means(evidence, height, width))[0]


class Linear(nn.Module):
    """`Light` of pixels that are demosaiced: levels, balance, canonical color, pixel by pixel.

    Input: pixels (h, w, 3) in DN; black and white level (3,) in DN; white-balance gains (3,); to rebuild highlights,
    the colors of bright light (3, h, w) at the pixels; the matrix (3, 3) from balanced camera RGB to canonical RGB.
    Output (1, 3, h, w).
    """

    def __init__(self, rebuilds: bool) -> None:
        super().__init__()
        self.rebuilds = rebuilds

    def forward(self, pixels: Tensor, black: Tensor, white: Tensor, gains: Tensor, *colors: Tensor) -> Tensor:
        rgb = _signal(pixels, black, white)
        rgb = highlights.rebuild(rgb, gains, colors[0]) if self.rebuilds else rgb * highlights.balance_gains(gains, 3)
        return color.apply_matrix(colors[-1], rgb)

    def extra_repr(self) -> str:
        return f"rebuilds={self.rebuilds}"


class LinearColors(nn.Module):
    """`Colors` of pixels (h, w, 3) in DN that are demosaiced; levels and gains (3,) as for `Linear`."""

    def forward(self, pixels: Tensor, black: Tensor, white: Tensor, gains: Tensor) -> Tensor:
        evidence = highlights.bright_colors(_signal(pixels, black, white), gains)
        height, width = torch._shape_as_tensor(evidence)[2:].unbind()
        return highlights.spread_colors(_part_means(evidence, height, width))[0]


class Gain(nn.Module):
    """Means over 64x64 parts of the planes (1, 4, 64, 64) -> gain of the exposure rule, brightest light (2,)."""

    def forward(self, grid: Tensor) -> Tensor:
        gain = color.grid_gain(grid)
        return torch.cat([gain, gain * color.brightest_part(grid)])


class Expose(nn.Module):
    """Planes in linear light -> what a network with headroom takes: exposed, with a shoulder, and told the noise.

    Input: planes (1, 4, h, w); the gain () and the light that becomes white (), 1 being that of the middle tones; to
    tell the noise, shot and read noise (2,) of the exposed planes. Output (1, 4, h, w), or (1, 5, h, w).
    """

    def __init__(self, tells: bool) -> None:
        super().__init__()
        self.tells = tells

    def forward(self, planes: Tensor, gain: Tensor, white: Tensor, *noise: Tensor) -> Tensor:
        exposed = planes * gain
        shown = highlights.shoulder(exposed, white)
        return torch.cat([shown, color.noise_plane(exposed, noise[0])], 1) if self.tells else shown

    def extra_repr(self) -> str:
        return f"tells={self.tells}"


class Encode(Expose):
    """`Expose` of demosaiced light (1, 3, h, w), which is then encoded as it is seen; below black it stays negative."""

    def forward(self, planes: Tensor, gain: Tensor, white: Tensor, *noise: Tensor) -> Tensor:
        exposed = planes * gain
        shown = color.encode(highlights.shoulder(exposed, white))
        return torch.cat([shown, color.noise_plane(exposed, noise[0])], 1) if self.tells else shown


def _signal(pixels: Tensor, black: Tensor, white: Tensor) -> Tensor:
    """Pixels (h, w, 3) in DN as RGB (1, 3, h, w), black at 0 and white at 1."""
    rgb = pixels.permute(2, 0, 1)[None].float()
    return (rgb - black[:, None, None]) * (1 / (white - black))[:, None, None]


def _packed(photosites: Tensor, black: Tensor, white: Tensor) -> Tensor:
    """Photosites (2h, 2w) in DN as planes (1, 4, h, w), black at 0 and white at 1."""
    planes = functional.pixel_unshuffle(photosites[None, None].float(), 2)
    return (planes - black[:, None, None]) * (1 / (white - black))[:, None, None]


class Whole(nn.Module):
    """Planes (1, C, h, w), of a size that the network takes -> the picture (H, W, out_channels), and its sum.

    The sum is finite exactly where all values are.
    """

    def __init__(self, network: nn.Module, pixels: Pixels) -> None:
        super().__init__()
        self.network, self.pixels = network, pixels

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        if not isinstance(self.network, LWISP):
            picture = self.network(planes).contiguous(memory_format=torch.channels_last)  # as pictures lie
            return to_pixels(picture, 1, self.pixels), picture.sum()
        seen = self.network.see(planes)
        values, scale = self.network.values(self.network.blocks_of(seen, ("up4",)), seen)
        return to_pixels(values, scale, self.pixels), values.sum()

    def extra_repr(self) -> str:
        return self.pixels


class Developed(nn.Module):
    """Mosaic -> picture: the steps before the network, the network, and the picture's pixels in one graph.

    Input: mosaic (H, W) in DN, H and W from 2 up, then those of `developed.INPUTS` that the preparation needs. Output:
    the picture (H, W, 3), and the sum of the network's values, which is finite exactly where all of them are. Sizes are
    tensors, so that a traced graph computes all that follows from them. The network may be float16; all before it and
    behind it is float32.
    """

    def __init__(self, network: LWISP, preparation: Preparation, pixels: Pixels) -> None:
        super().__init__()
        self.network, self.preparation, self.pixels = network, preparation, pixels
        self.light = _make_light(preparation.light.removeprefix("light-"))
        self.colors, self.gain = Colors(), Gain()
        self.expose = Expose(preparation.tells)

    def forward(self, mosaic: Tensor, *facts: Tensor) -> tuple[Tensor, Tensor]:
        given = dict(zip(self.preparation.inputs[1:], facts, strict=True))
        height, width = torch._shape_as_tensor(mosaic).unbind()
        top, left = given["offset"].unbind()
        rows, columns = (height + top + 1) // 2, (width + left + 1) // 2  # of the planes
        photosites = mosaic.index_select(0, reflected_indices(-top - 2, 2 * rows - top + 2, height))
        photosites = photosites.index_select(1, reflected_indices(-left - 2, 2 * columns - left + 2, width))
        white = given["white_level"]
        levels = (given.get("black_level", torch.zeros_like(white)), white)
        colors = [given[name] for name in ("white_balance", "matrix") if name in given]
        if self.preparation.headroom:
            colors.insert(1, self._bright_colors(photosites, rows, columns, *levels, colors[0]))
        planes = self.light(photosites, *levels, *colors)
        means = _part_means(planes, rows, columns)
        if any(self.preparation.shading):
            distance = _squared_distance(rows, top, height)[:, None] + _squared_distance(columns, left, width)
            corner = (height.float() ** 2 + width.float() ** 2) / 4
            planes = planes * shading_gain(self.preparation.shading, distance / corner)
        planes = self._expose(planes, means, given)
        values, scale = self._run(self._pad(self._pad(planes, 2, rows), 3, columns))
        picture = to_pixels(values, scale, self.pixels)
        return picture[top : top + height, left : left + width], values.sum()

    def _bright_colors(
        self, photosites: Tensor, rows: Tensor, columns: Tensor, black: Tensor, white: Tensor, gains: Tensor
    ) -> Tensor:
        """Colors of bright light (3, h + 2, w + 2) at the cells and one more on each side."""
        step = (torch.minimum(rows, columns) // SAMPLES).clamp(min=1)
        sampled = photosites
        for dim, count in enumerate((rows, columns)):
            first = 2 * step * torch.arange((count + step - 1) // step) + 2  # type: ignore[call-overload]
            sampled = sampled.index_select(dim, torch.stack([first, first + 1], 1).flatten())
        colors: Tensor = self.colors(sampled, black, white, gains)
        for dim, count in enumerate((rows, columns)):
            first, share = highlights.between_parts(torch.arange(count + 2) - 1, count)  # type: ignore[call-overload]
            share = share[:, None] if dim == 0 else share
            before, after = (colors.index_select(1 + dim, index) for index in (first, first + 1))
            colors = before + share * (after - before)
        return colors

    def _expose(self, planes: Tensor, means: Tensor, given: dict[str, Tensor]) -> Tensor:
        """The network's input, from linear light and its means (1, 4, 64, 64) over parts of the frame."""
        gain = torch.pow(2.0, given["exposure"])
        white = torch.ones_like(gain)
        if self.preparation.headroom:
            found = self.gain(means)
            if not self.preparation.exposes:
                found = torch.stack([torch.ones_like(found[0]), found[1] / found[0]])
            gain, brightest = (gain * torch.where(given["frame"] > 0, given["frame"], found)).unbind()
            white = brightest.clamp(1, 2**self.preparation.headroom) ** given["highlights"]
        elif self.preparation.exposes:
            gain = gain * color.grid_gain(means)[0]
        if not (self.preparation.headroom or self.preparation.tells):
            return planes * gain
        noise = []
        if self.preparation.tells:
            shot, read = given["noise"].unbind()
            noise.append(torch.stack([shot * gain, read * gain * gain]))
        exposed: Tensor = self.expose(planes, gain, white, *noise)
        return exposed

    def _pad(self, planes: Tensor, dim: int, size: Tensor) -> Tensor:
        """The planes reflected along an axis of this size to a size that the network takes."""
        config = self.network.config
        multiple = config.size_multiple
        padded = ((size + multiple - 1) // multiple * multiple).clamp(min=config.size_minimum)
        return planes.index_select(dim, reflected_indices(0, padded, size))

    def _run(self, planes: Tensor) -> tuple[Tensor, int]:
        """The network on padded planes: float32 values, as `LWISP.values` gives them."""
        network = self.network
        seen = network.see(planes.to(network.out.weight.dtype))
        values, scale = network.values(network.blocks_of(seen, ("up4",)), seen)
        return values.float(), scale

    def extra_repr(self) -> str:
        return f"{self.preparation}, {self.pixels}"


def _part_means(planes: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Means (1, 4, 64, 64) over parts of planes (1, 4, rows, columns)."""
    return _part_weights(rows) @ planes @ _part_weights(columns).T


def _part_weights(side: Tensor) -> Tensor:
    """(GRID, side): weights of the means over parts of a side, which overlap where it is no multiple of them."""
    place = torch.arange(side)  # type: ignore[call-overload]
    part = torch.arange(color.GRID)[:, None]
    first: Tensor = part * side // color.GRID
    last: Tensor = ((part + 1) * side + color.GRID - 1) // color.GRID
    inside: Tensor = ((first <= place) & (place < last)).float()
    return inside / inside.sum(1, keepdim=True)


def _squared_distance(cells: Tensor, before: Tensor, side: Tensor) -> Tensor:
    """Squared distance in photosites of cells from the middle of a side that begins `before` photosites in."""
    middles = 2 * torch.arange(cells) + 1 - before  # type: ignore[call-overload]
    return (middles - side / 2) ** 2  # type: ignore[no-any-return]


class Descend(nn.Module):
    """(1, C, h, w) planes, or a pooling's output with its FGAM's channel map -> output of the next pooling."""

    def __init__(self, network: LWISP, level: int) -> None:
        super().__init__()
        self.network, self.level = network, level

    def forward(self, x: Tensor, channel_map: Tensor | None = None) -> Tensor:
        network, level = self.network, self.level
        x = network.head(network.see(x).encoded) if level == 0 else network.attend(level - 1, x, channel_map)
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
    """Planes, output of the second pooling, decoder at h/4, channel maps -> the picture and its sum, as `Whole`."""

    def __init__(self, network: LWISP, pixels: Pixels) -> None:
        super().__init__()
        self.network, self.pixels = network, pixels

    def forward(self, planes: Tensor, p1: Tensor, low: Tensor, map0: Tensor, map1: Tensor) -> tuple[Tensor, Tensor]:
        network = self.network
        seen = network.see(planes)
        first = network.head(seen.encoded)
        skip0 = network.encode(0, first)
        skip1 = network.encode(1, network.attend(0, network.pool(0, skip0), map0))
        skip2 = network.encode(2, network.attend(1, p1, map1))
        decoder = network.climb(1, low, skip2, skip1)
        decoder = network.climb(2, decoder, skip1, skip0)
        values, scale = network.values({"up4": network.last_up(first * decoder)}, seen)
        return to_pixels(values, scale, self.pixels), values.sum()

    def extra_repr(self) -> str:
        return self.pixels


class ChannelMap(nn.Module):
    """Means over the frame of a pooling's output (1, C) -> the channel map of its FGAM (1, C, 1, 1)."""

    def __init__(self, network: LWISP, level: int) -> None:
        super().__init__()
        self.network, self.level = network, level

    def forward(self, means: Tensor) -> Tensor:
        attention = self.network.down[self.level].get_submodule("1")
        assert isinstance(attention, FGAM)
        assert attention.channel is not None
        return attention.channel[1:](means[..., None, None])  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"level={self.level}"


class Vector(nn.Module):
    """Means over the frame of the output of `Bottom` (1, 256) -> the global vector (1, 128)."""

    def __init__(self, network: LWISP) -> None:
        super().__init__()
        self.network = network

    def forward(self, means: Tensor) -> Tensor:
        return self.network.world(means)  # type: ignore[no-any-return]


def to_pixels(values: Tensor, scale: int, pixels: Pixels) -> Tensor:
    """A picture in [0, 1] as its file holds it.

    Args:
        values: (1, C * scale**2, h, w): each color's pixels of a square of `scale` pixels, row by row.
        scale: Side of these squares.
        pixels: Type of the result.

    Returns:
        (h * scale, w * scale, C): float32 in [0, 1], or integers over their range.
    """
    values = values.float().clamp(0, 1)
    if pixels != "float32":
        values = (values * LIMITS[pixels] + 0.5).to(torch.uint8 if pixels == "uint8" else torch.int32)
    height, width = values.shape[-2:]
    cells = values.reshape(-1, scale, scale, height, width).permute(3, 1, 4, 2, 0)
    return cells.reshape(height * scale, width * scale, -1)


def _make_light(letters: str) -> Light:
    """The module of `stages.LIGHTS` with these letters."""
    return Light(BALANCES[letters.removesuffix("m")], mixes=letters.endswith("m"))


def make_module(network: nn.Module | None, name: str) -> nn.Module:
    """The module of a name.

    Args:
        network: LW-ISP, or for "whole" any network; None for the steps before it.
        name: One of `stages.names_of`.
    """
    kind, _, rest = name.partition("-")
    if kind == "light":
        return _make_light(rest)
    if kind == "linear":
        return LinearColors() if rest == "colors" else Linear(rebuilds=rest == "h")
    if kind in ("expose", "encode"):
        return (Expose if kind == "expose" else Encode)(tells="n" in rest)
    if kind in ("colors", "gain"):
        return Colors() if kind == "colors" else Gain()
    assert network is not None
    if kind == "whole":
        return Whole(network, PIXELS[PIXELS.index(rest)])
    assert isinstance(network, LWISP)
    if kind == "high":
        return High(network, PIXELS[PIXELS.index(rest)])
    level = int(name[-1]) if name[-1].isdigit() else 0
    if kind.startswith("map"):
        return ChannelMap(network, level)
    if kind.startswith("p"):
        return Descend(network, level)
    return {"bottom": Bottom, "low": Low, "vector": Vector}[kind](network)
