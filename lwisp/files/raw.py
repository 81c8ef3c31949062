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

from lwisp.errors import ArgumentError, DamagedError, InputError, UnsupportedError, check_type, is_number, shown
from lwisp.files import damage, exif
from lwisp.files.bare import read_photosites
from lwisp.files.completion import complete
from lwisp.files.cr3 import read_cr3
from lwisp.files.decoding import MAX_PIXELS
from lwisp.files.dng_tags import LightTags, read_light
from lwisp.files.exif import EXIF_IFD
from lwisp.files.framing import read_crop, read_pixel_aspect
from lwisp.files.libraw import Opened, opened
from lwisp.files.opcodes import NO_LISTS, OpcodeLists, read_lists
from lwisp.files.properties import of_raw
from lwisp.files.sensor import SENSOR_FILE, Sensor, find_sensor, read_black, read_gains
from lwisp.files.sources import Source
from lwisp.files.xmp import Value
from lwisp.imaging import matrices
from lwisp.imaging.automatic_balance import estimate_gains
from lwisp.imaging.bayer import CFA, CFAS, plane_order
from lwisp.imaging.camera_color import Calibration, CameraColor, Gains, matrix_under
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

FLIP_TO_ORIENTATION = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}
"""LibRaw's flip (bit 0 mirrors left-right, 1 top-bottom, 2 transposes, in that order) to EXIF's orientation."""

NO_AS_SHOT = "the file has no as-shot white balance"
NOT_GIVEN = "no white balance given"
GUESSED_BALANCE = (NO_AS_SHOT, NOT_GIVEN)
"""How notes begin that say that a white balance was guessed."""
DAYLIGHT = 6504.0  # kelvin: D65, the light of LibRaw's tables
NO_PICTURE = 0.99  # of the photosites with one value


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
        return _camera(self.make, self.model)


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
    notes: list[str] = []
    with opened(source) as file:
        raw = file.libraw
        name = file.name
        jpeg = _embedded_jpeg(raw)
        tags = _read_tags(file, jpeg)
        tiles = _check_tiles(file)
        cfa = _bayer_pattern(name, raw, tags)
        mosaic = raw.raw_image_visible.copy()
        light = _read_light(file)
        notes += light.notes
        color, cam2rgb = _color(raw, light, notes)
        white_balance = _as_shot(raw, light)
        sensor = np.asarray(raw.raw_colors_visible[:2, :2])
        order = plane_order(cfa)
        black = [float(raw.black_level_per_channel[sensor[position]]) for position in order]
        white = _white_level(raw, [int(sensor[position]) for position in order])
        sizes = raw.sizes
        properties = of_raw(tags, source, notes)
        crop = read_crop(file, notes)
        pixel_aspect = read_pixel_aspect(file, notes)
    if light.black is not None:
        black = list(light.black.of_planes(cfa))
    if min(mosaic.shape) < 2:
        raise InputError(f"{name}: expected at least 2x2 photosites, got {mosaic.shape}")
    if not all(low < high for low, high in zip(black, white, strict=True)):
        raise DamagedError(f"{name}: white level {white} not above black level {black}; the file's levels are damaged")
    edges = range(-sizes.left_margin, mosaic.shape[1], tiles.width) if tiles.width else ()
    _check_picture(name, mosaic, cfa, black, max(white), edges, notes)
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
        orientation=FLIP_TO_ORIENTATION.get(sizes.flip, 1),
        crop=crop,
        pixel_aspect=pixel_aspect,
        make=_text(tags, 271),
        model=_text(tags, 272),
        jpeg=jpeg,
        exif=tags,
        properties=properties,
        notes=tuple(notes),
        color=color,
        shading=asked.shading,
        opcode_lists=light.handed_on,
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
        jpeg = _embedded_jpeg(file.libraw)
        return _read_tags(file, jpeg), jpeg


def _check_tiles(file: Opened) -> damage.Tiles:
    """The tiles of a mosaic. Raises `InputError` where some hold nothing: LibRaw would leave other memory there."""
    with file.open() as content:
        tiles = damage.read_tiles(content, file.directories)
    if tiles.broken:
        why = "cut short" if tiles.missing else "overwritten"
        lost = f"{tiles.broken} of the {tiles.count} tiles of its picture are lost"
        raise DamagedError(f"{file.name}: a damaged file, {why}: {lost}; copy it again")
    return tiles


def _check_picture(
    name: str,
    mosaic: NDArray[np.uint16],
    cfa: CFA,
    black: Sequence[float],
    white: float,
    edges: Sequence[int],
    notes: list[str],
) -> None:
    """Note what damage shows in a mosaic; raise `InputError` where no picture is in it."""
    if damage.is_constant(mosaic):
        raise DamagedError(
            f"{name}: no picture in it: all photosites hold {mosaic[0, 0]}; the file is damaged or empty"
        )
    _check_light(name, mosaic, cfa, black)
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


def _check_light(name: str, mosaic: NDArray[np.uint16], cfa: CFA, black: Sequence[float]) -> None:
    """Raise `InputError` where nothing is above black."""
    if not damage.has_light(mosaic, dict(zip(plane_order(cfa), black, strict=True))):
        raise DamagedError(f"{name}: no light in it: no photosite is above the black level of {min(black):g}")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def camera_name(tags: Image.Exif) -> str:
    """Make and model as people say them: "Canon PowerShot S40", "NIKON D5000", "GoPro HERO7 Black"; or "unknown"."""
    return _camera(_text(tags, 271), _text(tags, 272))


