"""Running a network on a picture of any size: back end, precision, memory, threads."""

import contextlib
import math
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from lwisp.architecture import LWISPConfig, padded_side
from lwisp.baselines.config import Architecture
from lwisp.engines import backends, tiles
from lwisp.engines.backends import BACKENDS
from lwisp.engines.contract import Array, CompileError
from lwisp.engines.exported import Exported
from lwisp.engines.frames import FlippedFrame, Frame, WholeFrame, read_reflected
from lwisp.engines.memory import free_memory, resident_memory
from lwisp.engines.names import PIXELS, Backend, Computed, Name, Precision
from lwisp.engines.runner import DEVELOPED, Runner
from lwisp.engines.runners import Network, make_runner
from lwisp.engines.stages import can_tile
from lwisp.engines.threads import default_threads
from lwisp.engines.tiles import Span
from lwisp.errors import ArgumentError, InputError, OutOfMemoryError, check_choice, is_number, is_whole, one_line, shown
from lwisp.imaging.pixels import convert, to_integer

RESERVE = 250_000_000
"""Bytes of a bound that are left for compiling and for what allocators keep back."""
MARGIN = 100_000_000
"""Bytes of free memory that are left where no bound is told, for what allocators take beside a picture's need."""
WINDOWS = (1024, 768, 512, 384, 256)
"""Sides of the windows that a picture is run in where it does not fit as a whole, in planes' pixels."""
FLIPS: tuple[tuple[int, ...], ...] = ((), (0, 1), (0,), (1,))
"""Flip axes (rows 0, columns 1) of test-time augmentation; `passes = n` averages over the first n."""
KEPT_BYTES = 250_000_000
"""Of compiled modules for several sizes of picture that are kept beside each other; one is kept whatever it takes."""
BLOCK = 64
"""Rows of a picture whose mean over passes is taken at once."""
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
        """Why another back end has taken over from the one that was chosen; None where none has."""
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
    def takes_mosaics(self) -> bool:
        """Whether it runs an exported file with the steps before the network in it: `develop_mosaic`."""
        return isinstance(self.network, Exported) and self.network.pixels is not None

    @property
    def description(self) -> str:
        """What was chosen and why, in one line."""
        runner = self._runner
        threads = default_threads() if self.threads is None or runner.backend == "torch" else self.threads
        where = "on a GPU" if runner.device == "cuda" else f"on {threads} thread{'s' if threads > 1 else ''}"
        line = f"{runner.backend} in {self.precision} {where}"
        if self.passes > 1:
            line += f", the mean of {self.passes} passes"
        if isinstance(self.network, Exported):
            line += ", which the weights are a file for"
        if self.fallback_reason is not None:
            line += f", because it failed in {self.fallback_reason}"
        return line

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on one picture.

        Args:
            planes: (C, h, w) float32, finite.

        Returns:
            RGB (H, W, 3), or clean planes (h, w, 4), float32 in [0, 1].

        Raises:
            InputError: Planes are not finite or memory cannot hold them (said before work begins), or the network's
                output is not finite.
        """
        if not np.isfinite(planes).all():
            raise InputError("expected planes of finite numbers, got NaN or infinity; look at the RAW and its levels")
        config = self.network.config
        height = planes.shape[-2] * config.scale
        width = planes.shape[-1] * config.scale
        picture = np.empty((height, width, config.out_channels), np.float32)
        self.develop(WholeFrame(planes), picture)
        return picture

    def before(self, name: str, *inputs: Array) -> Array:
        """A step before the network, in float32.

        Args:
            name: "light-bm" or the like, or "gain", as in `structures`.
            inputs: Of that module.

        Returns:
            Its output.

        Raises:
            InputError: The back end cannot compute it.
        """
        while True:
            runner = self._runner
            try:
                with runner.caller(KEPT_BYTES) as call:
                    return call(name, *inputs)[0].copy()
            except CompileError as error:
                self._leave(runner, error)

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
                self._leave(runner, error)

    def develop_mosaic(
        self, inputs: Sequence[Array], picture: NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.uint16]
    ) -> None:
        """Run an exported file that takes mosaics, and fill a picture.

        Args:
            inputs: The mosaic (H, W) and what else the file takes, as `Exported.develop` has them.
            picture: (H, W, 3), written in place: float32 in [0, 1], or integers over their range.

        Raises:
            InputError: The file gives fewer bits than the picture has, memory cannot hold it (both said before work
                begins), or the network's output is not finite.
        """
        assert isinstance(self.network, Exported)
        if picture.dtype == np.uint16 and self.network.pixels == "uint8":
            raise ArgumentError(
                "these weights are a file that gives 8 bits, not 16; ask for JPEG or PNG of 8 bits, or export it with "
                "--pixels uint16"
            )
        runner, config = self._runner, self.network.config
        height, width = (
            padded_side(side // 2 + 1, config.size_multiple, config.size_minimum) for side in picture.shape[:2]
        )
        with self._room(runner, height, width, picture), runner.caller(KEPT_BYTES) as call:
            made, total = call(DEVELOPED, *inputs)
            if not np.isfinite(total):
                raise InputError(self._not_finite(runner))
            picture[...] = convert(made, picture.dtype)

    def _leave(self, failed: Runner, error: CompileError) -> None:
        """Compute by another back end from now on, unless another thread has left this runner before."""
        others = backends.others(failed.backend) if self.may_change else []
        if not others:
            remedy = (
                "install another engine: pip install 'lwisp[onnxruntime]'" if self.may_change else "take --backend auto"
            )
            raise InputError(f"{one_line(error)}; {remedy}") from error
        with self._turn:
            if self._runner is failed:
                self._windows.clear()
                self.fallback_reason = one_line(error)
                if self.precision not in BACKENDS[others[0]].bytes_per_pixel:
                    self.precision = "fp32"
                self._runner = self._make_runner(others[0])

    def _average(self, runner: Runner, frame: Frame, picture: NDArray[Any]) -> None:
        """The mean of what comes out of the frame and of its mirror images: each leaves other noise behind."""
        total = np.zeros(picture.shape, np.float32)
        for axes in FLIPS[: self.passes]:
            self._develop(runner, FlippedFrame(frame, axes), np.flip(total, axes), (0, 0))
        for first in range(0, len(total), BLOCK):
            mean = total[first : first + BLOCK] / np.float32(self.passes)
            if picture.dtype != np.float32:
                mean = to_integer(mean, 8 if picture.dtype == np.uint8 else 16)
            picture[first : first + BLOCK] = mean

    def _develop(self, runner: Runner, frame: Frame, picture: NDArray[Any], offset: tuple[int, int]) -> None:
        config = self.network.config
        height = padded_side(frame.shape[-2], config.size_multiple, config.size_minimum)
        width = padded_side(frame.shape[-1], config.size_multiple, config.size_minimum)
        factor = _first_stage(config)
        pixels = PIXELS[PIXELS.index(picture.dtype.name)]

        def read(rows: slice, columns: slice) -> Array:
            rows, columns = (slice(part.start * factor, part.stop * factor) for part in (rows, columns))
            return read_reflected(frame, rows, columns)

        def write(made: Array, total: Array, rows: Span, columns: Span) -> None:
            if not np.isfinite(total):
                raise InputError(self._not_finite(runner))
            _copy_core(made, picture, offset, rows, columns, factor * config.scale, add=self.passes > 1)

        with self._room(runner, height, width, picture) as window:
            size = height // factor, width // factor
            if window is None:
                kept = KEPT_BYTES if self.memory is None else 0
                shape = (1, frame.shape[0], height, width)
                with runner.caller(kept) as call:
                    with _meanwhile(partial(runner.prepare, f"whole-{pixels}", shape, kept)):
                        planes = read(slice(0, size[0]), slice(0, size[1]))
                    made, total = call(f"whole-{pixels}", planes)
                    write(made, total, Span(0, size[0], 0, size[0]), Span(0, size[1], 0, size[1]))
            else:
                runner.forget()
                try:
                    with runner.caller(0) as call:
                        bf16 = self.precision == "bf16"
                        tiles.run_tiles(call, read, write, size, window // factor // 16 * 16, bf16, pixels)
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

    def _needed_by_windows(self, config: LWISPConfig, height: int, width: int, window: int) -> int:
        """The same for a picture that is run by windows of this side, without the picture itself."""
        kept = height * width // _first_stage(config) ** 2 * tiles.STORED * config.width // 16
        kept *= 2 if self.precision == "bf16" else 4
        return kept + min(window, height) * min(window, width) * self._runner.bytes_per_pixel

    def forecast(self, shape: tuple[int, int], picture: NDArray[Any]) -> tuple[float, int | None]:
        """The memory that a picture will take now, by the rule that decides about windows.

        Args:
            shape: (h, w) of the planes.
            picture: What is to be filled; only its size in memory counts.

        Returns:
            About how many bytes, beside what the process holds; and the side of the windows that it is run by, in
            planes' pixels, None where it is run as a whole.

        Raises:
            InputError: Memory cannot hold it.
        """
        config = self.network.config
        height, width = (padded_side(side, config.size_multiple, config.size_minimum) for side in shape)
        window = self._choose_window(height, width, picture)
        if window is None:
            return self._needed(self._runner, height, width, picture), None
        assert isinstance(config, LWISPConfig)  # others are not run by windows
        return self._needed_by_windows(config, height, width, window) + picture.nbytes, window

    def _free(self) -> float:
        """Bytes that may be taken."""
        if self.memory is None:
            return free_memory() - MARGIN
        return self.memory * 1e9 - resident_memory() - RESERVE

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
        config = self.network.config
        if isinstance(config, LWISPConfig) and can_tile(config) and not isinstance(self.network, Exported):
            for window in WINDOWS:
                needed = self._needed_by_windows(config, height, width, window)
                if needed <= free:
                    return window
        total = needed + held + (MARGIN if self.memory is None else used + RESERVE)
        least = f"{size} needs about {total / 1e9:.2f} GB in {self.precision}"
        if self.memory is None:
            raise OutOfMemoryError(f"{least}, {free_memory() / 1e9:.2f} GB are free; free some memory")
        raise OutOfMemoryError(f"{least}, --memory allows {self.memory:g} GB; allow more")


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
        backend: "auto" takes for LW-ISP a GPU where torch has one, else the first that is installed of OpenVINO, ONNX
            Runtime and torch, and the next where one fails after all; torch for other networks.
        precision: "auto" takes bf16 where the device computes in it, else fp32.
        memory: Bound on the whole process, in GB; without it a picture may take what is free.
        passes: 1, 2 or 4; more than one, for networks that take RGB, average over mirror images of the picture: less
            noise in as many times the time.
        threads: Threads that compute; `threads.default_threads` if not given. torch itself cannot take another number
            for one engine.

    Returns:
        An engine, which any number of threads may use.

    Raises:
        InputError: A back end asked for by name is not installed, or cannot run this network in this precision or on
            so many threads.
    """
    check_request(backend, precision, memory, passes, threads)
    if passes > 1 and network.config.takes != "rgb":
        raise ArgumentError(
            "more than one pass is for networks that take RGB: a mosaic's mirror image is another mosaic"
        )
    if isinstance(network, Exported):
        return _exported_engine(network, backend, precision, memory, passes, threads)
    chosen = _choose_backend(network, backend)
    if precision == "bf16" and "bf16" not in BACKENDS[chosen].bytes_per_pixel:
        raise ArgumentError(f"{chosen} computes in fp32 only; take --precision fp32, or another --backend")
    if threads not in (None, default_threads()) and not BACKENDS[chosen].own_threads:
        raise ArgumentError(
            f"{chosen} has {default_threads()} threads for the whole process, not {threads} for one engine; "
            "leave threads out or call torch.set_num_threads, or take openvino or onnxruntime"
        )
    return Engine(network, chosen, _choose_precision(chosen, precision), memory, backend == "auto", passes, threads)


