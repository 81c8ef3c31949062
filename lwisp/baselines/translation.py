"""Networks made to turn one kind of picture into another, fed with packed RAW: U-Net, Pix2Pix, SPADE's generator.

(B, 4, h, w) in [0, 1] -> (B, 3, 2h, 2w). `inputs` and `outputs` are the first and last convolution's channels, so that
a test can build each network with its source's own channels and compare the published count. `lwisp.baselines` pads,
and says where each departs from its source.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from lwisp.model import CCB, FGAM


class UNet(nn.Module):
    """U-Net (Ronneberger et al., MICCAI 2015): four 2x poolings, widths 64 to 1024. h and w multiples of 16.

    The last convolution makes `outputs` = 4 * 3 planes, shuffled to a picture of twice the size. LW-ISP's blocks can
    take part: `fgam` after every pooling, `ccb` in the place of transposed convolution and concatenated skip.
    """

    def __init__(self, inputs: int = 4, outputs: int = 12, fgam: bool = False, ccb: bool = False) -> None:
        super().__init__()
        widths = (64, 128, 256, 512, 1024)
        growth = 2 if fgam else 1
        entering = (inputs, *(growth * width for width in widths))
        self.stages = nn.ModuleList(_twice(*width) for width in zip(entering, widths, strict=False))
        self.pool = nn.MaxPool2d(2)
        self.attend = nn.ModuleList(FGAM(width, "centered") if fgam else nn.Identity() for width in widths[:-1])
        self.up: nn.ModuleList
        if ccb:  # the deepest features have no skip of their own
            inner = (CCB(width, padding="zeros") for width in widths[-2:0:-1])
            self.up = nn.ModuleList((CCB(widths[-1], "decoder", padding="zeros"), *inner))
        else:
            self.up = nn.ModuleList(nn.ConvTranspose2d(width, width // 2, 2, stride=2) for width in widths[:0:-1])
        self.join = nn.ModuleList(_twice(width, width // 2) for width in widths[:0:-1])
        self.tail = nn.Sequential(nn.Conv2d(64, outputs, 1), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        skips = [self.stages[0](x)]
        for stage, attend in zip(self.stages[1:], self.attend, strict=True):
            skips.append(stage(attend(self.pool(skips[-1]))))
        x = skips[-1]
        for up, join in zip(self.up, self.join, strict=True):
            skip, context = skips.pop(), skips[-1]
            x = join(up(x, skip, context) if isinstance(up, CCB) else torch.cat([context, up(x)], 1))
        rgb: Tensor = self.tail(x)
        return rgb


class Pix2Pix(nn.Module):
    """Pix2Pix's generator (Isola et al., CVPR 2017): 4x4 convolutions of stride 2 down to 1/256 and up again.

    The last one makes `outputs` = 4 * 3 planes, shuffled to a picture of twice the size. h and w multiples of 256.
    """

    def __init__(self, inputs: int = 4, outputs: int = 12) -> None:
        super().__init__()
        widths = (64, 128, 256, 512, 512, 512, 512, 512)
        self.down = nn.ModuleList([_shrink(inputs, 64)])
        for narrow, wide in pairwise(widths[:-1]):
            self.down.append(nn.Sequential(nn.LeakyReLU(0.2), _shrink(narrow, wide), _norm(wide)))
        self.down.append(nn.Sequential(nn.LeakyReLU(0.2), _shrink(512, 512)))
        self.up = nn.ModuleList()
        for level, width in enumerate(widths[-2::-1]):
            drop = nn.Dropout(0.5) if level < 3 else nn.Identity()
            grow = nn.ConvTranspose2d(widths[-1 - level] * (2 if level else 1), width, 4, 2, 1, bias=False)
            self.up.append(nn.Sequential(nn.ReLU(), grow, _norm(width), drop))
        self.tail = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(128, outputs, 4, 2, 1), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = skips.pop()
        for up in self.up:
            x = torch.cat([skips.pop(), up(x)], 1)
        return (torch.tanh(self.tail(x)) + 1) / 2


class PatchGAN(nn.Module):
    """Pix2Pix's discriminator: planes (B, 4, h, w) and picture (B, 3, 2h, 2w) -> logits, one for each 70x70 patch.

    Positive where the patch looks real. The planes are repeated to the picture's size.
    """

    def __init__(self, inputs: int = 7) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, 64, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            *(_shrink(64, 128), _norm(128), nn.LeakyReLU(0.2)),
            *(_shrink(128, 256), _norm(256), nn.LeakyReLU(0.2)),
            *(_shrink(256, 512, stride=1), _norm(512), nn.LeakyReLU(0.2)),
            nn.Conv2d(512, 1, 4, padding=1),
        )

    def forward(self, planes: Tensor, rgb: Tensor) -> Tensor:
        logits: Tensor = self.layers(torch.cat([functional.interpolate(planes, scale_factor=2.0), rgb], 1))
        return logits


class SPADE(nn.Module):
    """SPADE's generator (Park et al., CVPR 2019), guided by the RAW planes where the source has a map of labels.

    The planes, averaged down to 1/16, are enlarged five times; before each of two convolutions of every residual block
    they scale and shift what is drawn, at its size. h and w multiples of 16.
    """

    def __init__(self, inputs: int = 4, outputs: int = 3) -> None:
        super().__init__()
        widths = (1024, 1024, 1024, 1024, 512, 256, 128, 64)
        self.head = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(SPADEBlock(*width, inputs) for width in pairwise(widths))
        self.up = nn.Upsample(scale_factor=2)
        self.tail = nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(widths[-1], outputs, 3, padding=1))

    def forward(self, planes: Tensor) -> Tensor:
        x = self.head(functional.avg_pool2d(planes, 16))
        for index, block in enumerate(self.blocks):
            x = block(x if index in (0, 2) else self.up(x), planes)
        return (torch.tanh(self.tail(x)) + 1) / 2


class SPADEBlock(nn.Module):
    """Two convolutions after spatially-adaptive normalization, and a shortcut with a third where the width changes."""

    def __init__(self, inputs: int, width: int, labels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(SpatialNorm(channels, labels) for channels in (inputs, width))
        self.convs = nn.ModuleList(
            spectral_norm(nn.Conv2d(channels, width, 3, padding=1)) for channels in (inputs, width)
        )
        changes = inputs != width
        self.shortcut_norm = SpatialNorm(inputs, labels) if changes else None
        self.shortcut = spectral_norm(nn.Conv2d(inputs, width, 1, bias=False)) if changes else None

    def forward(self, x: Tensor, planes: Tensor) -> Tensor:
        drawn = x
        for norm, convolution in zip(self.norms, self.convs, strict=True):
            drawn = convolution(functional.leaky_relu(norm(drawn, planes), 0.2))
        if self.shortcut is not None and self.shortcut_norm is not None:
            x = self.shortcut(self.shortcut_norm(x, planes))
        return x + drawn


class SpatialNorm(nn.Module):
    """Spatially-adaptive normalization: batch normalization, scaled and shifted by what convolutions see in a map."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.shared = nn.Sequential(nn.Conv2d(labels, 128, 3, padding=1), nn.ReLU())
        self.scale = nn.Conv2d(128, width, 3, padding=1)
        self.shift = nn.Conv2d(128, width, 3, padding=1)

    def forward(self, x: Tensor, planes: Tensor) -> Tensor:
        seen = self.shared(functional.interpolate(planes, x.shape[-2:], mode="area"))
        return self.norm(x) * (1 + self.scale(seen)) + self.shift(seen)  # type: ignore[no-any-return]


def _twice(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()
    )


def _shrink(inputs: int, width: int, stride: int = 2) -> nn.Conv2d:
    return nn.Conv2d(inputs, width, 4, stride, padding=1, bias=False)


def _norm(width: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(width, affine=True)
