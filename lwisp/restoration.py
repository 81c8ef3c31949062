"""Image restoration: `denoise` and `enhance` finished pictures, `denoise_raw` RAWs.

`denoise` and `enhance` differ in their weights only.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwisp.batch import Job, Made, Outcome, work
from lwisp.engines.engine import Engine, prepare_engine
from lwisp.engines.kept import cached_engine
from lwisp.engines.names import Backend, Precision
from lwisp.errors import InputError, check_choice
from lwisp.files.decoding import MAX_PIXELS
from lwisp.files.dng import write_dng
from lwisp.files.pictures import Picture, read_picture, refuse_raw, write_picture
from lwisp.files.raw import RAW_SUFFIXES, RawImage, read_raw
from lwisp.imaging.framing import CROPS, Crop
from lwisp.pipeline import Planes, develop_with, without_hot_pixels
from lwisp.weights import InputConvention, Weights, check_takes, load_once

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
) -> NDArray[np.float32]:
    """A finished picture without its noise: (H, W, 3) float32 sRGB in [0, 1].

    Args:
        rgb: (H, W, 3) sRGB: floats in [0, 1], or uint8 or uint16 over their range.
        weights: Weights that take RGB; the shipped "denoise" if not given. The engine made of them is kept with them.
        precision: "auto", "fp32" or "bf16", as in `engines.engine.prepare_engine`.
        backend: "auto", "torch", "openvino" or "onnxruntime", as there.
        memory: Bound on the memory of the whole process, in GB.
        passes: 1, 2 or 4: the mean over so many mirror images (self-ensemble), in as many times the time.

    Returns:
        The picture, of the size of `rgb`.

    Raises:
        InputError: The weights do not take RGB, or an argument cannot be used.
        ValueError: `rgb` is of another shape.
    """
    return _restore(rgb, weights or load_once("denoise"), precision, backend, memory, passes)


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
        InputError: The weights do not take RGB, or an argument cannot be used.
        ValueError: `rgb` is of another shape.
    """
    return _restore(rgb, weights or load_once("enhance"), precision, backend, memory, passes)


def _restore(
    rgb: NDArray[Any],
    weights: Weights,
    precision: Precision,
    backend: Backend,
    memory: float | None,
    passes: int,
) -> NDArray[np.float32]:
    check_takes(weights.card, "rgb")
    engine = cached_engine(weights, backend, precision, memory, passes)
    picture: NDArray[np.float32] = _restore_with(engine, rgb, np.float32)
    return picture


def restore_files(
    weights: Weights,
    jobs: Iterable[Job],
    precision: Precision = "auto",
    overwrite: bool = False,
    backend: Backend = "auto",
    memory: float | None = None,
    passes: int = PASSES,
    max_pixels: float = MAX_PIXELS,
) -> Iterator[Outcome]:
    """Denoise or enhance many finished pictures, in their order; whatever goes wrong with one, the others are done.

    Args:
        weights: Weights that take RGB; they decide what is done.
        jobs: The files and the pictures to make of them, from `batch.plan`.
        precision: "auto", "fp32" or "bf16", as for `denoise`.
        overwrite: Replace pictures that lwisp wrote before; what is never replaced, `batch.work` says.
        backend: "auto", "torch", "openvino" or "onnxruntime", as for `denoise`.
        memory: Bound on the memory of the whole process, in GB.
        passes: 1, 2 or 4, as for `denoise`.
        max_pixels: A picture of more is refused before it is decoded.

    Returns:
        What became of each file, as it is done.

    Raises:
        InputError: Before any work, for what is wrong with all of them.
    """
    check_takes(weights.card, "rgb")
    engine = prepare_engine(weights.runnable, backend, precision, memory, passes)

    def make(picture: Picture, job: Job) -> Made:
        return Made(_restore_with(engine, picture.rgb, job.dtype), weights.card, engine)

    def read(path: Path) -> Picture:
        if path.suffix.lower() in RAW_SUFFIXES:
            raise InputError(refuse_raw(str(path)))
        return read_picture(path, max_pixels)

    def write(job: Job, picture: Picture, made: NDArray[Any], replaces: bool) -> None:
        write_picture(job.output, made, job.picture, picture.exif, replaces)

    return work(jobs, read, make, write, memory, overwrite)


