"""Framing of a developed picture: the camera's crop, and square pixels."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lwisp.imaging.pixels import to_integer

CropBox = tuple[int, int, int, int]
"""Top, left, height, width in photosites of the visible area, as the mosaic is stored."""

Crop = Literal["camera", "none"]
"""What is shown: what the camera's own pictures show, or all photosites of the visible area."""

CROPS: tuple[Crop, ...] = ("camera", "none")

MAX_ASPECT = 4.0
"""Pixels of more than this, or less than its reciprocal, are taken for a damaged value: no camera has them."""


def square_size(height: int, width: int, pixel_aspect: float) -> tuple[int, int]:
    """(height, width) of a picture whose pixels are made square; the side that is too short grows.

    Args:
        height: Rows.
        width: Columns.
        pixel_aspect: Width of a pixel over its height.
    """
    if pixel_aspect < 1:
        return round(height / pixel_aspect), width
    return height, round(width * pixel_aspect)


def frame_picture(picture: NDArray[Any], crop: CropBox | None, pixel_aspect: float = 1.0) -> NDArray[Any]:
    """A picture of all visible photosites as it is shown: cropped, with square pixels.

    Args:
        picture: (H, W, 3), oriented as the mosaic is stored: floats in [0, 1], or uint8 or uint16 over their range.
        crop: What is shown; None for all.
        pixel_aspect: Width of a photosite over its height.

    Returns:
        (h, w, 3) of the same type: the picture itself, a view of it, or, where pixels are not square, a new one.
    """
    if crop is not None:
        top, left, height, width = crop
        picture = picture[top : top + height, left : left + width]
    if pixel_aspect == 1:
        return picture
    return _resize(picture, square_size(picture.shape[0], picture.shape[1], pixel_aspect))


def _resize(picture: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """A picture (H, W, 3) in another size (height, width), by Lanczos' filter in float32."""
    top = 1 if np.issubdtype(picture.dtype, np.floating) else np.iinfo(picture.dtype).max
    resized = np.empty((*size, 3), picture.dtype)
    for channel in range(3):
        plane = picture[..., channel].astype(np.float32) / np.float32(top)
        values = np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.LANCZOS))
        values = values.clip(0, 1)  # the filter overshoots at edges
        resized[..., channel] = values if top == 1 else to_integer(values, 8 if top == 255 else 16)
    return resized
