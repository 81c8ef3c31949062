"""Camera files -> `RawImage`: the mosaic as the sensor gave it, with all that is needed to develop it.

LibRaw (through rawpy) decodes; here its answers are checked and put into the project's terms. What cannot be
developed is refused by name, what a file leaves out is filled in and said aloud in `RawImage.notes`. `dng.write_dng`
is the way back, for other tools.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
from numpy.typing import NDArray
from PIL import Image

from lwisp.errors import ArgumentError, InputError, UnsupportedError, check_type, is_number, shown
from lwisp.files import damage
from lwisp.files.bare import read_photosites
from lwisp.files.decoding import MAX_PIXELS
from lwisp.files.facts import (
    DAYLIGHT,
    FLIP_TO_ORIENTATION,
    NO_AS_SHOT,
    as_shot_gains,
    describe,
    embedded_jpeg,
    find_color,
    read_light_of,
    read_tags,
    text_of,
)
from lwisp.files.libraw import Opened, opened
from lwisp.files.opcodes import NO_LISTS, OpcodeLists, read_lists
from lwisp.files.sensor import SENSOR_FILE, Sensor, find_sensor, read_black, read_gains
from lwisp.files.soundness import check_levels, check_light, check_picture, check_tiles
from lwisp.files.sources import Source
from lwisp.files.xmp import Value
from lwisp.imaging import matrices
from lwisp.imaging.automatic_balance import estimate_gains
from lwisp.imaging.bayer import CFA, CFAS, plane_order
from lwisp.imaging.camera_color import Calibration, CameraColor, matrix_under
from lwisp.imaging.framing import CropBox
from lwisp.imaging.shading_maps import Shading

RAW_SUFFIXES = frozenset(
    [
        *(".3fr", ".ari", ".arw", ".bay", ".bmq", ".cap", ".cine", ".cr2", ".crw", ".cr3", ".cs1", ".dc2", ".dcr"),
        *(".dng", ".erf", ".fff", ".gpr", ".iiq", ".k25", ".kc2", ".kdc", ".mdc", ".mef", ".mos", ".mrw", ".nef"),
        *(".nrw", ".orf", ".ori", ".pef", ".ptx", ".pxn", ".qtk", ".raf", ".raw", ".rdc", ".rw2", ".rwl", ".rwz"),
        *(".sr2", ".srf", ".srw", ".sti", ".x3f"),
    ]
)
"""Suffixes of the cameras that LibRaw knows, which a folder is searched for; a file given by name may have any."""

MOSAIC_SUFFIXES = frozenset([".bin", ".npy", ".png", ".raw", ".tif", ".tiff"])
"""The same for bare mosaics."""

NOT_GIVEN = "no white balance given"
GUESSED_BALANCE = (NO_AS_SHOT, NOT_GIVEN)
"""How notes begin that say that a white balance was guessed."""


@dataclass(frozen=True, eq=False)
class RawImage:
    """One RAW photo, not yet developed. Per-plane values are in the order R, Gr, Gb, B; Gr is the green beside red.

    It can be pickled and copied: no file stands behind it.
    """

    mosaic: NDArray[np.uint16]
    """(H, W), the visible area in DN."""
    cfa: CFA
    """Pattern of the top-left 2x2 of the visible area."""
    black_level: tuple[float, float, float, float]
    """DN."""
    white_level: tuple[float, float, float, float]
    """DN."""
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Gains that multiply R, G, B; G = 1."""
    cam2rgb: NDArray[np.float32] = field(default_factory=lambda: np.eye(3, dtype=np.float32))
    """(3, 3), balanced camera RGB -> canonical RGB (linear Rec. 2020); rows sum to one."""
    orientation: int = 1
    """EXIF's 1 to 8: what to do to the mosaic to see the picture upright; `imaging.pixels.orient` does it."""
    crop: CropBox | None = None
    """The part of the mosaic that the camera's own pictures show; None for all of it."""
    pixel_aspect: float = 1.0
    """Width over height of the area that a photosite stands for; 1 for squares."""
    make: str = "unknown"
    model: str = "unknown"
    jpeg: bytes | None = None
    """The largest embedded JPEG; where it has no tags of its own, LibRaw adds a few."""
    exif: Image.Exif = field(default_factory=Image.Exif)
    """The file's tags, unfiltered: `write_picture` lets a list of them through."""
    properties: Mapping[str, Value] = field(default_factory=dict)
    """What people said of the photo, in its XMP and IPTC and in a sidecar: rating, keywords, title and the like."""
    notes: tuple[str, ...] = ()
    """What the file did not say, and what was taken for it: for the user's eyes."""
    color: CameraColor | None = None
    """What is known of the camera's color under other lights; `white_balance.with_balance` asks it."""
    noise: tuple[float, float] | None = None
    """Shot and read noise as the file tells: variance = shot * light + read, light from black 0 to white 1."""
    shading: tuple[Shading, ...] = ()
    """Lens shading that the file says how to undo; it is in the mosaic still."""
    opcode_lists: OpcodeLists = NO_LISTS
    """DNG's lists as the file has them, for `write_dng` to hand on; without those that count from outside the visible
    area."""

    @property
    def camera(self) -> str:
        """Make and model in one, as `camera_name` has it."""
        return camera_of(self.make, self.model)


