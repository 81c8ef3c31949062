"""The camera's own picture of a RAW: the JPEG beside or inside it, as sRGB without black bars."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lwisp.camera.pairs import PICTURE_FORMATS, Pair
from lwisp.camera.settings import PairLimits
from lwisp.errors import InputError
from lwisp.files.decoding import opened
from lwisp.files.exif import EXIF_IFD
from lwisp.files.icc import to_srgb
from lwisp.files.raw import RawImage
from lwisp.imaging import color, matrices

INTEROPERABILITY_IFD = 0xA005
ADOBE_GAMMA = 2.19921875
ADOBE_TO_XYZ = np.array(
    [[0.5766690, 0.1855582, 0.1882286], [0.2973450, 0.6273636, 0.0752915], [0.0270314, 0.0706889, 0.9913375]],
    np.float32,
)
"""Adobe RGB (1998), section 4.3.5; D65."""
P3_TO_XYZ = np.array(
    [[0.4865709, 0.2656677, 0.1982173], [0.2289746, 0.6917385, 0.0792869], [0.0000000, 0.0451134, 1.0439444]],
    np.float32,
)
"""Display P3: SMPTE EG 432-1 primaries, D65."""
HEIF_PRIMARIES = {9: matrices.CANONICAL_TO_XYZ, 12: P3_TO_XYZ}
"""Wide color primaries of ITU-T H.273, by which a HEIF file without a profile may be coded."""
BAR = 24
"""Of 255: the brightest green value in a black bar; JPEG leaves some beside bright content."""


def read_target(pair: Pair, raw: RawImage, limits: PairLimits = PairLimits()) -> NDArray[np.uint8]:
    """The pair's JPEG in sRGB, oriented as in its file; of HEIF, oriented as its decoder gives it.

    Args:
        pair: RAW and JPEG, or HEIF; without a JPEG file, the one embedded in the RAW is read.
        raw: The pair's RAW, decoded.
        limits: The shortest side that is accepted.

    Returns:
        (h, w, 3), black bars cropped.

    Raises:
        InputError: There is no JPEG, it cannot be decoded, or JPEG or RAW is too small.
    """
    if pair.jpeg is None and raw.jpeg is None:
        raise InputError(f"{pair.raw}: no JPEG beside this RAW, and none inside")
    with opened(pair.jpeg or raw.jpeg or b"", pair.jpeg_name, formats=PICTURE_FORMATS) as picture:
        profile = picture.info.get("icc_profile")
        coded = None if profile else _coding(picture)
        rgb = picture.convert("RGB")
        if profile:
            rgb = to_srgb(rgb, profile)
        whole_picture = np.array(rgb)
    target = _without_bars(whole_picture)
    _check_size(pair.jpeg_name, target.shape, limits)
    _check_size(f"{pair.raw}: the RAW", raw.mosaic.shape, limits)
    return target if coded is None else _to_srgb(target, *coded)


def _check_size(what: str, shape: tuple[int, ...], limits: PairLimits) -> None:
    height, width = shape[:2]
    if min(height, width) < limits.min_side:
        raise InputError(f"{what} has {height}x{width} px only; expected {limits.min_side} a side at least")


def _without_bars(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture cropped to what lies between black bars, which fill small 4:3 JPEGs of 3:2 frames."""
    for _ in range(2):  # rows, then columns
        bright = np.nonzero(rgb[..., 1].max(1) > BAR)[0]
        if len(bright) and bright[0] > 1 and len(rgb) - 1 - bright[-1] > 1:
            rgb = rgb[bright[0] + 2 : bright[-1] - 1]  # lines next to a bar hold some of it
        rgb = rgb.swapaxes(0, 1)
    return rgb


def _coding(picture: Image.Image) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Of a picture without a profile that is not sRGB: linear values of its 256 codes, and its matrix to XYZ."""
    codes = np.arange(256) / 255
    if _is_adobe_rgb(picture.getexif()):
        return (codes**ADOBE_GAMMA).astype(np.float32), ADOBE_TO_XYZ
    primaries = HEIF_PRIMARIES.get(picture.info.get("nclx_profile", {}).get("color_primaries"))
    return None if primaries is None else (color.srgb_decode(torch.from_numpy(codes).float()).numpy(), primaries)


def _is_adobe_rgb(tags: Image.Exif) -> bool:
    """By the rules of camera files (DCF 2.0): cameras say so in a tag and embed no profile."""
    return tags.get_ifd(INTEROPERABILITY_IFD).get(1) == "R03" or tags.get_ifd(EXIF_IFD).get(40961) == 2


def _to_srgb(rgb: NDArray[np.uint8], decode: NDArray[np.float32], to_xyz: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Convert (..., 3) to sRGB, coded as `_coding` tells; what lies outside sRGB is clipped."""
    steps = np.arange(65536, dtype=np.float32) / 65535
    encode = np.rint(color.srgb_encode(torch.from_numpy(steps)).numpy() * 255).astype(np.uint8)
    matrix = np.linalg.inv(matrices.SRGB_TO_XYZ) @ to_xyz
    linear = decode[rgb] @ matrix.T
    converted: NDArray[np.uint8] = encode[(linear.clip(0, 1) * 65535).astype(np.uint16)]
    return converted
