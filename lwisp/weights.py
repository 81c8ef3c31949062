"""Weights with their card in one safetensors file: loaded, saved, found by name, described.

The card says how the network is built, what it expects of its input, and where it comes from. It is JSON in the file's
header, with the SHA-256 of the tensors, which `load` checks. Nothing is unpickled, and no other file is needed.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from lwisp.architecture import LWISPConfig, Takes
from lwisp.baselines.config import Architecture, fields_of
from lwisp.downloads import fetch, is_address
from lwisp.engines import exported
from lwisp.engines.contract import CARD_KEY
from lwisp.engines.developed import Preparation
from lwisp.engines.exported import Exported
from lwisp.engines.runners import Network, as_stored
from lwisp.engines.stored import Stored
from lwisp.engines.structures import shapes
from lwisp.errors import ArgumentError, DamagedError, InputError, NotFoundError, check_type, one_line
from lwisp.files import places
from lwisp.files.optional import is_there
from lwisp.files.tensors import digest_of
from lwisp.files.writing import is_regular, make_folder, write_whole
from lwisp.records import parse

if TYPE_CHECKING:
    from lwisp.baselines.build import Baseline
    from lwisp.model import LWISP

Tensors = dict[str, NDArray[Any]]
"""Tensors of a network by the names of its `state_dict`."""


@dataclass(frozen=True)
class InputConvention:
    """What a network expects of its packed planes; a property of the weights, applied by `pipeline.Planes`."""

    black_level: Literal["subtract", "keep"] = "subtract"
    """Subtract it, so that black is 0; or keep it, DN over white, as some loaders of the Zurich dataset do."""
    white_balance: Literal["as-shot", "none"] = "as-shot"
    color: Literal["canonical", "camera"] = "canonical"
    """Linear Rec. 2020, for any camera; or the camera's own color space, for one."""
    exposure: Literal["auto", "none"] = "auto"
    """Multiply by `color.exposure_gain` of the whole frame, or not."""
    shading: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Lens shading correction: polynomial coefficients for `imaging.shading.shading_gain`."""
    headroom: float = 0.0
    """EV above the white of middle tones that a shoulder lays below it (`imaging.highlights`), at most; clipped colors
    are rebuilt. 0: light above white is not kept."""
    noise: bool = False
    """Whether one more plane tells the noise (`color.noise_plane`)."""
    demosaiced: bool = False
    """Three planes, RGB of full size, already demosaiced and display-referred, as `linear_planes.LinearPlanes` makes
    them of a `LinearImage`; all else is as it is by default, but for headroom, which there must be, and noise."""
    levels: Literal["sensor", "liteispnet", "pynet"] = "sensor"
    """Levels as the file states them, or by a public loader of Zurich RAW to RGB, whose white is 4 * 255 of 1023:
    "liteispnet" (MW-ISPNet's too) is max(DN - 63, 0) / (1020 - 63), "pynet" (AWNet's too) is DN / 1020."""

    def __post_init__(self) -> None:
        if not 0 <= self.headroom <= 8:
            raise ValueError(f"expected headroom of 0 to 8 EV, got {self.headroom}")
        if (self.headroom or self.noise) and self.white_balance == "none":
            raise ValueError(
                "expected a balanced RAW where headroom is kept or the noise is told, got white_balance = 'none'"
            )
        if self.levels != "sensor":
            self._check_levels()
        usual = (self.black_level, self.white_balance, self.color, self.exposure, *self.shading)
        if self.demosaiced and not (self.headroom and usual == ("subtract", "as-shot", "canonical", "auto", 0, 0, 0)):
            raise ValueError(
                "expected headroom, and all else but noise as it is by default, where planes are demosaiced; got "
                f"headroom = {self.headroom} and {', '.join(map(str, usual))}"
            )

    def _check_levels(self) -> None:
        needed = ("keep" if self.levels == "pynet" else "subtract", "none", "camera", "none")
        found = (self.black_level, self.white_balance, self.color, self.exposure)
        if found != needed or any(self.shading):
            raise ValueError(
                f'expected black_level = "{needed[0]}", white_balance = "none", color = "camera" and exposure = "none" '
                f'with levels = "{self.levels}", got {", ".join(map(str, (*found, *self.shading)))}'
            )

    @property
    def preparation(self) -> Preparation:
        """What is done to a mosaic before the network."""
        return Preparation(
            subtracts=self.black_level == "subtract",
            balances=self.white_balance != "none",
            mixes=self.color == "canonical",
            exposes=self.exposure == "auto",
            shading=self.shading,
            headroom=self.headroom,
            tells=self.noise,
        )


@dataclass(frozen=True)
class Photo:
    """Provenance of a photograph that weights were trained on."""

    file: str
    licence: str = "unknown"
    author: str = ""
    source: str = ""


@dataclass(frozen=True)
class LearnedPair:
    """A RAW with its camera's own JPEG, which weights were learned from."""

    file: str
    sha256: str
    """Of the RAW file."""


