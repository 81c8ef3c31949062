"""RAW development: levels, balance, canonical color, exposure, network, orientation.

`develop` turns one RAW into a picture; `Planes` has the steps before the network; `develop_files` works on many files.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
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
from lwisp.files.pictures import write_picture
from lwisp.files.raw import RawImage, read_raw
from lwisp.imaging import color, mosaic
from lwisp.imaging.bayer import cfa_offset
from lwisp.imaging.pixels import unorient
from lwisp.model import reflected_indices
from lwisp.weights import InputConvention, Weights, check_takes, left_out_note, load_once, of_camera

MAX_EXPOSURE = 5
"""EV; the largest exposure compensation, up or down."""
BAND = 64
"""Rows of cells that are made into planes at once: few enough to stay in the processor's cache."""


def develop(
    weights: Weights,
    raw: RawImage,
    exposure: float = 0.0,
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: float | None = None,
) -> NDArray[np.float32]:
    """A RAW developed into a picture: (H, W, 3) display-referred sRGB in [0, 1], upright, of the visible area's size.

    The same RAW, weights, back end and precision give the same pixels. The engine is kept with `weights`, so that the
    next picture costs what the network costs.

    Args:
        weights: Weights that take RAWs, from `load`.
        raw: The RAW, from `read_raw` or `read_mosaic`.
        exposure: EV on top of the exposure rule, -5 to 5.
        precision: "auto", "fp32" or "bf16"; auto takes bf16 where the processor computes in it.
        backend: "auto", "torch", "openvino" or "onnxruntime"; auto takes OpenVINO where it is installed.
        memory: Bound on the memory of the whole process, in GB.

    Returns:
        The picture, float32.

    Raises:
        InputError: The weights do not take RAWs, an argument cannot be used, or memory cannot hold the picture.
    """
    check_takes(weights.card, "raw")
    check_exposure(exposure)
    engine = cached_engine(weights, backend, precision, memory)
    picture: NDArray[np.float32] = develop_with(engine, weights.card.convention, raw, exposure, np.float32)
    return picture


def develop_with(
    engine: Engine,
    convention: InputConvention,
    raw: RawImage,
    exposure: float,
    dtype: type[np.float32] | type[np.uint8] | type[np.uint16],
) -> NDArray[Any]:
    """A RAW developed by a prepared engine: (H, W, 3) sRGB, upright.

    Args:
        engine: The network, from `engines.engine.prepare_engine`.
        convention: What the network expects of its input; it stands on the card of its weights.
        raw: The RAW.
        exposure: EV on top of the exposure rule.
        dtype: float32 for values in [0, 1]; integers reach over their whole range.

    Returns:
        The picture, of this type.
    """
    height, width = raw.mosaic.shape
    upright = (width, height) if raw.orientation >= 5 else (height, width)
    picture = np.empty((*upright, 3), dtype)
    planes = Planes(raw, convention, exposure)  # levels, balance, canonical color, exposure: made where they are read
    as_sensed = unorient(picture, raw.orientation)  # a view of the picture, which is upright when this is full
    engine.develop(planes, as_sensed, cfa_offset(raw.cfa))
    return picture


