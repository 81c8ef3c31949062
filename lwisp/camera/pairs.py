"""RAW files with what their camera made of them: found in a folder, and laid onto each other.

A pair is a RAW and the JPEG beside it, or the one inside it. `align` finds by itself how the JPEG lies on the mosaic
(turned, mirrored, scaled, cropped, drifting), which of its tiles can be trusted, and refuses what is not a picture of
the same shot.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lwisp.errors import InputError, one_line, tell_failure
from lwisp.files.decoding import FORMATS, is_own_program, opened, read_tags
from lwisp.files.exif import EXIF_IFD
from lwisp.files.icc import to_srgb
from lwisp.files.makernotes import picture_style
from lwisp.files.raw import RAW_SUFFIXES, RawImage, camera_name, read_preview
from lwisp.files.writing import is_regular
from lwisp.imaging import alignment, color, matching
from lwisp.imaging.agreement import BLOCKS, Agreement, compare_tiles
from lwisp.imaging.mosaic import cfa_offset
from lwisp.imaging.pixels import orient
from lwisp.imaging.placement import Box, Placement, Plane, view, whole, work_size
from lwisp.imaging.refinement import refine

JPEG_SUFFIXES = (".jpg", ".jpeg")
HEIF_SUFFIXES = (".heic", ".heif", ".hif")
"""Looked for where pillow-heif is installed."""
PICTURE_FORMATS = (*FORMATS, "HEIF")
INTEROPERABILITY_IFD = 0xA005
ADOBE_GAMMA = 2.19921875
ADOBE_TO_XYZ = torch.tensor(
    [[0.5766690, 0.1855582, 0.1882286], [0.2973450, 0.6273636, 0.0752915], [0.0270314, 0.0706889, 0.9913375]]
)
"""Adobe RGB (1998), D65."""
MERGED = (2, 3, 6, 7)
"""What EXIF's CustomRendered says of HDR and panoramas (Apple's numbers)."""
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
GRID = (32, 48)
SMALLEST = 100  # px a side
BAR = 24  # of 255, that black bars may have beside something bright
MAX_OUT = 0.02  # of a side that the JPEG may show beyond what LibRaw calls visible
MAX_SKEW = 0.0015  # of a side: 0 to 0.0002 in cameras' own, 0.006 and up in other shots of the same scene
MAX_STRETCH = 0.005  # by which one direction may be scaled more than the other
MIN_COLOR = 0.006  # standard deviation of color, in coded values, under which there is none
CLIPPED = 0.9  # of white
FAR = 0.2  # from the one look nearest to all, in coded values, that a block may be: up to 0.15 in cameras' own
UNEVEN = 0.04  # standard deviation from tile to tile of brightness that it leaves: up to 0.018 in cameras' own
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
    suffixes = [*JPEG_SUFFIXES, *(HEIF_SUFFIXES if find_spec("pillow_heif") else ())]  # the first one wins
    for names, place in _walk(folder, refusals):
        jpegs: dict[str, list[Path]] = {}
        for name in sorted(
            (name for name in names if _suffix(name) in suffixes), key=lambda name: _rank(name, suffixes)
        ):
            jpegs.setdefault(Path(name).stem, []).append(place / name)
        for name in names:
            if _suffix(name) not in RAW_SUFFIXES:
                continue
            found = True
            try:
                pairs.append(_pair(place / name, jpegs.get(Path(name).stem, [])))
            except Exception as error:  # whatever is wrong with one file, the others are paired
                refusals.append(Refusal(place / name, tell_failure(place / name, error)))
    if not found and refusals:
        raise InputError(refusals[0].reason)
    if not found:
        raise InputError(f"{folder}: no RAW files in this folder ({', '.join(sorted(RAW_SUFFIXES))})")
    return pairs, refusals


def align(pair: Pair, raw: RawImage) -> AlignedPair:
    """How a pair's JPEG lies on the mosaic of its RAW, and which of its tiles can be trusted.

    Raises `InputError`, naming the pair, where the JPEG cannot be read, is monochrome, shows something else than the
    RAW or shows it from elsewhere, or was treated too differently from place to place.
    """
    name = _name(pair)
    picture = read_target(pair, raw)
    cells = _cells(raw)
    planes = [np.sqrt(_stretch(plane)) for plane in cells]
    reference = _mix(planes, color.BT601_LUMA.tolist())
    share = min(1.0, max(reference.shape) / max(picture.shape))
    luma = np.asarray(Image.fromarray(picture).convert("L")).astype(np.float32) / np.float32(255)
    own = view(luma, whole(luma), [max(1, round(side * share)) for side in luma.shape])
    placement = alignment.find_placement(own, reference)
    if placement is None:
        raise InputError(f"{name} does not show what the RAW shows; is it of another shot?")
    own, target = (orient(x, placement.orientation) for x in (own, picture))
    reference = _mix(planes, _fit_mixture(own, planes, placement.box))
    placement = refine(own, reference, placement)
    seen = compare_tiles(own, reference, placement)
    blocks = _blocks(target, whole(target), seen)
    light = _blocks(np.stack(cells, -1), placement.box, seen)
    judged = seen.detail >= DETAIL
    good = (seen.match >= MATCH) & (seen.changed == 0)
    agreeing = int((judged & good).sum())
    if agreeing < max(FEWEST, AGREEING * judged.sum()):
        raise InputError(
            f"{name} agrees with the RAW in {agreeing} of {judged.sum()} places only; is it of another shot, or edited?"
        )
    _check_geometry(name, placement, reference.shape, work_size(own.shape, reference.shape, placement.box))
    _check_colors(name, blocks, light)
    far, uneven = _look_residual(blocks, light, raw)
    if uneven > UNEVEN:
        raise InputError(
            f"{name} is {uneven:.2f} brighter or darker from place to place than one look can tell (up to {UNEVEN} is "
            "usual); was it merged of several shots?"
        )
    confidence = np.where(judged, good * seen.match, FLAT * (seen.changed == 0)) * (far < FAR)
    tiles = tuple(_tiles(placement, seen, confidence, target.shape))
    top, left, height, width = (2 * value for value in placement.box)
    return AlignedPair(pair, target, (top, left, height, width), tiles)


def read_target(pair: Pair, raw: RawImage) -> NDArray[np.uint8]:
    """The pair's JPEG (h, w, 3) in sRGB, as it lies in its file: not turned. Raises `InputError`."""
    name = _name(pair)
    if pair.jpeg is None and raw.jpeg is None:
        raise InputError(f"{pair.raw}: no JPEG beside this RAW, and none inside")
    with opened(pair.jpeg or raw.jpeg or b"", name, formats=PICTURE_FORMATS) as picture:
        profile = picture.info.get("icc_profile")
        adobe = not profile and _is_adobe_rgb(picture.getexif())
        rgb = picture.convert("RGB")
        if profile:
            rgb = to_srgb(rgb, profile)
        whole_picture = np.array(rgb)
    shown = _without_bars(whole_picture)
    for what, (height, width) in ((name, shown.shape[:2]), (f"{pair.raw}: the RAW", raw.mosaic.shape)):
        if min(height, width) < SMALLEST:
            raise InputError(f"{what} has {height}x{width} px only; expected {SMALLEST} a side at least")
    return _adobe_to_srgb(shown) if adobe else shown


