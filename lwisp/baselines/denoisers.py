"""Networks made to denoise photographs, of Table 4: TNRD, RIDNet, CBDNet, VDN, MIRNet.

(B, 3, h, w) in [0, 1] -> the same size with `enlarge` = 1: what they find is added to the input. Fed with packed RAW,
where nothing can be added, the last convolution makes `outputs` = 4 * 3 planes, shuffled to a picture of twice the
size. `lwisp.baselines` pads, and says where each departs from its source.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from lwisp.baselines.restoration import Residual


class TNRD(nn.Module):
    """TNRD (Chen and Pock, TPAMI 2017), 7x7 filters and five stages: each plane by itself, with the same weights."""

    def __init__(self, inputs: int = 4, outputs: int = 12, enlarge: int = 2) -> None:
        super().__init__()
        self.stages = nn.ModuleList(DiffusionStage() for _ in range(5))
        self.last: nn.Module = nn.Identity()
        if enlarge > 1:
            self.last = nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.PixelShuffle(enlarge))

    def forward(self, picture: Tensor) -> Tensor:
        planes = picture.flatten(0, 1)[:, None]  # (B * C, 1, h, w)
        found = planes
        for stage in self.stages:
            found = stage(found, planes)
        return self.last(found.reshape(picture.shape))  # type: ignore[no-any-return]


class DiffusionStage(nn.Module):
    """A stage of TNRD: (B, 1, h, w) minus what filters, influence functions and the same filters turned find in it.

    An influence function is a sum of 63 Gaussians over the filters' responses. It is computed at nodes and linear
    between them, as in the authors' code.
    """

    WIDTH = 10.0
    """Of the Gaussians, and distance of their centers, -310 to 310, for pictures of 0 to 255, as in the source."""
    NODES = torch.linspace(-320, 320, 257, device="cpu")

    def __init__(self) -> None:
        super().__init__()
        self.filters = CosineFilters()
        centers = torch.arange(-310, 311, self.WIDTH, device="cpu")
        gaussians = (-((self.NODES - centers[:, None]) ** 2) / (2 * self.WIDTH**2)).exp()
        self.register_buffer("gaussians", gaussians, persistent=False)  # (63, 257)
        begun = 0.002 * centers / (1 + (centers / 20) ** 2)  # large responses, of edges, are lowered less
        self.heights = nn.Parameter(begun.repeat(self.filters.out_channels, 1).to(torch.empty(0).device))
        self.trust = nn.Parameter(torch.tensor(0.1))

    def forward(self, x: Tensor, noisy: Tensor) -> Tensor:
        kernels = self.filters.kernels()
        influence = self.influence(self.filters(x))
        turned = kernels.flip(-2, -1).transpose(0, 1)
        diffused = functional.conv2d(functional.pad(influence, (3, 3, 3, 3), mode="reflect"), turned)
        return x - diffused - self.trust * (x - noisy)

    def influence(self, responses: Tensor) -> Tensor:
        """Each channel through its influence function; (B, 48, h, w)."""
        assert isinstance(self.gaussians, Tensor)
        table = self.heights @ self.gaussians.to(self.heights.dtype)  # (48, 257)
        count = table.shape[1]
        spacing = 640 / (count - 1)
        place = ((255 * responses + 320) / spacing).clamp(0, count - 1.001)
        below = place.detach().floor()
        first = torch.arange(len(table), device=table.device)[:, None, None] * count
        index = below.long() + first
        low, high = table.flatten()[index], table.flatten()[index + 1]
        return (low + (place - below) * (high - low)) / 255


class CosineFilters(nn.Conv2d):
    """48 filters of 7x7 px and length 1, mixed of the cosine transform's but for the constant one; reflects borders."""

    def __init__(self) -> None:
        super().__init__(1, 48, 7, bias=False)
        self.weight = nn.Parameter(torch.eye(48))  # shares of the basis
        place = (torch.arange(7, device="cpu") + 0.5) * torch.pi / 7
        waves = (torch.arange(7, device="cpu")[:, None] * place).cos()
        waves = waves / waves.norm(dim=1, keepdim=True)
        basis = (waves[:, None, :, None] * waves[None, :, None, :]).reshape(49, 49)[1:]
        self.register_buffer("basis", basis, persistent=False)

    def kernels(self) -> Tensor:
        """The filters, (48, 1, 7, 7)."""
        assert isinstance(self.basis, Tensor)
        shares = self.weight / self.weight.norm(dim=1, keepdim=True).clamp(min=1e-9)
        mixed: Tensor = shares @ self.basis.to(shares.dtype)
        return mixed.view(48, 1, 7, 7)

    def forward(self, input: Tensor) -> Tensor:
        return functional.conv2d(functional.pad(input, (3, 3, 3, 3), mode="reflect"), self.kernels())


