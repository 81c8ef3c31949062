"""Structures: what engines run, as ONNX without weights; and weights put into them. Imports no torch.

A structure depends on the architecture alone, so one file serves all weights of it, those that users have learned too.
Those of the shipped weights lie in the package; others are traced from the torch modules (`tracing`), where torch is
installed.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwisp.baselines.config import Architecture, OwnConfig
from lwisp.engines.cache import cached_of, cached_path, read_cached, write_cached
from lwisp.engines.stages import PREFIX, SHAPES, file_of, names_of
from lwisp.errors import InputError
from lwisp.files.optional import is_there

TENSOR_KINDS = {"float32": 1, "float16": 10}
"""Numbers of types of tensors in `onnx.TensorProto.DataType`."""


@lru_cache(maxsize=64)
def structure(architecture: Architecture | None, name: str) -> bytes:
    """The structure of a module: from the package, or else traced, where torch is installed.

    Args:
        architecture: That of the network; None for the steps before it.
        name: One of `names_of`.

    Returns:
        ONNX without the network's weights.

    Raises:
        InputError: The package has none for this architecture, and torch is not installed.
    """
    content = _made(architecture, name)
    if content is None:
        if not (is_there("torch") and is_there("onnx")):
            raise InputError("a network of this architecture needs torch to be made ready: pip install 'lwisp[torch]'")
        from lwisp.engines.tracing import trace

        content = trace(architecture, name)
        write_cached(_place(architecture, name), content)
    return content


def _made(architecture: Architecture | None, name: str) -> bytes | None:
    """A structure that need not be traced: from the package, or one that was kept."""
    shipped = _shipped(architecture)
    if shipped.is_file():
        with shipped.open("rb") as file, zipfile.ZipFile(file) as archive:
            return archive.read(f"{name}.onnx")
    return read_cached(_place(architecture, name))


def _place(architecture: Architecture | None, name: str) -> Path:
    return cached_path("structure", file_of(architecture).encode(), name, _sources())


def cached_for(architecture: Architecture, tensors: Mapping[str, NDArray[Any]]) -> tuple[list[Path], list[Path]]:
    """What the cache keeps because of a network, as far as this version made it.

    Args:
        architecture: That of the network.
        tensors: Its weights by name.

    Returns:
        Compiled modules of this network; structures of its architecture, which serve others of the same.
    """
    compiled = []
    for name in names_of(architecture):
        content = _made(architecture, name)
        if content is not None:
            compiled += cached_of("openvino", fill(content, tensors))
    return compiled, cached_of("structure", file_of(architecture).encode())


def shapes(architecture: Architecture) -> dict[str, tuple[int, ...]] | None:
    """Shapes of the tensors of a network by name; None where only torch could tell, and is not installed.

    Args:
        architecture: That of the network.

    Raises:
        InputError: A network that is not of this package was not imported before.
    """
    if isinstance(architecture, OwnConfig) and is_there("torch"):  # whose class may have changed, or be gone
        from lwisp.engines.eager import shapes_of

        return shapes_of(architecture)
    return known_shapes(architecture)


@lru_cache(maxsize=16)
def known_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]] | None:
    """`shapes` of a network of this package.

    Args:
        architecture: That of the network.
    """
    shipped = _shipped(architecture)
    if shipped.is_file():
        with shipped.open("rb") as file, zipfile.ZipFile(file) as archive:
            return {name: tuple(shape) for name, shape in json.loads(archive.read(SHAPES)).items()}
    if not is_there("torch"):
        return None
    from lwisp.engines.eager import shapes_of

    return shapes_of(architecture)


def _shipped(architecture: Architecture | None) -> Traversable:
    return resources.files("lwisp") / "assets" / "structures" / file_of(architecture)


@lru_cache(maxsize=1)
def _sources() -> str:
    """Digest of the code that structures are traced from."""
    package = resources.files("lwisp")
    places = ("architecture.py", "model.py", "imaging/color.py", "engines/modules.py", "engines/tracing.py")
    digest = hashlib.sha256()
    for place in places:
        digest.update(package.joinpath(*place.split("/")).read_bytes())
    for file in sorted((package / "baselines").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".py"):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def fill(
    structure: bytes, tensors: Mapping[str, NDArray[Any]], dtype: type[np.float32] | type[np.float16] = np.float32
) -> bytes:
    """ONNX that can be run: a structure with the weights that it names.

    Protobuf merges messages that follow each other, so the tensors are written after the structure.

    Args:
        structure: From `structure`.
        tensors: Weights by their names; those that the structure does not name are left out.
        dtype: What the structure computes the network in.

    Returns:
        An ONNX file.
    """
    parts = [structure]
    for name, values in tensors.items():
        full = (PREFIX + name).encode()
        if full in structure:
            parts.append(_field(7, _field(5, _tensor(full, np.asarray(values, dtype)))))  # graph, initializer
    return b"".join(parts)


def _tensor(name: bytes, values: NDArray[Any]) -> bytes:
    """`onnx.TensorProto` of float32 or float16."""
    dims = b"".join(b"\x08" + _varint(side) for side in values.shape)  # field 1
    kind = b"\x10" + _varint(TENSOR_KINDS[values.dtype.name])  # field 2
    content = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    return dims + kind + _field(8, name) + _field(9, content)


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes in protobuf's encoding."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """An unsigned integer in protobuf's encoding: 7 bits a byte, the lowest first."""
    coded = bytearray()
    while value > 127:
        coded.append(value & 127 | 128)
        value >>= 7
    coded.append(value)
    return bytes(coded)
