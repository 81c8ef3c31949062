"""Running a network on a whole picture: back ends, precision, memory, threads."""

import contextlib
import copy
import math
import os
import resource
import sys
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwisp.baselines import Baseline
from lwisp.engines import compiled, tiles
from lwisp.engines.exported import Exported
from lwisp.engines.tiles import Span
from lwisp.errors import InputError, check_choice, one_line
from lwisp.model import LWISP, padded_side

Backend = Literal["auto", "torch", "openvino", "onnxruntime"]
Precision = Literal["auto", "fp32", "bf16"]
Call = Callable[..., Tensor]
"""(name of a stage, its inputs) -> what it gives, which the next call may overwrite."""
N = TypeVar("N", bound=nn.Module)

BYTES_PER_PIXEL = {
    ("torch", "fp32"): 330,
    ("torch", "bf16"): 200,
    ("openvino", "fp32"): 200,
    ("openvino", "bf16"): 110,
    ("onnxruntime", "fp32"): 420,
    ("litert", "fp32"): 420,
    ("executorch", "fp32"): 420,
}
"""Peak memory of a whole picture in LW-ISP, per output pixel, above the process's own; at 12 MP, rounded up."""
RESERVE = 250_000_000
"""Bytes of a bound that are left for compiling and for what allocators keep back."""
WINDOWS = (1024, 768, 512, 384, 256)
"""Sides of the windows that a picture is run in where it does not fit as a whole, in planes' pixels."""
FLIPS: tuple[tuple[int, ...], ...] = ((), (0, 1), (0,), (1,))
"""Axes (rows, columns) that the passes of one picture turn around, the first ones first."""
BLOCK = 8
"""Rows of the planes whose pixels are turned into integers at once: few enough to stay in the cache."""
AT_ONCE = 4
"""Pictures that an engine works on at one time where memory holds them; other threads wait."""
KEPT_BYTES = 250_000_000
"""Of compiled modules for several sizes of picture that are kept beside each other; one is kept whatever it takes."""
KEPT_SIZES = 256
"""Sizes of picture of which an engine remembers whether they are run by windows."""
KEPT_ENGINES = 2
"""Engines that are kept for one `Weights`; the one not used for longest goes."""


class Frame(Protocol):
    """Planes that are made where they are read."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, h, w)."""

    def read(self, rows: slice, columns: slice) -> Tensor:
        """(C, rows, columns) float32."""


