"""Which files are developed on a cluster: those of folders, patterns, manifests and stores."""

import csv
import glob
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath

from lwisp.cluster.stores import fetch, files_below, files_like
from lwisp.cluster.urls import Url, is_kept, place
from lwisp.errors import ArgumentError, InputError, alternatives, shown, unreadable
from lwisp.files.listing import is_hidden
from lwisp.files.raw import RAW_SUFFIXES
from lwisp.files.writing import is_regular, temporary_folder
from lwisp.planning import Found, Job, Product, check_template, fields_read, find_all, is_wanted, name_pictures

MANIFESTS = frozenset([".txt", ".csv", ".jsonl"])
"""Suffixes of lists of files."""
COLUMNS = ("path", "url", "file", "source")
"""Names of the column, or of the key, that has the files."""
MOST_LETTERS = 4096
"""Of a line of a manifest."""
MOST_MANIFEST = 2**30
"""Bytes of a manifest."""


def plan(
    sources: Sequence[Path], output: Path | None, format: Product | None, recursive: bool = True, name: str = ""
) -> list[Job]:
    """The jobs for files, folders, patterns, manifests and URLs, with the names that a batch on one machine gives.

    Args:
        sources: RAW files and folders, URLs of such (s3://bucket/folder), patterns with *, ? or [], and manifests:
            texts with a path or URL a line, CSV or JSON lines (`MANIFESTS`). What they name is relative to their own
            folder.
        output: As for `planning.plan`, or a URL.
        format: As for `planning.plan`.
        recursive: Search the folders below, too.
        name: As for `planning.plan`; of files in a store no field that needs the file to be opened.

    Returns:
        The jobs, in the order of the sources; a file of a manifest need not exist, which is said in its turn.

    Raises:
        InputError: Before any work, where sources and output do not fit together or a store cannot be asked.
    """
    check_template(name)
    output = None if output is None else place(output)
    placed = [place(source) for source in sources]
    try:
        found = list(_find(placed, output, recursive))
    except OSError as error:
        raise unreadable(error.filename or "a folder", error) from error
    if fields_read(name) and any(isinstance(one.file, Url) for one in found):
        raise ArgumentError(f"--name {name}: expected fields that need no file to be opened, as {{stem}}")
    jobs = name_pictures(found, output, format, name=name)
    taken = {str(job.source) for job in jobs}
    for job in jobs:
        if str(job.output) in taken:
            raise ArgumentError(f"{job.output} is one of the files to be read; --output names another place")
    return jobs


def _find(sources: list[Path], output: Path | None, recursive: bool) -> Iterator[Found]:
    ordinary = [source for source in sources if not isinstance(source, Url) and not _is_list(source)]
    for source in sources:
        if source.suffix.lower() in MANIFESTS:
            yield from (Found(file) for file in read_manifest(source))
        elif _is_pattern(source):
            yield from _matching(source)
        elif isinstance(source, Url):
            yield from _in_store(source, output, recursive, len(sources) > 1)
        elif source is ordinary[0]:
            yield from find_all(ordinary, output, recursive=recursive)


def _is_list(source: Path) -> bool:
    return source.suffix.lower() in MANIFESTS or _is_pattern(source)


def _is_pattern(source: Path) -> bool:
    return any(letter in str(source) for letter in "*?[") and (isinstance(source, Url) or not source.exists())


def _matching(pattern: Path) -> Iterator[Found]:
    if isinstance(pattern, Url):
        files: list[Path] = list(files_like(pattern))
    else:
        files = sorted(map(Path, glob.glob(str(pattern), recursive=True)))  # noqa: PTH207 (of absolute paths, too)
    wanted = [file for file in files if is_wanted(file) and not is_hidden(file.name)]
    if not wanted:
        raise InputError(f"{pattern}: no such files fit this pattern ({', '.join(sorted(RAW_SUFFIXES))})")
    yield from map(Found, wanted)


