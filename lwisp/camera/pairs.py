"""RAW files paired with the picture that their camera made: a JPEG (or HEIF) beside the RAW, or the one inside it.

Pairing goes by file names and tags alone; `placement.align` compares what the two show.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from lwisp.camera.settings import PairLimits
from lwisp.errors import InputError, one_line, tell_failure
from lwisp.files.decoding import FORMATS, is_own_program, opened, read_tags
from lwisp.files.exif import EXIF_IFD
from lwisp.files.listing import is_hidden
from lwisp.files.makernotes import picture_style
from lwisp.files.optional import is_there
from lwisp.files.raw import RAW_SUFFIXES, camera_name, read_preview
from lwisp.files.shots import time_of
from lwisp.files.writing import is_regular

JPEG_SUFFIXES = (".jpg", ".jpeg")
HEIF_SUFFIXES = (".heic", ".heif", ".hif")
"""Read where pillow-heif is installed, and otherwise named."""
PICTURE_FORMATS = (*FORMATS, "HEIF")
MERGED = (2, 3, 6, 7)
"""What EXIF's CustomRendered says of HDR and panoramas (Apple's numbers)."""
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
"""Transfer characteristics of ITU-T H.273 in which cameras save HDR pictures."""
DEVELOPERS = (
    *("darktable", "rawtherapee", "lightroom", "photoshop", "camera raw", "capture one", "dxo", "luminar", "gimp"),
    *("affinity", "snapseed", "on1", "acdsee", "exposure x", "digikam", "ufraw", "lwisp", "silkypix", "picasa"),
)
"""Programs whose name in a JPEG's tags says that it is not as the camera made it."""


@dataclass(frozen=True)
class Pair:
    """A RAW and what its camera made of it."""

    raw: Path
    jpeg: Path | None
    """The JPEG, or HEIF, beside it; None: the largest JPEG inside it."""
    camera: str
    """Make and model, as "Canon PowerShot S40"."""
    style: str
    """Picture style or color mode, where the tags tell; else ""."""

    @property
    def jpeg_name(self) -> str:
        """The JPEG, for messages: they begin with the file to look at."""
        if self.jpeg is None:
            return f"{self.raw}: the JPEG inside"
        return f"{self.jpeg}: the {'HEIF' if _suffix(self.jpeg.name) in HEIF_SUFFIXES else 'JPEG'}"


@dataclass(frozen=True)
class Refusal:
    """A file that cannot be used."""

    path: Path
    reason: str
    """One sentence."""


