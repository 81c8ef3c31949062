"""Samples of an open picture as they lie in its file, at all of their bits.

Pillow decodes RGB of 16 bits to 8, reads TIFFs of 16 bits in separate planes as noise, and does not turn grays of 16
bits round of which zero is white.
"""

import contextlib
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lwisp.errors import DamagedError, UnsupportedError
from lwisp.files.decoding import opened
from lwisp.files.exif import read_directories
from lwisp.files.sources import open_again
from lwisp.files.writing import is_regular

DEEP = {"16B": "16L", "16L": "16B", "16N": "16L" if sys.byteorder == "big" else "16B"}
"""Ways in which Pillow takes 8 bits of 16, and the one that takes the other 8."""
BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, CHANNELS, ROWS, COUNTS = 258, 259, 262, 273, 277, 278, 279
PLANAR, PREDICTOR, SAMPLE_FORMAT = 284, 317, 339
DEFLATE = (8, 32946)
UNSIGNED, FLOATS = 1, 3
"""TIFF's SampleFormat."""
DEEP_COLORS = ("RGB", "RGBX", "RGBA")
"""Colors of 16 bits that Pillow takes apart; those multiplied by their opacity (RGBa) it divides, at 8 bits."""
GRAYS = ("1", "L", "LA", "La")
"""Pillow's modes of grays of 8 bits."""
ROUNDING = 0.5 / 65535
"""By so much floats may leave [0, 1]."""

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def check_samples(picture: Image.Image, name: str) -> None:
    """Check that a picture has samples that `read_samples` reads; they are not decoded.

    Raises:
        InputError: A TIFF of 32 bits, of signed numbers, or of floats in several colors.
    """
    if picture.format != "TIFF":
        return
    kind = max(_all(picture, SAMPLE_FORMAT, UNSIGNED))
    if kind != FLOATS and _most_bits(picture) > 16:
        raise UnsupportedError(f"{name}: a TIFF of {_most_bits(picture)} bits a color; expected 8 or 16, save it so")
    if kind not in (UNSIGNED, FLOATS):
        raise UnsupportedError(f"{name}: a TIFF of signed numbers; expected 8 or 16 bits without sign, save it so")


def check_floats(content: Path | bytes, name: str) -> None:
    """Check that a TIFF of floats is one that `read_samples` reads: Pillow does not say what it cannot open.

    Raises:
        InputError: It has several colors, or floats of other than 32 bits.
    """
    if isinstance(content, Path) and not is_regular(content):
        return
    with contextlib.suppress(OSError), open_again(content) as file:
        main, *_ = read_directories(file)
        bits, kinds = _integers(main.get(BITS)), _integers(main.get(SAMPLE_FORMAT))
        if FLOATS in kinds and (bits != [32] or main.get(CHANNELS, 1) != 1):
            raise UnsupportedError(
                f"{name}: a TIFF of floats, {len(kinds)} a pixel of {max(bits or [8])} bits; only grays of 32 bits "
                "are read, save it with 16 bits a color"
            )


def read_samples(content: Path | bytes, name: str, picture: Image.Image, max_pixels: float) -> Pixels:
    """The samples of a picture of grays or RGB, not turned upright.

    Args:
        content: The picture's file, or its content.
        name: What messages call it.
        picture: The picture, open.
        max_pixels: As for `decoding.opened`.

    Returns:
        (H, W) of grays, (H, W, 3) of RGB; uint8 or uint16 over the type's range.

    Raises:
        InputError: Floats that are no numbers or outside of [0, 1], or planes that are not read.
    """
    if picture.mode == "F":
        return _turned_round(picture, _from_floats(np.array(picture), name))
    if picture.mode.startswith("I"):
        return _turned_round(picture, _from_integers(picture))
    if picture.mode in GRAYS:
        return np.array(picture.convert("L"))
    if _has_deep_planes(picture):
        return _read_planes(content, name, picture)
    if not is_deep(picture):
        is_pair = any(str(tile.args).startswith("LA") for tile in getattr(picture, "tile", ()))  # gray and opacity
        rgb = np.array(picture.convert("RGB"))
        is_gray = is_pair or (picture.mode in ("P", "PA") and (rgb == rgb[..., :1]).all())
        return rgb[..., 0].copy() if is_gray else rgb
    upper = np.array(picture.convert("RGB"))  # Pillow decodes the upper 8 bits, and the lower 8 if told to
    with opened(content, name, max_pixels) as other:
        other.tile = _swapped(other) or []  # type: ignore[attr-defined]
        lower = np.array(other.convert("RGB"))
    deep: NDArray[np.uint16] = upper.astype(np.uint16) << 8 | lower
    return deep


def lost_bits(picture: Image.Image) -> int:
    """Bits a color of a picture that is read at 8; 0 where none are lost."""
    if picture.format == "HEIF":
        bits = picture.info.get("bit_depth", 8)
    elif picture.format == "TIFF":
        bits = _most_bits(picture)
    else:
        bits = 16 if any(";16" in str(tile.args) for tile in getattr(picture, "tile", ())) else 8
    is_whole = picture.mode == "F" or picture.mode.startswith("I") or is_deep(picture) or _has_deep_planes(picture)
    return 0 if bits <= 8 or is_whole else bits


