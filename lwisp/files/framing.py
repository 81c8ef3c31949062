"""What a RAW says of its frame: the camera's crop, and the shape of its pixels."""

import math
from typing import Any

from lwisp.files.dng_tags import main_directory
from lwisp.files.libraw import Opened
from lwisp.imaging.framing import MAX_ASPECT, CropBox

DEFAULT_SCALE, CROP_ORIGIN, CROP_SIZE, ACTIVE_AREA = 50718, 50719, 50720, 50829  # DNG's tags


def read_crop(file: Opened, notes: list[str]) -> CropBox | None:
    """The part of the visible area that the camera's own pictures show.

    A DNG's own tags are read, for LibRaw moves a crop to even rows and columns; of other files LibRaw knows it.

    Args:
        file: The RAW.
        notes: Gets a sentence where a crop lies outside of the picture.

    Returns:
        The crop, within the visible area; None where that is all of it, or not known.
    """
    sizes = file.libraw.sizes
    found = _dng_crop(file)
    if found is None and sizes.crop_width and sizes.crop_height:
        found = sizes.crop_top_margin, sizes.crop_left_margin, sizes.crop_height, sizes.crop_width
    if found is None:
        return None
    top = max(found[0] - sizes.top_margin, 0)
    left = max(found[1] - sizes.left_margin, 0)
    bottom = min(found[0] + found[2] - sizes.top_margin, sizes.height)
    right = min(found[1] + found[3] - sizes.left_margin, sizes.width)
    if bottom - top < 2 or right - left < 2:
        notes.append("the file's crop lies outside of its picture: all of it is shown")
        return None
    crop = top, left, bottom - top, right - left
    return None if crop == (0, 0, sizes.height, sizes.width) else crop


def read_pixel_aspect(file: Opened, notes: list[str]) -> float:
    """Width over height of the area that a photosite stands for; 1 for squares.

    Args:
        file: The RAW.
        notes: Gets a sentence where the file's value cannot be true.
    """
    aspect = float(file.libraw.sizes.pixel_aspect)
    if not 1 / MAX_ASPECT <= aspect <= MAX_ASPECT:  # written so that NaN fails too
        notes.append(f"the file says that its pixels are {aspect:g} times as wide as high: taken as square")
        return 1.0
    return aspect


def _dng_crop(file: Opened) -> CropBox | None:
    """A DNG's crop in photosites of the whole sensor; None of other files, and where the tags are not sound."""
    tags = main_directory(file.directories)
    active = _whole_numbers(tags.get(ACTIVE_AREA), 4) or [0, 0]
    origin = _whole_numbers(tags.get(CROP_ORIGIN), 2)
    size = _whole_numbers(tags.get(CROP_SIZE), 2)
    return (active[0] + origin[1], active[1] + origin[0], size[1], size[0]) if origin and size else None


def _whole_numbers(values: Any, count: int) -> list[int]:
    """The nearest whole numbers of a tag's values; empty where there are not so many, or one of them is none."""
    if not isinstance(values, tuple) or len(values) != count:
        return []
    numbers = [float(value) for value in values]
    return [math.floor(value + 0.5) for value in numbers] if all(map(math.isfinite, numbers)) else []