def find_pairs(folder: Path, limits: PairLimits = PairLimits()) -> tuple[list[Pair], list[Refusal]]:
    """The RAW files in a folder and its subfolders that have their camera's JPEG, and the files that cannot be used.

    Args:
        folder: Searched; hidden files and folders are skipped.
        limits: How far the tags of RAW and JPEG may differ.

    Returns:
        Pairs and refusals, by folder and name. Where pillow-heif is not installed, one refusal stands for all HEIF
        files beside RAW files.

    Raises:
        InputError: The folder cannot be read or holds no RAW.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder with RAW files")
    pairs: list[Pair] = []
    refusals: list[Refusal] = []
    unread: list[Path] = []
    found = False
    for names, place in _walk(folder, refusals):
        jpegs = _pictures_by_stem(names, place, JPEG_SUFFIXES)
        heifs = _pictures_by_stem(names, place, HEIF_SUFFIXES)
        for name in names:
            if _suffix(name) not in RAW_SUFFIXES:
                continue
            found = True
            stem = Path(name).stem
            siblings = jpegs.get(stem, [])
            if is_there("pillow_heif"):
                siblings = [*siblings, *heifs.get(stem, [])]
            elif not siblings:
                unread += heifs.get(stem, [])
            try:
                pairs.append(_pair(place / name, siblings, limits))
            except Exception as error:  # whatever is wrong with one file, the others are paired
                refusals.append(Refusal(place / name, tell_failure(place / name, error)))
    if unread:
        refusals.append(_without_reader(unread))
    if not found and refusals:
        raise InputError(refusals[0].reason)
    if not found:
        raise InputError(f"{folder}: no RAW files in this folder ({', '.join(sorted(RAW_SUFFIXES))})")
    return pairs, refusals


def _without_reader(heifs: list[Path]) -> Refusal:
    """One sentence on all HEIF files that would have been paired."""
    what = "a HEIF picture" if len(heifs) == 1 else f"the first of {len(heifs)} HEIF pictures"
    return Refusal(
        heifs[0],
        f"{heifs[0]}: {what} beside RAW files, which lwisp reads where pillow-heif is installed: "
        "pip install pillow-heif",
    )


def _pictures_by_stem(names: Sequence[str], place: Path, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    """The pictures of a folder by their names without suffix, in the order in which they are tried.

    By the order of the suffixes; of two that differ only in case, capitals first.
    """
    pictures = [name for name in names if _suffix(name) in suffixes]
    pictures.sort(key=lambda name: (suffixes.index(_suffix(name)), name))
    by_stem: dict[str, list[Path]] = {}
    for name in pictures:
        by_stem.setdefault(Path(name).stem, []).append(place / name)
    return by_stem


def _walk(folder: Path, refusals: list[Refusal]) -> Iterator[tuple[list[str], Path]]:
    """Names of the files in a folder and its subfolders, a folder at a time; unreadable ones go to `refusals`."""

    def refuse(error: OSError) -> None:
        refusals.append(Refusal(Path(error.filename), f"{error.filename}: cannot be read: {error.strerror}"))

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        visible = sorted(name for name in names if not is_hidden(name))
        yield [name for name in visible if _is_file(Path(place, name), refusals)], Path(place)


def _is_file(path: Path, refusals: list[Refusal]) -> bool:
    try:
        return is_regular(path)
    except InputError as error:
        refusals.append(Refusal(path, str(error)))
        return False


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


def _pair(path: Path, jpegs: list[Path], limits: PairLimits) -> Pair:
    """A RAW with the first of the JPEGs that is its camera's, or with the embedded one; never what lwisp wrote."""
    tags, embedded = read_preview(path)
    refusal: InputError | None = None
    for jpeg in jpegs:
        try:
            style = _style_of(path, tags, jpeg, limits)
        except InputError as error:
            refusal = refusal or error
            continue
        if style is not None:
            return Pair(path, jpeg, camera_name(tags), style or picture_style(tags))
    if refusal is not None:
        raise refusal
    if embedded is None:
        raise InputError(f"{path}: no JPEG beside this RAW, and none inside")
    return Pair(path, None, camera_name(tags), picture_style(tags))


def _style_of(path: Path, tags: Image.Exif, jpeg: Path, limits: PairLimits) -> str | None:
    """The picture style in a JPEG's tags, "" where they do not tell; None where lwisp wrote the JPEG.

    Args:
        path: The RAW.
        tags: The RAW's.
        jpeg: The picture beside it.
        limits: How far the tags may differ.

    Raises:
        InputError: The tags say that the JPEG is of another shot, or was edited or merged.
    """
    with opened(jpeg, formats=PICTURE_FORMATS) as picture:
        own = read_tags(picture)
        photo = own.get_ifd(EXIF_IFD)
        style = picture_style(own)
        transfer = picture.info.get("nclx_profile", {}).get("transfer_characteristics")
    program = str(own.get(305, ""))
    if is_own_program(program):
        return None
    if any(word in program.lower() for word in DEVELOPERS):
        raise InputError(f"{jpeg}: made by {one_line(ValueError(program))}, not by the camera; keep it elsewhere")
    if transfer in HDR_TRANSFERS:
        raise InputError(
            f"{jpeg}: an HDR picture ({HDR_TRANSFERS[transfer]}); expected one of standard range, as a JPEG"
        )
    of_raw = tags.get_ifd(EXIF_IFD)
    raw_time = time_of(tags, of_raw)
    time = time_of(own, photo)
    if raw_time and time and abs((raw_time - time).total_seconds()) > limits.seconds:
        raise InputError(f"{jpeg}: taken at {time}, but {path.name} at {raw_time}: it is of another shot")
    for tag, what, stops in ((33434, "exposure time", 1), (33437, "aperture", 2)):
        value = _positive(photo.get(tag))
        expected = _positive(of_raw.get(tag))
        if value and expected and abs(math.log2(value / expected)) * stops > limits.stops:
            raise InputError(f"{jpeg}: {what} {value:.5g}, but {expected:.5g} of {path.name}: another shot")
    if photo.get(41985) in MERGED:
        raise InputError(f"{jpeg}: its tags say that it was merged of several shots; it has no one look to learn")
    return style


def _positive(value: object) -> float:
    """A tag's number, or 0 where it is no positive number."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return number if 0 < number < math.inf else 0.0
