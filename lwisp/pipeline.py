"""RAW development: lens shading, levels, balance, canonical color, exposure, network, orientation.

`develop` turns one RAW into a picture; `Planes` has the steps before the network; `development` works on many files.
"""

import math
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lwisp.engines.contract import Array
from lwisp.engines.engine import Engine, prepare_engine
from lwisp.engines.frames import reflected_indices
from lwisp.engines.kept import cached_engine
from lwisp.engines.names import PIXELS, Backend, Precision
from lwisp.errors import ArgumentError, InputError, alternatives, check_choice, check_switches, is_number, shown
from lwisp.files.opcodes import NO_LISTS
from lwisp.files.raw import RawImage, check_raw
from lwisp.files.white_balance import AS_SHOT, parse_balance, with_balance
from lwisp.imaging.bayer import cfa_offset
from lwisp.imaging.framing import CROPS, Crop, frame_picture
from lwisp.imaging.hot_pixels import repair_hot_pixels
from lwisp.imaging.pixels import orient, unorient
from lwisp.imaging.shading import shading_gain
from lwisp.imaging.shading_maps import WHITE, undo_shading
from lwisp.weights import InputConvention, Weights, check_weights

MAX_EXPOSURE = 5
"""EV; the largest exposure compensation, up or down."""
MAX_GAIN = float(np.finfo(np.float32).max)
BAND = 64
"""Rows of cells that are made into planes at once: few enough to stay in the processor's cache."""
GRID = 64
"""Parts along a side of the frame whose means the exposure rule looks at."""


def develop(
    weights: Weights,
    raw: RawImage,
    exposure: float = 0.0,
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: float | None = None,
    white_balance: str = AS_SHOT,
    crop: Crop = "camera",
    keep_hot_pixels: bool = False,
) -> NDArray[np.float32]:
    """A RAW developed into a picture: (H, W, 3) display-referred sRGB in [0, 1], upright, of square pixels.

    The same RAW, weights, back end and precision give the same pixels. The engine is kept with `weights`, so that the
    next picture costs what the network costs.

    Args:
        weights: Weights that take RAWs, from `load`.
        raw: The RAW, from `read_raw` or `read_mosaic`.
        exposure: EV on top of the exposure rule, -5 to 5.
        precision: "auto", "fp32" or "bf16"; auto takes bf16 where the processor computes in it.
        backend: "auto", "torch", "openvino" or "onnxruntime"; auto takes OpenVINO where it is installed.
        memory: Bound on the memory of the whole process, in GB.
        white_balance: "as-shot", "auto", "daylight", "5200" kelvin, "5200,10" with a tint, or the gains "2.1,1,1.6", as
            in `files.white_balance.parse_balance`.
        crop: "camera" for what the camera's own pictures show, "none" for the whole visible area.
        keep_hot_pixels: Leave hot and dead photosites as they are.

    Returns:
        The picture, float32.

    Raises:
        InputError: The weights do not take RAWs, an argument cannot be used, or memory cannot hold the picture.
    """
    check_weights(weights, "raw")
    check_light(raw, exposure, crop, keep_hot_pixels)
    raw = balanced(raw, white_balance, weights.card.convention)
    engine = cached_engine(weights, backend, precision, memory)
    raw = raw if keep_hot_pixels else without_hot_pixels(raw)
    picture: NDArray[np.float32] = develop_with(engine, weights.card.convention, raw, exposure, np.float32, crop=crop)
    return picture


def without_hot_pixels(raw: RawImage) -> RawImage:
    """A RAW whose hot and dead photosites are repaired, as `imaging.hot_pixels` does; the RAW itself where none are."""
    mosaic, count = repair_hot_pixels(raw.mosaic, min(raw.black_level), max(raw.white_level))
    return replace(raw, mosaic=mosaic) if count else raw


