"""What a network costs: parameters and operations, under the convention of the paper's Table 3."""

import copy

import torch
from torch import Tensor, nn

UPSAMPLE_OPERATIONS = {"nearest": 0, "bilinear": 11, "bicubic": 259}  # per output element


def count_macs(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Operations of one forward pass on planes of `shape` (B, C, h, w), counted as thop 0.0.31 counts them.

    One multiply-add is one operation. A convolution, transposed or not, costs its kernel and its bias for each output
    element, a linear layer its inputs for each output, batch normalization 2, LeakyReLU 1, bilinear upsampling 11 and
    bicubic 259 per output element, an adaptive average pool its sum and one division; everything else is free, other
    normalizations too. A module called twice counts twice, what is no module does not. Table 3's "FLOPS" are these;
    both LW-ISP rows come out to the printed digit. Nothing is computed: the pass runs on meta tensors, in evaluation.
    """
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            kernel = module.in_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
            total += output.numel() * (kernel + (module.bias is not None))
        elif isinstance(module, nn.Linear):
            total += output.numel() * module.in_features
        elif isinstance(module, nn.LeakyReLU):
            total += output.numel()
        elif isinstance(module, nn.Upsample):
            total += output.numel() * UPSAMPLE_OPERATIONS[module.mode]
        elif isinstance(module, nn.BatchNorm2d):
            total += 2 * output.numel()
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            height, width = (side // field for side, field in zip(inputs[0].shape[-2:], output.shape[-2:], strict=True))
            total += output.numel() * (height * width + 1)

    network = copy.deepcopy(network).to("meta").eval()
    for module in network.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.empty(shape, device="meta"))
    return total
