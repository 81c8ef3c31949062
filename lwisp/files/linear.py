"""Camera files without a Bayer mosaic -> `LinearImage`: linear camera RGB at every pixel, however it came about.

X-Trans mosaics are demosaiced by LibRaw, other patterns are interpolated, what is demosaiced already is taken as it
is, and quad-Bayer mosaics are binned to Bayer ones. `read_any` reads a file of any kind; what was done with it stands
in `LinearImage.way` or in the notes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import rawpy
from numpy.typing import NDArray
from PIL import Image

from lwisp.errors import InputError, UnsupportedError, check_type
from lwisp.files import damage
from lwisp.files.dng_content import LETTERS
from lwisp.files.dng_tags import AS_SHOT_NEUTRAL, BLACK_LEVEL, COLOR_MATRICES, LightTags, main_directory, numbers_of
from lwisp.files.facts import (
    NO_AS_SHOT,
    as_shot_gains,
    describe,
    embedded_jpeg,
    find_color,
    read_light_of,
    read_tags,
)
from lwisp.files.floats import has_floats, read_floats
from lwisp.files.libraw import Opened, opened
from lwisp.files.opcodes import read_lists
from lwisp.files.raw import RawImage, camera_of, is_bayer, read_bayer, white_levels
from lwisp.files.soundness import check_levels, check_picture, check_tiles
from lwisp.files.sources import Source
from lwisp.files.xmp import Value
from lwisp.files.xtrans import demosaic_xtrans
from lwisp.imaging import matrices, patterns
from lwisp.imaging.automatic_balance import average, estimate_from_cells, estimate_gains
from lwisp.imaging.black_levels import BlackLevels
from lwisp.imaging.camera_color import CameraColor, Gains, matrix_under
from lwisp.imaging.framing import CropBox
from lwisp.imaging.patterns import Pattern, Signal
from lwisp.imaging.shading_maps import RadialGain, undo_shading_of_rgb

XTRANS = "X-Trans mosaic demosaiced by LibRaw"
DEMOSAICED = "already demosaiced"
FOUR_COLORS = "four colors"
GRAY = "monochrome"
BINNED = "quad-Bayer mosaic binned to half the size"
"""In `RawImage.notes`."""

BLACK, WHITE = 4096, 61440
"""Levels in DN of pixels that are made here: room for noise below black, and for what exceeds white by a little."""
MOST_STOPS = 6
"""EV above white that are kept of floating-point pixels."""
WHITE_LEVEL = 50717  # DNG's tag
REPEAT, CODES = 33421, 33422  # DNG's tags of a mosaic's pattern
ROOM = 1.05
"""Times the largest balanced white: what a demosaicing overshoots."""
FILTERS = {
    **{"R": (1.0, 0.0, 0.0), "G": (0.0, 1.0, 0.0), "B": (0.0, 0.0, 1.0), "E": (0.0, 0.5, 0.5), "W": (1.0, 1.0, 1.0)},
    **{"C": (0.0, 1.0, 1.0), "M": (1.0, 0.0, 1.0), "Y": (1.0, 1.0, 0.0)},
}
"""What ideal filters let pass of R, G and B; E is emerald, W is clear."""


@dataclass(frozen=True, eq=False)
class LinearImage:
    """One RAW photo without a Bayer mosaic, not yet developed: the sibling of `RawImage`, with values in R, G, B.

    It can be pickled and copied: no file stands behind it.
    """

    rgb: NDArray[np.uint16]
    """(H, W, 3), the visible area in DN: linear camera RGB, not balanced. A gray picture has three equal channels."""
    way: str
    """How it came about, for the user: `XTRANS`, `DEMOSAICED`, `FOUR_COLORS`, `GRAY`, or of which pattern."""
    black_level: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """DN."""
    white_level: tuple[float, float, float] = (65535.0, 65535.0, 65535.0)
    """DN; where the sensor clips. Light above it is kept where the file has it."""
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Gains that multiply R, G, B; G = 1."""
    cam2rgb: NDArray[np.float32] = field(default_factory=lambda: np.eye(3, dtype=np.float32))
    """(3, 3), balanced camera RGB -> canonical RGB (linear Rec. 2020); rows sum to one."""
    is_gray: bool = False
    """Whether the sensor sees no colors."""
    orientation: int = 1
    """EXIF's 1 to 8, as in `RawImage`, and all that follows."""
    crop: CropBox | None = None
    pixel_aspect: float = 1.0
    make: str = "unknown"
    model: str = "unknown"
    jpeg: bytes | None = None
    exif: Image.Exif = field(default_factory=Image.Exif)
    properties: Mapping[str, Value] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    color: CameraColor | None = None

    @property
    def camera(self) -> str:
        """Make and model in one."""
        return camera_of(self.make, self.model)


