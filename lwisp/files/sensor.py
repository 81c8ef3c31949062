"""What is known of a sensor whose bare mosaics are read: from arguments, and from TOML files beside them."""

import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np

from lwisp.errors import InputError, check_choice, one_line
from lwisp.files.writing import is_regular, read_regular
from lwisp.imaging.bayer import CFA, CFAS
from lwisp.imaging.packing import PACKINGS, Packing

SENSOR_FILE = "sensor.toml"
MAX_SIDE = 2**16
MAX_BYTES = 2**20  # of a TOML file


@dataclass(frozen=True)
class Sensor:
    """Facts of a sensor; None where one is not told."""

    cfa: CFA | None = None
    """Pattern of the top-left 2x2."""
    black_level: tuple[float, ...] | None = None
    """DN, of the top-left 2x2 row by row."""
    white_level: float | None = None
    """DN."""
    white_balance: tuple[float, ...] | None = None
    """Gains that multiply R, G, B."""
    color_matrix: tuple[float, ...] | None = None
    """XYZ (D65) -> camera RGB, nine numbers row by row: DNG's ColorMatrix."""
    packing: Packing | None = None
    """Layout of a file without a header."""
    width: int | None = None
    """Photosites of a row of such a file."""
    height: int | None = None
    """Its rows."""
    stride: int | None = None
    """Its bytes from row to row; None where there is no padding."""
    orientation: int | None = None
    """EXIF's, 1 to 8."""

    def settings(self) -> dict[str, str]:
        """The facts that are told, as texts by the names of the command's options."""
        told: dict[str, str] = {}
        for fact in fields(self):
            value = getattr(self, fact.name)
            if value is not None:
                numbers = value if isinstance(value, tuple) else (value,)
                told[fact.name.replace("_", "-")] = ",".join(map(str, numbers))
        return told

    def over(self, other: "Sensor") -> "Sensor":
        """These facts, and those of another where one is not told here."""
        told = {fact.name: getattr(self, fact.name) for fact in fields(self) if getattr(self, fact.name) is not None}
        return Sensor(**{fact.name: getattr(other, fact.name) for fact in fields(self)} | told)


def find_sensor(path: Path) -> Sensor:
    """What the TOML files beside a mosaic tell of its sensor.

    Args:
        path: The mosaic, as IMG.raw; IMG.raw.toml and IMG.toml are for it alone, `SENSOR_FILE` for all of its folder.

    Raises:
        InputError: A TOML file cannot be read, or has a key or a value that makes no sense.
    """
    found = Sensor()
    for place in sensor_files(path):
        found = found.over(read_sensor(place))
    return found


def sensor_files(path: Path) -> list[Path]:
    """The TOML files for a mosaic that exist, the nearest first."""
    names = (f"{path.name}.toml", f"{path.stem}.toml", SENSOR_FILE)
    return [place for name in dict.fromkeys(names) if is_regular(place := path.parent / name)]


def read_sensor(path: Path) -> Sensor:
    """A sensor from a TOML file; its keys stand in docs/cameras.md.

    Args:
        path: The TOML file.

    Raises:
        InputError: It cannot be read, or has a key or a value that makes no sense.
    """
    try:
        content = read_regular(path)
        if len(content) > MAX_BYTES:
            raise InputError(f"{path}: expected the TOML of a sensor, got {len(content):,} bytes")
        table = tomllib.loads(content.decode())
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path}: cannot be read as TOML: {one_line(error)}") from error
    facts: dict[str, Any] = {}
    for key, value in table.items():
        if key not in KEYS:
            raise InputError(f"{path}: unknown key {key!r}; expected some of {', '.join(KEYS)}")
        name, read = KEYS[key]
        if name in facts:
            raise InputError(f"{path}: {name} is told twice, the second time by {key}")
        try:
            facts[name] = read(value)
        except (TypeError, ValueError, ArithmeticError, InputError) as error:
            raise InputError(f"{path}: {key}: {one_line(error)}") from error
    return Sensor(**facts)


def read_numbers(values: Any, counts: Sequence[int]) -> tuple[float, ...]:
    """Finite numbers of a number or a list, which may have lists in it.

    Args:
        values: What was given.
        counts: How many there may be.

    Raises:
        ValueError: There are others, or not so many.
    """
    flat = list(values) if isinstance(values, list | tuple) else [values]
    flat = [part for value in flat for part in (value if isinstance(value, list | tuple) else [value])]
    sound = all(isinstance(value, int | float) and not isinstance(value, bool) for value in flat)
    if not sound or len(flat) not in counts or not all(math.isfinite(value) for value in flat):
        raise ValueError(f"expected {' or '.join(map(str, counts))} numbers, got {str(values)[:60]}")
    return tuple(map(float, flat))


def read_black(values: Any) -> tuple[float, ...]:
    """Black levels of the top-left 2x2, from one or four numbers; raises `ValueError`."""
    numbers = read_numbers(values, (1, 4))
    return numbers * 4 if len(numbers) == 1 else numbers


def read_gains(values: Any) -> tuple[float, ...]:
    """White balance, G = 1, from three gains; raises `ValueError`."""
    gains = read_numbers(values, (3,))
    if min(gains) <= 0 or max(gains) > 100 * min(gains):
        raise ValueError(f"expected three gains above 0, got {gains}")
    return gains[0] / gains[1], 1.0, gains[2] / gains[1]


def read_matrix(values: Any) -> tuple[float, ...]:
    """Nine numbers of a matrix XYZ -> camera, from those of its inverse; raises `ValueError`."""
    matrix = np.array(read_numbers(values, (9,))).reshape(3, 3)
    if abs(np.linalg.det(matrix)) < 1e-9 * np.abs(matrix).max() ** 3 or not matrix.any():
        raise ValueError(f"expected a matrix that has an inverse, got {matrix.tolist()}")
    return tuple(np.linalg.inv(matrix).ravel().tolist())


def _choice(what: str, choices: Sequence[str]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        check_choice(what, value, choices)
        return cast(str, value)

    return read


def _integer(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"expected a whole number of {least} to {most}, got {str(value)[:60]}")
        return value

    return read


def _neutral(values: Any) -> tuple[float, ...]:
    return read_gains([1 / value for value in read_numbers(values, (3,))])


def _one(values: Any) -> float:
    return read_numbers(values, (1,))[0]


KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "cfa": ("cfa", _choice("Bayer pattern", CFAS)),
    "black_level": ("black_level", read_black),
    "white_level": ("white_level", _one),
    "white_balance": ("white_balance", read_gains),
    "color_matrix": ("color_matrix", read_matrix),
    "packing": ("packing", _choice("packing", PACKINGS)),
    "width": ("width", _integer(2, MAX_SIDE)),
    "height": ("height", _integer(2, MAX_SIDE)),
    "stride": ("stride", _integer(1, 16 * MAX_SIDE)),
    "orientation": ("orientation", _integer(1, 8)),
    "BlackLevel": ("black_level", read_black),
    "WhiteLevel": ("white_level", _one),
    "AsShotNeutral": ("white_balance", _neutral),
    "ColorMatrix1": ("color_matrix", lambda values: read_numbers(values, (9,))),
    "Orientation": ("orientation", _integer(1, 8)),
}
"""Keys of the TOML, and DNG's names: the fact that each tells, and what reads its value."""
