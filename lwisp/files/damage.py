"""Signs of damage in a RAW that its decoder lets pass: tiles that hold no picture, values that no sensor gives.

What cannot be told from a picture is not found: in uncompressed data any byte is as good as another.
"""

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

BLOWN = 0.88  # of white: areas of one value from here on are taken for blown ones
ABOVE_WHITE = 2.0  # times white: what a file's white level may leave out of a sensor's range is less
CLIPPED = 1e-3  # of the photosites: as many are at black or below where a camera clips there
STRAY = 1e-5  # of the photosites: a few strange ones are no damage
BAND = 4  # rows
EDGE_BAND = 16  # rows; at a picture's edges sensors may have some that see nothing
STEP = 4  # rows; of tiles one in so many is looked at
TILE_BAND = 4  # of those
NARROW = 32  # photosites; so few in a row may be alike by chance
PROBES = 16  # photosites of each row that are looked at first
ROWS = 256  # that are looked at in full at once

DNG_VERSION, LOSSLESS_JPEG, COLOR_FILTERS, LINEAR = 50706, 7, 32803, 34892  # TIFF's terms
DEFLATED, BYTE_COUNTS, SHORT = (8, 32946), (279, 325), 3
MAX_COMPONENTS = 6  # of a tile, that LibRaw decodes
TABLE_HEAD = 17  # bytes: the table's number, and how many codes it has of each length
TABLE_NUMBERS = 0b10011  # the bits that LibRaw lets a table's number have
START, LOSSLESS, TABLES, SCAN = 0xFFD8, 0xFFC3, 0xFFC4, 0xFFDA  # JPEG's markers


@dataclass(frozen=True)
class Tiles:
    """How a mosaic is cut into pieces that are compressed each by itself; one row of them where they are strips."""

    count: int = 0
    broken: int = 0
    """How many cannot be decoded."""
    missing: int = 0
    """How many of those lie beyond the file's end."""
    width: int = 0
    """Photosites; 0 where it is not known."""


def exceeds_file(file: BinaryIO, directories: Sequence[Mapping[int, Any]], types: Sequence[Mapping[int, int]]) -> bool:
    """Whether LibRaw would reserve memory for deflated tiles that the file cannot hold.

    It believes their lengths up to 2 GB, and takes all but a single one for numbers of 32 bits, whatever they are.

    Args:
        file: The RAW, open in binary mode.
        directories: Its tags, from `exif.read_directories`.
        types: Their types, from `exif.read_types`.

    Raises:
        OSError: It cannot be read.
    """
    size = file.seek(0, io.SEEK_END)
    for tags, kinds in zip(directories, types, strict=True):
        if tags.get(259) in DEFLATED:
            for tag in BYTE_COUNTS:
                lengths = tags.get(tag, 0)
                several = isinstance(lengths, tuple)
                known = [length for length in (lengths if several else (lengths,)) if isinstance(length, int)]
                if max(known, default=0) > size or (several and kinds.get(tag) == SHORT):
                    return True
    return False


def read_tiles(file: BinaryIO, directories: Sequence[Mapping[int, Any]]) -> Tiles:
    """The tiles of a mosaic in lossless JPEG, as DNG and others have it; none of any other file.

    LibRaw stops at the first tile that it cannot decode, without an error: what is left of the mosaic is memory as it
    was found, mostly with the pixels of a photo that was read before.

    Args:
        file: The RAW, open in binary mode.
        directories: Its tags, from `exif.read_directories`.

    Raises:
        OSError: It cannot be read.
    """
    is_dng = any(DNG_VERSION in tags for tags in directories)
    for kind in (COLOR_FILTERS, LINEAR):
        for tags in directories:
            if (tags.get(259), tags.get(262), tags.get(254, 0)) == (LOSSLESS_JPEG, kind, 0):
                return _check_tiles(file, tags, is_dng)
    return Tiles()


