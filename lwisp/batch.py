"""Batches: making many pictures, each while others are read and written; whatever fails, the others are done."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from numpy.typing import NDArray

from lwisp.engines.engine import Engine
from lwisp.engines.threads import check_parallel
from lwisp.errors import InputError, kind_of, tell_failure
from lwisp.files.decoding import is_own
from lwisp.files.encoding import Finish
from lwisp.files.writing import check_output, clear_leftovers, fold, fold_all, make_folder, not_own
from lwisp.files.xmp import Value
from lwisp.planning import Job, place_of
from lwisp.provenance import NO_WEIGHTS, Provenance, Setting, digest, is_made_of
from lwisp.weights import Camera, Weights


class Source(Protocol):
    """A photo read from a file."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Messages for the user about what the file lacks."""

    @property
    def properties(self) -> Mapping[str, Value]:
        """What people said of it, for the XMP packet of what is made of it."""


S = TypeVar("S", bound=Source)
Listings = dict[Path, dict[str, list[str]]]
"""Names of the files in folders, by `fold`."""


@dataclass(frozen=True)
class Outcome:
    """The result of one job: the picture written, or the reason why not."""

    source: Path
    output: Path
    error: str = ""
    kind: str = ""
    """Of the error, in one word: `errors.kind_of`."""
    notes: tuple[str, ...] = ()
    engine: str = ""
    """Back end, precision and threads in one line."""
    weights: str = ""
    """Name of the weights."""
    camera: Camera | None = None
    """The camera whose look the weights have; None of others."""
    is_done_before: bool = False
    """Whether nothing was to be done: this very picture was there."""
    seconds: float = 0.0
    """Time for this file: read, made and written."""
    making: float = 0.0
    """Share of it, in seconds, of the network and the steps around it."""
    pixels: int = 0
    """Of the picture."""
    worker: str = ""
    """The worker of a cluster that made it; "" without a cluster."""


@dataclass(frozen=True, eq=False)
class Made:
    """A picture made in memory, with the weights and the engine that made it, if any did."""

    picture: NDArray[Any]
    weights: Weights | None = None
    engine: Engine | None = None
    notes: tuple[str, ...] = ()
    """Messages for the user, beside those of the source."""


@dataclass(frozen=True, eq=False)
class Finished(Generic[S]):
    """A picture that is ready to be written, and all that it was made of."""

    job: Job
    source: S
    made: Made
    source_sha256: str
    """Of the file."""
    replaces: bool
    """Whether a file of this name may be replaced."""

    def properties(self, verb: str, settings: Mapping[str, Setting]) -> dict[str, Value]:
        """Properties for the XMP packet: those of the source, and what the picture was made of, and by which weights.

        Args:
            verb: What was done, as "develop".
            settings: Those that differ from the defaults, but the format.

        Returns:
            Values by names, as `xmp.build` takes them.
        """
        weights, engine = self.made.weights, self.made.engine
        name, sha256 = (weights.card.name, weights.sha256) if weights is not None else (NO_WEIGHTS, NO_WEIGHTS)
        computed = engine.description if engine is not None else NO_WEIGHTS
        made_of = Provenance(verb, self.source_sha256, name, sha256, computed, _with_format(self.job, settings))
        return {**self.source.properties, **made_of.to_properties()}


def was_made(job: Job, verb: str, settings: Mapping[str, Setting], weights_sha256: Callable[[], str]) -> bool:
    """Whether a job's output is there already, made of the same file with the same settings and weights.

    Args:
        job: The job.
        verb: What it does, as "develop".
        settings: Those that differ from the defaults, but the format.
        weights_sha256: Gives the digest of the weights; called only where all else fits.

    Returns:
        What `provenance.is_made_of` says of it.
    """
    return is_made_of(job.output, verb, _with_format(job, settings), job.source, weights_sha256)


def _with_format(job: Job, settings: Mapping[str, Setting]) -> dict[str, Setting]:
    return {**settings, "format": job.format}


