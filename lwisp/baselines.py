"""Networks that the paper compares with, by their published descriptions: packed RAW in, RGB of twice the size out."""

import torch
from torch import Tensor, nn


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
            Kernels(inputs, width, 3, normalized=level > 0)
            for level, (inputs, width) in enumerate(zip((4, *widths), widths, strict=False))
        )
        self.pool = nn.MaxPool2d(2)
        self.level5 = nn.Sequential(*(Kernels(512, 512, 3) for _ in range(3)))
        self.level4 = _blocks((512, 256, 3), (256, 256, 3), (256, 256, 3), (256, 256, 3), (512, 256, 3))
        self.level3 = _blocks((256, 128, 5), (256, 128, 5), (256, 128, 5), (256, 128, 5), (512, 128, 3))
        self.level2 = _blocks((128, 64, 5), *[(192, 64, 7)] * 4, (256, 64, 5), (192, 64, 3))
        self.level1 = _blocks((96, 32, 7), (96, 32, 9), *[(128, 32, 9)] * 3, (128, 32, 7), (128, 32, 5))
        self.level1.insert(0, Kernels(64, 32, 5, normalized=False))
        self.level1.append(Kernels(128, 32, 3, normalized=False))
        self.up, self.up_again = (nn.ModuleList(_up(width, width // 2) for width in widths[:0:-1]) for _ in range(2))
        self.out = nn.ModuleList(_convolution(width, 3, 3) for width in widths[::-1])
        self.last_up = _up(32, 16)
        self.last_out = _convolution(16, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.pictures(x)[-1]

    def pictures(self, x: Tensor, level: int = 0) -> list[Tensor]:
        """The pictures of the levels, from 5 (the coarsest, h/16) to `level`: 1 has the size h, 0 has 2h.

        They are trained one after the other. The authors' network makes all of them in every pass, as the operations of
        Table 3 include them (84 M of 342.698 G).
        """
        if level not in range(6):
            raise ValueError(f"expected a level of 0 to 5, got {level}")
        skips = []
        for index, down in enumerate(self.down):
            x = down(x if index == 0 else self.pool(x))
            skips.append(x)
        x = self.level5(x)
        made = [torch.sigmoid(self.out[0](x))]
        for number, work in enumerate((self._work4, self._work3, self._work2, self._work1)[: 5 - max(level, 1)]):
            x = work(skips[3 - number], self.up[number](x), self.up_again[number](x))
            made.append(torch.sigmoid(self.out[number + 1](x)))
        return made if level else [*made, torch.sigmoid(self.last_out(self.last_up(x)))]

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


def _blocks(*sizes: tuple[int, int, int]) -> nn.ModuleList:
    return nn.ModuleList(Kernels(*size) for size in sizes)


def _layer(inputs: int, width: int, size: int, normalized: bool) -> list[nn.Module]:
    norm = [nn.InstanceNorm2d(width, affine=True)] if normalized else []
    return [_convolution(inputs, width, size), *norm, nn.LeakyReLU(0.2)]


def _convolution(inputs: int, width: int, size: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, width, size, padding=size // 2, padding_mode="reflect")


def _up(inputs: int, width: int) -> nn.Sequential:
    grow = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    return nn.Sequential(grow, _convolution(inputs, width, 3), nn.LeakyReLU(0.2))
