"""Encoders of finished pictures: JPEG, PNG of 8 and 16 bits, TIFF of 16, with sRGB profile and tags."""

import struct
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, TiffImagePlugin

from lwisp.files.exif import EXIF_IFD, GPS_IFD
from lwisp.files.icc import gray_profile, srgb_profile
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


def _channels(rgb: NDArray[Any]) -> int:
    """3 of RGB (H, W, 3), 1 of grays (H, W)."""
    return 1 if rgb.ndim == 2 else 3


def _profile(rgb: NDArray[Any]) -> bytes:
    return gray_profile() if rgb.ndim == 2 else srgb_profile()


def _encode_jpeg(file: BinaryIO, rgb: NDArray[Any], tags: Image.Exif, packet: bytes) -> None:
    picture = Image.fromarray(to_integer(rgb, 8))
    picture.save(file, "JPEG", quality=95, subsampling=0, icc_profile=_profile(rgb), exif=tags, xmp=packet or None)


def _encode_png8(file: BinaryIO, rgb: NDArray[Any], tags: Image.Exif, packet: bytes) -> None:
    picture = Image.fromarray(to_integer(rgb, 8))
    told = PngImagePlugin.PngInfo()
    if packet:
        told.add_itxt(PNG_PACKET, packet.decode())
    picture.save(file, "PNG", compress_level=3, icc_profile=_profile(rgb), exif=tags, pnginfo=told)


def _encode_png16(file: BinaryIO, rgb: NDArray[Any], tags: Image.Exif, packet: bytes) -> None:
    """PNG of 16 bits a channel, which Pillow does not write: each row as its difference from the row above."""
    height, width = rgb.shape[:2]
    channels = _channels(rgb)
    file.write(b"\x89PNG\r\n\x1a\n")
    _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0 if channels == 1 else 2, 0, 0, 0))
    _write_chunk(file, b"iCCP", b"sRGB\0\0" + zlib.compress(_profile(rgb)))
    _write_chunk(file, b"eXIf", tags.tobytes().removeprefix(b"Exif\0\0"))
    if packet:
        _write_chunk(file, b"iTXt", PNG_PACKET.encode() + b"\0\0\0\0\0" + packet)
    deflate = zlib.compressobj(1)
    above = np.zeros((1, width * channels * 2), np.uint8)
    for top in range(0, height, STRIP_ROWS):
        rows = to_integer(rgb[top : top + STRIP_ROWS], 16).astype(">u2").reshape(-1, width * channels).view(np.uint8)
        filtered = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
        filtered[:, 0] = 2  # PNG's filter "up"
        np.subtract(rows, np.concatenate([above, rows[:-1]]), out=filtered[:, 1:])
        above = rows[-1:]
        _write_chunk(file, b"IDAT", deflate.compress(filtered.tobytes()))
    _write_chunk(file, b"IDAT", deflate.flush())
    _write_chunk(file, b"IEND", b"")


def _write_chunk(file: BinaryIO, kind: bytes, content: bytes) -> None:
    file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)))


def _encode_tiff(file: BinaryIO, rgb: NDArray[Any], tags: Image.Exif, packet: bytes) -> None:
    """TIFF of 16 bits a channel, which Pillow does not write either: deflated strips of differences from the left."""
    strips = []
    channels = _channels(rgb)
    for top in range(0, len(rgb), STRIP_ROWS):
        samples = to_integer(rgb[top : top + STRIP_ROWS], 16).astype("<u2")  # a copy
        samples[:, 1:] -= samples[:, :-1].copy()
        strips.append(zlib.compress(samples.tobytes(), 1))
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory.tagtype[273] = directory.tagtype[279] = 4  # 32 bits, however small the picture
    directory.tagtype[XMP_TAG] = 1
    for tag, value in {
        **tags,
        **{ifd: tags.get_ifd(ifd) for ifd in (EXIF_IFD, GPS_IFD) if tags.get_ifd(ifd)},
        256: rgb.shape[1],
        257: rgb.shape[0],
        258: (16,) * channels,  # bits
        259: 8,  # deflate
        262: 1 if channels == 1 else 2,  # grays, zero is black, or RGB
        273: tuple(np.cumsum([0, *map(len, strips[:-1])]).tolist()),  # Pillow counts them from the directory's end
        277: channels,
        278: STRIP_ROWS,
        279: tuple(map(len, strips)),
        317: 2,  # differences
        **({XMP_TAG: packet} if packet else {}),
        34675: _profile(rgb),
    }.items():
        directory[tag] = value
    file.write(b"II*\0\x08\0\0\0" + directory.tobytes(8))
    for strip in strips:
        file.write(strip)


ENCODERS: dict[Format, Callable[[BinaryIO, NDArray[Any], Image.Exif, bytes], None]] = {
    "jpg": _encode_jpeg,
    "png": _encode_png8,
    "png16": _encode_png16,
    "tiff": _encode_tiff,
}
