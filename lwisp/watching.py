"""A folder watched: RAW files are developed as they appear in it, each once it is whole.

The folder is looked at again and again, which works on network folders too, where nobody tells of changes. What was
made is known by the pictures themselves (`provenance`), so that nothing is made twice, after a restart neither.
"""

import os
import string
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from lwisp.batch import Outcome
from lwisp.errors import ArgumentError, DiskFullError, InputError, OutOfMemoryError, OutputError, kind_of
from lwisp.files.encoding import Format
from lwisp.files.listing import find_files
from lwisp.files.raw import RAW_SUFFIXES
from lwisp.files.writing import fold, make_folder
from lwisp.planning import MARK, Job, check_template, place_of, plan
from lwisp.provenance import digest, read_provenance, was_made_by_lwisp

CHUNK = 64
"""Files that are developed before the folder is looked at again."""
OF_THE_MACHINE = frozenset([DiskFullError.kind, OutputError.kind, OutOfMemoryError.kind])
"""Kinds of failures that are no fault of a file, which is tried again later."""
LISTING_SHARE = 5
"""Between two looks passes this many times what one takes, so that a large folder is not looked at all the time."""


class Develop(Protocol):
    """Makes pictures, as `development.develop_files` does."""

    def __call__(self, jobs: Sequence[Job], overwrite: bool, /) -> Iterable[Outcome]:
        """What becomes of each job, in their order; with `overwrite` pictures that lwisp wrote are replaced."""


@dataclass(frozen=True)
class Pace:
    """Times of a watch, in seconds."""

    look: float = 2.0
    """Between two looks at the folder."""
    settle: float = 2.0
    """For which size and time of a file must have stayed the same before it is read; one that cannot be read then is
    read once more after as long."""
    retry: float = 60.0
    """Until a file is tried again that failed for lack of disk or memory."""


@dataclass
class _Seen:
    """A file as it was found last."""

    version: tuple[int, int]
    """Size in bytes, time of the last change in ns."""
    due: float
    """When it may be read, by the clock; infinity where it is done."""
    tries: int = 0
    told: str = ""
    made: Path | None = None
    """The picture that was made of it, of this version or one before, while it was watched."""
    alone: Job | None = None
    """What the names' template makes of this version, whatever other files there are."""


