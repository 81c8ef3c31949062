"""Opening picture files: the one function that does so, for JPEG, PNG and TIFF and no other format.

Pillow by itself tries every format it knows, whatever the file's name; some of them start other programs (PostScript
runs Ghostscript). Here the first bytes choose between three readers, and the size is judged before a pixel is decoded.
"""

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from PIL import AvifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from lwisp.errors import (
    DamagedError,
    InputError,
    NotFoundError,
    OutOfMemoryError,
    UnsupportedError,
    alternatives,
    one_line,
)
from lwisp.files.exif import EXIF_IFD, GPS_IFD, repair_text
from lwisp.files.optional import need
from lwisp.files.writing import is_regular, quiet

FORMATS = ("JPEG", "PNG", "TIFF")
"""Formats that are opened by default."""
FINISHED = (*FORMATS, "HEIF")
"""Formats of finished pictures that are read; HEIF where pillow-heif is installed."""
PICTURE_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".tif", ".tiff", ".heic", ".heif", ".hif"])
"""Suffixes of those, that folders are searched for."""
WRITTEN = (*FORMATS, "AVIF", "HEIF", "JPEG XL")
"""Formats that lwisp writes, so far as their encoders are installed."""
MAX_PIXELS = 200_000_000
"""Cameras of 150 MP are the largest; a picture of this size takes 0.6 GB decoded, and several times that on its way."""

HEADS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}
"""First bytes of files, by format."""
OTHER_HEADS = {
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"%PDF": "PDF",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"\0\0\1\0": "ICO",
    b"8BPS": "Photoshop",
    b"<svg": "SVG",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
}
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
SMALL = 2**24
"""Pixels that any file may claim: so few are decoded whatever its length."""
BLOCK_PIXELS = 64 * 8
"""Pixels that a byte of a JPEG can stand for: each block of 8x8 has a code of its own, of one bit or more."""
TIFF_EXPANSION = {"raw": 1, "packbits": 64, "tiff_deflate": 1032, "tiff_adobe_deflate": 1032, "tiff_lzw": 1500}
"""How many bytes one byte of a compression can stand for at most."""
DEFLATE_EXPANSION = 1032
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DNG_VERSION, SOFTWARE, MAKE = 50706, 305, 271


@contextlib.contextmanager
def opened(
    source: Path | bytes,
    name: str = "",
    max_pixels: float = MAX_PIXELS,
    formats: Sequence[str] = FORMATS,
) -> Iterator[Image.Image]:
    """A picture open in Pillow, of an allowed format and size; its pixels are not decoded yet.

    Args:
        source: The file, or its content.
        name: What messages begin with; the path if not given.
        max_pixels: A picture of more is refused.
        formats: Allowed formats; HEIF among them needs pillow-heif.

    Yields:
        The picture.

    Raises:
        InputError: Whatever goes wrong, in the `with` block too: another format, damage, more than `max_pixels`, or
            more than a file of its size can hold.
    """
    name = name or str(source if isinstance(source, Path) else "the picture")
    try:
        with _opened_file(source, name) as file, quiet():  # Pillow warns of every damaged tag
            head = file.read(32)
            reader = _choose_reader(head, formats, name)
            file.seek(0)
            picture = reader(file)
            _check_size(picture, head, _length(file), name, max_pixels)
            yield picture
    except InputError:
        raise
    except Exception as error:  # Pillow raises nearly anything over damaged files
        kind = OutOfMemoryError if isinstance(error, MemoryError) else DamagedError
        reason = "not enough memory" if isinstance(error, MemoryError) else _reason(error)
        raise kind(f"{name}: cannot be read as a picture: {reason}") from error


def read_tags(picture: Image.Image) -> Image.Exif:
    """All tags of an open picture; they outlive it."""
    exif = picture.getexif()
    for values in (exif, exif.get_ifd(EXIF_IFD), exif.get_ifd(GPS_IFD)):
        for tag, value in list(values.items()):  # Pillow reads what it is asked for when it is asked
            if isinstance(value, str):
                values[tag] = repair_text(value)
    return exif


def is_own(path: Path) -> bool:
    """Whether lwisp wrote a picture or DNG, by its tags; False of any other file."""
    with contextlib.suppress(Exception), _opened_file(path, str(path)) as file, quiet():
        head = file.read(32)
        file.seek(0)
        if head.startswith(HEADS["TIFF"]):  # Pillow cannot open a DNG's mosaic
            exif = Image.Exif()
            exif.load_from_fp(file)
            return _is_ours(exif) or (DNG_VERSION in exif and _text(exif, MAKE) == "lwisp")
        picture = _choose_reader(head, WRITTEN, str(path))(file)
        return "exif" in picture.info and _is_ours(picture.getexif())
    return False


def _is_ours(exif: Image.Exif) -> bool:
    return is_own_program(_text(exif, SOFTWARE))