class RIDNet(nn.Module):
    """RIDNet (Anwar and Barnes, ICCV 2019): four blocks of dilated and residual convolutions with channel attention."""

    def __init__(self, inputs: int = 4, outputs: int = 12, enlarge: int = 2) -> None:
        super().__init__()
        self.restores = enlarge == 1
        self.layers = nn.Sequential(
            *_rectified(inputs, 64),
            *(FeatureAttention(64) for _ in range(4)),
            _conv(64, outputs),
            nn.PixelShuffle(enlarge),
        )

    def forward(self, picture: Tensor) -> Tensor:
        found: Tensor = self.layers(picture)
        return picture + found if self.restores else found


class FeatureAttention(nn.Module):
    """RIDNet's block: two pairs of dilated convolutions, two residual blocks, channel attention."""

    def __init__(self, width: int, reduction: int = 16) -> None:
        super().__init__()
        self.wide = nn.ModuleList(
            nn.Sequential(*(layer for dilation in pair for layer in _rectified(width, width, dilation)))
            for pair in ((1, 2), (3, 4))
        )
        self.merge = nn.Sequential(*_rectified(2 * width, width))
        self.residual = nn.Sequential(
            Residual(*_rectified(width, width), _conv(width, width)),
            nn.ReLU(),
            Residual(*_rectified(width, width), *_rectified(width, width), nn.Conv2d(width, width, 1)),
            nn.ReLU(),
        )
        self.scale = _scale(width, width // reduction)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.merge(torch.cat([branch(x) for branch in self.wide], 1))
        x = self.residual(x)
        return x * self.scale(x)  # type: ignore[no-any-return]


class CBDNet(nn.Module):
    """CBDNet (Guo et al., CVPR 2019): five convolutions estimate the noise, which a U-Net sees beside the picture.

    h and w multiples of 4.
    """

    def __init__(self, inputs: int = 4, outputs: int = 12, enlarge: int = 2) -> None:
        super().__init__()
        self.restores = enlarge == 1
        widths = (inputs, 32, 32, 32, 32, inputs)
        self.estimate = nn.Sequential(*(layer for pair in pairwise(widths) for layer in _rectified(*pair)))
        self.enter = _chain(2 * inputs, 64, 2)
        self.down = nn.ModuleList((_chain(64, 128, 3), _chain(128, 256, 6)))
        self.pool = nn.AvgPool2d(2)
        self.up = nn.ModuleList(nn.ConvTranspose2d(width, width // 2, 2, stride=2) for width in (256, 128))
        self.join = nn.ModuleList((_chain(128, 128, 3), _chain(64, 64, 2)))
        self.tail = nn.Sequential(nn.Conv2d(64, outputs, 1), nn.PixelShuffle(enlarge))

    def forward(self, picture: Tensor) -> Tensor:
        skips = [self.enter(torch.cat([picture, self.estimate(picture)], 1))]
        for down in self.down:
            skips.append(down(self.pool(skips[-1])))
        x = skips.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(up(x) + skips.pop())
        found: Tensor = self.tail(x)
        return picture + found if self.restores else found


class VDN(nn.Module):
    """VDN (Yue et al., NeurIPS 2019), its denoising network: a U-Net of widths 64 to 512. h and w multiples of 8."""

    def __init__(self, inputs: int = 4, outputs: int = 12, enlarge: int = 2) -> None:
        super().__init__()
        self.restores = enlarge == 1
        widths = (64, 128, 256, 512)
        self.stages = nn.ModuleList(_leaky_twice(*pair) for pair in zip((inputs, *widths), widths, strict=False))
        self.pool = nn.AvgPool2d(2)
        self.up = nn.ModuleList(nn.ConvTranspose2d(width, width // 2, 2, stride=2) for width in widths[:0:-1])
        self.join = nn.ModuleList(_leaky_twice(width, width // 2) for width in widths[:0:-1])
        self.tail = nn.Sequential(_conv(64, outputs), nn.PixelShuffle(enlarge))

    def forward(self, picture: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for stage in self.stages:
            skips.append(stage(self.pool(skips[-1]) if skips else picture))
        x = skips.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([up(x), skips.pop()], 1))
        found: Tensor = self.tail(x)
        return picture - found if self.restores else found


class MIRNet(nn.Module):
    """MIRNet (Zamir et al., ECCV 2020): three groups of two blocks that work at three sizes and exchange features.

    h and w multiples of 4.
    """

    def __init__(self, inputs: int = 4, outputs: int = 12, enlarge: int = 2) -> None:
        super().__init__()
        self.restores = enlarge == 1
        self.layers = nn.Sequential(
            _bare(inputs, 64),
            *(Residual(Scales(64), Scales(64), _bare(64, 64)) for _ in range(3)),
            _bare(64, outputs),
            nn.PixelShuffle(enlarge),
        )

    def forward(self, picture: Tensor) -> Tensor:
        found: Tensor = self.layers(picture)
        return picture + found if self.restores else found


class Scales(nn.Module):
    """MIRNet's multi-scale residual block: (B, C, h, w) -> the same size, by C, 2C and 4C channels at h, h/2 and h/4.

    Each size is worked on twice by one and the same block; in between each takes what the others found.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        levels = range(3)
        self.blocks = nn.ModuleList(DualAttention(width << level) for level in levels)
        self.moves = nn.ModuleDict(
            {_way(source, target): _move(width, source, target) for source in levels for target in levels}
        )
        self.last_moves = nn.ModuleList(_move(width, level, 0) for level in levels)
        self.fuse = nn.ModuleList(SelectiveFusion(width << level) for level in levels)
        self.out = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        found = [self.blocks[0](x)]
        for level in (1, 2):
            found.append(self.blocks[level](self.moves[_way(level - 1, level)](found[-1])))
        mixed = []
        for target, fuse in enumerate(self.fuse):
            mixed.append(fuse([self.moves[_way(source, target)](features) for source, features in enumerate(found)]))
        found = [block(features) for block, features in zip(self.blocks, mixed, strict=True)]
        last = [move(features) for move, features in zip(self.last_moves, found, strict=True)]
        return x + self.out(self.fuse[0](last))  # type: ignore[no-any-return]


class DualAttention(nn.Module):
    """Two convolutions; what they find is multiplied by spatial and by channel attention, joined and added."""

    def __init__(self, width: int, reduction: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(_bare(width, width), nn.PReLU(), _bare(width, width))
        self.spatial = nn.Sequential(nn.Conv2d(2, 1, 5, padding=2, bias=False), nn.Sigmoid())
        self.scale = _scale(width, width // reduction, bias=False)
        self.join = nn.Conv2d(2 * width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        found = self.body(x)
        here = self.spatial(torch.cat([found.amax(1, keepdim=True), found.mean(1, keepdim=True)], 1))
        return x + self.join(torch.cat([found * here, found * self.scale(found)], 1))  # type: ignore[no-any-return]


class SelectiveFusion(nn.Module):
    """The sum of three (B, C, h, w), each channel weighted by what the means of all of them say."""

    def __init__(self, width: int, reduction: int = 8) -> None:
        super().__init__()
        hidden = max(width // reduction, 4)
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, hidden, 1, bias=False), nn.PReLU())
        self.weights = nn.ModuleList(nn.Conv2d(hidden, width, 1, bias=False) for _ in range(3))

    def forward(self, features: list[Tensor]) -> Tensor:
        squeezed = self.squeeze(features[0] + features[1] + features[2])
        shares = torch.stack([weigh(squeezed) for weigh in self.weights]).softmax(0)  # (3, B, C, 1, 1)
        return (torch.stack(features) * shares).sum(0)


class Down(nn.Module):
    """(B, C, h, w) -> (B, 2C, h/2, w/2): convolutions and a shortcut, both blurred before they are thinned."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(width, width, 1, bias=False), nn.PReLU(), _bare(width, width), nn.PReLU(), Blur()),
            nn.Conv2d(width, 2 * width, 1, bias=False),
        )
        self.shortcut = nn.Sequential(Blur(), nn.Conv2d(width, 2 * width, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)  # type: ignore[no-any-return]


class Up(nn.Module):
    """(B, C, h, w) -> (B, C/2, 2h, 2w): convolutions, one of them transposed, and a bilinear shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(width, width, 1, bias=False), nn.PReLU()),
            *(nn.ConvTranspose2d(width, width, 3, 2, padding=1, output_padding=1, bias=False), nn.PReLU()),
            nn.Conv2d(width, width // 2, 1, bias=False),
        )
        self.shortcut = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(width, width // 2, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)  # type: ignore[no-any-return]


class Blur(nn.Module):
    """Half the size by a binomial filter of 3 px (Zhang, Making Convolutional Networks Shift-Invariant Again, 2019)."""

    def __init__(self) -> None:
        super().__init__()
        side = torch.tensor([0.25, 0.5, 0.25], device="cpu")  # a value, even where a network is built without them
        self.register_buffer("kernel", (side[:, None] * side)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.kernel, Tensor)
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, 3, 3)
        return functional.conv2d(functional.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=channels)


def _way(source: int, target: int) -> str:
    return f"from{source}to{target}"


def _move(width: int, source: int, target: int) -> nn.Sequential:
    """From the size and channels of one level of `Scales` to those of another."""
    if target > source:
        return nn.Sequential(*(Down(width << level) for level in range(source, target)))
    return nn.Sequential(*(Up(width << level) for level in range(source, target, -1)))


def _scale(width: int, hidden: int, bias: bool = True) -> nn.Sequential:
    """Channel attention: (B, C, h, w) -> (B, C, 1, 1) in [0, 1]."""
    return nn.Sequential(
        *(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, hidden, 1, bias=bias), nn.ReLU()),
        *(nn.Conv2d(hidden, width, 1, bias=bias), nn.Sigmoid()),
    )


def _chain(inputs: int, width: int, count: int) -> nn.Sequential:
    sizes = [inputs] + [width] * count
    return nn.Sequential(*(layer for pair in pairwise(sizes) for layer in _rectified(*pair)))


def _leaky_twice(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(_conv(inputs, width), nn.LeakyReLU(0.2), _conv(width, width), nn.LeakyReLU(0.2))


def _rectified(inputs: int, width: int, dilation: int = 1) -> tuple[nn.Module, nn.Module]:
    return _conv(inputs, width, dilation), nn.ReLU()


def _conv(inputs: int, width: int, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, width, 3, padding=dilation, dilation=dilation)


def _bare(inputs: int, width: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, width, 3, padding=1, bias=False)