@dataclass(frozen=True)
class Watch:
    """What is watched, and what becomes of it."""

    folder: Path
    """The folder; it may be away for a while, as a network folder may."""
    output: Path
    """The folder of the pictures, which has the same folders below. It may lie in the folder, which is not searched."""
    develop: Develop
    format: Format | None = None
    """Of the pictures; "jpg" if not given."""
    recursive: bool = True
    """Whether folders below are watched."""
    name: str = ""
    """Template of the pictures' names, as for `planning.plan`, without {number} and {folder}. Without one, files of one
    name and several suffixes get theirs into the pictures' names: IMG_CR2.jpg and IMG_NEF.jpg."""
    overwrite: bool = False
    """Replace pictures that lwisp made of something else, or otherwise; else they are left, and the file fails. The
    picture of another file that is there is never replaced."""
    pace: Pace = Pace()

    def run(
        self, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic
    ) -> Iterator[Outcome]:
        """Watch until the iterator is closed.

        Args:
            sleep: Waits for so many seconds.
            clock: Tells seconds.

        Yields:
            What becomes of each file, and of the folder where it cannot be read: a failure of one version of a file is
            told once.

        Raises:
            InputError: Before any work, where the names cannot be made, or the folder is none.
        """
        self._check()
        seen: dict[Path, _Seen] = {}
        away = ""
        while True:
            began = clock()
            try:
                self._look(seen, clock())
                away = ""
            except OSError as error:
                message = f"{self.folder}: cannot be read: {error.strerror or error}; it is looked at again"
                if message != away:
                    yield Outcome(self.folder, self.output, message, kind_of(error))
                away = message
            looked = clock() - began
            ready = [file for file, one in seen.items() if one.due <= clock()][:CHUNK]
            yield from self._make(ready, seen, clock)
            if len(ready) < CHUNK:
                sleep(max(self.pace.look, LISTING_SHARE * looked))

    def _check(self) -> None:
        check_template(self.name)
        fields = {field for _, field, _, _ in string.Formatter().parse(self.name)}
        if fields & {"number", "folder"}:
            raise ArgumentError(
                f"--name {self.name}: {{number}} and {{folder}} are not for a watched folder, in which a file's name "
                "must not depend on when it came"
            )
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: expected a folder to watch")
        make_folder(self.output)

    def _look(self, seen: dict[Path, _Seen], now: float) -> None:
        """Bring what is known of the files up to date; raises `OSError` where the folder cannot be read."""
        is_within = os.path.realpath(self.output) != os.path.realpath(self.folder)
        files = find_files(self.folder, _is_wanted, self.recursive, [self.output] if is_within else [])
        there = set(files)
        for file in [file for file in seen if file not in there]:
            del seen[file]
        for file in files:
            try:
                facts = file.stat()
            except OSError:  # it went meanwhile
                seen.pop(file, None)
                continue
            version = (facts.st_size, facts.st_mtime_ns)
            known = seen.get(file)
            if known is None or known.version != version:
                seen[file] = _Seen(version, now + self.pace.settle, made=known.made if known else None)

    def _make(self, files: Sequence[Path], seen: dict[Path, _Seen], clock: Callable[[], float]) -> Iterator[Outcome]:
        jobs = []
        siblings = _by_name(seen) if files else {}
        real = cache(os.path.realpath)
        owners = {place_of(one.made, real): file for file, one in seen.items() if one.made} if files else {}
        for file in files:
            try:
                job = self._plan(file, siblings[_place(file)], seen)
                place = place_of(job.output, real)
                if (owner := owners.get(place, file)) == file:
                    owner = self._maker(job, seen, clock())
                if owner != file:
                    raise InputError(
                        f"{file}: its picture would be {job.output}, which is that of {owner}; give {{stem}} and "
                        "{suffix} in --name, or rename one of the two"
                    )
                owners[place] = file
                jobs.append(job)
            except (InputError, OSError) as error:
                yield from self._judge(Outcome(file, self.output, str(error), kind_of(error)), seen[file], clock())
        for job, outcome in zip(jobs, self.develop(jobs, False) if jobs else (), strict=True):
            known = seen[job.source]
            if outcome.error and (self.overwrite or known.made == job.output) and was_made_by_lwisp(job.output):
                (outcome,) = self.develop([job], True)
            yield from self._judge(outcome, known, clock())

    def _judge(self, outcome: Outcome, known: _Seen, now: float) -> Iterator[Outcome]:
        """Decide what comes next for a file; a failure is told only where it is final, or new."""
        if not outcome.error:
            known.due, known.made = float("inf"), outcome.output
            yield outcome
        elif not outcome.source.exists():
            known.due = float("inf")  # it went, and is forgotten at the next look
        elif outcome.kind in OF_THE_MACHINE:
            known.due = now + self.pace.retry
            if outcome.error != known.told:
                yield outcome
            known.told = outcome.error
        else:
            known.tries += 1
            is_final = known.tries > 1
            known.due = float("inf") if is_final else now + self.pace.settle
            if is_final:
                yield outcome

    def _plan(self, file: Path, group: Sequence[Path], seen: dict[Path, _Seen]) -> Job:
        """The picture of a file: of the name that it has already, if it was made, else one that no other file has."""
        if (made := seen[file].made) is not None:
            make_folder(made.parent)
            return Job(file, made, self.format or "jpg")
        alone = self._alone(file, seen[file])
        if len(group) == 1 or _source_of(alone.output) == digest(file):
            return alone
        return next(job for job in self._plan_all(file.parent, group) if job.source == file)

    def _alone(self, file: Path, known: _Seen) -> Job:
        """The picture of a file by the template, planned once for each version of it."""
        if known.alone is None:
            (known.alone,) = self._plan_all(file.parent, [file])
        return known.alone

    def _plan_all(self, parent: Path, files: Sequence[Path]) -> list[Job]:
        """The pictures of files of one folder, which is made below `output`."""
        folder = self.output / parent.relative_to(self.folder)
        make_folder(folder)
        return plan(files, folder, self.format, name=self.name)

    def _maker(self, job: Job, seen: dict[Path, _Seen], now: float) -> Path:
        """The file whose picture lies where a job's would come to lie: another that the template calls the same, whose
        content the picture tells of, as after a restart; else the job's own."""
        told = _source_of(job.output) if self.name and seen[job.source].made is None else ""
        if not told or told == digest(job.source):
            return job.source
        for file, known in seen.items():
            if file != job.source and known.made is None and (known.due <= now or known.due == float("inf")):
                with suppress(InputError, OSError):
                    if place_of(self._alone(file, known).output) == place_of(job.output) and told == digest(file):
                        return file
        return job.source


def _source_of(picture: Path) -> str:
    """SHA-256 of the file that a picture was made of, as it tells; "" where it does not, or there is none."""
    made = read_provenance(picture) if picture.is_file() else None
    return made.source_sha256 if made is not None else ""


def _is_wanted(path: Path) -> bool:
    return path.suffix.lower() in RAW_SUFFIXES and not path.stem.endswith(MARK)


def _place(file: Path) -> tuple[Path, str]:
    """The same for files whose pictures would have one name."""
    return file.parent, fold(file.stem)


def _by_name(files: Iterable[Path]) -> dict[tuple[Path, str], list[Path]]:
    found: dict[tuple[Path, str], list[Path]] = {}
    for file in files:
        found.setdefault(_place(file), []).append(file)
    return found
