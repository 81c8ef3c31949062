"""What a camera's file says beside its pixels: the facts that `RawImage` and `LinearImage` share."""

from typing import Any

import numpy as np
import rawpy
from numpy.typing import NDArray
from PIL import Image

from lwisp.files import exif
from lwisp.files.completion import complete
from lwisp.files.cr3 import read_cr3
from lwisp.files.dng_tags import LightTags, read_light
from lwisp.files.exif import EXIF_IFD
from lwisp.files.framing import read_crop, read_pixel_aspect
from lwisp.files.libraw import Opened
from lwisp.files.properties import of_raw
from lwisp.files.sources import Source
from lwisp.imaging import matrices
from lwisp.imaging.camera_color import Calibration, CameraColor, Gains

FLIP_TO_ORIENTATION = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}
"""LibRaw's flip (bit 0 mirrors left-right, 1 top-bottom, 2 transposes, in that order) to EXIF's orientation."""

NO_AS_SHOT = "the file has no as-shot white balance"
DAYLIGHT = 6504.0  # kelvin: D65, the light of LibRaw's tables


def describe(file: Opened, source: Source, jpeg: bytes | None, tags: Image.Exif, notes: list[str]) -> dict[str, Any]:
    """The fields of these names in `RawImage` and `LinearImage`, which every kind of RAW has.

    Args:
        file: The RAW.
        source: The same as it was given.
        jpeg: Its embedded JPEG.
        tags: Its tags.
        notes: Gets sentences about what cannot be true.
    """
    properties = of_raw(tags, source, notes)
    crop = read_crop(file, notes)
    return {
        "orientation": FLIP_TO_ORIENTATION.get(file.libraw.sizes.flip, 1),
        "crop": crop,
        "pixel_aspect": read_pixel_aspect(file, notes),
        "make": text_of(tags, 271),
        "model": text_of(tags, 272),
        "jpeg": jpeg,
        "exif": tags,
        "properties": properties,
    }


def read_light_of(file: Opened) -> LightTags:
    """What a DNG says about light, its positions relative to the visible area."""
    sizes = file.libraw.sizes
    shape = file.libraw.raw_image_visible.shape
    return read_light(file.directories, (shape[0], shape[1]), (sizes.top_margin, sizes.left_margin))


def as_shot_gains(raw: rawpy.RawPy, light: LightTags) -> Gains | None:
    """The as-shot gains, G = 1; None where the file has none that can be used."""
    red, green, blue = np.asarray(raw.camera_whitebalance[:3], np.float64).tolist()
    if light.as_shot is not None:
        return light.as_shot
    if min(red, green, blue) > 0 and np.isfinite([red, green, blue]).all():
        return red / green, 1.0, blue / green
    return None


def find_color(raw: rawpy.RawPy, light: LightTags, notes: list[str]) -> tuple[CameraColor | None, NDArray[np.float32]]:
    """What is known of the camera's color, and the matrix that does not follow the light."""
    if light.color is not None and light.has_chromaticity:  # LibRaw would have the light in its matrix
        return light.color, light.color.fixed
    cam2rgb = _cam2rgb(raw, notes)
    return light.color or _color_by_daylight(raw, cam2rgb), cam2rgb


def _color_by_daylight(raw: rawpy.RawPy, cam2rgb: NDArray[np.float32]) -> CameraColor | None:
    """The camera's color from LibRaw's table, or from its gains for daylight; None where it knows neither."""
    table = np.asarray(raw.rgb_xyz_matrix, np.float64)[:3]
    daylight = np.asarray(raw.daylight_whitebalance[:3], np.float64)
    has_matrix = not np.array_equal(cam2rgb, np.eye(3))
    try:
        if np.isfinite(table).all() and table.any():
            return CameraColor(Calibration(DAYLIGHT, table))
        if has_matrix and np.isfinite(daylight).all() and daylight.min() > 0:
            rgb2cam = np.linalg.inv(cam2rgb.astype(np.float64)) @ np.linalg.inv(matrices.CANONICAL_TO_XYZ)
            return CameraColor(Calibration(DAYLIGHT, np.diag(daylight[1] / daylight) @ rgb2cam))
    except ValueError:
        return None
    return None


def _cam2rgb(raw: rawpy.RawPy, notes: list[str]) -> NDArray[np.float32]:
    """LibRaw fills `color_matrix` from the file (camera -> sRGB) or `rgb_xyz_matrix` (XYZ -> camera), or neither."""
    from_file = np.asarray(raw.color_matrix, np.float32)[:, :3]
    from_table = np.asarray(raw.rgb_xyz_matrix, np.float32)[:3]
    for matrix, convert in ((from_file, matrices.cam2rgb_from_srgb), (from_table, matrices.cam2rgb_from_xyz)):
        if np.isfinite(matrix).all() and abs(np.linalg.det(matrix.astype(np.float64))) > 1e-4:
            try:
                cam2rgb = convert(matrix)
            except ValueError:  # rows that sum to zero, a matrix without inverse
                continue
            if np.abs(cam2rgb).max() < 10:
                return cam2rgb
    notes.append("no color matrix for this camera: its colors are taken as they are")
    return np.eye(3, dtype=np.float32)


def embedded_jpeg(raw: rawpy.RawPy) -> bytes | None:
    """The largest embedded JPEG; None where there is none."""
    try:
        thumb = raw.extract_thumb()
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError, rawpy.LibRawIOError):
        return None
    return bytes(thumb.data) if thumb.format == rawpy.ThumbFormat.JPEG else None


def read_tags(file: Opened, jpeg: bytes | None) -> Image.Exif:
    """The tags of a TIFF-like RAW or a CR3, else those of its embedded JPEG, with what others tell."""
    with file.open() as content:
        tags = exif.read_tiff(content)
        tags = tags if tags or tags.get_ifd(EXIF_IFD) else read_cr3(content)
        content.seek(0)
        head = content.read(16)
    tags = tags if tags or tags.get_ifd(EXIF_IFD) else exif.read_jpeg(jpeg or b"")
    complete(tags, file.libraw, head)
    return tags


def text_of(tags: Image.Exif, tag: int) -> str:
    """A tag's text; "unknown" where it has none."""
    value = tags.get(tag)
    return value.strip(" \0") or "unknown" if isinstance(value, str) else "unknown"