def _camera(make: str, model: str) -> str:
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
    _check_light(str(path), mosaic, told.cfa, black)
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


def _white_level(raw: rawpy.RawPy, indices: list[int]) -> list[float]:
    """Where the sensor clips: the camera's own word where it is sane, else LibRaw's figure."""
    camera = raw.camera_white_level_per_channel
    return [
        float(camera[index]) if camera and 0 < camera[index] <= raw.white_level else float(raw.white_level)
        for index in indices
    ]


def _read_light(file: Opened) -> LightTags:
    sizes = file.libraw.sizes
    shape = file.libraw.raw_image_visible.shape
    return read_light(file.directories, (shape[0], shape[1]), (sizes.top_margin, sizes.left_margin))


def _as_shot(raw: rawpy.RawPy, light: LightTags) -> Gains | None:
    """The as-shot gains, G = 1; None where the file has none that can be used."""
    red, green, blue = np.asarray(raw.camera_whitebalance[:3], np.float64).tolist()
    if light.as_shot is not None:
        return light.as_shot
    if min(red, green, blue) > 0 and np.isfinite([red, green, blue]).all():
        return red / green, 1.0, blue / green
    return None


def _color(raw: rawpy.RawPy, light: LightTags, notes: list[str]) -> tuple[CameraColor | None, NDArray[np.float32]]:
    """What is known of the camera's color, and the matrix that does not follow the light."""
    if light.color is not None and light.has_chromaticity:  # LibRaw would have the light in its matrix
        return light.color, light.color.fixed
    cam2rgb = _cam2rgb(raw, notes)
    return light.color or _color_by_daylight(raw, cam2rgb), cam2rgb


def _color_by_daylight(raw: rawpy.RawPy, cam2rgb: NDArray[np.float32]) -> CameraColor | None:
    """The camera's color from LibRaw's table, or from its gains for daylight; None where it knows neither."""
    table = np.asarray(raw.rgb_xyz_matrix, np.float64)[:3]
    daylight = np.asarray(raw.daylight_whitebalance[:3], np.float64)
    has_matrix = not np.array_equal(cam2rgb, np.eye(3))
    try:
        if np.isfinite(table).all() and table.any():
            return CameraColor(Calibration(DAYLIGHT, table))
        if has_matrix and np.isfinite(daylight).all() and daylight.min() > 0:
            rgb2cam = np.linalg.inv(cam2rgb.astype(np.float64)) @ np.linalg.inv(matrices.CANONICAL_TO_XYZ)
            return CameraColor(Calibration(DAYLIGHT, np.diag(daylight[1] / daylight) @ rgb2cam))
    except ValueError:
        return None
    return None


def _cam2rgb(raw: rawpy.RawPy, notes: list[str]) -> NDArray[np.float32]:
    """LibRaw fills `color_matrix` from the file (camera -> sRGB) or `rgb_xyz_matrix` (XYZ -> camera), or neither."""
    from_file = np.asarray(raw.color_matrix, np.float32)[:, :3]
    from_table = np.asarray(raw.rgb_xyz_matrix, np.float32)[:3]
    for matrix, convert in ((from_file, matrices.cam2rgb_from_srgb), (from_table, matrices.cam2rgb_from_xyz)):
        if np.isfinite(matrix).all() and abs(np.linalg.det(matrix.astype(np.float64))) > 1e-4:
            try:
                cam2rgb = convert(matrix)
            except ValueError:  # rows that sum to zero, a matrix without inverse
                continue
            if np.abs(cam2rgb).max() < 10:
                return cam2rgb
    notes.append("no color matrix for this camera: its colors are taken as they are")
    return np.eye(3, dtype=np.float32)


def _gray_world(mosaic: NDArray[np.uint16], cfa: CFA, black: Sequence[float]) -> tuple[float, float, float]:
    places = zip(plane_order(cfa), black, strict=True)
    means = [max(float(mosaic[row::2, column::2].mean()) - level, 1e-3) for (row, column), level in places]
    green = (means[1] + means[2]) / 2
    return float(np.clip(green / means[0], 0.25, 4)), 1.0, float(np.clip(green / means[3], 0.25, 4))


def _embedded_jpeg(raw: rawpy.RawPy) -> bytes | None:
    try:
        thumb = raw.extract_thumb()
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError, rawpy.LibRawIOError):
        return None
    return bytes(thumb.data) if thumb.format == rawpy.ThumbFormat.JPEG else None


def _read_tags(file: Opened, jpeg: bytes | None) -> Image.Exif:
    """The tags of a TIFF-like RAW or a CR3, else those of its embedded JPEG, with what others tell."""
    with file.open() as content:
        tags = exif.read_tiff(content)
        tags = tags if tags or tags.get_ifd(EXIF_IFD) else read_cr3(content)
        content.seek(0)
        head = content.read(16)
    tags = tags if tags or tags.get_ifd(EXIF_IFD) else exif.read_jpeg(jpeg or b"")
    complete(tags, file.libraw, head)
    return tags


def _text(tags: Image.Exif, tag: int) -> str:
    value = tags.get(tag)
    return value.strip(" \0") or "unknown" if isinstance(value, str) else "unknown"
