"""Developing: `develop` turns one RAW into a picture, `develop_files` does so for files and folders on disk."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lwisp import color, inference, mosaic
from lwisp.checkpoint import Camera, InputConvention, Weights, check_takes, load, of_camera
from lwisp.errors import InputError
from lwisp.files import check_output, make_folder
from lwisp.image import BITS, SUFFIX_FORMATS, SUFFIXES, Format, unorient, write_rgb
from lwisp.inference import Backend, Engine, Precision
from lwisp.makernotes import picture_style
from lwisp.raw import RAW_SUFFIXES, RawImage, read_raw

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

    `exposure` in EV comes on top of the exposure rule; `backend`, `precision` and `memory` as in `inference.prepare`.
    The same RAW, weights, back end and precision give the same pixels.
    """
    check_takes(weights.card, "raw")
    check_exposure(exposure)
    engine = inference.prepare(weights.network, backend, precision, memory)
    picture: NDArray[np.float32] = develop_with(engine, weights.card.convention, raw, exposure, np.float32)
    return picture


def pick(raw: RawImage) -> Weights:
    """The weights for a RAW where none are named: those that were learned from its camera, else `photo`."""
    found = of_camera(raw.camera, picture_style(raw.exif))
    return _load_once(*(("photo", 0) if found is None else (str(found), found.stat().st_mtime_ns)))


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
            planes.mul_(self._shading(rows, columns))
        return planes.mul_(self._gain * self._exposure)

    def _shading(self, rows: slice, columns: slice) -> Tensor:
        """The gain of each cell, (rows, columns)."""
        sides, offset = self.raw.mosaic.shape, mosaic.cfa_offset(self.raw.cfa)
        places = (
            (2 * torch.arange(part.start, part.stop) + 1 - before - side / 2).square()
            for part, before, side in zip((rows, columns), offset, sides, strict=True)
        )
        down, across = places
        radius = (down[:, None] + across[None]) / (sides[0] ** 2 + sides[1] ** 2) * 4
        return color.shading_gain(self.convention.shading, radius)

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


@dataclass(frozen=True)
class Outcome:
    """What became of one file: the picture written, or why not."""

    source: Path
    output: Path
    error: str = ""
    notes: tuple[str, ...] = ()
    engine: str = ""
    """What the network ran on, in one line."""
    weights: str = ""
    """Their name."""
    camera: Camera | None = None
    """Whose look they have, where it is one camera's."""


@dataclass(frozen=True)
class Job:
    """One RAW, and the picture to make of it."""

    source: Path
    output: Path
    format: Format


def plan(
    sources: list[Path], output: Path | None, format: Format | None, suffixes: frozenset[str] = RAW_SUFFIXES
) -> list[Job]:
    """Which pictures to make of RAW files, and of those files lying in folders that have one of the suffixes.

    `output` is a file name with its suffix for one file, else a folder, made if need be; without it pictures go
    beside their RAW. Raises `InputError`, before any work, where sources and output make no sense together.
    """
    try:
        files = list(dict.fromkeys(_find_files(sources, suffixes)))  # a file named twice is one file
        names_file = output is not None and not output.is_dir() and output.suffix.lower() in SUFFIX_FORMATS
        if output is not None and not names_file and not output.is_dir() and (output.suffix or output.exists()):
            raise InputError(f"--output {output}: expected a folder, or a name ending in {', '.join(SUFFIX_FORMATS)}")
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be looked at: {error.strerror}") from error
    if output is not None and names_file:
        if len(files) != 1:
            raise InputError(f"--output {output} names one picture for {len(files)} files; name a folder")
        found = SUFFIX_FORMATS[output.suffix.lower()]
        if format not in (None, found) and (format, found) != ("png16", "png"):
            raise InputError(f"--output {output} and --format {format} disagree; drop one of them")
        return [Job(files[0], output, format or found)]
    chosen: Format = format or "jpg"
    return [Job(file, (output or file.parent) / f"{file.stem}{SUFFIXES[chosen]}", chosen) for file in files]


