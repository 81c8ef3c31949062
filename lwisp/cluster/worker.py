"""What a worker does: it checks that it fits, and develops one file at a time."""

import platform
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from lwisp.batch import Listings, Outcome
from lwisp.cluster.stores import RefusedWriteError, Version, fetch, version_of, write_once
from lwisp.cluster.urls import Url
from lwisp.collection import load_by_digest
from lwisp.development import DEFAULT, FAST, LINEAR, Photo, Settings, develop_files, pick, pick_fast
from lwisp.engines.backends import is_installed, preferred
from lwisp.engines.names import Backend, Precision
from lwisp.errors import InputError, NotFoundError, kind_of, tell_failure
from lwisp.files.writing import temporary_folder
from lwisp.pipeline import Developer
from lwisp.planning import Job
from lwisp.weights import Weights, learned_files, load_once, read_digest

MEETINGS = 3
"""How often a picture is looked at again that another worker or program wrote in the same moment."""


@dataclass(frozen=True)
class Named:
    """Weights that every worker must have."""

    name: str
    sha256: str
    file: Path | None = None
    """Where they may lie, beside the shipped and the learned ones."""


@dataclass(frozen=True)
class Request:
    """What is asked of all workers."""

    choice: Literal["named", "pick", "pick_fast"]
    """The weights of `needed`, or those that `development.pick` or `pick_fast` choose for each file."""
    needed: tuple[Named, ...]
    """With "named" one."""
    settings: Settings = Settings()
    precision: Precision = "auto"
    backend: Backend = "auto"
    memory: float | None = None
    """Bound on the memory of a worker, in GB."""
    overwrite: bool = False
    lwisp: str = field(default_factory=lambda: version("lwisp"))
    """The version of lwisp that asks; a worker with another one would make other pictures."""
    run: str = ""
    """Name of one command, at random: what a worker keeps from file to file, it keeps for that one alone."""


@dataclass(frozen=True)
class Refusal:
    """Why a worker cannot do what is asked of it."""

    reason: str
    address: str


@dataclass(frozen=True)
class Shut(Outcome):
    """A failure because the store of the output takes no files: those of others would be refused, too."""


def request_of(weights: Weights | Callable[[Photo], Weights], file: Path | None = None) -> Request:
    """A request with the defaults, for weights that this machine has.

    Args:
        weights: Weights from a file, `development.pick` or `pick_fast`.
        file: The file of the weights, where it is none of the shipped and the learned ones.

    Raises:
        InputError: Weights that were made in memory, or learned ones that are damaged.
    """
    if isinstance(weights, Weights):
        if not weights.sha256:
            raise InputError("a cluster develops by weights of a safetensors file; save them, and name the file")
        return Request("named", (Named(weights.card.name, weights.sha256, file),))
    shipped = [FAST, LINEAR] if weights is pick_fast else [DEFAULT, LINEAR]
    needed = [Named(name, load_once(name).sha256) for name in shipped]
    if weights is pick:
        needed += [Named(path.stem, read_digest(path)) for path in learned_files()]
        return Request("pick", tuple(needed))
    return Request("pick_fast", tuple(needed))


def other_version(found: str, expected: str) -> str:
    """Why a worker with another lwisp is not taken.

    Args:
        found: The version that it has.
        expected: That of the command.
    """
    return f"it has lwisp {found}, and {expected} is expected; install the same there"


def check(request: Request) -> str:
    """Check that this worker has the weights and an engine.

    Args:
        request: What is asked.

    Returns:
        What is missing, in a sentence; "" where nothing is.
    """
    try:
        _prepare(request)
    except InputError as error:
        return str(error)
    return ""


@dataclass
class _Ready:
    """What a worker keeps from file to file."""

    weights: Weights | Callable[[Photo], Weights]
    developers: list[Developer] = field(default_factory=list)
    listings: Listings = field(default_factory=dict)


_preparing = threading.Lock()


def _prepare(request: Request) -> _Ready:
    with _preparing:  # of several threads one
        return _prepare_once(request)


