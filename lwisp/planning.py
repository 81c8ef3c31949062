"""Which pictures to make of which files, and what they are called."""

import os
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np

from lwisp.errors import ArgumentError, InputError
from lwisp.files.encoding import BITS, SUFFIX_FORMATS, SUFFIXES, Format
from lwisp.files.listing import find_files
from lwisp.files.raw import RAW_SUFFIXES
from lwisp.files.shots import Shot, read_shot
from lwisp.files.writing import fold

MARK = "-lwisp"
"""Ending of a picture's name beside its RAW, so that it is never the name of the camera's own JPEG."""

Product = Format | Literal["dng"]
"""Formats that a job may write."""


@dataclass(frozen=True)
class Job:
    """One file, and the picture to make of it."""

    source: Path
    output: Path
    format: Product
    is_named: bool = False
    """Whether the user named the output file itself, which may then replace one that lwisp did not write."""

    @property
    def picture(self) -> Format:
        """The format of a finished picture.

        Raises:
            InputError: The job asks for a DNG.
        """
        if self.format == "dng":
            raise InputError(f"{self.output}: expected the format of a finished picture, got DNG")
        return self.format

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Type of the pixels in that format."""
        return np.uint8 if BITS[self.picture] == 8 else np.uint16


@dataclass(frozen=True)
class Found:
    """A file to be worked on, and the folder below `output` that its picture goes to."""

    file: Path
    folder: PurePath = PurePath()


def plan(
    sources: Sequence[Path],
    output: Path | None,
    format: Product | None,
    suffixes: frozenset[str] = RAW_SUFFIXES,
    default: Callable[[Path], Product] = lambda file: "jpg",
    mark: str = MARK,
    recursive: bool = True,
    name: str = "",
    is_left_out: Callable[[Path], bool] = lambda file: False,
    read_tags: Callable[[Path], Shot] = read_shot,
) -> list[Job]:
    """The jobs for files and folders: which picture to make of which file.

    Below `output` the tree of a folder is kept, but where the template says by {folder} what becomes of it; of several
    folders each gets one of its name there. Pictures that would get one name, as those of IMG.CR2 and IMG.NEF, get
    longer ones that tell them apart: IMG_CR2 and IMG_NEF.

    Args:
        sources: Files, and folders to be searched.
        output: For one file a file name with its suffix; else a folder, made if need be; None for the file's own.
        format: Format of the pictures; None takes the suffix of `output`, else `default`.
        suffixes: Suffixes that folders are searched for.
        default: Format of the picture of a file.
        mark: Ending of the names of pictures that go beside their file; folders are not searched for such names.
        recursive: Search the folders below, too.
        name: Template of the names without suffix, as "{date}/{stem}", with the fields of `FIELDS`; "" for the file's.
        is_left_out: Whether a file is passed over in folders, as one that lwisp made; asked once for each.
        read_tags: How to read when and with what a photo was taken, for the template.

    Returns:
        The jobs, in the order of `sources`, each file once.

    Raises:
        InputError: Before any work, where sources and output do not fit together.
    """
    check_template(name)
    try:
        found = list(find_all(sources, output, suffixes, mark, recursive, is_left_out))
    except OSError as error:
        raise _unseen(error) from error
    return name_pictures(found, output, format, default, mark, name, read_tags)


def name_pictures(
    files_found: Iterable[Found],
    output: Path | None,
    format: Product | None,
    default: Callable[[Path], Product] = lambda file: "jpg",
    mark: str = MARK,
    name: str = "",
    read_tags: Callable[[Path], Shot] = read_shot,
) -> list[Job]:
    """The jobs for files that have been found: what `plan` makes of them.

    Args:
        files_found: The files.
        output: As for `plan`.
        format: As for `plan`.
        default: As for `plan`.
        mark: As for `plan`.
        name: As for `plan`; checked by `check_template`.
        read_tags: As for `plan`.

    Returns:
        The jobs, each file once.

    Raises:
        InputError: Files and output do not fit together.
    """
    endings: dict[str, Product] = {**SUFFIX_FORMATS}
    try:
        unique: dict[Path, Found] = {}
        for one in files_found:
            unique.setdefault(one.file, one)  # a file named twice is one file
        found = list(unique.values())
        files = list(unique)
        if format == "dng" or (format is None and "dng" in map(default, files)):
            endings[".dng"] = "dng"
        names_file = output is not None and not output.is_dir() and output.suffix.lower() in endings
        if output is not None and not names_file and not output.is_dir() and (output.suffix or output.exists()):
            raise ArgumentError(f"--output {output}: expected a folder, or a name ending in {', '.join(endings)}")
    except OSError as error:
        raise _unseen(error) from error
    if output is not None and names_file:
        if len(files) != 1 or name:
            what = "and --name disagree" if name else f"names one picture for {len(files)} files"
            raise ArgumentError(f"--output {output} {what}; name a folder")
        chosen = format or endings[output.suffix.lower()]
        if chosen != endings[output.suffix.lower()] and (chosen, output.suffix.lower()) != ("png16", ".png"):
            raise ArgumentError(f"--output {output} and --format {format} disagree; drop one of them")
        own = default(files[0])
        is_deep_png = format is None and (own, chosen) == ("png16", "png")
        return [Job(files[0], output, own if is_deep_png else chosen, is_named=True)]
    real = cache(os.path.realpath)
    fields = _fields(name)
    jobs = []
    for number, one in enumerate(found, 1):
        chosen = format or default(one.file)
        stem = _fill(name, one, number, read_tags) if name else one.file.stem
        tree = PurePath() if "folder" in fields else one.folder
        folder = (output / tree if output is not None else one.file.parent) / PurePath(stem).parent
        beside = real(folder) == real(one.file.parent)
        suffix = ".dng" if chosen == "dng" else SUFFIXES[chosen]
        jobs.append(Job(one.file, folder / f"{PurePath(stem).name}{mark if beside else ''}{suffix}", chosen))
    return _told_apart(jobs, mark, real)


def _unseen(error: OSError) -> InputError:
    return InputError(f"{error.filename}: cannot be looked at: {error.strerror}")


def is_wanted(path: Path, suffixes: frozenset[str] = RAW_SUFFIXES, mark: str = MARK) -> bool:
    """Whether a file in a folder is one to be worked on, by its name.

    Args:
        path: The file.
        suffixes: Those of files to be worked on, in lower case.
        mark: Ending of the names of pictures that were made; "" where there is none.
    """
    return path.suffix.lower() in suffixes and not (mark and path.stem.endswith(mark))


def find_all(
    sources: Sequence[Path],
    output: Path | None,
    suffixes: frozenset[str] = RAW_SUFFIXES,
    mark: str = MARK,
    recursive: bool = True,
    is_left_out: Callable[[Path], bool] = lambda file: False,
) -> Iterator[Found]:
    """The files that sources stand for: themselves, and those in folders.

    Args:
        sources: As for `plan`.
        output: As for `plan`; not searched where it lies in a folder.
        suffixes: As for `plan`.
        mark: As for `plan`.
        recursive: As for `plan`.
        is_left_out: As for `plan`.

    Yields:
        Files, in the order of the sources.

    Raises:
        InputError: A folder without such files.
        OSError: A folder that cannot be read.
    """

    folders = [source for source in sources if _is_folder(source, is_alone=len(sources) == 1)]
    for source in sources:
        if source not in folders:
            yield Found(source)
            continue
        unread: list[Path] = []
        leave_out = [output] if output is not None and os.path.realpath(output) != os.path.realpath(source) else []
        files = find_files(source, lambda path: is_wanted(path, suffixes, mark), recursive, leave_out, unread)
        if not files and not unread:
            raise InputError(f"{source}: no such files in this folder ({', '.join(sorted(suffixes))})")
        found, files = files, [file for file in files if file in sources or not is_left_out(file)]
        if found and not files and not unread:
            raise InputError(f"{source}: lwisp made all pictures in this folder; name those that are to be taken")
        top = PurePath(source.resolve().name if len(folders) > 1 else "")
        for file in files:
            yield Found(file, top / file.parent.relative_to(source))
        yield from map(Found, unread)  # each fails in its turn, by its name


def _is_folder(source: Path, is_alone: bool) -> bool:
    """Whether a source is a folder; of several one that cannot be looked at, as a too long name, fails by itself."""
    try:
        return source.is_dir()
    except OSError:
        if is_alone:
            raise
        return False


def place_of(path: Path, real: Callable[[Path], str] = os.path.realpath) -> tuple[str, str]:
    """The same for all paths that may be one file, also where a file system ignores case and the writing of accents.

    Args:
        path: A path; the file need not exist.
        real: Folder -> its path without links; one that remembers its answers is faster for many files.

    Returns:
        Its folder without links, and its folded name.
    """
    return real(path.parent), fold(path.name)


def _told_apart(jobs: list[Job], mark: str, real: Callable[[Path], str]) -> list[Job]:
    """The jobs with outputs that are no two of them one file: suffix, folder or number of the source is added."""
    grouped: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        grouped.setdefault(place_of(job.output, real), []).append(job)
    taken = {place for place, group in grouped.items() if len(group) == 1}
    counts: Counter[Path] = Counter()
    outputs = {}
    for group in grouped.values():
        if len(group) == 1:
            continue
        for job, longer in zip(group, _longer_names(group, mark, real), strict=True):
            output = longer
            while place_of(output, real) in taken:
                counts[longer] += 1
                output = _with_ending(longer, f"-{counts[longer] + 1}", mark)
            taken.add(place_of(output, real))
            outputs[job.source] = output
    return [replace(job, output=outputs.get(job.source, job.output)) for job in jobs]


def _longer_names(group: list[Job], mark: str, real: Callable[[Path], str]) -> Iterator[Path]:
    """The outputs of a group with what tells its sources apart: the suffix, else the folder, and both where need be."""
    suffixes = {fold(job.source.suffix) for job in group}
    is_told_by_suffix = len(suffixes) == len(group)
    is_told_by_folder = not is_told_by_suffix and len({real(job.source.parent) for job in group}) > 1
    for job in group:
        output = job.output
        if is_told_by_folder:
            output = output.with_name(f"{PurePath(real(job.source.parent)).name}_{output.name}")
        yield _with_ending(output, f"_{job.source.suffix[1:]}", mark) if len(suffixes) > 1 else output


def _with_ending(output: Path, ending: str, mark: str) -> Path:
    """A file name with an ending before its suffix, and before the mark."""
    stem = output.stem
    tail = mark if mark and stem.endswith(mark) else ""
    return output.with_name(f"{stem.removesuffix(tail)}{ending}{tail}{output.suffix}")


FIELDS = {
    "stem": "the file's name without its suffix",
    "suffix": "its suffix, without the dot",
    "folder": "its folder below the one that was named",
    "number": "1 for the first file, and so on; {number:04} has four digits",
    "date": "2026-11-28, when it was taken",
    "time": "14-05-09",
    "year": "2026",
    "month": "11",
    "day": "28",
    "camera": "make and model",
    "iso": "ISO speed",
}
"""Fields of a template of names."""
DIGITS = re.compile("0?[1-9]")
"""What may follow "number:": up to nine digits, with zeros or spaces before them."""
UNKNOWN = "unknown"
"""Value of a field that a file does not tell."""
TAGGED = frozenset(["date", "time", "year", "month", "day", "camera", "iso"])
"""Fields for which a file must be opened."""


def check_template(template: str) -> None:
    """Check a template of names before any work.

    Args:
        template: Such as "{date}/{stem}"; "" is no template.

    Raises:
        InputError: A field that is not in `FIELDS`, a brace without its other, or a path that leaves the folder.
    """
    example: dict[str, Any] = dict.fromkeys(FIELDS, "x") | {"number": 1}
    try:
        for _, field, digits, conversion in string.Formatter().parse(template):
            if field is None:
                continue
            if field not in FIELDS:
                raise ArgumentError(f"--name {template}: there is no field {{{field}}}; there are {', '.join(FIELDS)}")
            if conversion or (digits and not (field == "number" and DIGITS.fullmatch(digits))):
                raise ArgumentError(f"--name {template}: expected {{{field}}}, as only {{number:04}} takes more")
        filled = template.format(**example)
    except (ValueError, IndexError, KeyError) as error:
        raise ArgumentError(f"--name {template}: expected text and fields such as {{stem}}: {error}") from error
    if any(ord(letter) < 32 for letter in filled):
        raise ArgumentError(f"--name {template}: expected letters that can be seen, got a control character")
    path = PurePath(filled)
    if template and (path.is_absolute() or ".." in path.parts or not path.name or filled.endswith(("/", os.sep))):
        raise ArgumentError(f"--name {template}: expected a name within the output folder, such as {{date}}/{{stem}}")


def fields_read(template: str) -> set[str]:
    """The fields of a template of names for which files must be opened.

    Args:
        template: One that `check_template` lets pass.
    """
    return _fields(template) & TAGGED


def _fields(template: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}


def _fill(template: str, one: Found, number: int, read_tags: Callable[[Path], Shot]) -> str:
    """A template with the values of a file; what would be a path in a value becomes a part of the name."""
    shot = read_tags(one.file) if fields_read(template) else Shot()
    taken = shot.taken
    values: dict[str, Any] = {
        "stem": one.file.stem,
        "suffix": one.file.suffix[1:],
        "date": f"{taken:%Y-%m-%d}" if taken else UNKNOWN,
        "time": f"{taken:%H-%M-%S}" if taken else UNKNOWN,
        "year": f"{taken:%Y}" if taken else UNKNOWN,
        "month": f"{taken:%m}" if taken else UNKNOWN,
        "day": f"{taken:%d}" if taken else UNKNOWN,
        "camera": shot.camera,
        "iso": shot.iso or UNKNOWN,
    }
    values = {field: _part(str(value)) for field, value in values.items()}
    folder = "/".join(one.folder.parts)
    filled = template.format(**values, number=number, folder=folder)
    return str(PurePath(*[part for part in filled.split("/") if part not in ("", ".")]))


def _part(value: str) -> str:
    """A value as a part of a file name on any system: none of its letters separates folders."""
    kept = "".join("_" if letter in '/\\:*?"<>|' or not letter.isprintable() else letter for letter in value).strip()
    return kept.strip(".") or UNKNOWN
