"""Mutations of files made of chunks or boxes: PNG, and HEIF, AVIF and CR3."""

import random
import struct
import zlib

from fuzz.values import mutate_bytes, number

PNG = b"\x89PNG\r\n\x1a\n"
CHUNKS = (
    *(b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCv", b"cLLi", b"eXIf"),
    *(b"tEXt", b"zTXt", b"iTXt", b"acTL", b"fcTL", b"fdAT", b"pHYs", b"IEND"),
)
PARENTS = frozenset([b"moov", b"meta", b"iprp", b"ipco", b"iinf", b"trak", b"uuid", b"iref", b"dinf", b"mdia", b"minf"])
"""Boxes that hold others."""


def mutate_png(data: bytes, rng: random.Random) -> bytes:
    """A PNG with one or two changes of its chunks, whose check sums mostly hold."""
    chunks = list[tuple[bytes, bytes]]()
    place = len(PNG)
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, place)
        chunks.append((kind, data[place + 8 : place + 8 + length]))
        place += 12 + length
    if not chunks:
        return mutate_bytes(data, rng)
    for _ in range(rng.choice((1, 1, 2))):
        index = rng.randrange(len(chunks))
        kind, content = chunks[index]
        match rng.randrange(8):
            case 0 if len(chunks) > 1:
                del chunks[index]
            case 1:
                chunks.insert(rng.randrange(len(chunks) + 1), (kind, content))
            case 2:
                chunks.insert(index, (rng.choice(CHUNKS), rng.randbytes(rng.choice((0, 1, 4, 12, 32, 300)))))
            case 3 if chunks[0][0] == b"IHDR":
                head = bytearray(chunks[0][1].ljust(13, b"\0"))
                field = rng.choice((0, 4, 8, 9, 10, 11, 12))
                if field < 8:
                    struct.pack_into(">L", head, field, number(rng, 4))
                else:
                    head[field] = rng.choice((0, 1, 2, 3, 4, 6, 7, 8, 16, 255))
                chunks[0] = b"IHDR", bytes(head)
            case 4 if kind == b"IDAT":
                chunks[index] = kind, _repacked(content, rng)
            case 5:
                chunks[index] = rng.choice(CHUNKS), content
            case _:
                chunks[index] = kind, mutate_bytes(content, rng)
    parts = [struct.pack(">L4s", len(body), name) + body + _check(name, body, rng) for name, body in chunks]
    return PNG + b"".join(parts)


def _check(kind: bytes, content: bytes, rng: random.Random) -> bytes:
    return struct.pack(">L", zlib.crc32(kind + content) ^ (rng.random() < 0.02))


def _repacked(content: bytes, rng: random.Random) -> bytes:
    """Rows of pixels changed, and packed again."""
    try:
        rows = zlib.decompressobj().decompress(content, 1 << 16)
    except zlib.error:
        return mutate_bytes(content, rng)
    return zlib.compress(mutate_bytes(rows, rng), 1)


def is_boxed(data: bytes) -> bool:
    """Whether a file begins as those of ISO's base media format do."""
    return data[4:8] == b"ftyp"


def mutate_boxes(data: bytes, rng: random.Random) -> bytes:
    """A file of boxes with one box's length, name or content changed, or a box left out or doubled."""
    found = list[tuple[int, int]]()
    _walk(data, 0, len(data), found)
    if not found:
        return mutate_bytes(data, rng)
    start, end = rng.choice(found)
    content = bytearray(data)
    match rng.randrange(6):
        case 0:
            struct.pack_into(">L", content, start, number(rng, 4))
        case 1:
            other, _ = rng.choice(found)
            content[start + 4 : start + 8] = data[other + 4 : other + 8]
        case 2:
            del content[start:end]
        case 3:
            content[end:end] = content[start:end]
        case _:
            inner = mutate_bytes(data[start + 8 : end], rng)
            if rng.random() < 0.7:
                inner = inner[: end - start - 8].ljust(end - start - 8, b"\0")
            content[start + 8 : end] = inner
    return bytes(content)


def _walk(data: bytes, place: int, end: int, found: list[tuple[int, int]], depth: int = 0) -> None:
    while place + 8 <= end and len(found) < 500:
        length, kind = struct.unpack_from(">L4s", data, place)
        if not 8 <= length <= end - place:
            return
        found.append((place, place + length))
        if kind in PARENTS and depth < 6:
            inner = place + {b"meta": 12, b"uuid": 24, b"iinf": 14}.get(kind, 8)
            _walk(data, inner, place + length, found, depth + 1)
        place += length
