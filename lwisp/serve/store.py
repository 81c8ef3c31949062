"""Photos that a server holds and the pictures made of them: kept for a while, removed with their files."""

import asyncio
import secrets
import shutil
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lwisp.errors import InputError
from lwisp.serve.knobs import Knobs
from lwisp.serve.limits import Limits
from lwisp.serve.pool import Pool, Task
from lwisp.serve.refusals import BUSY, GONE, NO_ROOM, NOT_FOUND, RefusedError, status_of_kind

ENDINGS = {"jpg": ".jpg", "tiff": ".tif", "png": ".png", "png16": ".png"}
"""Suffixes of pictures by their format."""
ENDED = ("done", "failed", "cancelled")
FAIR = 2.0
"""Seconds in which a file that is being received may come slowly though others wait."""


def new_id() -> str:
    """A name that cannot be guessed: 128 random bits."""
    return secrets.token_urlsafe(16)


@dataclass(eq=False)
class Photo:
    """A RAW file that was received."""

    folder: Path
    """Its own, with a name of the server's."""
    source: Path
    name: str
    """What the client calls it: shown, and never a path."""
    size: int
    """Bytes of all its files."""
    facts: list[list[str]] = field(default_factory=list)
    """Names and values of tags, as they are shown."""
    frame: dict[str, Any] = field(default_factory=dict)
    has_camera: bool = False
    """Whether the camera's own picture lies beside it."""
    before: Task | None = None
    """What makes rawpy's picture."""
    jobs: set["Job"] = field(default_factory=set)
    used: float = field(default_factory=time.monotonic)
    """When it was last asked for."""

    @property
    def camera_file(self) -> Path:
        """The camera's own picture."""
        return self.folder / "camera.jpg"

    @property
    def before_file(self) -> Path:
        """rawpy's picture."""
        return self.folder / "before.jpg"


@dataclass(eq=False)
class Job:
    """One picture of a photo."""

    id: str
    photo: Photo
    knobs: Knobs
    watcher: str
    """Name of the page that waits for it; empty without one."""
    task: Task | None = None
    state: str = "waiting"
    """"waiting", "reading", "developing", "done", "failed" or "cancelled"."""
    error: str = ""
    kind: str = ""
    """Of the error, one word for programs."""
    notes: list[str] = field(default_factory=list)
    weights: str = ""
    seconds: float = 0.0
    """Time that it took."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def output(self) -> Path:
        """The picture's file."""
        return self.photo.folder / f"{self.id}{ENDINGS[self.knobs.format]}"

    @property
    def download_name(self) -> str:
        """Name under which a browser saves the picture."""
        return f"{Path(self.photo.name).stem or 'photo'}{ENDINGS[self.knobs.format]}"


@dataclass(eq=False)
class Arrival:
    """A file that is being received."""

    time_limit: asyncio.Timeout
    began: float
    counted: int = 0
    """Bytes so far, of the form around it too."""

    def speed(self, now: float) -> float:
        """Bytes a second."""
        return self.counted / max(now - self.began, 1e-3)


