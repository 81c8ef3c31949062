"""Engines that are kept for the next picture of the same weights."""

import threading
import weakref
from collections import OrderedDict
from typing import Protocol

from lwisp.engines import engine
from lwisp.engines.engine import Engine
from lwisp.engines.exported import Exported
from lwisp.engines.names import Backend, Precision
from lwisp.engines.runners import Network
from lwisp.engines.stored import Stored
from lwisp.engines.threads import default_threads

KEPT_ENGINES = 2
"""Engines that are kept for one `Weights`; the one not used for longest goes."""


class _Shelf:
    """The engines that are kept for one `Weights`, by what they were asked for with; the last one used comes last."""

    def __init__(self, network: Network) -> None:
        self.network = network
        modules = [] if isinstance(network, Stored | Exported) else list(network.modules())
        # held by their dicts, for to walk through a network takes a millisecond
        self._parts = [module._modules for module in modules if module._modules]
        self._tensors = [part for module in modules for part in (module._parameters, module._buffers) if part]
        self.before = self.state()
        self._held = [list(part.values()) for part in (*self._parts, *self._tensors)]  # so that no `id` is given again
        self.engines: OrderedDict[tuple[object, ...], Engine] = OrderedDict()

    def state(self) -> tuple[object, ...]:
        """Which modules and tensors the network consists of, and how often each tensor was changed in place."""
        tensors = [tensor for part in self._tensors for tensor in part.values() if tensor is not None]
        versions = [0 if tensor.is_inference() else tensor._version for tensor in tensors]
        return [id(module) for part in self._parts for module in part.values()], list(map(id, tensors)), versions


_shelves: dict[int, _Shelf] = {}
"""By the `id` of a `Weights`, forgotten with it; an engine does not hold the `Weights`, only the network."""
_preparing = threading.Lock()


class Holder(Protocol):
    """Anything with a network to run, as `weights.Weights`."""

    @property
    def runnable(self) -> Network:
        """The network, or what its file holds where it was not built."""


def cached_engine(
    weights: Holder,
    backend: Backend = "auto",
    precision: Precision = "auto",
    memory: float | None = None,
    passes: int = 1,
) -> Engine:
    """The engine that `prepare_engine` makes, kept for the next call with the same object.

    It is made anew where arguments differ, where torch has another number of threads, and where the network's tensors
    were changed in place or replaced since (except through `.data`, which torch does not count). It goes with the
    object.

    Args:
        weights: What has the network; any object that can be weakly referenced.
        backend: As for `prepare_engine`, like the other arguments.
        precision: Likewise.
        memory: Likewise, in GB.
        passes: Likewise.

    Returns:
        An engine that other threads may be using.

    Raises:
        InputError: As `prepare_engine`.
    """
    engine.check_request(backend, precision, memory, passes)  # True and 1 are one key
    key = (backend, precision, memory, passes, default_threads())
    with _preparing:
        shelf = _shelves.get(id(weights))
        if shelf is None:
            weakref.finalize(weights, _shelves.pop, id(weights), None).atexit = False
        if shelf is None or shelf.network is not weights.runnable or shelf.state() != shelf.before:
            shelf = _shelves[id(weights)] = _Shelf(weights.runnable)
        if key in shelf.engines:
            shelf.engines.move_to_end(key)
            return shelf.engines[key]
        while len(shelf.engines) >= KEPT_ENGINES:
            shelf.engines.popitem(last=False)
        shelf.engines[key] = engine.prepare_engine(weights.runnable, backend, precision, memory, passes)
        return shelf.engines[key]
