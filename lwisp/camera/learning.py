"""From a folder of RAW files with their camera's JPEGs to weights with that camera's look, and a report on them.

A camera's JPEG keeps a fixed relation to its RAW, so the weights have no exposure rule: they are those of `photo`,
which gives the picture its detail, followed by a look (`model.Look`) and, where that helps on held-out photos, a
correction of lens shading. Where there are many photos with a full-size JPEG, the whole network is trained on them.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import track

from lwisp.architecture import LWISPConfig
from lwisp.camera import photos
from lwisp.camera import report as reports
from lwisp.camera.cross_validation import CrossValidation
from lwisp.camera.network import refine_network, with_look
from lwisp.camera.pairs import Pair, Refusal, find_pairs
from lwisp.camera.photos import BaseNetwork, PairReader, PreparedPair
from lwisp.camera.report import Report
from lwisp.camera.settings import CameraSettings
from lwisp.collection import PROTOCOL, is_report, own_report_folder, report_files
from lwisp.data import folders
from lwisp.engines.engine import prepare_engine
from lwisp.engines.names import Precision
from lwisp.errors import InputError, OutputError, unmarked
from lwisp.files.runs import exclusive, run_folder
from lwisp.files.writing import check_output, check_outputs, clear_leftovers, make_folder, write_text, write_whole
from lwisp.model import LWISP
from lwisp.training.progress import Reporter
from lwisp.training.provenance import versions
from lwisp.weights import Camera, Card, InputConvention, LearnedPair, Weights, load, save, user_folder

UNREPORTED = "unreported.json"
"""In a run folder while its weights are written and their report is not."""

Key = tuple[str, str]
"""Camera and picture style."""


@dataclass(frozen=True)
class Learned:
    """The result for one camera and picture style."""

    camera: str
    style: str
    weights: Path | None = None
    reason: str = ""
    """Why there are no weights."""
    report: Report | None = None
    page: Path | None = None
    """The report as HTML."""


@dataclass(frozen=True)
class _Task:
    """What is the same for all cameras of one call."""

    base: Weights
    report_folder: Path | None
    precision: Precision
    settings: CameraSettings
    reporter: Reporter


def learn(
    folder: Path,
    output: Path | None = None,
    report_folder: Path | None = None,
    start: str = "photo",
    precision: Precision = "auto",
    overwrite: bool = False,
    settings: CameraSettings = CameraSettings(),
    reporter: Reporter | None = None,
) -> tuple[list[Learned], list[Refusal]]:
    """Weights and reports for every camera and picture style of the RAW and JPEG pairs in a folder.

    The same call continues where it was stopped: what is done is kept in the weights' name + ".run", where one process
    learns at a time.

    Args:
        folder: RAW files with JPEGs beside or inside them; subfolders are searched too.
        output: The weights' file, for a folder of one camera and style; `weights.user_folder()` has it otherwise.
        report_folder: Where reports go; the weights' name + "-report" otherwise.
        start: Weights to start from, a name or a path: an LW-ISP from RAW without a look.
        precision: Of the engines.
        overwrite: Whether weights and reports that exist are replaced.
        settings: What is accepted and how it is learned; stands on the weights' card.
        reporter: Told what is being done; where it is left out, bars are shown on a terminal and no lines elsewhere.

    Returns:
        A result for every camera and style, and the files that could not be used.

    Raises:
        InputError: The folder holds no RAW, outputs exist already or would be the same for two cameras, or another
            process is learning there.
        OutputError: Something cannot be written.
    """
    reporter = reporter or Reporter()
    reporter.tell(f"{folder}: looking for pairs")
    pairs, refusals = find_pairs(folder, settings.pairs)
    groups: dict[Key, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault((pair.camera, pair.style), []).append(pair)
    large = [key for key, group in groups.items() if len(group) >= settings.validation.min_photos]
    if output is not None and len(large) > 1:
        names = "; ".join(map(_name, large))
        raise InputError(f"{folder}: {len(large)} cameras or styles ({names}), --output names one file; leave it out")
    base = load(start)
    if not isinstance(base.network, LWISP) or base.card.architecture.takes != "raw" or base.network.config.look:
        raise InputError(f"weights {start!r}: expected an LW-ISP from RAW without a look, such as photo")
    places = _choose_places(large, output)
    task = _Task(base, report_folder, precision, settings, reporter)
    results = []
    with ExitStack() as locks:
        for place in places.values():
            make_folder(place.parent)
            locks.enter_context(exclusive(run_folder(place), "learning"))
            _check_free(place, report_folder, overwrite)
            clear_leftovers(place.parent)
            clear_leftovers(run_folder(place))
            clear_leftovers(report_folder or own_report_folder(place))
        for key, group in groups.items():
            if key in places:
                learned, refused = _learn_group(key, group, places[key], task)
                refusals += refused
            else:
                learned = _too_few(key, group)
            results.append(learned)
    return results, refusals


def _choose_places(keys: list[Key], output: Path | None) -> dict[Key, Path]:
    """The weights' file of each camera and style. Raises `InputError` where two would have the same."""
    places = {key: output or user_folder() / f"{slug(*key)}.safetensors" for key in keys}
    for key, place in places.items():
        if list(places.values()).count(place) > 1:  # names without a Latin letter
            raise InputError(
                f"{_name(key)}: {place} would be another camera's too; name an --output for a folder of it alone"
            )
    return places


