"""The mutator of any input: chosen by how it begins, as readers choose."""

import random
import struct
from collections.abc import Sequence

from fuzz.boxes import PNG, is_boxed, mutate_boxes, mutate_png
from fuzz.jpeg import is_jpeg, mutate_jpeg
from fuzz.tiff import is_tiff, mutate_tiff
from fuzz.trees import mutate_protobuf, mutate_safetensors, take_apart
from fuzz.values import LONGEST, mutate_bytes, mutate_text

PARTS = b"PARTS"
"""How an input begins that stands for several files."""
PLAIN = 0.12
"""Share of mutations that know nothing of the format."""


def join(parts: Sequence[bytes]) -> bytes:
    """Several files as one input."""
    return PARTS + b"".join(struct.pack(">L", len(part)) + part for part in parts)


def split(data: bytes, count: int) -> list[bytes]:
    """The files of an input; what it lacks is empty.

    Args:
        data: From `join`, or whatever a fuzzer made of it.
        count: How many files.
    """
    parts, place = list[bytes](), len(PARTS)
    while place + 4 <= len(data) and len(parts) < count:
        (length,) = struct.unpack_from(">L", data, place)
        parts.append(data[place + 4 : place + 4 + length])
        place += 4 + length
    return parts + [b""] * (count - len(parts))


def mutate(data: bytes, rng: random.Random) -> bytes:
    """An input with a few changes that its format lets through.

    Args:
        data: The input.
        rng: Source of randomness.

    Returns:
        Another of `LONGEST` bytes at most, or as long as it was.
    """
    longest = max(LONGEST, len(data))
    return _mutated(data, rng)[:longest]


def _mutated(data: bytes, rng: random.Random) -> bytes:
    if data.startswith(PARTS):
        parts = split(data, 1 + data.count(b"\0\0"))  # more than there can be
        parts = [part for part in parts if part] or [b""]
        index = rng.randrange(len(parts))
        parts[index] = _mutated(parts[index], rng)
        return join(parts)
    if rng.random() < PLAIN:
        return mutate_bytes(data, rng)
    if is_tiff(data):
        return mutate_tiff(data, rng)
    if is_jpeg(data):
        return mutate_jpeg(data, rng)
    if data.startswith(PNG):
        return mutate_png(data, rng)
    if is_boxed(data):
        return mutate_boxes(data, rng)
    if data[8:9] == b"{":
        return mutate_safetensors(data, rng)
    if data[:1] == b"\x08" and take_apart(data):
        return mutate_protobuf(data, rng)
    return mutate_text(data, rng) if _is_text(data) else mutate_bytes(data, rng)


def _is_text(data: bytes) -> bool:
    head = data[:200]
    return bool(head) and sum(byte >= 32 or byte in b"\r\n\t" for byte in head) > 0.9 * len(head)
