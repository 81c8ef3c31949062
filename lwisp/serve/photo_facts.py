"""What a page shows of a photo beside its picture: its tags in words, the camera's own picture, rawpy's default."""

import io
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
from numpy.typing import NDArray
from PIL import Image

from lwisp.errors import DamagedError, InputError, one_line, printable
from lwisp.files.decoding import opened
from lwisp.files.exif import EXIF_IFD
from lwisp.files.linear import AnyRaw, LinearImage, size_of
from lwisp.files.shots import shot_of
from lwisp.files.writing import write_whole
from lwisp.imaging.framing import frame_picture, square_size
from lwisp.imaging.pixels import limit_size, orient, unorient

LONGEST = 120
"""Letters of a tag that are shown."""
SIDE = 6000
"""Pixels along the long side of a picture that is only compared with."""
QUALITY = 92
ORIENTATION = 0x0112

Frame = dict[str, Any]


def facts_of(raw: AnyRaw) -> list[tuple[str, str]]:
    """What a photo's tags tell, as pairs of a name and a value in words; what they do not tell is left out."""
    photo = raw.exif.get_ifd(EXIF_IFD)
    shot = shot_of(raw.exif)
    height, width = shown_size(raw)
    told = [
        ("Camera", "" if raw.camera == "unknown" else raw.camera),
        ("Lens", _text(photo.get(42036))),
        ("Taken", f"{shot.taken:%Y-%m-%d %H:%M:%S}" if shot.taken else ""),
        ("Exposure time", _say(photo.get(33434), _seconds)),
        ("Aperture", _say(photo.get(33437), lambda value: f"f/{value:.3g}")),
        ("ISO", str(shot.iso or "")),
        ("Focal length", _say(photo.get(37386), lambda value: f"{value:.4g} mm")),
        ("Size", f"{width} x {height} px ({width * height / 1e6:.1f} MP)"),
        ("Mosaic", raw.way if isinstance(raw, LinearImage) else raw.cfa),
    ]
    return [(name, printable(value)[:LONGEST]) for name, value in told if value]


def shown_size(raw: AnyRaw) -> tuple[int, int]:
    """(height, width) of the upright picture that is made of a RAW."""
    height, width = raw.crop[2:] if raw.crop is not None else size_of(raw)
    height, width = square_size(height, width, raw.pixel_aspect)
    return (width, height) if raw.orientation >= 5 else (height, width)


def _text(value: object) -> str:
    return value.strip(" \0") if isinstance(value, str) else ""


def _say(value: object, words: Callable[[float], str]) -> str:
    """A number of a tag in words; nothing of what is no number above 0, as 0/0."""
    with suppress(TypeError, ValueError, ZeroDivisionError, OverflowError):
        number = float(value)  # type: ignore[arg-type]
        if 0 < number < math.inf:
            return words(number)
    return ""


def _seconds(value: float) -> str:
    return f"1/{1 / value:.0f} s" if value < 0.3 else f"{value:.3g} s"


def frame_of(raw: AnyRaw) -> Frame:
    """Where a developed picture lies in the visible area, as plain values: for another picture of the same file."""
    return {
        "size": size_of(raw),
        "crop": raw.crop,
        "aspect": raw.pixel_aspect,
        "orientation": raw.orientation,
    }


def decode_camera_picture(
    jpeg: bytes, orientation: int, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], bytes | None] | None:
    """A RAW's embedded JPEG decoded, upright and not larger than `SIDE`.

    Args:
        jpeg: The JPEG.
        orientation: Of the RAW.
        size: From `shown_size`.

    Returns:
        (H, W, 3) and its ICC profile; None of one that cannot be read.
    """
    try:
        with opened(jpeg, "the embedded JPEG") as picture:
            told = picture.getexif().get(ORIENTATION, 0)
            profile = picture.info.get("icc_profile")
            rgb = np.asarray(picture.convert("RGB"))
    except InputError:
        return None
    height, width = size
    own = int(told) if told in range(1, 9) else orientation
    turned = [orient(rgb, own), rgb, orient(rgb, orientation)]
    upright = next((seen for seen in turned if (seen.shape[0] > seen.shape[1]) == (height > width)), turned[0])
    return limit_size(upright, SIDE), profile


def rawpy_picture(source: Path, frame: Mapping[str, Any]) -> NDArray[np.uint8]:
    """What rawpy makes of a RAW by default, with the camera's white balance, cropped as the developed picture.

    Args:
        source: The RAW.
        frame: From `frame_of`.

    Returns:
        (H, W, 3), upright and not larger than `SIDE`.

    Raises:
        InputError: LibRaw cannot make a picture of it.
    """
    try:
        with rawpy.imread(str(source)) as raw:
            rgb: NDArray[np.uint8] = raw.postprocess(use_camera_wb=True)
    except (rawpy.LibRawError, rawpy.NotSupportedError, ValueError) as error:
        raise DamagedError(f"{source}: rawpy makes no picture of it: {one_line(error)}") from error
    as_sensed = unorient(rgb, frame["orientation"])
    if frame["crop"] is not None and as_sensed.shape[:2] == tuple(frame["size"]):  # LibRaw made its pixels square
        rgb = orient(frame_picture(as_sensed, tuple(frame["crop"])), frame["orientation"])
    return limit_size(rgb, SIDE)


def write_jpeg(output: Path, rgb: NDArray[np.uint8], profile: bytes | None = None) -> None:
    """Write a picture that a page shows.

    Args:
        output: The JPEG to write.
        rgb: (H, W, 3).
        profile: Its ICC profile; None for sRGB.

    Raises:
        OutputError: It cannot be written.
    """
    encoded = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(encoded, "JPEG", quality=QUALITY, icc_profile=profile)
    write_whole(output, lambda file: file.write(encoded.getvalue()))