class Planes:
    """The network's input (4, h, w), planes R, Gr, Gb, B of a RAW, made window by window; the mosaic stays in 16 bits.

    `read` has the steps in their order. Any window is exactly that part of the whole frame.

    Args:
        raw: The RAW; it is not copied.
        convention: Which of the steps the network expects.
        exposure: EV on top of the exposure rule.
    """

    def __init__(self, raw: RawImage, convention: InputConvention, exposure: float = 0.0) -> None:
        self.raw, self.convention = raw, convention
        top, left = cfa_offset(raw.cfa)
        height, width = raw.mosaic.shape
        self.shape = (4, (height + top + 1) // 2, (width + left + 1) // 2)
        self._exposure: float = 2.0**exposure
        self._gain: float | None = None if convention.exposure == "auto" else 1.0

    def read(self, rows: slice, columns: slice) -> Tensor:
        """The network's input for a window of the frame.

        Args:
            rows: First row of the planes and the one after the last, within the frame.
            columns: The same of columns.

        Returns:
            (4, rows, columns) float32, planes R, Gr, Gb, B; 1 is the white of the exposed frame.
        """
        planes = torch.empty(4, rows.stop - rows.start, columns.stop - columns.start)
        for band in _bands(rows):
            planes[:, band.start - rows.start : band.stop - rows.start] = self._unexposed(band, columns)
        if self._gain is None:
            self._gain = self._exposure_gain(planes)
        if any(self.convention.shading):
            planes.mul_(color.shading_gain(self.convention.shading, self.radius(rows, columns)))
        return planes.mul_(self._gain * self._exposure)

    def _unexposed(self, rows: slice, columns: slice) -> Tensor:
        """The steps before the exposure, of a few rows: levels, balance, canonical color."""
        mixes = self.convention.color == "canonical"
        margin = 1 if mixes else 0  # cells around the window, which mixing looks at
        inner_rows = slice(max(rows.start - margin, 0), min(rows.stop + margin, self.shape[1]))
        inner_columns = slice(max(columns.start - margin, 0), min(columns.stop + margin, self.shape[2]))

        photosites = torch.from_numpy(self._photosites(inner_rows, inner_columns))  # (2 rows, 2 columns), DN
        planes = self._normalize_levels(mosaic.pack(photosites))  # (4, rows, columns), black 0, white 1
        planes = self._balance(planes)
        if not mixes:
            return planes
        photosites = mosaic.unpack(planes)
        photosites = _complete_margin(photosites, -2, rows, inner_rows)
        photosites = _complete_margin(photosites, -1, columns, inner_columns)
        return color.mix_photosites(photosites, torch.from_numpy(self.raw.cam2rgb))  # linear Rec. 2020

    def _normalize_levels(self, packed: Tensor) -> Tensor:
        subtracts = self.convention.black_level == "subtract"
        black = torch.tensor(self.raw.black_level if subtracts else (0.0,) * 4)
        return mosaic.normalize_levels(packed, black, torch.tensor(self.raw.white_level))

    def _balance(self, planes: Tensor) -> Tensor:
        if self.convention.white_balance == "none":
            return planes
        return color.balance(planes, torch.tensor(self.raw.white_balance))

    def _exposure_gain(self, planes: Tensor) -> float:
        """The gain of the exposure rule, from means over 64 x 64 parts of the whole frame.

        `planes` are those of the first window read, which may be the whole frame.
        """
        height, width = self.shape[1:]
        means = []
        for row in range(color.GRID):  # a row of parts after the other, so that no frame is needed
            part = slice(row * height // color.GRID, -(-(row + 1) * height // color.GRID))
            if planes.shape == self.shape:
                cells = planes[:, part]
            else:
                bands = [self._unexposed(band, slice(0, width)) for band in _bands(part)]
                cells = torch.cat(bands, 1)
            means.append(functional.adaptive_avg_pool2d(cells, (1, color.GRID)))
        return float(color.grid_gain(torch.cat(means, 1)))

    def radius(self, rows: slice, columns: slice) -> Tensor:
        """Squared distance of each cell of a window from the frame's center.

        Args:
            rows: First row of the planes and the one after the last, within the frame.
            columns: The same of columns.

        Returns:
            (rows, columns); 0 in the center and 1 in the frame's corners.
        """
        height, width = self.raw.mosaic.shape
        top, left = cfa_offset(self.raw.cfa)
        down = _squared_distance(rows, top, height)
        across = _squared_distance(columns, left, width)
        squared: Tensor = (down[:, None] + across[None]) / (height**2 + width**2) * 4
        return squared

    def _photosites(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """The mosaic of these cells in DN, reflected by up to a row or column a side to RGGB and even sides."""
        top, left = cfa_offset(self.raw.cfa)
        window = _take_reflected(self.raw.mosaic, 0, rows, top)
        window = _take_reflected(window, 1, columns, left)
        return window.astype(np.float32)


def _bands(rows: slice) -> list[slice]:
    """The rows in parts of at most `BAND`."""
    return [slice(top, min(top + BAND, rows.stop)) for top in range(rows.start, rows.stop, BAND)]


def _complete_margin(photosites: Tensor, dim: int, wanted: slice, inner: slice) -> Tensor:
    """Reflect photosites by the cell of margin that the frame does not have, where a window touches its border."""
    before = 2 * (inner.start - wanted.start + 1)
    after = 2 * (wanted.stop + 1 - inner.stop)
    return mosaic.reflect(photosites, dim, before, after)


def _squared_distance(cells: slice, before: int, side: int) -> Tensor:
    """Squared distance in photosites of cells from the middle of a side that begins `before` photosites in."""
    middles = 2 * torch.arange(cells.start, cells.stop) + 1 - before
    return (middles - side / 2).square()


def _take_reflected(photosites: NDArray[np.uint16], axis: int, cells: slice, before: int) -> NDArray[np.uint16]:
    """The photosites of these cells along an axis that is reflected at both ends; a view where none is reflected."""
    index = reflected_indices(2 * cells.start - before, 2 * cells.stop - before, photosites.shape[axis]).numpy()
    if index[-1] - index[0] != len(index) - 1:
        taken: NDArray[np.uint16] = photosites.take(index, axis)
        return taken
    part = slice(index[0], index[-1] + 1)
    return photosites[part] if axis == 0 else photosites[:, part]


def prepare(raw: RawImage, convention: InputConvention, exposure: float = 0.0) -> tuple[Tensor, tuple[int, int]]:
    """The network's input for a whole RAW.

    Args:
        raw: The RAW, which stays as it is.
        convention: What the network expects of its input; it stands on the card of its weights.
        exposure: EV on top of the exposure rule.

    Returns:
        Planes (4, h, w) float32 in the order R, Gr, Gb, B, as `Planes.read` gives them; and (row, column), 0 or 1, of
        the first photosite in them.
    """
    planes = Planes(raw, convention, exposure)
    return planes.read(slice(0, planes.shape[1]), slice(0, planes.shape[2])), cfa_offset(raw.cfa)


def check_exposure(exposure: float) -> None:
    """Check that weights are trained for an exposure.

    Args:
        exposure: EV.

    Raises:
        InputError: It is beyond `MAX_EXPOSURE`, or no number.
    """
    if not abs(exposure) <= MAX_EXPOSURE:  # written so that NaN fails too
        raise InputError(f"expected an exposure of -{MAX_EXPOSURE} to {MAX_EXPOSURE} EV, got {exposure}")


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
        check_takes(weights.card, "raw")
        self.weights = weights
        self.engine = prepare_engine(weights.network, backend, precision, memory, threads=threads)

    def develop(
        self,
        raw: RawImage,
        exposure: float = 0.0,
        dtype: type[np.float32] | type[np.uint8] | type[np.uint16] = np.float32,
    ) -> NDArray[Any]:
        """The picture that `lwisp.develop` gives: (H, W, 3) sRGB, upright.

        Args:
            raw: The RAW.
            exposure: EV on top of the exposure rule, -5 to 5.
            dtype: float32 for values in [0, 1]; integers reach over their whole range.

        Returns:
            The picture, of this type.

        Raises:
            InputError: The exposure is out of range, or memory cannot hold the picture.
        """
        check_exposure(exposure)
        return develop_with(self.engine, self.weights.card.convention, raw, exposure, dtype)


def pick(raw: RawImage) -> Weights:
    """The weights for a RAW where none are named: those learned from its camera, else `photo`.

    Args:
        raw: The RAW; its camera and its picture style decide.

    Returns:
        The weights. What lies among learned weights and cannot be used is left out, with a note in `Weights.notes`.
    """
    found, notes = of_camera(raw.camera, picture_style(raw.exif))
    for path in found:
        try:
            weights = load_once(path)
            check_takes(weights.card, "raw")
        except (InputError, OSError) as error:
            notes.append(left_out_note(path, error))
        else:
            break
    else:
        weights = load_once("photo")
    return replace(weights, notes=tuple(notes)) if notes else weights


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
    """Develop many files, in their order; whatever goes wrong with one, the others are done.

    While one is developed the next is read and the last is written, unless `memory` is bounded.

    Args:
        weights: Those for all, or a function that says which for each, such as `pick`.
        jobs: The files and the pictures to make of them, from `batch.plan`.
        exposure: EV on top of the exposure rule, -5 to 5.
        precision: "auto", "fp32" or "bf16", as for `develop`.
        overwrite: Replace pictures that lwisp wrote before; what is never replaced, `batch.work` says.
        read: How to read a file, where it is no RAW, such as a bare mosaic.
        backend: "auto", "torch", "openvino" or "onnxruntime", as for `develop`.
        memory: Bound on the memory of the whole process, in GB.

    Returns:
        What became of each file, as it is done.

    Raises:
        InputError: Before any work, for what is wrong with all of them.
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
        write_picture(job.output, picture, job.picture, raw.exif, replace)

    return work(jobs, read, make, write, memory, overwrite)