def checked(jobs: Iterable[Job], finish: Finish) -> list[Job]:
    """Jobs whose pictures can all be written as they are asked for.

    Args:
        jobs: The jobs.
        finish: Quality, size and color space of the pictures.

    Returns:
        The same jobs.

    Raises:
        InputError: One of them cannot.
    """
    listed = list(jobs)
    for job in listed:
        if job.format != "dng":
            finish.check(job.picture)
    return listed


def work(
    jobs: Iterable[Job],
    read: Callable[[Path], S],
    make: Callable[[S, Job], Made],
    write: Callable[[Finished[S]], None],
    memory: float | None = None,
    overwrite: bool = False,
    is_done: Callable[[Job], bool] | None = None,
    parallel: int = 1,
    listings: Listings | None = None,
) -> Iterator[Outcome]:
    """Do jobs in their order; whatever goes wrong with a file, the others are done.

    While `make` works on one file the next is read and the last is written, unless `memory` is bounded. Never replaced
    are the files themselves, and what another job has just made.

    Args:
        jobs: The jobs, from `planning.plan`.
        read: File -> photo; called in threads, as `make` and `write` are.
        make: (photo, job) -> picture.
        write: Writes it.
        memory: Bound on the memory of the process in GB; where it is set, files are worked on one at a time.
        overwrite: Replace pictures that lwisp wrote before, and whatever has the very name that the user gave.
        is_done: Whether the picture that is there already is the one that the job would make: it is left as it is. None
            where that cannot be told.
        parallel: How many pictures are made at once; as many more are read and written meanwhile.
        listings: Names in the folders to be written to, as earlier calls found them, each listed once.

    Returns:
        What became of each file, in the order of the jobs, as it is done.

    Raises:
        InputError: `parallel` is less than 1.
    """
    check_parallel(parallel)
    guard = _Guard(overwrite, is_done, {} if listings is None else listings)
    return _work(list(jobs), _Line(read, make, write, parallel), guard, memory is not None)


def _work(jobs: list[Job], line: "_Line", guard: "_Guard", one_at_a_time: bool) -> Iterator[Outcome]:
    guard.keep(jobs)
    window = 1 if one_at_a_time else min(line.stations, max(len(jobs), 1))
    seen: set[tuple[str, str]] = set()
    waiting: deque[tuple[Job, Future[Outcome]]] = deque()
    pool = ThreadPoolExecutor(window)
    try:
        _start_threads(pool, window)
        for job in jobs:
            place = place_of(job.output)
            is_again = place in seen
            seen.add(place)
            while waiting and (len(waiting) == window or is_again):
                yield _outcome(*waiting.popleft())
            waiting.append((job, pool.submit(line.do, job, guard)))
        while waiting:
            yield _outcome(*waiting.popleft())
    finally:  # also where the user stops it: what is being written is finished, nothing else is begun
        line.stopping.set()
        pool.shutdown(cancel_futures=True)
        line.hashing.shutdown(cancel_futures=True)


def _start_threads(pool: ThreadPoolExecutor, count: int) -> None:
    """Start all threads of a pool: one whose start a signal interrupts later would not be waited for."""
    met = threading.Barrier(count + 1)
    for _ in range(count):
        pool.submit(met.wait)
    met.wait()


def _outcome(job: Job, result: Future[Outcome]) -> Outcome:
    try:
        return result.result()
    except Exception as error:  # of a decoder, the memory, an engine: it is this file's, not the others'
        return Outcome(job.source, job.output, tell_failure(job.source, error), kind_of(error))