def is_own_program(software: str) -> bool:
    """Whether the value of the tag Software names lwisp."""
    return software.split(" ")[0].strip("\0").lower() == "lwisp"


def _text(exif: Image.Exif, tag: int) -> str:
    value = exif.get(tag)
    return value.strip("\0 ") if isinstance(value, str) else ""


@contextlib.contextmanager
def _opened_file(source: Path | bytes, name: str) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    if not is_regular(source):
        raise NotFoundError(f"{name}: expected a picture; there is no such file")
    with source.open("rb") as file:
        yield file


def _choose_reader(head: bytes, formats: Sequence[str], name: str) -> Callable[[BinaryIO], Image.Image]:
    readers: dict[str, Callable[[BinaryIO], Image.Image]] = {
        "JPEG": JpegImagePlugin.jpeg_factory,
        "PNG": PngImagePlugin.PngImageFile,
        "TIFF": TiffImagePlugin.TiffImageFile,
    }
    for allowed in formats:
        if allowed in HEADS and head.startswith(HEADS[allowed]):
            return readers[allowed]
    found = name_format(head)
    if found in formats and found in OPTIONAL_READERS:
        try:
            return OPTIONAL_READERS[found]()
        except InputError as error:  # not installed
            raise InputError(f"{name}: {error}") from error
    what = f"a file of the format {found}" if found else "not a picture of a known format"
    raise UnsupportedError(f"{name}: cannot be read as a picture: {what}; expected {alternatives(formats)}")


def _heif_reader() -> Callable[[BinaryIO], Image.Image]:
    """pillow-heif's reader itself: it is not made known to Pillow, which would open HEIF everywhere from then on."""
    reader: Callable[[BinaryIO], Image.Image] = need("pillow_heif", "reading HEIF").HeifImageFile
    return reader


def _avif_reader() -> Callable[[BinaryIO], Image.Image]:
    return AvifImagePlugin.AvifImageFile


def _jxl_reader() -> Callable[[BinaryIO], Image.Image]:
    plugin = need("pillow_jxl.JpegXLImagePlugin", "reading JPEG XL")
    reader: Callable[[BinaryIO], Image.Image] = plugin.JXLImageFile
    return reader


OPTIONAL_READERS: dict[str, Callable[[], Callable[[BinaryIO], Image.Image]]] = {
    "AVIF": _avif_reader,
    "HEIF": _heif_reader,
    "JPEG XL": _jxl_reader,
}
"""Readers of formats that need a package of their own, or a Pillow built with them."""


def name_format(head: bytes) -> str:
    """The name of a format that is not among `HEADS`, by how a file of it begins; empty where that is not known."""
    if head[4:8] == b"ftyp":
        return "AVIF" if head[8:12] in (b"avif", b"avis") else "HEIF" if head[8:12] in HEIF_BRANDS else ""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    return next((name for start, name in OTHER_HEADS.items() if head.startswith(start)), "")


def _check_size(picture: Image.Image, head: bytes, length: int, name: str, max_pixels: float) -> None:
    width, height = picture.size
    pixels = width * height
    if not pixels <= max_pixels:  # written so that NaN allows nothing
        raise UnsupportedError(
            f"{name}: {height}x{width} px ({pixels / 1e6:.0f} MP), more than the {max_pixels / 1e6:.0f} MP that are "
            "read at most; make it smaller, or allow more by --max-pixels where the command has it"
        )
    if pixels > max(SMALL, _most_pixels(picture, head, length)):
        raise DamagedError(
            f"{name}: {height}x{width} px in {length:,} bytes, fewer than such a picture can have; "
            "the file is cut short, or made to fill the memory"
        )


def _most_pixels(picture: Image.Image, head: bytes, length: int) -> float:
    """The most pixels that a whole file of so many bytes can hold, be they all alike."""
    if picture.format in ("JPEG", "MPO"):
        return BLOCK_PIXELS * length
    if picture.format == "PNG":
        return 8 * DEFLATE_EXPANSION * length / (head[24] * PNG_CHANNELS.get(head[25], 1))
    if picture.format == "TIFF":
        compression = picture.info.get("compression")
        if compression == "jpeg":
            return BLOCK_PIXELS * length
        if compression in TIFF_EXPANSION:
            tags: Any = getattr(picture, "tag_v2", {})
            return 8 * TIFF_EXPANSION[compression] * length / sum(tags.get(258) or (1,))
    return float("inf")


def _length(file: BinaryIO) -> int:
    place = file.tell()
    length = file.seek(0, io.SEEK_END)
    file.seek(place)
    return length


def _reason(error: Exception) -> str:
    """What went wrong, in words; Pillow's own may be empty, or show an object."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = one_line(error)
    if said == "unknown pixel mode":
        return "its samples are of a kind that is not read; save it with 8 or 16 bits a color"
    return said if said and " object at 0x" not in said else "it is damaged"
