"""Learning a camera's look: from RAW files with the camera's own JPEGs to weights, proven on held-out photos.

A camera's JPEG keeps a fixed relation to its RAW, so the weights have no exposure rule: they are those of `photo`,
which gives the picture its detail, followed by a look (`model.Look`) and, where that helps on held-out photos, by
brighter corners. Where there are many photos with a JPEG of full size, the whole network goes on to learn from them.
"""

import hashlib
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from torch import Tensor

from lwisp.camera import look
from lwisp.camera import photos as workshop
from lwisp.camera import report as proof
from lwisp.camera.pairs import Pair, Refusal, find_pairs
from lwisp.camera.photos import Photo, Workshop
from lwisp.camera.report import Proof, Refined
from lwisp.data.crops import Crops
from lwisp.engines.engine import Engine, prepare_engine
from lwisp.engines.names import Precision
from lwisp.errors import InputError, OutputError
from lwisp.files.writing import check_output, clear_leftovers, make_folder
from lwisp.imaging import color, metrics, mosaic
from lwisp.model import LWISP, Look, LWISPConfig, Takes
from lwisp.training import runs
from lwisp.training.provenance import versions
from lwisp.training.recipe import Recipe
from lwisp.training.state import exclusive, run_folder
from lwisp.weights import Camera, Card, InputConvention, LearnedPair, Weights, load, save, user_folder

FEWEST = 2  # photos: one to learn from, one to prove it on
MANY = 8  # photos with JPEGs of full size, from which on the whole network learns
STEPS, BATCH, CROP, RATE = 300, 8, 160, 2e-4  # of the whole network: more of either learns colors by heart


@dataclass(frozen=True)
class Learned:
    """What came of one camera and picture style."""

    camera: str
    style: str
    weights: Path | None = None
    reason: str = ""
    """Why there are no weights."""
    proof: Proof | None = None
    report: Path | None = None


class Squares:
    """The pieces of photos (`workshop.cut_pieces`) as `datasets.Pictures`."""

    takes: Takes = "raw"
    notes: tuple[str, ...] = ()

    def __init__(self, photos: Sequence[Photo], convention: InputConvention) -> None:
        found = [(photo, photo.pieces) for photo in photos if photo.pieces is not None]
        self.places = [(pieces, index) for _, pieces in found for index in range(len(pieces))]
        self.groups = tuple(photo.sha256 for photo, pieces in found for _ in range(len(pieces)))
        self.names = tuple(f"{group}-{index}" for group, (_, index) in zip(self.groups, self.places, strict=True))
        self.convention = convention

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Photosites (1, PIECE, PIECE) with the convention's brighter corners, and the camera's (3, PIECE, PIECE)."""
        pieces, at = self.places[index]
        gain = color.shading_gain(self.convention.shading, pieces.radius[at].float())
        gain = gain.repeat_interleave(2, 0).repeat_interleave(2, 1)
        return (pieces.photosites[at].float() * gain)[None], pieces.target[at]


def learn(
    folder: Path,
    output: Path | None = None,
    report: Path | None = None,
    start: str = "photo",
    precision: Precision = "auto",
    overwrite: bool = False,
) -> tuple[list[Learned], list[Refusal]]:
    """Learn the look of every camera and picture style whose RAW and JPEG pairs lie in a folder.

    Weights go to the user's folder (`checkpoint.user_folder`), or to `output` where there is one camera and style; what
    proves them (`proof`) goes into `report`, else beside them. The same call goes on where it was stopped: what is done
    lies in the weights' name + ".run", where one process learns at a time. Gives what came of every group, and the
    files that could not be used. Raises `InputError`.
    """
    pairs, refusals = find_pairs(folder)
    groups: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        groups.setdefault((pair.camera, pair.style), []).append(pair)
    large = [key for key, group in groups.items() if len(group) >= FEWEST]
    if output is not None and len(large) > 1:
        names = "; ".join(map(_name, large))
        raise InputError(f"{folder}: {len(large)} cameras or styles ({names}), --output names one file; leave it out")
    base = load(start)
    if not isinstance(base.network, LWISP) or base.card.architecture.takes != "raw" or base.network.config.look:
        raise InputError(f"weights {start!r}: expected an LW-ISP from RAW without a look, such as photo")
    places = {key: output or user_folder() / f"{slug(*key)}.safetensors" for key in large}
    for key, place in places.items():
        if list(places.values()).count(place) > 1:  # names without a Latin letter
            raise InputError(
                f"{_name(key)}: {place} would be another camera's too; name an --output for a folder of it alone"
            )
    with ExitStack() as held:
        for place in places.values():
            make_folder(place.parent)
            held.enter_context(exclusive(run_folder(place), "learning"))
            _check_free(place, report, overwrite)
            for folder in (place.parent, run_folder(place)):
                clear_leftovers(folder)
        return _learn_groups(groups, places, base, refusals, report, precision)


def _check_free(place: Path, report: Path | None, overwrite: bool) -> None:
    """Raise `InputError` where weights, or a report in a folder that was named, would replace others."""
    check_output(place, overwrite)
    if report is not None and report.is_dir():
        check_output(report / f"{place.stem}.html", overwrite)


def _learn_groups(
    groups: dict[tuple[str, str], list[Pair]],
    places: dict[tuple[str, str], Path],
    base: Weights,
    refusals: list[Refusal],
    report: Path | None,
    precision: Precision,
) -> tuple[list[Learned], list[Refusal]]:
    results = []
    for key, group in groups.items():
        if key not in places:
            reason = (
                f"{group[0].raw}: the only pair of {_name(key)}; one more photo of the same camera and style is needed "
                "at least, to prove on it what is learned from the other"
            )
            results.append(Learned(*key, reason=reason))
            continue
        learned, refused = _learn_group(key, group, base, places[key], report, precision)
        results.append(learned)
        refusals += refused
    return results, refusals


def slug(camera: str, style: str) -> str:
    """A file's name for a camera and style: small letters, digits and dashes."""
    letters = (letter if letter.isalnum() and letter.isascii() else " " for letter in f"{camera} {style}")
    return "-".join("".join(letters).split()).lower() or "camera"