class Engine:
    """A network made ready by `prepare`; any number of threads may use it at once.

    Every picture is what it is alone. What does not fit into memory beside the others waits for its turn.
    """

    def __init__(
        self,
        network: LWISP | Baseline | Exported,
        backend: compiled.Name,
        bf16: bool,
        memory: float | None,
        may_change: bool,
        passes: int = 1,
        threads: int | None = None,
    ) -> None:
        self.network, self.passes, self.threads = network, passes, threads
        self.precision: Literal["fp32", "bf16"] = "bf16" if bf16 else "fp32"
        self.memory, self.may_change = memory, may_change
        self._turn = threading.Condition()
        self._waiting: deque[object] = deque()
        self._running: dict[object, float] = {}
        self._windows: dict[tuple[int, int], int | None] = {}
        self._way = self._find_way(backend)

    def _find_way(self, backend: compiled.Name, because: str = "") -> "_Way":
        if isinstance(self.network, Exported):
            return _Exported(self.network, backend, self.precision == "bf16", self.threads, because)
        kind = _Eager if backend == "torch" else _Compiled
        return kind(self.network, backend, self.precision == "bf16", self.threads, because)

    @property
    def backend(self) -> compiled.Name:
        """What computes it now; "auto" leaves a back end that fails."""
        return self._way.backend

    @property
    def description(self) -> str:
        """What was chosen and why, in one line."""
        way = self._way
        threads = torch.get_num_threads() if self.threads is None or way.backend == "torch" else self.threads
        where = "on a GPU" if way.device == "cuda" else f"on {threads} thread{'s' if threads > 1 else ''}"
        averaged = f", the mean of {self.passes} passes" if self.passes > 1 else ""
        return f"{way.backend} in {self.precision} {where}{averaged}{way.because}"

    def __call__(self, planes: Tensor) -> Tensor:
        """Planes (C, h, w) -> RGB (3, H, W), or clean planes (4, h, w), float32 in [0, 1].

        Raises `InputError`, before work begins, for planes that are not finite and where memory cannot hold them; and
        where the network gives numbers that are not finite.
        """
        if not bool(planes.isfinite().all()):
            raise InputError("expected planes of finite numbers, got NaN or infinity; look at the RAW and its levels")
        scale, channels = self.network.config.scale, self.network.config.out_channels
        picture = np.empty((planes.shape[-2] * scale, planes.shape[-1] * scale, channels), np.float32)
        self.develop(_Whole(planes), picture)
        return torch.from_numpy(picture).permute(2, 0, 1)

    def develop(
        self,
        frame: Frame,
        picture: NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.uint16],
        offset: tuple[int, int] = (0, 0),
    ) -> None:
        """Fill a picture (H, W, C) that lies at `offset` in the frame's, in float32 or integers over their range.

        Raises `InputError` before work begins where memory cannot hold it, and where the network gives numbers that
        are not finite.
        """
        while True:
            way = self._way
            try:
                if self.passes == 1:
                    self._develop(way, frame, picture, offset)
                else:
                    assert offset == (0, 0)  # only a mosaic has another
                    self._average(way, frame, picture)
                return
            except compiled.CompileError as error:
                if not self.may_change:
                    raise InputError(f"{one_line(error)}; take --backend auto") from error
                self._leave(way, one_line(error))

    def _leave(self, way: "_Way", failure: str) -> None:
        """Compute by torch from now on, unless another thread has left this way before."""
        with self._turn:
            if self._way is way:
                self._windows.clear()
                self._way = self._find_way("torch", f", because it failed in {failure}")

    def _average(self, way: "_Way", frame: Frame, picture: NDArray[Any]) -> None:
        """The mean of what comes out of the frame and of its mirror images: each leaves other noise behind."""
        total = np.zeros(picture.shape, np.float32)
        for axes in FLIPS[: self.passes]:
            self._develop(way, _Flipped(frame, axes), np.flip(total, axes), (0, 0))
        for first in range(0, len(total), BLOCK):
            mean = torch.from_numpy(total[first : first + BLOCK]) / self.passes
            picture[first : first + BLOCK] = _integers(mean, picture.dtype).numpy()

    def _develop(self, way: "_Way", frame: Frame, picture: NDArray[Any], offset: tuple[int, int]) -> None:
        config = self.network.config
        height, width = (padded_side(side, config.size_multiple, config.size_minimum) for side in frame.shape[-2:])
        residual = isinstance(self.network, LWISP) and self.network.config.residual

        def read(rows: slice, columns: slice) -> Tensor:
            return _read_reflected(frame, rows, columns)[None]

        def write(output: Tensor, top: int, left: int, rows: Span, columns: Span) -> None:
            base = None
            if residual:  # what it gives is added in float32, whatever it ran in
                base = read(slice(top, top + output.shape[-2]), slice(left, left + output.shape[-1]))
            place, scale = (top, left), self.network.config.scale
            try:
                _write(output, base, picture, offset, place, rows, columns, scale, self.passes > 1)
            except FloatingPointError as error:
                where, remedy = f"{way.backend} in {self.precision}", "take other weights"
                if isinstance(self.network, Exported):
                    where, remedy = way.backend, "export them in fp32, or take other weights"
                elif self.precision == "bf16":
                    remedy = "take --precision fp32, or other weights"
                raise InputError(
                    f"expected finite numbers of the network, got NaN or infinity by {where}: {remedy}"
                ) from error

        with self._room(way, height, width, picture) as window, torch.inference_mode():
            if window is None:
                with way.caller(KEPT_BYTES if self.memory is None else 0) as call:
                    output = call("whole", read(slice(0, height), slice(0, width)))
                    write(output, 0, 0, Span(0, height, 0, height), Span(0, width, 0, width))
            else:
                assert isinstance(self.network, LWISP)
                dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
                way.forget()
                try:
                    with way.caller(0) as call:
                        tiles.run_tiles(self.network, call, read, write, (height, width), window, dtype)
                finally:
                    way.forget()

    @contextlib.contextmanager
    def _room(self, way: "_Way", height: int, width: int, picture: NDArray[Any]) -> Iterator[int | None]:
        """Wait until memory has room for a picture, in the order of asking; the side of its windows, as below.

        Beside others none is run by windows, so that it is the same picture as alone.
        """
        mine = object()
        with self._turn:
            self._waiting.append(mine)
            try:
                while self._waiting[0] is not mine or (self._running and not self._fits(way, height, width, picture)):
                    self._turn.wait()
                window = self._choose(way, height, width, picture)
                while window is not None and self._running:
                    self._turn.wait()
                alone = math.inf if window is not None else self._needed(way, height, width, picture)
                self._running[mine] = alone
            finally:
                self._waiting.remove(mine)
                self._turn.notify_all()
        try:
            yield window
        finally:
            with self._turn:
                del self._running[mine]
                self._turn.notify_all()

    def _choose(self, way: "_Way", height: int, width: int, picture: NDArray[Any]) -> int | None:
        """`_choose_window`, but one choice for all pictures of a size, for compiled modules stay in memory."""
        if (height, width) not in self._windows:
            if not self._running and (self.memory is not None or not self._fits(way, height, width, picture)):
                way.forget()  # what other sizes needed is free again
            window = self._choose_window(height, width, picture)
            if len(self._windows) >= KEPT_SIZES:
                self._windows.clear()
            self._windows[height, width] = window
        return self._windows[height, width]

    def _fits(self, way: "_Way", height: int, width: int, picture: NDArray[Any]) -> bool:
        """Whether a whole picture has room beside those that are being worked on."""
        if len(self._running) >= way.at_once:
            return False
        return sum(self._running.values()) + self._needed(way, height, width, picture) <= self._free()

    def _needed(self, way: "_Way", height: int, width: int, picture: NDArray[Any]) -> float:
        """Bytes of memory that a whole picture takes."""
        held = picture.nbytes * min(self.passes, 2)  # the sum of passes beside it
        return height * width * way.bytes_per_pixel + held

    def _free(self) -> float:
        """Bytes that may be taken."""
        return free_memory() if self.memory is None else self.memory * 1e9 - resident_memory() - RESERVE

    def _choose_window(self, height: int, width: int, picture: NDArray[Any]) -> int | None:
        """Which side of windows memory has room for; None for the picture as a whole."""
        way = self._way
        used, free = resident_memory(), self._free()
        held = picture.nbytes * min(self.passes, 2)
        free -= held
        each = way.bytes_per_pixel
        needed = height * width * each
        if needed <= free:
            return None
        size = f"a picture of {height * self.network.config.scale}x{width * self.network.config.scale}"
        if isinstance(self.network, LWISP) and tiles.can_tile(self.network):
            kept = height * width * tiles.STORED * self.network.config.width // 16
            kept *= 2 if self.precision == "bf16" else 4
            for window in WINDOWS:
                needed = kept + min(window, height) * min(window, width) * each
                if needed <= free:
                    return window
        total = needed + held + (0 if self.memory is None else used + RESERVE)
        least = f"{size} needs about {total / 1e9:.1f} GB in {self.precision}"
        if self.memory is None:
            raise InputError(f"{least}, {free_memory() / 1e9:.1f} GB are free; free some memory")
        raise InputError(f"{least}, --memory allows {self.memory:g} GB; allow more")