@lru_cache(maxsize=2)
def _prepare_once(request: Request) -> _Ready:
    if (found := version("lwisp")) != request.lwisp:
        raise InputError(other_version(found, request.lwisp))
    if request.backend == "auto":
        preferred()
    elif not is_installed(request.backend):
        raise InputError(f"it has no {request.backend}; pip install it there, or drop --backend")
    loaded = [_load(named) for named in request.needed]
    if request.choice == "named":
        engine = Developer(loaded[0], request.backend, request.precision, request.memory)
        return _Ready(loaded[0], [engine])
    if request.choice == "pick_fast":
        return _Ready(pick_fast)
    needed = {named.sha256 for named in request.needed}
    more = [path.stem for path in learned_files() if read_digest(path) not in needed]
    if more:
        raise InputError(f"it has looks that are not here ({', '.join(more)}) and might take them; --weights names one")
    return _Ready(pick)


def _load(named: Named) -> Weights:
    files = [named.file] if named.file is not None and named.file.is_file() else []
    weights = load_by_digest(named.sha256, named.name, files)
    if weights is None:
        where = f"to {named.file}" if named.file is not None else "to its own folder of weights"
        raise NotFoundError(
            f"it has no weights {named.name!r} with the SHA-256 {named.sha256[:16]}; copy the file there, {where}"
        )
    return weights


def develop_one(request: Request, job: Job, address: str) -> Outcome | Refusal:
    """Develop a file, as a batch on one machine does; runs in a worker.

    A file in a store is fetched into a temporary folder, with the sidecars beside it. A picture that goes to a store is
    made there, and written where nothing has come to its name meanwhile.

    Args:
        request: What is asked of all.
        job: The file and its picture, which may be URLs.
        address: Of this worker.

    Returns:
        What became of it, whatever went wrong; or why this worker cannot do it.
    """
    try:
        ready = _prepare(request)
    except InputError as error:
        return Refusal(str(error), address)
    try:
        with temporary_folder() as folder:
            outcome = _develop_in(folder, ready, request, job)
    except Exception as error:
        kind = Shut if isinstance(error, RefusedWriteError) else Outcome
        outcome = kind(job.source, job.output, tell_failure(job.source, error), kind_of(error))
    return replace(outcome, source=job.source, output=job.output, worker=f"{platform.node()} {address}")


def _develop_in(folder: Path, ready: _Ready, request: Request, job: Job) -> Outcome:
    near = replace(job, source=_near(job.source, folder / "read"), output=_near(job.output, folder / "written"))
    if isinstance(job.source, Url):
        near.source.parent.mkdir()
        fetch(job.source, near.source)
        for sidecar in _sidecars(job.source):
            if version_of(sidecar) is not None:
                fetch(sidecar, near.source.with_name(sidecar.name))
    if not isinstance(job.output, Url):
        return _with_urls(_develop(ready, request, near, ready.listings), near, job)
    near.output.parent.mkdir()
    for _ in range(MEETINGS):
        there = _fetch_if_there(job.output, near.output)
        outcome = _with_urls(_develop(ready, request, near), near, job)
        if outcome.error or outcome.is_done_before or write_once(near.output, job.output, there):
            return outcome
        near.output.unlink()
    raise InputError(f"{job.output}: others write to this name, again and again; --output names another place")


def _near(path: Path, folder: Path) -> Path:
    return folder / path.name if isinstance(path, Url) else path


def _sidecars(source: Url) -> Iterator[Url]:
    """Those that `files.properties` would read: IMG.xmp and IMG.CR2.xmp."""
    yield source.with_name(f"{source.stem}.xmp")
    yield source.with_name(f"{source.name}.xmp")


def _fetch_if_there(url: Url, file: Path) -> Version | None:
    return None if version_of(url) is None else fetch(url, file)


def _develop(ready: _Ready, request: Request, job: Job, listings: Listings | None = None) -> Outcome:
    (outcome,) = develop_files(
        ready.weights,
        [job],
        request.settings,
        request.precision,
        request.backend,
        request.memory,
        overwrite=request.overwrite,
        prepared=ready.developers,
        listings=listings,
    )
    return outcome


def _with_urls(outcome: Outcome, near: Job, job: Job) -> Outcome:
    def told(text: str) -> str:
        return text.replace(str(near.source), str(job.source)).replace(str(near.output), str(job.output))

    return replace(outcome, error=told(outcome.error), notes=tuple(map(told, outcome.notes)))
