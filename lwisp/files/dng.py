"""`RawImage` or `LinearImage` -> a plain DNG that any tool reads."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lwisp.errors import InputError, check_switches, check_type
from lwisp.files.dng_content import (
    build_dng,
    color_tags,
    frame_tags,
    linear_tags,
    mosaic_tags,
    new_directory,
)
from lwisp.files.dng_tags import NOISE_PROFILE, OPCODE_LISTS
from lwisp.files.linear import LinearImage
from lwisp.files.raw import RawImage, check_raw
from lwisp.files.tags import finished_properties, finished_tags
from lwisp.files.writing import write_whole
from lwisp.files.xmp import XMP_TAG, Value, build
from lwisp.imaging.bayer import plane_order
from lwisp.imaging.patterns import Pattern


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
    black = dict(zip(plane_order(raw.cfa), raw.black_level, strict=True))
    pattern = np.array(list(raw.cfa)).reshape(2, 2)
    facts = {
        **mosaic_tags(pattern, [black[row, column] for row in (0, 1) for column in (0, 1)], raw.white_level[0]),
        **color_tags(raw.cam2rgb, raw.white_balance),
        **({50707: b"\1\3\0\0"} if any(raw.opcode_lists) else {}),  # what a reader must know at least
        **{tag: content for tag, content in zip(OPCODE_LISTS, raw.opcode_lists, strict=True) if content},
    }
    _write(path, raw.mosaic, raw, facts, noise, exif, overwrite, properties, strip)


def write_linear_dng(
    path: str | Path,
    image: LinearImage,
    noise: tuple[float, float] | None = None,
    exif: Image.Exif | None = None,
    overwrite: bool = False,
    properties: Mapping[str, Value] | None = None,
    strip: bool = False,
) -> None:
    """Write a picture without a mosaic as a plain, uncompressed linear DNG 1.4; `linear.read_linear` undoes it.

    A gray picture has one sample a pixel and no color matrix.

    Args:
        path: The file to write.
        image: The picture.
        noise: As in `write_dng`, and all that follows.
        exif: Tags of the photo.
        overwrite: Replace a file of this name.
        properties: For its XMP packet.
        strip: Leave out tags and properties that name people and places.

    Raises:
        InputError: The file exists and may not be replaced.
        OutputError: The file cannot be written.
    """
    samples = 1 if image.is_gray else 3
    pixels = image.rgb[..., 0] if image.is_gray else image.rgb
    facts = linear_tags(image.black_level[:samples], image.white_level[:samples])
    facts |= {} if image.is_gray else color_tags(image.cam2rgb, image.white_balance)
    _write(Path(path), pixels, image, facts, noise, exif, overwrite, properties, strip)


def write_mosaic_dng(
    path: str | Path,
    mosaic: NDArray[np.uint16],
    pattern: Pattern,
    levels: tuple[float, float],
    white_balance: Sequence[float],
    cam2rgb: NDArray[np.float32],
    noise: tuple[float, float] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a mosaic of any pattern as a plain DNG, as in `write_dng`: X-Trans, quad-Bayer and others.

    Args:
        path: The file to write.
        mosaic: (H, W) in DN.
        pattern: Its pattern.
        levels: Black and white in DN.
        white_balance: Gains of R, G, B.
        cam2rgb: (3, 3), balanced camera RGB to canonical RGB.
        noise: Shot and read noise for `NOISE_PROFILE`.
        overwrite: Replace a file of this name.

    Raises:
        InputError: The file exists and may not be replaced.
        OutputError: The file cannot be written.
    """
    facts = mosaic_tags(pattern, levels[:1], levels[1]) | color_tags(cam2rgb, white_balance)
    content = build_dng(mosaic, facts | ({NOISE_PROFILE: noise} if noise else {}))
    write_whole(Path(path), lambda file: file.write(content), overwrite)


def _write(
    path: Path,
    pixels: NDArray[np.uint16],
    image: RawImage | LinearImage,
    facts: Mapping[int, Any],
    noise: tuple[float, float] | None,
    exif: Image.Exif | None,
    overwrite: bool,
    properties: Mapping[str, Value] | None,
    strip: bool,
) -> None:
    directory = new_directory()
    kept = finished_properties(properties or {}, strip)
    told = b"" if exif is None else finished_tags(exif, kept, strip).fill(directory)
    tags = {
        274: image.orientation,
        **facts,
        **frame_tags(image.crop, image.pixel_aspect),
        **({NOISE_PROFILE: noise} if noise else {}),
        **({XMP_TAG: build(kept)} if kept else {}),
    }
    content = build_dng(pixels, tags, directory, told)
    write_whole(path, lambda file: file.write(content), overwrite)
