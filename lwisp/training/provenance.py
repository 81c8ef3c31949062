"""Provenance of weights: versions, and the commit where the package is in a git checkout of its own."""

import shutil
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

GIT_TIMEOUT = 10.0
"""Seconds that git may take."""


def versions() -> dict[str, str]:
    """Versions of lwisp and torch, and the commit where it is known, for cards and run folders."""
    found = {"lwisp": version("lwisp"), "torch": torch.__version__.split("+")[0]}
    commit = code_commit(Path(__file__).parent.parent)
    return {**found, "commit": commit} if commit else found


@cache
def code_commit(package: Path) -> str:
    """Commit that a package's folder is checked out at.

    Args:
        package: the folder with the package's `__init__.py`.

    Returns:
        The commit's hash, with "+changes" where tracked files differ from it; "" where it is unknown.
    """
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:  # another project's checkout, or none
        return ""
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(package, "status", "--porcelain", "--untracked-files=no", "--", ".")
    if not commit or changes is None:
        return ""
    return commit + ("+changes" if changes else "")


def _git(folder: Path, *words: str) -> str | None:
    """Output of git for a folder; None where git is missing or fails."""
    program = shutil.which("git")
    if program is None:
        return None
    try:
        command = [program, "-C", str(folder), *words]
        said = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT, check=True)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return said.stdout.strip()
