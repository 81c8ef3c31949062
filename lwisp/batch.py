"""Batches: which pictures to make of which files, and making them while others are read and written."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lwisp.engines.engine import Engine
from lwisp.errors import InputError, tell_failure
from lwisp.files.decoding import is_own
from lwisp.files.encoding import BITS, SUFFIX_FORMATS, SUFFIXES, Format
from lwisp.files.raw import RAW_SUFFIXES
from lwisp.files.writing import check_output, clear_leftovers, fold, fold_all, make_folder, not_own
from lwisp.weights import Camera, Card

MARK = "-lwisp"
"""Ending of a picture's name beside its RAW, so that it is never the name of the camera's own JPEG."""

Product = Format | Literal["dng"]
"""Formats that a job may write."""


class Source(Protocol):
    """A photo read from a file."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Messages for the user about what the file lacks."""


S = TypeVar("S", bound=Source)


@dataclass(frozen=True)
class Outcome:
    """The result of one job: the picture written, or the reason why not."""

    source: Path
    output: Path
    error: str = ""
    notes: tuple[str, ...] = ()
    engine: str = ""
    """Back end, precision and threads in one line."""
    weights: str = ""
    """Name of the weights."""
    camera: Camera | None = None
    """The camera whose look the weights have; None of others."""
    pixels: int = 0
    """Of the picture."""


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


@dataclass(frozen=True, eq=False)
class Made:
    """A picture made in memory, with the weights and the engine that made it."""

    picture: NDArray[Any]
    card: Card
    engine: Engine
    notes: tuple[str, ...] = ()
    """Messages for the user, beside those of the source."""


def plan(
    sources: list[Path],
    output: Path | None,
    format: Product | None,
    suffixes: frozenset[str] = RAW_SUFFIXES,
    default: Callable[[Path], Product] = lambda file: "jpg",
    mark: str = MARK,
) -> list[Job]:
    """The jobs for files and folders: which picture to make of which file.

    Args:
        sources: Files, and folders to be searched, not those below.
        output: For one file a file name with its suffix; else a folder, made if need be; None for the file's own.
        format: Format of the pictures; None takes the suffix of `output`, else `default`.
        suffixes: Suffixes that folders are searched for.
        default: Format of the picture of a file.
        mark: Ending of the names of pictures that go beside their file; folders are not searched for such names.

    Returns:
        The jobs, in the order of `sources`, each file once.

    Raises:
        InputError: Before any work, where sources and output do not fit together.
    """
    endings: dict[str, Product] = {**SUFFIX_FORMATS}
    try:
        files = list(dict.fromkeys(_find_files(sources, suffixes, mark)))  # a file named twice is one file
        if format == "dng" or (format is None and "dng" in map(default, files)):
            endings[".dng"] = "dng"
        names_file = output is not None and not output.is_dir() and output.suffix.lower() in endings
        if output is not None and not names_file and not output.is_dir() and (output.suffix or output.exists()):
            raise InputError(f"--output {output}: expected a folder, or a name ending in {', '.join(endings)}")
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be looked at: {error.strerror}") from error
    if output is not None and names_file:
        if len(files) != 1:
            raise InputError(f"--output {output} names one picture for {len(files)} files; name a folder")
        found = endings[output.suffix.lower()]
        if format not in (None, found) and (format, found) != ("png16", "png"):
            raise InputError(f"--output {output} and --format {format} disagree; drop one of them")
        own = default(files[0])
        chosen = format or (own if (own, found) == ("png16", "png") else found)
        return [Job(files[0], output, chosen, is_named=True)]
    jobs = []
    for file in files:
        chosen = format or default(file)
        folder = output or file.parent
        beside = os.path.realpath(folder) == os.path.realpath(file.parent)
        name = f"{file.stem}{mark if beside else ''}{'.dng' if chosen == 'dng' else SUFFIXES[chosen]}"
        jobs.append(Job(file, folder / name, chosen))
    return jobs


def _find_files(sources: list[Path], suffixes: frozenset[str], mark: str) -> Iterator[Path]:
    for source in sources:
        if not _is_folder(source, is_alone=len(sources) == 1):
            yield source
            continue
        files = sorted(
            path
            for path in source.iterdir()
            if path.suffix.lower() in suffixes and not (mark and path.stem.endswith(mark))
        )
        if not files:
            raise InputError(f"{source}: no such files in this folder ({', '.join(sorted(suffixes))})")
        yield from files


def _is_folder(source: Path, is_alone: bool) -> bool:
    """Whether a source is a folder; of several one that cannot be looked at, as a too long name, fails by itself."""
    try:
        return source.is_dir()
    except OSError:
        if is_alone:
            raise
        return False