def read_raw(source: Source) -> RawImage:
    """The mosaic of a camera's RAW file with its levels, gains, color matrix and tags; any Bayer RAW that LibRaw opens.

    Any number of threads may read at once.

    Args:
        source: A path, the content of a file, or a file open in binary mode.

    Returns:
        The RAW. Damage that leaves a part of the picture stands in its `notes`.

    Raises:
        InputError: The file is no RAW, is damaged or cut short, or holds no picture or no Bayer mosaic (X-Trans,
            quad-Bayer, monochrome, four-color and already demosaiced files are named as such).
    """
    with opened(source) as file:
        return read_bayer(file, source)


def read_bayer(file: Opened, source: Source) -> RawImage:
    """`read_raw` of a file that is open already.

    Args:
        file: The RAW.
        source: The same as it was given.

    Raises:
        InputError: As `read_raw`.
    """
    notes: list[str] = []
    raw = file.libraw
    name = file.name
    jpeg = embedded_jpeg(raw)
    tags = read_tags(file, jpeg)
    tiles = check_tiles(file)
    cfa = _bayer_pattern(name, raw, tags)
    mosaic = raw.raw_image_visible.copy()
    light = read_light_of(file)
    notes += light.notes
    color, cam2rgb = find_color(raw, light, notes)
    white_balance = as_shot_gains(raw, light)
    sensor = np.asarray(raw.raw_colors_visible[:2, :2])
    order = plane_order(cfa)
    black = [float(raw.black_level_per_channel[sensor[position]]) for position in order]
    white = white_levels(raw, [int(sensor[position]) for position in order])
    facts = describe(file, source, jpeg, tags, notes)
    if light.black is not None:
        black = list(light.black.of_planes(cfa))
    if min(mosaic.shape) < 2:
        raise InputError(f"{name}: expected at least 2x2 photosites, got {mosaic.shape}")
    check_levels(name, black, white)
    edges = range(-raw.sizes.left_margin, mosaic.shape[1], tiles.width) if tiles.width else ()
    check_picture(name, mosaic, _is_lit(mosaic, cfa, black), black, max(white), edges, notes)
    if light.black is not None and light.black.varies:
        mosaic, factor = light.black.level(mosaic, cfa, max(white))
        black, white = [factor * level for level in black], [factor * level for level in white]
    asked = read_lists(light.opcodes, light.frame)
    notes += asked.notes
    if light.handed_on != light.opcodes:
        notes.append("the file's opcode lists count from outside the visible area: a DNG made of it will lack them")
    if white_balance is None:
        white_balance, how = estimate_gains(mosaic, cfa, black, white, color)
        notes.append(f"{NO_AS_SHOT}: {how}")
    return RawImage(
        mosaic=mosaic,
        cfa=cfa,
        black_level=(black[0], black[1], black[2], black[3]),
        white_level=(white[0], white[1], white[2], white[3]),
        white_balance=white_balance,
        cam2rgb=matrix_under(white_balance, color, cam2rgb),
        notes=tuple(notes),
        color=color,
        noise=light.noise,
        shading=asked.shading,
        opcode_lists=light.handed_on,
        **facts,
    )


def check_raw(raw: object) -> None:
    """Check that an argument is a RAW that was read; raises `ArgumentError`."""
    check_type("a RAW, from lwisp.read_raw or lwisp.read_mosaic", raw, RawImage)


