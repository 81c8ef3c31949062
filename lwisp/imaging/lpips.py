"""LPIPS, the learned perceptual distance of Zhang et al. (CVPR 2018), version 0.1 on AlexNet, without torchvision.

The weights are those of the authors (`NOTICE.md`); the three last convolutions are stored in float16, which moves no
score by more than 2e-5 (all in float16: 3e-4).
"""

from functools import cache
from importlib import resources

import torch
from safetensors.torch import load as from_safetensors
from torch import Tensor
from torch.nn import functional

LAYERS = ((0, 4, 2, False), (3, 1, 2, True), (6, 1, 1, True), (8, 1, 1, False), (10, 1, 1, False))
"""AlexNet's convolutions: torchvision's index, stride, padding, and whether a 3x3 maximum of stride 2 comes before."""
SHIFT = (-0.030, -0.088, -0.188)
"""Mean of RGB in [-1, 1] over ImageNet, as the authors state it."""
SCALE = (0.458, 0.448, 0.450)
"""Its standard deviation."""
SMALLEST_SIDE = 31
"""px that two poolings of stride 2 need."""


def lpips(rgb: Tensor, target: Tensor) -> float:
    """Perceptual distance of two pictures; 0 for equal ones. Computed in float32.

    The authors' check: their two example pairs score 0.722 and 0.138.

    Args:
        rgb: (3, H, W) sRGB in [0, 1], sides from 31 px up.
        target: of the same shape and range.

    Raises:
        ValueError: for different or too small shapes.
    """
    if rgb.shape != target.shape or rgb.ndim != 3 or rgb.shape[0] != 3:
        raise ValueError(f"expected two pictures (3, H, W) of one size, got {tuple(rgb.shape)}, {tuple(target.shape)}")
    if min(rgb.shape[-2:]) < SMALLEST_SIDE:
        raise ValueError(f"expected at least {SMALLEST_SIDE} px a side, got {tuple(rgb.shape[-2:])}")
    weights = _weights()
    shift = torch.tensor(SHIFT)[:, None, None]
    scale = torch.tensor(SCALE)[:, None, None]
    x = (2 * torch.stack([rgb, target]).float() - 1 - shift) / scale  # (2, 3, H, W)
    distance = 0.0
    with torch.inference_mode():
        for number, (index, stride, padding, pooled) in enumerate(LAYERS):
            if pooled:
                x = functional.max_pool2d(x, 3, 2)
            name = f"features.{index}"
            x = functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, padding).relu()
            first, second = x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
            difference = (first - second).square().mean((1, 2))
            distance += float((weights[f"lin{number}.model.1.weight"].flatten() * difference).sum())
    return distance


@cache
def _weights() -> dict[str, Tensor]:
    content = (resources.files("lwisp") / "assets" / "lpips_alex.safetensors").read_bytes()
    return {name: tensor.float() for name, tensor in from_safetensors(content).items()}
