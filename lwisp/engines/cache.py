"""What was compiled or traced, kept in the user's cache, so that a second start does neither."""

import contextlib
import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lwisp.errors import InputError
from lwisp.files.optional import cache_folder
from lwisp.files.writing import clear_leftovers, write_whole

KEPT = 64
"""Files in the cache, some MB each; the oldest beyond go."""


def cached_path(kind: str, subject: bytes, *facts: Any) -> Path:
    """Where something that was made is kept: a name made of all that decides it.

    Args:
        kind: Its kind; where a package of this name makes it, the package's version counts.
        subject: What it is made of; `cached_of` finds by it.
        facts: All else that decides it; what has a `repr` that tells it whole.

    Returns:
        A path in `cache_folder`, whether or not there is a file.
    """
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(repr(fact).encode())
    versions = [version("lwisp")]
    with contextlib.suppress(PackageNotFoundError):
        versions.append(version(kind))
    digest.update(repr((versions, platform.machine())).encode())
    return cache_folder() / f"{_beginning(kind, subject)}-{digest.hexdigest()[:32]}"


def cached_of(kind: str, subject: bytes) -> list[Path]:
    """The files that are kept of what was made of something, whatever else decided it.

    Args:
        kind: As for `cached_path`.
        subject: Likewise.
    """
    try:
        return sorted(cache_folder().glob(f"{_beginning(kind, subject)}-*"))
    except OSError:
        return []


def _beginning(kind: str, subject: bytes) -> str:
    return f"{kind}-{hashlib.sha256(subject).hexdigest()[:32]}"


def read_cached(path: Path) -> bytes | None:
    """The content of a file that `write_cached` has written; reading makes the file the newest.

    Args:
        path: The file, from `cached_path`.

    Returns:
        The content; None where there is no file, or where it is damaged (SHA-256).
    """
    with contextlib.suppress(OSError):
        content = path.read_bytes()
        if hashlib.sha256(content[32:]).digest() == content[:32]:
            os.utime(path)
            return content[32:]
    return None


def write_cached(path: Path, content: bytes) -> None:
    """Keep content in a file of the cache, and delete the oldest files beyond `KEPT`.

    Where the folder cannot be made or written to, nothing is kept and nothing is raised.

    Args:
        path: The file, from `cached_path`; its folder is made if need be.
        content: What `read_cached` is to give; its SHA-256 is written before it.
    """
    with contextlib.suppress(OSError, InputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(path.parent)
        write_whole(path, lambda file: file.write(hashlib.sha256(content).digest() + content))
        ages = sorted((file.stat().st_mtime, file) for file in path.parent.glob("[!.]*-*"))
        for _, file in ages[:-KEPT]:
            file.unlink(missing_ok=True)