def check_request(
    backend: object, precision: object, memory: object, passes: object = 1, threads: object = None
) -> None:
    """Check what an engine is asked for with, before anything is made ready.

    Args:
        backend: As for `prepare_engine`, like the other arguments.
        precision: Likewise.
        memory: Likewise.
        passes: Likewise.
        threads: Likewise.

    Raises:
        ArgumentError: One of them is of no use for any network.
    """
    check_choice("back end", backend, ("auto", *backends.network_backends()))
    check_choice("precision", precision, get_args(Precision))
    if not is_whole(passes, 1, 4) or passes == 3:
        raise ArgumentError(f"expected 1, 2 or 4 passes, got {shown(passes)}")
    if memory is not None and not (is_number(memory, 0, sys.float_info.max) and memory):
        raise ArgumentError(f"expected a memory bound above 0 GB, got {shown(memory)}")
    if threads is not None and not is_whole(threads, 1):
        raise ArgumentError(f"expected 1 thread or more, got {shown(threads)}")


def _choose_backend(network: Network, backend: Backend) -> Name:
    is_lwisp = isinstance(network.config, LWISPConfig)
    if backend == "auto":
        return backends.preferred() if is_lwisp else "torch"
    if not backends.is_installed(backend):
        raise ArgumentError(f"the back end {backend} is not installed; pip install {backend}, or take another")
    if backend != "torch" and not is_lwisp:
        raise ArgumentError(f"{backend} runs LW-ISP only, not other networks; take --backend torch")
    return backend