def develop_with(
    engine: Engine,
    convention: InputConvention,
    raw: RawImage,
    exposure: float,
    dtype: type[np.float32] | type[np.uint8] | type[np.uint16],
    gain: float | None = None,
    crop: Crop = "camera",
) -> NDArray[Any]:
    """A RAW developed by a prepared engine: (H, W, 3) sRGB, upright, of square pixels.

    The whole visible area is developed and cropped afterwards: no pixel depends on the crop, the exposure neither.

    Args:
        engine: The network, from `engines.engine.prepare_engine`.
        convention: What the network expects of its input; it stands on the card of its weights.
        raw: The RAW.
        exposure: EV on top of the exposure rule.
        dtype: float32 for values in [0, 1]; integers reach over their whole range.
        gain: The exposure rule's, where it is that of another frame; None takes this frame's own.
        crop: "camera" or "none", as for `develop`.

    Returns:
        The picture, of this type.

    Raises:
        InputError: The crop is none of these.
    """
    check_choice("crop", crop, CROPS)
    height, width = raw.mosaic.shape
    upright = (width, height) if raw.orientation >= 5 else (height, width)
    picture = np.empty((*upright, 3), dtype)
    as_sensed = unorient(picture, raw.orientation)  # a view of the picture, which is upright when this is full
    if engine.takes_mosaics:
        if gain is not None:  # the file takes the frame's own, with what is missing as exposure
            exposure += math.log2(gain / Planes(engine, raw, convention).gain)
        facts = inputs_of(raw, exposure)
        engine.develop_mosaic([facts[name] for name in convention.preparation.inputs], as_sensed)
    else:
        planes = Planes(engine, raw, convention, exposure, gain)  # levels, balance, canonical color, exposure
        engine.develop(planes, as_sensed, cfa_offset(raw.cfa))
    shown = frame_picture(as_sensed, raw.crop if crop == "camera" else None, raw.pixel_aspect)
    return picture if shown is as_sensed else orient(shown, raw.orientation)


def balanced(raw: RawImage, white_balance: str, convention: InputConvention) -> RawImage:
    """A RAW with the white balance that was asked for.

    Args:
        raw: The RAW, which stays as it is.
        white_balance: What `files.white_balance.parse_balance` takes.
        convention: What the network expects of its input.

    Raises:
        InputError: The words are no white balance, the RAW cannot have it, or the weights take RAWs without any.
    """
    balance = parse_balance(white_balance)
    check_balances(balance.words, convention)
    return with_balance(raw, balance)


def check_balances(words: str, convention: InputConvention) -> None:
    """Check that weights take a white balance.

    Args:
        words: The white balance; "as-shot" suits all.
        convention: What the network expects of its input.

    Raises:
        InputError: They take RAWs as the sensor saw them.
    """
    if words != AS_SHOT and not convention.preparation.balances:
        raise InputError(
            f"expected weights that take a balanced RAW for a white balance of {words}, got some that balance by "
            "themselves; take other weights, or leave the white balance out"
        )


def without_shading(raw: RawImage) -> RawImage:
    """A RAW with even light over the frame: what its file says of the lens's shading is applied to the mosaic.

    Args:
        raw: The RAW, which stays as it is; it is returned where its file says nothing.

    Returns:
        The RAW with another mosaic and other levels.
    """
    if not raw.shading:
        return raw
    mosaic, black = undo_shading(raw.mosaic, raw.cfa, raw.black_level, raw.white_level, raw.shading)
    white = float(WHITE)
    even = replace(raw, mosaic=mosaic, black_level=(black,) * 4, white_level=(white,) * 4)
    return replace(even, shading=(), opcode_lists=NO_LISTS)


def inputs_of(raw: RawImage, exposure: float = 0.0) -> dict[str, Array]:
    """Inputs of an exported file that takes mosaics.

    Args:
        raw: The RAW.
        exposure: EV on top of the exposure rule.

    Returns:
        Values by the names of `engines.developed.INPUTS`; the mosaic is not copied, unless the file tells of the lens's
        shading.
    """
    raw = without_shading(raw)
    return {
        "mosaic": raw.mosaic,
        "black_level": np.asarray(raw.black_level, np.float32),
        "white_level": np.asarray(raw.white_level, np.float32),
        "white_balance": np.asarray(raw.white_balance, np.float32),
        "matrix": np.asarray(raw.cam2rgb, np.float32),
        "exposure": np.asarray(exposure, np.float32),
        "offset": np.array(cfa_offset(raw.cfa), np.int64),
    }


