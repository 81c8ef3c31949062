"""Running a network on a whole picture: back ends, precision, memory."""

import copy
import os
import resource
import sys
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwisp import backends, stages
from lwisp.baselines import NETWORKS, Baseline
from lwisp.errors import InputError, one_line
from lwisp.model import LWISP, SIZE_MINIMUM, SIZE_MULTIPLE
from lwisp.runtimes import Exported
from lwisp.stages import Span

Backend = Literal["auto", "torch", "openvino", "onnxruntime"]
Precision = Literal["auto", "fp32", "bf16"]
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


class Frame(Protocol):
    """Planes that are made where they are read."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, h, w)."""

    def read(self, rows: slice, columns: slice) -> Tensor:
        """(C, rows, columns) float32."""


class Engine:
    """A network made ready by `prepare`."""

    def __init__(
        self,
        network: LWISP | Baseline | Exported,
        backend: backends.Name,
        bf16: bool,
        memory: float | None,
        may_change: bool,
        passes: int = 1,
    ) -> None:
        self.network, self.passes = network, passes
        self.backend: backends.Name = backend
        self.precision: Literal["fp32", "bf16"] = "bf16" if bf16 else "fp32"
        self.memory, self.may_change, self.because = memory, may_change, ""
        self._windows: dict[tuple[int, ...], int | None] = {}
        self._compiled: tuple[tuple[object, ...], backends.Compiled] | None = None
        self._make_modules()

    @property
    def description(self) -> str:
        """What was chosen and why, in one line."""
        threads = torch.get_num_threads()
        where = "on a GPU" if self.device == "cuda" else f"on {threads} thread{'s' if threads > 1 else ''}"
        averaged = f", the mean of {self.passes} passes" if self.passes > 1 else ""
        return f"{self.backend} in {self.precision} {where}{averaged}{self.because}"

    def __call__(self, planes: Tensor) -> Tensor:
        """Planes (C, h, w) -> RGB (3, H, W), or clean planes (4, h, w), float32 in [0, 1].

        Raises `InputError`, before work begins, for planes that are not finite and where memory cannot hold them.
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

        Raises `InputError` before work begins where memory cannot hold it.
        """
        while True:
            try:
                if self.passes == 1:
                    self._develop(frame, picture, offset)
                else:
                    assert offset == (0, 0)  # only a mosaic has another
                    self._average(frame, picture)
                return
            except backends.CompileError as error:
                if not self.may_change:
                    raise InputError(f"{one_line(error)}; take --backend auto") from error
                self.backend, self.because = "torch", f", because it failed in {one_line(error)}"
                self._windows.clear()
                self._make_modules()

    def _average(self, frame: Frame, picture: NDArray[Any]) -> None:
        """The mean of what comes out of the frame and of its mirror images: each leaves other noise behind."""
        total = np.zeros(picture.shape, np.float32)
        for axes in FLIPS[: self.passes]:
            self._develop(_Flipped(frame, axes), np.flip(total, axes), (0, 0))
        for first in range(0, len(total), BLOCK):
            mean = torch.from_numpy(total[first : first + BLOCK]) / self.passes
            picture[first : first + BLOCK] = _integers(mean, picture.dtype).numpy()

    def _develop(self, frame: Frame, picture: NDArray[Any], offset: tuple[int, int]) -> None:
        multiple, minimum = SIZE_MULTIPLE, SIZE_MINIMUM
        if isinstance(self.network, Baseline):
            needs = NETWORKS[self.network.config.network]
            multiple, minimum = needs.multiple, needs.minimum
        height, width = (max(-(-side // multiple) * multiple, minimum) for side in frame.shape[-2:])
        if (height, width) not in self._windows:
            self._compiled = None  # what another size needed is free again
            self._windows[height, width] = self._choose_window(height, width, picture)
        window = self._windows[height, width]

        def read(rows: slice, columns: slice) -> Tensor:
            return _read_reflected(frame, rows, columns)[None]

        def write(output: Tensor, top: int, left: int, rows: Span, columns: Span) -> None:
            if isinstance(self.network, LWISP) and self.network.config.residual:  # in float32, whatever it ran in
                planes = read(slice(top, top + output.shape[-2]), slice(left, left + output.shape[-1]))
                output = (output + planes).clamp_(0, 1)
            place = (top, left)
            _write(output, picture, offset, place, rows, columns, self.network.config.scale, self.passes > 1)

        with torch.inference_mode():
            if window is None:
                output = self._call("whole", read(slice(0, height), slice(0, width)))
                write(output, 0, 0, Span(0, height, 0, height), Span(0, width, 0, width))
            else:
                assert isinstance(self.network, LWISP)
                dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
                stages.run_tiles(self.network, self._call, read, write, (height, width), window, dtype)

    def _choose_window(self, height: int, width: int, picture: NDArray[Any]) -> int | None:
        """Which side of windows memory has room for; None for the picture as a whole."""
        used = resident_memory()
        free = free_memory() if self.memory is None else self.memory * 1e9 - used - RESERVE
        held = picture.nbytes * min(self.passes, 2)  # the sum of passes beside it
        free -= held
        each = BYTES_PER_PIXEL[self.backend, self.precision] * 4  # of the planes; what lies behind them is smaller
        needed = height * width * each
        if needed <= free:
            return None
        size = f"a picture of {height * self.network.config.scale}x{width * self.network.config.scale}"
        if isinstance(self.network, LWISP) and stages.can_tile(self.network):
            kept = height * width * stages.STORED * self.network.config.width // 16
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

    def _call(self, name: str, *inputs: Tensor) -> Tensor:
        module = self._modules[name]
        if self.backend == "torch":
            dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
            placed = [tensor.to(self.device, dtype).contiguous(memory_format=_layout(tensor)) for tensor in inputs]
            return module(*placed).to("cpu")  # type: ignore[no-any-return]
        key = (name, *(tuple(tensor.shape) for tensor in inputs))
        if self._compiled is None or self._compiled[0] != key:
            self._compiled = None  # one at a time: each holds the memory that it needs to run
            self._compiled = key, backends.compile_module(self.backend, module, inputs, self.precision == "bf16")
        return self._compiled[1](*inputs)

    def _make_modules(self) -> None:
        """What `_call` runs, by name."""
        network, self._compiled = self.network, None
        bf16 = self.precision == "bf16"
        self.device = "cuda" if self.backend == "torch" and torch.cuda.is_available() else "cpu"
        if self.backend == "torch":
            network = channels_last(copy.deepcopy(network)).to(self.device)
            if bf16:
                network = network.bfloat16()
                if isinstance(network, LWISP):
                    network.out.float()  # costs less than it saves in error
                    network.look.float()
        self._modules: dict[str, nn.Module] = {"whole": network}
        if isinstance(network, LWISP):
            pack = self.backend == "openvino" and bf16 and stages.can_pack_tail(network)
            tail = stages.PackedTail(network) if pack else stages.Tail(network)
            self._modules = (
                stages.split(network, tail) if stages.can_tile(network) else {"whole": stages.Whole(network, tail)}
            )


def prepare(
    network: LWISP | Baseline | Exported,
    backend: Backend = "auto",
    precision: Precision = "auto",
    memory: float | None = None,
    passes: int = 1,
) -> Engine:
    """Make a network ready to run on pictures, any number of them; the network itself is left as it is.

    "auto" takes OpenVINO for LW-ISP where it is installed (and torch where it fails after all), else torch, and bf16
    where the processor computes in it, fp32 elsewhere. `memory` bounds the whole process, in GB; without it a picture
    may take what is free. More `passes`, for networks that take RGB, give the mean over mirror images of the picture:
    less noise in as many times the time. Raises `InputError` for a back end asked for by name that is not installed, or
    cannot run this network in this precision.
    """
    if passes not in (1, 2, 4):
        raise InputError(f"expected 1, 2 or 4 passes, got {passes}")
    if passes > 1 and network.config.takes != "rgb":
        raise InputError("more than one pass is for networks that take RGB: a mosaic's mirror image is another mosaic")
    if memory is not None and not 0 < memory < float("inf"):
        raise InputError(f"expected a memory bound above 0 GB, got {memory}")
    if isinstance(network, Exported):
        return _exported_engine(network, backend, precision, memory, passes)
    chosen: backends.Name = "torch"
    if backend == "auto":
        if isinstance(network, LWISP) and not torch.cuda.is_available() and backends.is_installed("openvino"):
            chosen = "openvino"
    else:
        if not backends.is_installed(backend):
            raise InputError(
                f"the back end {backend} is not installed; pip install 'lwisp[{backend}]', or take another"
            )
        if backend != "torch" and not isinstance(network, LWISP):
            raise InputError(f"{backend} runs LW-ISP only, not {network.config.network}; take --backend torch")
        chosen = backend
    if chosen == "onnxruntime" and precision == "bf16":
        raise InputError("onnxruntime computes in fp32 only; take --precision fp32, or another --backend")
    bf16 = precision == "bf16" or (precision == "auto" and chosen != "onnxruntime" and has_bf16())
    return Engine(network, chosen, bf16, memory, backend == "auto", passes)


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


class _ExportedEngine(Engine):
    """The engine of an exported file, which is the only one that runs it; whole pictures alone."""

    def _make_modules(self) -> None:
        self.device, self.because = "cpu", ", which the weights are a file for"

    def _call(self, name: str, *inputs: Tensor) -> Tensor:
        assert isinstance(self.network, Exported)
        return self.network(*inputs, self.precision)  # type: ignore[no-any-return]


def _exported_engine(
    network: Exported, backend: Backend, precision: Precision, memory: float | None, passes: int
) -> Engine:
    runtime = network.program.runtime
    if backend not in ("auto", runtime):
        raise InputError(f"these weights are a file for {runtime}, not for {backend}; take --backend auto")
    if precision == "bf16" and runtime != "openvino":
        raise InputError(f"{runtime} computes in the file's own precision; take --precision auto")
    bf16 = runtime == "openvino" and (precision == "bf16" or (precision == "auto" and has_bf16()))
    return _ExportedEngine(network, runtime, bf16, memory, may_change=False, passes=passes)  # type: ignore[arg-type]


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
    picture: NDArray[Any],
    offset: tuple[int, int],
    origin: tuple[int, int],
    rows: Span,
    columns: Span,
    scale: int,
    add: bool,
) -> None:
    """Put the core of a window's output, as `Tail` or `PackedTail` gives it, where it belongs, or add it there."""
    top, left = offset
    begin, end = max(columns.first * scale, left), min(columns.last * scale, left + picture.shape[1])
    for first in range(rows.first, rows.last, BLOCK):
        last = min(first + BLOCK, rows.last)
        start, stop = max(first * scale, top), min(last * scale, top + picture.shape[0])
        if start >= stop or begin >= end:
            continue
        block = _pixels(output, first - origin[0], last - origin[0], scale, picture.dtype)
        block = block[start - first * scale : stop - first * scale, begin - origin[1] * scale : end - origin[1] * scale]
        target = picture[start - top : stop - top, begin - left : end - left]
        target[...] = target + block if add else block


def _pixels(output: Tensor, first: int, last: int, scale: int, dtype: np.dtype[np.generic]) -> NDArray[Any]:
    """Rows of the planes out of a window's output -> their pixels (rows * scale, columns * scale, C) of that type."""
    packed = output.shape[1] > 4  # (1, h, w, 12) of `PackedTail`, h from 32 up, not (1, 3 or 4, H, W)
    values = (output[0, first:last] if packed else output[0, :, first * scale : last * scale]).float()
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
        return bool(torch.cuda.is_bf16_supported())
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
