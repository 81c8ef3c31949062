"""Encoders of finished pictures: JPEG, PNG of 8 and 16 bits, TIFF of 16, with sRGB profile and tags."""

import struct
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from lwisp.files.exif import HEADER
from lwisp.files.icc import srgb_profile
from lwisp.files.tags import Tags
from lwisp.files.xmp import XMP_TAG
from lwisp.imaging.pixels import to_integer

Format = Literal["jpg", "png", "png16", "tiff"]
"""Formats that finished pictures are written in."""

FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIX_FORMATS: dict[str, Format] = {".jpg": "jpg", ".jpeg": "jpg", ".png": "png", ".tif": "tiff", ".tiff": "tiff"}
"""Format by suffix."""

BITS: dict[Format, Literal[8, 16]] = {"jpg": 8, "png": 8, "png16": 16, "tiff": 16}
"""Bits a channel, by format."""

SUFFIXES: dict[Format, str] = {"jpg": ".jpg", "png": ".png", "png16": ".png", "tiff": ".tif"}
"""Suffix by format."""

PNG_PACKET = "XML:com.adobe.xmp"
"""Name of an XMP packet among the texts of a PNG."""

STRIP_ROWS = 64
"""Rows that are compressed at once."""


def _encode_jpeg(file: BinaryIO, rgb: NDArray[Any], tags: Tags, packet: bytes) -> None:
    picture = Image.fromarray(to_integer(rgb, 8))
    profile, exif = srgb_profile(), tags.tobytes()
    picture.save(file, "JPEG", quality=95, subsampling=0, icc_profile=profile, exif=exif, xmp=packet or None)


def _encode_png8(file: BinaryIO, rgb: NDArray[Any], tags: Tags, packet: bytes) -> None:
    picture = Image.fromarray(to_integer(rgb, 8))
    told = PngInfo()
    if packet:
        told.add_itxt(PNG_PACKET, packet.decode())
    picture.save(file, "PNG", compress_level=3, icc_profile=srgb_profile(), exif=tags.tobytes(), pnginfo=told)


def _encode_png16(file: BinaryIO, rgb: NDArray[Any], tags: Tags, packet: bytes) -> None:
    """PNG of 16 bits a channel, which Pillow does not write: each row as its difference from the row above."""
    height, width = rgb.shape[:2]
    file.write(b"\x89PNG\r\n\x1a\n")
    _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    _write_chunk(file, b"iCCP", b"sRGB\0\0" + zlib.compress(srgb_profile()))
    _write_chunk(file, b"eXIf", tags.tobytes().removeprefix(HEADER))
    if packet:
        _write_chunk(file, b"iTXt", PNG_PACKET.encode() + b"\0\0\0\0\0" + packet)
    deflate = zlib.compressobj(1)
    above = np.zeros((1, width * 6), np.uint8)
    for top in range(0, height, STRIP_ROWS):
        rows = to_integer(rgb[top : top + STRIP_ROWS], 16).astype(">u2").reshape(-1, width * 3).view(np.uint8)
        filtered = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
        filtered[:, 0] = 2  # PNG's filter "up"
        np.subtract(rows, np.concatenate([above, rows[:-1]]), out=filtered[:, 1:])
        above = rows[-1:]
        _write_chunk(file, b"IDAT", deflate.compress(filtered.tobytes()))
    _write_chunk(file, b"IDAT", deflate.flush())
    _write_chunk(file, b"IEND", b"")


def _write_chunk(file: BinaryIO, kind: bytes, content: bytes) -> None:
    file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)))


def _encode_tiff(file: BinaryIO, rgb: NDArray[Any], tags: Tags, packet: bytes) -> None:
    """TIFF of 16 bits a channel, which Pillow does not write either: deflated strips of differences from the left."""
    strips = []
    for top in range(0, len(rgb), STRIP_ROWS):
        samples = to_integer(rgb[top : top + STRIP_ROWS], 16).astype("<u2")  # a copy
        samples[:, 1:] -= samples[:, :-1].copy()
        strips.append(zlib.compress(samples.tobytes(), 1))
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory.tagtype[273] = directory.tagtype[279] = 4  # 32 bits, however small the picture
    directory.tagtype[XMP_TAG] = 1
    told = tags.fill(directory)
    for tag, value in {
        256: rgb.shape[1],
        257: rgb.shape[0],
        258: (16, 16, 16),  # bits
        259: 8,  # deflate
        262: 2,  # RGB
        273: tuple(np.cumsum([0, *map(len, strips[:-1])]).tolist()),  # Pillow counts them from the directory's end
        277: 3,
        278: STRIP_ROWS,
        279: tuple(map(len, strips)),
        317: 2,  # differences
        **({XMP_TAG: packet} if packet else {}),
        34675: srgb_profile(),
    }.items():
        directory[tag] = value
    start = 8 + len(told)
    file.write(b"II*\0" + struct.pack("<L", start) + told + directory.tobytes(start))
    for strip in strips:
        file.write(strip)


ENCODERS: dict[Format, Callable[[BinaryIO, NDArray[Any], Tags, bytes], None]] = {
    "jpg": _encode_jpeg,
    "png": _encode_png8,
    "png16": _encode_png16,
    "tiff": _encode_tiff,
}
