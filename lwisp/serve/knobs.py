"""The knobs of a picture as fields of a form, with the names and the meaning of the options of `lwisp develop`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from lwisp.collection import list_weights, load_look
from lwisp.development import Photo, Settings, pick, pick_fast
from lwisp.errors import ArgumentError, check_choice, shown
from lwisp.files.encoding import Finish
from lwisp.files.profiles import PROFILE_NAMES, ProfileName
from lwisp.imaging.framing import CROPS, Crop
from lwisp.weights import Weights, load

ServedFormat = Literal["jpg", "tiff", "png", "png16"]
SERVED_FORMATS: tuple[ServedFormat, ...] = get_args(ServedFormat)
MEDIA_TYPES: dict[ServedFormat, str] = {
    "jpg": "image/jpeg",
    "tiff": "image/tiff",
    "png": "image/png",
    "png16": "image/png",
}
SWITCHES = {"true": True, "1": True, "on": True, "yes": True, "false": False, "0": False, "off": False, "no": False}
AUTO = "auto"
"""Weights where none are named."""


@dataclass(frozen=True)
class Knobs:
    """How a picture is made; what is not told is as `lwisp develop` has it."""

    format: ServedFormat = "jpg"
    quality: int = 95
    size: int | None = None
    profile: ProfileName = "srgb"
    weights: str = AUTO
    fast: bool = False
    look: str | None = None
    exposure: float = 0.0
    white_balance: str = "as-shot"
    highlights: float = 1.0
    noise_reduction: float = 1.0
    crop: Crop = "camera"
    keep_hot_pixels: bool = False
    strip: bool = False

    def settings(self) -> Settings:
        """The settings that `lwisp develop` would make of them."""
        return Settings(
            self.exposure,
            self.white_balance,
            None,
            self.crop,
            self.keep_hot_pixels,
            self.highlights,
            self.noise_reduction,
            Finish(self.quality, self.size, self.profile),
            self.strip,
        )

    def check(self) -> None:
        """Check all of it before any work.

        Raises:
            InputError: A value cannot be used; weights are none of those that are here under a name.
        """
        check_choice("format", self.format, SERVED_FORMATS)
        settings = self.settings()
        settings.check()
        settings.finish.check(self.format)
        told = [name for name in ("fast", "look", "weights") if getattr(self, name) != getattr(Knobs(), name)]
        if len(told) > 1:
            raise ArgumentError(f"{' and '.join(told)} each choose the weights; drop all but one")
        if self.weights != AUTO:
            _check_name("weights", self.weights, weights_names())
        if self.look is not None:
            _check_name("look", self.look, look_names())

    def choice(self) -> Weights | Callable[[Photo], Weights]:
        """The weights, or which for each photo, as `develop_files` takes them; for values that were checked.

        Raises:
            InputError: The weights cannot be used.
        """
        if self.look is not None:
            return load_look(self.look)
        if self.fast:
            return pick_fast
        return pick if self.weights == AUTO else load(self.weights)


def weights_names() -> list[str]:
    """Names of all weights that develop RAWs; files of others' choice are never named."""
    return [entry.name for entry in list_weights() if entry.task == "develop" and not entry.damage]


def look_names() -> list[str]:
    """Names of the weights that have a camera's look."""
    return [entry.name for entry in list_weights() if entry.camera]


def _check_name(what: str, name: str, known: list[str]) -> None:
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "none was learned here"
        raise ArgumentError(f"expected the name of a {what} on this machine, got {shown(name)}; {there}")


@dataclass(frozen=True)
class Field:
    """What a form's field means, for the description of the interface."""

    help: str
    schema: Mapping[str, Any]


def _number(low: float, high: float) -> Mapping[str, Any]:
    return {"type": "number", "minimum": low, "maximum": high}


FIELDS: dict[str, Field] = {
    "format": Field("jpg, tiff (16 bits), png, png16 (PNG of 16 bits)", {"type": "string", "enum": SERVED_FORMATS}),
    "quality": Field("of a JPEG", {"type": "integer", "minimum": 1, "maximum": 100}),
    "size": Field("the long side in px; a smaller picture stays as it is", {"type": "integer", "minimum": 1}),
    "profile": Field("color space; p3 and rec2020 in formats of 16 bits", {"type": "string", "enum": PROFILE_NAMES}),
    "weights": Field("a name from /settings; auto: those of the RAW's camera, else photo", {"type": "string"}),
    "fast": Field("weights photo-fast: a third of the time, a little less detail", {"type": "boolean"}),
    "look": Field("a look that was learned from any camera, by its name in /settings", {"type": "string"}),
    "exposure": Field("EV on top of the exposure rule", _number(-5, 5)),
    "white_balance": Field("as-shot, auto, daylight, KELVIN, KELVIN,TINT, or gains R,G,B", {"type": "string"}),
    "highlights": Field("how much of the light above white is kept from it", _number(0, 1)),
    "noise_reduction": Field("how much noise is taken away; 1 as much as there is", _number(0, 2)),
    "crop": Field("camera: what its own pictures show; none: all photosites", {"type": "string", "enum": CROPS}),
    "keep_hot_pixels": Field("leave single hot and dead photosites as they are", {"type": "boolean"}),
    "strip": Field("leave out what names people and places", {"type": "boolean"}),
}
"""By the names of the fields of `Knobs`."""


def read_knobs(told: Mapping[str, str]) -> Knobs:
    """Knobs from the fields of a form; an empty value is as if it were not told.

    Args:
        told: Texts by name; white-balance is white_balance.

    Returns:
        The knobs, of the right types, not yet checked otherwise.

    Raises:
        ArgumentError: A field of another name, one told twice, or a text that is no such value.
    """
    values: dict[str, Any] = {}
    for written, text in told.items():
        name = written.replace("-", "_")
        if name not in FIELDS:
            raise ArgumentError(f"there is no field {shown(written)}; there are {', '.join(FIELDS)}")
        if name in values:
            raise ArgumentError(f"the field {name} is told twice")
        if text.strip():
            values[name] = _parse(name, text.strip())
    return Knobs(**values)


def _parse(name: str, text: str) -> str | int | float | bool:
    kind = FIELDS[name].schema["type"]
    if kind == "boolean":
        if text.lower() not in SWITCHES:
            raise ArgumentError(f"expected true or false for {name}, got {shown(text)}")
        return SWITCHES[text.lower()]
    if kind == "string":
        return text
    try:
        return int(text) if kind == "integer" else float(text)
    except ValueError as error:
        what = "a whole number" if kind == "integer" else "a number"
        raise ArgumentError(f"expected {what} for {name}, got {shown(text)}") from error


def to_schema() -> dict[str, Any]:
    """The fields as a JSON schema's properties."""
    defaults = {field.name: getattr(Knobs(), field.name) for field in fields(Knobs)}
    return {
        name: {**field.schema, "description": field.help}
        | ({} if defaults[name] is None else {"default": defaults[name]})
        for name, field in FIELDS.items()
    }