def with_look(base: LWISP, learned: Look) -> LWISP:
    """The network with a look at its end; its own weights are shared."""
    network = LWISP(replace(base.config, look=look.CHANNELS)).eval()
    network.load_state_dict({**base.state_dict(), **{f"look.{key}": x for key, x in learned.state_dict().items()}})
    return network


def _name(key: tuple[str, str]) -> str:
    return ", ".join(filter(None, key)) or "an unknown camera"


def _learn_group(
    key: tuple[str, str], group: list[Pair], base: Weights, path: Path, report: Path | None, precision: Precision
) -> tuple[Learned, list[Refusal]]:
    assert isinstance(base.network, LWISP)
    run, name = run_folder(path), _name(key)
    engine = prepare_engine(base.network, "auto", precision)
    convention = replace(base.card.convention, exposure="none")
    photos: list[Photo] = []
    refused: list[Refusal] = []
    console = Console(stderr=True)
    for pair in track(group, f"{name}: looking at pairs", console=console, transient=True):
        try:
            photos.append(workshop.look_at(pair, base.sha256, convention, engine, run))
        except OutputError:
            raise
        except InputError as error:
            refused.append(Refusal(pair.raw, str(error)))
    photos = list({photo.sha256: photo for photo in photos}.values())  # a copy proves nothing
    with console.status(f"{name}: learning"):
        shop = Workshop(tuple(photos), run)
        while (outlier := shop.outlier()) is not None:
            photo, far, usual = outlier
            reason = f"{photo.pair.raw}: dE2000 {far:.1f} from what the others teach, {usual:.1f} is usual; left out"
            refused.append(Refusal(photo.pair.raw, reason))
            shop = Workshop(tuple(shop.without([photo])), run)
        if len(shop.photos) < FEWEST:
            reason = f"{name}: {len(shop.photos)} of {len(group)} pairs usable, {FEWEST} are needed at least"
            return Learned(*key, reason=reason), refused
        shading = shop.prefers_shading()
        fitted = shop.fit(shop.photos, shading)
        curve = shop.learning_curve(shading)
    refined = _refine(shop, shading, base, convention, precision)
    found = proof.prove(name, shop, shading, curve, base, engine, convention, refined)
    network = with_look(base.network, fitted.look)
    convention = replace(convention, shading=fitted.shading)
    if refined is not None:
        network, convention = refined.network, refined.convention
    save(path, network, _card(key, shop.photos, base, convention, path.stem, found))
    folder = report or path.with_name(f"{path.stem}-report")
    make_folder(folder)
    proof.write(folder, path.stem, found)
    return Learned(*key, path, proof=found, report=folder / f"{path.stem}.html"), refused