def _find_files(sources: list[Path], suffixes: frozenset[str]) -> Iterator[Path]:
    for source in sources:
        if not source.is_dir():
            yield source
            continue
        files = sorted(path for path in source.iterdir() if path.suffix.lower() in suffixes)
        if not files:
            raise InputError(f"{source}: no files to develop in this folder ({', '.join(sorted(suffixes))})")
        yield from files


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
    """Develop the jobs that `plan` made, in their order; a file that cannot be used does not stop the rest.

    `weights` are those for all, or a function that says which for each, such as `pick`. While one is developed the next
    is read and the last is written, unless `memory` is bounded. No picture is replaced without `overwrite`, and never
    one that another job has just made. Raises `InputError` as `develop` does for what is wrong with all of them.
    """
    check_exposure(exposure)
    prepared: dict[str, _Ready] = {}

    def ready(chosen: Weights) -> _Ready:
        if chosen.sha256 not in prepared:
            check_takes(chosen.card, "raw")
            engine = inference.prepare(chosen.network, backend, precision, memory)
            prepared[chosen.sha256] = _Ready(chosen, engine)
        return prepared[chosen.sha256]

    if isinstance(weights, Weights):
        one = ready(weights)
        return _develop_files(lambda _: one, list(jobs), exposure, overwrite, read, memory)
    choose = weights
    return _develop_files(lambda raw: ready(choose(raw)), list(jobs), exposure, overwrite, read, memory)


@dataclass(frozen=True)
class _Ready:
    """Weights with the engine that runs them."""

    weights: Weights
    engine: Engine


def _develop_files(
    prepare_for: Callable[[RawImage], _Ready],
    jobs: list[Job],
    exposure: float,
    overwrite: bool,
    read: Callable[[Path], RawImage],
    memory: float | None,
) -> Iterator[Outcome]:
    written: dict[Path, Path] = {}

    def begin(job: Job) -> RawImage:
        if job.output in written:
            raise InputError(f"{job.output} was just made from {written[job.output]}; develop this one by itself")
        if job.output.exists() and job.output.samefile(job.source):
            raise InputError(f"{job.output} is the RAW itself; --output names another place")
        make_folder(job.output.parent)
        check_output(job.output, overwrite)
        return read(job.source)

    def finish(job: Job, raw: RawImage, picture: NDArray[Any], ready: _Ready) -> Outcome:
        write_rgb(job.output, picture, job.format, raw.exif, overwrite)
        written[job.output] = job.source
        card = ready.weights.card
        return Outcome(job.source, job.output, "", raw.notes, ready.engine.description, card.name, card.camera)

    outputs = [job.output for job in jobs]
    reader, writer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    reading: Future[RawImage] | None = None
    writing: Future[Outcome] | None = None
    try:
        for index, job in enumerate(jobs):
            if writing is not None and (memory is not None or job.output in outputs[:index]):
                yield _outcome(jobs[index - 1], writing)
                writing = None
            reading = reading or reader.submit(begin, job)
            coming = None
            try:
                raw = reading.result()
                if memory is None and index + 1 < len(jobs) and outputs[index + 1] not in outputs[: index + 1]:
                    coming = reader.submit(begin, jobs[index + 1])
                ready = prepare_for(raw)
                dtype = np.uint8 if BITS[job.format] == 8 else np.uint16
                picture = develop_with(ready.engine, ready.weights.card.convention, raw, exposure, dtype)
                following = writer.submit(finish, job, raw, picture, ready)
            except (InputError, OSError) as error:
                following = Future()
                following.set_exception(error)
            reading = coming
            if reading is not None:
                wait([reading])  # while LibRaw reads, stderr is closed to all; who gets an outcome may write there
            if writing is not None:
                yield _outcome(jobs[index - 1], writing)
            writing = following
        if writing is not None:
            yield _outcome(jobs[-1], writing)
    finally:  # also where the user stops it: what is being written is finished, nothing else is begun
        for pool in (reader, writer):
            pool.shutdown(cancel_futures=True)


def _outcome(job: Job, result: Future[Outcome]) -> Outcome:
    try:
        return result.result()
    except InputError as error:
        return Outcome(job.source, job.output, error=str(error))
    except OSError as error:
        return Outcome(job.source, job.output, error=f"{job.source}: {error.strerror or error}")
