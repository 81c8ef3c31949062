"""Networks made to enlarge, sharpen or denoise pictures: SRCNN, SRGAN's generator, DPED's, DnCNN, NAFNet.

Fed with packed RAW, (B, 4, h, w) in [0, 1] -> (B, 3, 2h, 2w); those that denoise, with `enlarge` = 1, are fed with RGB
as in their source, (B, 3, h, w) -> (B, 3, h, w). `inputs` and `outputs` are the first and last convolution's channels,
so that a test can build each network with its source's own channels and compare the published count. `lwisp.baselines`
pads, and says where each departs from its source.
"""

import torch
from torch import Tensor, nn

from lwisp.model import CCB, FGAM


class SRCNN(nn.Sequential):
    """SRCNN 9-5-5 (Dong et al., TPAMI 2016): the planes enlarged by bicubic interpolation, then three convolutions."""

    def __init__(self, inputs: int = 4, outputs: int = 3) -> None:
        super().__init__(
            nn.Upsample(scale_factor=2, mode="bicubic"),
            nn.Conv2d(inputs, 64, 9, padding=4, padding_mode="replicate"),
            nn.ReLU(),
            nn.Conv2d(64, 32, 5, padding=2, padding_mode="replicate"),
            nn.ReLU(),
            nn.Conv2d(32, outputs, 5, padding=2, padding_mode="replicate"),
        )


class SRResNet(nn.Module):
    """SRGAN's generator (Ledig et al., CVPR 2017): 16 residual blocks of 64 channels, then PixelShuffle.

    Each of the `doublings` enlarges by 2.
    """

    def __init__(self, inputs: int = 4, outputs: int = 3, doublings: int = 1) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(inputs, 64, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(
            *(Residual(*_normalized(), nn.PReLU(), *_normalized()) for _ in range(16)), *_normalized()
        )
        up = (nn.Sequential(_conv(64, 256), nn.PixelShuffle(2), nn.PReLU()) for _ in range(doublings))
        self.tail = nn.Sequential(*up, nn.Conv2d(64, outputs, 9, padding=4))

    def forward(self, x: Tensor) -> Tensor:
        first = self.head(x)
        rgb: Tensor = self.tail(first + self.body(first))
        return rgb


class DPED(nn.Module):
    """DPED's generator (Ignatov et al., ICCV 2017): twelve convolutions, eight of them in residual blocks.

    The last one makes `outputs` = 4 * 3 planes, shuffled to a picture of twice the size.
    """

    def __init__(self, inputs: int = 4, outputs: int = 12) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, 64, 9, padding=4),
            nn.ReLU(),
            *(Residual(*_instance_normalized(), *_instance_normalized()) for _ in range(4)),
            _conv(64, 64),
            nn.ReLU(),
            _conv(64, 64),
            nn.ReLU(),
            nn.Conv2d(64, outputs, 9, padding=4),
            nn.PixelShuffle(2),
        )

    def forward(self, x: Tensor) -> Tensor:
        rgb: Tensor = 0.58 * torch.tanh(self.layers(x)) + 0.5
        return rgb


class DnCNN(nn.Module):
    """DnCNN-S (Zhang et al., TIP 2017): 17 convolutions of 64 channels, batch-normalized, that find the noise.

    What they find is taken from the input. From RAW, where nothing can be, the last convolution makes `outputs` = 4 * 3
    planes, shuffled to a picture of twice the size.
    """

    def __init__(self, inputs: int = 4, outputs: int = 12, enlarge: int = 2) -> None:
        super().__init__()
        self.restores = enlarge == 1
        middle = [
            layer
            for _ in range(15)
            for layer in (nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        ]
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, 64, 3, padding=1, bias=False),
            nn.ReLU(),
            *middle,
            nn.Conv2d(64, outputs, 3, padding=1, bias=False),
            nn.PixelShuffle(enlarge),
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return x - found if self.restores else found


