"""Runners: one network in one back end, its modules called by name.

The modules are "whole" and, for networks that can be run by windows, the stages of `tiles`.
"""

import contextlib
import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lwisp.baselines.build import Baseline
from lwisp.engines import backends, contract, tiles
from lwisp.engines.backends import BACKENDS
from lwisp.engines.exported import Exported
from lwisp.engines.names import Computed, Name
from lwisp.engines.torch import channels_last, device
from lwisp.model import LWISP

Network = LWISP | Baseline | Exported
"""What an engine runs; each has a `config` with its channels, scale, size needs and what it takes."""
Call = Callable[..., Tensor]
"""(name of a module, its inputs) -> its output, which the next call may overwrite."""
AT_ONCE = 4
"""Pictures that an engine works on at one time where memory holds them; other threads wait."""


class Runner:
    """A network in a back end, for any number of threads; it changes only what it keeps compiled."""

    device = "cpu"
    at_once = AT_ONCE
    packed = False
    """Whether outputs are those of `tiles.PackedTail`."""

    def __init__(self, backend: Name, precision: Computed, threads: int | None) -> None:
        self.backend = backend
        self.precision = precision
        self.threads = threads
        self.bytes_per_pixel = BACKENDS[backend].bytes_per_pixel[precision] * 4
        """Of the planes; what lies behind them is smaller."""

    def caller(self, kept_bytes: int) -> contextlib.AbstractContextManager[Call]:
        """A function for one thread that runs modules by name.

        Args:
            kept_bytes: Memory for compiled modules of other sizes that are kept for the next call.
        """
        raise NotImplementedError

    def forget(self) -> None:
        """Free what is compiled."""


class EagerRunner(Runner):
    """torch, on a GPU if there is one."""

    def __init__(self, network: LWISP | Baseline, precision: Computed, threads: int | None) -> None:
        super().__init__("torch", precision, threads)
        self.device = device()
        if self.device == "cuda":
            self.at_once = 1  # its memory is not that which is looked at
        network = channels_last(copy.deepcopy(network)).to(self.device)
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        if precision == "bf16":
            network = network.bfloat16()
            if isinstance(network, LWISP):
                network.out.float()  # costs less than it saves in error
                network.look.float()
        self.modules, self.packed = _split(network, pack=False)

    @contextlib.contextmanager
    def caller(self, kept_bytes: int) -> Iterator[Call]:
        yield self._call

    def _call(self, name: str, *inputs: Tensor) -> Tensor:
        placed = [tensor.to(self.device, self.dtype).contiguous(memory_format=_layout(tensor)) for tensor in inputs]
        return self.modules[name](*placed).to("cpu")  # type: ignore[no-any-return]


class CompiledRunner(Runner):
    """A back end that compiles, with modules compiled for one size each."""

    def __init__(self, network: LWISP | Baseline, backend: Name, precision: Computed, threads: int | None) -> None:
        super().__init__(backend, precision, threads)
        self.modules, self.packed = _split(network, pack=precision in BACKENDS[backend].packs_tail)
        self._kept: OrderedDict[tuple[object, ...], tuple[int, contract.Compiled]] = OrderedDict()
        self._compiling = threading.Lock()

    @contextlib.contextmanager
    def caller(self, kept_bytes: int) -> Iterator[Call]:
        current: tuple[tuple[object, ...], contract.Call] | None = None
        with contextlib.ExitStack() as borrowed:

            def call(name: str, *inputs: Tensor) -> Tensor:
                nonlocal current
                key = (name, *(tuple(tensor.shape) for tensor in inputs))
                if current is None or current[0] != key:
                    current = None
                    borrowed.close()  # the memory of one stage is free before the next takes its own
                    current = key, borrowed.enter_context(self._get(key, inputs, kept_bytes).borrow())
                return current[1](*inputs)

            yield call

    def _get(self, key: tuple[Any, ...], inputs: tuple[Tensor, ...], kept_bytes: int) -> contract.Compiled:
        """A compiled module, compiled if need be; those not used for longest go where it needs their place."""
        with self._compiling:
            found = self._kept.pop(key, None)
            if found is None:
                size = self.bytes_per_pixel * inputs[0].shape[-2] * inputs[0].shape[-1]
                while self._kept and sum(size for size, _ in self._kept.values()) + size > kept_bytes:
                    self._kept.popitem(last=False)
                module, bf16 = self.modules[key[0]], self.precision == "bf16"
                found = size, backends.compile_module(self.backend, module, inputs, bf16, self.threads)
            self._kept[key] = found
            return found[1]

    def forget(self) -> None:
        with self._compiling:
            self._kept.clear()


class ExportedRunner(Runner):
    """The engine of an exported file, the only one that runs it; whole pictures alone."""

    def __init__(self, network: Exported, precision: Computed, threads: int | None) -> None:
        super().__init__(network.program.runtime, precision, threads)
        self.network = network

    @contextlib.contextmanager
    def caller(self, kept_bytes: int) -> Iterator[Call]:
        yield self._call

    def _call(self, name: str, *inputs: Tensor) -> Tensor:
        return self.network(*inputs, self.precision, self.threads)  # type: ignore[no-any-return]


def make_runner(network: Network, backend: Name, precision: Computed, threads: int | None) -> Runner:
    """A runner of a network.

    Args:
        network: LW-ISP, a baseline, or an exported file, which only its own back end runs.
        backend: One that can run it.
        precision: One that the back end computes in.
        threads: Threads of the back end; as many as torch uses if not given.
    """
    if isinstance(network, Exported):
        return ExportedRunner(network, precision, threads)
    if BACKENDS[backend].compile is None:
        return EagerRunner(network, precision, threads)
    return CompiledRunner(network, backend, precision, threads)


def _split(network: LWISP | Baseline, pack: bool) -> tuple[dict[str, nn.Module], bool]:
    """The modules that a back end runs, by name, and whether their output is packed."""
    if not isinstance(network, LWISP):
        return {"whole": network}, False
    tail: tiles.Tail | tiles.PackedTail
    tail = tiles.PackedTail(network) if pack and tiles.can_pack_tail(network) else tiles.Tail(network)
    if tiles.can_tile(network):
        return tiles.split(network, tail), tail.packed
    return {"whole": tiles.Whole(network, tail)}, tail.packed


def _layout(tensor: Tensor) -> torch.memory_format:
    return torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