AnyRaw = RawImage | LinearImage
"""What `read_any` gives."""


def check_raw(raw: object) -> None:
    """Check that an argument is a RAW that was read, of any kind; raises `ArgumentError`."""
    check_type("a RAW, from lwisp.read_raw, read_any or read_mosaic", raw, (RawImage, LinearImage))


def size_of(raw: AnyRaw) -> tuple[int, int]:
    """(height, width) of the visible area of a RAW, in photosites or pixels."""
    height, width = (raw.rgb if isinstance(raw, LinearImage) else raw.mosaic).shape[:2]
    return height, width


@dataclass(frozen=True, eq=False)
class _Read:
    """What is known of a file before its pixels are looked at."""

    file: Opened
    source: Source
    jpeg: bytes | None
    tags: Image.Exif
    tiles: damage.Tiles
    light: LightTags
    own: Mapping[int, Any]
    """Tags of a DNG's own picture."""
    notes: list[str]

    @property
    def raw(self) -> rawpy.RawPy:
        return self.file.libraw

    @property
    def name(self) -> str:
        return self.file.name


def read_any(source: Source) -> AnyRaw:
    """A camera's RAW file of any kind that LibRaw opens.

    Any number of threads may read at once.

    Args:
        source: A path, the content of a file, or a file open in binary mode.

    Returns:
        A Bayer mosaic as `read_raw` has it, binned to half the size if it was quad-Bayer, which the notes say; of
        anything else a `LinearImage`.

    Raises:
        InputError: The file is no RAW, is damaged or cut short, holds no picture, or has a pattern of colors that
            nobody could name.
    """
    with opened(source) as file:
        jpeg = embedded_jpeg(file.libraw)
        tags = read_tags(file, jpeg)
        return read_bayer(file, source) if is_bayer(file.libraw, tags) else _read_other(file, source, jpeg, tags)


def read_linear(source: Source) -> LinearImage:
    """A camera's RAW file without a Bayer mosaic.

    Args:
        source: As `read_any`.

    Raises:
        InputError: As `read_any`, and where the file holds a Bayer or quad-Bayer mosaic.
    """
    with opened(source) as file:
        jpeg = embedded_jpeg(file.libraw)
        tags = read_tags(file, jpeg)
        found = None if is_bayer(file.libraw, tags) else _read_other(file, source, jpeg, tags)
        if not isinstance(found, LinearImage):
            raise UnsupportedError(f"{file.name}: a Bayer mosaic; expected a RAW without one", "Bayer")
        return found


def _read_other(file: Opened, source: Source, jpeg: bytes | None, tags: Image.Exif) -> AnyRaw:
    tiles = check_tiles(file)
    raw = file.libraw
    shape = raw.raw_image_visible.shape
    if min(shape[:2]) < 2:
        raise InputError(f"{file.name}: expected at least 2x2 pixels, got {shape[:2]}")
    light = read_light_of(file)
    read = _Read(file, source, jpeg, tags, tiles, light, main_directory(file.directories), [*light.notes])
    if raw.raw_type != rawpy.RawType.Flat and len(shape) == 3 and shape[2] >= 3:
        return _read_pixels(read)
    if raw.num_colors == 1 or raw.raw_pattern is None:
        return _read_gray(read)
    return _read_mosaic(read)


# -- what is demosaiced already


