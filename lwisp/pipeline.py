"""Developing: `develop` turns one RAW into a picture, `develop_files` does so for files and folders on disk."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lwisp.batch import Job, Made, Outcome, work
from lwisp.engines.engine import Engine, prepare_engine
from lwisp.engines.kept import cached_engine
from lwisp.engines.names import Backend, Precision
from lwisp.errors import InputError
from lwisp.files.makernotes import picture_style
from lwisp.files.pictures import write_rgb
from lwisp.files.raw import RawImage, read_raw
from lwisp.imaging import color, mosaic
from lwisp.imaging.pixels import unorient
from lwisp.weights import InputConvention, Weights, check_takes, left_out_note, load, of_camera

MAX_EXPOSURE = 5  # EV
BAND = 64  # rows of cells that are made into planes at once


def develop(
    weights: Weights,
    raw: RawImage,
    exposure: float = 0.0,
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: float | None = None,
) -> NDArray[np.float32]:
    """Develop a RAW: (H, W, 3) display-referred sRGB in [0, 1], upright, the size of the visible area.

    `exposure` in EV comes on top of the exposure rule; `backend`, `precision` and `memory` as in `prepare_engine`.
    The same RAW, weights, back end and precision give the same pixels. What is made ready is kept as long as `weights`
    is (`cached_engine`), so that the next picture takes only what the network takes.
    """
    check_takes(weights.card, "raw")
    check_exposure(exposure)
    engine = cached_engine(weights, backend, precision, memory)
    picture: NDArray[np.float32] = develop_with(engine, weights.card.convention, raw, exposure, np.float32)
    return picture


class Developer:
    """Weights made ready to develop RAWs, for programs that develop many, such as a server.

    Any number of threads may use one at once; each gets the picture that it would get alone. `backend`, `precision` and
    `memory` as in `prepare_engine`. `threads` are those that compute one picture, as many as torch uses if not
    given; OpenVINO and ONNX Runtime take any number, torch only the process's own (`torch.set_num_threads`). Raises
    `InputError` as `prepare_engine` does, and for weights that do not take RAWs.
    """

    def __init__(
        self,
        weights: Weights,
        backend: Backend = "auto",
        precision: Precision = "auto",
        memory: float | None = None,
        threads: int | None = None,
    ) -> None:
        check_takes(weights.card, "raw")
        self.weights = weights
        self.engine = prepare_engine(weights.network, backend, precision, memory, threads=threads)

    def develop(
        self,
        raw: RawImage,
        exposure: float = 0.0,
        dtype: type[np.float32] | type[np.uint8] | type[np.uint16] = np.float32,
    ) -> NDArray[Any]:
        """The picture (H, W, 3) that `develop` gives: float32 in [0, 1], or integers over their whole range."""
        check_exposure(exposure)
        return develop_with(self.engine, self.weights.card.convention, raw, exposure, dtype)


def pick(raw: RawImage) -> Weights:
    """The weights for a RAW where none are named: those that were learned from its camera, else `photo`.

    What lies among learned weights and cannot be used is left out, with a note in `Weights.notes`.
    """
    found, notes = of_camera(raw.camera, picture_style(raw.exif))
    for path in found:
        try:
            weights = _load_once(str(path), path.stat().st_mtime_ns)
            check_takes(weights.card, "raw")
        except (InputError, OSError) as error:
            notes.append(left_out_note(path, error))
        else:
            break
    else:
        weights = _load_once("photo", 0)
    return replace(weights, notes=tuple(notes)) if notes else weights


@lru_cache(maxsize=4)
def _load_once(name: str, _changed: int) -> Weights:
    return load(name)


def develop_with(
    engine: Engine,
    convention: InputConvention,
    raw: RawImage,
    exposure: float,
    dtype: type[np.float32] | type[np.uint8] | type[np.uint16],
) -> NDArray[Any]:
    """`develop` by an engine that is ready, into a picture of this type; integers reach over their whole range."""
    height, width = raw.mosaic.shape
    picture = np.empty((width, height, 3) if raw.orientation >= 5 else (height, width, 3), dtype)
    engine.develop(Planes(raw, convention, exposure), unorient(picture, raw.orientation), mosaic.cfa_offset(raw.cfa))
    return picture


def check_exposure(exposure: float) -> None:
    """Raise `InputError` for an exposure beyond what weights are trained for."""
    if not abs(exposure) <= MAX_EXPOSURE:  # written so that NaN fails too
        raise InputError(f"expected an exposure of -{MAX_EXPOSURE} to {MAX_EXPOSURE} EV, got {exposure}")


def prepare(raw: RawImage, convention: InputConvention, exposure: float = 0.0) -> tuple[Tensor, tuple[int, int]]:
    """The planes (4, h, w) that weights of this convention expect, and where the RAW's first photosite lies."""
    planes = Planes(raw, convention, exposure)
    return planes.read(slice(0, planes.shape[1]), slice(0, planes.shape[2])), mosaic.cfa_offset(raw.cfa)