def read_orientation(source: Source) -> int:
    """EXIF's orientation of a RAW, 1 to 8, without reading its mosaic.

    Raises:
        InputError: The file is no RAW.
    """
    with opened(source) as file:
        return FLIP_TO_ORIENTATION.get(file.libraw.sizes.flip, 1)


def read_preview(source: Source) -> tuple[Image.Exif, bytes | None]:
    """Tags and largest embedded JPEG of a RAW, as in `RawImage`, without reading its mosaic.

    Raises:
        InputError: The file is no RAW.
    """
    with opened(source) as file:
        jpeg = embedded_jpeg(file.libraw)
        return read_tags(file, jpeg), jpeg


def _is_lit(mosaic: NDArray[np.uint16], cfa: CFA, black: Sequence[float]) -> bool:
    return damage.has_light(mosaic, dict(zip(plane_order(cfa), black, strict=True)))


def camera_name(tags: Image.Exif) -> str:
    """Make and model as people say them: "Canon PowerShot S40", "NIKON D5000", "GoPro HERO7 Black"; or "unknown"."""
    return camera_of(text_of(tags, 271), text_of(tags, 272))


def camera_of(make: str, model: str) -> str:
    """Make and model as people say them.

    Args:
        make: The first, or "unknown".
        model: The other.
    """
    make = " ".join(make.split())
    model = " ".join(model.split())
    if model == "unknown":
        return make
    brand = make.split(" ")[0]
    return model if make == "unknown" or model.lower().startswith(brand.lower()) else f"{brand} {model}"


def read_mosaic(
    path: str | Path,
    cfa: CFA | None = None,
    black_level: float | Sequence[float] | None = None,
    white_level: float | None = None,
    white_balance: Sequence[float] | None = None,
    max_pixels: float = MAX_PIXELS,
    sensor: Sensor = Sensor(),
) -> RawImage:
    """A bare mosaic, as of one's own sensor: a 16-bit grayscale PNG or TIFF, a NumPy file, or packed bits.

    What no argument tells is taken from TOML files beside it (`sensor.find_sensor`).

    Args:
        path: The file.
        cfa: Pattern of the top-left 2x2: "RGGB", "BGGR", "GRBG" or "GBRG".
        black_level: Black in DN; one number, or four of the top-left 2x2 row by row.
        white_level: White in DN.
        white_balance: Gains that multiply R, G, B; where none are told, it is balanced to gray on average.
        max_pixels: A mosaic of more is refused before it is decoded.
        sensor: Color matrix, packing, size and more.

    Raises:
        InputError: The file is no such mosaic, a fact that is needed is told nowhere, or one cannot be used.
    """
    path = Path(path)
    given = Sensor(
        cfa=cfa,
        black_level=_argument(read_black, black_level),
        white_level=white_level,
        white_balance=_argument(read_gains, white_balance),
    )
    told = given.over(sensor).over(find_sensor(path))
    missing = [name for name in ("cfa", "black_level", "white_level") if getattr(told, name) is None]
    if told.cfa is None or told.black_level is None or told.white_level is None:
        raise ArgumentError(
            f"{path}: {', '.join(missing)} of this bare mosaic must be told, as in {SENSOR_FILE} beside it"
        )
    if told.cfa not in CFAS:
        raise ArgumentError(f"expected a Bayer pattern out of {', '.join(CFAS)}, got {told.cfa!r}")
    if not is_number(told.white_level, 0, np.inf):
        raise ArgumentError(f"expected a white level in DN, got {shown(told.white_level)}")
    if not (min(told.black_level) >= 0 and max(told.black_level) < told.white_level < 65536):
        levels = f"{', '.join(f'{level:g}' for level in dict.fromkeys(told.black_level))} and {told.white_level}"
        raise ArgumentError(f"expected 0 <= black level < white level < 65536, got {levels}")
    mosaic = read_photosites(path, told, max_pixels)
    black = [told.black_level[2 * row + column] for row, column in plane_order(told.cfa)]
    check_light(str(path), _is_lit(mosaic, told.cfa, black), min(black))
    notes: list[str] = []
    cam2rgb = np.eye(3, dtype=np.float32)
    color = None
    if told.color_matrix is None:
        notes.append("the file has no color matrix: its colors are taken as they are")
    else:
        try:
            cam2rgb = matrices.cam2rgb_from_xyz(np.array(told.color_matrix, np.float32).reshape(3, 3))
            color = CameraColor(Calibration(DAYLIGHT, np.array(told.color_matrix, np.float64).reshape(3, 3)))
        except ValueError as error:  # numpy's for a matrix without inverse is one too
            raise ArgumentError(f"{path}: its color matrix cannot be used: {error}") from error
    gains = told.white_balance
    if gains is None:
        notes.append(f"{NOT_GIVEN}: balanced to gray on average")
        gains = _gray_world(mosaic, told.cfa, black)
    return RawImage(
        mosaic,
        told.cfa,
        (black[0], black[1], black[2], black[3]),
        (told.white_level,) * 4,
        (gains[0], gains[1], gains[2]),
        cam2rgb,
        told.orientation or 1,
        notes=tuple(notes),
        color=color,
    )


