"""torch runs networks: modules as they are, on the processor or a GPU."""

import contextlib
import copy
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwisp.baselines.build import Baseline, build
from lwisp.baselines.config import Architecture
from lwisp.engines.contract import Array
from lwisp.engines.engine import prepare_engine
from lwisp.engines.exported import Exported
from lwisp.engines.modules import make_module
from lwisp.engines.names import Backend, Computed, Precision
from lwisp.engines.runners import Call, Runner
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
    with torch.device("meta"):  # a hostile card cannot make this large
        network = build(stored.config)
    tensors = {name: torch.from_numpy(values.astype(np.float32)) for name, values in stored.tensors.items()}
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def shapes_of(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that a file of weights holds, by name.

    Args:
        architecture: That of the network.
    """
    with torch.device("meta"):  # a hostile card cannot make this large
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
            output: Tensor = make_module(None, name)(*(torch.from_numpy(_as_float(values)) for values in inputs))
        return output.numpy()


def _round(_: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    """The first layer's input in bf16: planes that a residual is added to come in float32."""
    return inputs[0].bfloat16()


def _as_float(values: Array) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


class EagerRunner(Runner):
    """torch, on a GPU if there is one."""

    def __init__(self, network: LWISP | Baseline | Stored, precision: Computed, threads: int | None) -> None:
        super().__init__("torch", precision, threads, network.config)
        self.device = device()
        if self.device == "cuda":
            self.at_once = 1  # its memory is not that which is looked at
        if isinstance(network, Stored):
            network = build_stored(network) if network.tensors else build(network.config)  # only the steps before it
        network = channels_last(copy.deepcopy(network).eval()).to(self.device)
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        if precision == "bf16":
            network = network.bfloat16()
            if isinstance(network, LWISP):
                network.out.float()  # costs less than it saves in error
                network.look.float()
                network.head.register_forward_pre_hook(_round)
        self.network = network
        self.residual = isinstance(network, LWISP) and network.config.residual

    @contextlib.contextmanager
    def caller(self, kept_bytes: int) -> Iterator[Call]:
        yield self._call

    def _call(self, name: str, *inputs: Array) -> list[Array]:
        before = name.startswith(("light", "gain"))
        module = make_module(None if before else self.network, name)
        with torch.inference_mode():
            # levels, colors and what a residual is added to in float32, always
            exact = len(inputs) if before else int(self.residual and name.startswith(("whole", "high", "p0")))
            placed = [self._place(values, index < exact) for index, values in enumerate(inputs)]
            outputs = module.to(self.device)(*placed)
        found = [outputs] if isinstance(outputs, Tensor) else outputs
        arrays = [
            output.float().cpu().numpy() if output.is_floating_point() else output.cpu().numpy() for output in found
        ]
        return [arrays[0].astype(np.uint16), *arrays[1:]] if name.endswith("uint16") else arrays

    def _place(self, values: Array, exact: bool) -> Tensor:
        tensor = torch.from_numpy(_as_float(values)).to(self.device)
        if not exact:
            tensor = tensor.to(self.dtype)
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def run_network(
    network: LWISP | Baseline | Exported,
    planes: Tensor,
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: float | None = None,
    passes: int = 1,
) -> Tensor:
    """Run a network on one picture: `prepare_engine` and the engine's call in one, for tensors.

    Args:
        network: As for `prepare_engine`, like the arguments after `planes`.
        planes: (C, h, w), finite.
        precision: Likewise.
        backend: Likewise.
        memory: Likewise, in GB.
        passes: Likewise.

    Returns:
        The picture (C, H, W), float32 in [0, 1].

    Raises:
        InputError: As `prepare_engine` and `Engine`.
    """
    engine = prepare_engine(network, backend, precision, memory, passes)
    return torch.from_numpy(engine(planes.float().numpy())).permute(2, 0, 1)
