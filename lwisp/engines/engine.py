"""Running a network on a picture of any size: back end, precision, memory, threads."""

import contextlib
import math
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwisp.architecture import padded_side
from lwisp.baselines.build import Baseline
from lwisp.engines import backends, tiles
from lwisp.engines.backends import BACKENDS, PREFERRED
from lwisp.engines.contract import CompileError
from lwisp.engines.exported import Exported
from lwisp.engines.frames import BLOCK, FlippedFrame, Frame, WholeFrame, read_reflected, to_integers, write_window
from lwisp.engines.memory import free_memory, resident_memory
from lwisp.engines.names import Backend, Computed, Name, Precision
from lwisp.engines.runners import Network, Runner, make_runner
from lwisp.engines.tiles import Span
from lwisp.engines.torch import device, has_bf16
from lwisp.errors import InputError, check_choice, one_line
from lwisp.model import LWISP

RESERVE = 250_000_000
"""Bytes of a bound that are left for compiling and for what allocators keep back."""
WINDOWS = (1024, 768, 512, 384, 256)
"""Sides of the windows that a picture is run in where it does not fit as a whole, in planes' pixels."""
FLIPS: tuple[tuple[int, ...], ...] = ((), (0, 1), (0,), (1,))
"""Flip axes (rows 0, columns 1) of test-time augmentation; `passes = n` averages over the first n."""
KEPT_BYTES = 250_000_000
"""Of compiled modules for several sizes of picture that are kept beside each other; one is kept whatever it takes."""
KEPT_SIZES = 256
"""Sizes of picture of which an engine remembers whether they are run by windows."""


