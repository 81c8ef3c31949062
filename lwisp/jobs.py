"""Many files: which pictures to make of them, and making them while others are read and written."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lwisp.checkpoint import Camera, Card
from lwisp.errors import InputError
from lwisp.files import check_output, make_folder
from lwisp.image import BITS, SUFFIX_FORMATS, SUFFIXES, Format
from lwisp.inference import Engine
from lwisp.raw import RAW_SUFFIXES

Product = Format | Literal["dng"]
"""What a job writes."""


class Source(Protocol):
    """What a file was read into."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the file did not say, for the user's eyes."""


S = TypeVar("S", bound=Source)


@dataclass(frozen=True)
class Outcome:
    """What became of one file: the picture written, or why not."""

    source: Path
    output: Path
    error: str = ""
    notes: tuple[str, ...] = ()
    engine: str = ""
    """What the network ran on, in one line."""
    weights: str = ""
    """Their name."""
    camera: Camera | None = None
    """Whose look they have, where it is one camera's."""


@dataclass(frozen=True)
class Job:
    """One file, and the picture to make of it."""

    source: Path
    output: Path
    format: Product

    @property
    def picture(self) -> Format:
        """The format, of a finished picture; raises `InputError` where a DNG is asked for."""
        if self.format == "dng":
            raise InputError(f"{self.output}: expected the format of a finished picture, got DNG")
        return self.format

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """What pixels of that format are."""
        return np.uint8 if BITS[self.picture] == 8 else np.uint16


@dataclass(frozen=True, eq=False)
class Made:
    """What was made of a file, and by what."""

    picture: NDArray[Any]
    card: Card
    engine: Engine
    notes: tuple[str, ...] = ()
    """What to tell of the work, beside the source's own."""


def plan(
    sources: list[Path],
    output: Path | None,
    format: Product | None,
    suffixes: frozenset[str] = RAW_SUFFIXES,
    default: Callable[[Path], Product] = lambda file: "jpg",
    mark: str = "",
) -> list[Job]:
    """Which pictures to make of files, and of those files lying in folders that have one of the suffixes.

    `output` is a file name with its suffix for one file, else a folder, made if need be; without it pictures go beside
    their file, their names ending in `mark`, and what a folder holds of such pictures is passed over. Without a format
    it is the file's `default`. Raises `InputError`, before any work, where sources and output make no sense together.
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
        return [Job(files[0], output, format or (own if (own, found) == ("png16", "png") else found))]
    jobs = []
    for file in files:
        chosen = format or default(file)
        name = f"{file.stem}{'' if output else mark}{'.dng' if chosen == 'dng' else SUFFIXES[chosen]}"
        jobs.append(Job(file, (output or file.parent) / name, chosen))
    return jobs


def _find_files(sources: list[Path], suffixes: frozenset[str], mark: str) -> Iterator[Path]:
    for source in sources:
        if not source.is_dir():
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


def work(
    jobs: Iterable[Job],
    read: Callable[[Path], S],
    make: Callable[[S, Job], Made],
    write: Callable[[Job, S, NDArray[Any]], None],
    memory: float | None = None,
    overwrite: bool = False,
) -> Iterator[Outcome]:
    """Do the jobs that `plan` made, in their order; a file that cannot be used does not stop the rest.

    While `make` works on one the next is read and the last is written, unless `memory` is bounded. No
    picture is replaced without `overwrite`, and never one that another job has just made, or the file itself.
    """
    jobs = list(jobs)
    written: dict[Path, Path] = {}

    def begin(job: Job) -> S:
        if job.output in written:
            raise InputError(f"{job.output} was just made from {written[job.output]}; develop this one by itself")
        if job.output.exists() and job.output.samefile(job.source):
            raise InputError(f"{job.output} is the file itself; --output names another place")
        make_folder(job.output.parent)
        check_output(job.output, overwrite)
        return read(job.source)

    def end(job: Job, source: S, made: Made) -> Outcome:
        write(job, source, made.picture)
        written[job.output] = job.source
        card, notes = made.card, (*source.notes, *made.notes)
        return Outcome(job.source, job.output, "", notes, made.engine.description, card.name, card.camera)

    outputs = [job.output for job in jobs]
    reader, writer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    reading: Future[S] | None = None
    writing: Future[Outcome] | None = None
    try:
        for index, job in enumerate(jobs):
            if writing is not None and (memory is not None or job.output in outputs[:index]):
                yield _outcome(jobs[index - 1], writing)
                writing = None
            reading = reading or reader.submit(begin, job)
            coming = None
            try:
                source = reading.result()
                if memory is None and index + 1 < len(jobs) and outputs[index + 1] not in outputs[: index + 1]:
                    coming = reader.submit(begin, jobs[index + 1])
                following = writer.submit(end, job, source, make(source, job))
            except (InputError, OSError) as error:
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
    except InputError as error:
        return Outcome(job.source, job.output, error=str(error))
    except OSError as error:
        return Outcome(job.source, job.output, error=f"{job.source}: {error.strerror or error}")
