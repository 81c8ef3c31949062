"""Compiled modules kept in the user's cache, so that a second start compiles nothing."""

import contextlib
import hashlib
import inspect
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch import nn

from lwisp import model
from lwisp.engines import tiles
from lwisp.errors import InputError
from lwisp.files.optional import cache_folder
from lwisp.files.tensors import digest_of
from lwisp.files.writing import write_whole
from lwisp.imaging.tensors import to_bytes

KEPT = 64
"""Files in the cache, some MB each; the oldest beyond go."""


def cached_path(backend: str, module: nn.Module, compiler: str, *facts: Any) -> Path:
    """Where the compiled form of a module is kept: a name made of all that decides it.

    Args:
        backend: The package that compiles; its version counts.
        module: Its tensors count, and its `repr`, which must tell all choices.
        compiler: Name of the Python module that compiles it; its source counts, and that of the network.
        facts: Anything else that decides the result.

    Returns:
        A path in `cache_folder`, whether or not there is a file.
    """
    digest = hashlib.sha256(digest_of(to_bytes(module.state_dict())).encode())
    digest.update(repr(module).encode())
    for source in (model, tiles, sys.modules[compiler]):
        digest.update(inspect.getsource(source).encode())
    versions = [version("torch"), version("lwisp")]
    with contextlib.suppress(PackageNotFoundError):
        versions.append(version(backend))
    digest.update(repr((versions, platform.machine(), facts)).encode())
    return cache_folder() / f"{backend}-{digest.hexdigest()[:32]}"


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
        write_whole(path, lambda file: file.write(hashlib.sha256(content).digest() + content))
        ages = sorted((file.stat().st_mtime, file) for file in path.parent.glob("o*-*"))
        for _, file in ages[:-KEPT]:
            file.unlink(missing_ok=True)