class Engine:
    """A network made ready by `prepare_engine`; any number of threads may use it at once.

    Every picture is what it is alone. What does not fit into memory beside the others waits for its turn.
    """

    def __init__(
        self,
        network: Network,
        backend: Name,
        precision: Computed,
        memory: float | None,
        may_change: bool,
        passes: int = 1,
        threads: int | None = None,
    ) -> None:
        self.network = network
        self.precision = precision
        self.memory = memory
        self.may_change = may_change
        self.passes = passes
        self.threads = threads
        self.fallback_reason: str | None = None
        """Why torch has taken over from the back end that was chosen; None where it has not."""
        self._turn = threading.Condition()
        self._waiting: deque[object] = deque()
        self._running: dict[object, float] = {}
        self._windows: dict[tuple[int, int], int | None] = {}
        self._runner = self._make_runner(backend)

    def _make_runner(self, backend: Name) -> Runner:
        return make_runner(self.network, backend, self.precision, self.threads)

    @property
    def backend(self) -> Name:
        """The back end that computes now; "auto" leaves one that fails."""
        return self._runner.backend

    @property
    def description(self) -> str:
        """What was chosen and why, in one line."""
        runner = self._runner
        threads = torch.get_num_threads() if self.threads is None or runner.backend == "torch" else self.threads
        where = "on a GPU" if runner.device == "cuda" else f"on {threads} thread{'s' if threads > 1 else ''}"
        line = f"{runner.backend} in {self.precision} {where}"
        if self.passes > 1:
            line += f", the mean of {self.passes} passes"
        if isinstance(self.network, Exported):
            line += ", which the weights are a file for"
        if self.fallback_reason is not None:
            line += f", because it failed in {self.fallback_reason}"
        return line

    def __call__(self, planes: Tensor) -> Tensor:
        """Run the network on one picture.

        Args:
            planes: (C, h, w), finite.

        Returns:
            RGB (3, H, W), or clean planes (4, h, w), float32 in [0, 1].

        Raises:
            InputError: Planes are not finite or memory cannot hold them (said before work begins), or the network's
                output is not finite.
        """
        if not bool(planes.isfinite().all()):
            raise InputError("expected planes of finite numbers, got NaN or infinity; look at the RAW and its levels")
        config = self.network.config
        height = planes.shape[-2] * config.scale
        width = planes.shape[-1] * config.scale
        picture = np.empty((height, width, config.out_channels), np.float32)
        self.develop(WholeFrame(planes), picture)
        return torch.from_numpy(picture).permute(2, 0, 1)

    def develop(
        self,
        frame: Frame,
        picture: NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.uint16],
        offset: tuple[int, int] = (0, 0),
    ) -> None:
        """Run the network on a frame, and fill a picture.

        Args:
            frame: Planes, read by windows.
            picture: (H, W, C), written in place: float32 in [0, 1], or integers over their range.
            offset: (row, column) of the picture's first pixel in the frame's picture.

        Raises:
            InputError: Memory cannot hold it (said before work begins), or the network's output is not finite.
        """
        while True:
            runner = self._runner
            try:
                if self.passes == 1:
                    self._develop(runner, frame, picture, offset)
                else:
                    assert offset == (0, 0)  # only a mosaic has another
                    self._average(runner, frame, picture)
                return
            except CompileError as error:
                if not self.may_change:
                    raise InputError(f"{one_line(error)}; take --backend auto") from error
                self._fall_back(runner, one_line(error))

    def _fall_back(self, failed: Runner, reason: str) -> None:
        """Compute by torch from now on, unless another thread has left this runner before."""
        with self._turn:
            if self._runner is failed:
                self._windows.clear()
                self.fallback_reason = reason
                self._runner = self._make_runner("torch")

    def _average(self, runner: Runner, frame: Frame, picture: NDArray[Any]) -> None:
        """The mean of what comes out of the frame and of its mirror images: each leaves other noise behind."""
        total = np.zeros(picture.shape, np.float32)
        for axes in FLIPS[: self.passes]:
            self._develop(runner, FlippedFrame(frame, axes), np.flip(total, axes), (0, 0))
        for first in range(0, len(total), BLOCK):
            mean = torch.from_numpy(total[first : first + BLOCK]) / self.passes
            picture[first : first + BLOCK] = to_integers(mean, picture.dtype).numpy()

    def _develop(self, runner: Runner, frame: Frame, picture: NDArray[Any], offset: tuple[int, int]) -> None:
        config = self.network.config
        height = padded_side(frame.shape[-2], config.size_multiple, config.size_minimum)
        width = padded_side(frame.shape[-1], config.size_multiple, config.size_minimum)
        residual = isinstance(self.network, LWISP) and self.network.config.residual

        def read(rows: slice, columns: slice) -> Tensor:
            return read_reflected(frame, rows, columns)[None]

        def write(output: Tensor, top: int, left: int, rows: Span, columns: Span) -> None:
            base = None
            if residual:  # what it gives is added in float32, whatever it ran in
                base = read(slice(top, top + output.shape[-2]), slice(left, left + output.shape[-1]))
            try:
                write_window(
                    output,
                    base,
                    picture,
                    offset,
                    (top, left),
                    rows,
                    columns,
                    config.scale,
                    packed=runner.packed,
                    add=self.passes > 1,
                )
            except FloatingPointError as error:
                raise InputError(self._not_finite(runner)) from error

        with self._room(runner, height, width, picture) as window, torch.inference_mode():
            if window is None:
                with runner.caller(KEPT_BYTES if self.memory is None else 0) as call:
                    output = call("whole", read(slice(0, height), slice(0, width)))
                    write(output, 0, 0, Span(0, height, 0, height), Span(0, width, 0, width))
            else:
                assert isinstance(self.network, LWISP)
                dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
                runner.forget()
                try:
                    with runner.caller(0) as call:
                        tiles.run_tiles(self.network, call, read, write, (height, width), window, dtype)
                finally:
                    runner.forget()

    def _not_finite(self, runner: Runner) -> str:
        """The message for an output of NaN or infinity."""
        where = f"{runner.backend} in {self.precision}"
        remedy = "take other weights"
        if isinstance(self.network, Exported):
            where = runner.backend
            remedy = "export them in fp32, or take other weights"
        elif self.precision == "bf16":
            remedy = "take --precision fp32, or other weights"
        return f"expected finite numbers of the network, got NaN or infinity by {where}: {remedy}"

    @contextlib.contextmanager
    def _room(self, runner: Runner, height: int, width: int, picture: NDArray[Any]) -> Iterator[int | None]:
        """Wait until memory has room for a picture, in the order of asking; the side of its windows, as below.

        Beside others none is run by windows, so that it is the same picture as alone.
        """
        mine = object()
        with self._turn:
            self._waiting.append(mine)
            try:
                while self._waiting[0] is not mine:
                    self._turn.wait()
                while self._running and not self._fits(runner, height, width, picture):
                    self._turn.wait()
                window = self._choose(runner, height, width, picture)
                while window is not None and self._running:
                    self._turn.wait()
                alone = math.inf if window is not None else self._needed(runner, height, width, picture)
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

    def _choose(self, runner: Runner, height: int, width: int, picture: NDArray[Any]) -> int | None:
        """`_choose_window`, but one choice for all pictures of a size, for compiled modules stay in memory."""
        if (height, width) not in self._windows:
            if not self._running and (self.memory is not None or not self._fits(runner, height, width, picture)):
                runner.forget()  # what other sizes needed is free again
            window = self._choose_window(height, width, picture)
            if len(self._windows) >= KEPT_SIZES:
                self._windows.clear()
            self._windows[height, width] = window
        return self._windows[height, width]

    def _fits(self, runner: Runner, height: int, width: int, picture: NDArray[Any]) -> bool:
        """Whether a whole picture has room beside those that are being worked on."""
        if len(self._running) >= runner.at_once:
            return False
        return sum(self._running.values()) + self._needed(runner, height, width, picture) <= self._free()

    def _needed(self, runner: Runner, height: int, width: int, picture: NDArray[Any]) -> float:
        """Bytes of memory that a whole picture takes."""
        held = picture.nbytes * min(self.passes, 2)  # the sum of passes beside it
        return height * width * runner.bytes_per_pixel + held

    def _free(self) -> float:
        """Bytes that may be taken."""
        return free_memory() if self.memory is None else self.memory * 1e9 - resident_memory() - RESERVE

    def _choose_window(self, height: int, width: int, picture: NDArray[Any]) -> int | None:
        """Which side of windows memory has room for; None for the picture as a whole."""
        runner = self._runner
        used = resident_memory()
        held = picture.nbytes * min(self.passes, 2)
        free = self._free() - held
        each = runner.bytes_per_pixel
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