def _refine(
    shop: Workshop, shading: bool, base: Weights, convention: InputConvention, precision: Precision
) -> Refined | None:
    """The whole network, learned from all photos but the first part, where it is nearer to those than a look alone.

    None too where there are few photos with a JPEG of full size, or what trains is not installed.
    """
    assert isinstance(base.network, LWISP)
    held_out = shop.folds[0]
    photos = shop.without(held_out)
    if sum(photo.pieces is not None for photo in shop.photos) < MANY:
        return None
    if find_spec("lightning_fabric") is None:
        Console(stderr=True).print("pip install 'lwisp[train]' and learn anew: so many photos teach the whole network")
        return None
    fitted = shop.fit(photos, shading)
    convention = replace(convention, shading=fitted.shading)
    train, test = (Squares(part, convention) for part in (photos, held_out))
    if not test.names:
        return None
    network = with_look(base.network, fitted.look)
    start = shop.run / "start.safetensors"
    save(start, network, Card("start", network.config, convention, base.card.licence))
    recipe = Recipe(
        "whole network",
        base.card.licence,
        data="pairs",
        convention=convention,
        architecture=network.config,
        start=str(start),
        steps=STEPS,
        batch=BATCH,
        crop=CROP,
        learning_rate=RATE,
        warmup=50,
        ema=0.99,
        alpha=0.0,
        checkpoint_every=100,
        validate_every=STEPS,
    )
    digest = hashlib.sha256(" ".join([base.sha256, *train.names, str(recipe)]).encode()).hexdigest()
    learned = runs.train(
        recipe, shop.run / f"network-{digest[:32]}.safetensors", data=Crops(train, test, CROP, BATCH)
    ).network
    assert isinstance(learned, LWISP)
    before, after = (
        _error(engine, test) for engine in (prepare_engine(x, "torch", precision) for x in (network, learned))
    )
    if after > before - workshop.WORTH:
        return None
    return Refined(learned, prepare_engine(learned, "auto", precision), convention, held_out)


def _error(engine: Engine, squares: Squares) -> float:
    """Mean dE2000 from the camera's pixels."""
    errors = []
    for index in range(len(squares.names)):
        photosites, target = squares.read(index)
        errors.append(metrics.delta_e(engine(mosaic.pack(photosites)[0]), target / 255))
    return float(np.mean(errors))


def _card(
    key: tuple[str, str], photos: tuple[Photo, ...], base: Weights, convention: InputConvention, name: str, found: Proof
) -> Card:
    pairs = tuple(LearnedPair(photo.pair.raw.name, photo.sha256) for photo in photos)
    facts = {
        "task": "a camera's look after other weights (docs/camera.md)",
        "start": {"name": base.card.name, "sha256": base.sha256},
        "look": {"channels": look.CHANNELS, "steps": look.STEPS, "pixels": look.PIXELS},
        "whole network": {"steps": STEPS, "rate": RATE} if found.whole else None,
        "command": ["lwisp", *sys.argv[1:]],
        "versions": versions(),
    }
    assert isinstance(base.card.architecture, LWISPConfig)
    architecture = replace(base.card.architecture, look=look.CHANNELS)
    scores = {**found.means(), "photos": len(found.photos)}
    return Card(
        name,
        architecture,
        convention,
        base.card.licence,
        base.card.photos,
        facts,
        {"own camera, held-out photos": scores},
        Camera(*key, pairs),
    )
