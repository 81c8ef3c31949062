"""Weights and their card in one safetensors file: nothing is unpickled, nothing travels beside it.

The card says how the network is built, what it expects of its input, and where it comes from. It lies in the file's
header as JSON, with the SHA-256 of the tensors, which `load` checks.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from lwisp.baselines import Architecture, Baseline, build
from lwisp.engines import exported
from lwisp.engines.exported import CARD_KEY, Exported
from lwisp.errors import InputError, one_line
from lwisp.files.tensors import digest_of
from lwisp.files.writing import is_regular, make_folder, write_whole
from lwisp.model import LWISP, LWISPConfig, Takes


@dataclass(frozen=True)
class InputConvention:
    """What a network expects of its packed planes; a property of the weights, applied by `pipeline.prepare`."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    black_level: Literal["subtract", "keep"] = "subtract"
    """Black at 0, or DN over white as some Zurich loaders have it."""
    white_balance: Literal["as-shot", "none"] = "as-shot"
    color: Literal["canonical", "camera"] = "canonical"
    """Planes mixed into linear Rec. 2020 (for any camera), or left in the camera's own colors (for one)."""
    exposure: Literal["auto", "none"] = "auto"
    """`color.exposure_gain` of the whole frame, or none."""
    shading: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """What brightens the frame's corners as one camera does: `color.shading_gain`'s terms."""


@dataclass(frozen=True)
class Photo:
    """A photograph that weights were trained on, and what is known of it."""

    file: str
    licence: str = "unknown"
    author: str = ""
    source: str = ""


@dataclass(frozen=True)
class LearnedPair:
    """A RAW whose camera's own JPEG weights were learned from."""

    file: str
    sha256: str
    """Of the RAW file."""


@dataclass(frozen=True)
class Camera:
    """Whose look weights have."""

    name: str
    """Make and model, as `RawImage.camera` has it."""
    style: str = ""
    """Picture style, where the files tell."""
    pairs: tuple[LearnedPair, ...] = ()


@dataclass(frozen=True)
class Card:
    """What travels with weights."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    name: str
    architecture: Architecture
    convention: InputConvention
    licence: str
    photos: tuple[Photo, ...] = ()
    """What it was trained on."""
    training: dict[str, Any] = field(default_factory=dict)
    """Recipe with steps and seed, versions."""
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Means by protocol, with what they were measured on."""
    camera: Camera | None = None
    """Of weights that have the look of one camera's own JPEGs."""


@dataclass(frozen=True)
class Weights:
    """A network with its card, ready for `develop`."""

    network: LWISP | Baseline | Exported
    card: Card
    sha256: str = ""
    """Of the tensors as they are stored."""
    notes: tuple[str, ...] = ()
    """What could not be used when they were picked, for the user's eyes."""


SIMULATED = ("photos", "denoise", "denoise-raw", "enhance")
"""Kinds of data whose training pairs are made of photographs by simulators."""

WAYS: dict[Takes, str] = {
    "raw": "from RAW to RGB of twice the planes' size",
    "rgb": "from RGB to RGB of the same size",
    "planes": "from the planes of a RAW to clean ones of the same size",
}
"""What a network makes of what, in words."""


def check_takes(card: Card, takes: Takes) -> None:
    """Raise `InputError` where weights are not for that."""
    if card.architecture.takes != takes:
        raise InputError(f"weights {card.name!r} do not fit; expected a network {WAYS[takes]}")


def load(name_or_path: str | Path) -> Weights:
    """The shipped weights of that name ("photo"), or those in a safetensors file or one that `lwisp export` wrote.

    The network comes in float32, in evaluation mode; that of an exported file is run by the file's own engine. Raises
    `InputError` for an unknown name, a file that is not lwisp weights, a card that does not fit, or tensors that are
    not those the card was written for.
    """
    path = find(name_or_path)
    if path.suffix.lower() in exported.SUFFIXES:
        return _load_exported(path)
    tensors, card = _read(path)
    try:
        with torch.device("meta"):  # a hostile card cannot make this large
            network = build(card.architecture)
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{path}: its tensors do not fit its card: {one_line(error)}; fetch it again") from error
    return Weights(network.eval(), card, digest_of(tensors))