@dataclass(frozen=True)
class Camera:
    """The camera whose look weights have."""

    name: str
    """Make and model, as `RawImage.camera` has it."""
    style: str = ""
    """Picture style; empty where the files do not name one."""
    pairs: tuple[LearnedPair, ...] = ()


@dataclass(frozen=True)
class Card:
    """The model card: architecture, input convention, provenance, scores."""

    name: str
    architecture: Architecture
    convention: InputConvention
    licence: str
    photos: tuple[Photo, ...] = ()
    """Training photographs."""
    training: dict[str, Any] = field(default_factory=dict)
    """The recipe, with steps and seed, and software versions."""
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Mean scores by protocol, with the data they were measured on."""
    camera: Camera | None = None
    """Set where they have the look of one camera's own JPEGs."""

    @property
    def takes(self) -> Takes | None:
        """The task, as `task_of` has it."""
        return task_of(self.architecture, self.convention)


@dataclass(frozen=True)
class Weights:
    """A network with its card, ready for `develop`."""

    source: Network
    """The network, built or as its file holds it."""
    card: Card
    sha256: str = ""
    """Digest of the tensors as they are stored."""
    notes: tuple[str, ...] = ()
    """Messages for the user about other weights that could not be used when these were picked."""
    _built: dict[Stored, Any] = field(default_factory=dict, repr=False, compare=False)
    """Networks by what they were built of, for `replace` hands this on, with another source too."""

    @property
    def network(self) -> Union["LWISP", "Baseline"]:
        """The network, float32 and in evaluation mode; one of a safetensors file is built at the first time.

        Raises:
            InputError: The weights are an exported file, torch is not installed, or the tensors do not fit the card.
        """
        if isinstance(self.source, Exported):
            raise InputError(
                "weights in an exported file can be run, but are no module of torch; load a safetensors file"
            )
        if not isinstance(self.source, Stored):
            return self.source
        if self.source not in self._built:
            if not is_there("torch"):
                raise InputError(
                    "a network as a module needs torch, which is not installed; pip install 'lwisp[torch]'"
                )
            from lwisp.engines.eager import build_stored

            try:
                self._built[self.source] = build_stored(self.source)
            except (ValueError, TypeError, RuntimeError) as error:
                raise DamagedError(f"the tensors do not fit the card: {one_line(error)}; fetch them again") from error
        return self._built[self.source]  # type: ignore[no-any-return]

    @property
    def runnable(self) -> Network:
        """What engines run: the network if it was built, for somebody may have changed it, else what its file holds."""
        if isinstance(self.source, Stored):
            return self._built.get(self.source, self.source)  # type: ignore[no-any-return]
        return self.source

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "source": self.runnable, "_built": {}}


SIMULATED = ("photos", "denoise", "denoise-raw", "enhance", "linear")
"""Kinds of training data that simulators make from photographs."""

WAYS: dict[Takes, str] = {
    "raw": "from RAW to RGB of twice the planes' size",
    "rgb": "from RGB to RGB of the same size",
    "planes": "from the planes of a RAW to clean ones of the same size",
    "linear": "from demosaiced light to RGB of the same size",
}
"""Input and output of a network in words, by its task."""


def task_of(architecture: Architecture, convention: InputConvention) -> Takes | None:
    """What a network is for: an architecture from RGB to RGB serves finished pictures, or light that is demosaiced.

    Args:
        architecture: Its own.
        convention: What it expects of its input.

    Returns:
        The task; None where its channels and size fit none.
    """
    if architecture.takes != "rgb":
        return None if convention.demosaiced else architecture.takes
    is_told = isinstance(architecture, LWISPConfig) and architecture.is_told_noise
    if is_told != convention.noise:
        return None
    return "linear" if convention.demosaiced else "rgb"


def check_takes(card: Card, takes: Takes) -> None:
    """Check that weights are for a task.

    Args:
        card: The card of the weights.
        takes: What the network is to take.

    Raises:
        InputError: They are for another one.
    """
    if card.takes != takes:
        raise ArgumentError(f"weights {card.name!r} do not fit; expected a network {WAYS[takes]}")


