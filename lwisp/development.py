"""Developing many RAWs: which weights for each, and one exposure and balance for all where it is a sequence."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from PIL import Image

from lwisp.batch import Finished, Listings, Made, Outcome, checked, was_made, work
from lwisp.engines.backends import preferred, warm
from lwisp.engines.engine import check_request
from lwisp.engines.names import Backend, Precision
from lwisp.engines.threads import share_of_threads
from lwisp.errors import ArgumentError, InputError, NotFoundError, check_choice, check_switches
from lwisp.files.encoding import Finish
from lwisp.files.linear import AnyRaw, LinearImage, read_any
from lwisp.files.makernotes import picture_style
from lwisp.files.pictures import write_picture
from lwisp.files.shots import Shot, read_shot
from lwisp.files.white_balance import AS_SHOT, parse_balance, with_balance
from lwisp.imaging.framing import CROPS, Crop
from lwisp.pipeline import (
    Developer,
    check_balances,
    check_develops,
    check_exposure,
    check_fits,
    check_knobs,
    check_strengths,
    without_hot_pixels,
)
from lwisp.planning import Job
from lwisp.provenance import Setting, differing, read_provenance
from lwisp.sequences import CommonLight, Reference, common_light
from lwisp.weights import Weights, check_takes, left_out_note, load_once, of_camera

DEFAULT = "photo"
"""Weights where none are named and none were learned from the camera."""
FAST = "photo-fast"
"""Those that take a third of the time."""
LINEAR = "photo-linear"
"""Those for RAWs without a Bayer mosaic."""


class Photo(Protocol):
    """What weights are chosen by; a `RawImage` and a `Shot` have it."""

    @property
    def camera(self) -> str:
        """Make and model in one."""

    @property
    def exif(self) -> Image.Exif:
        """All tags."""


def pick(photo: Photo) -> Weights:
    """The weights for a RAW where none are named: those learned from its camera, else `photo`.

    For one without a Bayer mosaic they are `photo-linear`: looks are learned behind another network.

    Args:
        photo: The RAW, or what its tags tell; its kind, its camera and its picture style decide.

    Returns:
        The weights. What lies among learned weights and cannot be used is left out, with a note in `Weights.notes`.

    """
    if isinstance(photo, LinearImage):
        return load_once(LINEAR)
    found, notes = of_camera(photo.camera, picture_style(photo.exif))
    for path in found:
        try:
            weights = load_once(path)
            check_takes(weights.card, "raw")
        except (InputError, OSError) as error:
            notes.append(left_out_note(path, error))
        else:
            break
    else:
        weights = load_once(DEFAULT)
    return replace(weights, notes=tuple(notes)) if notes else weights


def pick_fast(photo: Photo) -> Weights:
    """`photo-fast`, or for a RAW without a Bayer mosaic `photo-linear`.

    Args:
        photo: As for `pick`.
    """
    return load_once(LINEAR if isinstance(photo, LinearImage) else FAST)


@dataclass(frozen=True)
class Settings:
    """What the pictures of a batch are developed with; what differs from the defaults stands in their XMP."""

    exposure: float = 0.0
    """EV on top of the exposure rule, -5 to 5."""
    white_balance: str = AS_SHOT
    """As for `develop`."""
    same_as: Reference | None = None
    """Develop all with one exposure and white balance, for sequences: those of a file, of the "first", or the "median"
    over all, which are read before any is developed. `exposure` comes on top. The weights that are picked for the first
    file that is measured serve all."""
    crop: Crop = "camera"
    """"camera" or "none", as for `develop`."""
    keep_hot_pixels: bool = False
    """Leave hot and dead photosites as they are."""
    highlights: float = 1.0
    """As for `develop`."""
    noise_reduction: float = 1.0
    """As for `develop`."""
    finish: Finish = Finish()
    """Quality, size and color space of the pictures."""
    strip: bool = False
    """Leave out tags and properties that name people and places."""

    def check(self) -> None:
        """Check all of it before any work, but what depends on the format of a picture.

        Raises:
            ArgumentError: A value cannot be used.
        """
        check_exposure(self.exposure)
        parse_balance(self.white_balance)
        if not isinstance(self.same_as, Path | None):
            check_choice("frame of same_as", self.same_as, ("first", "median"))
        check_choice("crop", self.crop, CROPS)
        check_strengths(self.highlights, self.noise_reduction)
        check_switches(keep_hot_pixels=self.keep_hot_pixels, strip=self.strip)

    def told(self) -> dict[str, Setting]:
        """Those that differ from the defaults, by the names of the command's options, but `same_as`."""
        return self.finish.settings() | differing(
            {
                "exposure": (self.exposure, 0.0),
                "white-balance": (parse_balance(self.white_balance).words, AS_SHOT),
                "crop": (self.crop, "camera"),
                "keep-hot-pixels": (self.keep_hot_pixels, False),
                "highlights": (self.highlights, 1.0),
                "noise-reduction": (self.noise_reduction, 1.0),
                "strip": (self.strip, False),
            }
        )


