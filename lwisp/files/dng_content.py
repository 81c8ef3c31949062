"""Plain DNGs in memory: pixels and what a reader must know of them."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from lwisp.files.damage import COLOR_FILTERS, LINEAR
from lwisp.files.dng_tags import NOISE_PROFILE, OPCODE_LISTS
from lwisp.files.framing import CROP_ORIGIN, CROP_SIZE, DEFAULT_SCALE
from lwisp.files.xmp import XMP_TAG
from lwisp.imaging.framing import CropBox
from lwisp.imaging.matrices import CANONICAL_TO_XYZ
from lwisp.imaging.patterns import Pattern

LETTERS = "RGBCMYW"
"""Colors in the order of DNG's numbers."""


def new_directory() -> TiffImagePlugin.ImageFileDirectory_v2:
    """A directory that knows the types of DNG's tags, which Pillow does not."""
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory.tagtype |= {254: 4, 273: 4, 279: 4, 50706: 1, 50707: 1, 33422: 1, 50714: 5, 50717: 4, 50721: 10, 50728: 5}
    directory.tagtype |= {DEFAULT_SCALE: 5, CROP_ORIGIN: 4, CROP_SIZE: 4}
    directory.tagtype |= {NOISE_PROFILE: 12, XMP_TAG: 1, **dict.fromkeys(OPCODE_LISTS, 7)}
    return directory


def build_dng(
    pixels: NDArray[np.uint16],
    facts: Mapping[int, Any],
    directory: TiffImagePlugin.ImageFileDirectory_v2 | None = None,
    told: bytes = b"",
) -> bytes:
    """The content of an uncompressed DNG 1.4.

    Make and model say that it is none of a camera's own, so that no tool takes it for one.

    Args:
        pixels: (H, W), or (H, W, samples).
        facts: Tags by number, from `mosaic_tags`, `linear_tags` and others.
        directory: From `new_directory`, with tags of the photo that stand beside.
        told: What those refer to, which goes before it in the file.
    """
    directory = new_directory() if directory is None else directory
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    for tag, value in {
        254: 0,  # the whole picture
        256: pixels.shape[1],
        257: pixels.shape[0],
        258: 16 if samples == 1 else (16,) * samples,  # bits
        259: 1,  # uncompressed
        271: "lwisp",
        272: "plain DNG",
        273: 0,  # from the directory's end, where Pillow counts from
        274: 1,
        277: samples,
        278: pixels.shape[0],
        279: pixels.nbytes,
        50706: b"\1\4\0\0",
        50707: b"\1\1\0\0",
        50708: "lwisp plain DNG",
        **facts,
    }.items():
        directory[tag] = value
    start = 8 + len(told)
    head = b"II*\0" + struct.pack("<L", start) + told + directory.tobytes(start)
    return head + np.ascontiguousarray(pixels.astype("<u2")).tobytes()


def mosaic_tags(pattern: Pattern, black: Sequence[float], white: float) -> dict[int, Any]:
    """What a DNG says of a mosaic.

    Args:
        pattern: (rows, columns) of colors.
        black: In DN, of the top-left 2x2 row by row, or one for all.
        white: In DN.
    """
    return {
        262: COLOR_FILTERS,
        33421: pattern.shape,
        33422: bytes(LETTERS.index(letter) for letter in pattern.ravel()),
        50713: (2, 2) if len(black) == 4 else (1, 1),
        50714: tuple(black),
        50717: int(white),
    }


def linear_tags(black: Sequence[float], white: Sequence[float]) -> dict[int, Any]:
    """What a DNG says of pixels without a mosaic.

    Args:
        black: In DN, of each sample.
        white: In DN, likewise.
    """
    levels = tuple(int(level) for level in white)
    return {262: LINEAR, 50713: (1, 1), 50714: tuple(black), 50717: levels if len(set(levels)) > 1 else levels[0]}


def color_tags(cam2rgb: NDArray[np.float32], white_balance: Sequence[float]) -> dict[int, Any]:
    """A color matrix under D65, with the as-shot gains as those of D65.

    Args:
        cam2rgb: (3, 3), balanced camera RGB to canonical RGB.
        white_balance: Gains of R, G, B.
    """
    gains = np.array(white_balance, np.float64)
    rgb2cam = np.linalg.inv(cam2rgb.astype(np.float64))
    xyz2cam = np.diag(1 / gains) @ rgb2cam @ np.linalg.inv(CANONICAL_TO_XYZ.astype(np.float64))
    return {50721: tuple(xyz2cam.flatten().tolist()), 50728: tuple((1 / gains).tolist()), 50778: 21}  # D65


def frame_tags(crop: CropBox | None, pixel_aspect: float) -> dict[int, Any]:
    """The crop, and the shape of pixels, where they are other than all and square.

    Args:
        crop: Top, left, height, width; None for all.
        pixel_aspect: Width over height of a pixel.
    """
    tags: dict[int, Any] = {}
    if pixel_aspect != 1:
        tags[DEFAULT_SCALE] = max(pixel_aspect, 1.0), max(1 / pixel_aspect, 1.0)  # none of them shrinks
    if crop is not None:
        top, left, height, width = crop
        tags |= {CROP_ORIGIN: (left, top), CROP_SIZE: (width, height)}
    return tags
