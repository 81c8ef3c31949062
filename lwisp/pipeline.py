"""RAW development: lens shading, levels, balance, canonical color, exposure, network, orientation.

`develop` turns one RAW into a picture; `Planes` has the steps before the network; `development` works on many files.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwisp.engines.contract import Array
from lwisp.engines.developed import SAMPLES
from lwisp.engines.engine import Engine, prepare_engine
from lwisp.engines.frames import reflected_indices
from lwisp.engines.kept import cached_engine
from lwisp.engines.names import PIXELS, Backend, Precision
from lwisp.errors import (
    ArgumentError,
    InputError,
    alternatives,
    check_choice,
    check_switches,
    check_type,
    is_number,
    shown,
)
from lwisp.files.linear import DEMOSAICED, AnyRaw, LinearImage, check_raw, size_of
from lwisp.files.opcodes import NO_LISTS
from lwisp.files.raw import RawImage
from lwisp.files.white_balance import AS_SHOT, R, parse_balance, with_balance
from lwisp.imaging.bayer import SATURATION, cfa_offset, plane_order
from lwisp.imaging.framing import CROPS, Crop, frame_picture
from lwisp.imaging.hot_pixels import repair_hot_pixels
from lwisp.imaging.noise import estimate_noise
from lwisp.imaging.pixels import average_channels, convert, mix, orient, unorient
from lwisp.imaging.removed import share_of_noise
from lwisp.imaging.shading import shading_gain
from lwisp.imaging.shading_maps import WHITE, undo_shading
from lwisp.linear_planes import LinearPlanes
from lwisp.planes import FrameExposure, LightPlanes, Steps, bands
from lwisp.weights import InputConvention, Weights, check_takes

MAX_EXPOSURE = 5
"""EV; the largest exposure compensation, up or down."""
LOADERS_WHITE = 4 * 255 / 1023
"""White of the public loaders of the Zurich dataset, of the 10 bits of its sensor."""
MAX_GAIN = float(np.finfo(np.float32).max)


def develop(
    weights: Weights,
    raw: AnyRaw,
    exposure: float = 0.0,
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: float | None = None,
    white_balance: str = AS_SHOT,
    crop: Crop = "camera",
    keep_hot_pixels: bool = False,
    highlights: float = 1.0,
    noise_reduction: float = 1.0,
) -> NDArray[np.float32]:
    """A RAW developed into a picture: (H, W, 3) display-referred sRGB in [0, 1], upright, of square pixels.

    Of a monochrome one it is (H, W).

    The same RAW, weights, back end and precision give the same pixels. The engine is kept with `weights`, so that the
    next picture costs what the network costs.

    Args:
        weights: Weights that take RAWs of this kind, from `load`.
        raw: The RAW, from `read_raw`, `read_any` or `read_mosaic`.
        exposure: EV on top of the exposure rule, -5 to 5.
        precision: "auto", "fp32" or "bf16"; auto takes bf16 where the processor computes in it.
        backend: "auto", "torch", "openvino" or "onnxruntime"; auto takes OpenVINO where it is installed.
        memory: Bound on the memory of the whole process, in GB.
        white_balance: "as-shot", "auto", "daylight", "5200" kelvin, "5200,10" with a tint, or the gains "2.1,1,1.6", as
            in `files.white_balance.parse_balance`.
        crop: "camera" for what the camera's own pictures show, "none" for the whole visible area.
        keep_hot_pixels: Leave hot and dead photosites as they are.
        highlights: How much of the light above white is kept from it, 0 to 1.
        noise_reduction: How much of the noise is taken away, 0 to 2; 1 as much as there is.

    Returns:
        The picture, float32.

    Raises:
        InputError: The weights do not take RAWs, an argument cannot be used, or memory cannot hold the picture.
    """
    check_develops(weights)
    check_light(raw, exposure, crop, keep_hot_pixels)
    check_fits(weights, raw)
    check_knobs(weights.card.convention, highlights, noise_reduction)
    raw = balanced(raw, white_balance, weights.card.convention)
    engine = cached_engine(weights, backend, precision, memory)
    raw = raw if keep_hot_pixels else without_hot_pixels(raw)
    picture: NDArray[np.float32] = develop_with(
        engine, weights.card.convention, raw, exposure, np.float32, None, crop, highlights, noise_reduction
    )
    return picture


def check_develops(weights: object) -> None:
    """Check that an argument is weights that develop RAWs, of Bayer mosaics or others.

    Args:
        weights: What was given.

    Raises:
        ArgumentError: It is something else, or weights for another task.
    """
    check_type("weights, from lwisp.load", weights, Weights)
    assert isinstance(weights, Weights)
    if weights.card.takes != "linear":
        check_takes(weights.card, "raw")


def check_fits(weights: Weights, raw: AnyRaw) -> None:
    """Check that weights that develop RAWs are for one of this kind.

    Args:
        weights: The weights.
        raw: The RAW.

    Raises:
        ArgumentError: They are for another kind.
    """
    is_for_linear = weights.card.takes == "linear"
    if isinstance(raw, LinearImage) and not is_for_linear:
        raise ArgumentError(
            f"weights {weights.card.name!r} develop Bayer mosaics, not a RAW of another kind ({raw.way}); leave the "
            "weights to be chosen, or take others of the kind of photo-linear"
        )
    if isinstance(raw, RawImage) and is_for_linear:
        raise ArgumentError(
            f"weights {weights.card.name!r} develop RAWs without a Bayer mosaic, not one with it; leave the weights to "
            "be chosen, or take others, such as photo"
        )


def without_hot_pixels(raw: R) -> R:
    """A RAW whose hot and dead photosites are repaired, as `imaging.hot_pixels` does; the RAW itself where none are.

    What is demosaiced is left as it is, for its defects are spread.
    """
    if isinstance(raw, LinearImage):
        return raw
    mosaic, count = repair_hot_pixels(raw.mosaic, min(raw.black_level), max(raw.white_level))
    return replace(raw, mosaic=mosaic) if count else raw


def develop_with(
    engine: Engine,
    convention: InputConvention,
    raw: AnyRaw,
    exposure: float,
    dtype: type[np.float32] | type[np.uint8] | type[np.uint16],
    frame: FrameExposure | None = None,
    crop: Crop = "camera",
    highlights: float = 1.0,
    noise_reduction: float = 1.0,
) -> NDArray[Any]:
    """A RAW developed by a prepared engine: (H, W, 3) sRGB, upright, of square pixels; (H, W) of a monochrome one.

    The whole visible area is developed and cropped afterwards: no pixel depends on the crop, the exposure neither.

    Args:
        engine: The network, from `engines.engine.prepare_engine`.
        convention: What the network expects of its input; it stands on the card of its weights.
        raw: The RAW.
        exposure: EV on top of the exposure rule.
        dtype: float32 for values in [0, 1]; integers reach over their whole range.
        frame: What the exposure rule found in another frame, to be exposed as it; None takes this frame's own.
        crop: "camera" or "none", as for `develop`.
        highlights: As for `develop`.
        noise_reduction: As for `develop`.

    Returns:
        The picture, of this type.

    Raises:
        InputError: The crop is none of these.
    """
    check_choice("crop", crop, CROPS)
    height, width = size_of(raw)
    upright = (width, height) if raw.orientation >= 5 else (height, width)
    picture = np.empty((*upright, 3), dtype)
    as_sensed = unorient(picture, raw.orientation)  # a view of the picture, which is upright when this is full
    if isinstance(raw, LinearImage):
        light = LinearPlanes(engine, raw, convention, exposure, frame, highlights, noise_reduction)
        if raw.way == DEMOSAICED:
            _clean(engine, light, as_sensed)
        else:
            engine.develop(light, as_sensed)
    elif engine.takes_mosaics:
        if frame is not None and not convention.headroom:  # the file takes its own, with what is missing as exposure
            exposure += math.log2(frame.gain / planes_of(engine, raw, convention).frame.gain)
        facts = inputs_of(raw, convention, exposure, frame, highlights, noise_reduction)
        engine.develop_mosaic([facts[name] for name in convention.preparation.inputs], as_sensed)
    else:
        planes = Planes(engine, raw, convention, exposure, frame, highlights, noise_reduction)
        engine.develop(planes, as_sensed, cfa_offset(raw.cfa))
    shown = frame_picture(as_sensed, raw.crop if crop == "camera" else None, raw.pixel_aspect)
    picture = picture if shown is as_sensed else orient(shown, raw.orientation)
    return average_channels(picture) if isinstance(raw, LinearImage) and raw.is_gray else picture


def _clean(engine: Engine, light: LinearPlanes, picture: NDArray[Any]) -> None:
    """Fill a picture (H, W, 3) with demosaiced light without its noise, which is all there is to mend in it.

    So of what the network changes as much is changed as is noise, and fine detail of clean files stays.
    """
    fine = np.uint16 if np.issubdtype(picture.dtype, np.integer) else np.float32
    given, cleaned = np.empty(picture.shape, fine), np.empty(picture.shape, fine)
    engine.develop(light, cleaned)
    count, height, width = light.shape
    for rows in bands(slice(0, height)):
        seen = np.empty((count, rows.stop - rows.start, width), np.float32)
        light.read(rows, slice(0, width), seen)
        given[rows] = convert(seen[:3].transpose(1, 2, 0).clip(0, 1), given.dtype)
    mix(given, cleaned, share_of_noise(given, cleaned), picture)


def balanced(raw: R, white_balance: str, convention: InputConvention) -> R:
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


def at_levels(raw: RawImage, convention: InputConvention) -> RawImage:
    """A RAW with the levels that a convention states: those of its file, or a public loader's of the Zurich dataset.

    Args:
        raw: The RAW, which stays as it is; it is returned where its own levels hold.
        convention: `levels` decides.

    Returns:
        The RAW with white at 1020/1023 of its own; for "liteispnet" what is below black is raised to it.
    """
    if convention.levels == "sensor":
        return raw
    scaled = replace(raw, white_level=tuple(LOADERS_WHITE * level for level in raw.white_level))  # type: ignore[arg-type]
    if convention.levels == "pynet":
        return scaled
    mosaic = raw.mosaic.copy()
    for (row, column), black in zip(plane_order(raw.cfa), raw.black_level, strict=True):
        sites = mosaic[row::2, column::2]
        np.maximum(sites, np.uint16(round(black)), out=sites)
    return replace(scaled, mosaic=mosaic)


def inputs_of(
    raw: RawImage,
    convention: InputConvention = InputConvention(),
    exposure: float = 0.0,
    frame: FrameExposure | None = None,
    highlights: float = 1.0,
    noise_reduction: float = 1.0,
) -> dict[str, Array]:
    """Inputs of an exported file that takes mosaics.

    Args:
        raw: The RAW.
        convention: What the network expects of its input; the noise is measured only where some is told.
        exposure: EV on top of the exposure rule.
        frame: What the exposure rule found in another frame, to be exposed as it; None takes this frame's own.
        highlights: How much of the light above white is kept from it, 0 to 1.
        noise_reduction: How much of the noise is to be taken away, 0 to 2; 1 as much as there is.

    Returns:
        Values by the names of `engines.developed.INPUTS`; the mosaic is not copied, unless the file tells of the lens's
        shading.
    """
    raw = at_levels(without_shading(raw), convention)
    noise = noise_of(raw) if convention.noise and noise_reduction else (0.0, 0.0)
    return {
        "mosaic": raw.mosaic,
        "black_level": np.asarray(raw.black_level, np.float32),
        "white_level": np.asarray(raw.white_level, np.float32),
        "white_balance": np.asarray(raw.white_balance, np.float32),
        "matrix": np.asarray(raw.cam2rgb, np.float32),
        "exposure": np.asarray(exposure, np.float32),
        "offset": np.array(cfa_offset(raw.cfa), np.int64),
        "highlights": np.asarray(highlights, np.float32),
        "frame": np.asarray((frame.gain, frame.brightest) if frame else (0, 0), np.float32),
        "noise": np.asarray(noise, np.float32) * np.float32(noise_reduction**2),
    }


def noise_of(raw: RawImage) -> tuple[float, float]:
    """Shot and read noise of a RAW, light from black 0 to white 1: as its file tells, else measured.

    Both are 0 where neither can be had.
    """
    if raw.noise is not None:
        return raw.noise
    return estimate_noise(raw.mosaic, raw.cfa, raw.black_level, raw.white_level) or (0.0, 0.0)


class Planes(LightPlanes):
    """The network's input, planes R, Gr, Gb, B of a RAW, made window by window; the mosaic stays in 16 bits.

    Lens shading goes first. Levels, balance and canonical color are the engine's module "light", for which "colors"
    looks at bright light; the exposure rule is "gain". With headroom "expose" is the last step, which adds a fifth
    plane where the network is told the noise. What is done here is geometry. Any window is exactly that part of the
    whole frame.

    Args:
        steps: Computes these modules.
        raw: The RAW; it is not copied.
        convention: Which of the steps the network expects.
        exposure: EV on top of the exposure rule.
        frame: What the exposure rule found in another frame, to be exposed as it; None takes this frame's own.
        highlights: How much of the light above white is kept from it, 0 to 1.
        noise_reduction: How much of the noise is to be taken away, 0 to 2; 1 as much as there is.
    """

    colors = (0, 1, 2, 3)
    last = "expose-"

    def __init__(
        self,
        steps: Steps,
        raw: RawImage,
        convention: InputConvention,
        exposure: float = 0.0,
        frame: FrameExposure | None = None,
        highlights: float = 1.0,
        noise_reduction: float = 1.0,
    ) -> None:
        raw = at_levels(without_shading(raw), convention)
        self.raw, self.offset = raw, cfa_offset(raw.cfa)
        height, width = raw.mosaic.shape
        shape = (4 + convention.noise, (height + self.offset[0] + 1) // 2, (width + self.offset[1] + 1) // 2)
        told = replace(convention, levels="sensor")  # the RAW is at its levels already
        facts = inputs_of(raw, told, exposure, frame, highlights, noise_reduction)
        super().__init__(steps, shape, convention, exposure, frame, highlights, facts["noise"])
        preparation = convention.preparation
        black = facts["black_level"] if preparation.subtracts else np.zeros(4, np.float32)
        self._levels = [black, facts["white_level"]]
        self._colors = [facts[name] for name in ("white_balance", "matrix") if name in preparation.inputs]
        self._lowest_clipped = float((black + SATURATION[0] * (facts["white_level"] - black)).min())

    def _shading_gain(self, rows: slice, columns: slice) -> NDArray[np.float32] | None:
        return shading_gain(shading, self.radius(rows, columns)) if any(shading := self.convention.shading) else None

    def _light_of(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        window = _take_reflected(self.raw.mosaic, 0, rows, self.offset[0])
        photosites = np.ascontiguousarray(_take_reflected(window, 1, columns, self.offset[1]))
        facts = [*self._levels, *self._colors]
        light = self._preparation.light
        if self._preparation.headroom and photosites.max() <= self._lowest_clipped:  # nothing to rebuild
            light = self._preparation.unclipped_light
        elif self._preparation.headroom:
            facts.insert(3, self._bright_colors(rows, columns, margin=1))
        planes: NDArray[np.float32] = self.steps.before(light, photosites, *facts)[0]
        return planes

    def _sample_colors(self) -> NDArray[np.float32]:
        step = max(1, min(self.shape[1:]) // SAMPLES)
        photosites = _take_cells(self.raw.mosaic, 0, self.shape[1], step, self.offset[0])
        photosites = _take_cells(photosites, 1, self.shape[2], step, self.offset[1])
        return self.steps.before("colors", photosites, *self._levels, self._colors[0])

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


def planes_of(steps: Steps, raw: AnyRaw, convention: InputConvention) -> LightPlanes:
    """The network's input of a RAW of any kind, exposed by the rule, to ask for its size and exposure.

    No noise is told, for none of this depends on it, and it would have to be measured.

    Args:
        steps: Computes the modules before the network.
        raw: The RAW.
        convention: What a network for this kind expects.
    """
    if isinstance(raw, LinearImage):
        return LinearPlanes(steps, raw, convention, noise_reduction=0.0)
    return Planes(steps, raw, convention, noise_reduction=0.0)


def _squared_distance(cells: slice, before: int, side: int) -> NDArray[np.float32]:
    """Squared distance in photosites of cells from the middle of a side that begins `before` photosites in."""
    middles = 2 * np.arange(cells.start, cells.stop, dtype=np.float32) + 1 - before
    distance: NDArray[np.float32] = middles - np.float32(side / 2)
    distance *= distance
    return distance


def _take_cells(photosites: NDArray[np.uint16], axis: int, count: int, step: int, before: int) -> NDArray[np.uint16]:
    """The photosites of every `step`-th of `count` cells along an axis that is reflected at both ends."""
    index = reflected_indices(-before, 2 * count - before, photosites.shape[axis])
    taken: NDArray[np.uint16] = photosites.take(index.reshape(-1, 2)[::step].ravel(), axis)
    return taken


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


def check_frame(frame: FrameExposure | None) -> None:
    """Check the exposure of another frame; raises `ArgumentError` where it is none."""
    if frame is not None and not isinstance(frame, FrameExposure):
        raise ArgumentError(f"expected a FrameExposure, from Developer.measure, got {shown(frame)}")
    if frame is not None and not (is_number(frame.gain, 0, MAX_GAIN) and frame.gain):
        raise ArgumentError(f"expected a gain above 0, from Developer.measure, got {shown(frame.gain)}")
    if frame is not None and not is_number(frame.brightest, 0, math.inf):
        raise ArgumentError(f"expected a brightest light of 0 at least, got {shown(frame.brightest)}")


def check_strengths(highlights: float, noise_reduction: float) -> None:
    """Check the strengths of what keeps highlights and takes noise away; raises `ArgumentError` beyond their ranges."""
    if not is_number(highlights, 0, 1):
        raise ArgumentError(f"expected highlights of 0 to 1, got {shown(highlights)}")
    check_noise_reduction(noise_reduction)


def check_noise_reduction(strength: float) -> None:
    """Check how much of the noise is to be taken away; raises `ArgumentError` where it is not 0 to 2."""
    if not is_number(strength, 0, 2):
        raise ArgumentError(f"expected a noise reduction of 0 to 2, got {shown(strength)}")


def check_knobs(convention: InputConvention, highlights: float, noise_reduction: float) -> None:
    """Check the strengths of what keeps highlights and takes noise away.

    Args:
        convention: What the network expects of its input.
        highlights: 0 to 1.
        noise_reduction: 0 to 2.

    Raises:
        InputError: A strength is out of its range, or the weights have no such knob.
    """
    check_strengths(highlights, noise_reduction)
    if highlights != 1 and not convention.headroom:
        raise ArgumentError("these weights keep no light above white, so highlights cannot be set; leave it out")
    if noise_reduction != 1 and not convention.noise:
        raise ArgumentError("these weights are not told the noise, so its reduction cannot be set; leave it out")


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
        check_develops(weights)
        self.weights = weights
        self.engine = prepare_engine(weights.runnable, backend, precision, memory, threads=threads)

    def develop(
        self,
        raw: AnyRaw,
        exposure: float = 0.0,
        dtype: type[np.float32] | type[np.uint8] | type[np.uint16] = np.float32,
        white_balance: str = AS_SHOT,
        frame: FrameExposure | None = None,
        crop: Crop = "camera",
        keep_hot_pixels: bool = False,
        highlights: float = 1.0,
        noise_reduction: float = 1.0,
    ) -> NDArray[Any]:
        """The picture that `lwisp.develop` gives: (H, W, 3) sRGB, upright; (H, W) of a monochrome RAW.

        Args:
            raw: The RAW.
            exposure: EV on top of the exposure rule, -5 to 5.
            dtype: float32 for values in [0, 1]; integers reach over their whole range.
            white_balance: As for `lwisp.develop`.
            frame: From `measure` of another frame, so that both come out alike; None takes this frame's own.
            crop: "camera" or "none", as for `develop`.
            keep_hot_pixels: Leave hot and dead photosites as they are.
            highlights: As for `lwisp.develop`.
            noise_reduction: As for `lwisp.develop`.

        Returns:
            The picture, of this type.

        Raises:
            InputError: An argument is out of range, the RAW is of another kind than the weights are for or cannot have
                this white balance, or memory cannot hold the picture.
        """
        convention = self.weights.card.convention
        check_light(raw, exposure, crop, keep_hot_pixels)
        check_fits(self.weights, raw)
        check_knobs(convention, highlights, noise_reduction)
        check_pixels(dtype)
        check_frame(frame)
        raw = balanced(raw, white_balance, convention)
        raw = raw if keep_hot_pixels else without_hot_pixels(raw)
        return develop_with(self.engine, convention, raw, exposure, dtype, frame, crop, highlights, noise_reduction)

    def measure(self, raw: AnyRaw) -> FrameExposure:
        """What the exposure rule finds in a RAW.

        Args:
            raw: The RAW.

        Returns:
            Its gain, 1 where the weights have no exposure rule, and its brightest light.
        """
        check_fits(self.weights, raw)
        return planes_of(self.engine, raw, self.weights.card.convention).frame