def check_weights(weights: object, takes: Takes) -> None:
    """Check that an argument is weights for a task.

    Args:
        weights: What was given.
        takes: What the network is to take.

    Raises:
        ArgumentError: It is something else, or weights for another task.
    """
    check_type("weights, from lwisp.load", weights, Weights)
    assert isinstance(weights, Weights)
    check_takes(weights.card, takes)


def load(name_or_path: str | Path) -> Weights:
    """Weights by name or from a file, ready for `develop`, `denoise`, `enhance` or `denoise_raw`.

    Args:
        name_or_path: Shipped weights ("photo", "denoise", "enhance", "denoise-raw"), learned ones by their name, a
            safetensors file, a file that `lwisp export` wrote, or an address on Hugging Face's hub, "hf://owner/name",
            with "@revision" and "#sha256=digest" if need be: the only name that connects to a network.

    Returns:
        The network, float32 and in evaluation mode, with its card. That of an exported file is run by the file's own
        engine.

    Raises:
        InputError: The name is unknown, the file holds no lwisp weights, its card does not fit, its tensors are not
            those of the card, or the hub does not give it.
    """
    path = find(name_or_path)
    if path.suffix.lower() in exported.SUFFIXES:
        return _load_exported(path)
    tensors, card = _read(path)
    found = {name: values.shape for name, values in tensors.items()}
    try:
        fits = (shapes(card.architecture) or found) == found
    except RuntimeError:  # of tensors that no memory could hold
        fits = False
    if not fits:
        raise DamagedError(f"{path}: its tensors do not fit its card; fetch it again")
    return Weights(Stored(card.architecture, tensors), card, digest_of(tensors))


def load_once(name_or_path: str | Path) -> Weights:
    """`load`, kept for the next call: one file gives one object until the file is changed.

    Args:
        name_or_path: As for `load`.

    Returns:
        Weights that other callers hold too: don't change their network in place.

    Raises:
        InputError: As `load`.
    """
    path = find(name_or_path)
    return _load_version(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _load_version(path: Path, _changed: int) -> Weights:
    return load(path)


def save(path: Path, network: Network, card: Card, dtype: type[np.floating[Any]] = np.float16) -> None:
    """Write a network with its card to a safetensors file, whole or not at all; the same input gives the same bytes.

    Args:
        path: The file; its folder is made if need be, and a file of this name is replaced.
        network: The network, not one in an exported file.
        card: Its card.
        dtype: What tensors are stored in; one with values beyond its range is stored in float32.

    Raises:
        OutputError: The file cannot be written.
    """
    assert not isinstance(network, Exported)
    tensors = {
        name: np.ascontiguousarray(values, dtype if _fits(values, dtype) else np.float32)
        for name, values in as_stored(network).tensors.items()
    }
    _write(path, tensors, card)


def _fits(values: NDArray[Any], dtype: type[np.floating[Any]]) -> bool:
    return not values.size or float(np.abs(values).max()) <= float(np.finfo(dtype).max)


def record_scores(path: Path, protocol: str, scores: dict[str, Any]) -> None:
    """Write the scores of a protocol into the card of a weights file; its tensors stay as they are.

    Args:
        path: The safetensors file.
        protocol: Name of the protocol; scores it had before are replaced.
        scores: Means, and the data they were measured on.

    Raises:
        InputError: The file holds no lwisp weights, or cannot be written.
    """
    tensors, card = _read(path)
    _write(path, tensors, replace(card, scores={**card.scores, protocol: scores}))


def save_card(source: Path, target: Path, card: Card) -> None:
    """Write weights once more, with another card; their tensors stay as they are.

    Args:
        source: A safetensors file.
        target: The file to write; one of this name is replaced.
        card: The card.

    Raises:
        InputError: The source holds no lwisp weights.
        OutputError: The target cannot be written.
    """
    _write(target, _read(source)[0], card)


def _read(path: Path) -> tuple[Tensors, Card]:
    card, digest = _parse_header(path, _read_header(path))
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no __iter__)
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected weights in a safetensors file: {one_line(error)}") from error
    if not all(np.issubdtype(values.dtype, np.floating) and np.isfinite(values).all() for values in tensors.values()):
        raise DamagedError(f"{path}: expected tensors of finite numbers; fetch or train it again")
    if digest != digest_of(tensors):
        raise DamagedError(f"{path}: its tensors are not those of its card (SHA-256 differs); fetch it again")
    return tensors, card


