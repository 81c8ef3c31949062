"""`RawImage` -> a plain DNG that any tool reads."""

import os
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin

from lwisp.errors import InputError, check_switches, check_type
from lwisp.files.dng_tags import OPCODE_LISTS
from lwisp.files.framing import CROP_ORIGIN, CROP_SIZE, DEFAULT_SCALE
from lwisp.files.raw import RawImage, check_raw
from lwisp.files.tags import finished_properties, finished_tags
from lwisp.files.writing import write_whole
from lwisp.files.xmp import XMP_TAG, Value, build
from lwisp.imaging.bayer import plane_order
from lwisp.imaging.matrices import CANONICAL_TO_XYZ

NOISE_PROFILE = 51041
"""DNG's tag for shot and read noise: variance = shot * signal + read, of a signal with black 0 and white 1."""


def write_dng(
    path: str | Path,
    raw: RawImage,
    noise: tuple[float, float] | None = None,
    exif: Image.Exif | None = None,
    overwrite: bool = False,
    properties: Mapping[str, Value] | None = None,
    strip: bool = False,
) -> None:
    """Write a RAW as a plain, uncompressed DNG 1.4 that any tool reads; `read_raw` undoes it.

    What the RAW's own file asks of the mosaic and of the picture (`RawImage.opcode_lists`) is handed on byte for byte.

    Make and model say that it is none of a camera's own, so that no tool takes it for one. The color matrix is
    `cam2rgb`'s under D65, with the as-shot gains as those of D65.

    Args:
        path: The file to write.
        raw: The RAW.
        noise: Shot and read noise for `NOISE_PROFILE`.
        exif: Tags of the photo; those that stay true of another file are written (`tags.finished_tags`).
        overwrite: Replace a file of this name.
        properties: For its XMP packet, as `xmp.build` takes them.
        strip: Leave out tags and properties that name people and places.

    Raises:
        InputError: The white levels of the four planes differ, or the file exists and may not be replaced.
        OutputError: The file cannot be written.
    """
    check_type("the path of a file to write", path, (str, os.PathLike))
    check_raw(raw)
    check_switches(overwrite=overwrite, strip=strip)
    path = Path(path)
    if len(set(raw.white_level)) > 1:
        raise InputError(f"{path}: a DNG has one white level, got {raw.white_level}")
    gains = np.array(raw.white_balance, np.float64)
    rgb2cam = np.linalg.inv(raw.cam2rgb.astype(np.float64))
    xyz2cam = np.diag(1 / gains) @ rgb2cam @ np.linalg.inv(CANONICAL_TO_XYZ.astype(np.float64))
    black = dict(zip(plane_order(raw.cfa), raw.black_level, strict=True))
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory.tagtype |= {254: 4, 273: 4, 279: 4, 50706: 1, 50707: 1, 33422: 1, 50714: 5, 50717: 4, 50721: 10, 50728: 5}
    directory.tagtype |= {DEFAULT_SCALE: 5, CROP_ORIGIN: 4, CROP_SIZE: 4}
    directory.tagtype |= {NOISE_PROFILE: 12, XMP_TAG: 1, **dict.fromkeys(OPCODE_LISTS, 7)}
    kept = finished_properties(properties or {}, strip)
    told = b"" if exif is None else finished_tags(exif, kept, strip).fill(directory)
    for tag, value in {
        254: 0,  # the whole picture
        256: raw.mosaic.shape[1],
        257: raw.mosaic.shape[0],
        258: 16,  # bits
        259: 1,  # uncompressed
        262: 32803,  # a mosaic
        271: "lwisp",
        272: "plain DNG",
        273: 0,  # from the directory's end, where Pillow counts from
        274: raw.orientation,
        277: 1,
        278: raw.mosaic.shape[0],
        279: raw.mosaic.nbytes,
        33421: (2, 2),
        33422: bytes("RGB".index(letter) for letter in raw.cfa),
        50706: b"\1\4\0\0",
        50707: b"\1\3\0\0" if any(raw.opcode_lists) else b"\1\1\0\0",  # what a reader must know at least
        50708: "lwisp plain DNG",
        50713: (2, 2),
        50714: tuple(black[row, column] for row in (0, 1) for column in (0, 1)),
        50717: int(raw.white_level[0]),
        50721: tuple(xyz2cam.flatten().tolist()),
        50728: tuple((1 / gains).tolist()),
        **_frame_tags(raw),
        50778: 21,  # D65
        **({NOISE_PROFILE: noise} if noise else {}),
        **({XMP_TAG: build(kept)} if kept else {}),
        **{tag: content for tag, content in zip(OPCODE_LISTS, raw.opcode_lists, strict=True) if content},
    }.items():
        directory[tag] = value
    start = 8 + len(told)
    head = b"II*\0" + struct.pack("<L", start) + told + directory.tobytes(start)
    content = head + np.ascontiguousarray(raw.mosaic.astype("<u2")).tobytes()
    write_whole(path, lambda file: file.write(content), overwrite)


def _frame_tags(raw: RawImage) -> dict[int, tuple[float, float]]:
    """The crop, and the shape of pixels, where they are other than all and square."""
    tags: dict[int, tuple[float, float]] = {}
    if raw.pixel_aspect != 1:
        tags[DEFAULT_SCALE] = max(raw.pixel_aspect, 1.0), max(1 / raw.pixel_aspect, 1.0)  # none of them shrinks
    if raw.crop is not None:
        top, left, height, width = raw.crop
        tags |= {CROP_ORIGIN: (left, top), CROP_SIZE: (width, height)}
    return tags
