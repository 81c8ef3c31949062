"""Running a network on a whole picture: precision, memory."""

import copy
import os
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from lwisp.baselines import Baseline
from lwisp.errors import InputError
from lwisp.model import LWISP

Precision = Literal["auto", "fp32", "bf16"]
N = TypeVar("N", bound=nn.Module)

BYTES_PER_PIXEL = {"fp32": 330, "bf16": 200}
"""Peak memory of a whole picture in LW-ISP, per output pixel, above the process's own; at 12 MP, rounded up."""


def run(network: LWISP | Baseline, planes: Tensor, precision: Precision = "auto") -> Tensor:
    """Planes (4, h, w) -> RGB (3, H, W) in [0, 1], float32, the whole picture at once.

    "auto" takes bf16 where the processor computes in it, fp32 elsewhere. The output layer stays in fp32, which
    costs less than it saves in error. Raises `InputError` before work begins where memory cannot hold the picture.
    """
    if precision == "auto":
        precision = "bf16" if has_bf16() else "fp32"
    height, width = (side * network.config.scale for side in planes.shape[-2:])
    needed, free = height * width * BYTES_PER_PIXEL[precision], free_memory()
    if needed > free:
        raise InputError(
            f"a picture of {height}x{width} needs about {needed / 1e9:.1f} GB in {precision}, {free / 1e9:.1f} GB are "
            "free; free some memory"
        )
    if precision == "bf16":
        network = copy.deepcopy(network).bfloat16()
        if isinstance(network, LWISP):
            network.out.float()
    network = channels_last(network)
    with torch.inference_mode():
        batch = planes[None].to(next(network.parameters()).dtype).contiguous(memory_format=torch.channels_last)
        return network(batch)[0].float()  # type: ignore[no-any-return]


def channels_last(network: N) -> N:
    """The network with its weights laid out as the processor's convolutions like them best; changed in place."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def has_bf16() -> bool:
    """Whether this processor has instructions for bf16; without them it is slower than fp32."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))


def free_memory() -> int:
    """Bytes that a process could take without swapping, as far as the system tells."""
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux: assume half of what is installed
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 if hasattr(os, "sysconf") else 4 << 30