def denoise_raw(
    raw: RawImage,
    weights: Weights | None = None,
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: float | None = None,
    keep_hot_pixels: bool = False,
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

    Returns:
        The RAW with another mosaic and other levels.

    Raises:
        InputError: The weights are not for planes, or an argument cannot be used.
    """
    weights = weights or load_once("denoise-raw")
    check_takes(weights.card, "planes")
    engine = cached_engine(weights, backend, precision, memory)
    return _denoise_with(engine, weights.card.convention, raw if keep_hot_pixels else without_hot_pixels(raw))


def denoise_raw_files(
    weights: Weights,
    jobs: Iterable[Job],
    develop_weights: Weights,
    precision: Precision = "auto",
    overwrite: bool = False,
    backend: Backend = "auto",
    memory: float | None = None,
    crop: Crop = "camera",
    keep_hot_pixels: bool = False,
) -> Iterator[Outcome]:
    """Denoise many RAWs, in their order; whatever goes wrong with one, the others are done.

    Args:
        weights: Weights from planes to planes.
        jobs: The files and what to make of them, from `batch.plan`: of the format "dng" a RAW again, else a picture.
        develop_weights: Weights that develop the pictures.
        precision: "auto", "fp32" or "bf16", as for `denoise_raw`.
        overwrite: Replace files that lwisp wrote before; what is never replaced, `batch.work` says.
        backend: "auto", "torch", "openvino" or "onnxruntime", as for `denoise_raw`.
        memory: Bound on the memory of the whole process, in GB.
        crop: "camera" for what the camera's own pictures show, told by tags in a DNG; "none" for the visible area.
        keep_hot_pixels: Leave hot and dead photosites as they are.

    Returns:
        What became of each file, as it is done.

    Raises:
        InputError: Before any work, for what is wrong with all of them.
    """
    check_choice("crop", crop, CROPS)
    check_takes(weights.card, "planes")
    check_takes(develop_weights.card, "raw")
    engine, developer = (
        prepare_engine(chosen.runnable, backend, precision, memory) for chosen in (weights, develop_weights)
    )

    def read(path: Path) -> RawImage:
        raw = read_raw(path)
        return raw if keep_hot_pixels else without_hot_pixels(raw)

    def make(raw: RawImage, job: Job) -> Made:
        clean = _denoise_with(engine, weights.card.convention, raw)
        if job.format == "dng":
            return Made(clean.mosaic, weights.card, engine)
        picture = develop_with(developer, develop_weights.card.convention, clean, 0.0, job.dtype, crop)
        return Made(picture, weights.card, engine)

    def write(job: Job, raw: RawImage, made: NDArray[Any], replaces: bool) -> None:
        if job.format == "dng":
            shown = raw if crop == "camera" else replace(raw, crop=None)
            write_dng(job.output, _with_mosaic(shown, made), exif=raw.exif, overwrite=replaces)
        else:
            write_picture(job.output, made, job.picture, raw.exif, replaces)

    return work(jobs, read, make, write, memory, overwrite)


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


def _restore_with(engine: Engine, rgb: NDArray[Any], dtype: type[Any]) -> NDArray[Any]:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise ValueError(f"expected a picture (H, W, 3), got {rgb.shape}")
    picture: NDArray[Any] = np.empty(rgb.shape, dtype)
    engine.develop(_Pixels(rgb), picture)
    return picture


def _denoise_with(engine: Engine, convention: InputConvention, raw: RawImage) -> RawImage:
    frame = Planes(engine, raw, convention)
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


def _with_mosaic(raw: RawImage, values: NDArray[np.uint16]) -> RawImage:
    return replace(raw, mosaic=values, black_level=(float(BLACK),) * 4, white_level=(float(WHITE),) * 4)
