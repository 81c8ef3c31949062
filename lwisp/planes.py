"""A network's input, made window by window: what mosaics and demosaiced pictures have in common.

`pipeline.Planes` makes it of a mosaic, `linear_planes.LinearPlanes` of demosaiced light.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from lwisp.engines.contract import Array
from lwisp.weights import InputConvention

BAND = 64
"""Rows of cells that are made into planes at once: few enough to stay in the processor's cache."""
GRID = 64
"""Parts along a side of the frame whose means the exposure rule looks at."""


@dataclass(frozen=True)
class FrameExposure:
    """What the exposure rule finds in a frame."""

    gain: float
    """What the frame is multiplied by."""
    brightest: float = 1.0
    """Light of the brightest of its 64x64 parts, so exposed; 1 is the white of the middle tones."""


class Steps(Protocol):
    """What computes the steps before the network; an `Engine` does."""

    def before(self, name: str, *inputs: Array) -> Array:
        """A module of `engines.stages.names_of(None)`, such as "light-bm" or "gain", on its inputs."""


class LightPlanes(ABC):
    """The network's input, made window by window. Any window is exactly that part of the whole frame.

    Args:
        steps: Computes the modules before the network.
        shape: (C, h, w) of the planes.
        convention: Which of the steps the network expects.
        exposure: EV on top of the exposure rule.
        frame: What the exposure rule found in another frame, to be exposed as it; None takes this frame's own.
        highlights: How much of the light above white is kept from it, 0 to 1.
        noise: (2,), shot and read noise to be taken away, light from black 0 to white 1.
    """

    colors: ClassVar[tuple[int, ...]]
    """The planes that R, Gr, Gb and B are seen in by the exposure rule."""
    last: ClassVar[str]
    """Name of the last step with headroom, but for its letters."""

    def __init__(
        self,
        steps: Steps,
        shape: tuple[int, int, int],
        convention: InputConvention,
        exposure: float,
        frame: FrameExposure | None,
        highlights: float,
        noise: NDArray[np.float32],
    ) -> None:
        self.steps, self.shape, self.convention = steps, shape, convention
        self._preparation = convention.preparation
        self._highlights, self._noise = np.float32(highlights), noise
        self._exposure = np.float32(2.0**exposure)
        is_fixed = convention.exposure == "none" and not convention.headroom
        self._frame = FrameExposure(1.0) if is_fixed else frame
        self._bright: NDArray[np.float32] | None = None

    @abstractmethod
    def _light_of(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """The steps before the exposure (C, rows, columns), without a plane that tells the noise."""

    @abstractmethod
    def _sample_colors(self) -> NDArray[np.float32]:
        """Colors of bright light (3, 64, 64) in the parts of the frame."""

    def _shading_gain(self, rows: slice, columns: slice) -> NDArray[np.float32] | None:
        """What undoes the network's own lens shading (rows, columns); None where it knows of none."""
        return None

    @property
    def frame(self) -> FrameExposure:
        """What the exposure rule finds in this frame; a gain of 1 where the network expects none."""
        if self._frame is None:
            self._frame = self._measure(None)
        return self._frame

    def read(self, rows: slice, columns: slice, out: NDArray[np.float32]) -> None:
        """Write the network's input for a window of the frame into an array.

        Args:
            rows: First row of the planes and the one after the last, within the frame.
            columns: The same of columns.
            out: (C, rows, columns) float32, the planes, the last of them that which tells the noise, where there is
                one; 1 is the white of the exposed frame.
        """
        is_whole = (rows, columns) == (slice(0, self.shape[1]), slice(0, self.shape[2]))
        if self._frame is None and not is_whole:
            self._frame = self._measure(None)
        light = out[: self.shape[0] - self._preparation.tells]
        for band in bands(rows):
            light[:, band.start - rows.start : band.stop - rows.start] = self._unexposed(band, columns)
        if self._frame is None:
            self._frame = self._measure(light)
        shading = self._shading_gain(rows, columns)
        if shading is not None:
            light *= shading
        gain = np.float32(np.float32(self._frame.gain) * self._exposure)
        if not (self._preparation.headroom or self._preparation.tells):
            light *= gain
            return
        brightest = np.float32(self._frame.brightest) * self._exposure
        white = np.float32(brightest.clip(1, 2**self._preparation.headroom) ** self._highlights)
        for band in bands(slice(0, light.shape[1])):
            out[:, band] = self._exposed(light[:, band], gain, white)

    def _exposed(self, light: NDArray[np.float32], gain: np.float32, white: np.float32) -> NDArray[np.float32]:
        """The last step with headroom or noise to tell, of at most `BAND` rows."""
        count = light.shape[1]
        if count < BAND <= self.shape[1]:  # a whole band, so that what is compiled for one serves
            light = np.pad(light, ((0, 0), (0, BAND - count), (0, 0)))
        noise = [self._noise * [gain, gain * gain]] if self._preparation.tells else []
        name = self.last + "n" * self._preparation.tells
        facts = [np.asarray(value, np.float32) for value in (gain, white, *noise)]
        exposed: NDArray[np.float32] = self.steps.before(name, np.ascontiguousarray(light)[None], *facts)[0]
        return exposed[:, :count]

    def _unexposed(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """The steps before the exposure, of at most `BAND` rows."""
        count = rows.stop - rows.start
        if count == BAND or self.shape[1] < BAND:
            return self._light_of(rows, columns)
        start = max(rows.stop - BAND, 0)  # a whole band, so that what is compiled for one serves
        return self._light_of(slice(start, start + BAND), columns)[:, rows.start - start : rows.stop - start]

    def _bright_colors(self, rows: slice, columns: slice, margin: int) -> NDArray[np.float32]:
        """Colors of bright light (3, rows, columns) at these cells and `margin` more on each side."""
        if self._bright is None:
            self._bright = self._sample_colors()
        colors = _between(self._bright, 1, rows, self.shape[1], margin)
        return _between(colors, 2, columns, self.shape[2], margin)

    def _measure(self, planes: NDArray[np.float32] | None) -> FrameExposure:
        """What the exposure rule says of means over 64 x 64 parts of the whole frame.

        `planes` are those of the frame, if they are there already; without them the same bands are made and summed.
        """
        count, height, width = self.shape
        down, across = _parts(height), _parts(width)
        total = np.zeros((count - self._preparation.tells, GRID, GRID))
        for band in bands(slice(0, height)):
            part = self._unexposed(band, slice(0, width)) if planes is None else planes[:, band]
            total += down[:, band] @ (part @ across.T).astype(np.float64)
        grid = total[list(self.colors)][None].astype(np.float32)
        gain, brightest = self.steps.before("gain", grid).tolist()
        return FrameExposure(gain, brightest) if self._preparation.exposes else FrameExposure(1.0, brightest / gain)


def bands(rows: slice) -> list[slice]:
    """Rows in parts of at most `BAND`.

    Args:
        rows: First row and the one after the last.

    Returns:
        The parts, in order.
    """
    return [slice(top, min(top + BAND, rows.stop)) for top in range(rows.start, rows.stop, BAND)]


def _parts(side: int) -> NDArray[np.float32]:
    """(GRID, side): weights of the means over parts of a side, which overlap where it is no multiple of them."""
    place = np.arange(side)
    part = np.arange(GRID)[:, None]
    inside = (part * side // GRID <= place) & (place < -(-(part + 1) * side // GRID))
    weights: NDArray[np.float32] = (inside / inside.sum(1, keepdims=True)).astype(np.float32)
    return weights


def _between(parts: NDArray[np.float32], axis: int, cells: slice, side: int, margin: int) -> NDArray[np.float32]:
    """Values of 64 parts of a side at these cells and some more on each side, as `highlights.between_parts` has it."""
    place = np.arange(cells.start - margin, cells.stop + margin, dtype=np.float32) + np.float32(0.5)
    place = (place * np.float32(GRID / side) - np.float32(0.5)).clip(0, GRID - 1)
    first = np.floor(place).clip(max=GRID - 2)
    share = (place - first).reshape([-1 if dim == axis else 1 for dim in range(parts.ndim)])
    before = parts.take(first.astype(np.intp), axis)
    after = parts.take(first.astype(np.intp) + 1, axis)
    values: NDArray[np.float32] = before + share * (after - before)
    return values
