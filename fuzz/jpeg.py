"""Mutations of JPEGs: segments, frame and scan headers, tables, the coded picture."""

import random
import struct

from fuzz.values import mutate_bytes, number

MARKERS = (*range(0xC0, 0xD0), 0xDA, 0xDB, 0xDC, 0xDD, 0xE0, 0xE1, 0xE2, 0xE4, 0xED, 0xEE, 0xFE)
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
APPLIED = (
    *((0xE1, b"Exif\0\0II*\0\x08\0\0\0"), (0xE1, b"http://ns.adobe.com/xap/1.0/\0"), (0xE2, b"ICC_PROFILE\0\1\1")),
    *((0xED, b"Photoshop 3.0\08BIM\4\4\0\0"), (0xEE, b"Adobe\0d\0\0\0\0\2"), (0xE2, b"MPF\0II*\0\x08\0\0\0")),
)
"""How segments of applications begin that readers look into."""

Segment = tuple[int, bytes]


def is_jpeg(data: bytes) -> bool:
    """Whether a file begins as JPEGs do."""
    return data.startswith(b"\xff\xd8")


def take_apart(data: bytes) -> tuple[list[Segment], bytes]:
    """Segments up to the first scan's, and the rest."""
    segments, place = list[Segment](), 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, length = struct.unpack_from(">BH", data, place + 1)
        segments.append((marker, data[place + 4 : place + 2 + length]))
        place += 2 + length
        if marker == 0xDA:
            break
    return segments, data[place:]


def put_together(segments: list[Segment], rest: bytes) -> bytes:
    """The opposite of `take_apart`."""
    parts = [struct.pack(">BBH", 255, marker, min(len(content) + 2, 65535)) + content for marker, content in segments]
    return b"\xff\xd8" + b"".join(parts) + rest


def mutate_jpeg(data: bytes, rng: random.Random) -> bytes:
    """A JPEG with one or two changes of its structure."""
    segments, rest = take_apart(data)
    if not segments:
        return mutate_bytes(data, rng)
    for _ in range(rng.choice((1, 1, 2))):
        index = rng.randrange(len(segments))
        marker, content = segments[index]
        match rng.randrange(9):
            case 0:
                segments[index] = rng.choice(MARKERS), content
            case 1 if len(segments) > 1:
                del segments[index]
            case 2:
                segments.insert(rng.randrange(len(segments) + 1), (marker, content))
            case 3:
                kind, head = rng.choice(APPLIED)
                segments.insert(index, (kind, head + rng.randbytes(rng.choice((0, 4, 40, 400)))))
            case 4:
                frames = [place for place, (kind, _) in enumerate(segments) if kind in FRAMES]
                if frames:
                    segments[frames[0]] = segments[frames[0]][0], _change_frame(segments[frames[0]][1], rng)
            case 5:
                rest = mutate_bytes(rest, rng)
            case 6:
                rest = rest[: rng.randrange(len(rest) + 1)]
            case _:
                segments[index] = marker, mutate_bytes(content, rng)[:65533]
    return put_together(segments, rest)


def _change_frame(content: bytes, rng: random.Random) -> bytes:
    """Precision, sides, components or their sampling."""
    frame = bytearray(content)
    if len(frame) < 6:
        return content
    match rng.randrange(4):
        case 0:
            frame[0] = rng.choice((0, 1, 2, 7, 8, 9, 12, 14, 15, 16, 17, 255))
        case 1:
            struct.pack_into(">H", frame, rng.choice((1, 3)), number(rng, 2))
        case 2:
            frame[5] = rng.choice((0, 1, 2, 3, 4, 5, 6, 255))
        case _:
            frame[rng.randrange(len(frame))] = number(rng, 1)
    return bytes(frame)
