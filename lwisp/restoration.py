"""Image restoration: `denoise` and `enhance` finished pictures, `denoise_raw` RAWs.

`denoise` and `enhance` differ in their weights only.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lwisp.batch import Finished, Made, Outcome, checked, was_made, work
from lwisp.engines.engine import Engine, prepare_engine
from lwisp.engines.kept import cached_engine
from lwisp.engines.names import Backend, Precision
from lwisp.engines.threads import share_of_threads
from lwisp.errors import ArgumentError, UnsupportedError, check_choice, check_switches, shown
from lwisp.files.decoding import MAX_PIXELS
from lwisp.files.dng import write_dng
from lwisp.files.encoding import Finish
from lwisp.files.pictures import Picture, read_picture, write_picture
from lwisp.files.raw import RAW_SUFFIXES, RawImage, check_raw, read_raw
from lwisp.files.raw_check import refuse_raw
from lwisp.imaging.bayer import plane_order
from lwisp.imaging.framing import CROPS, Crop
from lwisp.imaging.pixels import average_channels, mix
from lwisp.imaging.removed import share_of_noise
from lwisp.pipeline import Planes, check_noise_reduction, develop_with, without_hot_pixels
from lwisp.planning import Job
from lwisp.provenance import Setting, differing
from lwisp.weights import InputConvention, Weights, check_weights, load_once

PASSES = 4
"""Mirror images averaged over by default (self-ensemble): up to 0.3 dB better than one (docs/results/subtasks.md)."""
BLACK = 4096
"""Black level of a denoised RAW in DN."""
WHITE = 65535
"""Its white level in DN: finer steps than most sensors', which would show where no noise hides them."""


def denoise(
    rgb: NDArray[Any],
    weights: Weights | None = None,
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: float | None = None,
    passes: int = PASSES,
    noise_reduction: float = 1.0,
) -> NDArray[np.float32]:
    """A finished picture without its noise: (H, W, 3) float32 sRGB in [0, 1].

    Args:
        rgb: (H, W, 3) sRGB: floats in [0, 1], or uint8 or uint16 over their range.
        weights: Weights that take RGB; the shipped "denoise" if not given. The engine made of them is kept with them.
        precision: "auto", "fp32" or "bf16", as in `engines.engine.prepare_engine`.
        backend: "auto", "torch", "openvino" or "onnxruntime", as there.
        memory: Bound on the memory of the whole process, in GB.
        passes: 1, 2 or 4: the mean over so many mirror images (self-ensemble), in as many times the time.
        noise_reduction: How much of the noise is taken away, 0 to 2. The picture is mixed with what the network makes
            of it, as far as that is noise (`imaging.removed`); from 1 on with what the network makes of that again.

    Returns:
        The picture, of the size of `rgb`.

    Raises:
        InputError: The weights do not take RGB, or an argument cannot be used, as a picture of another shape.
    """
    check_noise_reduction(noise_reduction)
    weights = load_once("denoise") if weights is None else weights
    engine = _engine_for(rgb, weights, precision, backend, memory, passes)
    picture: NDArray[np.float32] = _denoise_picture(engine, rgb, np.float32, noise_reduction)[0]
    return picture


def enhance(
    rgb: NDArray[Any],
    weights: Weights | None = None,
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: float | None = None,
    passes: int = PASSES,
) -> NDArray[np.float32]:
    """A picture taken in low light, brightened: (H, W, 3) float32 sRGB in [0, 1].

    Args:
        rgb: (H, W, 3) sRGB: floats in [0, 1], or uint8 or uint16 over their range.
        weights: Weights that take RGB; the shipped "enhance" if not given. The engine made of them is kept with them.
        precision: "auto", "fp32" or "bf16", as in `engines.engine.prepare_engine`.
        backend: "auto", "torch", "openvino" or "onnxruntime", as there.
        memory: Bound on the memory of the whole process, in GB.
        passes: 1, 2 or 4: the mean over so many mirror images (self-ensemble), in as many times the time.

    Returns:
        The picture, of the size of `rgb`.

    Raises:
        InputError: The weights do not take RGB, or an argument cannot be used, as a picture of another shape.
    """
    weights = load_once("enhance") if weights is None else weights
    engine = _engine_for(rgb, weights, precision, backend, memory, passes)
    picture: NDArray[np.float32] = _restore_with(engine, rgb, np.float32)
    return picture


def _engine_for(
    rgb: NDArray[Any],
    weights: Weights,
    precision: Precision,
    backend: Backend,
    memory: float | None,
    passes: int,
) -> Engine:
    """The engine for a picture, which is checked."""
    check_weights(weights, "rgb")
    _check_picture(rgb)
    return cached_engine(weights, backend, precision, memory, passes)


