"""Whether files that come with lwisp are those that were put there: by `assets/SHA256SUMS`, a list beside them.

Weights hold a SHA-256 of their own tensors, which `weights.load` checks; that finds damage, but not another network in
their place. The list is in the format of `sha256sum`, so that it can be checked, and compared, without lwisp.
"""

import hashlib
from importlib import resources
from pathlib import Path

SUMS = "SHA256SUMS"
"""The list's name."""


def assets_folder() -> Path:
    """The folder of the files that come with lwisp."""
    return Path(str(resources.files("lwisp") / "assets"))


def read_sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of files, by their paths in a folder with slashes; nothing where there is no list.

    Args:
        folder: The folder with the list.
    """
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    return {path: digest for digest, mark, path in (line.partition("  ") for line in lines) if mark}


def fault_of(path: Path, folder: Path | None = None) -> str:
    """Why a file is not the one that came with lwisp; empty where it is.

    Args:
        path: A file among the assets.
        folder: The folder of the assets, if another one.

    Returns:
        Half a sentence, without the file's name.

    Raises:
        OSError: The file cannot be read.
    """
    folder = folder or assets_folder()
    expected = read_sums(folder).get(path.relative_to(folder).as_posix())
    if expected is None:
        return f"it is not in lwisp's list of files, {SUMS}; install lwisp again"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return (
        ""
        if found == expected
        else f"it is not the file that came with lwisp (SHA-256 differs from {SUMS}); " + ("install lwisp again")
    )
