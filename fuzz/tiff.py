"""Mutations of TIFF-like files, DNGs among them: directories, tags, values, strips, opcode lists."""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from fuzz.jpeg import mutate_jpeg
from fuzz.values import FLOATS, mutate_bytes, number, put

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Bytes of a value by TIFF's types."""
DIRECTORIES = frozenset([330, 34665, 34853, 40965, 50740])
"""Tags whose values are places of directories."""
OPCODES = frozenset([51008, 51009, 51022])
PIXELS = frozenset([273, 324, 513])
"""Tags whose values are places of pixels."""
TAGS = (
    *(
        254,
        255,
        256,
        257,
        258,
        259,
        262,
        266,
        270,
        271,
        272,
        273,
        274,
        277,
        278,
        279,
        282,
        284,
        296,
        305,
        306,
        317,
        320,
    ),
    *(322, 323, 324, 325, 330, 332, 338, 339, 347, 512, 513, 514, 529, 530, 531, 532, 700, 33421, 33422, 33432, 33434),
    *(33437, 33723, 34377, 34665, 34675, 34853, 36867, 37386, 37500, 40961, 40965, 42036, 46275, 50706, 50707, 50708),
    *(50709, 50710, 50711, 50712, 50713, 50714, 50715, 50716, 50717, 50718, 50719, 50720, 50721, 50722, 50723, 50724),
    *(50727, 50728, 50729, 50730, 50732, 50734, 50738, 50739, 50740, 50741, 50778, 50779, 50780, 50829, 50830, 50831),
    *(50832, 50879, 50931, 50932, 50936, 50964, 50965, 51008, 51009, 51022, 51041, 51043, 51044, 52529, 52530, 52531),
)
"""Those that readers of TIFF, EXIF and DNG look at."""
COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 34892, 32773, 32946, 34316, 34713, 34925, 50000, 52546, 65000, 65535)
PHOTOMETRICS = (0, 1, 2, 3, 4, 5, 6, 8, 9, 32803, 34892, 52527)
MOST = 12
"""Directories that are walked."""
LONGEST = 200
"""Tags of a directory that are; more has only what is none."""


@dataclass(frozen=True)
class Entry:
    """A tag in a directory."""

    place: int
    """Of its twelve bytes in the file."""
    tag: int
    kind: int
    count: int
    value: int
    """Place of its values, wherever they lie."""

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return self.count * SIZES.get(self.kind, 1)


def is_tiff(data: bytes) -> bool:
    """Whether a file begins as TIFFs and their like do."""
    return data[:2] in (b"II", b"MM") and len(data) >= 8


def entries_of(data: bytes) -> Iterator[Entry]:
    """All tags of all directories, each directory once."""
    order = "<" if data[:2] == b"II" else ">"
    waiting, seen = [struct.unpack_from(order + "L", data, 4)[0]], set[int]()
    while waiting and len(seen) < MOST:
        start = waiting.pop(0)
        if start in seen or start + 2 > len(data):
            continue
        seen.add(start)
        (count,) = struct.unpack_from(order + "H", data, start)
        end = start + 2 + 12 * count
        if count > LONGEST:
            continue
        for place in range(start + 2, min(end, len(data) - 11), 12):
            tag, kind, number_of, field = struct.unpack_from(order + "HHLL", data, place)
            size = number_of * SIZES.get(kind, 1)
            yield Entry(place, tag, kind, number_of, place + 8 if size <= 4 else field)
            if tag in DIRECTORIES and kind in (4, 13):
                first = place + 8 if size <= 4 else field
                waiting += [
                    struct.unpack_from(order + "L", data, first + 4 * index)[0]
                    for index in range(min(number_of, 8))
                    if first + 4 * index + 4 <= len(data)
                ]
        if end + 4 <= len(data):
            waiting.append(struct.unpack_from(order + "L", data, end)[0])