def prepare_engine(
    network: Network,
    backend: Backend = "auto",
    precision: Precision = "auto",
    memory: float | None = None,
    passes: int = 1,
    threads: int | None = None,
) -> Engine:
    """Make a network ready to run on any number of pictures; the network itself is left as it is.

    Args:
        network: LW-ISP, a baseline, or an exported file.
        backend: "auto" takes OpenVINO for LW-ISP where it is installed (and torch where it fails after all), else
            torch.
        precision: "auto" takes bf16 where the device computes in it, else fp32.
        memory: Bound on the whole process, in GB; without it a picture may take what is free.
        passes: 1, 2 or 4; more than one, for networks that take RGB, average over mirror images of the picture: less
            noise in as many times the time.
        threads: Threads that compute; as many as torch uses if not given. torch itself cannot take another number for
            one engine.

    Returns:
        An engine, which any number of threads may use.

    Raises:
        InputError: A back end asked for by name is not installed, or cannot run this network in this precision or on
            so many threads.
    """
    check_choice("back end", backend, ("auto", *backends.network_backends()))
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
    chosen = _choose_backend(network, backend)
    if precision == "bf16" and "bf16" not in BACKENDS[chosen].bytes_per_pixel:
        raise InputError(f"{chosen} computes in fp32 only; take --precision fp32, or another --backend")
    if threads not in (None, torch.get_num_threads()) and not BACKENDS[chosen].own_threads:
        raise InputError(
            f"{chosen} has {torch.get_num_threads()} threads for the whole process, not {threads} for one engine; "
            "leave threads out or call torch.set_num_threads, or take openvino or onnxruntime"
        )
    return Engine(network, chosen, _choose_precision(chosen, precision), memory, backend == "auto", passes, threads)


def _choose_backend(network: LWISP | Baseline, backend: Backend) -> Name:
    if backend == "auto":
        is_preferred = isinstance(network, LWISP) and device() == "cpu" and backends.is_installed(PREFERRED)
        return PREFERRED if is_preferred else "torch"
    if not backends.is_installed(backend):
        raise InputError(f"the back end {backend} is not installed; pip install 'lwisp[{backend}]', or take another")
    if backend != "torch" and not isinstance(network, LWISP):
        raise InputError(f"{backend} runs LW-ISP only, not {network.config.network}; take --backend torch")
    return backend


def _choose_precision(backend: Name, precision: Precision) -> Computed:
    if precision != "auto":
        return precision
    computes_bf16 = "bf16" in BACKENDS[backend].bytes_per_pixel
    return "bf16" if computes_bf16 and has_bf16(device() if backend == "torch" else "cpu") else "fp32"


def _exported_engine(
    network: Exported,
    backend: Backend,
    precision: Precision,
    memory: float | None,
    passes: int,
    threads: int | None,
) -> Engine:
    runtime = network.program.runtime
    facts = BACKENDS[runtime]
    if backend not in ("auto", runtime):
        raise InputError(f"these weights are a file for {runtime}, not for {backend}; take --backend auto")
    if precision == "bf16" and "bf16" not in facts.bytes_per_pixel:
        raise InputError(f"{runtime} computes in the file's own precision; take --precision auto")
    if not facts.own_threads and threads is not None:
        raise InputError(f"{runtime} chooses its threads for the whole process; leave threads out")
    return Engine(network, runtime, _choose_precision(runtime, precision), memory, False, passes, threads)


def run_network(
    network: Network,
    planes: Tensor,
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: float | None = None,
    passes: int = 1,
) -> Tensor:
    """Run a network on one picture: `prepare_engine` and the engine's call in one.

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
    return prepare_engine(network, backend, precision, memory, passes)(planes)
