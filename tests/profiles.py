"""ICC profiles and PNGs of known colors, built by hand."""

import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lwisp.files.icc import gray_profile, srgb_profile

P3 = ((0.515121, 0.241196, -0.001053), (0.291977, 0.692245, 0.041885), (0.157104, 0.066574, 0.784073))
"""XYZ of Display P3's red, green and blue under D50, as in Apple's profile."""


def fixed(*numbers: float) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def power(gamma: float) -> bytes:
    """A parametric curve of type 0."""
    return b"para\0\0\0\0\0\0\0\0" + fixed(gamma)


def matrix_profile(curve: bytes | None = None, primaries: Sequence[Sequence[float]] | None = None) -> bytes:
    """A profile for RGB that is called sRGB, whatever curve and primaries it has; sRGB's own where not given."""
    tags: dict[bytes, bytes] = {}
    for index, letter in enumerate((b"r", b"g", b"b")):
        if curve is not None:
            tags[letter + b"TRC"] = curve
        if primaries is not None:
            tags[letter + b"XYZ"] = b"XYZ \0\0\0\0" + fixed(*primaries[index])
    return assemble(srgb_profile(), tags)


def curve_profile(curve: bytes, pcs: bytes = b"XYZ ") -> bytes:
    """A profile for grays."""
    profile = assemble(gray_profile(), {b"kTRC": curve})
    return profile[:20] + pcs + profile[24:]


def table_profile(space: bytes, corners: NDArray[np.generic]) -> bytes:
    """A profile of tables: Lab, as 8 bits have it, of every corner of a color space, the last channel fastest."""
    channels = {b"RGB ": 3, b"CMYK": 4, b"GRAY": 1}[space]
    line = bytes(range(256))
    head = b"mft1\0\0\0\0" + bytes([channels, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table = head + line * channels + corners.astype(np.uint8).tobytes() + line * 3
    profile = assemble(srgb_profile(), {b"A2B0": table}, dropped=(b"rTRC", b"gTRC", b"bTRC", b"rXYZ", b"gXYZ", b"bXYZ"))
    return profile[:8] + bytes([2, 0x40]) + profile[10:12] + b"prtr" + space + b"Lab " + profile[24:]


def assemble(base: bytes, changed: Mapping[bytes, bytes], dropped: Sequence[bytes] = ()) -> bytes:
    """A profile with the header and tags of another, some of them replaced."""
    (count,) = struct.unpack_from(">I", base, 128)
    tags: dict[bytes, bytes] = {}
    for index in range(count):
        name, start, length = struct.unpack_from(">4sII", base, 132 + 12 * index)
        tags[name] = base[start : start + length]
    tags = {name: content for name, content in {**tags, **changed}.items() if name not in dropped}
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    return struct.pack(">I", 128 + len(table) + len(body)) + base[4:128] + table + body


def png(rgb: NDArray[np.generic], chunks: Mapping[str, bytes] | None = None, color_type: int = 2) -> bytes:
    """A PNG of 8 or 16 bits, (H, W, channels), with chunks before its pixels and no tags."""
    height, width = rgb.shape[:2]
    bits = 8 * rgb.dtype.itemsize
    rows = rgb.astype(f">u{rgb.dtype.itemsize}").reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [_chunk(b"IHDR", header), *(_chunk(kind.encode(), content) for kind, content in (chunks or {}).items())]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, _chunk(b"IDAT", pixels), _chunk(b"IEND", b"")])


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
