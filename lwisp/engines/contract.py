"""What a back end is: its facts, and the functions that compile a module, export a network and open an exported file.

Each back end is one file beside this one; `backends` has the table of them.
"""

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from numpy.typing import NDArray

from lwisp.engines.names import Computed, Format, Name, Stored
from lwisp.errors import InputError

if TYPE_CHECKING:
    from lwisp.model import LWISP

T = TypeVar("T")
Array = NDArray[Any]
Call = Callable[..., list[Array]]
"""A module's function of arrays; its next call may overwrite the results."""
Run = Callable[..., list[Array]]
"""An exported file's inputs, in its order -> its outputs in arrays of their own; any number of threads may call it."""
Size = tuple[int, int] | None
"""Height and width of the planes of a file for this size alone; None for any multiples of 16 from 32 up."""

CARD_KEY = "lwisp"
"""Name of the card in a file's metadata; the card is the same as in a safetensors file."""
SEAL_KEY = "lwisp_seal"
"""Name of the seal in a file's metadata: length and SHA-256 of the bytes that hold the network."""
CONTRACT_KEY = "lwisp_contract"
"""Name of the contract in the metadata of a file that takes mosaics; a file without it takes planes."""


class CompileError(Exception):
    """A back end that is installed could not make a module ready."""


class Pool(Generic[T]):
    """Things that serve one caller at a time: made where none is idle, and kept for the next."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._idle: list[T] = []

    @contextlib.contextmanager
    def borrow(self) -> Iterator[T]:
        """One of the things, which nobody else has meanwhile."""
        try:
            one = self._idle.pop()
        except IndexError:
            one = self._make()
        try:
            yield one
        finally:
            self._idle.append(one)


class Compiled:
    """A module made ready; any number of threads may use it at once, as many requests as use it at one time."""

    def __init__(self, make_request: Callable[[], Call]) -> None:
        self._requests = Pool(make_request)

    def borrow(self) -> contextlib.AbstractContextManager[Call]:
        """For one thread's use: a function of arrays. The arrays that it gives may be overwritten by its next call."""
        return self._requests.borrow()

    def __call__(self, *inputs: Array) -> list[Array]:
        """The module's outputs, in arrays of their own."""
        with self.borrow() as call:
            return [output.copy() for output in call(*inputs)]


@dataclass(frozen=True)
class Program:
    """A network in an exported file, opened."""

    runtime: Name
    metadata: Mapping[str, str]
    inputs: Mapping[str, tuple[int | None, ...]]
    """Shapes by name, in the file's order; None for sides that are free."""
    ready: Callable[[Computed, int], Run]
    """Make it ready to compute in a precision on so many threads; once for each."""

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Of the first input, the planes (1, C, h, w) or the mosaic (H, W)."""
        return next(iter(self.inputs.values()), ())


@dataclass(frozen=True)
class FileFormat:
    """A format of exported files, which one back end runs."""

    name: Format
    suffix: str
    packages: tuple[str, ...]
    """Modules that export and run it."""
    export: Callable[["LWISP", dict[str, str], Stored, Size], list[bytes]]
    """(network, metadata, precision, size) -> content of the file and of its companions; it takes planes."""
    open: Callable[[Path], Program]
    wrap: Callable[[bytes, dict[str, str], Stored], list[bytes]] | None = None
    """(ONNX, metadata, precision) -> the same, of a file that takes mosaics; None: there are none in this format."""
    companions: tuple[str, ...] = ()
    """Suffixes of files that lie beside it and are part of it."""
    precisions: tuple[Stored, ...] = ("fp32",)
    needs_size: bool = False
    """Whether a file serves one size of planes only."""


@dataclass(frozen=True)
class BackEnd:
    """One engine for networks."""

    name: Name
    package: str
    """The package that shows whether it is installed."""
    bytes_per_pixel: Mapping[Computed, int]
    """Peak memory of a whole picture in LW-ISP, per output pixel, above the process's own, by the precisions that it
    computes in; measured at 12 MP, rounded up."""
    compile: Callable[[bytes, Sequence[tuple[int, ...]], bool, int], Compiled] | None = None
    """(ONNX, shapes of its inputs, bf16, threads) -> it made ready for inputs of these shapes; None: runs torch
    modules, or exported files only."""
    any_size: bool = False
    """Whether what is compiled serves inputs of any size."""
    file: FileFormat | None = None
    own_threads: bool = True
    """Whether one engine may have another number of threads than the process."""


def seal(content: bytes) -> str:
    """Seal of the bytes that hold a network, written beside its card.

    Args:
        content: The bytes.

    Returns:
        Their number and SHA-256 (hexadecimal), as a JSON list.
    """
    return json.dumps([len(content), hashlib.sha256(content).hexdigest()])


def check_seal(content: bytes, metadata: Mapping[str, str]) -> None:
    """Compare an exported file with its seal.

    Args:
        content: The file's bytes; the sealed ones come first.
        metadata: The file's metadata, with the seal under `SEAL_KEY`.

    Raises:
        InputError: The bytes are not those that were sealed.
    """
    with contextlib.suppress(ValueError, TypeError):
        length, _ = json.loads(metadata.get(SEAL_KEY, "[]"))
        if isinstance(length, int) and seal(content[:length]) == metadata[SEAL_KEY]:
            return
    raise InputError("its network is not the one that its card was written for (SHA-256 differs); export it again")


def once(make: Callable[[Computed, int], Run]) -> Callable[[Computed, int], Run]:
    """A function of precision and threads that keeps its results; each is made once, by the thread that asks first.

    Args:
        make: Makes a result of a precision and a number of threads.

    Returns:
        The same function, which any number of threads may call.
    """
    made: dict[tuple[Computed, int], Run] = {}
    making = threading.Lock()

    def ready(precision: Computed, threads: int) -> Run:
        with making:
            if (precision, threads) not in made:
                made[precision, threads] = make(precision, threads)
            return made[precision, threads]

    return ready