class Steps(Protocol):
    """What computes the steps before the network; an `Engine` does."""

    def before(self, name: str, *inputs: Array) -> Array:
        """A module of `engines.structures`, "light-bm" or the like or "gain", on its inputs."""


class Planes:
    """The network's input (4, h, w), planes R, Gr, Gb, B of a RAW, made window by window; the mosaic stays in 16 bits.

    Lens shading goes first. Levels, balance and canonical color are the engine's module "light", the exposure rule its
    "gain"; what is done here is geometry. Any window is exactly that part of the whole frame.

    Args:
        steps: Computes these modules.
        raw: The RAW; it is not copied.
        convention: Which of the steps the network expects.
        exposure: EV on top of the exposure rule.
        gain: The exposure rule's, where it is that of another frame; None takes this frame's own.
    """

    def __init__(
        self,
        steps: Steps,
        raw: RawImage,
        convention: InputConvention,
        exposure: float = 0.0,
        gain: float | None = None,
    ) -> None:
        raw = without_shading(raw)
        self.steps, self.raw, self.convention = steps, raw, convention
        self.offset = cfa_offset(raw.cfa)
        height, width = raw.mosaic.shape
        self.shape = (4, (height + self.offset[0] + 1) // 2, (width + self.offset[1] + 1) // 2)
        preparation = convention.preparation
        self._light = preparation.light
        facts = inputs_of(raw, exposure)
        black = facts["black_level"] if preparation.subtracts else np.zeros(4, np.float32)
        colors = [facts[name] for name in ("white_balance", "matrix") if name in preparation.inputs]
        self._facts = [black, facts["white_level"], *colors]
        self._exposure = np.float32(2.0**exposure)
        fixed = gain if convention.exposure == "auto" else 1.0
        self._gain = None if fixed is None else np.float32(fixed)

    @property
    def gain(self) -> float:
        """The gain of the exposure rule; 1 where the network expects none."""
        if self._gain is None:
            self._gain = self._exposure_gain(None)
        return float(self._gain)

    def read(self, rows: slice, columns: slice, out: NDArray[np.float32]) -> None:
        """Write the network's input for a window of the frame into an array.

        Args:
            rows: First row of the planes and the one after the last, within the frame.
            columns: The same of columns.
            out: (4, rows, columns) float32, planes R, Gr, Gb, B; 1 is the white of the exposed frame.
        """
        is_whole = (rows, columns) == (slice(0, self.shape[1]), slice(0, self.shape[2]))
        if self._gain is None and not is_whole:
            self._gain = self._exposure_gain(None)
        for band in _bands(rows):
            out[:, band.start - rows.start : band.stop - rows.start] = self._unexposed(band, columns)
        if self._gain is None:
            self._gain = self._exposure_gain(out)
        if any(self.convention.shading):
            out *= shading_gain(self.convention.shading, self.radius(rows, columns))
        out *= self._gain * self._exposure

    def _unexposed(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """The steps before the exposure (4, rows, columns), of at most `BAND` rows."""
        count = rows.stop - rows.start
        if count == BAND or self.shape[1] < BAND:
            return self._light_of(rows, columns)
        start = max(rows.stop - BAND, 0)  # a whole band, so that what is compiled for one serves
        return self._light_of(slice(start, start + BAND), columns)[:, rows.start - start : rows.stop - start]

    def _light_of(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        window = _take_reflected(self.raw.mosaic, 0, rows, self.offset[0])
        photosites = np.ascontiguousarray(_take_reflected(window, 1, columns, self.offset[1]))
        planes: NDArray[np.float32] = self.steps.before(self._light, photosites, *self._facts)[0]
        return planes

    def _exposure_gain(self, planes: NDArray[np.float32] | None) -> np.float32:
        """The gain of the exposure rule, from means over 64 x 64 parts of the whole frame.

        `planes` are those of the frame, if they are there already; without them the same bands are made and summed.
        """
        _, height, width = self.shape
        down, across = _parts(height), _parts(width)
        total = np.zeros((4, GRID, GRID))
        for band in _bands(slice(0, height)):
            part = self._unexposed(band, slice(0, width)) if planes is None else planes[:, band]
            total += down[:, band] @ (part @ across.T).astype(np.float64)
        return np.float32(self.steps.before("gain", total[None].astype(np.float32)).item())

    def radius(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Squared distance of each cell of a window from the frame's center.

        Args:
            rows: First row of the planes and the one after the last, within the frame.
            columns: The same of columns.

        Returns:
            (rows, columns); 0 in the center and 1 in the frame's corners.
        """
        height, width = self.raw.mosaic.shape
        down = _squared_distance(rows, self.offset[0], height)
        across = _squared_distance(columns, self.offset[1], width)
        squared = (down[:, None] + across[None]) / np.float32(height**2 + width**2) * 4
        return squared.astype(np.float32, copy=False)


def _bands(rows: slice) -> list[slice]:
    """The rows in parts of at most `BAND`."""
    return [slice(top, min(top + BAND, rows.stop)) for top in range(rows.start, rows.stop, BAND)]


def _parts(side: int) -> NDArray[np.float32]:
    """(GRID, side): weights of the means over parts of a side, which overlap where it is no multiple of them."""
    place = np.arange(side)
    part = np.arange(GRID)[:, None]
    inside = (part * side // GRID <= place) & (place < -(-(part + 1) * side // GRID))
    weights: NDArray[np.float32] = (inside / inside.sum(1, keepdims=True)).astype(np.float32)
    return weights


def _squared_distance(cells: slice, before: int, side: int) -> NDArray[np.float32]:
    """Squared distance in photosites of cells from the middle of a side that begins `before` photosites in."""
    middles = 2 * np.arange(cells.start, cells.stop, dtype=np.float32) + 1 - before
    distance: NDArray[np.float32] = middles - np.float32(side / 2)
    distance *= distance
    return distance


def _take_reflected(photosites: NDArray[np.uint16], axis: int, cells: slice, before: int) -> NDArray[np.uint16]:
    """The photosites of these cells, and two more on each side, along an axis that is reflected at both ends.

    A view where none is reflected.
    """
    index = reflected_indices(2 * cells.start - before - 2, 2 * cells.stop - before + 2, photosites.shape[axis])
    if index[-1] - index[0] != len(index) - 1:
        taken: NDArray[np.uint16] = photosites.take(index, axis)
        return taken
    part = slice(index[0], index[-1] + 1)
    return photosites[part] if axis == 0 else photosites[:, part]


def prepare(
    raw: RawImage, convention: InputConvention, exposure: float = 0.0
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """The network's input for a whole RAW, computed by torch.

    Args:
        raw: The RAW, which stays as it is.
        convention: What the network expects of its input; it stands on the card of its weights.
        exposure: EV on top of the exposure rule.

    Returns:
        Planes (4, h, w) float32 in the order R, Gr, Gb, B, as `Planes.read` gives them; and (row, column), 0 or 1, of
        the first photosite in them.
    """
    from lwisp.engines.eager import EagerSteps

    planes = Planes(EagerSteps(), raw, convention, exposure)
    found = np.empty(planes.shape, np.float32)
    planes.read(slice(0, planes.shape[1]), slice(0, planes.shape[2]), found)
    return found, planes.offset


def check_exposure(exposure: float) -> None:
    """Check that weights are trained for an exposure.

    Args:
        exposure: EV.

    Raises:
        InputError: It is beyond `MAX_EXPOSURE`, or no number.
    """
    if not is_number(exposure, -MAX_EXPOSURE, MAX_EXPOSURE):
        raise ArgumentError(f"expected an exposure of -{MAX_EXPOSURE} to {MAX_EXPOSURE} EV, got {shown(exposure)}")


def check_light(raw: object, exposure: float, crop: Crop, keep_hot_pixels: bool) -> None:
    """Check what a RAW is to be developed with, before any work.

    Args:
        raw: What shall be one.
        exposure: As for `develop`, like the other arguments.
        crop: Likewise.
        keep_hot_pixels: Likewise.

    Raises:
        ArgumentError: One of them cannot be used.
    """
    check_raw(raw)
    check_exposure(exposure)
    check_choice("crop", crop, CROPS)
    check_switches(keep_hot_pixels=keep_hot_pixels)


def check_pixels(dtype: Any) -> None:
    """Check the type of a picture's values; raises `ArgumentError` where it is none of `engines.names.PIXELS`."""
    if dtype not in (np.float32, np.uint8, np.uint16):
        raise ArgumentError(f"expected the type {alternatives(PIXELS)} of a picture, got {dtype!r}")


def check_gain(gain: float | None) -> None:
    """Check the gain of another frame; raises `ArgumentError` where it is no number above 0."""
    if gain is not None and not (is_number(gain, 0, MAX_GAIN) and gain):
        raise ArgumentError(f"expected a gain above 0, from Developer.gain, got {shown(gain)}")


class Developer:
    """An engine prepared to develop RAWs, for programs that develop many, such as a server.

    Any number of threads may use one at once; each gets the picture that it would get alone.

    Args:
        weights: Weights that take RAWs, from `load`.
        backend: "auto", "torch", "openvino" or "onnxruntime"; auto takes OpenVINO where it is installed.
        precision: "auto", "fp32" or "bf16"; auto takes bf16 where the processor computes in it.
        memory: Bound on the memory of the whole process, in GB.
        threads: How many compute one picture, as many as torch uses if not given. OpenVINO and ONNX Runtime take any
            number, torch only the process's own (`torch.set_num_threads`).

    Raises:
        InputError: The weights do not take RAWs, or an argument cannot be used.
    """

    def __init__(
        self,
        weights: Weights,
        backend: Backend = "auto",
        precision: Precision = "auto",
        memory: float | None = None,
        threads: int | None = None,
    ) -> None:
        check_weights(weights, "raw")
        self.weights = weights
        self.engine = prepare_engine(weights.runnable, backend, precision, memory, threads=threads)

    def develop(
        self,
        raw: RawImage,
        exposure: float = 0.0,
        dtype: type[np.float32] | type[np.uint8] | type[np.uint16] = np.float32,
        white_balance: str = AS_SHOT,
        gain: float | None = None,
        crop: Crop = "camera",
        keep_hot_pixels: bool = False,
    ) -> NDArray[Any]:
        """The picture that `lwisp.develop` gives: (H, W, 3) sRGB, upright.

        Args:
            raw: The RAW.
            exposure: EV on top of the exposure rule, -5 to 5.
            dtype: float32 for values in [0, 1]; integers reach over their whole range.
            white_balance: As for `lwisp.develop`.
            gain: The exposure rule's, from `gain` of another frame, so that both come out alike; None takes this
                frame's own.
            crop: "camera" or "none", as for `develop`.
            keep_hot_pixels: Leave hot and dead photosites as they are.

        Returns:
            The picture, of this type.

        Raises:
            InputError: An argument is out of range, the RAW cannot have this white balance, or memory cannot hold the
                picture.
        """
        check_light(raw, exposure, crop, keep_hot_pixels)
        check_pixels(dtype)
        check_gain(gain)
        raw = balanced(raw, white_balance, self.weights.card.convention)
        raw = raw if keep_hot_pixels else without_hot_pixels(raw)
        return develop_with(self.engine, self.weights.card.convention, raw, exposure, dtype, gain, crop)

    def gain(self, raw: RawImage) -> float:
        """The gain that the exposure rule gives a RAW.

        Args:
            raw: The RAW.

        Returns:
            1 where the weights have no exposure rule.
        """
        return Planes(self.engine, raw, self.weights.card.convention).gain
