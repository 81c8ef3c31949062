"""When and with what a photo was taken, read from its tags alone."""

import contextlib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image

from lwisp.errors import InputError
from lwisp.files.decoding import HEADS, opened, read_tags
from lwisp.files.exif import EXIF_IFD, read_tiff
from lwisp.files.raw import camera_name, read_preview
from lwisp.files.writing import is_regular

TIMES = (36867, 36868)
"""EXIF's DateTimeOriginal and DateTimeDigitized."""
DATE_TIME = 306


@dataclass(frozen=True)
class Shot:
    """What the tags of a photo tell."""

    taken: datetime | None = None
    """Local time of the camera."""
    camera: str = "unknown"
    """Make and model."""
    iso: int = 0
    """0 where it is not told."""
    exif: Image.Exif = field(default_factory=Image.Exif)
    """All tags."""


def read_shot(path: Path) -> Shot:
    """When and with what a photo was taken; nothing of a file that cannot be read, which is said when it is worked on.

    Args:
        path: A RAW, or a JPEG, PNG or TIFF.

    Returns:
        What its tags tell.
    """
    try:
        if not is_regular(path):
            return Shot()
        with path.open("rb") as file:
            head = file.read(16)
            tags = read_tiff(file)
        if head.startswith((*HEADS["JPEG"], *HEADS["PNG"])):
            with opened(path) as picture:
                tags = read_tags(picture)
    except (InputError, OSError):
        return Shot()
    shot = shot_of(tags)
    if shot.taken is None or not shot.iso:  # then LibRaw may tell
        with contextlib.suppress(InputError, OSError):
            return shot_of(read_preview(path)[0])
    return shot


def shot_of(tags: Image.Exif) -> Shot:
    """The same of tags that are read already.

    Args:
        tags: All tags of a photo.

    Returns:
        What they tell.
    """
    photo = tags.get_ifd(EXIF_IFD)
    speed = photo.get(34855)
    speed = speed[0] if isinstance(speed, tuple) and speed else speed
    return Shot(time_of(tags, photo), camera_name(tags), speed if isinstance(speed, int) else 0, tags)


def time_of(tags: Image.Exif, photo: dict[int, Any]) -> datetime | None:
    """When a photo was taken, by the tags that tell: DateTimeOriginal, DateTimeDigitized, DateTime.

    Args:
        tags: The main directory.
        photo: The photo directory.

    Returns:
        Local time of the camera; None where no tag tells it.
    """
    for value in (*(photo.get(tag) for tag in TIMES), tags.get(DATE_TIME)):
        try:
            return datetime.strptime(str(value).strip("\0 "), "%Y:%m:%d %H:%M:%S")
        except ValueError:
            continue
    return None
