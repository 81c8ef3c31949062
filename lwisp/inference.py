"""Running a network on a whole picture: back ends, precision, memory."""

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from lwisp.baselines import Baseline
from lwisp.errors import InputError
from lwisp.model import LWISP
from lwisp.runtimes import Exported, Runtime

Backend = Literal["auto", "torch", "openvino", "onnxruntime"]
Precision = Literal["auto", "fp32", "bf16"]
N = TypeVar("N", bound=nn.Module)

BYTES_PER_PIXEL = {"fp32": 330, "bf16": 200}
"""Peak memory of a whole picture in LW-ISP, per output pixel, above the process's own; at 12 MP, rounded up."""


@dataclass(frozen=True)
class Engine:
    """A network made ready by `prepare`: planes (C, h, w) float32 -> RGB (3, H, W) float32 in [0, 1]."""

    backend: Literal["torch"] | Runtime
    precision: Literal["fp32", "bf16"]
    description: str
    """What was chosen and why, in one line."""
    forward: Callable[[Tensor], Tensor]
    """What `__call__` does."""

    def __call__(self, planes: Tensor) -> Tensor:
        """Raises `InputError` before work begins where memory cannot hold the picture."""
        return self.forward(planes)


def prepare(
    network: LWISP | Baseline | Exported,
    backend: Backend = "auto",
    precision: Precision = "auto",
    memory: float | None = None,
) -> Engine:
    """Make a network ready to run on pictures, any number of them; the network itself is left as it is.

    "auto" takes the fastest back end that is installed and serves the network, and bf16 where the processor computes
    in it, fp32 elsewhere. `memory` bounds the whole process, in GB; without it a picture may take what is free.
    Raises `InputError` for a back end asked for by name that is not installed, or cannot run this network.
    """
    if isinstance(network, Exported):
        return _exported_engine(network, backend, precision)
    if backend in ("openvino", "onnxruntime"):
        raise InputError(f"the back end {backend} is not there yet; use torch")
    if precision == "auto":
        precision = "bf16" if has_bf16() else "fp32"
    network = copy.deepcopy(network)
    if precision == "bf16":
        network = network.bfloat16()
        if isinstance(network, LWISP):
            network.out.float()  # costs less than it saves in error
    network = channels_last(network)

    def forward(planes: Tensor) -> Tensor:
        height, width = (side * network.config.scale for side in planes.shape[-2:])
        needed, free = height * width * BYTES_PER_PIXEL[precision], free_memory()
        if needed > free:
            raise InputError(
                f"a picture of {height}x{width} needs about {needed / 1e9:.1f} GB in {precision}, {free / 1e9:.1f} GB "
                "are free; free some memory"
            )
        with torch.inference_mode():
            batch = planes[None].to(next(network.parameters()).dtype).contiguous(memory_format=torch.channels_last)
            return network(batch)[0].float()  # type: ignore[no-any-return]

    return Engine("torch", precision, f"torch in {precision}", forward)


def run(
    network: LWISP | Baseline | Exported,
    planes: Tensor,
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: float | None = None,
) -> Tensor:
    """Planes (C, h, w) -> RGB (3, H, W) in [0, 1], float32: `prepare` and the engine's call in one."""
    return prepare(network, backend, precision, memory)(planes)


def _exported_engine(network: Exported, backend: Backend, precision: Precision) -> Engine:
    runtime = network.program.runtime
    if backend not in ("auto", runtime):
        raise InputError(f"these weights are a file for {runtime}; leave the back end to it, or export for {backend}")
    if runtime != "openvino":
        if precision == "bf16":
            raise InputError(f"{runtime} computes in the precision of the file; leave out bf16")
        precision = "fp32"
    elif precision == "auto":
        precision = "bf16" if has_bf16() else "fp32"

    def forward(planes: Tensor) -> Tensor:
        with torch.inference_mode():
            return network(planes[None].float(), precision)[0]  # type: ignore[no-any-return]

    return Engine(runtime, precision, f"{runtime} in {precision}, which the weights are a file for", forward)


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
