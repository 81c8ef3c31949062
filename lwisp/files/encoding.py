"""Encoders of finished pictures: JPEG, PNG, TIFF, AVIF, HEIF and JPEG XL, with profile, tags and XMP."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, features
from PIL.PngImagePlugin import PngInfo

from lwisp.errors import ArgumentError, InputError, check_choice, is_whole, shown
from lwisp.files.exif import HEADER
from lwisp.files.icc import gray_profile
from lwisp.files.optional import need
from lwisp.files.profiles import PROFILE_NAMES, ProfileName, profile_of
from lwisp.files.tags import Tags
from lwisp.files.xmp import XMP_TAG
from lwisp.imaging.pixels import to_integer

Format = Literal["jpg", "png", "png16", "tiff", "avif", "heif", "jxl"]
"""Formats that finished pictures are written in; the last three where their encoder is installed."""

FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIX_FORMATS: dict[str, Format] = {
    ".jpg": "jpg",
    ".jpeg": "jpg",
    ".png": "png",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".avif": "avif",
    ".heic": "heif",
    ".heif": "heif",
    ".hif": "heif",
    ".jxl": "jxl",
}
"""Format by suffix."""

BITS: dict[Format, Literal[8, 16]] = {
    "jpg": 8,
    "png": 8,
    "png16": 16,
    "tiff": 16,
    "avif": 8,
    "heif": 8,
    "jxl": 8,
}
"""Bits a channel, by format."""

SUFFIXES: dict[Format, str] = {
    "jpg": ".jpg",
    "png": ".png",
    "png16": ".png",
    "tiff": ".tif",
    "avif": ".avif",
    "heif": ".heic",
    "jxl": ".jxl",
}
"""Suffix by format."""

STRIP_ROWS = 64
"""Rows that are compressed at once."""
MAX_SIZE = 65_500
"""Pixels along a side: the most that a JPEG has."""


@dataclass(frozen=True)
class Finish:
    """How a finished picture is written, beside its format."""

    quality: int = 95
    """1 to 100, of the formats with losses: JPEG, AVIF, HEIF, JPEG XL."""
    size: int | None = None
    """The long side in pixels; a picture that is smaller stays as it is."""
    profile: ProfileName = "srgb"
    """The color space; others than sRGB need a format of 16 bits."""

    def settings(self) -> dict[str, str | int | float]:
        """Those that differ from the defaults, by the names of the command's options."""
        fields: dict[str, str | int | None] = vars(self)
        return {name: value for name, value in fields.items() if value is not None and value != vars(Finish())[name]}

    def check(self, format: Format) -> None:
        """Check before any work that a picture can be written so.

        Args:
            format: The format.

        Raises:
            InputError: A value is out of range, does not go with the format, or needs what is not installed.
        """
        check_choice("format", format, FORMATS)
        check_choice("profile", self.profile, PROFILE_NAMES)
        if not is_whole(self.quality, 1, 100):
            raise ArgumentError(f"expected a quality of 1 to 100, got {shown(self.quality)}")
        if self.size is not None and not is_whole(self.size, 1, MAX_SIZE):
            raise ArgumentError(f"expected a size of 1 to {MAX_SIZE} px, got {shown(self.size)}")
        if self.profile != "srgb" and BITS[format] == 8:
            raise ArgumentError(f"the profile {self.profile} needs a format of 16 bits, png16 or tiff; got {format}")
        if format == "avif" and not features.check("avif"):
            raise InputError("writing AVIF needs a Pillow with AVIF; pip install --upgrade pillow")
        if format == "heif":
            need("pillow_heif", "writing HEIF")
        if format == "jxl":
            need("pillow_jxl", "writing JPEG XL")


PNG_PACKET = "XML:com.adobe.xmp"
"""Name of an XMP packet among the texts of a PNG."""


def _channels(rgb: NDArray[Any]) -> int:
    """3 of RGB (H, W, 3), 1 of grays (H, W)."""
    return 1 if rgb.ndim == 2 else 3


def _profile(rgb: NDArray[Any], finish: Finish) -> bytes:
    return gray_profile() if rgb.ndim == 2 else profile_of(finish.profile)