def mutate_tiff(data: bytes, rng: random.Random) -> bytes:
    """A TIFF with one to three changes of its structure."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        found = list(entries_of(bytes(content)))
        if not found:
            return mutate_bytes(bytes(content), rng)
        entry = rng.choice(found)
        _change(content, "<" if content[:2] == b"II" else ">", entry, found, rng)
    return bytes(content)


def _change(content: bytearray, order: str, entry: Entry, found: list[Entry], rng: random.Random) -> None:
    place = entry.place
    match rng.randrange(12):
        case 0:
            put(content, order + "H", place, rng.choice(TAGS))
        case 1:
            put(content, order + "H", place + 2, rng.choice((*SIZES, 0, 14, 16, 255)))
        case 2:
            near = (entry.count - 1, entry.count + 1, 2 * entry.count)
            put(content, order + "L", place + 4, rng.choice(near) if rng.random() < 0.5 else number(rng, 4))
        case 3:
            places = (0, 8, len(content) - 1, len(content), place, rng.choice(found).value, rng.choice(found).place - 2)
            put(content, order + "L", place + 8, rng.choice(places) if rng.random() < 0.7 else number(rng, 4))
        case 4 | 5 | 6:
            _change_value(content, order, entry, rng)
        case 7:
            other = rng.choice(found)
            mine, theirs = content[place : place + 12], content[other.place : other.place + 12]
            content[place : place + 12] = theirs
            if rng.random() < 0.5:
                content[other.place : other.place + 12] = mine
        case 8:
            put(content, order + "H", place, rng.choice(TAGS))
            put(content, order + "H", place + 2, rng.choice(tuple(SIZES)))
            put(content, order + "L", place + 4, rng.choice((1, 2, 3, 4, 9)))
            put(content, order + "L", place + 8, number(rng, 4))
        case 9:
            _change_pixels(content, order, found, rng)
        case 10:
            lists = [one for one in found if one.tag in OPCODES]
            if lists:
                _change_opcodes(content, rng.choice(lists), rng)
            else:
                _change_value(content, order, entry, rng)
        case _:
            _change_jpeg(content, rng)


def _change_value(content: bytearray, order: str, entry: Entry, rng: random.Random) -> None:
    size = SIZES.get(entry.kind, 1)
    place = entry.value + size * rng.randrange(max(1, min(entry.count, 4096)))
    usual = {259: COMPRESSIONS, 262: PHOTOMETRICS, 258: (1, 8, 10, 12, 14, 16, 24, 32, 64)}.get(entry.tag)
    if usual is not None and size in (2, 4) and rng.random() < 0.7:
        put(content, order + {2: "H", 4: "L"}[size], place, rng.choice(usual))
    elif entry.kind in (11, 12):
        form = order + ("f" if size == 4 else "d")
        value = rng.choice(FLOATS)
        if 0 <= place <= len(content) - size and (size == 8 or abs(value) < 3e38 or value - value != 0):
            struct.pack_into(form, content, place, value)
    elif entry.kind in (5, 10):
        put(content, order + "L", place, number(rng, 4))
        put(content, order + "L", place + 4, rng.choice((0, 1, 1, 2**31, number(rng, 4))))
    elif size in (1, 2, 4):
        put(content, order + {1: "B", 2: "H", 4: "L"}[size], place, number(rng, size))


def _change_pixels(content: bytearray, order: str, found: list[Entry], rng: random.Random) -> None:
    strips = [one for one in found if one.tag in PIXELS and one.kind in (3, 4) and one.value + 4 <= len(content)]
    if not strips:
        return
    (start,) = struct.unpack_from(order + "L", content, rng.choice(strips).value)
    if start < len(content):
        match rng.randrange(3):
            case 0:
                content[start:] = mutate_bytes(bytes(content[start:]), rng)
            case 1:
                del content[rng.randrange(start, len(content)) :]
            case _:
                length = rng.choice((16, 256, 4096))
                content[start : start + length] = bytes([rng.choice((0, 1, 127, 255))]) * min(
                    length, len(content) - start
                )


def _change_opcodes(content: bytearray, entry: Entry, rng: random.Random) -> None:
    """A number, a version, a length or a parameter of an opcode list, which is big-endian in any file."""
    start = entry.value
    if start + 20 > len(content):
        return
    if rng.random() < 0.2:
        put(content, ">L", start, number(rng, 4))
        return
    places = list[int]()
    place = start + 4
    while place + 16 <= min(len(content), start + entry.size) and len(places) < 100:
        places.append(place)
        place += 16 + struct.unpack_from(">L", content, place + 12)[0]
    if not places:
        return
    head = rng.choice(places)
    length = struct.unpack_from(">L", content, head + 12)[0]
    match rng.randrange(4):
        case 0:
            put(content, ">L", head, rng.randrange(16))
        case 1:
            put(content, ">L", head + 12, number(rng, 4))
        case 2:
            put(content, ">L", head + 16 + 4 * rng.randrange(max(1, min(length, 4096) // 4)), number(rng, 4))
        case _:
            inner = head + 16 + 8 * rng.randrange(max(1, min(length, 4096) // 8))
            if inner + 8 <= len(content):
                struct.pack_into(">d", content, inner, rng.choice(FLOATS))


def _change_jpeg(content: bytearray, rng: random.Random) -> None:
    """One of the JPEGs within: lossless tiles, previews."""
    starts = [place for place in range(len(content) - 3) if content[place : place + 3] == b"\xff\xd8\xff"]
    if starts:
        start = rng.choice(starts)
        end = content.find(b"\xff\xd9", start)
        end = len(content) if end < 0 else end + 2
        changed = mutate_jpeg(bytes(content[start:end]), rng)
        if rng.random() < 0.7:  # what lies behind stays where it is
            changed = changed[: end - start].ljust(end - start, b"\0")
        content[start:end] = changed
