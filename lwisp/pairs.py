"""RAW files with what their camera made of them: found in a folder, and laid onto each other.

A pair is a RAW and the JPEG beside it, or the one inside it. `align` finds by itself how the JPEG lies on the mosaic
(turned, mirrored, scaled, cropped, drifting), which of its tiles can be trusted, and refuses what is not a picture of
the same shot.
"""

import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lwisp import alignment
from lwisp.alignment import Plane
from lwisp.errors import InputError, one_line
from lwisp.image import EXIF_IFD, UNREADABLE, orient, to_srgb
from lwisp.raw import RAW_SUFFIXES, RawImage, camera_name, read_preview

JPEG_SUFFIXES = (".jpg", ".jpeg")
MAX_SECONDS = 2.0  # between the times that a RAW and its JPEG carry
MAX_STOPS = 0.2  # between their exposure times and apertures
DEVELOPERS = (
    *("darktable", "rawtherapee", "lightroom", "photoshop", "camera raw", "capture one", "dxo", "luminar", "gimp"),
    *("affinity", "snapseed", "on1", "acdsee", "exposure x", "digikam", "ufraw", "lwisp", "silkypix", "picasa"),
)
"""Programs whose name in a JPEG's tags says that it is not as the camera made it."""
DETAIL = 0.2  # share of a tile with structure from which on it can be judged
MATCH = 0.6  # correlation from which on a tile shows the same
AGREEING = 0.6  # share of the tiles that can be judged which must show the same
FEWEST = 4  # of them
FLAT = 0.5  # confidence in a tile that has nothing to be judged by


@dataclass(frozen=True)
class Pair:
    """A RAW and what its camera made of it."""

    raw: Path
    jpeg: Path | None
    """The JPEG beside it; None: the largest one inside it."""
    camera: str
    """Make and model, as "Canon PowerShot S40"."""
    style: str
    """Picture style or color mode, where the tags tell; else ""."""


@dataclass(frozen=True)
class Refusal:
    """A file that cannot be used, and why, in one sentence."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Tile:
    """A part of an aligned JPEG that can be trusted, in its px."""

    top: int
    left: int
    height: int
    width: int
    shift: tuple[float, float]
    """Rows and columns by which its content lies below and right of where the pair's box puts it, in px of the JPEG."""
    confidence: float
    """0 to 1: how well structure agrees; `FLAT` where there is none, and nothing that contradicts."""


@dataclass(frozen=True)
class AlignedPair:
    """A JPEG that lies on its RAW's mosaic."""

    pair: Pair
    target: NDArray[np.uint8]
    """(h, w, 3) sRGB, turned as the mosaic is stored (`RawImage.mosaic`, its orientation not applied)."""
    box: tuple[float, float, float, float]
    """Top, left, height, width of what the target shows, in photosites of the mosaic; may stick out a little.

    The edge of the first photosite is at 0, its center at 0.5. Row y of the target (its center) lies at
    top + (y + 0.5) * height / h.
    """
    tiles: tuple[Tile, ...]

    @property
    def scale(self) -> float:
        """JPEG px per photosite: the mean of both directions, which hardly differ."""
        return math.sqrt(self.target.shape[0] * self.target.shape[1] / (self.box[2] * self.box[3]))


def find_pairs(folder: Path) -> tuple[list[Pair], list[Refusal]]:
    """All RAW files in a folder, and those in it, that have a JPEG of the camera's; and those that cannot be used.

    Raises `InputError` where the folder cannot be read or holds no RAW.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder with RAW files")
    pairs: list[Pair] = []
    refusals: list[Refusal] = []
    found = False
    for names, place in _walk(folder, refusals):
        jpegs = {Path(name).stem: place / name for name in reversed(names) if _suffix(name) in JPEG_SUFFIXES}
        for name in names:
            if _suffix(name) not in RAW_SUFFIXES:
                continue
            found = True
            try:
                pairs.append(_pair(place / name, jpegs.get(Path(name).stem)))
            except InputError as error:
                refusals.append(Refusal(place / name, str(error)))
    if not found:
        raise InputError(f"{folder}: no RAW files in this folder ({', '.join(sorted(RAW_SUFFIXES))})")
    return pairs, refusals


def align(pair: Pair, raw: RawImage) -> AlignedPair:
    """How a pair's JPEG lies on the mosaic of its RAW, and which of its tiles can be trusted.

    Raises `InputError`, naming the pair, where the JPEG cannot be read, is monochrome, or shows something else.
    """
    picture = read_target(pair, raw)
    name = _name(pair)
    reference = _green(raw)
    own: Plane = picture[..., 1] / np.float32(255)
    placement = alignment.find_placement(own, reference)
    if placement is None:
        raise InputError(f"{name} does not show what the RAW shows, or too little of it; is it of another shot?")
    turned = orient(own, placement.orientation)
    seen = alignment.agreement(turned, reference, placement)
    judged = seen.detail >= DETAIL
    good = (seen.match >= MATCH) & (seen.changed == 0)
    agreeing = int((judged & good).sum())
    if agreeing < max(FEWEST, AGREEING * judged.sum()):
        raise InputError(
            f"{name} shows the same as the RAW in {agreeing} of {judged.sum()} places only; "
            "is it of another shot, or edited?"
        )
    target = orient(picture, placement.orientation)
    box = placement.box
    return AlignedPair(
        pair,
        target,
        (2 * box[0], 2 * box[1], 2 * box[2], 2 * box[3]),
        tuple(_tiles(placement, seen, np.where(judged, good * seen.match, FLAT * (seen.changed == 0)), target.shape)),
    )


def read_target(pair: Pair, raw: RawImage) -> NDArray[np.uint8]:
    """The pair's JPEG (h, w, 3) in sRGB, as it lies in its file: not turned. Raises `InputError`."""
    name = _name(pair)
    if pair.jpeg is None and raw.jpeg is None:
        raise InputError(f"{pair.raw}: no JPEG beside this RAW, and none inside")
    try:
        with Image.open(pair.jpeg or io.BytesIO(raw.jpeg or b"")) as picture:
            profile = picture.info.get("icc_profile")
            rgb = picture.convert("RGB")
        if profile:
            rgb = to_srgb(rgb, profile)
    except UNREADABLE as error:
        raise InputError(f"{name} cannot be read: {one_line(error)}") from error
    return np.array(rgb)


