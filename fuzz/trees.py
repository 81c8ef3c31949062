"""Mutations of JSON in safetensors, and of protobuf messages as ONNX files are."""

import copy
import json
import random
import struct
from typing import Any

from fuzz.values import FLOATS, LARGE, NUMBERS, mutate_bytes, number

STRANGE: tuple[Any, ...] = (
    *(None, True, False, "", "x", "\0", "../x", "a" * 300, [], {}, [[]], [1, 2, 3], {"a": 1}, -1, 10**30),
    *NUMBERS,
    *LARGE,
    *FLOATS,
)
CARD = "lwisp"
"""Key of the card in a header's metadata."""


def mutate_json(value: Any, rng: random.Random) -> Any:
    """A JSON value in which one place holds something else, is gone, or holds what another place does."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return rng.choice(STRANGE)
    parent, key = rng.choice(places)
    match rng.randrange(5):
        case 0:
            del parent[key]
        case 1:
            other, name = rng.choice(places)
            parent[key] = copy.deepcopy(other[name]) if name in other or isinstance(other, list) else None
        case 2 if isinstance(parent, dict):
            parent[rng.choice((*parent, "x", ""))] = parent.pop(key)
        case _:
            parent[key] = rng.choice(STRANGE)
    return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found += [(value, key), *_places(value[key])]
    return found


def mutate_safetensors(data: bytes, rng: random.Random) -> bytes:
    """A safetensors file whose header, card or tensors are changed; the header's length fits but for some."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
        card = json.loads(header["__metadata__"][CARD])
    except (struct.error, ValueError, KeyError, TypeError):
        return mutate_bytes(data, rng)
    match rng.randrange(10):
        case 0:
            return mutate_bytes(data, rng)
        case 1:
            body = mutate_bytes(body, rng)
        case 2 | 3:
            header = mutate_json(header, rng)
        case _:
            for _ in range(rng.choice((1, 1, 2))):
                card = mutate_json(card, rng)
            header["__metadata__"][CARD] = json.dumps(card)
    text = json.dumps(header).encode()
    length = number(rng, 8) if rng.random() < 0.03 else len(text)
    return struct.pack("<Q", length) + text + body


Field = tuple[int, int, bytes]
"""Number, wire type, and content: a varint's bytes, fixed bytes, or what is delimited."""


def take_apart(data: bytes) -> list[Field] | None:
    """Fields of a protobuf message; None of what is none."""
    fields, place = list[Field](), 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if key >> 3 == 0 or kind not in (0, 1, 2, 5):
            return None
        start = place
        if kind == 0:
            _, place = _varint(data, place)
            fields.append((key >> 3, 0, data[start:place]))
            continue
        length = 8 if kind == 1 else 4
        if kind == 2:
            length, place = _varint(data, place)
        if place + length > len(data):
            return None
        fields.append((key >> 3, kind, data[place : place + length]))
        place += length
    return fields


def put_together(fields: list[Field]) -> bytes:
    """The opposite of `take_apart`."""
    parts = []
    for name, kind, content in fields:
        head = _encoded(name << 3 | kind)
        parts.append(head + (_encoded(len(content)) if kind == 2 else b"") + content)
    return b"".join(parts)


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, place
    return 0, len(data) + 1


def _encoded(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def mutate_protobuf(data: bytes, rng: random.Random, depth: int = 0) -> bytes:
    """A message with a field changed, left out, doubled or moved, at whatever depth; lengths fit."""
    fields = take_apart(data)
    if not fields or (depth > 0 and rng.random() < 0.15):
        return mutate_bytes(data, rng)
    index = rng.randrange(len(fields))
    name, kind, content = fields[index]
    match rng.randrange(10):
        case 0:
            del fields[index]
        case 1:
            fields.insert(rng.randrange(len(fields) + 1), fields[index])
        case 2:
            other = rng.randrange(len(fields))
            fields[index], fields[other] = fields[other], fields[index]
        case 3:
            fields[index] = rng.randrange(1, 30), kind, content
        case _ if kind == 0:
            fields[index] = name, 0, _encoded(number(rng, 8))
        case _ if kind == 2 and depth < 12:
            fields[index] = name, 2, mutate_protobuf(content, rng, depth + 1)
        case _:
            fields[index] = name, kind, mutate_bytes(content, rng)[: len(content)].ljust(len(content), b"\0")
    return put_together(fields)
