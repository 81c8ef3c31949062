"""What people said of a photo, as XMP properties: from its own XMP and IPTC, and from a sidecar beside it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from lwisp.errors import InputError
from lwisp.files.exif import IPTC_TAG, read_tiff
from lwisp.files.iptc import PHOTOSHOP_TAG, RESOURCE, find_resource, read_iptc
from lwisp.files.sources import Source, open_again
from lwisp.files.writing import read_regular
from lwisp.files.xmp import MOST, XMP_TAG, Value, build, editors, is_readable, read

KEPT_PREFIXES = ("dc:", "photoshop:", "Iptc4xmpCore:", "Iptc4xmpExt:", "xmpRights:", "lr:")
"""Those of which all properties are kept but for `DROPPED`."""
KEPT = frozenset(["xmp:Rating", "xmp:Label"])
DROPPED = frozenset(
    [
        *("dc:format", "dc:date", "dc:identifier", "dc:source", "dc:relation", "dc:type"),
        *("photoshop:ColorMode", "photoshop:ICCProfile", "photoshop:History", "photoshop:DocumentAncestors"),
        *("photoshop:SidecarForExtension", "photoshop:EmbeddedXMPDigest", "photoshop:LegacyIPTCDigest"),
        *("photoshop:TextLayers",),
    ]
)
"""Properties of the file itself and its making, which are not those of another file."""
LENS = "aux:Lens"
MOST_KEPT = 45_000
"""Bytes of a packet with all of them: a JPEG has room for 65,504."""
RATING, KEYWORDS, TITLE = 18246, 40094, 40091
"""Windows' tags."""


def of_raw(tags: Image.Exif, source: Source, notes: list[str]) -> dict[str, Value]:
    """What people said of a RAW.

    Args:
        tags: All tags of the file.
        source: What it is read from; beside a path a sidecar is looked for, IMG.xmp or IMG.CR2.xmp.
        notes: Gets what is left out.

    Returns:
        Values by names.
    """
    packet = _as_bytes(tags.get(XMP_TAG), tags.endian)
    _note_edits(packet, "its XMP", notes)
    return _gather(tags, packet, _iptc(tags), sidecars_of(source, True), notes)


def of_picture(picture: Image.Image, tags: Image.Exif, content: Path | bytes, notes: list[str]) -> dict[str, Value]:
    """What people said of a finished picture.

    Args:
        picture: The picture, open.
        tags: All its tags.
        content: The file, or what stands in it; beside a path a sidecar is looked for, IMG.jpg.xmp.
        notes: Gets what is left out.

    Returns:
        Values by names.
    """
    packet = picture.info.get("xmp")
    resources = picture.info.get("photoshop")
    block = resources.get(RESOURCE, b"") if isinstance(resources, Mapping) else b""
    if picture.format == "TIFF":  # Pillow takes the first number for the block
        with open_again(content) as file:
            block = _iptc(read_tiff(file))
    return _gather(tags, _as_bytes(packet, "<"), _as_bytes(block, "<"), sidecars_of(content, False), notes)


def _gather(tags: Image.Exif, packet: bytes, block: bytes, sidecars: list[Path], notes: list[str]) -> dict[str, Value]:
    """Later ones win: Windows' tags, IPTC, XMP, sidecars."""
    found = {**_of_windows(tags), **read_iptc(block), **_kept(read(packet))}
    for path in sidecars:
        try:
            size = path.stat().st_size
            content = read_regular(path) if size <= MOST else b""
        except (InputError, OSError):
            content = b""
        if is_readable(content):
            found |= _kept(read(content))
            _note_edits(content, path.name, notes)
        else:
            notes.append(f"{path.name} beside it is damaged or too large: not read")
    return _fitting(found, notes)


def _note_edits(packet: bytes, where: str, notes: list[str]) -> None:
    if programs := editors(packet):
        notes.append(f"edits of {' and '.join(programs)} in {where} are ignored")


def _kept(properties: Mapping[str, Value]) -> dict[str, Value]:
    return {
        name: value
        for name, value in properties.items()
        if value and name not in DROPPED and (name in KEPT or name.startswith(KEPT_PREFIXES))
    }


def _fitting(properties: dict[str, Value], notes: list[str]) -> dict[str, Value]:
    """All that a JPEG has room for."""
    sizes = {name: len(build({name: value})) for name, value in properties.items()}
    for name in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        if sum(sizes[left] for left in properties) <= MOST_KEPT:
            break
        del properties[name]
        notes.append(f"{name} is too long for a picture's XMP: left out")
    return properties


def _of_windows(tags: Image.Exif) -> dict[str, Value]:
    """What Windows writes into tags of its own."""
    found: dict[str, Value] = {}
    keywords = _wide_text(tags.get(KEYWORDS))
    if words := tuple(word.strip() for word in keywords.split(";") if word.strip()):
        found["dc:subject"] = words
    if title := _wide_text(tags.get(TITLE)).strip():
        found["dc:title"] = title
    rating = tags.get(RATING)
    if isinstance(rating, int) and 1 <= rating <= 5:  # 0 says that nobody rated it
        found["xmp:Rating"] = str(rating)
    return found


def _wide_text(value: Any) -> str:
    """UTF-16 to its first NUL."""
    return value.decode("utf-16-le", "replace").partition("\0")[0] if isinstance(value, bytes) else ""


def _iptc(tags: Image.Exif) -> bytes:
    """The IIM block among a TIFF's tags."""
    block = _as_bytes(tags.get(IPTC_TAG), tags.endian)
    return block or find_resource(_as_bytes(tags.get(PHOTOSHOP_TAG), tags.endian))


def _as_bytes(value: Any, order: str | None) -> bytes:
    """The bytes of a tag, whatever type it claims: some write a block as numbers of 32 bits."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("latin-1", "replace")
    numbers = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(number, int) for number in numbers):
        return b""
    wide = any(number > 255 for number in numbers)
    way = "big" if order == ">" else "little"
    try:
        return b"".join(number.to_bytes(4, way) for number in numbers) if wide else bytes(numbers)
    except (OverflowError, ValueError):
        return b""


def sidecars_of(source: Source, has_short_name: bool) -> list[Path]:
    """The sidecars of a file, by their names in any case, the one of its whole name last.

    Args:
        source: What is read; only beside a path can there be any.
        has_short_name: Whether IMG.xmp is one of IMG.CR2, as of RAWs.
    """
    if not isinstance(source, str | os.PathLike):
        return []
    path = Path(source)
    stems = [path.stem, path.name] if has_short_name else [path.name]
    found = []
    for stem in stems:
        for suffix in (".xmp", ".XMP", ".Xmp"):
            sidecar = path.with_name(stem + suffix)
            try:
                if sidecar != path and sidecar.is_file():
                    found.append(sidecar)
                    break
            except (OSError, ValueError):
                break
    return found
