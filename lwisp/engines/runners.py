"""Runners: one network in one back end, its modules called by name. Names and inputs are those of `structures`."""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from lwisp.engines import backends, contract
from lwisp.engines.backends import BACKENDS
from lwisp.engines.contract import Array
from lwisp.engines.exported import Exported
from lwisp.engines.names import Computed, Name
from lwisp.engines.runner import BEFORE, DEVELOPED, Call, Runner
from lwisp.engines.stored import Stored
from lwisp.engines.structures import fill, structure
from lwisp.imaging.pixels import to_integer

if TYPE_CHECKING:
    from lwisp.baselines.build import Baseline
    from lwisp.model import LWISP

Network = Union["LWISP", "Baseline", Stored, Exported]
"""What an engine runs; each has a `config` with its channels, scale, size needs and what it takes."""
KEPT_SMALL = 32
"""Compiled steps before the network, and vectors between stages, that are kept: those of some widths of a RAW."""


class CompiledRunner(Runner):
    """A back end that compiles ONNX."""

    def __init__(self, network: Stored, backend: Name, precision: Computed, threads: int | None) -> None:
        super().__init__(backend, precision, threads, network.config)
        self.network = network
        self._kept: OrderedDict[tuple[object, ...], tuple[int, contract.Compiled]] = OrderedDict()
        self._keeping = threading.Lock()
        self._compiling: dict[tuple[object, ...], threading.Lock] = {}

    @contextlib.contextmanager
    def caller(self, kept_bytes: int) -> Iterator[Call]:
        current: tuple[tuple[object, ...], contract.Call] | None = None
        with contextlib.ExitStack() as borrowed:

            def call(name: str, *inputs: Array) -> list[Array]:
                nonlocal current
                shapes = [values.shape for values in inputs]
                key = self._key(name, shapes)
                if current is None or current[0] != key:
                    current = None
                    borrowed.close()  # the memory of one stage is free before the next takes its own
                    current = key, borrowed.enter_context(self._get(key, name, shapes, kept_bytes).borrow())
                return current[1](*inputs)

            yield call

    def prepare(self, name: str, shape: tuple[int, ...], kept_bytes: int) -> None:
        self._get(self._key(name, [shape]), name, [shape], kept_bytes)

    def _key(self, name: str, shapes: list[tuple[int, ...]]) -> tuple[object, ...]:
        return (name,) if BACKENDS[self.backend].any_size else (name, *shapes)

    def _get(
        self, key: tuple[object, ...], name: str, shapes: list[tuple[int, ...]], kept_bytes: int
    ) -> contract.Compiled:
        """A compiled module, compiled if need be; those not used for longest go where it needs their place."""
        with self._keeping:
            alone = self._compiling.setdefault(key, threading.Lock())
        with alone:  # other modules may be compiled meanwhile
            with self._keeping:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key][1]
            before = name.startswith(BEFORE)
            size = 0 if before or len(shapes[0]) < 4 else self.bytes_per_pixel * shapes[0][-2] * shapes[0][-1]
            with self._keeping:
                self._make_room(size, kept_bytes)
            bf16 = self.precision == "bf16" and not before
            model = fill(structure(None if before else self.network.config, name), self.network.tensors)
            found = backends.compile_model(self.backend, model, shapes, bf16, self.threads)
            with self._keeping:
                self._kept[key] = size, found
            return found

    def _make_room(self, size: int, kept_bytes: int) -> None:
        """Let those go that were not used for longest; small ones make no room for large ones, nor large for small."""
        large = [key for key, (taken, _) in self._kept.items() if taken]
        small = [key for key, (taken, _) in self._kept.items() if not taken]
        while size and large and sum(taken for taken, _ in self._kept.values()) + size > kept_bytes:
            del self._kept[large.pop(0)]
        while not size and len(small) >= KEPT_SMALL:
            del self._kept[small.pop(0)]

    def forget(self) -> None:
        with self._keeping:
            self._kept.clear()


class ExportedRunner(Runner):
    """The engine of an exported file, the only one that runs it; whole pictures alone."""

    def __init__(self, network: Exported, precision: Computed, threads: int | None) -> None:
        runtime = network.program.runtime
        super().__init__(runtime, precision, threads, network.config)
        self.network = network
        compiles = BACKENDS[runtime].compile is not None
        self.before = make_runner(Stored(network.config, {}), runtime if compiles else "torch", "fp32", threads)
        """Computes the steps before the network."""

    @contextlib.contextmanager
    def caller(self, kept_bytes: int) -> Iterator[Call]:
        with self.before.caller(kept_bytes) as before:

            def call(name: str, *inputs: Array) -> list[Array]:
                if name.startswith(BEFORE):
                    return before(name, *inputs)
                if name == DEVELOPED:
                    return self.network.develop(inputs, self.threads)
                values = self.network(inputs[0], self.precision, self.threads)[0]
                picture = np.ascontiguousarray(values.transpose(1, 2, 0))
                with np.errstate(invalid="ignore"):  # whoever calls looks at the sum
                    total = picture.sum()
                    if not name.endswith("float32"):
                        picture = to_integer(picture, 8 if name.endswith("uint8") else 16)
                return [picture, total]

            yield call


def make_runner(network: Network, backend: Name, precision: Computed, threads: int | None) -> Runner:
    """A runner of a network.

    Args:
        network: LW-ISP, a baseline, a network as a file holds it, or an exported file, which only its own back end
            runs.
        backend: One that can run it.
        precision: One that the back end computes in.
        threads: Threads of the back end; `threads.default_threads` if not given.
    """
    if isinstance(network, Exported):
        return ExportedRunner(network, precision, threads)
    if BACKENDS[backend].compile is None:
        from lwisp.engines.eager_runner import EagerRunner

        return EagerRunner(network, precision, threads)
    return CompiledRunner(as_stored(network), backend, precision, threads)


def as_stored(network: Union["LWISP", "Baseline", Stored]) -> Stored:
    """A network's architecture and tensors, as they are now, but for integers: what batch normalization counts.

    Args:
        network: A network of torch, or one that is stored already. Its integers are left out: batch normalization
            counts batches, which no pass uses.
    """
    if isinstance(network, Stored):
        return network
    tensors: Mapping[str, Any] = network.state_dict()
    floats = {name: values.detach() for name, values in tensors.items() if values.is_floating_point()}
    return Stored(network.config, {name: values.cpu().float().numpy().copy() for name, values in floats.items()})
