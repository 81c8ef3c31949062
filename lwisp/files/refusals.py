"""Why LibRaw does not decode a file, in words that a user can act on."""

from typing import BinaryIO

import rawpy

from lwisp.errors import DamagedError, InputError, UnsupportedError
from lwisp.files.decoding import HEADS, name_format
from lwisp.files.exif import read_directories
from lwisp.files.finished_tiff import is_finished_tiff

MAKE, BITS, COMPRESSION, PHOTOMETRIC, DNG_VERSION = 271, 258, 259, 262, 50706  # TIFF's and DNG's tags
MOSAIC, LINEAR = 32803, 34892  # of photometric
DECODED = {1: "uncompressed", 7: "lossless JPEG"}
"""TIFF's numbers of what LibRaw decodes in any DNG."""
ADOBE = "Adobe DNG Converter makes a DNG of it that can be read"
REFUSED = {
    5: ("LZW", ADOBE),
    8: ("deflate", "save it uncompressed or as lossless JPEG"),
    9: ("VC-5, GoPro's GPR", "GoPro's gpr_tools (-i IN.GPR -o OUT.DNG) or Adobe DNG Converter make a DNG of it"),
    32773: ("PackBits", "save it uncompressed or as lossless JPEG"),
    32946: ("deflate", "save it uncompressed or as lossless JPEG"),
    34892: ("lossy JPEG", "take the camera's original, or a DNG that was saved without lossy compression"),
    50000: ("Zstandard", "save it uncompressed or as lossless JPEG"),
    52546: ("JPEG XL, of DNG 1.7", "save it as lossless JPEG, as Adobe DNG Converter does for DNG 1.6 and before"),
}
"""By the same numbers: names of others, and the ways out."""
FINISHED = "`lwisp denoise` and `lwisp enhance` take finished pictures"
CAMERAS = {b"HEAPCCDR": 6, b"FUJIFILM": 0, b"ftypcrx": 4, b"\0MRM": 0, b"FOVb": 0, b"IIRO": 0, b"IIRS": 0, b"IIU\0": 0}
"""First bytes of cameras' files, and where they stand."""


def explain(name: str, file: BinaryIO, error: Exception, was_opened: bool) -> InputError:
    """The error about a file that LibRaw refused: what is wrong with it, and what to do.

    Args:
        name: What messages call the file.
        file: The file, open in binary mode.
        error: LibRaw's.
        was_opened: Whether LibRaw took it for a RAW at first.

    Returns:
        `UnsupportedError` or `DamagedError`, for the caller to raise.
    """
    head = file.read(32)
    directories = read_directories(file)
    known = name_format(head) or next((kind for kind, starts in HEADS.items() if head.startswith(starts)), "")
    if known not in ("", "TIFF"):
        return UnsupportedError(f"{name}: not a RAW file, but a {known}; {FINISHED}", known)
    compression, bits = _storage(directories)
    if compression in REFUSED:
        feature, remedy = REFUSED[compression]
        what = f"a RAW compressed as {feature}, which LibRaw does not decode here"
        return UnsupportedError(f"{name}: {what}; {remedy}", feature)
    if known and is_finished_tiff(file, directories):
        return refuse_finished_tiff(name)
    is_camera = was_opened or any(MAKE in tags or DNG_VERSION in tags for tags in directories)
    is_camera |= any(head[place:].startswith(start) for start, place in CAMERAS.items())
    if isinstance(error, rawpy.LibRawIOError) and (is_camera or known):
        return DamagedError(f"{name}: a damaged file, cut short: it ends before its picture does; copy it again")
    if bits and compression in DECODED and bits > 16:
        what = f"a RAW of {bits} bits a photosite, {DECODED[compression]}, which LibRaw does not decode"
        return UnsupportedError(f"{name}: {what}; save 16 bits", f"{bits} bits")
    if bits and compression not in DECODED:
        what = f"a RAW of TIFF's compression {compression}, which LibRaw does not decode"
        return UnsupportedError(f"{name}: {what}; {ADOBE}", f"compression {compression}")
    if is_camera:
        said = "" if isinstance(error, rawpy.LibRawFileUnsupportedError) else f" ({_words(error)})"
        what = f"a RAW that is damaged, cut short, or of a camera newer than this LibRaw{said}"
        return DamagedError(f"{name}: {what}; copy it again")
    if known:
        return refuse_finished_tiff(name)
    what = "not a RAW file that LibRaw knows"
    return UnsupportedError(f"{name}: {what}; a bare mosaic needs --cfa, --black-level and --white-level")


def refuse_finished_tiff(name: str) -> UnsupportedError:
    """The error about a finished TIFF where a RAW was expected, for the caller to raise."""
    bare = "a bare mosaic needs --cfa, --black-level and --white-level"
    return UnsupportedError(f"{name}: not a RAW file, but a TIFF; {FINISHED}; {bare}", "TIFF")


def _words(error: Exception) -> str:
    """LibRaw's own."""
    reason = error.args[0] if error.args else type(error).__name__
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)


def _storage(directories: list[dict[int, object]]) -> tuple[int, int]:
    """TIFF's number of the compression of the RAW in a file, and its bits a photosite; 0 where there is none."""
    for tags in directories:
        if tags.get(PHOTOMETRIC) in (MOSAIC, LINEAR) and not tags.get(254, 0):
            compression, bits = tags.get(COMPRESSION, 1), tags.get(BITS, 0)
            bits = max(bits) if isinstance(bits, tuple) and bits else bits
            if isinstance(compression, int) and isinstance(bits, int):
                return compression, bits
    return 0, 0
