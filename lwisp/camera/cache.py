"""Tensors kept in a run folder, so that a stopped run goes on where it was."""

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from lwisp.files.writing import write_whole

VERSION = 4
"""Of the kept files' content; files of other versions are made anew."""


def cache_path(run: Path, kind: str, *facts: object) -> Path:
    """The file of a run folder for something that depends on these facts alone.

    Args:
        run: The run folder.
        kind: First part of the file's name.
        facts: All that the content depends on; their `str` must tell different ones apart.
    """
    digest = hashlib.sha256()
    for fact in (VERSION, *facts):
        digest.update(f"{fact}\n".encode())
    return run / f"{kind}-{digest.hexdigest()[:32]}.safetensors"


def read_tensors(path: Path) -> dict[str, Tensor] | None:
    """The tensors of a kept file by name; None where there is none, or it is damaged."""
    try:
        return from_safetensors(path.read_bytes())
    except (OSError, SafetensorError):
        return None


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Keep tensors in a file, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    content = to_safetensors(tensors)
    write_whole(path, lambda file: file.write(content))
