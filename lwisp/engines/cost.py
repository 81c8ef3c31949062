"""Cost of a network: parameters, operations (by the convention of the paper's Table 3, and plain), time."""

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lwisp.baselines import Architecture, BaselineConfig, build
from lwisp.engines.torch import channels_last
from lwisp.model import LWISPConfig, count_params

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


TABLE_3_SIZES = ((224, 224), (960, 960), (1440, 1984))
TABLE_3: tuple[tuple[str, Architecture, str, tuple[str, str, str], str], ...] = (
    ("SPADE", BaselineConfig("spade"), "97,480,899", ("191.31 G", "3.16 T", "10.89 T"),
     "the size with COCO-Stuff's 184 label channels, the operations those of a 256x256 picture of it (191.36 G), and "
     "10.89 T is 191.31 G scaled by area from 224x224; here with the four planes"),
    ("PyNET", BaselineConfig("pynet"), "47,554,738", ("342.698 G", "5.72 T", "19.513 T"),
     "5.72 T does not scale with area from the row's own 342.698 G; counted it is 6.294 T"),
    ("LW-ISP, printed as w/o FGAM", LWISPConfig(ccb=False), "1,660,777", ("3.441 G", "63.198 G", "195.914 G"),
     "mislabeled: these are the counts of FGAM without CCB; the 21.40 dB beside them are Table 5's CCB without FGAM"),
    ("LW-ISP without FGAM", LWISPConfig(fgam=False), "not printed", ("not printed",) * 3,
     "what the row above is called"),
    ("LW-ISP with FGAM", LWISPConfig(), "2,014,681", ("4.234 G", "69.198 G", "211.914 G"),
     "misprints: 69.198 = 63.198 + 6 and 211.914 = 195.914 + 16, sums with the row without CCB"),
)  # fmt: skip
"""Label, network, and what the paper prints of it: parameters, operations at `TABLE_3_SIZES`; what is odd about it."""


def table3() -> str:
    """The paper's Table 3 as a page of Markdown: counted here, as the paper counts and plainly, beside its figures."""
    lines = [
        "# Table 3: parameters and operations",
        "",
        "Packed RAW of (height, width). *Counted*: by the paper's convention, thop 0.0.31's (`count_macs`). "
        "*Multiply-adds*: of convolutions and products alone (`count_multiply_adds`). *Printed*: in the paper, not "
        "measured here.",
        "",
        "| network | size | parameters | printed | counted | printed | multiply-adds |",
        "|---|---|---|---|---|---|---|",
    ]
    for label, architecture, printed_params, printed, _ in TABLE_3:
        with torch.device("meta"):
            network = build(architecture)
        for (height, width), figure in zip(TABLE_3_SIZES, printed, strict=True):
            shape = (1, 4, height, width)
            counted = f"{count_macs(network, shape) / 1e9:,.3f} G"
            plain = f"{count_multiply_adds(network, shape) / 1e9:,.3f} G"
            params = f"{count_params(network):,} | {printed_params}"
            lines.append(f"| {label} | {height}x{width} | {params} | {counted} | {figure} | {plain} |")
    lines += ["", *(f"- {label}: {note}." for label, _, _, _, note in TABLE_3), ""]
    return "\n".join(lines)