def develop_files(
    weights: Weights | Callable[[Photo], Weights],
    jobs: Iterable[Job],
    settings: Settings = Settings(),
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: float | None = None,
    parallel: int = 1,
    overwrite: bool = False,
    read: Callable[[Path], AnyRaw] = read_any,
    watch: Callable[[int, int], None] = lambda done, count: None,
    prepared: list[Developer] | None = None,
    read_tags: Callable[[Path], Shot] = read_shot,
    listings: Listings | None = None,
) -> Iterator[Outcome]:
    """Develop many files, in their order; whatever goes wrong with one, the others are done.

    While one is developed the next is read and the last is written, unless `memory` is bounded. A picture that was made
    of the same file with the same weights and settings is left as it is, unless `overwrite`.

    Args:
        weights: Those for all, or a function that says which for each, such as `pick` or `pick_fast`.
        jobs: The files and the pictures to make of them, from `batch.plan`.
        settings: What they are developed with.
        precision: "auto", "fp32" or "bf16", as for `develop`.
        backend: "auto", "torch", "openvino" or "onnxruntime", as for `develop`.
        memory: Bound on the memory of the whole process, in GB.
        parallel: How many are developed at once, each by its share of the processor's threads.
        overwrite: Replace pictures that lwisp wrote before; what is never replaced, `batch.work` says.
        read: How to read a file, where it is no RAW, such as a bare mosaic.
        watch: Called with (files measured, files to measure) while those of `Settings.same_as` are measured.
        prepared: Developers that calls with the same engine (precision, backend, memory, parallel) have prepared; those
            of this call are added, for the next one.
        read_tags: How to read the tags by which weights are chosen, where a picture is there already.
        listings: As for `batch.work`.

    Returns:
        What became of each file, as it is done.

    Raises:
        InputError: Before any work, for what is wrong with all of them.
    """
    settings.check()
    check_switches(overwrite=overwrite)
    check_request(backend, precision, memory)
    if not callable(weights):
        check_develops(weights)
    balance = parse_balance(settings.white_balance)
    jobs = checked(jobs, settings.finish)
    told = settings.told()
    kept = [] if prepared is None else prepared
    said: set[str] = set()
    lock = threading.Lock()
    threads = share_of_threads(parallel)

    def ready(chosen: Weights) -> Developer:
        for developer in kept:
            same = chosen.sha256 and (chosen.sha256, chosen.card) == (developer.weights.sha256, developer.weights.card)
            if developer.weights is chosen or same:
                return developer
        kept.append(Developer(chosen, backend, precision, memory, threads))
        return kept[-1]

    usual = load_once(FAST) if weights is pick_fast else weights
    if isinstance(usual, Weights):
        ready(usual)  # what is wrong with it is said before any work
        check_balances(balance.words, usual.card.convention)
        check_knobs(usual.card.convention, settings.highlights, settings.noise_reduction)
    threading.Thread(target=warm, args=(preferred() if backend == "auto" else backend,), daemon=True).start()
    if weights is pick:
        load_once(DEFAULT)  # most likely, and the first file is being read meanwhile

    of_all: list[Weights] = []
    light: CommonLight | None = None

    def choose(photo: Photo) -> Weights:
        if isinstance(weights, Weights):
            return weights
        if settings.same_as is None:
            return weights(photo)
        if not of_all:
            of_all.append(weights(photo))
        return of_all[0]

    def prepare(path: Path) -> AnyRaw:  # in the thread that reads, while the file before is developed
        raw = with_balance(read(path), balance, str(path))
        sound = raw if settings.keep_hot_pixels else without_hot_pixels(raw)
        return light.balanced(sound) if light else sound

    def make(raw: AnyRaw, job: Job) -> Made:
        with lock:
            try:
                chosen = choose(raw)
                check_fits(chosen, raw)
            except (NotFoundError, ArgumentError) as error:
                raise type(error)(f"{job.source}: {error}") from error
            developer = ready(chosen)
            check_balances(balance.words, chosen.card.convention)
            check_knobs(chosen.card.convention, settings.highlights, settings.noise_reduction)
            found = (*chosen.notes, light.note) if light else chosen.notes
            notes = tuple(note for note in found if note not in said)
            said.update(notes)
        if isinstance(raw, LinearImage):
            notes = (f"developed by {chosen.card.name}: {raw.way}", *notes)
        frame = light.frame if light else None
        picture = developer.develop(
            raw,
            settings.exposure,
            job.dtype,
            frame=frame,
            crop=settings.crop,
            keep_hot_pixels=True,
            highlights=settings.highlights,
            noise_reduction=settings.noise_reduction,
        )
        return Made(picture, chosen, developer.engine, notes)

    def write(finished: Finished[AnyRaw]) -> None:
        job, picture, exif = finished.job, finished.made.picture, finished.source.exif
        properties = finished.properties("develop", told)
        replaces, finish, strip = finished.replaces, settings.finish, settings.strip
        write_picture(job.output, picture, job.picture, exif, replaces, properties, finish, strip)

    def is_done(job: Job) -> bool:
        made = read_provenance(job.output)
        if callable(weights) and made is not None and made.weights == LINEAR:  # which no other kind of file is given to
            return was_made(job, "develop", told, lambda: load_once(LINEAR).sha256)
        return was_made(job, "develop", told, lambda: choose(read_tags(job.source)).sha256)

    if settings.same_as is not None and jobs:
        sources = [job.source for job in jobs]
        light = common_light(settings.same_as, sources, prepare, lambda raw: ready(choose(raw)).measure(raw), watch)
        told["same-as"] = light.note
    return work(jobs, prepare, make, write, memory, overwrite, is_done, parallel, listings)