def _read_pixels(read: _Read) -> LinearImage:
    """Linear DNGs, Canon's sRAW, Foveon and others with all colors at each pixel."""
    raw = read.raw
    pixels = raw.raw_image_visible
    samples = raw.num_colors if pixels.shape[2] > 3 else 3
    black, white = _levels_of_samples(read, samples)
    if has_floats(read.own):
        pixels, black, white = _float_pixels(read, np.asarray(pixels[..., :samples]), black, white)
    else:
        pixels = pixels[..., :samples].copy()
    check_levels(read.name, black, white)
    widest = int(np.argmax(np.ptp(pixels[::4, ::4].reshape(-1, samples), 0)))
    is_lit = any(int(pixels[..., index].max()) > black[index] for index in range(samples))
    edges = range(-raw.sizes.left_margin, pixels.shape[1], read.tiles.width) if read.tiles.width else ()
    most = 65535.0 if has_floats(read.own) else white[widest]  # light above white is no damage there
    check_picture(read.name, pixels[..., widest], is_lit, [black[widest]], most, edges, read.notes)
    if samples > 3 and len(numbers_of(read.own.get(COLOR_MATRICES[0]))) == 3 * samples:
        low, high = np.array(black, np.float32), np.array(white, np.float32)
        return _of_four_colors(read, (pixels - low) / (high - low), "", DEMOSAICED)
    if samples > 3:
        read.notes.append(f"{samples} samples a pixel without a color matrix: the first three are taken as R, G and B")
    return _finished(read, np.ascontiguousarray(pixels[..., :3]), black[:3], white[:3], DEMOSAICED)


def _levels_of_samples(read: _Read, samples: int) -> tuple[list[float], list[float]]:
    """Black and white in DN of each sample; a DNG's own, for LibRaw rounds the first and has one of the second."""
    black = [float(level) for level in read.raw.black_level_per_channel[:samples]]
    white = white_levels(read.raw, list(range(samples)))
    told = numbers_of(read.own.get(BLACK_LEVEL))
    if len(told) == samples and told.min() >= 0:
        black = told.tolist()
    told = numbers_of(read.own.get(WHITE_LEVEL))
    if len(told) == samples and told.min() > 0:
        white = told.tolist()
    return black, white


def _float_pixels(
    read: _Read, rounded: NDArray[np.uint16], black: list[float], white: list[float]
) -> tuple[NDArray[np.uint16], list[float], list[float]]:
    """Pixels of 16 bits out of floating-point ones, with their levels."""
    samples = rounded.shape[2]
    with read.file.open() as content:
        found = read_floats(content, read.own)
    sizes = read.raw.sizes
    if found is None or found.shape[2] < samples:
        if int(rounded.max()) >= max(white):
            read.notes.append("floating-point values that LibRaw rounded: the brightest is taken as white")
        return rounded.copy(), [0.0] * samples, white
    visible = found[sizes.top_margin :, sizes.left_margin :][: rounded.shape[0], : rounded.shape[1], :samples]
    if not np.isfinite(visible).all():
        read.notes.append("the file is damaged: some of its values are no numbers, taken as black")
        visible = np.nan_to_num(visible, nan=0.0, posinf=0.0, neginf=0.0)
    low = _of_samples(numbers_of(read.own.get(BLACK_LEVEL, 0)), samples, 0.0)
    high = _of_samples(numbers_of(read.own.get(WHITE_LEVEL, 1)), samples, 1.0)
    check_levels(read.name, low.tolist(), high.tolist())
    signal = (visible - low) / (high - low)
    top = float(np.clip(signal.max(), 65535 / WHITE, 2.0**MOST_STOPS))
    if top > 65535 / WHITE:
        read.notes.append(f"values up to {np.log2(top):.1f} EV above white")
    level = float(int(BLACK + (65535 - BLACK) / top))
    return _encode(signal, level), [float(BLACK)] * samples, [level] * samples


def _of_samples(values: NDArray[np.float64], samples: int, usual: float) -> NDArray[np.float32]:
    """A level for each sample, of which a DNG tells one each or one for all."""
    if len(values) not in (1, samples):
        values = np.array([usual])
    return np.broadcast_to(values, (samples,)).astype(np.float32)


# -- sensors without colors


def _read_gray(read: _Read) -> LinearImage:
    raw = read.raw
    mosaic = raw.raw_image_visible
    mosaic = (mosaic if mosaic.ndim == 2 else mosaic[..., 0]).copy()
    black, white = _levels_of_samples(read, 1)
    _check_mosaic(read, mosaic, black, white)
    if read.light.black is not None:
        signal = _signal(mosaic, read.light.black, np.array([["0"]]), black, white)
        mosaic, black, white = _encode(signal, WHITE), [float(BLACK)], [float(WHITE)]
    facts = describe(read.file, read.source, read.jpeg, read.tags, read.notes)
    rgb = np.repeat(mosaic[..., None], 3, 2)
    rgb = _without_shading(read, rgb, black * 3, white * 3)
    return LinearImage(
        rgb=rgb,
        way=GRAY,
        black_level=(black[0],) * 3,
        white_level=(white[0],) * 3,
        is_gray=True,
        notes=tuple(read.notes),
        **facts,
    )


