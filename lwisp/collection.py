"""The weights that are there: listed with their facts, found by their camera, removed with all that belongs to them."""

import difflib
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lwisp.engines.structures import cached_for
from lwisp.errors import InputError, one_line
from lwisp.files.bundled import fault_of
from lwisp.files.optional import is_there
from lwisp.files.report import is_page
from lwisp.files.runs import exclusive, run_folder
from lwisp.files.writing import is_regular
from lwisp.weights import (
    Card,
    Weights,
    check_takes,
    find,
    learned_files,
    learned_names,
    load,
    names,
    read_card,
    read_digest,
    shipped_files,
    user_folder,
)

PROTOCOL = "own camera, held-out photos"
"""Under which the scores of a camera's look stand on its card."""
OWN = "lwisp, learned"
"""Among them those of the look itself; others are of what else one could do."""
TITLE = "The look of"
"""Beginning of the title of a look's report."""
VERBS = {"raw": "develop", "linear": "develop", "planes": "denoise-raw"}
"""Verbs by what their networks take."""


@dataclass(frozen=True)
class Entry:
    """What a list tells of weights."""

    name: str
    is_shipped: bool
    task: str = ""
    """The verb that they serve."""
    camera: str = ""
    """Make and model of the camera whose look they have; empty without one."""
    style: str = ""
    """Its picture style."""
    photos: int = 0
    """That they were learned from."""
    error: float | None = None
    """Mean dE2000 on photos that were held out, as on the card; None where the card has none."""
    date: str | None = None
    """When learned weights were written, as 2026-11-27; None of shipped ones."""
    damage: str = ""
    """Why the file cannot be used; nothing else is known then."""


def list_weights() -> list[Entry]:
    """All weights that can be had by name: the shipped ones, then those that were learned here.

    Returns:
        Both kinds by name.
    """
    return [_entry(path, True) for path in shipped_files()] + [_entry(path, False) for path in learned_files()]


def altered_weights() -> list[str]:
    """Shipped weights that are not the ones that came with lwisp, a sentence on each."""
    found = []
    for path in shipped_files():
        try:
            fault = fault_of(path)
        except OSError as error:
            fault = one_line(error)
        if fault:
            found.append(f"weights {path.stem!r}, {path}: {fault}")
    return found


def _entry(path: Path, is_shipped: bool) -> Entry:
    try:
        card = read_card(path)
        date = None if is_shipped else datetime.fromtimestamp(path.stat().st_mtime).date().isoformat()
    except (InputError, OSError) as error:  # which is no reason not to list the others
        return Entry(path.stem, is_shipped, damage=one_line(error))
    camera = card.camera
    return Entry(
        path.stem,
        is_shipped,
        _task(card),
        camera.name if camera else "",
        camera.style if camera else "",
        len(camera.pairs if camera else card.photos),
        _error(card),
        date,
    )


def _task(card: Card) -> str:
    verb = VERBS.get(card.takes or "")
    if verb is not None:
        return verb
    recipe = card.training.get("recipe")
    data = str(recipe.get("data", "")) if isinstance(recipe, dict) else ""
    return data if data in ("denoise", "enhance") else "denoise, enhance"


def _error(card: Card) -> float | None:
    """Mean dE2000 of what the network made, by the first protocol on the card that has it."""
    for protocol, scores in card.scores.items():
        rows = [
            row for way, row in scores.items() if way == OWN or (protocol != PROTOCOL and way.endswith(", network"))
        ]
        errors = [_delta_e(row) for row in rows]
        found = [error for error in errors if error is not None]
        if found:
            return round(sum(found) / len(found), 2)
    return None


def _delta_e(row: Any) -> float | None:
    value = row.get("delta_e") if isinstance(row, dict) else None
    return float(value) if isinstance(value, int | float) else None


def load_look(name: str) -> Weights:
    """Weights with the look of a camera, for files of any camera.

    Args:
        name: Name of the weights, or of the camera, with its picture style where there are several; large and small
            letters are alike. Or a safetensors file.

    Returns:
        The weights, from `load`.

    Raises:
        InputError: There is no such look, or more than one; the message names those that may be meant.
    """
    weights = load(_find_look(name))
    check_takes(weights.card, "raw")
    if weights.card.convention.color != "canonical":
        raise InputError(f"weights {weights.card.name!r} take the colors of one camera alone, not those of others")
    return weights


def _find_look(name: str) -> Path:
    looks = [entry for entry in list_weights() if entry.camera]
    named = [entry for entry in looks if entry.name == name] or [
        entry for entry in looks if _plain(name) in map(_plain, _names(entry))
    ]
    if len(named) == 1:
        return find(named[0].name)
    if named:
        raise InputError(f"{len(named)} looks are called {name!r}; name one of {_tell(named)}")
    with suppress(InputError, OSError):
        if is_regular(Path(name)) and read_card(Path(name)).camera is not None:
            return Path(name)
    if not looks:
        raise InputError(
            f"no look {name!r}, and none was learned here yet; `lwisp train FOLDER` learns one from RAW files with "
            "their camera's JPEGs"
        )
    near = _near(name, looks)
    what = f"did you mean {_tell(near, ' or ')}?" if near else f"there are: {_tell(looks)}"
    raise InputError(f"no look {name!r}; {what}")


