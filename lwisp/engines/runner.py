"""What runs the modules of one network; `runners` has those of each kind of back end."""

import contextlib
from collections.abc import Callable

from lwisp.architecture import LWISPConfig
from lwisp.baselines.config import Architecture
from lwisp.engines.backends import BACKENDS
from lwisp.engines.contract import Array
from lwisp.engines.names import Computed, Name

Call = Callable[..., list[Array]]
"""(name of a module, its inputs) -> its outputs, which the next call may overwrite."""
AT_ONCE = 4
"""Pictures that an engine works on at one time where memory holds them; other threads wait."""
BEFORE = ("light", "colors", "gain", "expose", "linear", "encode")
"""Begin of the names of the steps before the network, which are computed in float32 whatever the network is in."""


DEVELOPED = "developed"
"""Name of the whole of an exported file that takes mosaics."""


class Runner:
    """A network in a back end, for any number of threads; it changes only what it keeps compiled."""

    device = "cpu"
    at_once = AT_ONCE

    def __init__(self, backend: Name, precision: Computed, threads: int | None, config: Architecture) -> None:
        self.backend = backend
        self.precision = precision
        self.threads = threads
        on_cells = isinstance(config, LWISPConfig) and config.cell == 4
        share = 0.6 if on_cells else 1.0  # measured
        self.bytes_per_pixel = round(BACKENDS[backend].bytes_per_pixel[precision] * config.scale**2 * share)
        """Of the planes; what lies behind them is smaller."""

    def caller(self, kept_bytes: int) -> contextlib.AbstractContextManager[Call]:
        """A function for one thread that runs modules by name.

        Args:
            kept_bytes: Memory for compiled modules of other sizes that are kept for the next call.
        """
        raise NotImplementedError

    def prepare(self, name: str, shape: tuple[int, ...], kept_bytes: int) -> None:
        """Compile a module of one input before it is called, where that takes time.

        Args:
            name: The module.
            shape: Of its input.
            kept_bytes: As for `caller`.

        Raises:
            CompileError: It cannot be compiled.
        """

    def forget(self) -> None:
        """Free what is compiled."""