def _without_bars(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture less its black bars, which fill small JPEGs of 4:3 beside a picture of 3:2."""
    for _ in range(2):  # rows, then columns
        bright = np.nonzero(rgb[..., 1].max(1) > BAR)[0]
        if len(bright) and bright[0] > 1 and len(rgb) - 1 - bright[-1] > 1:
            rgb = rgb[bright[0] + 2 : bright[-1] - 1]  # lines next to a bar hold some of it
        rgb = rgb.swapaxes(0, 1)
    return rgb


def _is_adobe_rgb(tags: Image.Exif) -> bool:
    """By the rules of camera files (DCF): cameras say so in a tag and put no profile in."""
    return tags.get_ifd(INTEROPERABILITY_IFD).get(1) == "R03" or tags.get_ifd(EXIF_IFD).get(40961) == 2


def _adobe_to_srgb(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    steps = np.arange(65536, dtype=np.float32) / 65535
    decode = ((np.arange(256) / 255) ** ADOBE_GAMMA).astype(np.float32)
    encode = np.rint(color.srgb_encode(torch.from_numpy(steps)).numpy() * 255).astype(np.uint8)
    matrix = (torch.linalg.inv(color.SRGB_TO_XYZ) @ ADOBE_TO_XYZ).numpy()
    linear = decode[rgb] @ matrix.T
    converted: NDArray[np.uint8] = encode[(linear.clip(0, 1) * 65535).astype(np.uint16)]
    return converted


def _walk(folder: Path, refusals: list[Refusal]) -> Iterator[tuple[list[str], Path]]:
    def refuse(error: OSError) -> None:
        refusals.append(Refusal(Path(error.filename), f"{error.filename}: cannot be read: {error.strerror}"))

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        kept = sorted(name for name in names if not name.startswith("."))
        yield [name for name in kept if _is_file(Path(place, name), refusals)], Path(place)


def _is_file(path: Path, refusals: list[Refusal]) -> bool:
    try:
        return is_regular(path)
    except InputError as error:
        refusals.append(Refusal(path, str(error)))
        return False


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


def _rank(name: str, suffixes: list[str]) -> tuple[int, str]:
    """Which of several pictures of one stem is looked at first; of two that differ in case only that of capitals."""
    return suffixes.index(_suffix(name)), name


def _pair(path: Path, jpegs: list[Path]) -> Pair:
    """A RAW with the first of these that is its camera's, or the JPEG inside it; never what lwisp made itself."""
    tags, embedded = read_preview(path)
    refusal: InputError | None = None
    for jpeg in jpegs:
        try:
            style = _style_of(path, tags, jpeg)
        except InputError as error:
            refusal = refusal or error
            continue
        if style is not None:
            return Pair(path, jpeg, camera_name(tags), style or picture_style(tags))
    if refusal is not None:
        raise refusal
    if embedded is None:
        raise InputError(f"{path}: no JPEG beside this RAW, and none inside")
    return Pair(path, None, camera_name(tags), picture_style(tags))


def _style_of(path: Path, tags: Image.Exif, jpeg: Path) -> str | None:
    """The picture style in the tags of a JPEG beside a RAW of these tags; None where lwisp made it.

    Raises `InputError` where they say that it is of another shot, or not as the camera made it.
    """
    with opened(jpeg, formats=PICTURE_FORMATS) as picture:
        own = read_tags(picture)
        photo = own.get_ifd(EXIF_IFD)
        style = picture_style(own)
    program = str(own.get(305, ""))
    if is_own_program(program):
        return None
    if any(word in program.lower() for word in DEVELOPERS):
        raise InputError(f"{jpeg}: made by {one_line(ValueError(program))}, not by the camera; keep it elsewhere")
    times = [_time(tags, tags.get_ifd(EXIF_IFD)), _time(own, photo)]
    if times[0] and times[1] and abs((times[0] - times[1]).total_seconds()) > MAX_SECONDS:
        raise InputError(f"{jpeg}: taken at {times[1]}, but {path.name} at {times[0]}: it is of another shot")
    for tag, what, stops in ((33434, "exposure time", 1), (33437, "aperture", 2)):
        values = [_positive(photo.get(tag)), _positive(tags.get_ifd(EXIF_IFD).get(tag))]
        if all(values) and abs(math.log2(values[0] / values[1])) * stops > MAX_STOPS:
            raise InputError(f"{jpeg}: {what} {values[0]:.5g}, but {values[1]:.5g} of {path.name}: another shot")
    if photo.get(41985) in MERGED:
        raise InputError(f"{jpeg}: its tags say that it was merged of several shots; it has no one look to learn")
    return style


def _time(tags: Image.Exif, photo: dict[int, object]) -> datetime | None:
    for value in (photo.get(36867), photo.get(36868), tags.get(306)):
        try:
            return datetime.strptime(str(value).strip("\0 "), "%Y:%m:%d %H:%M:%S")
        except ValueError:
            continue
    return None


def _positive(value: object) -> float:
    """A tag's number, or 0 where it is none."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return number if 0 < number < math.inf else 0.0


def _name(pair: Pair) -> str:
    return f"{pair.jpeg}: the JPEG" if pair.jpeg else f"{pair.raw}: the JPEG inside"


def _cells(raw: RawImage) -> list[Plane]:
    """Red, green and blue of each 2x2 cell, balanced, linear, black at 0: (H // 2, W // 2) each."""
    height, width = (side // 2 * 2 for side in raw.mosaic.shape)
    row, column = cfa_offset(raw.cfa)
    gains = np.array(raw.white_balance) / min(raw.white_balance)
    places = (((row, column),), ((row, 1 - column), (1 - row, column)), ((1 - row, 1 - column),))
    planes = []
    for positions, numbers, gain in zip(places, ((0,), (1, 2), (3,)), gains, strict=True):
        parts = [raw.mosaic[y:height:2, x:width:2].astype(np.float32) for y, x in positions]
        black, white = (sum(levels[number] for number in numbers) for levels in (raw.black_level, raw.white_level))
        light: Plane = sum(parts[1:], parts[0]) - np.float32(black)
        light *= gain / (white - black)
        if len(positions) == 1:  # half a photosite off the cell's middle, where both greens have theirs
            for axis, place in enumerate(positions[0]):
                light = _a_quarter_on(light, axis, 1 if place == 0 else -1)
        planes.append(light)
    return planes


def _a_quarter_on(plane: Plane, axis: int, step: int) -> Plane:
    """What lies a quarter of the way to the next (or last, step -1) along an axis; the border stays."""
    moved = plane.swapaxes(0, axis).copy()
    own, other = (slice(None, -1), slice(1, None))[::step]
    moved[own] *= np.float32(0.75)
    moved[own] += np.float32(0.25) * plane.swapaxes(0, axis)[other]
    return moved.swapaxes(0, axis)


def _stretch(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """To [0, 1], its brightest but for a hundredth at 1."""
    white = max(float(np.quantile(plane[::8, ::8], 0.99)), 1e-4)
    return (plane / np.float32(white)).clip(0, 1)


def _mix(planes: list[Plane], weights: Sequence[float]) -> Plane:
    mixed: Plane = sum(plane * np.float32(weight) for plane, weight in zip(planes, weights, strict=True))  # type: ignore
    return mixed


def _fit_mixture(own: Plane, planes: list[Plane], box: Box) -> list[float]:
    """The weights with which red, green and blue come nearest to the JPEG's brightness, seen on a coarse grid.

    A camera's matrix and saturation turn an edge between colors of one brightness into one that is seen, and back.
    """
    shown, *sensed = (view(x, part, GRID) for x, part in ((own, whole(own)), *((plane, box) for plane in planes)))
    terms = np.stack([*(x.ravel() for x in sensed), np.ones(shown.size, np.float32)], 1)
    weights: list[float] = np.linalg.lstsq(terms, shown.ravel(), rcond=1e-4)[0][:3].tolist()
    return weights


def _blocks(planes: NDArray[Any], box: Box, seen: Agreement) -> NDArray[np.float32]:
    """(h, w, 3), means over blocks (`BLOCKS` a side of a tile) of what lies in the box of planes (H, W, 3)."""
    (first, last), (left, right) = ((edges[0], edges[-1]) for edges in (seen.rows, seen.columns))
    part = (box[0] + first * box[2], box[1] + left * box[3], (last - first) * box[2], (right - left) * box[3])
    size = [BLOCKS * (len(edges) - 1) for edges in (seen.rows, seen.columns)]
    return np.stack([view(planes[..., channel].astype(np.float32), part, size) for channel in range(3)], -1)


def _check_geometry(name: str, placement: Placement, whole: tuple[int, ...], size: tuple[int, int]) -> None:
    """Raise `InputError` where no camera would have laid its JPEG so on the RAW; `size` is what was compared, in px."""
    top, left, height, width = placement.box
    out = max(-top / whole[0], -left / whole[1], (top + height) / whole[0] - 1, (left + width) / whole[1] - 1)
    if out > MAX_OUT:
        raise InputError(f"{name} shows more than the RAW, by {out:.0%} of a side; it is of another shot")
    stretch = abs(math.log(height / width * size[1] / size[0]))
    # what bends to the middle of a frame that is no square scales its sides unequally on the whole
    if placement.skew > MAX_SKEW + 0.5 / max(size) or stretch > MAX_STRETCH + 1 / min(size) + placement.bend:
        raise InputError(f"{name} is turned, stretched or seen from elsewhere than the RAW; is it of another shot?")


def _check_colors(name: str, blocks: NDArray[np.float32], light: NDArray[np.float32]) -> None:
    """Raise `InputError` where the JPEG's color is but a function of its brightness, and the RAW's is not."""
    own, sensed = _color_left(blocks / 255), _color_left(np.sqrt(_stretch(light)))
    if own < MIN_COLOR and (own < 0.2 * sensed or own < MIN_COLOR / 4):
        raise InputError(f"{name} is monochrome; a look of colors cannot be learned from it")


def _color_left(rgb: NDArray[Any]) -> float:
    """Standard deviation of color that brightness does not explain, of (..., 3)."""
    values = rgb.reshape(-1, 3).astype(np.float64)
    brightness = values.mean(1)
    colors = values - brightness[:, None]
    terms = np.stack([brightness**power for power in range(5)], 1)
    left = colors - terms @ np.linalg.lstsq(terms, colors, rcond=None)[0]
    return float(left.std())


def _look_residual(
    blocks: NDArray[np.float32], light: NDArray[np.float32], raw: RawImage
) -> tuple[NDArray[np.float64], float]:
    """How far tiles (rows, columns) are from the one look nearest to all, and how unevenly bright it leaves them.

    The first is that of a tile's worst block, the second a standard deviation over tiles, edited places aside. Both in
    coded values; clipped blocks do not count.
    """
    gains = np.array(raw.white_balance) / min(raw.white_balance)
    clipped = (light / gains).max(-1) > CLIPPED
    sensed, shown = (
        torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1)))
        for x in (np.sqrt(_stretch(light)), (blocks / np.float32(255)).clip(0, 1))
    )
    left = (matching.fit_look(sensed, shown) - shown).numpy()
    tiled = (clipped.shape[0] // BLOCKS, BLOCKS, clipped.shape[1] // BLOCKS, BLOCKS)
    far = np.where(clipped, 0, np.abs(left).mean(0)).reshape(tiled).max((1, 3))
    lighter = np.where(clipped, 0, left.mean(0)).reshape(tiled).mean((1, 3))
    return far, 1.4826 * float(np.median(np.abs(lighter - np.median(lighter))))


def _tiles(
    placement: Placement,
    seen: Agreement,
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