class _Way:
    """A back end that computes a network, with its modules by name; nothing of it changes but what it keeps."""

    device = "cpu"
    at_once = AT_ONCE

    def __init__(
        self,
        network: LWISP | Baseline | Exported,
        backend: compiled.Name,
        bf16: bool,
        threads: int | None,
        because: str,
    ) -> None:
        self.backend, self.bf16, self.threads, self.because = backend, bf16, threads, because
        precision: Literal["fp32", "bf16"] = "bf16" if bf16 else "fp32"
        self.bytes_per_pixel = BYTES_PER_PIXEL[backend, precision] * 4
        """Of the planes; what lies behind them is smaller."""

    def caller(self, kept_bytes: int) -> contextlib.AbstractContextManager[Call]:
        """What runs the modules for one thread. Compiled ones are kept for the next, of so many bytes beside it."""
        raise NotImplementedError

    def forget(self) -> None:
        """Let go of what is compiled."""


class _Eager(_Way):
    """torch."""

    def __init__(
        self, network: LWISP | Baseline, backend: compiled.Name, bf16: bool, threads: int | None, because: str
    ) -> None:
        super().__init__(network, backend, bf16, threads, because)
        if torch.cuda.is_available():
            self.device, self.at_once = "cuda", 1  # its memory is not that which is looked at
        network = channels_last(copy.deepcopy(network)).to(self.device)
        if bf16:
            network = network.bfloat16()
            if isinstance(network, LWISP):
                network.out.float()  # costs less than it saves in error
                network.look.float()
        self.modules = _split(network, packed=False)

    @contextlib.contextmanager
    def caller(self, kept_bytes: int) -> Iterator[Call]:
        yield self._call

    def _call(self, name: str, *inputs: Tensor) -> Tensor:
        dtype = torch.bfloat16 if self.bf16 else torch.float32
        placed = [tensor.to(self.device, dtype).contiguous(memory_format=_layout(tensor)) for tensor in inputs]
        return self.modules[name](*placed).to("cpu")  # type: ignore[no-any-return]


