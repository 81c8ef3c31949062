"""Folders outside of the working folder: the user's own, and those that come with lwisp."""

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Literal

Kind = Literal["cache", "config", "data"]


def user_folder(kind: Kind, variables: Mapping[str, str] = os.environ) -> Path | None:
    r"""The user's folder for files of lwisp, which need not exist.

    `lwisp` in `XDG_CACHE_HOME`, `XDG_CONFIG_HOME` or `XDG_DATA_HOME`, on every system, if that is set; else where the
    system keeps such files, by platformdirs: ~/.cache, ~/.config or ~/.local/share on Linux, ~/Library on macOS,
    `%LOCALAPPDATA%` on Windows.

    Args:
        kind: What is kept there.
        variables: Environment variables.

    Returns:
        The folder; None where the user has no home folder.
    """
    chosen = variables.get(f"XDG_{kind.upper()}_HOME")
    if chosen:
        return Path(chosen) / "lwisp"
    try:
        Path.home()
    except RuntimeError:
        return None
    from platformdirs import PlatformDirs

    folders = PlatformDirs("lwisp", appauthor=False)
    return {"cache": folders.user_cache_path, "config": folders.user_config_path, "data": folders.user_data_path}[kind]


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
