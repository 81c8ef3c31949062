"""Digests of arrays."""

import hashlib
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray


def digest_of(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over the names and bytes of the arrays, in the order of their names; for tensors see `imaging.tensors`.

    Args:
        arrays: By name; shapes and types do not count.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