def load_by_digest(sha256: str, name: str = "", files: Sequence[str | Path] = ()) -> Weights | None:
    """The weights whose tensors have a SHA-256, whatever they are called now.

    Args:
        sha256: In hexadecimal, as `Weights.sha256` has it.
        name: Of several with these tensors, those of this name go first.
        files: Files of weights to look among before the shipped and the learned ones.

    Returns:
        The weights; None where there are none. Shipped and learned files that are damaged are passed over.

    Raises:
        InputError: One of `files` holds no weights.
    """
    for file in files:
        weights = load(file)
        if weights.sha256 == sha256:
            return weights
    for path in sorted((*shipped_files(), *learned_files()), key=lambda path: path.stem != name):
        with suppress(InputError, OSError):
            if read_digest(path) == sha256:
                return load(path)
    return None


def _names(entry: Entry) -> list[str]:
    """What a look may be called."""
    return [entry.name, entry.camera, f"{entry.camera} {entry.style}"]


def _plain(name: str) -> str:
    """A name by its letters and digits alone."""
    return " ".join("".join(letter if letter.isalnum() else " " for letter in name.casefold()).split())


def _near(name: str, looks: list[Entry]) -> list[Entry]:
    """The looks whose name holds a part like this, or is spelled like it; three at most, nearest first."""
    wanted = _plain(name)
    scores = []
    for entry in looks:
        names = [_plain(known) for known in _names(entry)]
        score = max(difflib.SequenceMatcher(None, wanted, known).ratio() for known in names)
        if wanted and any(wanted in known or known in wanted for known in names):
            score = max(score, 0.9)
        scores.append((score, entry))
    near = sorted((pair for pair in scores if pair[0] >= 0.6), key=lambda pair: -pair[0])
    return [entry for _, entry in near[:3]]


def _tell(looks: list[Entry], separator: str = ", ") -> str:
    return separator.join(f"{look.name} ({', '.join(filter(None, (look.camera, look.style)))})" for look in looks)


def own_report_folder(weights: Path) -> Path:
    """The folder of a look's report where none is named: beside its weights.

    Args:
        weights: Path of the weights.
    """
    return weights.with_name(f"{weights.stem}-report")


def report_files(stem: str) -> tuple[str, str, str]:
    """The names of a report's files: Markdown, HTML, table."""
    return f"{stem}.md", f"{stem}.html", f"{stem}.csv"


def is_report(path: Path) -> bool:
    """Whether a file is the Markdown of a report."""
    return is_page(path, TITLE)


@dataclass(frozen=True)
class Removed:
    """What went with weights."""

    files: tuple[Path, ...]
    """The weights, and files and folders beside them."""
    cached: tuple[Path, ...] = ()
    """Compiled modules and structures in the cache, which served no other weights."""
    kept: tuple[Path, ...] = ()
    """Folders beside them that hold other files too, which are still there."""


def remove(name: str) -> Removed:
    """Delete learned weights with all that belongs to them: report, run folder, what the cache keeps for them.

    The weights' own file goes last, so that the same call finishes what was interrupted. Links are not followed.

    Args:
        name: One of `weights.learned_names`.

    Returns:
        What is gone, and what is kept.

    Raises:
        InputError: There are none of this name, another process is learning them, or they cannot be deleted.
    """
    if name not in learned_names() and name in names():
        raise InputError(f"weights {name!r} are part of lwisp, not learned ones, and stay")
    if name not in learned_names():
        raise InputError(f"no learned weights {name!r}; there are: {', '.join(learned_names()) or 'none'}")
    path = user_folder() / f"{name}.safetensors"
    run, report = run_folder(path), own_report_folder(path)
    gone: list[Path] = []
    kept: list[Path] = []
    with ExitStack() as locks:
        has_run = run.is_dir() and not run.is_symlink()
        if has_run and is_there("filelock"):
            locks.enter_context(exclusive(run, "learning"))
        cached = _cached_alone(path)
        try:
            if report.is_dir() and not report.is_symlink():
                (gone if _remove_report(report, name) else kept).append(report)
            if has_run:
                shutil.rmtree(run)
                gone.append(run)
            for file in cached:
                file.unlink(missing_ok=True)
            path.unlink()
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be deleted: {error.strerror or error}") from error
    return Removed((path, *gone), tuple(cached), tuple(kept))


def _remove_report(folder: Path, stem: str) -> bool:
    """Delete a look's report; False where its folder holds something else, which stays."""
    files = [folder / name for name in report_files(stem)]
    if is_report(files[0]):
        for file in files[::-1]:  # the page by which they are known goes last
            file.unlink(missing_ok=True)
    if any(folder.iterdir()):
        return False
    folder.rmdir()
    return True


def _cached_alone(path: Path) -> list[Path]:
    """What the cache keeps for these weights and no others."""
    others = []
    for other in (*shipped_files(), *learned_files()):
        if other != path:
            with suppress(InputError, OSError):
                others.append(read_card(other).architecture)
    try:
        weights = load(path)
        source: Any = weights.source
        compiled, structures = cached_for(weights.card.architecture, source.tensors)
    except (InputError, OSError):  # damaged weights have run nowhere
        return []
    return compiled if weights.card.architecture in others else [*compiled, *structures]
