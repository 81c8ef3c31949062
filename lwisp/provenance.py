"""What a picture was made of: stands in its XMP, so that a batch can go on and a picture can be verified."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from lwisp.errors import InputError, unreadable
from lwisp.files.pictures import read_properties
from lwisp.files.writing import is_regular
from lwisp.files.xmp import OWN, Value, own_properties

Setting = str | float | int | bool
"""Value of a setting."""


def differing(settings: Mapping[str, tuple[Setting, Setting]]) -> dict[str, Setting]:
    """The settings that differ from the defaults: those that a picture tells of.

    Args:
        settings: (value, default) by the names of the command's options.

    Returns:
        Values by name.
    """
    return {name: value for name, (value, default) in settings.items() if value != default}


NO_WEIGHTS = "none"
"""Name and digest of the weights of what was made without any, as a mosaic wrapped as a DNG."""


@dataclass(frozen=True)
class Provenance:
    """The file, the weights and the settings that a picture was made of, and with what."""

    verb: str
    """What was done: "develop", "denoise", "enhance", "denoise-raw" or "dng"."""
    source_sha256: str
    """Of the file."""
    weights: str
    """Name of the weights."""
    weights_sha256: str
    """Of their tensors; of an exported file, of the file."""
    engine: str
    """Back end, precision and threads in one line."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """Settings that differ from the defaults, by the names of the command's options."""
    version: str = field(default_factory=lambda: version("lwisp"))
    """Of lwisp."""

    def to_properties(self) -> dict[str, Value]:
        """Properties for XMP, by their names.

        Returns:
            Texts; the settings as JSON.
        """
        told = {
            "Verb": self.verb,
            "SourceSHA256": self.source_sha256,
            "Weights": self.weights,
            "WeightsSHA256": self.weights_sha256,
            "Engine": self.engine,
            "Settings": _canonical(self.settings),
            "Version": self.version,
        }
        return {OWN + name: value for name, value in told.items()}


def read_provenance(picture: Path) -> Provenance | None:
    """What a picture was made of, as its XMP tells.

    Args:
        picture: A picture or DNG.

    Returns:
        None where it does not tell, or not all of it.
    """
    told = own_properties(read_properties(picture))
    try:
        settings = json.loads(told["Settings"])
        if not isinstance(settings, dict) or not all(isinstance(value, Setting) for value in settings.values()):
            return None
        return Provenance(
            told["Verb"],
            told["SourceSHA256"],
            told["Weights"],
            told["WeightsSHA256"],
            told["Engine"],
            settings,
            told["Version"],
        )
    except (KeyError, ValueError, RecursionError):
        return None


def was_made_by_lwisp(path: Path) -> bool:
    """Whether a picture tells in its XMP that a verb of lwisp made it; False of what is no file.

    Args:
        path: What may be a picture.
    """
    return is_regular(path) and read_provenance(path) is not None


def _canonical(settings: Mapping[str, Setting]) -> str:
    return json.dumps(dict(settings), sort_keys=True)


def digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal.

    Args:
        path: The file.

    Returns:
        64 digits.

    Raises:
        InputError: It cannot be read, or is a pipe or a device, which may have no end.
    """
    try:
        if path.exists() and not is_regular(path):  # a pipe may have no end
            raise InputError(f"{path}: cannot be read: expected a file")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error


def is_made_of(
    picture: Path, verb: str, settings: Mapping[str, Setting], source: Path, weights_sha256: Callable[[], str]
) -> bool:
    """Whether a picture was made of this file with these settings and weights; engine and version may be others.

    Args:
        picture: The picture.
        verb: What was done, as "develop".
        settings: Those that differ from the defaults.
        source: The file.
        weights_sha256: Gives the digest of the weights; called only where all else fits.

    Returns:
        False where the picture does not tell, and where weights are not known by their digest.
    """
    found = read_provenance(picture)
    if found is None or (found.verb, _canonical(found.settings)) != (verb, _canonical(settings)):
        return False
    return found.source_sha256 == digest(source) and bool(sha256 := weights_sha256()) and found.weights_sha256 == sha256