def _argument(read: Callable[[Any], tuple[float, ...]], value: Any) -> tuple[float, ...] | None:
    """An argument as a fact of a sensor; raises `InputError`."""
    try:
        return None if value is None else read(value if isinstance(value, float | int) else list(value))
    except (TypeError, ValueError) as error:
        raise ArgumentError(str(error)) from error


def is_bayer(raw: rawpy.RawPy, tags: Image.Exif) -> bool:
    """Whether a file open in LibRaw holds a Bayer mosaic of R, G and B.

    Args:
        raw: The file.
        tags: Its tags.
    """
    try:
        _bayer_pattern("", raw, tags)
    except UnsupportedError:
        return False
    return True


def _bayer_pattern(name: str, raw: rawpy.RawPy, tags: Image.Exif) -> CFA:
    """The pattern of the visible top-left 2x2, or a refusal that names what the file holds instead."""
    names = raw.color_desc.decode("ascii", "replace")
    if raw.raw_type != rawpy.RawType.Flat:
        raise UnsupportedError(f"{name}: already demosaiced (linear RAW); expected a Bayer mosaic", "linear RAW")
    if raw.raw_pattern is None or raw.num_colors == 1:
        raise UnsupportedError(f"{name}: a monochrome sensor; expected a Bayer mosaic", "monochrome")
    colors = np.asarray(raw.raw_colors_visible[:12, :12])
    letters = np.array([names[index] if index < len(names) else "?" for index in range(256)])[colors]
    if raw.num_colors != 3 or not set(np.unique(letters)) <= set("RGB"):
        raise UnsupportedError(f"{name}: a sensor of the colors {names}; expected a Bayer mosaic of R, G and B", names)
    if raw.raw_pattern.shape == (6, 6):
        raise UnsupportedError(f"{name}: an X-Trans sensor (6x6 pattern); expected a Bayer mosaic", "X-Trans")
    pattern = "".join(letters[:2, :2].ravel())
    tiled = np.tile(letters[:2, :2], (6, 6))[: letters.shape[0], : letters.shape[1]]
    repeat = tags.get(33421)  # DNG's CFARepeatPatternDim, which LibRaw does not tell of
    other_size = isinstance(repeat, tuple) and repeat != (2, 2)
    if pattern not in CFAS or not np.array_equal(letters, tiled) or other_size:
        rows = "/".join("".join(row) for row in letters[:4, :4])
        raise UnsupportedError(
            f"{name}: the color pattern {rows} (quad-Bayer or other); expected a 2x2 Bayer mosaic", rows
        )
    return CFAS[CFAS.index(pattern)]


def white_levels(raw: rawpy.RawPy, indices: list[int]) -> list[float]:
    """Where the sensor clips: the camera's own word where it is sane, else LibRaw's figure."""
    camera = raw.camera_white_level_per_channel
    return [
        float(camera[index]) if camera and 0 < camera[index] <= raw.white_level else float(raw.white_level)
        for index in indices
    ]


def _gray_world(mosaic: NDArray[np.uint16], cfa: CFA, black: Sequence[float]) -> tuple[float, float, float]:
    places = zip(plane_order(cfa), black, strict=True)
    means = [max(float(mosaic[row::2, column::2].mean()) - level, 1e-3) for (row, column), level in places]
    green = (means[1] + means[2]) / 2
    return float(np.clip(green / means[0], 0.25, 4)), 1.0, float(np.clip(green / means[3], 0.25, 4))
