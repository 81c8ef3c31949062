"""Framing of a developed picture: the camera's crop, and square pixels."""

from typing import Any, Literal

from numpy.typing import NDArray

from lwisp.imaging.pixels import resize

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
    return resize(picture, square_size(picture.shape[0], picture.shape[1], pixel_aspect))
