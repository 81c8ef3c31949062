"""ICC profiles of pictures: sRGB, and from others to it."""

import io
import struct
from functools import cache

from PIL import Image, ImageCms


@cache
def srgb_profile() -> bytes:
    """LittleCMS's sRGB profile, its date set still so that equal pictures are equal files."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2022, 1, 1, 0, 0, 0)
    return bytes(profile)


def is_srgb(profile: bytes) -> bool:
    """Whether an ICC profile says that it is sRGB."""
    try:
        return "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError):
        return False


def to_srgb(rgb: Image.Image, profile: bytes) -> Image.Image:
    """An RGB picture converted from its ICC profile to sRGB.

    Args:
        rgb: The picture, of mode "RGB".
        profile: Content of the ICC profile.

    Returns:
        The picture in sRGB; `rgb` itself where the profile is damaged or not one for RGB.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(rgb, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return rgb  # a profile that is not for RGB, or damaged: the pixels as they are
    return converted or rgb