def _choose_precision(backend: Name, precision: Precision) -> Computed:
    if precision != "auto":
        return precision
    return "bf16" if backends.has_bf16(backend) else "fp32"


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
        raise ArgumentError(f"these weights are a file for {runtime}, not for {backend}; take --backend auto")
    if precision == "bf16" and "bf16" not in facts.bytes_per_pixel:
        raise ArgumentError(f"{runtime} computes in the file's own precision; take --precision auto")
    if network.pixels is not None:
        if precision == "bf16":
            raise ArgumentError("a file that takes a whole RAW is computed in fp32; take --precision auto")
        precision = "fp32"
    if not facts.own_threads and threads is not None:
        raise ArgumentError(f"{runtime} chooses its threads for the whole process; leave threads out")
    return Engine(network, runtime, _choose_precision(runtime, precision), memory, False, passes, threads)


@contextlib.contextmanager
def _meanwhile(prepare: Callable[[], None]) -> Iterator[None]:
    """A block beside which something is prepared; what fails there will fail again where it is used."""

    def run() -> None:
        with contextlib.suppress(CompileError, InputError):
            prepare()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _first_stage(config: Architecture) -> int:
    """Pixels of the planes along a side of one of the first stage."""
    return config.cell // 2 if isinstance(config, LWISPConfig) else 1


def _copy_core(
    made: Array, picture: Array, offset: tuple[int, int], rows: Span, columns: Span, scale: int, add: bool
) -> None:
    """Copy the core of a window's picture to where it belongs.

    Args:
        made: The window's picture.
        picture: Of the frame, (H, W, C); it gets the core, or its values are added to.
        offset: (row, column) of the picture's first pixel in the frame's picture.
        rows: The window's rows, in pixels of the first stage.
        columns: Likewise.
        scale: Pixels of the picture along a side of these.
        add: Add to the picture instead of replacing its pixels.
    """
    places, parts = [], []
    for span, before, side in zip((rows, columns), offset, picture.shape, strict=False):
        begin = max(span.first * scale - before, 0)
        end = min(span.last * scale - before, side)
        places.append(slice(begin, max(end, begin)))
        parts.append(slice(begin + before - span.start * scale, max(end, begin) + before - span.start * scale))
    target = picture[places[0], places[1]]
    core = made[parts[0], parts[1]]
    if add:
        target += core
        return
    pixel = np.dtype((np.void, core.itemsize * core.shape[2]))  # in one piece: half the time where turned
    target.view(pixel)[...] = core.view(pixel)