class _Compiled(_Way):
    """OpenVINO or ONNX Runtime, by modules compiled for one size."""

    def __init__(
        self, network: LWISP | Baseline, backend: compiled.Name, bf16: bool, threads: int | None, because: str
    ) -> None:
        super().__init__(network, backend, bf16, threads, because)
        self.modules = _split(network, packed=backend == "openvino" and bf16)
        self._kept: OrderedDict[tuple[object, ...], tuple[int, compiled.Compiled]] = OrderedDict()
        self._compiling = threading.Lock()

    @contextlib.contextmanager
    def caller(self, kept_bytes: int) -> Iterator[Call]:
        current: tuple[tuple[object, ...], compiled.Call] | None = None
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

    def _get(self, key: tuple[Any, ...], inputs: tuple[Tensor, ...], kept_bytes: int) -> compiled.Compiled:
        """A compiled module, compiled if need be; those not used for longest go where it needs their place."""
        with self._compiling:
            found = self._kept.pop(key, None)
            if found is None:
                size = self.bytes_per_pixel * inputs[0].shape[-2] * inputs[0].shape[-1]
                while self._kept and sum(size for size, _ in self._kept.values()) + size > kept_bytes:
                    self._kept.popitem(last=False)
                found = (
                    size,
                    compiled.compile_module(self.backend, self.modules[key[0]], inputs, self.bf16, self.threads),
                )
            self._kept[key] = found
            return found[1]

    def forget(self) -> None:
        with self._compiling:
            self._kept.clear()


class _Exported(_Way):
    """The engine of an exported file, which is the only one that runs it; whole pictures alone."""

    def __init__(
        self, network: Exported, backend: compiled.Name, bf16: bool, threads: int | None, because: str
    ) -> None:
        super().__init__(network, backend, bf16, threads, ", which the weights are a file for")
        self.network = network

    @contextlib.contextmanager
    def caller(self, kept_bytes: int) -> Iterator[Call]:
        yield self._call

    def _call(self, name: str, *inputs: Tensor) -> Tensor:
        return self.network(*inputs, "bf16" if self.bf16 else "fp32", self.threads)  # type: ignore[no-any-return]


def _split(network: LWISP | Baseline, packed: bool) -> dict[str, nn.Module]:
    """What a back end runs, by name."""
    if not isinstance(network, LWISP):
        return {"whole": network}
    tail = tiles.PackedTail(network) if packed and tiles.can_pack_tail(network) else tiles.Tail(network)
    return tiles.split(network, tail) if tiles.can_tile(network) else {"whole": tiles.Whole(network, tail)}


def prepare(
    network: LWISP | Baseline | Exported,
    backend: Backend = "auto",
    precision: Precision = "auto",
    memory: float | None = None,
    passes: int = 1,
    threads: int | None = None,
) -> Engine:
    """Make a network ready to run on pictures, any number of them; the network itself is left as it is.

    "auto" takes OpenVINO for LW-ISP where it is installed (and torch where it fails after all), else torch, and bf16
    where the processor computes in it, fp32 elsewhere. `memory` bounds the whole process, in GB; without it a picture
    may take what is free. More `passes`, for networks that take RGB, give the mean over mirror images of the picture:
    less noise in as many times the time. `threads` are those that compute, as many as torch uses if not given; torch
    itself cannot take another number for one engine. Raises `InputError` for a back end asked for by name that is not
    installed, or cannot run this network in this precision or on so many threads.
    """
    check_choice("back end", backend, get_args(Backend))
    check_choice("precision", precision, get_args(Precision))
    if passes not in (1, 2, 4):
        raise InputError(f"expected 1, 2 or 4 passes, got {passes}")
    if passes > 1 and network.config.takes != "rgb":
        raise InputError("more than one pass is for networks that take RGB: a mosaic's mirror image is another mosaic")
    if memory is not None and not 0 < memory < float("inf"):
        raise InputError(f"expected a memory bound above 0 GB, got {memory}")
    if threads is not None and threads < 1:
        raise InputError(f"expected 1 thread or more, got {threads}")
    if isinstance(network, Exported):
        return _exported_engine(network, backend, precision, memory, passes, threads)
    chosen: compiled.Name = "torch"
    if backend == "auto":
        if isinstance(network, LWISP) and not torch.cuda.is_available() and compiled.is_installed("openvino"):
            chosen = "openvino"
    else:
        if not compiled.is_installed(backend):
            raise InputError(
                f"the back end {backend} is not installed; pip install 'lwisp[{backend}]', or take another"
            )
        if backend != "torch" and not isinstance(network, LWISP):
            raise InputError(f"{backend} runs LW-ISP only, not {network.config.network}; take --backend torch")
        chosen = backend
    if chosen == "onnxruntime" and precision == "bf16":
        raise InputError("onnxruntime computes in fp32 only; take --precision fp32, or another --backend")
    if chosen == "torch" and threads not in (None, torch.get_num_threads()):
        raise InputError(
            f"torch has {torch.get_num_threads()} threads for the whole process, not {threads} for one engine; leave "
            "threads out or call torch.set_num_threads, or take openvino or onnxruntime"
        )
    bf16 = precision == "bf16" or (precision == "auto" and chosen != "onnxruntime" and has_bf16())
    return Engine(network, chosen, bf16, memory, backend == "auto", passes, threads)