def _walk(folder: Path, refusals: list[Refusal]) -> Iterator[tuple[list[str], Path]]:
    def refuse(error: OSError) -> None:
        refusals.append(Refusal(Path(error.filename), f"{error.filename}: cannot be read: {error.strerror}"))

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield sorted(name for name in names if not name.startswith(".")), Path(place)


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


def _pair(path: Path, jpeg: Path | None) -> Pair:
    tags, embedded = read_preview(path)
    if jpeg is None and embedded is None:
        raise InputError(f"{path}: no JPEG beside this RAW, and none inside")
    if jpeg is not None:
        _check_same_shot(path, tags, jpeg)
    return Pair(path, jpeg, camera_name(tags), "")


def _check_same_shot(path: Path, tags: Image.Exif, jpeg: Path) -> None:
    """Raise `InputError` where the tags of a JPEG say that it is of another shot, or not as the camera made it."""
    try:
        with Image.open(jpeg) as picture:
            own = picture.getexif()
            photo = own.get_ifd(EXIF_IFD)
    except UNREADABLE as error:
        raise InputError(f"{jpeg}: cannot be read: {one_line(error)}") from error
    program = str(own.get(305, ""))
    if any(word in program.lower() for word in DEVELOPERS):
        raise InputError(f"{jpeg}: made by {one_line(ValueError(program))}, not by the camera; keep it elsewhere")
    times = [_time(tags, tags.get_ifd(EXIF_IFD)), _time(own, photo)]
    if times[0] and times[1] and abs((times[0] - times[1]).total_seconds()) > MAX_SECONDS:
        raise InputError(f"{jpeg}: taken at {times[1]}, but {path.name} at {times[0]}: it is of another shot")


def _time(tags: Image.Exif, photo: dict[int, object]) -> datetime | None:
    for value in (photo.get(36867), photo.get(36868), tags.get(306)):
        try:
            return datetime.strptime(str(value).strip("\0 "), "%Y:%m:%d %H:%M:%S")
        except ValueError:
            continue
    return None


def _name(pair: Pair) -> str:
    return str(pair.jpeg) if pair.jpeg else f"{pair.raw}: the JPEG inside it"


def _green(raw: RawImage) -> Plane:
    """The mean green of each 2x2 cell, about the square root of light, 0 to 1: (H // 2, W // 2).

    Both greens together have their middle in the cell's, and need neither gains nor matrix.
    """
    height, width = (side // 2 * 2 for side in raw.mosaic.shape)
    cells = raw.mosaic[:height, :width]
    first = raw.cfa.index("G")
    green = cells[::2, first::2].astype(np.float32) + cells[1::2, 1 - first :: 2]
    green = (green - (raw.black_level[1] + raw.black_level[2])).clip(0)
    white = float(np.quantile(green[::8, ::8], 0.99))
    plane: Plane = np.sqrt((green / max(white, 1.0)).clip(0, 1))
    return plane


def _tiles(
    placement: alignment.Placement,
    seen: alignment.Agreement,
    confidence: NDArray[np.float64],
    shape: tuple[int, ...],
) -> Iterator[Tile]:
    rows, columns = (
        np.rint(edges * side).astype(int) for edges, side in zip((seen.rows, seen.columns), shape[:2], strict=True)
    )
    for row, column in zip(*np.nonzero(confidence > 0), strict=True):
        top, left, bottom, right = rows[row], columns[column], rows[row + 1], columns[column + 1]
        middle = np.array([(top + bottom) / 2 / shape[0], (left + right) / 2 / shape[1]])
        shift = placement.shifts(middle[0], middle[1]) * shape[:2]
        yield Tile(
            int(top),
            int(left),
            int(bottom - top),
            int(right - left),
            (float(shift[0]), float(shift[1])),
            float(confidence[row, column]),
        )
