"""torch runs networks: modules as they are, on the processor or a GPU."""

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwisp.baselines.build import Baseline, build
from lwisp.baselines.config import Architecture, OwnConfig
from lwisp.engines.contract import Array
from lwisp.engines.modules import make_module
from lwisp.engines.stored import Stored
from lwisp.model import LWISP

N = TypeVar("N", bound=nn.Module)


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


def build_stored(stored: Stored) -> LWISP | Baseline:
    """The network that a file holds.

    Args:
        stored: Its architecture and tensors.

    Returns:
        The network, float32 and in evaluation mode.

    Raises:
        ValueError, TypeError, RuntimeError: The tensors do not fit.
    """
    tensors = {name: torch.from_numpy(values.astype(np.float32)) for name, values in stored.tensors.items()}
    if isinstance(stored.config, OwnConfig):
        return _build_own(stored.config, tensors)
    with torch.device("meta"):  # a hostile card cannot make this large
        network = build(stored.config)
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def _build_own(config: OwnConfig, tensors: dict[str, Tensor]) -> Baseline:
    """A network that is not of this package, which may have made tensors that no file holds, or of integers."""
    with torch.random.fork_rng(devices=[]):
        network = Baseline(config)
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    floats = {name for name, value in network.state_dict().items() if value.is_floating_point()}
    if unexpected or floats.intersection(missing):
        raise ValueError(
            f"tensors that are missing or too many: {sorted({*unexpected, *floats.intersection(missing)})}"
        )
    return network.eval()


def shapes_of(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that a file of weights holds, by name.

    Args:
        architecture: That of the network.
    """
    own = isinstance(architecture, OwnConfig)  # whose class may not be made for meta
    with torch.device("cpu" if own else "meta"):  # a hostile card cannot make this large
        network = build(architecture)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items() if tensor.is_floating_point()}


class EagerSteps:
    """The steps before a network, computed by torch on the processor."""

    def before(self, name: str, *inputs: Array) -> Array:
        """A module of `structures`.

        Args:
            name: "light-bm" or the like, or "gain".
            inputs: Of that module.

        Returns:
            Its output.
        """
        with torch.inference_mode():
            output: Tensor = make_module(None, name)(*(torch.from_numpy(as_float(values)) for values in inputs))
        return output.numpy()


def as_float(values: Array) -> NDArray[np.float32]:
    """Photosites, levels and the like in float32."""
    return np.asarray(values, np.float32)