def restore_files(
    verb: Literal["denoise", "enhance"],
    weights: Weights,
    jobs: Iterable[Job],
    precision: Precision = "auto",
    overwrite: bool = False,
    backend: Backend = "auto",
    memory: float | None = None,
    passes: int = PASSES,
    max_pixels: float = MAX_PIXELS,
    parallel: int = 1,
    finish: Finish = Finish(),
    strip: bool = False,
    noise_reduction: float = 1.0,
    read_file: Callable[[Path, float], Picture] = read_picture,
) -> Iterator[Outcome]:
    """Denoise or enhance many finished pictures, in their order; whatever goes wrong with one, the others are done.

    A picture that was made of the same file with the same weights and settings is left as it is, unless `overwrite`.

    Args:
        verb: What is done, for the provenance of the pictures.
        weights: Weights that take RGB; they decide what is done.
        jobs: The files and the pictures to make of them, from `batch.plan`.
        precision: "auto", "fp32" or "bf16", as for `denoise`.
        overwrite: Replace pictures that lwisp wrote before; what is never replaced, `batch.work` says.
        backend: "auto", "torch", "openvino" or "onnxruntime", as for `denoise`.
        memory: Bound on the memory of the whole process, in GB.
        passes: 1, 2 or 4, as for `denoise`.
        max_pixels: A picture of more is refused before it is decoded.
        parallel: How many are worked on at once, each by its share of the processor's threads.
        finish: Quality, size and color space of the pictures.
        strip: Leave out tags and properties that name people and places.
        noise_reduction: How much of the noise is taken away, 0 to 2, as for `denoise`; `enhance` has no such strength.
        read_file: How to read a picture of `max_pixels` at most.

    Returns:
        What became of each file, as it is done.

    Raises:
        InputError: Before any work, for what is wrong with all of them.
    """
    check_weights(weights, "rgb")
    check_switches(overwrite=overwrite, strip=strip)
    check_noise_reduction(noise_reduction)
    threads = share_of_threads(parallel)
    engine = prepare_engine(weights.runnable, backend, precision, memory, passes, threads=threads)
    jobs = checked(jobs, finish)
    asked = {"passes": (passes, PASSES), "strip": (strip, False), "noise-reduction": (noise_reduction, 1.0)}
    settings = finish.settings() | differing(asked)

    def make(picture: Picture, job: Job) -> Made:
        notes: tuple[str, ...] = ()
        if verb == "denoise":
            restored, notes = _denoise_picture(engine, picture.rgb, job.dtype, noise_reduction)
        else:
            restored = _restore_with(engine, picture.rgb, job.dtype)
        return Made(average_channels(restored) if picture.is_gray else restored, weights, engine, notes)

    def read(path: Path) -> Picture:
        if path.suffix.lower() in RAW_SUFFIXES:
            raise UnsupportedError(refuse_raw(str(path)))
        return read_file(path, max_pixels)

    def write(finished: Finished[Picture]) -> None:
        job, exif = finished.job, finished.source.exif
        told = finished.properties(verb, settings)
        write_picture(job.output, finished.made.picture, job.picture, exif, finished.replaces, told, finish, strip)

    def is_done(job: Job) -> bool:
        return was_made(job, verb, settings, lambda: weights.sha256)

    return work(jobs, read, make, write, memory, overwrite, is_done, parallel)


def denoise_raw(
    raw: RawImage,
    weights: Weights | None = None,
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: float | None = None,
    keep_hot_pixels: bool = False,
    noise_reduction: float = 1.0,
) -> RawImage:
    """A RAW without its noise, of 16 bits: black at 4096 DN, white at 65535.

    Args:
        raw: The RAW, which stays as it is.
        weights: Weights from planes to planes; the shipped "denoise-raw" if not given. The engine made of them is kept
            with them.
        precision: "auto", "fp32" or "bf16", as in `engines.engine.prepare_engine`.
        backend: "auto", "torch", "openvino" or "onnxruntime", as there.
        memory: Bound on the memory of the whole process, in GB.
        keep_hot_pixels: Leave hot and dead photosites as they are.
        noise_reduction: How much of the noise is taken away, 0 to 2, as for `denoise`.

    Returns:
        The RAW with another mosaic and other levels.

    Raises:
        InputError: The weights are not for planes, or an argument cannot be used.
    """
    weights = load_once("denoise-raw") if weights is None else weights
    check_weights(weights, "planes")
    check_raw(raw)
    check_switches(keep_hot_pixels=keep_hot_pixels)
    check_noise_reduction(noise_reduction)
    engine = cached_engine(weights, backend, precision, memory)
    raw = raw if keep_hot_pixels else without_hot_pixels(raw)
    return _denoise_with(engine, weights.card.convention, raw, noise_reduction)


