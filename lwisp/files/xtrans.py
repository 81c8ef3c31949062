"""X-Trans mosaics demosaiced by LibRaw: Markesteijn's method, in three passes."""

import io
from typing import BinaryIO, cast

import numpy as np
import rawpy
from numpy.typing import NDArray

from lwisp.files.dng_content import build_dng, color_tags, mosaic_tags
from lwisp.imaging.patterns import Pattern, mirror

LEAST = 512
"""Rows and columns that LibRaw demands of an X-Trans mosaic."""
MARGIN = 12
"""Photosites at the border that LibRaw fills in by simpler means."""


def demosaic_xtrans(mosaic: NDArray[np.uint16], pattern: Pattern, cam2rgb: NDArray[np.float32]) -> NDArray[np.uint16]:
    """An X-Trans mosaic demosaiced, of any size and up to its border.

    The method compares colors in CIE L*a*b*: they come out best where gray has equal values, of a known matrix.

    Args:
        mosaic: (H, W), linear, 6x6 or more.
        pattern: Its pattern, one of `patterns.is_xtrans`.
        cam2rgb: (3, 3), its RGB to canonical RGB.

    Returns:
        (H, W, 3) of the same scale; photosites keep the value of their color.

    Raises:
        rawpy.LibRawError: LibRaw did not do it.
    """
    height, width = mosaic.shape
    larger, top, left = mirror(mosaic, pattern, MARGIN, LEAST)
    content = build_dng(larger, mosaic_tags(pattern, [0], 65535) | color_tags(cam2rgb, (1.0, 1.0, 1.0)))
    with rawpy.RawPy() as raw:
        raw.open_buffer(cast(BinaryIO, io.BytesIO(content)))
        picture = raw.postprocess(
            demosaic_algorithm=rawpy.DemosaicAlgorithm.AHD,  # LibRaw's word for three passes
            output_color=rawpy.ColorSpace.raw,
            gamma=(1, 1),
            no_auto_bright=True,
            no_auto_scale=True,
            user_wb=[1, 1, 1, 1],
            user_flip=0,
            output_bps=16,
        )
    return cast(NDArray[np.uint16], np.ascontiguousarray(picture[top : top + height, left : left + width]))
