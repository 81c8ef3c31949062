"""Retouching: `retouch` takes noise or darkness out of a finished picture, `denoise_raw` the noise out of a RAW.

Which of the two `retouch` does, the weights decide: `denoise` and `enhance` have one way of use.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwisp.batch import Job, Made, Outcome, work
from lwisp.engines.engine import Engine, prepare_engine
from lwisp.engines.kept import cached_engine
from lwisp.engines.names import Backend, Precision
from lwisp.errors import InputError
from lwisp.files.decoding import MAX_PIXELS
from lwisp.files.pictures import Picture, finished_tags, open_picture, refuse_raw, write_rgb
from lwisp.files.raw import RAW_SUFFIXES, RawImage, read_raw, write_dng
from lwisp.imaging import mosaic
from lwisp.pipeline import Planes, develop_with
from lwisp.weights import InputConvention, Weights, check_takes

PASSES = 4
"""Passes of a finished picture unless told otherwise: up to 0.3 dB better than one (docs/results/subtasks.md)."""
BLACK, WHITE = 4096, 65535
"""Levels in DN of a RAW without noise: finer steps than most sensors', for they show where no noise hides them."""


def retouch(
    weights: Weights,
    rgb: NDArray[Any],
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: float | None = None,
    passes: int = PASSES,
) -> NDArray[np.float32]:
    """A finished picture without what the weights take away: (H, W, 3) sRGB in [0, 1], the size of `rgb`.

    `rgb` (H, W, 3) sRGB is float in [0, 1], uint8 or uint16 over its range; the rest as in `prepare_engine`. What is
    made ready is kept as long as `weights` is. Raises `InputError` for weights that are not for RGB.
    """
    check_takes(weights.card, "rgb")
    engine = cached_engine(weights, backend, precision, memory, passes)
    picture: NDArray[np.float32] = _retouch_with(engine, rgb, np.float32)
    return picture


def retouch_files(
    weights: Weights,
    jobs: Iterable[Job],
    precision: Precision = "auto",
    overwrite: bool = False,
    backend: Backend = "auto",
    memory: float | None = None,
    passes: int = PASSES,
    max_pixels: float = MAX_PIXELS,
) -> Iterator[Outcome]:
    """Retouch the finished pictures of the jobs that `plan` made, in their order, as `develop_files` develops RAWs."""
    check_takes(weights.card, "rgb")
    engine = prepare_engine(weights.network, backend, precision, memory, passes)

    def make(picture: Picture, job: Job) -> Made:
        return Made(_retouch_with(engine, picture.rgb, job.dtype), weights.card, engine)

    def read(path: Path) -> Picture:
        if path.suffix.lower() in RAW_SUFFIXES:
            raise InputError(refuse_raw(path))
        return open_picture(path, max_pixels)

    def write(job: Job, picture: Picture, made: NDArray[Any], replaces: bool) -> None:
        write_rgb(job.output, made, job.picture, picture.exif, replaces)

    return work(jobs, read, make, write, memory, overwrite)


def denoise_raw(
    weights: Weights,
    raw: RawImage,
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: float | None = None,
) -> RawImage:
    """The same RAW without its noise, of 16 bits: black at 4096 DN, white at 65535.

    What is made ready is kept as long as `weights` is. Raises `InputError` for weights that are not for planes, and as
    `prepare_engine`.
    """
    check_takes(weights.card, "planes")
    engine = cached_engine(weights, backend, precision, memory)
    return _denoise_with(engine, weights.card.convention, raw)


def denoise_raw_files(
    weights: Weights,
    jobs: Iterable[Job],
    develop_weights: Weights,
    precision: Precision = "auto",
    overwrite: bool = False,
    backend: Backend = "auto",
    memory: float | None = None,
) -> Iterator[Outcome]:
    """Take the noise out of the RAWs of the jobs that `plan` made, in their order, as `develop_files` develops them.

    A job of the format "dng" gives a RAW again, for any tool; any other a picture, developed by `develop_weights`.
    """
    check_takes(weights.card, "planes")
    check_takes(develop_weights.card, "raw")
    engine, developer = (
        prepare_engine(chosen.network, backend, precision, memory) for chosen in (weights, develop_weights)
    )

    def make(raw: RawImage, job: Job) -> Made:
        clean = _denoise_with(engine, weights.card.convention, raw)
        if job.format == "dng":
            return Made(clean.mosaic, weights.card, engine)
        picture = develop_with(developer, develop_weights.card.convention, clean, 0.0, job.dtype)
        return Made(picture, weights.card, engine)

    def write(job: Job, raw: RawImage, made: NDArray[Any], replaces: bool) -> None:
        if job.format == "dng":
            write_dng(job.output, _with_mosaic(raw, made), tags=finished_tags(raw.exif), overwrite=replaces)
        else:
            write_rgb(job.output, made, job.picture, raw.exif, replaces)

    return work(jobs, read_raw, make, write, memory, overwrite)


class _Pixels:
    """A picture (H, W, 3) as a frame of planes (3, H, W), turned into float32 where it is read."""

    def __init__(self, rgb: NDArray[Any]) -> None:
        self.rgb = rgb
        self.shape = (3, rgb.shape[0], rgb.shape[1])

    def read(self, rows: slice, columns: slice) -> Tensor:
        """(3, rows, columns)."""
        values = self.rgb[rows, columns]
        white = 1 if np.issubdtype(values.dtype, np.floating) else np.iinfo(values.dtype).max
        return torch.from_numpy(np.array(values.transpose(2, 0, 1), np.float32, order="C")).div_(white)


def _retouch_with(engine: Engine, rgb: NDArray[Any], dtype: type[Any]) -> NDArray[Any]:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise ValueError(f"expected a picture (H, W, 3), got {rgb.shape}")
    picture: NDArray[Any] = np.empty(rgb.shape, dtype)
    engine.develop(_Pixels(rgb), picture)
    return picture


def _denoise_with(engine: Engine, convention: InputConvention, raw: RawImage) -> RawImage:
    frame = Planes(raw, convention)
    planes = np.empty((*frame.shape[1:], 4), np.float32)
    engine.develop(frame, planes)
    clean = mosaic.unpack(torch.from_numpy(planes).permute(2, 0, 1))
    (top, left), (height, width) = mosaic.cfa_offset(raw.cfa), raw.mosaic.shape
    values = clean[top : top + height, left : left + width].mul_(WHITE - BLACK).add_(BLACK + 0.5)
    return _with_mosaic(raw, values.clamp_(BLACK, WHITE).numpy().astype(np.uint16))


def _with_mosaic(raw: RawImage, values: NDArray[np.uint16]) -> RawImage:
    return replace(raw, mosaic=values, black_level=(float(BLACK),) * 4, white_level=(float(WHITE),) * 4)