class Store:
    """What a server holds. All of it belongs to one event loop.

    Args:
        folder: A private folder for all files.
        pool: Does the work.
        limits: How much is kept, and how long.
    """

    def __init__(self, folder: Path, pool: Pool, limits: Limits) -> None:
        self.folder = folder
        self.pool = pool
        self.limits = limits
        self.jobs: dict[str, Job] = {}
        self.photos: set[Photo] = set()
        self.watching: Counter[str] = Counter()
        """Open pages by name."""
        self.arriving: set[Arrival] = set()
        self.received = 0
        """Bytes of those."""

    def check_room(self) -> None:
        """Check before a file is received that it can be worked on; one that comes too slowly gives way to it.

        Raises:
            RefusedError: Too many wait, or are received.
        """
        if self.pool.is_full:
            raise self.pool.busy()
        if len(self.arriving) >= self.limits.uploads and not self._end_slowest():
            count = len(self.arriving)
            raise RefusedError(BUSY, "busy", f"{count} files are received already; try again in 5 seconds", 5)

    def _end_slowest(self) -> bool:
        """Give up the file that comes most slowly, if any is slower than `Limits.slowest`; whether there was one."""
        now = asyncio.get_running_loop().time()
        slow = [one for one in self.arriving if now - one.began > FAIR and one.speed(now) < self.limits.slowest]
        if not slow:
            return False
        slowest = min(slow, key=lambda one: one.speed(now))
        slowest.time_limit.reschedule(now)
        self.arriving.discard(slowest)
        return True

    def make_room(self, size: int) -> None:
        """Remove photos that were not asked for longest until so many more bytes may be kept.

        Args:
            size: Bytes of a file that is being received.

        Raises:
            RefusedError: What cannot be removed leaves no room.
        """
        held = self.received + sum(photo.size for photo in self.photos)
        if held + size <= self.limits.disk and len(self.photos) < self.limits.keep_photos:
            return
        for photo in sorted(self.photos, key=lambda photo: photo.used):
            if all(job.state in ENDED for job in photo.jobs):
                self.remove_photo(photo)
                held -= photo.size
            if held + size <= self.limits.disk and len(self.photos) < self.limits.keep_photos:
                return
        raise RefusedError(NO_ROOM, "disk", "the server holds as many files as it may; try again in a minute", 60)

    async def start(self, photo: Photo, knobs: Knobs, watcher: str = "") -> Job:
        """Begin a picture of a photo.

        Args:
            photo: The photo.
            knobs: How; already checked.
            watcher: Name of the page that waits for it.

        Returns:
            The job, which is queued.

        Raises:
            RefusedError: The queue is full, or the photo is not kept any more.
        """
        if not photo.source.exists():
            raise RefusedError(GONE, "gone", f"{photo.name}: not kept any more; send it again")
        job = Job(new_id(), photo, knobs, watcher)
        request = {
            "task": "develop",
            "source": str(photo.source),
            "name": photo.name,
            "output": str(job.output),
            "camera": None if photo.facts else str(photo.camera_file),
            "knobs": vars(knobs),
        }
        job.task = await self.pool.submit(request, lambda told: _note(job, told))
        job.task.result.add_done_callback(lambda result: self._end(job, result))
        self.jobs[job.id] = job
        photo.jobs.add(job)
        self.photos.add(photo)
        if watcher:
            self._soon_unwatched(watcher)
        return job

    def _end(self, job: Job, result: "asyncio.Future[dict[str, Any]]") -> None:
        error = result.exception()
        if error is None:
            told = result.result()
            job.notes = [str(note) for note in told["notes"]]
            job.weights, job.seconds = str(told["weights"]), float(told["seconds"])
            with suppress(OSError):
                job.photo.size += job.output.stat().st_size
            job.state = "done"
        else:
            job.kind = error.kind if isinstance(error, InputError) else "unforeseen"
            job.error = str(error)
            job.state = "cancelled" if job.kind == "cancelled" else "failed"
        job.photo.used = time.monotonic()
        job.ended.set()

    def find(self, id: str) -> Job:
        """A job by its id.

        Raises:
            RefusedError: There is none.
        """
        job = self.jobs.get(id)
        if job is None:
            raise RefusedError(NOT_FOUND, "not-found", "there is no such picture, or it is not kept any more")
        job.photo.used = time.monotonic()
        return job

    async def show_before(self, job: Job) -> Path:
        """rawpy's picture of a job's photo, made when it is first asked for.

        Raises:
            InputError: It cannot be made.
        """
        photo = job.photo
        if not photo.frame:
            raise RefusedError(NOT_FOUND, "not-found", f"{photo.name}: not read yet")
        if photo.before is None:
            request = {
                "task": "before",
                "source": str(photo.source),
                "name": photo.name,
                "output": str(photo.before_file),
                "frame": photo.frame,
            }
            photo.before = await self.pool.submit(request, lambda told: None, is_small=True)
        await asyncio.shield(photo.before.result)
        return photo.before_file

    def cancel(self, job: Job) -> None:
        """Give up a job that has not ended."""
        if job.task is not None and not job.ended.is_set():
            self.pool.cancel(job.task)

    def remove(self, job: Job) -> None:
        """Forget a job, with its picture, and with the photo where nothing else needs it."""
        self.cancel(job)
        self.jobs.pop(job.id, None)
        job.photo.jobs.discard(job)
        if job.photo.jobs:
            with suppress(OSError):
                job.photo.size -= job.output.stat().st_size
                job.output.unlink()
        else:
            self.remove_photo(job.photo)

    def remove_photo(self, photo: Photo) -> None:
        """Forget a photo with all of its pictures."""
        for job in photo.jobs:
            self.cancel(job)
            self.jobs.pop(job.id, None)
        if photo.before is not None:
            self.pool.cancel(photo.before)
        self.photos.discard(photo)
        shutil.rmtree(photo.folder, ignore_errors=True)

    def watch(self, watcher: str) -> None:
        """A page has begun to listen."""
        self.watching[watcher] += 1

    def unwatch(self, watcher: str) -> None:
        """A page listens no more; what it waits for is cancelled, unless it comes back soon."""
        self.watching[watcher] -= 1
        if self.watching[watcher] <= 0:
            del self.watching[watcher]
        self._soon_unwatched(watcher)

    def _soon_unwatched(self, watcher: str) -> None:
        asyncio.get_running_loop().call_later(self.limits.grace, self._cancel_unwatched, watcher)

    def _cancel_unwatched(self, watcher: str) -> None:
        if watcher not in self.watching:
            for job in self.of_watcher(watcher):
                self.cancel(job)

    def of_watcher(self, watcher: str) -> list[Job]:
        """The jobs that a page began."""
        return [job for job in self.jobs.values() if job.watcher == watcher]

    def tell(self, job: Job) -> dict[str, Any]:
        """What is known of a job, as plain values for JSON."""
        place = self.pool.place_of(job.task)
        return {
            "id": job.id,
            "name": job.photo.name,
            "state": job.state,
            "place": place,
            "expected_seconds": round(self.pool.usual_seconds, 1),
            "seconds": job.seconds,
            "weights": job.weights,
            "format": job.knobs.format,
            "notes": job.notes,
            "facts": job.photo.facts,
            "has_camera": job.photo.has_camera,
            "error": job.error,
            "kind": job.kind,
        }

    async def sweep(self) -> None:
        """Remove what was not asked for within the time that photos are kept, again and again."""
        while True:
            await asyncio.sleep(min(5.0, self.limits.keep_seconds / 4))
            oldest = time.monotonic() - self.limits.keep_seconds
            for photo in [photo for photo in self.photos if photo.used < oldest]:
                is_on_a_page = any(job.watcher in self.watching for job in photo.jobs)
                if not is_on_a_page and all(job.state in ENDED for job in photo.jobs):
                    self.remove_photo(photo)


def failure_of(job: Job) -> RefusedError:
    """The refusal that a job's failure is answered with."""
    return RefusedError(status_of_kind(job.kind), job.kind, job.error)


def _note(job: Job, told: dict[str, Any]) -> None:
    """Take note of what a worker says meanwhile."""
    job.state = str(told["step"])
    if "facts" in told:
        job.photo.facts = [[str(name), str(value)] for name, value in told["facts"]]
        job.photo.frame = dict(told["frame"])
        job.photo.has_camera = job.photo.has_camera or bool(told["has_camera"])
