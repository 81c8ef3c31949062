"""Defaults of options from `lwisp.toml`: in the working folder, else in the user's folder of settings."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lwisp.errors import InputError
from lwisp.files.places import user_folder

if TYPE_CHECKING:
    from typer.core import TyperGroup

NAME = "lwisp.toml"
MOST = 2**16
"""Bytes of such a file."""
CONNECTING = ("cluster", "host", "allow_host")
"""Parameters that open connections, or let others in, whatever their value."""
RUNNING = ("network",)
"""Parameters that run code, whatever their value."""
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:[\\/]|(^|,)\s*[\\/]{2}", re.IGNORECASE)
"""What lies elsewhere, be it in a list: hf://, tcp://, s3://, and another machine's share on Windows."""


def read_defaults(group: "TyperGroup") -> dict[str, dict[str, Any]]:
    """Defaults of the options of all verbs.

    A table of the name of a verb holds its options by their names without dashes, as `quality = 90`; options outside of
    a table are those of every verb that has them. What the working folder's file says goes before the user's; it names
    no address on a network, and no code, for a folder that came from elsewhere shall not make lwisp connect, let others
    in, or run what lies there.

    Args:
        group: The command with all verbs.

    Returns:
        Value by parameter by verb, as click's `default_map`.

    Raises:
        InputError: A file is no TOML, or names a verb or an option that does not exist; or the working folder's file
            names an address on a network, or code.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in _files():
        for verb, parameters in _parse(path, group):
            if path.parent == Path():
                _check_local(path, parameters)
            found.setdefault(verb, {}).update(parameters)
    return found


def _files() -> Iterator[Path]:
    own = user_folder("config")
    for folder in (own, Path()):
        try:
            if folder is not None and (folder / NAME).is_file():
                yield folder / NAME
        except OSError:
            continue


def _check_local(path: Path, parameters: Mapping[str, Any]) -> None:
    for name, value in parameters.items():
        option = f"--{name.replace('_', '-')}"
        address = next((text for text in _texts(value) if ADDRESS.search(text)), None)
        if name in RUNNING:
            does = f"{option} runs code"
        elif name in CONNECTING or address is not None:
            does = f"{address or option} connects to a network"
        else:
            continue
        raise InputError(
            f"{path}: {does}, which only the command or your own folder of settings may ask for; take it out, and give "
            f"it with the command, or put it into {(user_folder('config') or Path()) / NAME}"
        )


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list() | dict():
            for part in value.values() if isinstance(value, dict) else value:
                yield from _texts(part)


def _parse(path: Path, group: "TyperGroup") -> Iterator[tuple[str, dict[str, Any]]]:
    import tomllib

    try:
        if path.stat().st_size > MOST:
            raise InputError(f"{path}: expected defaults in TOML of at most {MOST} bytes")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected defaults in TOML: {error}") from error
    shared = {name: value for name, value in content.items() if not isinstance(value, dict)}
    options = {verb: _options(group, verb) for verb in group.commands}
    for name in shared:
        if not any(name in of_verb for of_verb in options.values()):
            raise InputError(f"{path}: there is no option --{name}")
    for verb, values in content.items():
        if isinstance(values, dict):
            if verb not in options:
                raise InputError(f"{path}: there is no verb {verb}; there are {', '.join(options)}")
            for name in values:
                if name not in options[verb]:
                    raise InputError(f"{path}: {verb} has no option --{name}")
    for verb, of_verb in options.items():
        values = {**shared, **content.get(verb, {})}
        yield verb, {of_verb[name]: value for name, value in values.items() if name in of_verb}


def _options(group: "TyperGroup", verb: str) -> Mapping[str, str]:
    """The parameters of a verb by the names of their options without dashes."""
    return {
        option.removeprefix("--"): parameter.name or ""
        for parameter in group.commands[verb].params
        if parameter.param_type_name == "option"
        for option in parameter.opts
        if option.startswith("--")
    }
