"""Whole ISPs that were entered in the AIM challenges: PyNET-CA (2020) and HERN (2019).

(B, 4, h, w) in [0, 1] -> (B, 3, 2h, 2w). `lwisp.baselines` pads, and says where each departs from its source.
"""

import torch
from torch import Tensor, nn

from lwisp.baselines.isps import PyNET
from lwisp.baselines.restoration import Residual


class PyNETCA(PyNET):
    """PyNET-CA (Kim et al., ECCV Workshops 2020): PyNET whose blocks scale their channels by what the frame says.

    Its finest picture is made by one more block and PixelShuffle instead of bilinear upsampling, and every picture ends
    in tanh. h and w multiples of 16, 32 at least.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last_up = self.kernels(32, 32, 9, normalized=False)
        self.last_out = nn.Sequential(nn.Conv2d(128, 12, 1), nn.PixelShuffle(2))

    @staticmethod
    def kernels(inputs: int, width: int, largest: int, normalized: bool = True) -> nn.Module:
        return AttentiveKernels(inputs, width, largest, normalized)

    @staticmethod
    def bounded(picture: Tensor) -> Tensor:
        return torch.tanh(picture)


class AttentiveKernels(nn.Module):
    """Two convolutions of each kernel size from 3 up to `largest`, side by side, then channel attention.

    (B, inputs, h, w) -> (B, width * sizes, h, w).
    """

    def __init__(self, inputs: int, width: int, largest: int, normalized: bool) -> None:
        super().__init__()
        sizes = range(3, largest + 1, 2)
        self.branches = nn.ModuleList(_branch(inputs, width, size, normalized) for size in sizes)
        joined = width * len(sizes)
        self.scale = nn.Sequential(
            *(nn.AdaptiveAvgPool2d(1), nn.Conv2d(joined, width, 1), nn.ReLU(), nn.Conv2d(width, joined, 1)),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([branch(x) for branch in self.branches], 1)
        return joined * self.scale(joined)  # type: ignore[no-any-return]


class HERN(nn.Module):
    """HERN (Mei et al., ICCV Workshops 2019): residual groups at a quarter of the size beside multi-scale ones at it.

    The last convolution makes `outputs` = 4 * 3 planes, shuffled to a picture of twice the size. h and w are
    multiples of 4.
    """

    def __init__(self, inputs: int = 4, outputs: int = 12, groups: int = 16, blocks: int = 10) -> None:
        super().__init__()
        self.head = nn.Sequential(_conv(inputs, 64), nn.PReLU())
        self.down = nn.Sequential(_conv(64, 64, stride=2), nn.PReLU(), _conv(64, 128, stride=2))
        self.small = Residual(*(_group(128, blocks) for _ in range(groups)), _conv(128, 128))
        self.up = nn.Sequential(
            nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1),
            nn.PReLU(),
            nn.ConvTranspose2d(64, 64, 4, stride=2, padding=1),
        )
        self.full = nn.ModuleList(MultiScale(64) for _ in range(8))
        self.gather = _conv(8 * 64, 64)
        self.join = nn.Sequential(_conv(128, 64), nn.PReLU())
        self.tail = nn.Sequential(_conv(64, outputs), nn.PixelShuffle(2))

    def forward(self, planes: Tensor) -> Tensor:
        x = first = self.head(planes)
        made = []
        for block in self.full:
            x = block(x)
            made.append(x)
        small = self.up(self.small(self.down(first)))
        joined = self.join(torch.cat([self.gather(torch.cat(made, 1)), small], 1))
        return torch.tanh(self.tail(joined + first))


class MultiScale(nn.Module):
    """Two pairs of convolutions of 3 and 5 px, each of which sees what both of the pair before found; residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.ModuleList(_conv(width, width, size) for size in (3, 5))
        self.second = nn.ModuleList(_conv(2 * width, 2 * width, size) for size in (3, 5))
        self.join = nn.Conv2d(4 * width, width, 1)
        self.activate = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        found = x
        for pair in (self.first, self.second):
            found = torch.cat([self.activate(convolution(found)) for convolution in pair], 1)
        return x + self.join(found)  # type: ignore[no-any-return]


def _group(width: int, blocks: int) -> Residual:
    inner = (Residual(_conv(width, width), nn.PReLU(), _conv(width, width)) for _ in range(blocks))
    return Residual(*inner, _conv(width, width))


def _conv(inputs: int, width: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, width, size, stride, padding=size // 2)


def _branch(inputs: int, width: int, size: int, normalized: bool) -> nn.Sequential:
    first = nn.Conv2d(inputs, width, size, padding=size // 2, padding_mode="reflect")
    second = nn.Conv2d(width, width, size, padding=size // 2, padding_mode="reflect", bias=not normalized)
    norm = [nn.InstanceNorm2d(width, affine=True)] if normalized else []
    return nn.Sequential(first, nn.LeakyReLU(0.2), second, *norm, nn.LeakyReLU(0.2))