class Planes:
    """The planes (4, h, w) that weights expect of a RAW, made where they are read; the mosaic stays in 16 bits."""

    def __init__(self, raw: RawImage, convention: InputConvention, exposure: float = 0.0) -> None:
        self.raw, self.convention = raw, convention
        top, left = mosaic.cfa_offset(raw.cfa)
        height, width = raw.mosaic.shape
        self.shape = (4, (height + top + 1) // 2, (width + left + 1) // 2)
        self._exposure: float = 2.0**exposure
        self._gain: float | None = None if convention.exposure == "auto" else 1.0

    def read(self, rows: slice, columns: slice) -> Tensor:
        """(4, rows, columns) float32."""
        planes = self._mixed(rows, columns)
        if self._gain is None:
            self._gain = float(color.grid_gain(self._grid(planes)))
        if any(self.convention.shading):
            planes.mul_(color.shading_gain(self.convention.shading, self.radius(rows, columns)))
        return planes.mul_(self._gain * self._exposure)

    def radius(self, rows: slice, columns: slice) -> Tensor:
        """The squared distance of each cell from the frame's middle, (rows, columns); 1 in its corners."""
        sides, offset = self.raw.mosaic.shape, mosaic.cfa_offset(self.raw.cfa)
        places = (
            (2 * torch.arange(part.start, part.stop) + 1 - before - side / 2).square()
            for part, before, side in zip((rows, columns), offset, sides, strict=True)
        )
        down, across = places
        squared: Tensor = (down[:, None] + across[None]) / (sides[0] ** 2 + sides[1] ** 2) * 4
        return squared

    def _grid(self, planes: Tensor) -> Tensor:
        """Means over the cells that the exposure rule looks at, (4, 64, 64), a row of cells after the other."""
        height, width = self.shape[1:]
        bands = []
        for row in range(color.GRID):
            band = slice(row * height // color.GRID, -(-(row + 1) * height // color.GRID))
            cells = planes[:, band] if planes.shape == self.shape else self._mixed(band, slice(0, width))
            bands.append(functional.adaptive_avg_pool2d(cells, (1, color.GRID)))
        return torch.cat(bands, 1)

    def _mixed(self, rows: slice, columns: slice) -> Tensor:
        """Planes without the exposure's gain, in bands that stay in the processor's cache on the way."""
        planes = torch.empty(4, rows.stop - rows.start, columns.stop - columns.start)
        for top in range(rows.start, rows.stop, BAND):
            band = slice(top, min(top + BAND, rows.stop))
            planes[:, band.start - rows.start : band.stop - rows.start] = self._band(band, columns)
        return planes

    def _band(self, rows: slice, columns: slice) -> Tensor:
        """The same of a few rows: a cell more on every side is read where they are mixed."""
        raw, convention = self.raw, self.convention
        margin = 1 if convention.color == "canonical" else 0
        wanted = (rows, columns)
        inner = [
            slice(max(part.start - margin, 0), min(part.stop + margin, side))
            for part, side in zip(wanted, self.shape[1:], strict=True)
        ]
        black = torch.tensor(raw.black_level if convention.black_level == "subtract" else (0.0,) * 4)
        packed = mosaic.pack(torch.from_numpy(self._photosites(*inner)))
        planes = mosaic.normalize_levels(packed, black, torch.tensor(raw.white_level))
        if convention.white_balance == "as-shot":
            planes = color.balance(planes, torch.tensor(raw.white_balance))
        if convention.color == "canonical":
            photosites = mosaic.unpack(planes)
            for dim, part, had in zip((-2, -1), wanted, inner, strict=True):
                lacks = (2 * (had.start - part.start + 1), 2 * (part.stop + 1 - had.stop))
                photosites = mosaic.reflect(photosites, dim, *lacks)
            planes = color.mix_photosites(photosites, torch.from_numpy(raw.cam2rgb))
        return planes

    def _photosites(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """The mosaic of these cells, lengthened by a row or column to RGGB and even sides, in DN."""
        found: NDArray[Any] = self.raw.mosaic
        for axis, (cells, before) in enumerate(zip((rows, columns), mosaic.cfa_offset(self.raw.cfa), strict=True)):
            last = self.raw.mosaic.shape[axis] - 1
            index = np.abs(np.arange(2 * cells.start, 2 * cells.stop) - before)
            index = last - np.abs(last - index)
            if index[-1] - index[0] == len(index) - 1:
                found = found[(slice(None),) * axis + (slice(index[0], index[-1] + 1),)]
            else:
                found = found.take(index, axis)
        return found.astype(np.float32)


def develop_files(
    weights: Weights | Callable[[RawImage], Weights],
    jobs: Iterable[Job],
    exposure: float = 0.0,
    precision: Precision = "auto",
    overwrite: bool = False,
    read: Callable[[Path], RawImage] = read_raw,
    backend: Backend = "auto",
    memory: float | None = None,
) -> Iterator[Outcome]:
    """Develop the jobs that `plan` made, in their order; whatever goes wrong with a file, the others are done.

    `weights` are those for all, or a function that says which for each, such as `pick`. While one is developed the next
    is read and the last is written, unless `memory` is bounded. What is replaced, and what never is, `jobs.work` says.
    Raises `InputError` as `develop` does for what is wrong with all of them.
    """
    check_exposure(exposure)
    prepared: list[Developer] = []
    said: set[str] = set()

    def ready(chosen: Weights) -> Developer:
        for developer in prepared:
            same = chosen.sha256 and (chosen.sha256, chosen.card) == (developer.weights.sha256, developer.weights.card)
            if developer.weights is chosen or same:
                return developer
        prepared.append(Developer(chosen, backend, precision, memory))
        return prepared[-1]

    if isinstance(weights, Weights):
        ready(weights)  # what is wrong with it is said before any work

    def make(raw: RawImage, job: Job) -> Made:
        chosen = weights if isinstance(weights, Weights) else weights(raw)
        developer = ready(chosen)
        notes = tuple(note for note in chosen.notes if note not in said)
        said.update(notes)
        picture = developer.develop(raw, exposure, job.dtype)
        return Made(picture, chosen.card, developer.engine, notes)

    def write(job: Job, raw: RawImage, picture: NDArray[Any], replace: bool) -> None:
        write_rgb(job.output, picture, job.picture, raw.exif, replace)

    return work(jobs, read, make, write, memory, overwrite)