def _in_store(source: Url, output: Path | None, recursive: bool, is_one_of_several: bool) -> Iterator[Found]:
    files = files_below(source, recursive)
    if files is None:
        yield Found(source)
        return
    depth = len(source.parts)
    wanted = [
        file
        for file in files
        if is_wanted(file)
        and not any(map(is_hidden, file.parts[depth:]))
        and not (isinstance(output, Url) and output != source and output in file.parents)
    ]
    if not wanted:
        raise InputError(f"{source}: no such files in this folder ({', '.join(sorted(RAW_SUFFIXES))})")
    top = PurePath(source.name if is_one_of_several else "")
    for file in wanted:
        yield Found(file, top / PurePath(*file.parts[depth:-1]))


def read_manifest(manifest: Path) -> list[Path]:
    """The files that a manifest names.

    Args:
        manifest: A text of one path or URL a line, where lines that begin with # do not count; a CSV with a column, or
            JSON lines with a key, of `COLUMNS`. UTF-8.

    Returns:
        Paths and URLs, in their order; relative ones begin at the manifest's folder.

    Raises:
        InputError: It cannot be read, or a line cannot be understood.
    """
    if isinstance(manifest, Url):
        with temporary_folder() as folder:
            file = folder / manifest.name
            fetch(manifest, file, MOST_MANIFEST)
            return _read(file, manifest)
    if not is_regular(manifest):
        raise InputError(f"{manifest}: expected a list of files; there is no such file")
    if manifest.stat().st_size > MOST_MANIFEST:
        raise InputError(f"{manifest}: expected a list of files of at most {MOST_MANIFEST / 2**30:g} GiB")
    return _read(manifest, manifest)


def _read(file: Path, manifest: Path) -> list[Path]:
    read = {".csv": _of_csv, ".jsonl": _of_json}.get(manifest.suffix.lower(), _of_text)
    found = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            for number, name in read(_lines(text.readline, manifest), manifest):
                if "\0" in name or not name:
                    raise InputError(f"{manifest}, line {number}: expected a path or URL, got {shown(name)}")
                one = place(name)
                if isinstance(one, Url) and not is_kept(name):
                    raise InputError(
                        f"{manifest}, line {number}: {shown(name)}: a key with a part that is empty or '.' cannot be "
                        "named here; rename it"
                    )
                is_whole = isinstance(one, Url) or one.is_absolute()
                found.append(one if is_whole else manifest.parent / one)
    except UnicodeDecodeError as error:
        raise InputError(f"{manifest}: expected a list of files in UTF-8") from error
    except OSError as error:
        raise unreadable(manifest, error) from error
    if not found:
        raise InputError(f"{manifest}: expected a list of files, this one names none")
    return found


def _lines(readline: Callable[[int], str], manifest: Path) -> Iterator[str]:
    number = 0
    while line := readline(MOST_LETTERS + 1):
        number += 1
        if len(line) > MOST_LETTERS:
            raise InputError(f"{manifest}, line {number}: expected at most {MOST_LETTERS} letters")
        yield line


def _of_text(lines: Iterator[str], _: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        name = line.strip("\r\n")
        if name.strip() and not name.startswith("#"):
            yield number, name


def _of_csv(lines: Iterator[str], manifest: Path) -> Iterator[tuple[int, str]]:
    table = csv.reader(lines)
    try:
        header = [name.strip().lower() for name in next(table, [])]
        column = next((header.index(name) for name in COLUMNS if name in header), None)
        if column is None:
            raise InputError(f"{manifest}: expected a table with a column {alternatives(COLUMNS)} in its first line")
        for row in table:
            if row:
                yield table.line_num, row[column] if column < len(row) else ""
    except csv.Error as error:
        raise InputError(f"{manifest}, line {table.line_num}: expected CSV: {error}") from error


def _of_json(lines: Iterator[str], manifest: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if isinstance(entry, dict):
            entry = next((entry[name] for name in COLUMNS if name in entry), None)
        if not isinstance(entry, str):
            raise InputError(
                f"{manifest}, line {number}: expected JSON, a text or an object with {alternatives(COLUMNS)}"
            )
        yield number, entry