def work(
    jobs: Iterable[Job],
    read: Callable[[Path], S],
    make: Callable[[S, Job], Made],
    write: Callable[[Job, S, NDArray[Any], bool], None],
    memory: float | None = None,
    overwrite: bool = False,
) -> Iterator[Outcome]:
    """Do jobs in their order; whatever goes wrong with a file, the others are done.

    While `make` works on one file the next is read and the last is written, unless `memory` is bounded. Never replaced
    are the files themselves, and what another job has just made.

    Args:
        jobs: The jobs, from `plan`.
        read: File -> photo, in a thread of its own.
        make: (photo, job) -> picture, in the caller's thread.
        write: Writes (job, photo, picture, whether to replace a file), in a thread of its own.
        memory: Bound on the memory of the process in GB; where it is set, files are worked on one at a time.
        overwrite: Replace pictures that lwisp wrote before, and whatever has the very name that the user gave.

    Returns:
        What became of each file, as it is done.
    """
    jobs = list(jobs)
    outputs = [_place(job.output) for job in jobs]
    guard = _Guard(jobs, overwrite)

    def begin(job: Job) -> S:
        guard.begin(job)
        return read(job.source)

    def end(job: Job, source: S, made: Made) -> Outcome:
        guard.check(job)  # again: a camera's card may have been copied meanwhile
        write(job, source, made.picture, os.path.lexists(job.output))
        guard.end(job)
        return Outcome(
            job.source,
            job.output,
            notes=(*source.notes, *made.notes),
            engine=made.engine.description,
            weights=made.card.name,
            camera=made.card.camera,
            pixels=made.picture.shape[0] * made.picture.shape[1],
        )

    reader = ThreadPoolExecutor(1)
    writer = ThreadPoolExecutor(1)
    reading: Future[S] | None = None
    writing: Future[Outcome] | None = None
    try:
        for pool in (reader, writer):  # a thread whose start is interrupted would not be waited for
            pool.submit(int).result()
        for index, job in enumerate(jobs):
            if writing is not None and (memory is not None or outputs[index] in outputs[:index]):
                yield _outcome(jobs[index - 1], writing)
                writing = None
            reading = reading or reader.submit(begin, job)
            coming = None
            try:
                source = reading.result()
                if memory is None and index + 1 < len(jobs) and outputs[index + 1] not in outputs[: index + 1]:
                    coming = reader.submit(begin, jobs[index + 1])
                following = writer.submit(end, job, source, make(source, job))
            except Exception as error:
                following = Future()
                following.set_exception(error)
            reading = coming
            if writing is not None:
                yield _outcome(jobs[index - 1], writing)
            writing = following
        if writing is not None:
            yield _outcome(jobs[-1], writing)
    finally:  # also where the user stops it: what is being written is finished, nothing else is begun
        for pool in (reader, writer):
            pool.shutdown(cancel_futures=True)


def _outcome(job: Job, result: Future[Outcome]) -> Outcome:
    try:
        return result.result()
    except Exception as error:  # of a decoder, the memory, an engine: it is this file's, not the others'
        return Outcome(job.source, job.output, error=tell_failure(job.source, error))


def _place(path: Path) -> tuple[str, str]:
    """The same for all paths that may be one file."""
    return os.path.realpath(path.parent), fold(path.name)


class _Guard:
    """What keeps jobs from destroying people's files, and each other's."""

    def __init__(self, jobs: Sequence[Job], overwrite: bool) -> None:
        self.overwrite = overwrite
        self.sources = {identity: job.source for job in jobs if (identity := _identity(job.source)) is not None}
        self.written: dict[tuple[str, str], Path] = {}
        self.listings: dict[Path, dict[str, list[str]]] = {}

    def begin(self, job: Job) -> None:
        """Make the job's folder ready; raises `InputError` where its output must not be written."""
        folder = job.output.parent
        if folder not in self.listings:
            make_folder(folder)
            clear_leftovers(folder)
            self.listings[folder] = fold_all(path.name for path in folder.iterdir())
        if (source := self.written.get(_place(job.output))) is not None:
            raise InputError(f"{job.output} was just made from {source}; develop this one by itself")
        for name in self.listings[folder].get(fold(job.output.name), ()):
            if name != job.output.name and not job.is_named and not is_own(folder / name):
                raise InputError(not_own(folder / name))  # IMG.JPG, where IMG.jpg is to be written
        self.check(job)

    def check(self, job: Job) -> None:
        """Raise `InputError` where the output is something that must not be replaced."""
        identity = _identity(job.output)
        if identity is not None and identity in self.sources:
            what = "the file itself" if self.sources[identity] == job.source else "one of the files to be read"
            raise InputError(f"{job.output} is {what}; --output names another place")
        check_output(job.output, self.overwrite, None if job.is_named else is_own)

    def end(self, job: Job) -> None:
        """Remember what was written."""
        self.written[_place(job.output)] = job.source


def _identity(path: Path) -> tuple[int, int] | None:
    """The same for all names of one file, be they links."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