def _check_tiles(file: BinaryIO, tags: Mapping[int, Any], is_dng: bool) -> Tiles:
    width = _number(tags.get(256))
    height = _number(tags.get(257))
    is_tiled = 322 in tags
    across = (_number(tags.get(322)) if is_tiled else width) or width  # photosites of a tile, or of a strip
    down = _number(tags.get(323 if is_tiled else 278)) or height
    if not (across and down):
        return Tiles()
    places = tags.get(324 if is_tiled else 273)
    places = places if isinstance(places, tuple) else (places,)
    columns = -(-width // across)
    rows = -(-height // down)
    size = file.seek(0, io.SEEK_END)
    sound = missing = 0
    for index, place in enumerate(places[: columns * rows]):
        least = across * min(down, height - index // columns * down) if is_dng else 1
        sound += isinstance(place, int) and _photosites(file, place) >= least
        missing += isinstance(place, int) and place >= size
    return Tiles(columns * rows, columns * rows - sound, missing, across)


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _photosites(file: BinaryIO, place: int) -> int:
    """How many photosites a lossless JPEG at this place has by its header; 0 where none can be decoded there."""
    file.seek(place)
    found = 0
    tables: set[int] = set()
    if file.read(2) != START.to_bytes(2, "big"):
        return 0
    while len(head := file.read(4)) == 4:
        marker, length = struct.unpack(">HH", head)
        if marker <= 0xFF00 or length < 2:
            return 0
        segment = file.read(length - 2)
        if marker == LOSSLESS and len(segment) >= 6:
            bits, height, width, components = struct.unpack_from(">BHHB", segment)
            sound = 0 < bits <= 16 and 0 < components <= MAX_COMPONENTS
            found = height * width * components if sound else 0
        if marker == TABLES:
            tables |= _table_numbers(segment)
        if marker == SCAN:
            return found if 0 in tables else 0
    return 0


def _table_numbers(segment: bytes) -> set[int]:
    """The numbers of the Huffman tables in a segment, up to the first that LibRaw does not take."""
    numbers: set[int] = set()
    place = 0
    while place + TABLE_HEAD < len(segment):
        number = segment[place]
        if number & ~TABLE_NUMBERS:
            break
        numbers.add(number)
        place += TABLE_HEAD + sum(segment[place + 1 : place + TABLE_HEAD])
    return numbers


def is_constant(mosaic: NDArray[np.uint16]) -> bool:
    """Whether all photosites hold one value.

    Args:
        mosaic: (H, W) in DN.

    Returns:
        True where they do.
    """
    sparse = mosaic[:: len(mosaic) // 16 + 1]  # tells of most mosaics that they are not
    return bool((sparse == mosaic[0, 0]).all()) and bool((mosaic == mosaic[0, 0]).all())


def has_light(mosaic: NDArray[np.uint16], black: Mapping[tuple[int, int], float]) -> bool:
    """Whether any photosite is above its black level.

    Args:
        mosaic: (H, W) in DN.
        black: Black level in DN by (row, column) in the top-left 2x2.

    Returns:
        False where all are at black or below.
    """
    if int(mosaic.max()) > max(black.values()):
        return True
    return any(int(mosaic[row::2, column::2].max()) > level for (row, column), level in black.items())


def share_above_white(mosaic: NDArray[np.uint16], white: float) -> float:
    """The share of photosites that are so far above the white level as no sensor gives them.

    Args:
        mosaic: (H, W) in DN.
        white: White level in DN; suspicious is what exceeds `ABOVE_WHITE` times as much.

    Returns:
        0 to 1; 0 where the share is `STRAY` at most.
    """
    limit = ABOVE_WHITE * white
    share = float((mosaic > limit).mean()) if int(mosaic.max()) > limit else 0.0
    return share if share > STRAY else 0.0


def shares_constant(
    mosaic: NDArray[np.uint16], black: Sequence[float], white: float, edges: Sequence[int] = ()
) -> tuple[float, float]:
    """The shares of photosites that lie in bands of constant rows, which the noise of a sensor does not allow.

    A row is constant where its even photosites have one value and its odd ones too: all across the picture, or between
    two edges of tiles. Blown bands do not count.

    Args:
        mosaic: (H, W) in DN.
        black: Black levels in DN.
        white: White level in DN.
        edges: Columns where tiles begin, in photosites.

    Returns:
        (damaged, dark), each 0 to 1. The second is of bands that are as dark as black where other photosites are too: a
        camera that clips there may give them of a scene without light.
    """
    width = mosaic.shape[1]
    constant, dark = _constant_rows(mosaic, black, white)
    found, in_the_dark = _bands(constant, BAND, EDGE_BAND), _bands(dark, BAND, EDGE_BAND)
    damaged, unlit = int(found.sum()) * width, int(in_the_dark.sum()) * width
    columns = sorted({0, width, *(edge for edge in edges if 0 < edge < width)})
    for left, right in pairwise(columns if len(columns) > 2 else ()):
        if right - left < NARROW:
            continue
        constant, dark = _constant_rows(mosaic[::STEP, left:right], black, white)
        damaged += int(_bands(constant & ~found[::STEP], TILE_BAND, TILE_BAND).sum()) * STEP * (right - left)
        unlit += int(_bands(dark & ~in_the_dark[::STEP], TILE_BAND, TILE_BAND).sum()) * STEP * (right - left)
    if unlit and int((mosaic <= max(black)).sum()) - unlit < max(CLIPPED * mosaic.size, unlit / 8):
        return min((damaged + unlit) / mosaic.size, 1.0), 0.0
    return damaged / mosaic.size, float(np.mean(_bands(in_the_dark, EDGE_BAND, EDGE_BAND)))


def _constant_rows(
    strip: NDArray[np.uint16], black: Sequence[float], white: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows of a strip (H, W) are constant, neither blown nor as dark as black; and which as dark as black."""
    last = strip.shape[1] - 1
    probes = np.linspace(0, last, PROBES).astype(np.intp)
    constant = (strip[:, probes] == strip[:, probes % 2]).all(1)  # most rows are told by a few photosites
    rows = np.flatnonzero(constant)
    for start in range(0, len(rows), ROWS):
        some = rows[start : start + ROWS]
        constant[some] = (strip[some, 2:] == strip[some, :-2]).all(1)
    level = strip[:, :2].max(1)
    dark = (level >= min(black)) & (level <= max(black))
    blown = level >= min(black) + BLOWN * (white - min(black))
    return constant & ~dark & ~blown, constant & dark


def _bands(rows: NDArray[np.bool_], least: int, edge: int) -> NDArray[np.bool_]:
    """Those of the rows (H,) that lie in runs of at least so many, of `edge` where they reach the first or last row."""
    ends = np.flatnonzero(np.diff(rows, prepend=False, append=False))
    kept = np.zeros_like(rows)
    for start, stop in zip(ends[::2], ends[1::2], strict=True):
        at_edge = start == 0 or stop == len(rows)
        kept[start:stop] = stop - start >= (edge if at_edge else least)
    return kept
