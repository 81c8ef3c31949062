"""torch itself: runs every network, on the processor or a GPU."""

from typing import TypeVar

import torch
from torch import nn

from lwisp.engines.contract import BackEnd

N = TypeVar("N", bound=nn.Module)

TORCH = BackEnd("torch", package="torch", bytes_per_pixel={"fp32": 330, "bf16": 200}, own_threads=False)


def device() -> str:
    """Where torch runs networks: "cuda" if there is a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def has_bf16(device: str) -> bool:
    """Whether a device has instructions for bf16; emulated bf16 is slower than fp32.

    Args:
        device: "cpu" or "cuda".

    Returns:
        True only where bf16 pays.
    """
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))


def channels_last(network: N) -> N:
    """The same network, its weights laid out in place as the processor's convolutions like them best (NHWC)."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
