"""Networks made to be a whole ISP: PyNET, AWNet, CameraNet.

(B, 4, h, w) in [0, 1] -> (B, 3, 2h, 2w). `lwisp.baselines` pads, and says where each departs from its source.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class PyNET(nn.Module):
    """PyNET (Ignatov et al., CVPR Workshops 2020): an inverted pyramid of five levels, the coarsest worked on first.

    Every level works on the features of its scale together with what the level below hands up, in blocks of parallel
    kernels of 3 to 9 px. (B, 4, h, w) -> (B, 3, 2h, 2w) in [0, 1]; h and w multiples of 16, 32 at least.

    47,554,738 parameters and 342.698 G operations at packed 224x224, as the LW-ISP paper's Table 3 prints them: with
    instance normalization on level 1 too, an option that is off in the authors' own training code.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (32, 64, 128, 256, 512)
        self.down = nn.ModuleList(
            self.kernels(inputs, width, 3, normalized=level > 0)
            for level, (inputs, width) in enumerate(zip((4, *widths), widths, strict=False))
        )
        self.pool = nn.MaxPool2d(2)
        self.level5 = nn.Sequential(*(self.kernels(512, 512, 3) for _ in range(3)))
        self.level4 = self._blocks((512, 256, 3), (256, 256, 3), (256, 256, 3), (256, 256, 3), (512, 256, 3))
        self.level3 = self._blocks((256, 128, 5), (256, 128, 5), (256, 128, 5), (256, 128, 5), (512, 128, 3))
        self.level2 = self._blocks((128, 64, 5), *[(192, 64, 7)] * 4, (256, 64, 5), (192, 64, 3))
        self.level1 = self._blocks((96, 32, 7), (96, 32, 9), *[(128, 32, 9)] * 3, (128, 32, 7), (128, 32, 5))
        self.level1.insert(0, self.kernels(64, 32, 5, normalized=False))
        self.level1.append(self.kernels(128, 32, 3, normalized=False))
        self.up = nn.ModuleList(_up(width, width // 2) for width in widths[:0:-1])
        self.up_again = nn.ModuleList(_up(width, width // 2) for width in widths[:0:-1])
        self.out = nn.ModuleList(_convolution(width, 3, 3) for width in widths[::-1])
        self.last_up: nn.Module = _up(32, 16)
        self.last_out: nn.Module = _convolution(16, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.pictures(x)[-1]

    def pictures(self, x: Tensor, level: int = 0) -> list[Tensor]:
        """Outputs of the levels, which are trained one after the other.

        The authors' network makes all of them in every pass, as the operations of Table 3 include them (84 M of
        342.698 G).

        Args:
            x: Planes (B, 4, h, w), h and w multiples of 16.
            level: The finest level wanted, 5 (h/16) to 1 (h) and 0 (2h).

        Returns:
            RGB (B, 3, ...) in [0, 1] of every level, from 5 to `level`.

        Raises:
            ValueError: There is no such level.
        """
        if level not in range(6):
            raise ValueError(f"expected a level of 0 to 5, got {level}")
        skips = []
        for index, down in enumerate(self.down):
            x = down(x if index == 0 else self.pool(x))
            skips.append(x)
        x = self.level5(x)
        made = [self.bounded(self.out[0](x))]
        for number, work in enumerate((self._work4, self._work3, self._work2, self._work1)[: 5 - max(level, 1)]):
            x = work(skips[3 - number], self.up[number](x), self.up_again[number](x))
            made.append(self.bounded(self.out[number + 1](x)))
        return made if level else [*made, self.bounded(self.last_out(self.last_up(x)))]

    @staticmethod
    def kernels(inputs: int, width: int, largest: int, normalized: bool = True) -> nn.Module:
        """The block that every level is made of."""
        return Kernels(inputs, width, largest, normalized)

    @staticmethod
    def bounded(picture: Tensor) -> Tensor:
        """What a level made, as a picture: (B, 3, h, w) -> the same size, in [0, 1]."""
        return torch.sigmoid(picture)

    def _blocks(self, *sizes: tuple[int, int, int]) -> nn.ModuleList:
        return nn.ModuleList(self.kernels(*size) for size in sizes)

    def _work4(self, skip: Tensor, below: Tensor, again: Tensor) -> Tensor:
        enter, first, second, leave, join = self.level4
        x = enter(torch.cat([skip, below], 1))
        x = first(x) + x
        x = second(x) + x
        return join(torch.cat([leave(x), again], 1))  # type: ignore[no-any-return]

    def _work3(self, skip: Tensor, below: Tensor, again: Tensor) -> Tensor:
        *steps, leave, join = self.level3
        x = torch.cat([skip, below], 1)
        for step in steps:
            x = step(x) + x
        return join(torch.cat([leave(x), skip, again], 1))  # type: ignore[no-any-return]

    def _work2(self, skip: Tensor, below: Tensor, again: Tensor) -> Tensor:
        enter, *steps, leave, after, join = self.level2
        x = torch.cat([enter(torch.cat([skip, below], 1)), skip], 1)
        for step in steps:
            x = step(x) + x
        x = after(torch.cat([leave(x), skip], 1))
        return join(torch.cat([x, again], 1))  # type: ignore[no-any-return]

    def _work1(self, skip: Tensor, below: Tensor, again: Tensor) -> Tensor:
        enter, first, second, *steps, leave, after, join = self.level1
        x = torch.cat([enter(torch.cat([skip, below], 1)), skip], 1)
        x = second(first(x))
        for step in steps:
            x = step(x) + x
        x = after(torch.cat([leave(x), skip], 1))
        return join(torch.cat([x, again, skip], 1))  # type: ignore[no-any-return]


class Kernels(nn.Module):
    """Two convolutions after each other, of each kernel size from 3 up to `largest`, side by side.

    (B, inputs, h, w) -> (B, width * sizes, h, w).
    """

    def __init__(self, inputs: int, width: int, largest: int, normalized: bool = True) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*_layer(inputs, width, size, normalized), *_layer(width, width, size, normalized))
            for size in range(3, largest + 1, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class AWNet(nn.Module):
    """AWNet's branch for RAW (Dai et al., ECCV Workshops 2020): a U-Net that shrinks and grows by Haar wavelets.

    (B, 4, h, w) -> (B, 3, 2h, 2w) in [0, 1]; h and w multiples of 16, 32 at least. What a wavelet takes away on the way
    down comes back on the way up; global context moves the colors of the whole frame.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (64, 128, 256, 512, 1024)
        self.head = nn.Conv2d(4, widths[0], 3, padding=1)
        self.stages = nn.ModuleList(
            nn.Sequential(ChannelAttention(width), *(DenseBlock(width) for _ in range(blocks)))
            for width, blocks in zip(widths, (2, 2, 2, 3, 4), strict=True)
        )
        self.down = nn.ModuleList(WaveletDown(width) for width in widths[:-1])
        self.up = nn.ModuleList(WaveletUp(width) for width in widths[:0:-1])
        self.skips = nn.ModuleList(
            nn.Sequential(*_rectified(width, width), *_rectified(width, width), ChannelAttention(width))
            for width in widths[-2::-1]
        )
        self.out = nn.ModuleList(nn.Conv2d(width, 3, 3, padding=1) for width in widths[::-1])
        self.enlarge = nn.Sequential(nn.PixelShuffle(2), nn.Conv2d(16, 16, 3, padding=1))
        self.pyramid = Pyramid(16)
        self.last_out = nn.Sequential(
            nn.Conv2d(32, 32, 3, padding=1), ChannelAttention(32), nn.Conv2d(32, 3, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.pictures(x)[-1]

    def pictures(self, x: Tensor) -> list[Tensor]:
        """Outputs of all scales, which are trained together.

        Args:
            x: Planes (B, 4, h, w), h and w multiples of 16.

        Returns:
            RGB (B, 3, ...) in [0, 1], from h/16 to h and 2h.
        """
        x = self.head(x)
        skips, bands = [], []
        for stage, down in zip(self.stages, self.down, strict=False):
            skips.append(x)
            x, details = down(stage(x))
            bands.append(details)
        x = self.stages[-1](x)
        made = [torch.sigmoid(self.out[0](x))]
        for up, skip, out in zip(self.up, self.skips, self.out[1:], strict=True):
            x = up(x, bands.pop()) + skip(skips.pop())
            made.append(torch.sigmoid(out(x)))
        x = self.enlarge(x)
        return [*made, torch.sigmoid(self.last_out(torch.cat([self.pyramid(x), x], 1)))]


class WaveletDown(nn.Module):
    """Half the size, twice the width, half of it the wavelet's low band; and all four bands, for the way up."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.learned = nn.Sequential(
            *(nn.Conv2d(width, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.PReLU()),
            *(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.PReLU()),
        )
        self.low = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        bands = wavelet(x)
        return torch.cat([self.learned(x), self.low(bands[:, : x.shape[1]])], 1), bands


class WaveletUp(nn.Module):
    """Twice the size, half the width: PixelShuffle and convolutions beside the inverse wavelet of the bands."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.learned = nn.Sequential(
            *(nn.Conv2d(width, 2 * width, 1), nn.PixelShuffle(2)),
            *(nn.Conv2d(half, half, 3, padding=1), GlobalContext(half, 8), nn.PReLU()),
            *(nn.Conv2d(half, half, 3, padding=1), GlobalContext(half, 8), nn.PReLU()),
        )
        self.bands, self.restored = nn.Conv2d(2 * width, 2 * width, 1), nn.Conv2d(half, half, 1)
        self.join = nn.Conv2d(width, half, 1)

    def forward(self, x: Tensor, bands: Tensor) -> Tensor:
        restored = self.restored(inverse_wavelet(self.bands(bands)))
        return self.join(torch.cat([self.learned(x), restored], 1))  # type: ignore[no-any-return]


class DenseBlock(nn.Module):
    """Six convolutions, each of which sees all outputs before it, fused and moved by global context; residual."""

    def __init__(self, width: int, growth: int = 16) -> None:
        super().__init__()
        widths = [width + growth * index for index in range(7)]
        self.steps = nn.ModuleList(
            nn.Sequential(*_rectified(inputs, growth), nn.BatchNorm2d(growth)) for inputs in widths[:-1]
        )
        self.fuse = nn.Sequential(nn.Conv2d(widths[-1], width, 1), GlobalContext(width, width // 4))

    def forward(self, x: Tensor) -> Tensor:
        dense = x
        for step in self.steps:
            dense = torch.cat([dense, step(dense)], 1)
        return x + self.fuse(dense)  # type: ignore[no-any-return]


class GlobalContext(nn.Module):
    """Adds to every pixel what an attentive mean over the frame says (Cao et al., GCNet, 2019)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.attention = nn.Conv2d(width, 1, 1)
        self.change = nn.Sequential(
            nn.Conv2d(width, hidden, 1), nn.LayerNorm([hidden, 1, 1]), nn.PReLU(), nn.Conv2d(hidden, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        weights = self.attention(x).flatten(2).softmax(2)  # (B, 1, hw)
        context = x.flatten(2) @ weights.transpose(1, 2)  # (B, C, 1)
        return x + self.change(context[..., None])  # type: ignore[no-any-return]


class ChannelAttention(nn.Module):
    """A 1x1 convolution whose channels are scaled by what the means of the input say."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Sequential(
            *(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1), nn.ReLU()),
            *(nn.Conv2d(width, width // 4, 1), nn.ReLU(), nn.Conv2d(width // 4, width, 1), nn.Sigmoid()),
        )
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x) * self.scale(x)  # type: ignore[no-any-return]


class Pyramid(nn.Module):
    """The frame's means over 1x1 to 6x6 fields, enlarged and joined with the features (PSPNet, 2017)."""

    def __init__(self, width: int, fields: tuple[int, ...] = (1, 2, 3, 6)) -> None:
        super().__init__()
        self.means = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Conv2d(width, width, 1, bias=False)) for side in fields
        )
        self.join = nn.Sequential(nn.Conv2d(width * (len(fields) + 1), width, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        means = [functional.interpolate(mean(x), x.shape[-2:], mode="bilinear") for mean in self.means]
        joined: Tensor = self.join(torch.cat([*means, x], 1))
        return joined


class CameraNet(nn.Module):
    """CameraNet (Liang et al., TIP 2021): one U-Net restores the linear picture, another one enhances it.

    (B, 4, h, w) -> (B, 3, 2h, 2w); h and w multiples of 16, 144 at least. The source trains `restored` first, on
    linear pictures without noise, then both.
    """

    def __init__(self) -> None:
        super().__init__()
        self.restore = GlobalUNet(4, 12, (1, 1, 1, 1, 1), residual=False)
        self.enhance = GlobalUNet(12, 12, (1, 2, 2, 4, 8), residual=True)

    def forward(self, x: Tensor) -> Tensor:
        bright = self.restore(x).clamp(min=1e-4) ** (1 / 2.2)
        return functional.pixel_shuffle(self.enhance(bright), 2)

    def restored(self, x: Tensor) -> Tensor:
        """Output of the first stage, a linear picture.

        Args:
            x: Planes (B, 4, h, w), h and w multiples of 16, 144 at least.

        Returns:
            (B, 3, 2h, 2w).
        """
        return functional.pixel_shuffle(self.restore(x), 2)


class GlobalUNet(nn.Module):
    """A U-Net of widths 32 to 512 whose deepest features are scaled and shifted by what the whole frame says.

    (B, inputs, h, w) -> (B, outputs, h, w); `dilations` of the blocks by level, the finest first.
    """

    def __init__(self, inputs: int, outputs: int, dilations: tuple[int, ...], residual: bool) -> None:
        super().__init__()
        widths = (32, 64, 128, 256, 512)
        self.enter = nn.ModuleList(_leaky(*width) for width in zip((inputs, *widths), widths, strict=False))
        self.blocks = nn.ModuleList(
            CameraBlock(width, dilation, dilation if width < widths[-1] else 1, residual)
            for width, dilation in zip(widths, dilations, strict=True)
        )
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.world = nn.Sequential(nn.Linear(512, 1024), nn.LeakyReLU(0.2), nn.Linear(1024, 1024))
        self.up = nn.ModuleList(nn.ConvTranspose2d(width, width // 2, 2, 2, bias=False) for width in widths[:0:-1])
        self.join = nn.ModuleList(_leaky(width, width // 2) for width in widths[:0:-1])
        self.blocks_up = nn.ModuleList(
            CameraBlock(width, dilation, 1, residual, last=width == widths[0])
            for width, dilation in zip(widths[-2::-1], dilations[-2::-1], strict=True)
        )
        self.out = nn.Conv2d(widths[0], outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for enter, block in zip(self.enter, self.blocks, strict=True):
            entered = enter(x if not skips else self.pool(skips[-1]))
            skips.append(block(entered))
        scale, shift = self.world(entered.mean((-2, -1)))[..., None, None].chunk(2, 1)
        x = functional.leaky_relu(skips.pop() * scale + shift, 0.2)
        for up, join, block in zip(self.up, self.join, self.blocks_up, strict=True):
            x = block(join(torch.cat([up(x), skips.pop()], 1)))
        out: Tensor = self.out(x)
        return out


class CameraBlock(nn.Module):
    """Two convolutions, their input added where `residual`; the `last` one of a network ends without activation."""

    def __init__(self, width: int, dilation: int, then: int, residual: bool, last: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_leaky(width, width, dilation), _convolution(width, width, 3, then))
        self.residual, self.last = residual, last

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.layers(x)
        made = made + x if self.residual else made
        return made if self.last else functional.leaky_relu(made, 0.2)


def wavelet(x: Tensor) -> Tensor:
    """Haar transform: (B, C, h, w) -> (B, 4C, h/2, w/2), means (times 2), then differences across, down, both."""
    a = x[..., 0::2, 0::2] / 2
    b = x[..., 0::2, 1::2] / 2
    c = x[..., 1::2, 0::2] / 2
    d = x[..., 1::2, 1::2] / 2
    return torch.cat([a + b + c + d, b + d - a - c, c + d - a - b, a + d - b - c], 1)


def inverse_wavelet(bands: Tensor) -> Tensor:
    """The inverse of `wavelet`: (B, 4C, h/2, w/2) -> (B, C, h, w)."""
    low, across, down, both = (bands / 2).chunk(4, 1)
    corners = [low - across - down + both, low + across - down - both,
               low - across + down - both, low + across + down + both]  # fmt: skip
    return functional.pixel_shuffle(torch.stack(corners, 2).flatten(1, 2), 2)


def _rectified(inputs: int, width: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()


def _leaky(inputs: int, width: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(_convolution(inputs, width, 3, dilation), nn.LeakyReLU(0.2))


def _layer(inputs: int, width: int, size: int, normalized: bool) -> list[nn.Module]:
    norm = [nn.InstanceNorm2d(width, affine=True)] if normalized else []
    return [_convolution(inputs, width, size), *norm, nn.LeakyReLU(0.2)]


def _convolution(inputs: int, width: int, size: int, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, width, size, padding=dilation * (size // 2), dilation=dilation, padding_mode="reflect")


def _up(inputs: int, width: int) -> nn.Sequential:
    grow = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    return nn.Sequential(grow, _convolution(inputs, width, 3), nn.LeakyReLU(0.2))