def is_deep(picture: Image.Image) -> bool:
    """Whether the file has 16 bits a color of RGB; Pillow takes 8 of them."""
    return picture.mode in ("RGB", "RGBA") and _swapped(picture) is not None


def _swapped(picture: Image.Image) -> list[Any] | None:
    """What Pillow is to decode for the other 8 bits of 16; None for a picture of 8."""
    tiles: list[Any] = []
    for tile in getattr(picture, "tile", ()):
        mode, *others = (tile.args,) if isinstance(tile.args, str) else tile.args or ("",)
        letters, _, way = str(mode).partition(";")
        if way not in DEEP or letters not in DEEP_COLORS:
            return None
        mode = f"{letters};{DEEP[way]}"
        tiles.append(tile._replace(args=(mode, *others) if others else mode))
    return tiles or None


def _from_integers(picture: Image.Image) -> NDArray[np.uint16]:
    """Grays of up to 16 bits, over the whole range."""
    values = np.array(picture).clip(0, 65535).astype(np.uint16)
    top = (1 << _most_bits(picture)) - 1
    if not 255 < top < 65535:
        return values
    scaled: NDArray[np.uint16] = ((values.astype(np.uint32) * 65535 + top // 2) // top).astype(np.uint16)
    return scaled


def _from_floats(values: NDArray[np.float32], name: str) -> NDArray[np.uint16]:
    if not np.isfinite(values).all():
        raise UnsupportedError(f"{name}: a TIFF of floats, some of them no numbers (NaN) or infinite; expected 0 to 1")
    low, high = float(values.min()), float(values.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise UnsupportedError(f"{name}: a TIFF of floats from {low:.4g} to {high:.4g}; expected 0 to 1, scale it so")
    scaled: NDArray[np.uint16] = np.clip(values * np.float32(65535) + np.float32(0.5), 0, 65535).astype(np.uint16)
    return scaled


def _turned_round(picture: Image.Image, values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Grays of which zero is black, of those of which it is white."""
    is_white = picture.format == "TIFF" and _tag(picture, PHOTOMETRIC) == 0
    if is_white:
        np.invert(values, out=values)
    return values


def _has_deep_planes(picture: Image.Image) -> bool:
    """Whether a TIFF holds what Pillow would read as noise."""
    return picture.format == "TIFF" and _tag(picture, PLANAR) == 2 and _most_bits(picture) > 8 and picture.mode != "F"


def _read_planes(content: Path | bytes, name: str, picture: Image.Image) -> NDArray[np.uint16]:
    """(H, W, 3) of a TIFF of 16 bits in separate planes, in strips that are not compressed, or deflated."""
    width, height = picture.size
    rows = min(_tag(picture, ROWS) or height, height)
    offsets, counts = _all(picture, OFFSETS, 0), _all(picture, COUNTS, 0)
    strips = -(-height // rows)
    compression, predictor = _tag(picture, COMPRESSION) or 1, _tag(picture, PREDICTOR) or 1
    is_known = _tag(picture, PHOTOMETRIC) == 2 and set(_all(picture, BITS, 8)) == {16} and predictor in (1, 2)
    is_known = is_known and compression in (1, *DEFLATE)
    planes = _tag(picture, CHANNELS)
    if not is_known or planes < 3 or not len(offsets) == len(counts) == planes * strips:
        raise UnsupportedError(f"{name}: a TIFF of 16 bits with its colors in separate planes; save it interleaved")
    kind = ">u2" if _order(picture) == "MM" else "<u2"
    rgb = np.empty((height, width, 3), np.uint16)
    with open_again(content) as file:
        for index in range(3 * strips):
            plane, strip = divmod(index, strips)
            target = rgb[strip * rows : (strip + 1) * rows, :, plane]
            size = 2 * target.size
            file.seek(offsets[index])
            data = file.read(min(counts[index], 2 * size + 1024))
            data = zlib.decompressobj().decompress(data, size) if compression != 1 else data[:size]
            if len(data) < size:
                raise DamagedError(f"{name}: cannot be read as a picture: the file is cut short")
            values = np.frombuffer(data, kind).reshape(target.shape)
            target[:] = np.cumsum(values, axis=1, dtype=np.uint16) if predictor == 2 else values
    return rgb


def _order(picture: Image.Image) -> str:
    """Order of the bytes of a TIFF: "II" or "MM"."""
    prefix: bytes = picture.tag_v2.prefix  # type: ignore[attr-defined]
    return prefix.decode()


def _most_bits(picture: Image.Image) -> int:
    """Bits of the deepest color of a TIFF; 16 of any other picture."""
    return max(_all(picture, BITS, 8)) if picture.format == "TIFF" else 16


def _tag(picture: Image.Image, tag: int) -> int:
    """An integer of a TIFF's first directory, 0 where there is none."""
    value = getattr(picture, "tag_v2", {}).get(tag)
    return value if isinstance(value, int) else 0


def _all(picture: Image.Image, tag: int, default: int) -> list[int]:
    """The integers of a TIFF's tag."""
    return _integers(getattr(picture, "tag_v2", {}).get(tag)) or [default]


def _integers(value: Any) -> list[int]:
    values = value if isinstance(value, tuple) else (value,)
    return [number for number in values if isinstance(number, int)]