def _encode_jpeg(file: BinaryIO, rgb: NDArray[Any], tags: Tags, packet: bytes, finish: Finish) -> None:
    picture = Image.fromarray(to_integer(rgb, 8))
    picture.save(
        file,
        "JPEG",
        quality=finish.quality,
        subsampling=0,
        icc_profile=_profile(rgb, finish),
        exif=tags.tobytes(),
        xmp=packet or None,
    )


def _encode_png8(file: BinaryIO, rgb: NDArray[Any], tags: Tags, packet: bytes, finish: Finish) -> None:
    picture = Image.fromarray(to_integer(rgb, 8))
    told = PngInfo()
    if packet:
        told.add_itxt(PNG_PACKET, packet.decode())
    profile = _profile(rgb, finish)
    picture.save(file, "PNG", compress_level=3, icc_profile=profile, exif=tags.tobytes(), pnginfo=told)


def _encode_png16(file: BinaryIO, rgb: NDArray[Any], tags: Tags, packet: bytes, finish: Finish) -> None:
    """PNG of 16 bits a channel, which Pillow does not write: each row as its difference from the row above."""
    height, width = rgb.shape[:2]
    channels = _channels(rgb)
    file.write(b"\x89PNG\r\n\x1a\n")
    _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0 if channels == 1 else 2, 0, 0, 0))
    _write_chunk(file, b"iCCP", b"ICC\0\0" + zlib.compress(_profile(rgb, finish)))
    _write_chunk(file, b"eXIf", tags.tobytes().removeprefix(HEADER))
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


def _encode_tiff(file: BinaryIO, rgb: NDArray[Any], tags: Tags, packet: bytes, finish: Finish) -> None:
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
    told = tags.fill(directory)
    for tag, value in {
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
        34675: _profile(rgb, finish),
    }.items():
        directory[tag] = value
    start = 8 + len(told)
    file.write(b"II*\0" + struct.pack("<L", start) + told + directory.tobytes(start))
    for strip in strips:
        file.write(strip)


def _encode_modern(file: BinaryIO, rgb: NDArray[Any], tags: Tags, packet: bytes, finish: Finish, name: str) -> None:
    """One of the formats that Pillow or its plugin writes alike."""
    picture = Image.fromarray(to_integer(rgb, 8))
    told: dict[str, Any] = {"xmp": packet} if packet else {}
    picture.save(
        file,
        name,
        quality=finish.quality,
        icc_profile=_profile(rgb, finish),
        exif=tags.tobytes(),
        **told,
    )


def _encode_avif(file: BinaryIO, rgb: NDArray[Any], tags: Tags, packet: bytes, finish: Finish) -> None:
    _encode_modern(file, rgb, tags, packet, finish, "AVIF")


def _encode_jxl(file: BinaryIO, rgb: NDArray[Any], tags: Tags, packet: bytes, finish: Finish) -> None:
    need("pillow_jxl", "writing JPEG XL")
    _encode_modern(file, rgb, tags, packet, finish, "JXL")


def _encode_heif(file: BinaryIO, rgb: NDArray[Any], tags: Tags, packet: bytes, finish: Finish) -> None:
    heif = need("pillow_heif", "writing HEIF")
    height, width = rgb.shape[:2]
    mode = "L" if rgb.ndim == 2 else "RGB"
    picture = heif.from_bytes(mode, (width, height), np.ascontiguousarray(to_integer(rgb, 8)).tobytes())
    told: dict[str, Any] = {"xmp": packet} if packet else {}
    profile = _profile(rgb, finish)
    picture.save(file, quality=finish.quality, icc_profile=profile, exif=tags.tobytes(), **told)


ENCODERS: dict[Format, Callable[[BinaryIO, NDArray[Any], Tags, bytes, Finish], None]] = {
    "jpg": _encode_jpeg,
    "png": _encode_png8,
    "png16": _encode_png16,
    "tiff": _encode_tiff,
    "avif": _encode_avif,
    "heif": _encode_heif,
    "jxl": _encode_jxl,
}
