"""What files say, as dataclasses: cards, recipes, states of runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import dacite

from lwisp.architecture import LWISPConfig
from lwisp.baselines.config import Architecture, BaselineConfig, OwnConfig

T = TypeVar("T")


def parse(kind: type[T], content: Any) -> T:
    """A dataclass from what a JSON or TOML file holds. Fields that it does not know are refused.

    Args:
        kind: The dataclass.
        content: Its fields by name; records within it likewise, tuples as lists, paths as strings.

    Raises:
        ValueError: A field is missing, unknown, of another type or out of range.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"expected fields by name, got {type(content).__name__}")
    hooks: dict[Any, Any] = {Architecture: _parse_architecture}
    config = dacite.Config(cast=[tuple, Path], strict=True, type_hooks=hooks)
    try:
        return dacite.from_dict(kind, content, config)
    except dacite.WrongTypeError as error:
        expected = ", ".join(map(repr, get_args(error.field_type))) if get_origin(error.field_type) is Literal else ""
        raise ValueError(f"{error}{expected and f'; expected one of {expected}'}") from error
    except (dacite.DaciteError, TypeError) as error:
        raise ValueError(str(error)) from error


def _parse_architecture(content: Any) -> Architecture:
    """With `network` it is a baseline, with `module` one that is not of this package; all else is LW-ISP."""
    if isinstance(content, LWISPConfig | BaselineConfig | OwnConfig):
        return content
    if isinstance(content, Mapping) and "module" in content:
        return parse(OwnConfig, content)
    if isinstance(content, Mapping) and "network" in content:
        return parse(BaselineConfig, content)
    return parse(LWISPConfig, content)
