"""Learning a camera's look: from RAW files with the camera's own JPEGs to weights, proven on held-out photos.

A camera's JPEG keeps a fixed relation to its RAW, so the weights have no exposure rule: they are those of `photo`,
which gives the picture its detail, followed by a look (`model.Look`) and, where that helps on held-out photos, by
brighter corners.
"""

import sys
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from lwisp import inference, look, proof, workshop
from lwisp.checkpoint import Camera, Card, InputConvention, LearnedPair, Weights, load, save, user_folder
from lwisp.errors import InputError
from lwisp.files import check_output, make_folder
from lwisp.inference import Precision
from lwisp.model import LWISP, Look, LWISPConfig
from lwisp.pairs import Pair, Refusal, find_pairs
from lwisp.proof import Proof
from lwisp.training import run_folder
from lwisp.workshop import Photo, Workshop

FEWEST = 2  # photos: one to learn from, one to prove it on


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
    lies in the weights' name + ".run". Gives what came of every group, and the files that could not be used. Raises
    `InputError`.
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
    for place in places.values():
        make_folder(place.parent)
        check_output(place, overwrite)
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
    make_folder(run)
    engine = inference.prepare(base.network, "auto", precision)
    convention = replace(base.card.convention, exposure="none")
    photos: list[Photo] = []
    refused: list[Refusal] = []
    console = Console(stderr=True)
    for pair in track(group, f"{name}: looking at pairs", console=console, transient=True):
        try:
            photos.append(workshop.look_at(pair, base.sha256, convention, engine, run))
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
    found = proof.prove(name, shop, shading, curve, base, engine, convention)
    convention = replace(convention, shading=fitted.shading)
    save(path, with_look(base.network, fitted.look), _card(key, shop.photos, base, convention, path.stem, found))
    folder = report or path.with_name(f"{path.stem}-report")
    make_folder(folder)
    proof.write(folder, path.stem, found)
    return Learned(*key, path, proof=found, report=folder / f"{path.stem}.html"), refused


def _card(
    key: tuple[str, str], photos: tuple[Photo, ...], base: Weights, convention: InputConvention, name: str, found: Proof
) -> Card:
    pairs = tuple(LearnedPair(photo.pair.raw.name, photo.sha256) for photo in photos)
    facts = {
        "task": "a camera's look after other weights (docs/camera.md)",
        "start": {"name": base.card.name, "sha256": base.sha256},
        "look": {"channels": look.CHANNELS, "steps": look.STEPS, "pixels": look.PIXELS},
        "command": ["lwisp", *sys.argv[1:]],
        "versions": {"lwisp": version("lwisp"), "torch": torch.__version__.split("+")[0]},
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