def _too_few(key: Key, group: list[Pair]) -> Learned:
    reason = (
        f"{group[0].raw}: the only pair of {_name(key)}; one more photo of the same camera and style is needed "
        "at least, to prove on it what is learned from the other"
    )
    return Learned(*key, reason=reason)


def _check_free(place: Path, report_folder: Path | None, overwrite: bool) -> None:
    """Raise `InputError` where weights, or a report in a folder that was named, would replace others.

    Weights that a stopped run has left without their report are its own, and so is the report it may have begun.
    """
    unreported = _read_unreported(place)
    if unreported is None:
        check_output(place, overwrite)
    folder = report_folder or own_report_folder(place)
    if folder.is_dir():
        may_replace = overwrite or report_folder is None or unreported == _folder_name(folder)
        check_outputs(folder, report_files(place.stem), may_replace, is_report)


def _note_unreported(place: Path, written: bytes, report_folder: Path) -> None:
    """Note in the run folder that weights of this content are about to be written, and their report after them."""
    facts = {"weights": hashlib.sha256(written).hexdigest(), "report": _folder_name(report_folder)}
    write_text(run_folder(place) / UNREPORTED, json.dumps(facts))


def _read_unreported(place: Path) -> str | None:
    """The report folder of weights whose run was stopped before their report was written; None for all others."""
    try:
        facts = json.loads((run_folder(place) / UNREPORTED).read_text(encoding="utf-8"))
        digest = hashlib.sha256(place.read_bytes()).hexdigest()
        return str(facts["report"]) if facts["weights"] == digest else None
    except (OSError, ValueError, TypeError, LookupError):  # no note, no weights, or a damaged note
        return None


def _folder_name(folder: Path) -> str:
    return str(folder.absolute())


def slug(camera: str, style: str) -> str:
    """The stem of a file name for a camera and style, as "nikon-d5000-vivid".

    Args:
        camera: Name of the camera.
        style: Name of its picture style; may be empty.

    Returns:
        Small letters, digits and dashes, all of ASCII; "camera" where none are left.
    """
    letters = (letter if letter.isalnum() and letter.isascii() else " " for letter in f"{camera} {style}")
    return "-".join("".join(letters).split()).lower() or "camera"


def _name(key: Key) -> str:
    """Camera and style, for messages."""
    return ", ".join(filter(None, key)) or "an unknown camera"


def _learn_group(key: Key, group: list[Pair], place: Path, task: _Task) -> tuple[Learned, list[Refusal]]:
    """Learn the look of one camera and style, write weights and report."""
    assert isinstance(task.base.network, LWISP)
    settings = task.settings
    name = _name(key)
    run = run_folder(place)
    engine = prepare_engine(task.base.network, "auto", task.precision)
    base = BaseNetwork(task.base, engine, replace(task.base.card.convention, exposure="none", headroom=0.0))
    reader = PairReader(run, settings, hold=_likely_scored(group, settings))
    prepared, refused = _prepare(group, name, reader, base, task.reporter)
    with _spinner(f"{name}: learning the look", task.reporter):
        validation = CrossValidation(prepared, run, settings.look, settings.validation)
        validation, outliers = validation.without_outliers()
        for photo, error, median in outliers:
            path = photo.pair.raw
            reason = f"{path}: dE2000 {error:.1f} from what the others teach, {median:.1f} is usual; left out"
            refused.append(Refusal(path, reason))
        usable = len(validation.photos)
        least = settings.validation.min_photos
        if usable < least:
            reason = f"{name}: {usable} of {len(group)} pairs usable, {least} are needed at least"
            return Learned(*key, reason=reason), refused
        shading = validation.prefers_shading()
        fitted = validation.fit(validation.photos, shading)
        curve = validation.learning_curve(shading)
    refined = refine_network(validation, shading, base, settings.network, task.precision, task.reporter)
    task.reporter.tell(f"{name}: scoring, for the report")
    report = reports.make_report(name, validation, shading, curve, base, reader, refined)
    network = with_look(task.base.network, fitted.look, settings.look.channels)
    convention = replace(base.convention, shading=fitted.shading)
    if refined is not None:
        network = refined.network
        convention = refined.convention
    card = _card(key, validation.photos, task, convention, place.stem, report)
    return _write(key, network, card, place, report, task), refused