class _Shelf:
    """The engines that are kept for one `Weights`, by what they were asked for with; the last one used comes last."""

    def __init__(self, network: nn.Module) -> None:
        modules = list(network.modules())  # held by their dicts, for to walk through a network takes a millisecond
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
    """What has a network, as `checkpoint.Weights`."""

    @property
    def network(self) -> LWISP | Baseline | Exported:
        """The network."""


def prepare_once(
    weights: Holder,
    backend: Backend = "auto",
    precision: Precision = "auto",
    memory: float | None = None,
    passes: int = 1,
) -> Engine:
    """The engine that `prepare` makes, kept for the next call with the same object, until this goes.

    It is made anew where arguments differ, where torch has another number of threads, and where the network's tensors
    were changed in place or replaced since (but for changes through `.data`, which torch does not count).
    """
    key = (backend, precision, memory, passes, torch.get_num_threads())
    with _preparing:
        shelf = _shelves.get(id(weights))
        if shelf is None:
            weakref.finalize(weights, _shelves.pop, id(weights), None).atexit = False
        if shelf is None or shelf.state() != shelf.before:
            shelf = _shelves[id(weights)] = _Shelf(weights.network)
        if key in shelf.engines:
            shelf.engines.move_to_end(key)
            return shelf.engines[key]
        while len(shelf.engines) >= KEPT_ENGINES:
            shelf.engines.popitem(last=False)
        shelf.engines[key] = prepare(weights.network, backend, precision, memory, passes)
        return shelf.engines[key]


def run(
    network: LWISP | Baseline | Exported,
    planes: Tensor,
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: float | None = None,
    passes: int = 1,
) -> Tensor:
    """Planes (C, h, w) -> the picture in [0, 1], float32: `prepare` and the engine's call in one."""
    return prepare(network, backend, precision, memory, passes)(planes)


def _exported_engine(
    network: Exported,
    backend: Backend,
    precision: Precision,
    memory: float | None,
    passes: int,
    threads: int | None,
) -> Engine:
    runtime = network.program.runtime
    if backend not in ("auto", runtime):
        raise InputError(f"these weights are a file for {runtime}, not for {backend}; take --backend auto")
    if precision == "bf16" and runtime != "openvino":
        raise InputError(f"{runtime} computes in the file's own precision; take --precision auto")
    if runtime == "executorch" and threads is not None:
        raise InputError("executorch chooses its threads for the whole process; leave threads out")
    bf16 = runtime == "openvino" and (precision == "bf16" or (precision == "auto" and has_bf16()))
    return Engine(network, runtime, bf16, memory, False, passes, threads)  # type: ignore[arg-type]


class _Whole:
    """Planes that are there already, as a `Frame`."""

    def __init__(self, planes: Tensor) -> None:
        self.planes = planes.float()

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.planes.shape
        return channels, height, width

    def read(self, rows: slice, columns: slice) -> Tensor:
        return self.planes[:, rows, columns]


class _Flipped:
    """The mirror image of a frame along some axes (rows 0, columns 1)."""

    def __init__(self, frame: Frame, axes: tuple[int, ...]) -> None:
        self.frame, self.axes, self.shape = frame, axes, frame.shape

    def read(self, rows: slice, columns: slice) -> Tensor:
        places = [
            slice(side - place.stop, side - place.start) if axis in self.axes else place
            for axis, (place, side) in enumerate(zip((rows, columns), self.shape[-2:], strict=True))
        ]
        return self.frame.read(*places).flip([axis - 2 for axis in self.axes])


