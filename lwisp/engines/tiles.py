"""LW-ISP by windows of the frame, so that tiles give exactly what the whole picture gives.

The network averages over the frame in five places: the channel attention of its four FGAMs and the global vector. Each
stage ends before such an average; it is gathered over all tiles before the next stage begins. Inside a stage every
value depends on a neighborhood only, so a window with a halo gives the values of its core exactly: at a window's side
inside the picture the convolutions reflect what is not there, but no further than the halo, which is thrown away, and
at the picture's own border a window ends where the picture ends.

All sizes are in pixels of the first stage: of the planes, or of cells of them (`LWISPConfig.cell`).
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lwisp.engines.stages import STAGES

Array = NDArray[Any]
Read = Callable[[slice, slice], Array]
"""Rows and columns of the frame, padded to multiples of 16 -> planes (1, C, rows, columns)."""
Write = Callable[[Array, Array, "Span", "Span"], None]
"""(picture of a window and its sum, its rows and its columns with their cores) -> nothing."""

SCALES = {"planes": 1, "p0": 2, "p1": 4, "p2": 8, "p3": 16, "bottom": 16, "low": 4, "high": 1}
"""Pixels of the first stage along a side of one value."""
HALOS = {"p0": 16, "p1": 16, "p2": 16, "p3": 32, "bottom": 48, "low": 64, "high": 32}
"""Halo in pixels of the first stage: the reach of a stage around a value, rounded up to multiples of 16."""
STORED = 7
"""Values kept between stages at one time, per pixel of the first stage, with the default width: p1, p2 and `low`."""


class Span(NamedTuple):
    """A window along one side of the frame, and its core: what it alone is responsible for."""

    start: int
    stop: int
    first: int
    last: int


def spans(side: int, window: int, halo: int) -> list[Span]:
    """Windows of one size whose cores cover a side without overlap; all in multiples of 16.

    As few windows as will do, and these no longer than they must be: what overlaps is computed twice.

    Args:
        side: Length of the side.
        window: Longest window allowed.
        halo: Values beside a core that a window computes, but that are not used.

    Returns:
        The windows, from first to last.

    Raises:
        ValueError: A window is not longer than its halos.
    """
    if window >= side:
        return [Span(0, side, 0, side)]
    if window <= 2 * halo:
        raise ValueError(f"expected windows longer than two halos of {halo}, got {window}")
    inner = side - 2 * halo
    count = -(-inner // (window - 2 * halo))
    window = -(-inner // (16 * count)) * 16 + 2 * halo
    found, done = [], 0
    while done < side:
        start = min(max(done - halo, 0), side - window)
        stop = start + window
        last = side if stop == side else stop - halo
        found.append(Span(start, stop, done, last))
        done = last
    return found


def run_tiles(
    call: Callable[..., list[Array]],
    read: Read,
    write: Write,
    size: tuple[int, int],
    window: int,
    bf16: bool,
    pixels: str,
) -> None:
    """Run the whole network by windows of the frame. Averages are sums in float64, always in the same order.

    Args:
        call: (name of a module, inputs) -> its outputs.
        read: (rows, columns) of the frame -> planes (1, C, rows, columns).
        write: Takes the picture of each window; see `Write`.
        size: (h, w) of the first stage, multiples of 16.
        window: Longest side of a window; deeper stages take twice that.
        bf16: Keep in bf16 what is kept between stages, instead of float32.
        pixels: Type of the picture's values.
    """
    height, width = size
    kept: dict[str, Array] = {}

    def outputs(name: str, *vectors: Array) -> Iterator[tuple[Span, Span, list[Array]]]:
        sources = [source for source in STAGES[name] if source in SCALES]
        side = window if "planes" in sources else 2 * window  # deeper stages take less memory
        module = f"{name}-{pixels}" if name == "high" else name
        for rows, columns in itertools.product(spans(height, side, HALOS[name]), spans(width, side, HALOS[name])):
            inputs = [
                read(slice(rows.start, rows.stop), slice(columns.start, columns.stop))
                if source == "planes"
                else _unpack(_at(kept[source], SCALES[source], rows.start, rows.stop, columns.start, columns.stop))
                for source in sources
            ]
            yield rows, columns, call(module, *inputs, *vectors)

    def gather(name: str, *vectors: Array) -> Array:
        """Run a stage over the frame and keep its output; the output's means over the frame (1, C)."""
        scale = SCALES[name]
        total = np.zeros(())
        for rows, columns, (output,) in outputs(name, *vectors):
            if name not in kept:
                shape = (1, output.shape[1], height // scale, width // scale)
                kept[name] = np.empty(shape, np.uint16 if bf16 else np.float32)
            top, left = rows.start, columns.start
            core = _at(output, scale, rows.first - top, rows.last - top, columns.first - left, columns.last - left)
            place = _at(kept[name], scale, rows.first, rows.last, columns.first, columns.last)
            place[...] = _pack(core) if bf16 else core
            with np.errstate(invalid="ignore"):  # infinity less infinity: what becomes of it is looked at in the end
                total = total + core.sum((-2, -1), dtype=np.float64)
        return (total * (scale * scale / (height * width))).astype(np.float32)

    map0 = call("map0", gather("p0"))[0].copy()
    map1 = call("map1", gather("p1", map0))[0].copy()
    del kept["p0"]
    map2 = call("map2", gather("p2", map1))[0].copy()
    map3 = call("map3", gather("p3", map2))[0].copy()
    vector = call("vector", gather("bottom", map3))[0].copy()
    del kept["p3"], kept["bottom"]
    gather("low", map1, map2, vector)
    del kept["p2"]
    for rows, columns, (picture, total) in outputs("high", map0, map1):
        write(picture, total, rows, columns)


def _at(values: Array, scale: int, top: int, bottom: int, left: int, right: int) -> Array:
    return values[..., top // scale : bottom // scale, left // scale : right // scale]


def _pack(values: Array) -> Array:
    """float32 as bf16, rounded, in integers of 16 bits: NumPy has no such floats."""
    return ((np.ascontiguousarray(values).view(np.uint32) + 0x8000) >> 16).astype(np.uint16)


def _unpack(values: Array) -> Array:
    """Contiguous float32 of what `_pack` gives, or of float32."""
    if values.dtype == np.float32:
        return np.ascontiguousarray(values)
    return (values.astype(np.uint32) << 16).view(np.float32)