def _read_header(path: Path) -> str:
    if not is_regular(path):  # a pipe would be waited for
        raise InputError(f"{path}: expected weights in a safetensors file, got {_kind(path)}")
    try:
        with path.open("rb"):  # safetensors calls any file that it may not open missing
            pass
        with safe_open(path, framework="numpy") as file:
            header: str | None = (file.metadata() or {}).get(CARD_KEY)
    except (SafetensorError, OSError, ValueError) as error:  # a name that is no text is a ValueError
        raise InputError(f"{path}: expected weights in a safetensors file: {one_line(error)}") from error
    if header is None:
        raise InputError(f"{path}: a safetensors file without a lwisp card; expected weights written by `lwisp train`")
    return header


def _kind(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    return "a pipe or a device" if path.exists() else "no file"


def _load_exported(path: Path) -> Weights:
    program = exported.open_program(path)
    card, digest = _parse_header(path, program.metadata[CARD_KEY])
    if not isinstance(card.architecture, LWISPConfig):
        raise InputError(f"{path}: its card does not fit: expected the architecture of an LW-ISP; export it again")
    network = exported.make_exported(path, program, card.architecture, card.convention.preparation)
    return Weights(network, card, digest)


def _parse_header(path: Path, header: str) -> tuple[Card, str]:
    """A card, and the SHA-256 of the tensors it was written for; raises `InputError`."""
    try:
        content = json.loads(header)
        digest = content.pop("sha256", "")
        return parse(Card, content), str(digest)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: its card does not fit: {one_line(error)}; fetch or train it again") from error


def to_header(card: Card, digest: str) -> str:
    """A card as the JSON text of a file's header.

    Args:
        card: The card.
        digest: SHA-256 of the tensors, in hexadecimal.

    Returns:
        One JSON object: the card's fields, and "sha256".
    """
    return json.dumps({**asdict(card), "sha256": digest}, sort_keys=True)


def _write(path: Path, tensors: Tensors, card: Card) -> None:
    make_folder(path.parent)
    content = to_safetensors(tensors, {CARD_KEY: to_header(card, digest_of(tensors))})
    write_whole(path, lambda file: file.write(content))


def find(name_or_path: str | Path) -> Path:
    """The file of weights.

    Args:
        name_or_path: A path, or a bare name: of shipped weights, else of learned ones; or an address on the hub, whose
            file is fetched.

    Raises:
        InputError: There is no such file or name, or the hub does not give it.
    """
    check_type("the name or path of weights", name_or_path, (str, Path))
    if isinstance(name_or_path, str) and is_address(name_or_path):
        return _find_on_hub(name_or_path)
    if isinstance(name_or_path, Path) or "." in name_or_path or "/" in name_or_path or os.sep in name_or_path:
        if not is_regular(Path(name_or_path)):
            raise NotFoundError(f"{name_or_path}: no such weights file")
        return Path(name_or_path)
    shipped = _shipped_folder() / f"{name_or_path}.safetensors"
    if is_regular(shipped):
        return shipped
    for path in learned_files():
        if path.stem == name_or_path:
            if not is_regular(path):
                raise InputError(f"{path}: expected weights in a safetensors file, got {_kind(path)}")
            return path
    raise NotFoundError(f"unknown weights {str(name_or_path)!r}; there are: {', '.join([*names(), *learned_names()])}")


def _find_on_hub(address: str) -> Path:
    fetched = fetch(address)
    if read_digest(fetched.path) != fetched.sha256:
        raise DamagedError(
            f"{fetched.address}: its weights are not those that its config names (SHA-256 differs); "
            "ask whoever put them there"
        )
    return fetched.path


def names() -> list[str]:
    """Names of the shipped weights."""
    return [path.stem for path in shipped_files()]


def learned_names() -> list[str]:
    """Names of the weights in the user's folder, damaged ones included."""
    return [path.stem for path in learned_files()]


def learned_files() -> list[Path]:
    """What lies among learned weights under such a name; nothing where there is no folder for them."""
    try:
        return sorted(user_folder().glob("*.safetensors"))
    except (InputError, OSError):
        return []


def user_folder() -> Path:
    """The folder of learned weights: `weights` in the user's folder of data (`files.places.user_folder`).

    Raises:
        InputError: The user has none.
    """
    data = places.user_folder("data")
    if data is None:
        raise InputError("this user has no home folder to keep weights in; XDG_DATA_HOME names another")
    return data / "weights"


def of_camera(camera: str, style: str = "") -> tuple[list[Path], list[str]]:
    """The user's weights with the look of a camera, best first.

    Args:
        camera: Make and model, as `RawImage.camera` has it.
        style: Picture style; weights of this one come before others, and newer ones before older.

    Returns:
        The files, and a note on each file among them that is not lwisp weights.
    """
    found: list[tuple[bool, float, Path]] = []
    left_out = []
    for path in learned_files():
        try:
            learned = read_card(path).camera
            if learned is not None and learned.name == camera:
                found.append((learned.style == style, path.stat().st_mtime, path))
        except (InputError, OSError) as error:
            left_out.append(left_out_note(path, error))
    return [path for _, _, path in sorted(found, reverse=True)], left_out


def left_out_note(path: Path, error: Exception) -> str:
    """The note on learned weights that cannot be used.

    Args:
        path: Their file.
        error: Why they cannot be used.

    Returns:
        One line that names the file and the reason.
    """
    return f"{path} is left out: {one_line(error).removeprefix(f'{path}: ')}"


def read_card(path: Path) -> Card:
    """The card of a safetensors file, without its tensors.

    Raises:
        InputError: The file holds no lwisp weights.
    """
    return _parse_header(path, _read_header(path))[0]


def read_digest(path: Path) -> str:
    """The SHA-256 of the tensors that a safetensors file tells, without reading them; `load` checks it.

    Raises:
        InputError: The file holds no lwisp weights.
    """
    return _parse_header(path, _read_header(path))[1]


def shipped_files() -> list[Path]:
    """The files of the shipped weights, by name."""
    return sorted(_shipped_folder().glob("*.safetensors"), key=lambda path: path.stem)


def _shipped_folder() -> Path:
    return Path(str(resources.files("lwisp") / "assets" / "weights"))


def describe(name_or_path: str | Path) -> str:
    """The card of weights as a page of Markdown.

    Args:
        name_or_path: As for `load`.

    Raises:
        InputError: As `load`.
    """
    path = find(name_or_path)
    card, content, digest = _contents(path)
    lines = [
        f"# Weights `{card.name}`",
        "",
        f"{content}, {path.stat().st_size:,} bytes. Licence: {card.licence}.",
        "",
        f"- SHA-256 of the file: `{hashlib.sha256(path.read_bytes()).hexdigest()}`",
        f"- SHA-256 of the tensors: `{digest}`",
    ]
    lines += ["", "## Architecture", "", *_bullets(fields_of(card.architecture))]
    lines += ["", "## Input convention", "", *_bullets(asdict(card.convention))]
    for protocol, scores in card.scores.items():
        lines += ["", f"## Scores, protocol `{protocol}`", "", *_bullets(scores)]
    lines += ["", "## Training", "", *_bullets(card.training)]
    recipe = card.training.get("recipe", {})
    if recipe.get("data") in SIMULATED and "simulation" not in recipe:
        lines += ["", "The constants of the simulators that made the training pairs were not kept with these weights."]
    if card.camera:
        look = " ".join(filter(None, (card.camera.name, card.camera.style)))
        lines += ["", f"## Look of {look}, learned from", ""]
        lines += [f"- {pair.file}: SHA-256 `{pair.sha256}`" for pair in card.camera.pairs]
    if card.photos:
        lines += ["", "## Data", "", "| file | licence | author | source |", "|---|---|---|---|"]
        lines += [f"| {photo.file} | {photo.licence} | {photo.author} | {photo.source} |" for photo in card.photos]
    return "\n".join(_printable_only(line) for line in lines) + "\n"


def _contents(path: Path) -> tuple[Card, str, str]:
    """Card, contents in words, and the digest of the tensors, of a file of weights."""
    runtime = exported.SUFFIXES.get(path.suffix.lower())
    if runtime is not None:
        weights = _load_exported(path)
        return weights.card, f"A file for {runtime}", weights.sha256
    tensors, card = _read(path)
    count = sum(tensor.size for tensor in tensors.values())
    types = sorted({str(tensor.dtype) for tensor in tensors.values()})
    return card, f"{count:,} parameters, {', '.join(types)}", digest_of(tensors)


def _printable_only(line: str) -> str:
    return "".join(letter for letter in line if letter.isprintable())


def _bullets(facts: Mapping[str, Any], indent: str = "") -> list[str]:
    """Facts as a nested list of Markdown; tables in a list are numbered from 1."""
    lines = []
    for key, value in facts.items():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            value = {str(number): item for number, item in enumerate(value, 1)}
        if isinstance(value, Mapping):
            lines.append(f"{indent}- {key}:")
            lines += _bullets(value, indent + "  ")
        else:
            lines.append(f"{indent}- {key}: {value}")
    return lines