# -- mosaics of other patterns


def _read_mosaic(read: _Read) -> AnyRaw:
    raw = read.raw
    mosaic = raw.raw_image_visible.copy()
    indices = patterns.smallest(np.asarray(raw.raw_colors_visible[:12, :12]).astype(str))
    letters = raw.color_desc.decode("ascii", "replace")
    pattern = _told_pattern(read)
    if pattern is None:
        pattern = np.array([[letters[int(index)] for index in row] for row in indices])
    black = [float(level) for level in raw.black_level_per_channel]
    white = white_levels(raw, list(range(4)))
    _check_mosaic(read, mosaic, black, white)
    if set(pattern.ravel()) <= set("RGB"):
        if patterns.quad_corner(pattern) is not None:
            return _binned(read, mosaic, pattern, black, white)
        return _of_three_colors(read, mosaic, pattern, black, white)
    if indices.shape == pattern.shape and raw.num_colors == 4 == len(np.unique(indices)):
        signal = _signal(mosaic, read.light.black, indices, black, white)
        seen = {str(index): letter for index, letter in zip(indices.ravel(), pattern.ravel(), strict=True)}
        named = "".join(seen.get(str(index), "") for index in range(4))
        return _of_four_colors(read, patterns.interpolate(signal, indices, "0123"), named, FOUR_COLORS)
    raise UnsupportedError(
        f"{read.name}: a mosaic of the color pattern {patterns.words(pattern)}; expected R, G, B or four colors",
        patterns.words(pattern),
    )


def _told_pattern(read: _Read) -> Pattern | None:
    """The pattern that a DNG tells, for LibRaw knows few; from the visible area's corner on."""
    repeat, codes = read.own.get(REPEAT), read.own.get(CODES)
    if not (isinstance(repeat, tuple) and len(repeat) == 2 and isinstance(codes, bytes)):
        return None
    rows, columns = repeat
    is_sound = 0 < rows <= patterns.LARGEST and 0 < columns <= patterns.LARGEST and rows * columns == len(codes)
    if not is_sound or max(codes) >= len(LETTERS):
        return None
    told = np.array([LETTERS[code] for code in codes]).reshape(rows, columns)
    return patterns.smallest(np.roll(told, (read.light.frame.top, read.light.frame.left), (0, 1)))


def _check_mosaic(read: _Read, mosaic: NDArray[np.uint16], black: Sequence[float], white: Sequence[float]) -> None:
    used = black[: read.raw.num_colors], white[: read.raw.num_colors]
    check_levels(read.name, *used)
    tiles = read.tiles.width
    edges = range(-read.raw.sizes.left_margin, mosaic.shape[1], tiles) if tiles else ()
    check_picture(read.name, mosaic, int(mosaic.max()) > min(used[0]), used[0], max(used[1]), edges, read.notes)


def _signal(
    mosaic: NDArray[np.uint16],
    told: BlackLevels | None,
    indices: Pattern,
    black: Sequence[float],
    white: Sequence[float],
) -> Signal:
    """A mosaic (H, W) with black at 0 and white at 1; `indices` are the colors' numbers, which levels are told for."""
    signal = mosaic.astype(np.float32)
    level = [np.float32(one) for one in black]
    if told is not None:
        own = told.whole((mosaic.shape[0], mosaic.shape[1]))
        signal -= own
        level = [own.mean()] * len(black)
    height, width = indices.shape
    for row in range(height):
        for column in range(width):
            color = int(indices[row, column])
            part = signal[row::height, column::width]
            if told is None:
                part -= level[color]
            part *= np.float32(1 / (white[color] - level[color]))
    return signal


def _encode(signal: Signal, white: float) -> NDArray[np.uint16]:
    """16 bits with black at `BLACK`."""
    scaled = signal * np.float32(white - BLACK)
    scaled += np.float32(BLACK + 0.5)
    return np.clip(scaled, 0, 65535, out=scaled).astype(np.uint16)  # rounded when cast


