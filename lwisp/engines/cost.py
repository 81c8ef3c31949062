"""Cost of a network: operations, as the paper's Table 3 counts them and as multiply-adds, and latency."""

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lwisp.engines.eager import channels_last

UPSAMPLE_OPERATIONS = {"nearest": 0, "bilinear": 11, "bicubic": 259}  # per output element


def count_macs(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Operations of one forward pass, counted as thop 0.0.31 counts them, the profiler of the paper's Table 3.

    One multiply-add is one operation. A convolution, transposed or not, costs its kernel and its bias for each output
    element, a linear layer its inputs for each output, batch normalization 2, LeakyReLU 1, bilinear upsampling 11 and
    bicubic 259 per output element, an adaptive average pool its sum and one division; everything else is free, other
    normalizations too. A module called twice counts twice, what is no module does not. Table 3's "FLOPS" are these;
    both LW-ISP rows come out to the printed digit. Nothing is computed: the pass runs on meta tensors, in evaluation.

    Args:
        network: Any network; it is copied.
        shape: Of its input, (B, C, h, w).
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
            height = inputs[0].shape[-2] // output.shape[-2]
            width = inputs[0].shape[-1] // output.shape[-1]
            total += output.numel() * (height * width + 1)

    network = copy.deepcopy(network).to("meta").eval()
    for module in network.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.empty(shape, device="meta"))
    return total


def count_multiply_adds(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-adds of the convolutions and matrix products in one forward pass, as torch counts them.

    Nothing else counts: no bias, no activation, no upsampling.

    Args:
        network: Any network; it is copied.
        shape: Of its input, (B, C, h, w).
    """
    network = copy.deepcopy(network).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.empty(shape, device="meta"))
    flops: int = counter.get_total_flops()
    return flops // 2


def measure_latency(networks: Sequence[nn.Module], shape: tuple[int, ...], rounds: int = 3) -> list[float]:
    """Median seconds of a forward pass of each network in fp32, run in turn, after a round to warm up.

    Args:
        networks: Networks of one input; they are set to evaluation and laid out channels last in place.
        shape: Of the input, (B, C, h, w).
        rounds: Passes of each network that count.
    """
    generator = torch.Generator().manual_seed(0)
    planes = torch.rand(shape, generator=generator).contiguous(memory_format=torch.channels_last)
    ready = [channels_last(network.eval()) for network in networks]
    with torch.inference_mode():
        seconds = time_in_turn([partial(network, planes) for network in ready], rounds)
    return [statistics.median(times) for times in seconds]


def time_in_turn(calls: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds of calls that take turns, so that other load on the machine hurts all alike.

    Args:
        calls: Functions to time.
        rounds: Rounds after one to warm up; in each every function is called once.

    Returns:
        Seconds of every round, for each call.
    """
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds + 1):
        for call, times in zip(calls, seconds, strict=True):
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
    return [times[1:] for times in seconds]