def denoise_raw_files(
    weights: Weights,
    jobs: Iterable[Job],
    develop_weights: Weights,
    precision: Precision = "auto",
    overwrite: bool = False,
    backend: Backend = "auto",
    memory: float | None = None,
    parallel: int = 1,
    finish: Finish = Finish(),
    strip: bool = False,
    crop: Crop = "camera",
    keep_hot_pixels: bool = False,
    noise_reduction: float = 1.0,
    read_file: Callable[[Path], RawImage] = read_raw,
) -> Iterator[Outcome]:
    """Denoise many RAWs, in their order; whatever goes wrong with one, the others are done.

    A file that was made of the same RAW with the same weights is left as it is, unless `overwrite`.

    Args:
        weights: Weights from planes to planes.
        jobs: The files and what to make of them, from `batch.plan`: of the format "dng" a RAW again, else a picture.
        develop_weights: Weights that develop the pictures.
        precision: "auto", "fp32" or "bf16", as for `denoise_raw`.
        overwrite: Replace files that lwisp wrote before; what is never replaced, `batch.work` says.
        backend: "auto", "torch", "openvino" or "onnxruntime", as for `denoise_raw`.
        memory: Bound on the memory of the whole process, in GB.
        parallel: How many are worked on at once, each by its share of the processor's threads.
        finish: Quality, size and color space of the pictures.
        strip: Leave out tags and properties that name people and places.
        crop: "camera" for what the camera's own pictures show, told by tags in a DNG; "none" for the visible area.
        keep_hot_pixels: Leave hot and dead photosites as they are.
        noise_reduction: How much of the noise is taken away, 0 to 2, as for `denoise`; also of what is left by weights
            that develop and are told the noise.
        read_file: How to read a RAW.

    Returns:
        What became of each file, as it is done.

    Raises:
        InputError: Before any work, for what is wrong with all of them.
    """
    check_choice("crop", crop, CROPS)
    check_switches(overwrite=overwrite, strip=strip, keep_hot_pixels=keep_hot_pixels)
    check_noise_reduction(noise_reduction)
    check_weights(weights, "planes")
    check_weights(develop_weights, "raw")
    jobs = checked(jobs, finish)
    threads = share_of_threads(parallel)
    engine = prepare_engine(weights.runnable, backend, precision, memory, threads=threads)
    developer = prepare_engine(develop_weights.runnable, backend, precision, memory, threads=threads)

    asked = differing(
        {
            "crop": (crop, "camera"),
            "keep-hot-pixels": (keep_hot_pixels, False),
            "strip": (strip, False),
            "noise-reduction": (noise_reduction, 1.0),
        }
    )
    convention = develop_weights.card.convention
    left = noise_reduction if convention.noise else 1.0

    def settings(job: Job) -> dict[str, Setting]:
        if job.format == "dng":
            return asked
        return {"develop-weights": develop_weights.sha256, **finish.settings(), **asked}

    def read(path: Path) -> RawImage:
        raw = read_file(path)
        return raw if keep_hot_pixels else without_hot_pixels(raw)

    def make(raw: RawImage, job: Job) -> Made:
        clean = _denoise_with(engine, weights.card.convention, raw, noise_reduction)
        if job.format == "dng":
            return Made(clean.mosaic, weights, engine)
        picture = develop_with(developer, convention, clean, 0.0, job.dtype, crop=crop, noise_reduction=left)
        return Made(picture, weights, engine)

    def write(finished: Finished[RawImage]) -> None:
        job, raw, made = finished.job, finished.source, finished.made.picture
        told = finished.properties("denoise-raw", settings(job))
        if job.format == "dng":
            shown = raw if crop == "camera" else replace(raw, crop=None)
            write_dng(job.output, _with_mosaic(shown, made), None, raw.exif, finished.replaces, told, strip)
        else:
            write_picture(job.output, made, job.picture, raw.exif, finished.replaces, told, finish, strip)

    def is_done(job: Job) -> bool:
        return was_made(job, "denoise-raw", settings(job), lambda: weights.sha256)

    return work(jobs, read, make, write, memory, overwrite, is_done, parallel)


class _Pixels:
    """A picture (H, W, 3) as a frame of planes (3, H, W), turned into float32 where it is read."""

    def __init__(self, rgb: NDArray[Any]) -> None:
        self.rgb = rgb
        self.shape = (3, rgb.shape[0], rgb.shape[1])

    def read(self, rows: slice, columns: slice, out: NDArray[np.float32]) -> None:
        """Write (3, rows, columns) into an array."""
        values = self.rgb[rows, columns].transpose(2, 0, 1)
        if np.issubdtype(values.dtype, np.floating):
            out[...] = values
        else:
            np.divide(values, np.float32(np.iinfo(values.dtype).max), out=out)


