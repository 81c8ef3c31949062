"""Photosites of files that hold nothing else: PNG, TIFF, NumPy, and packed bits without a header."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lwisp.errors import InputError, NotFoundError, UnsupportedError, one_line, unreadable
from lwisp.files.decoding import opened
from lwisp.files.sensor import Sensor
from lwisp.files.writing import is_regular
from lwisp.imaging.packing import row_bytes, unpack_bits

NUMPY_HEAD = b"\x93NUMPY"


def read_photosites(path: Path, sensor: Sensor, max_pixels: float) -> NDArray[np.uint16]:
    """The mosaic (H, W) in DN of a file that holds nothing else.

    Args:
        path: A 16-bit grayscale PNG or TIFF, a NumPy file of integers, or, where the sensor has a packing, its bits.
        sensor: Packing and size of files without a header.
        max_pixels: A mosaic of more is refused before it is decoded.

    Raises:
        InputError: The file is no such mosaic, or not of the size that is told.
    """
    if sensor.packing is not None:
        mosaic = _read_packed(path, sensor, max_pixels)
    elif _begins(path, NUMPY_HEAD):
        mosaic = _read_numpy(path, max_pixels)
    else:
        with opened(path, max_pixels=max_pixels, formats=("PNG", "TIFF")) as picture:
            if picture.mode not in ("I;16", "I;16B", "I;16L", "I"):
                raise InputError(f"{path}: expected a grayscale mosaic of 16 bits, got mode {picture.mode}")
            values = np.array(picture)
        mosaic = _to_mosaic(path, values)
    told = sensor.height or mosaic.shape[0], sensor.width or mosaic.shape[1]
    if told != mosaic.shape:
        sizes = ["x".join(map(str, size)) for size in (told, mosaic.shape)]
        raise InputError(f"{path}: expected {sizes[0]} photosites (height x width), as told, got {sizes[1]}")
    return mosaic


def _begins(path: Path, head: bytes) -> bool:
    if not is_regular(path):
        return False  # what it is instead is said where it is opened
    try:
        with path.open("rb") as file:
            return file.read(len(head)) == head
    except OSError as error:
        raise unreadable(path, error) from error


def _read_numpy(path: Path, max_pixels: float) -> NDArray[np.uint16]:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # of a damaged header numpy and Python's parser raise many kinds
        raise InputError(f"{path}: cannot be read as a NumPy file: {one_line(error)}") from error
    if values.ndim != 2 or values.dtype.kind not in "iu":
        raise InputError(f"{path}: expected integers (height, width), got {values.dtype} of shape {values.shape}")
    if not values.size <= max_pixels:
        raise UnsupportedError(
            f"{path}: {values.shape[0]}x{values.shape[1]} photosites, more than the {max_pixels / 1e6:.0f} MP that are "
            "read at most; allow more by --max-pixels"
        )
    return _to_mosaic(path, np.asarray(values))


def _to_mosaic(path: Path, values: NDArray[np.generic]) -> NDArray[np.uint16]:
    mosaic = values.astype(np.uint16)
    if mosaic.ndim != 2 or min(mosaic.shape) < 2 or not np.array_equal(mosaic, values):
        raise InputError(f"{path}: expected 2x2 photosites or more of 0 to 65535, got {values.shape} of {values.dtype}")
    return mosaic


def _read_packed(path: Path, sensor: Sensor, max_pixels: float) -> NDArray[np.uint16]:
    packing, width, height = sensor.packing, sensor.width, sensor.height
    if packing is None or width is None or height is None:
        raise InputError(f"{path}: a file packed as {packing} has no header; its width and height must be told")
    if not width * height <= max_pixels:
        raise UnsupportedError(
            f"{path}: {height}x{width} photosites, more than the {max_pixels / 1e6:.0f} MP that are read at most; "
            "allow more by --max-pixels"
        )
    used = row_bytes(packing, width)
    stride = sensor.stride or used
    if stride < used:
        raise InputError(f"{path}: a stride of {stride} bytes is less than a row of {width} photosites, {used} bytes")
    if not is_regular(path):
        raise NotFoundError(f"{path}: expected a file of packed photosites; there is no such file")
    try:
        size = path.stat().st_size
        allowed = {stride * height, stride * (height - 1) + used}  # the last row may end without its padding
        if size not in allowed:
            raise InputError(
                f"{path}: expected {stride * height:,} bytes for {height} rows of {width} photosites in {packing} at "
                f"{stride:,} bytes a row, got {size:,}; check packing, width, height and stride"
            )
        data = np.zeros(stride * height, np.uint8)
        content = np.fromfile(path, np.uint8, size)
    except OSError as error:
        raise unreadable(path, error) from error
    data[: len(content)] = content
    return unpack_bits(data.reshape(height, stride)[:, :used], packing, width)