def _of_three_colors(
    read: _Read, mosaic: NDArray[np.uint16], pattern: Pattern, black: Sequence[float], white: Sequence[float]
) -> LinearImage:
    """Mosaics of R, G and B that lie in another way than Bayer's."""
    names = "RGB"
    missing = set(names) - set(pattern.ravel())
    if missing or min(mosaic.shape) < max(pattern.shape):
        raise UnsupportedError(
            f"{read.name}: a mosaic of {mosaic.shape[0]}x{mosaic.shape[1]} photosites of the color pattern "
            f"{patterns.words(pattern)}; expected R, G and B in it",
            patterns.words(pattern),
        )
    indices = np.array([[str(names.index(letter)) for letter in row] for row in pattern])
    signal = _signal(mosaic, read.light.black, indices, black, white)
    if not patterns.is_xtrans(pattern):
        way = f"color pattern {patterns.words(pattern)}, interpolated"
        rgb = _encode(patterns.interpolate(signal, pattern, names), WHITE)
        return _finished(read, rgb, [BLACK] * 3, [WHITE] * 3, way)
    color, cam2rgb = find_color(read.raw, read.light, [])
    gains = as_shot_gains(read.raw, read.light)
    if gains is None:  # to demosaic in, without a word about it: `_finished` estimates the one that is told
        rough = _encode(patterns.interpolate(signal, pattern, names), WHITE)
        gains, _ = estimate_from_cells(*average(rough, [BLACK] * 3, [WHITE] * 3), color)
    rgb = _xtrans(signal, pattern, gains, matrix_under(gains, color, cam2rgb))
    return _finished(read, rgb, [BLACK] * 3, [WHITE] * 3, XTRANS)


def _xtrans(signal: Signal, pattern: Pattern, gains: Gains, cam2rgb: NDArray[np.float32]) -> NDArray[np.uint16]:
    """An X-Trans mosaic demosaiced in balanced colors, which the method compares, with `BLACK` and `WHITE`."""
    balance = np.array(gains, np.float32) / np.float32(min(gains))
    balanced = signal.copy()
    for row in range(pattern.shape[0]):
        for column in range(pattern.shape[1]):
            color = "RGB".index(str(pattern[row, column]))
            balanced[row :: pattern.shape[0], column :: pattern.shape[1]] *= balance[color]
    low = min(float(balanced.min()), 0.0)  # as little as can be: the method tells dark colors apart by their ratios
    scale = np.float32(65535 / (ROOM * float(balance.max()) - low))
    balanced -= np.float32(low)
    balanced *= scale
    picture = demosaic_xtrans(np.clip(balanced + np.float32(0.5), 0, 65535).astype(np.uint16), pattern, cam2rgb)
    return _encode((picture / scale + np.float32(low)) / balance, WHITE)


def _binned(
    read: _Read, mosaic: NDArray[np.uint16], pattern: Pattern, black: Sequence[float], white: Sequence[float]
) -> RawImage:
    """A quad-Bayer mosaic as a Bayer one of half the size."""
    if min(mosaic.shape) < 5:
        raise InputError(f"{read.name}: expected at least 5x5 photosites, got {mosaic.shape}")
    level = black[0] if read.light.black is None else float(read.light.black.whole(mosaic.shape[:2]).mean())
    small, cfa, factor = patterns.bin_quads(mosaic, pattern)
    read.notes.append(BINNED)
    color, cam2rgb = find_color(read.raw, read.light, read.notes)
    facts = describe(read.file, read.source, read.jpeg, read.tags, read.notes)
    corner = patterns.quad_corner(pattern) or (0, 0)
    facts["crop"] = None if facts["crop"] is None else _half(facts["crop"], corner)
    asked = read_lists(read.light.opcodes, read.light.frame)
    read.notes.extend(asked.notes)
    if asked.shading:
        read.notes.append("the file asks for a lens correction of single photosites: not applied")
    black_level, white_level = (factor * level,) * 4, (factor * white[0],) * 4
    gains = as_shot_gains(read.raw, read.light)
    if gains is None:
        gains, how = estimate_gains(small, cfa, black_level, white_level, color)
        read.notes.append(f"{NO_AS_SHOT}: {how}")
    return RawImage(
        mosaic=small,
        cfa=cfa,
        black_level=black_level,
        white_level=white_level,
        white_balance=gains,
        cam2rgb=matrix_under(gains, color, cam2rgb),
        notes=tuple(read.notes),
        color=color,
        **facts,
    )