class NAFNet(nn.Module):
    """NAFNet of width 32 (Chen et al., ECCV 2022), with the blocks that its authors chose for SIDD.

    A U-Net of blocks without activation functions. The last convolution makes `outputs` = 4 * 3 planes, shuffled to a
    picture of twice the size; with `enlarge` = 1 they are added to the input. h and w multiples of 16. LW-ISP's blocks
    can take part: `fgam` doubles the channels after a strided convolution that does not, `ccb` stands in the place of
    PixelShuffle and added skip.
    """

    def __init__(
        self,
        inputs: int = 4,
        outputs: int = 12,
        width: int = 32,
        enlarge: int = 2,
        fgam: bool = False,
        ccb: bool = False,
    ) -> None:
        super().__init__()
        self.restores = enlarge == 1
        widths = [width << level for level in range(5)]
        self.head = _conv(inputs, width)
        self.encoder = nn.ModuleList(_blocks(*level) for level in zip(widths, (2, 2, 4, 8), strict=False))
        self.down = nn.ModuleList(_shrink(wide, fgam) for wide in widths[:-1])
        self.middle = _blocks(widths[-1], 12)
        self.up = nn.ModuleList(Complement(wide) if ccb else _grow(wide) for wide in widths[:0:-1])
        self.decoder = nn.ModuleList(_blocks(wide, 2) for wide in widths[-2::-1])
        self.tail = nn.Sequential(_conv(width, outputs), nn.PixelShuffle(enlarge))

    def forward(self, picture: Tensor) -> Tensor:
        x = self.head(picture)
        skips = []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            skips.append(blocks(x))
            x = down(skips[-1])
        skips.append(x)
        x = self.middle(x)
        for up, blocks in zip(self.up, self.decoder, strict=True):
            skip, context = skips.pop(), skips[-1]
            x = blocks(up(x, skip, context) if isinstance(up, Complement) else up(x) + context)
        rgb: Tensor = self.tail(x)
        return picture + rgb if self.restores else rgb


class Complement(nn.Module):
    """CCB, then half the channels: C channels at (h, w) -> C/2 at (2h, 2w)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ccb = CCB(width, padding="zeros")
        self.join = nn.Conv2d(width, width // 2, 1)

    def forward(self, decoder: Tensor, skip: Tensor, context: Tensor) -> Tensor:
        return self.join(self.ccb(decoder, skip, context))  # type: ignore[no-any-return]


class NAFBlock(nn.Module):
    """A gated depthwise convolution with channel attention, then a gated 1x1; each added at a scale from 0 on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.local = nn.Sequential(
            LayerNorm2d(width, eps=1e-6),
            nn.Conv2d(width, 2 * width, 1),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width),
            Gate(),
        )
        self.attention = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1))
        self.project = nn.Conv2d(width, width, 1)
        self.mix = nn.Sequential(
            LayerNorm2d(width, eps=1e-6), nn.Conv2d(width, 2 * width, 1), Gate(), nn.Conv2d(width, width, 1)
        )
        self.beta = nn.Parameter(torch.zeros(width, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        local = self.local(x)
        x = x + self.beta * self.project(local * self.attention(local))
        return x + self.gamma * self.mix(x)  # type: ignore[no-any-return]


class LayerNorm2d(nn.LayerNorm):
    """Normalizes the channels of each pixel of (B, C, h, w)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # movedim exports a negative axis


class Gate(nn.Module):
    """The first half of the channels times the second: (B, 2C, h, w) -> (B, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 1)
        return first * second


class Residual(nn.Sequential):
    """Layers whose output is added to their input."""

    def forward(self, input: Tensor) -> Tensor:
        return input + super().forward(input)  # type: ignore[no-any-return, no-untyped-call]


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(NAFBlock(width) for _ in range(count)))


def _shrink(width: int, fgam: bool) -> nn.Module:
    if fgam:
        return nn.Sequential(nn.Conv2d(width, width, 2, stride=2), FGAM(width, "centered"))
    return nn.Conv2d(width, 2 * width, 2, stride=2)


def _grow(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, 2 * width, 1, bias=False), nn.PixelShuffle(2))


def _conv(inputs: int, width: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, width, 3, padding=1)


def _normalized() -> tuple[nn.Module, nn.Module]:
    return _conv(64, 64), nn.BatchNorm2d(64)


def _instance_normalized() -> tuple[nn.Module, ...]:
    return _conv(64, 64), nn.InstanceNorm2d(64, eps=1e-3, affine=True), nn.ReLU()