class _Line:
    """Three stations that a file goes through: reading, making, writing; each has room for so many files."""

    def __init__(
        self,
        read: Callable[[Path], Any],
        make: Callable[[Any, Job], Made],
        write: Callable[[Finished[Any]], None],
        parallel: int,
    ) -> None:
        self.read, self.make, self.write = read, make, write
        self.reading, self.making, self.writing = (threading.Semaphore(parallel) for _ in range(3))
        self.stations = 3 * parallel
        self.hashing = ThreadPoolExecutor(parallel)
        self.stopping = threading.Event()

    def do(self, job: Job, guard: "_Guard") -> Outcome:
        """Do one job; raises whatever goes wrong with it."""
        with self.reading:
            self._go_on()
            began = time.monotonic()
            if guard.begin(job):
                return Outcome(job.source, job.output, is_done_before=True)
            hashing = self.hashing.submit(digest, job.source)  # while it is decoded
            source = self.read(job.source)
            reading = time.monotonic() - began
        with self.making:
            self._go_on()
            began = time.monotonic()
            made = self.make(source, job)
            making = time.monotonic() - began
        with self.writing:
            self._go_on()
            began = time.monotonic()
            if guard.begin(job):  # again: a camera's card may have been copied meanwhile, another process may be at it
                return Outcome(job.source, job.output, is_done_before=True)
            try:
                self.write(Finished(job, source, made, hashing.result(), guard.overwrite))
            except InputError:  # another process was faster by a moment
                if guard.begin(job):
                    return Outcome(job.source, job.output, is_done_before=True)
                raise
            guard.end(job)
            writing = time.monotonic() - began
        return Outcome(
            job.source,
            job.output,
            notes=(*source.notes, *made.notes),
            engine=made.engine.description if made.engine else "",
            weights=made.weights.card.name if made.weights else "",
            camera=made.weights.card.camera if made.weights else None,
            seconds=reading + making + writing,
            making=making,
            pixels=made.picture.shape[0] * made.picture.shape[1],
        )

    def _go_on(self) -> None:
        if self.stopping.is_set():
            raise InputError("stopped")  # nobody reads it


class _Guard:
    """What keeps jobs from destroying people's files, and each other's."""

    def __init__(self, overwrite: bool, is_done: Callable[[Job], bool] | None, listings: Listings) -> None:
        self.overwrite = overwrite
        self.is_done = is_done
        self.sources: dict[tuple[int, int], Path] = {}
        self.written: dict[tuple[str, str], Path] = {}
        self.listings = listings
        self.lock = threading.Lock()

    def keep(self, jobs: Sequence[Job]) -> None:
        """Take note of the files that are to be read."""
        self.sources = {identity: job.source for job in jobs if (identity := _identity(job.source)) is not None}

    def begin(self, job: Job) -> bool:
        """Make the job's folder ready; asked again before the picture is written.

        Returns:
            Whether the very picture is there already.

        Raises:
            InputError: The output must not be written.
        """
        with self.lock:
            listing = self._list(job.output.parent)
            if (source := self.written.get(place_of(job.output))) is not None:
                raise InputError(f"{job.output} was just made from {source}; this one needs another name: --name")
        for name in listing.get(fold(job.output.name), ()):
            path = job.output.with_name(name)
            if name != job.output.name and not job.is_named and not is_own(path):
                raise InputError(not_own(path))  # IMG.JPG, where IMG.jpg is to be written
        self._check_kind(job)
        exists = os.path.lexists(job.output)
        if self.is_done is not None and exists and not self.overwrite:
            if self.is_done(job):
                return True
            if is_own(job.output):
                raise InputError(
                    f"{job.output} exists already, made of another file or with other weights or settings; "
                    "--overwrite replaces it, --output names another place"
                )
        check_output(job.output, self.overwrite or not exists)  # a file that came since is met when this one is written
        return False

    def _list(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self.listings:
            make_folder(folder)
            clear_leftovers(folder)
            self.listings[folder] = fold_all(path.name for path in folder.iterdir())
        return self.listings[folder]

    def _check_kind(self, job: Job) -> None:
        identity = _identity(job.output)
        if identity is not None and identity in self.sources:
            what = "the file itself" if self.sources[identity] == job.source else "one of the files to be read"
            raise InputError(f"{job.output} is {what}; --output names another place")
        check_output(job.output, True, None if job.is_named else is_own)

    def end(self, job: Job) -> None:
        """Remember what was written."""
        with self.lock:
            self.written[place_of(job.output)] = job.source


def _identity(path: Path) -> tuple[int, int] | None:
    """The same for all names of one file, be they links."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