def _half(crop: CropBox, corner: tuple[int, int]) -> CropBox | None:
    """A crop of a mosaic of half the size, which began at this corner."""
    top, left = ((place - start + 1) // 2 for place, start in zip(crop[:2], corner, strict=True))
    height, width = crop[2] // 2, crop[3] // 2
    return (top, left, height, width) if min(height, width) >= 2 else None


# -- four colors


def _of_four_colors(read: _Read, signal: Signal, letters: str, way: str) -> LinearImage:
    """Pixels (H, W, 4) of four colors as RGB: balanced, clipped where the first of them clips, and mixed."""
    gains = np.asarray(read.raw.camera_whitebalance[:4], np.float32)
    if not (np.isfinite(gains).all() and gains.min() > 0):
        means = np.maximum(signal.mean((0, 1), dtype=np.float64), 1e-6)
        gains = (means.max() / means).astype(np.float32)
        read.notes.append(f"{NO_AS_SHOT}: balanced to gray on average")
    balanced = np.minimum(signal * (gains / gains.min()), 1)
    matrix = np.asarray(read.raw.color_matrix, np.float64)
    if np.isfinite(matrix).all() and matrix.any() and np.allclose(matrix.sum(1), 1, atol=0.05):
        mixing = matrices.SRGB_TO_CANONICAL.astype(np.float64) @ matrix
    elif len(letters) >= 4 and set(letters[:4]) <= set(FILTERS):
        filters = np.array([FILTERS[letter] for letter in letters[:4]])
        mixing = np.linalg.pinv(filters / filters.sum(1, keepdims=True))
        read.notes.append(f"no color matrix for this camera: its colors are taken as of ideal filters ({letters[:4]})")
    else:
        raise UnsupportedError(
            f"{read.name}: a sensor of the colors {letters} without a color matrix; no way is known to make R, G and B "
            "of it",
            letters,
        )
    rgb = _encode(balanced @ mixing.T.astype(np.float32), WHITE)
    return _made(read, rgb, [BLACK] * 3, [WHITE] * 3, way, (1.0, 1.0, 1.0), np.eye(3, dtype=np.float32), None)


# -- all of them


def _finished(
    read: _Read, rgb: NDArray[np.uint16], black: Sequence[float], white: Sequence[float], way: str
) -> LinearImage:
    """Camera RGB (H, W, 3) in DN with the color that the file tells, or else an estimate."""
    color, cam2rgb = find_color(read.raw, read.light, read.notes)
    gains = _neutral_gains(read) or as_shot_gains(read.raw, read.light)
    if gains is None:
        gains, how = estimate_from_cells(*average(rgb, black, white), color)
        read.notes.append(f"{NO_AS_SHOT}: {how}")
    return _made(read, rgb, black, white, way, gains, matrix_under(gains, color, cam2rgb), color)


def _neutral_gains(read: _Read) -> Gains | None:
    """A DNG's gains where samples have white levels of their own, for LibRaw mixes these into them."""
    neutral = numbers_of(read.tags.get(AS_SHOT_NEUTRAL))
    if len(numbers_of(read.own.get(WHITE_LEVEL))) == 3 == len(neutral) and neutral.min() > 0:
        return float(neutral[1] / neutral[0]), 1.0, float(neutral[1] / neutral[2])
    return None


def _made(
    read: _Read,
    rgb: NDArray[np.uint16],
    black: Sequence[float],
    white: Sequence[float],
    way: str,
    gains: Gains,
    cam2rgb: NDArray[np.float32],
    color: CameraColor | None,
) -> LinearImage:
    facts = describe(read.file, read.source, read.jpeg, read.tags, read.notes)
    rgb = _without_shading(read, rgb, black, white)
    return LinearImage(
        rgb=rgb,
        way=way,
        black_level=(float(black[0]), float(black[1]), float(black[2])),
        white_level=(float(white[0]), float(white[1]), float(white[2])),
        white_balance=gains,
        cam2rgb=cam2rgb,
        notes=tuple(read.notes),
        color=color,
        **facts,
    )


def _without_shading(
    read: _Read, rgb: NDArray[np.uint16], black: Sequence[float], white: Sequence[float]
) -> NDArray[np.uint16]:
    """The lens corrections that a DNG asks for, applied; what of them is not goes to the notes."""
    first, second, third = read.light.opcodes
    all_colors = [read_lists(lists, read.light.frame) for lists in ((first, b"", second), (b"", b"", third))]
    read.notes.extend(note for asked in all_colors for note in asked.notes)
    shading = [one for asked in all_colors for one in asked.shading]
    whole = [one for one in shading if isinstance(one, RadialGain) or one.pitch == (1, 1)]
    if len(whole) < len(shading):
        read.notes.append("the file asks for a lens correction of single photosites: not applied")
    return undo_shading_of_rgb(rgb, black, white, whole) if whole else rgb