def _read_reflected(frame: Frame, rows: slice, columns: slice) -> Tensor:
    """A window of the frame as `model.pad_to_multiple` lengthens it."""
    found = []
    for window, side in zip((rows, columns), frame.shape[-2:], strict=True):
        index = torch.arange(window.start, window.stop) % max(2 * (side - 1), 1)
        found.append(torch.minimum(index, max(2 * (side - 1), 1) - index) if side > 1 else index * 0)
    first = [int(index.min()) for index in found]
    planes = frame.read(*(slice(low, int(index.max()) + 1) for low, index in zip(first, found, strict=True)))
    for dim, (low, index) in enumerate(zip(first, found, strict=True), -2):
        if len(index) != planes.shape[dim] or int(index[-1]) != low + len(index) - 1:
            planes = planes.index_select(dim, index - low)
    return planes


def _write(
    output: Tensor,
    base: Tensor | None,
    picture: NDArray[Any],
    offset: tuple[int, int],
    origin: tuple[int, int],
    rows: Span,
    columns: Span,
    scale: int,
    add: bool,
) -> None:
    """Put the core of a window's output, as `Tail` or `PackedTail` gives it, where it belongs, or add it there.

    With a `base` (1, C, h, w) of the window's size the output is what is added to it, and the sum is held in [0, 1].
    Raises `FloatingPointError` for values that are not finite.
    """
    top, left = offset
    begin, end = max(columns.first * scale, left), min(columns.last * scale, left + picture.shape[1])
    for first in range(rows.first, rows.last, BLOCK):
        last = min(first + BLOCK, rows.last)
        start, stop = max(first * scale, top), min(last * scale, top + picture.shape[0])
        if start >= stop or begin >= end:
            continue
        block = _pixels(output, base, first - origin[0], last - origin[0], scale, picture.dtype)
        block = block[start - first * scale : stop - first * scale, begin - origin[1] * scale : end - origin[1] * scale]
        target = picture[start - top : stop - top, begin - left : end - left]
        target[...] = target + block if add else block


def _pixels(
    output: Tensor, base: Tensor | None, first: int, last: int, scale: int, dtype: np.dtype[np.generic]
) -> NDArray[Any]:
    """Rows of the planes out of a window's output -> their pixels (rows * scale, columns * scale, C) of that type."""
    packed = output.shape[1] > 4  # (1, h, w, 12) of `PackedTail`, h from 32 up, not (1, 3 or 4, H, W)
    values = (output[0, first:last] if packed else output[0, :, first * scale : last * scale]).float()
    if base is not None:
        values = values + base[0, :, first:last]
    if not math.isfinite(float(values.sum())):  # as every sum with NaN or infinity is
        raise FloatingPointError
    if base is not None:
        values.clamp_(0, 1)
    values = _integers(values, dtype)
    if packed:
        rows, columns, _ = values.shape
        values = values.view(rows, columns, 2, 2, 3).transpose(1, 2).reshape(2 * rows, 2 * columns, 3)
    else:
        values = values.permute(1, 2, 0)
    return values.numpy()


def _integers(values: Tensor, dtype: np.dtype[np.generic]) -> Tensor:
    """Values in [0, 1] as a picture of that type holds them: float32 as they are, integers over their range."""
    if dtype == np.float32:
        return values
    kind = torch.uint8 if dtype == np.uint8 else torch.uint16
    limit = torch.iinfo(kind).max
    return (values * limit).add_(0.5).clamp_(0, limit).to(kind)


def _layout(tensor: Tensor) -> torch.memory_format:
    return torch.channels_last if tensor.dim() == 4 else torch.contiguous_format


def channels_last(network: N) -> N:
    """The network with its weights laid out as the processor's convolutions like them best; changed in place."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def has_bf16() -> bool:
    """Whether this processor, or the GPU, computes in bf16; without instructions for it it is slower than fp32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))


def free_memory() -> int:
    """Bytes that a process could take without swapping, as far as the system tells."""
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux: assume half of what is installed
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 if hasattr(os, "sysconf") else 4 << 30


def resident_memory() -> int:
    """Bytes of memory that this process holds."""
    try:
        with Path("/proc/self/statm").open(encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux: what it held at most, which macOS gives in bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