def _check_picture(rgb: object) -> None:
    if not isinstance(rgb, np.ndarray):
        raise ArgumentError(f"expected a picture (H, W, 3), an array of numpy's; got {shown(rgb)}")
    if rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise ArgumentError(f"expected a picture (H, W, 3), got {rgb.shape}")
    if rgb.dtype not in (np.uint8, np.uint16) and not np.issubdtype(rgb.dtype, np.floating):
        raise ArgumentError(f"expected a picture of floats, uint8 or uint16, got {rgb.dtype}")


def _restore_with(engine: Engine, rgb: NDArray[Any], dtype: type[Any]) -> NDArray[Any]:
    """What the network makes of a picture (H, W, 3), of this type."""
    picture: NDArray[Any] = np.empty(rgb.shape, dtype)
    engine.develop(_Pixels(rgb), picture)
    return picture


def _denoise_picture(
    engine: Engine, rgb: NDArray[Any], dtype: type[Any], strength: float
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """A picture without its noise, of this type, and what the user is to know.

    Of what the network takes away as much is taken as is noise. Beyond a strength of 1 it runs on what it has made.
    """
    if strength == 0:
        return _mixed(rgb, rgb, 0.0, dtype), ()
    fine = np.uint16 if np.issubdtype(dtype, np.integer) else dtype
    cleaned = _restore_with(engine, rgb, fine)
    share = share_of_noise(rgb, cleaned)
    notes = (f"little noise was found, so {share:.0%} of what the network takes away is taken",) if share < 0.5 else ()
    if strength <= 1:
        return _mixed(rgb, cleaned, strength * share, dtype), notes
    again = _restore_with(engine, cleaned, fine)
    once = _mixed(rgb, cleaned, min(strength * share, 1), fine)
    return _mixed(once, again, (strength - 1) * share, dtype), notes


def _mixed(first: NDArray[Any], second: NDArray[Any], share: float, dtype: type[Any]) -> NDArray[Any]:
    """Two pictures of any types, the second with this share, as a third type."""
    mixed: NDArray[Any] = np.empty(first.shape, dtype)
    mix(first, second, share, mixed)
    return mixed


def _denoise_with(engine: Engine, convention: InputConvention, raw: RawImage, strength: float) -> RawImage:
    """A RAW of 16 bits without its noise, mixed with what it was, or with what the network makes of it again."""
    if strength == 0:
        return _with_mosaic(raw, _rescaled(raw))
    once = _clean(engine, convention, raw)
    if strength == 1:
        return once
    if strength < 1:
        return _with_mosaic(raw, _mixed(_rescaled(raw), once.mosaic, strength, np.uint16))
    return _with_mosaic(raw, _mixed(once.mosaic, _clean(engine, convention, once).mosaic, strength - 1, np.uint16))


def _clean(engine: Engine, convention: InputConvention, raw: RawImage) -> RawImage:
    frame = Planes(engine, replace(raw, shading=()), convention)  # noise as the sensor made it; the lens comes later
    planes = np.empty((*frame.shape[1:], 4), np.float32)
    engine.develop(frame, planes)
    rows, columns, _ = planes.shape
    clean = planes.reshape(rows, columns, 2, 2).swapaxes(1, 2).reshape(2 * rows, 2 * columns)  # from a red photosite on
    top, left = frame.offset
    height, width = raw.mosaic.shape
    values = clean[top : top + height, left : left + width]
    values *= WHITE - BLACK
    values += BLACK + 0.5
    return _with_mosaic(raw, np.clip(values, BLACK, WHITE, out=values).astype(np.uint16))  # DN, rounded when cast


def _rescaled(raw: RawImage) -> NDArray[np.uint16]:
    """A mosaic with its noise in the levels of a clean one."""
    codes = np.empty_like(raw.mosaic)
    for (row, column), black, white in zip(plane_order(raw.cfa), raw.black_level, raw.white_level, strict=True):
        values = raw.mosaic[row::2, column::2].astype(np.float32)
        values -= np.float32(black)
        values *= np.float32((WHITE - BLACK) / (white - black))
        values += BLACK + 0.5
        codes[row::2, column::2] = np.clip(values, 0, WHITE)  # DN, rounded when cast
    return codes


def _with_mosaic(raw: RawImage, values: NDArray[np.uint16]) -> RawImage:
    return replace(raw, mosaic=values, black_level=(float(BLACK),) * 4, white_level=(float(WHITE),) * 4)
