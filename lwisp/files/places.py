"""Folders outside of the working folder: the user's own, and those that come with lwisp."""

import os
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Literal

Kind = Literal["cache", "config", "data"]

UNIX = {"cache": ".cache", "config": ".config", "data": ".local/share"}
"""Folders under the home folder, by the XDG Base Directory Specification; macOS has the same."""
WINDOWS = {"cache": "lwisp/cache", "config": "lwisp", "data": "lwisp"}
"""Folders under the user's local application data."""


def user_folder(
    kind: Kind, system: str = sys.platform, variables: Mapping[str, str] = os.environ, home: Path | None = None
) -> Path | None:
    r"""The user's folder for files of lwisp, which need not exist.

    `lwisp` in `XDG_CACHE_HOME`, `XDG_CONFIG_HOME` or `XDG_DATA_HOME`, on every system, if that is set. Else on Windows
    `%LOCALAPPDATA%\lwisp` (the cache: `%LOCALAPPDATA%\lwisp\cache`), elsewhere `lwisp` in ~/.cache, ~/.config or
    ~/.local/share.

    Args:
        kind: What is kept there.
        system: As `sys.platform`.
        variables: Environment variables.
        home: The home folder, if not the user's.

    Returns:
        The folder; None where the user has no home folder.
    """
    chosen = variables.get(f"XDG_{kind.upper()}_HOME")
    if chosen:
        return Path(chosen) / "lwisp"
    local = variables.get("LOCALAPPDATA")
    if system == "win32" and local:
        return Path(local) / WINDOWS[kind]
    try:
        home = home or Path.home()
    except RuntimeError:
        return None
    return home / "AppData" / "Local" / WINDOWS[kind] if system == "win32" else home / UNIX[kind] / "lwisp"


def bundled_folder(name: Literal["recipes", "samples", "docs/models", "docs/results"]) -> Path:
    """The folder of the recipes, of the sample RAW files, or of pages and figures of the docs, that come with lwisp.

    In an installed package it lies among the assets, where `setup.py` puts it; in a checkout beside the package.

    Args:
        name: Which.

    Returns:
        The folder.
    """
    package = Path(str(resources.files("lwisp")))
    installed = package / "assets" / Path(name).name
    return installed if installed.is_dir() else package.parent / name
