"""What is read, as plain bytes: JSON and the contents of arrays. Nothing that comes back can run code."""

import io
import json
import struct
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from lwisp.files.exif import EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD
from lwisp.files.linear import LinearImage
from lwisp.files.pictures import Picture
from lwisp.files.raw import RawImage
from lwisp.files.sensor import Sensor
from lwisp.files.shots import Shot
from lwisp.imaging.camera_color import Calibration, CameraColor
from lwisp.imaging.shading_maps import Frame, GainMap, RadialGain

CLASSES: Mapping[str, Any] = {
    kind.__name__: kind
    for kind in (RawImage, LinearImage, Picture, Shot, Sensor, CameraColor, Calibration, Frame, GainMap, RadialGain)
}
"""Those that may come back."""
DIRECTORIES = (INTEROPERABILITY_IFD, GPS_IFD, EXIF_IFD)
MOST_DIMENSIONS = 4
MOST_HEAD = 64 * 2**20
"""Bytes of JSON, which takes many times as much memory once it is parsed."""
MOST_BLOBS = 2**20
MOST_KEY = 2**32
"""Bound of a key that is a number; larger ones can be chosen to collide, so that finding each takes all others."""
MOST_RATIONAL = 2**64
"""Bound of a rational's parts, which a tag's 32 bits are far below; a few letters could name a number without end."""


def write(file: BinaryIO, value: object) -> None:
    """Write a value: photos and what they hold, arrays, tags, texts, numbers, and lists of them.

    Args:
        file: A binary file.
        value: The value.

    Raises:
        TypeError: It holds something else.
    """
    blobs: list[bytes | memoryview] = []
    head = json.dumps(_plain(value, blobs)).encode()
    lengths = [len(head), *(memoryview(blob).nbytes for blob in blobs)]
    file.write(struct.pack(f"<Q{len(lengths)}Q", len(blobs), *lengths) + head)
    for blob in blobs:
        file.write(blob)


def read(content: bytes | memoryview) -> Any:
    """The value that `write` wrote.

    Args:
        content: What was written.

    Raises:
        ValueError: It is nothing of that kind, as a process that was taken over may give it.
    """
    try:
        view = memoryview(content)
        (count,) = struct.unpack_from("<Q", view)
        place = 16 + 8 * count
        if count > MOST_BLOBS:
            raise ValueError(f"{count} blobs")
        length, *lengths = struct.unpack_from(f"<{count + 1}Q", view, 8)
        if length > MOST_HEAD:
            raise ValueError(f"a head of {length} bytes")
        head, place = bytes(view[place : place + length]), place + length
        blobs: dict[int, memoryview] = {}
        for index, size in enumerate(lengths):
            blobs[index] = view[place : place + size]
            place += size
        return _value(json.loads(head), blobs)
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
        struct.error,
    ) as error:
        raise ValueError("not what was written") from error


def _plain(value: object, blobs: list[bytes | memoryview]) -> Any:
    """A value as JSON has it: [kind, content]; bytes and arrays go into blobs."""
    match value:
        case None | bool() | str():
            return value
        case np.generic():
            return _plain(value.item(), blobs)
        case int() | float() if type(value) in (int, float):
            return value
        case bytes():
            blobs.append(value)
            return ["bytes", len(blobs) - 1]
        case Path():
            return ["path", str(value)]
        case IFDRational():
            return ["rational", [value.numerator, value.denominator]]
        case datetime():
            return ["time", value.isoformat()]
        case np.ndarray():
            blobs.append(np.ascontiguousarray(value).data.cast("B") if value.size else b"")
            return ["array", [value.dtype.str, list(value.shape), len(blobs) - 1]]
        case tuple() | list():
            return ["tuple" if isinstance(value, tuple) else "list", [_plain(part, blobs) for part in value]]
        case Image.Exif():
            parts = [_plain(dict(value.get_ifd(place)), blobs) for place in DIRECTORIES]
            return ["exif", [value.endian, _plain(dict(value), blobs), *parts]]
        case Mapping():
            return ["dict", [[_plain(key, blobs), _plain(part, blobs)] for key, part in value.items()]]
        case _ if is_dataclass(value) and CLASSES.get(type(value).__name__) is type(value):
            told = {field.name: _plain(getattr(value, field.name), blobs) for field in fields(value) if field.init}
            return ["class", [type(value).__name__, told]]
    raise TypeError(f"{type(value).__name__} cannot be written")


def _value(plain: Any, blobs: dict[int, memoryview]) -> Any:
    """The value; each blob is taken once, or a short result could copy a long one without end."""
    if not isinstance(plain, list):
        return plain
    kind, content = plain
    match kind:
        case "bytes":
            return bytes(blobs.pop(content))
        case "path":
            return Path(content)
        case "rational":
            return _rational(content)
        case "time":
            return datetime.fromisoformat(content)
        case "array":
            return _array(content, blobs)
        case "tuple":
            return tuple(_value(part, blobs) for part in content)
        case "list":
            return [_value(part, blobs) for part in content]
        case "dict":
            return {_key(key): _value(part, blobs) for key, part in content}
        case "exif":
            return _exif(content, blobs)
        case "class":
            name, told = content
            return CLASSES[name](**{field: _value(part, blobs) for field, part in told.items()})
    raise ValueError(kind)


def _key(plain: Any) -> str | int:
    if type(plain) is not str and not (type(plain) is int and abs(plain) < MOST_KEY):
        raise ValueError("no key")
    return plain


def _rational(content: Any) -> IFDRational:
    numerator, denominator = content
    if not all(type(part) is int and abs(part) < MOST_RATIONAL for part in (numerator, denominator)):
        raise ValueError("no rational")
    return IFDRational(numerator, denominator)


def _array(content: Any, blobs: dict[int, memoryview]) -> Any:
    name, shape, index = content
    kind = np.dtype(name)
    if kind.kind not in "uifb" or len(shape) > MOST_DIMENSIONS:
        raise ValueError(name)
    return np.frombuffer(bytearray(blobs.pop(index)), kind).reshape(shape)  # which may be written to, as any photo's


def _exif(content: Any, blobs: dict[int, memoryview]) -> Image.Exif:
    order, main, *parts = content
    exif = Image.Exif()
    exif.endian = order
    for place, part in zip(
        DIRECTORIES, parts, strict=True
    ):  # before their places are known, or Pillow looks for a file
        exif.get_ifd(place).update(_value(part, blobs))
    for tag, value in _value(main, blobs).items():
        exif[tag] = value
    return exif


def to_bytes(value: object) -> bytes:
    """A value as `write` writes it."""
    file = io.BytesIO()
    write(file, value)
    return file.getvalue()
