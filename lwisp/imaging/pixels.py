"""Pixels of finished pictures: turned by EXIF's orientation, and as the integers that files hold."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


def orient(rgb: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn (H, W, ...) upright by EXIF's orientation 1 to 8."""
    if orientation not in range(1, 9):
        raise ValueError(f"expected an orientation of 1 to 8, got {orientation}")
    if orientation in (2, 3, 7, 8):
        rgb = rgb[:, ::-1]
    if orientation in (3, 4, 6, 7):
        rgb = rgb[::-1]
    return np.ascontiguousarray(rgb.swapaxes(0, 1) if orientation >= 5 else rgb)


def unorient(upright: NDArray[Any], orientation: int) -> NDArray[Any]:
    """An upright picture (H, W, ...) as the sensor saw it, which `orient` would turn upright; a view, to be filled."""
    view = upright.swapaxes(0, 1) if orientation >= 5 else upright
    if orientation in (2, 3, 7, 8):
        view = view[:, ::-1]
    return view[::-1] if orientation in (3, 4, 6, 7) else view


def to_integer(rgb: NDArray[Any], bits: Literal[8, 16]) -> NDArray[Any]:
    """[0, 1] -> 0 to 255 (uint8) or 0 to 65535 (uint16), rounded, clipped; these integers stay as they are."""
    top = 2**bits - 1
    if rgb.dtype == f"uint{bits}":
        return rgb
    if not np.issubdtype(rgb.dtype, np.floating):
        raise ValueError(f"expected a picture of floats or uint{bits}, got {rgb.dtype}")
    scaled = rgb * np.float32(top)
    np.add(scaled, np.float32(0.5), out=scaled)
    return np.clip(scaled, 0, top, out=scaled).astype(np.uint8 if bits == 8 else np.uint16)
