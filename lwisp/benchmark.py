"""What a network costs: parameters and operations, under the convention of the paper's Table 3."""

import copy

import torch
from torch import Tensor, nn

UPSAMPLE_OPERATIONS = 11  # per output element of a bilinear upsampling


def count_macs(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Operations of one forward pass on planes of `shape` (B, C, h, w), counted as thop 0.0.31 counts them.

    One multiply-add is one operation. A convolution costs its kernel and its bias for each output element, a linear
    layer its inputs for each output, LeakyReLU 1 and bilinear upsampling 11 per output element, an average pool its
    sum and one division; everything else is free. A module called twice counts twice. Table 3's "FLOPS" are these;
    both LW-ISP rows come out to the printed digit. Nothing is computed: the pass runs on meta tensors.
    """
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            kernel = module.in_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
            total += output.numel() * (kernel + (module.bias is not None))
        elif isinstance(module, nn.Linear):
            total += output.numel() * module.in_features
        elif isinstance(module, nn.LeakyReLU):
            total += output.numel()
        elif isinstance(module, nn.Upsample):
            total += output.numel() * UPSAMPLE_OPERATIONS
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            total += inputs[0].numel() + output.numel()

    network = copy.deepcopy(network).to("meta")
    for module in network.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.empty(shape, device="meta"))
    return total