def _likely_scored(group: list[Pair], settings: CameraSettings) -> frozenset[Pair]:
    """The pairs that the report scores where none is left out, with a look alone and with the whole network."""
    first_fold = group[:: settings.validation.folds]
    count = settings.report.photos
    return frozenset([*folders.sample(group, count), *folders.sample(first_fold, count)])


@contextmanager
def _spinner(text: str, reporter: Reporter) -> Iterator[None]:
    """A block of work that is told of by a spinner on a terminal, and by lines elsewhere."""
    reporter.tell(text)
    with reporter.bar(), Console(stderr=True).status(unmarked(text)) if reporter.has_bars else nullcontext():
        yield


def _prepare(
    group: list[Pair], name: str, reader: PairReader, base: BaseNetwork, reporter: Reporter
) -> tuple[tuple[PreparedPair, ...], list[Refusal]]:
    """The pairs that can be used, each RAW once, and the others."""
    by_digest: dict[str, PreparedPair] = {}  # a copy of a photo would validate what was learned from the photo itself
    refused: list[Refusal] = []
    text = f"{unmarked(name)}: looking at pairs"
    shown = track(group, text, console=Console(stderr=True), transient=True, disable=not reporter.has_bars)
    with reporter.bar():
        for number, pair in enumerate(shown, 1):
            reporter.tell(f"{name}: photo {number} of {len(group)}, {pair.raw.name}")
            try:
                photo = photos.prepare_pair(pair, reader, base)
            except OutputError:
                raise
            except InputError as error:
                refused.append(Refusal(pair.raw, str(error)))
            else:
                by_digest[photo.sha256] = photo
    return tuple(by_digest.values()), refused


def _write(key: Key, network: LWISP, card: Card, place: Path, report: Report, task: _Task) -> Learned:
    """Write weights and report so that the same call can finish what is interrupted between the two."""
    folder = task.report_folder or own_report_folder(place)
    finished = run_folder(place) / "finished.safetensors"
    save(finished, network, card)
    content = finished.read_bytes()
    _note_unreported(place, content, folder)
    write_whole(place, lambda file: file.write(content))
    make_folder(folder)
    reports.write(folder, place.stem, report)
    for path in (run_folder(place) / UNREPORTED, finished):
        with suppress(OSError):
            path.unlink()
    return Learned(*key, place, report=report, page=folder / f"{place.stem}.html")


def _card(
    key: Key,
    prepared: tuple[PreparedPair, ...],
    task: _Task,
    convention: InputConvention,
    name: str,
    report: Report,
) -> Card:
    """The card of the weights: what they were learned from, how, and how good they are."""
    start = task.base.card
    assert isinstance(start.architecture, LWISPConfig)
    facts = {
        "task": "a camera's look after other weights (docs/camera.md)",
        "start": {"name": start.name, "sha256": task.base.sha256},
        **_settings_facts(task.settings, report.whole),
        "command": ["lwisp", *sys.argv[1:]],
        "versions": versions(),
    }
    return Card(
        name,
        replace(start.architecture, look=task.settings.look.channels),
        convention,
        start.licence,
        start.photos,
        facts,
        {PROTOCOL: {**report.means(), "photos": len(report.photos)}},
        Camera(*key, tuple(LearnedPair(photo.pair.raw.name, photo.sha256) for photo in prepared)),
    )


def _settings_facts(settings: CameraSettings, whole: bool) -> Mapping[str, object]:
    """The settings that decided what was learned, under the names that they have on the card."""
    return {
        "pair limits": asdict(settings.pairs),
        "pixels of a photo": settings.pixels,
        "look": asdict(settings.look),
        "cross-validation": asdict(settings.validation),
        "pieces": asdict(settings.pieces) if whole else None,
        "whole network": asdict(settings.network) if whole else None,
    }
