"""Damage that makes a RAW useless, which is refused, and damage that leaves a part of the picture, which is noted."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lwisp.errors import DamagedError
from lwisp.files import damage
from lwisp.files.libraw import Opened

NO_PICTURE = 0.99  # of the photosites with one value


def check_tiles(file: Opened) -> damage.Tiles:
    """The tiles of a mosaic. Raises `InputError` where some hold nothing: LibRaw would leave other memory there."""
    with file.open() as content:
        tiles = damage.read_tiles(content, file.directories)
    if tiles.broken:
        why = "cut short" if tiles.missing else "overwritten"
        lost = f"{tiles.broken} of the {tiles.count} tiles of its picture are lost"
        raise DamagedError(f"{file.name}: a damaged file, {why}: {lost}; copy it again")
    return tiles


def check_levels(name: str, black: Sequence[float], white: Sequence[float]) -> None:
    """Raise `InputError` where a white level is not above its black level."""
    if not all(low < high for low, high in zip(black, white, strict=True)):
        raise DamagedError(f"{name}: white level {white} not above black level {black}; the file's levels are damaged")


def check_light(name: str, is_lit: bool, black: float) -> None:
    """Raise `InputError` where nothing is above black."""
    if not is_lit:
        raise DamagedError(f"{name}: no light in it: no photosite is above the black level of {black:g}")


def check_picture(
    name: str,
    mosaic: NDArray[np.uint16],
    is_lit: bool,
    black: Sequence[float],
    white: float,
    edges: Sequence[int],
    notes: list[str],
) -> None:
    """Note what damage shows in a mosaic; raise `InputError` where no picture is in it.

    Args:
        name: What messages call the file.
        mosaic: (H, W) in DN, or one channel of a picture.
        is_lit: Whether anything is above black.
        black: Black levels in DN.
        white: White level in DN.
        edges: Columns where tiles begin.
        notes: Gets sentences about damage.
    """
    if damage.is_constant(mosaic):
        raise DamagedError(
            f"{name}: no picture in it: all photosites hold {mosaic[0, 0]}; the file is damaged or empty"
        )
    check_light(name, is_lit, min(black))
    lost, dark = damage.shares_constant(mosaic, black, white, edges)
    value = mosaic[len(mosaic) // 2, 0]
    if lost + dark > NO_PICTURE and float((mosaic == value).mean()) > NO_PICTURE:
        raise DamagedError(
            f"{name}: no picture in it: nearly all photosites hold {value}; the file is damaged or empty"
        )
    if lost:
        notes.append(f"the file is damaged: {_percent(lost)} of the photosites lie in bands of one value")
    if dark:
        notes.append(
            f"{_percent(dark)} of the photosites lie in bands of black: no light fell there, or the file is damaged"
        )
    strange = damage.share_above_white(mosaic, white)
    if strange:
        notes.append(f"the file is damaged: {_percent(strange)} of the photosites lie far above its white level")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"
