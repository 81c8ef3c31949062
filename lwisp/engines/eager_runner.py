"""torch as a runner of networks."""

import contextlib
import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from lwisp.baselines.build import Baseline, build
from lwisp.engines.contract import Array
from lwisp.engines.eager import as_float, build_stored, channels_last, device
from lwisp.engines.modules import make_module
from lwisp.engines.names import Computed
from lwisp.engines.runner import BEFORE, Call, Runner
from lwisp.engines.stored import Stored
from lwisp.model import LWISP


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
                if network.frame_colors is not None:
                    network.frame_colors.float()
                network.head.register_forward_pre_hook(_round)
        self.network = network
        self.residual = isinstance(network, LWISP) and network.config.residual

    @contextlib.contextmanager
    def caller(self, kept_bytes: int) -> Iterator[Call]:
        yield self._call

    def _call(self, name: str, *inputs: Array) -> list[Array]:
        before = name.startswith(BEFORE)
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
        tensor = torch.from_numpy(as_float(values)).to(self.device)
        if not exact:
            tensor = tensor.to(self.dtype)
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def _round(_: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    """The first layer's input in bf16: planes that a residual is added to come in float32."""
    return inputs[0].bfloat16()
