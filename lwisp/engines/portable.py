"""LW-ISP in operations that every converter knows, for exported files."""

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from lwisp.architecture import SIZE_MULTIPLE
from lwisp.engines.contract import Size
from lwisp.model import LWISP, ReflectConv2d

M = TypeVar("M", bound=nn.Module)


def portable(network: LWISP, slices: bool = True) -> nn.Module:
    """The network in operations that every converter knows: a copy with some parameter-free modules exchanged.

    Padding and cropping are left to the caller, means are taken in float32, and the global vector is spread by adding
    it to zeros, because LiteRT refuses to load what its converter makes of `expand_as`.

    Args:
        network: LW-ISP, which is left as it is.
        slices: Reflect borders by concatenating slices, which engines without a reflection of their own compute fast.

    Returns:
        A module in evaluation mode, equal to the network: planes (1, C, h, w) float32, h and w multiples of 16 from 32
        up -> (1, out_channels, H, W) float32 in [0, 1].
    """
    network = with_exact_means(network)
    network.pad = nn.Identity()
    network.crop = _Uncropped()
    network.spread = _SpreadByAdding()
    if slices:
        exchange(network, ReflectConv2d, _SlicedConv2d)
    return _Portable(network)


def with_exact_means(network: LWISP) -> LWISP:
    """A copy in evaluation mode that takes means in float32, whatever it is converted to.

    Args:
        network: LW-ISP, which is left as it is.
    """
    network = copy.deepcopy(network).eval()
    network.average = _Mean(keepdim=False)
    exchange(network, nn.AdaptiveAvgPool2d, lambda _: _Mean(keepdim=True))
    return network


def exchange(network: nn.Module, kind: type[M], make: Callable[[M], nn.Module]) -> None:
    """Put another module in the place of each module of a kind, in place.

    Args:
        network: What is changed.
        kind: Class of the modules that go.
        make: Old module -> the one that comes.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, kind):
                setattr(module, name, make(child))


class _Portable(nn.Module):
    """float32 in and out, whatever the weights are."""

    def __init__(self, network: LWISP) -> None:
        super().__init__()
        self.network = network

    def forward(self, planes: Tensor) -> Tensor:
        network = self.network
        seen = network.see(planes.to(network.out.weight.dtype))
        return network.finish(network.blocks_of(seen, ("up4",)), seen, (planes.shape[-2], planes.shape[-1])).float()


class _Uncropped(nn.Module):
    def forward(self, picture: Tensor, height: int, width: int) -> Tensor:
        return picture


class _SpreadByAdding(nn.Module):
    def forward(self, vector: Tensor, features: Tensor) -> Tensor:
        return vector[..., None, None] + 0 * features[:, :1]


class _Mean(nn.Module):
    def __init__(self, keepdim: bool) -> None:
        super().__init__()
        self.keepdim = keepdim

    def forward(self, x: Tensor) -> Tensor:
        return x.float().mean((-2, -1), keepdim=self.keepdim).to(x.dtype)


class _SlicedConv2d(nn.Module):
    """A convolution whose input is reflected as slices side by side."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias, self.dilation = convolution.weight, convolution.bias, convolution.dilation[0]

    def forward(self, x: Tensor) -> Tensor:
        reach = self.dilation * (self.weight.shape[-1] // 2)
        for dim in (-2, -1):
            before = [x.narrow(dim, at, 1) for at in range(reach, 0, -1)]
            after = [x.narrow(dim, x.shape[dim] - 1 - at, 1) for at in range(1, reach + 1)]
            x = torch.cat([*before, x, *after], dim)
        return functional.conv2d(x, self.weight, self.bias, dilation=self.dilation)


def example(network: LWISP, size: Size) -> Tensor:
    """Planes of zeros to trace a network with.

    Args:
        network: The network; its `in_channels` count.
        size: Height and width of the planes; None for a free size.

    Returns:
        (1, in_channels, *size) float32 zeros; (1, in_channels, 64, 96) for a free size.
    """
    return torch.zeros(1, network.config.in_channels, *(size or (4 * SIZE_MULTIPLE, 6 * SIZE_MULTIPLE)))