def save(path: Path, network: nn.Module, card: Card, dtype: torch.dtype = torch.float16) -> None:
    """Write network and card to a safetensors file, to a temporary name first; the same input gives the same bytes.

    Tensors whose values `dtype` cannot hold, as variances of a network that ran away, keep their own type.
    """
    tensors = {
        name: tensor.detach().to("cpu", dtype if _fits(tensor, dtype) else None, memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
        if tensor.is_floating_point()  # batch normalization also counts batches, which no pass uses
    }
    _write(path, tensors, card)


def _fits(tensor: Tensor, dtype: torch.dtype) -> bool:
    return not tensor.numel() or float(tensor.abs().max()) <= torch.finfo(dtype).max


def record_scores(path: Path, protocol: str, scores: dict[str, Any]) -> None:
    """Write the scores of a protocol into the card of a weights file; its tensors stay as they are."""
    tensors, card = _read(path)
    _write(path, tensors, replace(card, scores={**card.scores, protocol: scores}))


def _read(path: Path) -> tuple[dict[str, Tensor], Card]:
    card, digest = _parse_header(path, _read_header(path))
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no __iter__)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: expected weights in a safetensors file: {one_line(error)}") from error
    if not all(tensor.is_floating_point() and bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise InputError(f"{path}: expected tensors of finite numbers; fetch or train it again")
    if digest != digest_of(tensors):
        raise InputError(f"{path}: its tensors are not those of its card (SHA-256 differs); fetch it again")
    return tensors, card


def _read_header(path: Path) -> str:
    if not is_regular(path):  # a pipe would be waited for
        raise InputError(f"{path}: expected weights in a safetensors file, got {_kind(path)}")
    try:
        with path.open("rb"):  # safetensors calls any file that it may not open missing
            pass
        with safe_open(path, framework="pt") as file:
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
    network = exported.Exported(card.architecture, program)
    exported.check_shapes(path, program, card.architecture)
    return Weights(network.eval(), card, digest)


def _parse_header(path: Path, header: str) -> tuple[Card, str]:
    """A card, and the SHA-256 of the tensors it was written for; raises `InputError`."""
    try:
        content = json.loads(header)
        digest = content.pop("sha256", "")
        return TypeAdapter(Card).validate_python(content), str(digest)
    except (ValidationError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: its card does not fit: {one_line(error)}; fetch or train it again") from error


def to_header(card: Card, digest: str) -> str:
    """A card as it stands in a file, with the SHA-256 of the tensors it is written for."""
    return json.dumps({**asdict(card), "sha256": digest}, sort_keys=True)


def _write(path: Path, tensors: dict[str, Tensor], card: Card) -> None:
    make_folder(path.parent)
    content = to_safetensors(tensors, {CARD_KEY: to_header(card, digest_of(tensors))})
    write_whole(path, lambda file: file.write(content))


def find(name_or_path: str | Path) -> Path:
    """Where weights lie: a path as it is, a bare name among those shipped with the package."""
    if isinstance(name_or_path, Path) or "." in name_or_path or "/" in name_or_path or os.sep in name_or_path:
        if not is_regular(Path(name_or_path)):
            raise InputError(f"{name_or_path}: no such weights file")
        return Path(name_or_path)
    shipped = _shipped_folder() / f"{name_or_path}.safetensors"
    if is_regular(shipped):
        return shipped
    for path in _learned_files():
        if path.stem == name_or_path:
            if not is_regular(path):
                raise InputError(f"{path}: expected weights in a safetensors file, got {_kind(path)}")
            return path
    raise InputError(f"unknown weights {str(name_or_path)!r}; there are: {', '.join([*names(), *learned_names()])}")


def names() -> list[str]:
    """Names of the shipped weights."""
    return sorted(path.stem for path in _shipped_folder().glob("*.safetensors"))


def learned_names() -> list[str]:
    """Names of the weights that the user has had learned, be they damaged."""
    return [path.stem for path in _learned_files()]


def _learned_files() -> list[Path]:
    """What lies among learned weights under such a name; nothing where there is no folder for them."""
    try:
        return sorted(user_folder().glob("*.safetensors"))
    except (InputError, OSError):
        return []


def user_folder() -> Path:
    """Where learned weights are kept: `lwisp/weights` in `XDG_DATA_HOME` or ~/.local/share.

    Raises `InputError` where the user has neither.
    """
    try:
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    except RuntimeError as error:
        raise InputError("this user has no home folder to keep weights in; XDG_DATA_HOME names another") from error
    return data / "lwisp" / "weights"


def remove(name: str) -> Path:
    """Delete weights that the user has had learned, by name; the file that is gone. Raises `InputError`."""
    if name not in learned_names():
        raise InputError(f"no learned weights {name!r}; there are: {', '.join(learned_names()) or 'none'}")
    path = user_folder() / f"{name}.safetensors"
    try:
        path.unlink()
    except OSError as error:
        raise InputError(f"{path}: cannot be deleted: {error.strerror or error}") from error
    return path


def of_camera(camera: str, style: str = "") -> tuple[list[Path], list[str]]:
    """The user's weights with the look of a camera (`RawImage.camera`), best first, and what was left out and why.

    Those of this picture style come before others, of several those learned last. Left out, with a note each, is what
    lies among them and is not lwisp weights.
    """
    found: list[tuple[bool, float, Path]] = []
    left_out = []
    for path in _learned_files():
        try:
            learned = read_card(path).camera
            if learned is not None and learned.name == camera:
                found.append((learned.style == style, path.stat().st_mtime, path))
        except (InputError, OSError) as error:
            left_out.append(left_out_note(path, error))
    return [path for _, _, path in sorted(found, reverse=True)], left_out


def left_out_note(path: Path, error: Exception) -> str:
    """What to tell of learned weights that cannot be used."""
    return f"{path} is left out: {one_line(error).removeprefix(f'{path}: ')}"


def read_card(path: Path) -> Card:
    """The card of a safetensors file, without its tensors. Raises `InputError`."""
    return _parse_header(path, _read_header(path))[0]


def _shipped_folder() -> Path:
    return Path(str(resources.files("lwisp") / "assets" / "weights"))


def describe(name_or_path: str | Path) -> str:
    """The card of weights as a page of Markdown."""
    path = find(name_or_path)
    size = f"{path.stat().st_size:,} bytes"
    if path.suffix.lower() in exported.SUFFIXES:
        weights = _load_exported(path)
        card, digest = weights.card, weights.sha256
        content = f"A file for {exported.SUFFIXES[path.suffix.lower()]}, {size}"
    else:
        tensors, card = _read(path)
        digest = digest_of(tensors)
        kinds = ", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()}))
        content = f"{sum(tensor.numel() for tensor in tensors.values()):,} parameters, {kinds}, {size}"
    lines = [
        f"# Weights `{card.name}`",
        "",
        f"{content}. Licence: {card.licence}.",
        "",
        f"- SHA-256 of the file: `{hashlib.sha256(path.read_bytes()).hexdigest()}`",
        f"- SHA-256 of the tensors: `{digest}`",
    ]
    for title, facts in (("Architecture", asdict(card.architecture)), ("Input convention", asdict(card.convention))):
        lines += ["", f"## {title}", "", *(f"- {key}: {value}" for key, value in facts.items())]
    for protocol, scores in card.scores.items():
        lines += ["", f"## Scores, protocol `{protocol}`", "", *_bullets(scores)]
    lines += ["", "## Training", "", *_bullets(card.training)]
    recipe = card.training.get("recipe", {})
    if recipe.get("data") in SIMULATED and "simulation" not in recipe:
        lines += ["", "The constants of the simulators that made the training pairs were not kept with these weights."]
    if card.camera:
        lines += ["", f"## Look of {' '.join(filter(None, (card.camera.name, card.camera.style)))}, learned from", ""]
        lines += [f"- {pair.file}: SHA-256 `{pair.sha256}`" for pair in card.camera.pairs]
    if card.photos:
        lines += ["", "## Data", "", "| file | licence | author | source |", "|---|---|---|---|"]
        lines += [f"| {photo.file} | {photo.licence} | {photo.author} | {photo.source} |" for photo in card.photos]
    return "\n".join("".join(letter for letter in line if letter.isprintable()) for line in lines) + "\n"


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
