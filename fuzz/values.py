"""What mutators of every format share: values that readers stumble over, and mutations of plain bytes and texts."""

import random
import re
import struct

NUMBERS = (0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 63, 64, 127, 128, 255, 256, 257, 511, 512, 1023, 1024, 4095, 4096)
LARGE = (32767, 32768, 65534, 65535, 65536, 2**20, 2**24, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**63 - 1, 2**64 - 1)
FLOATS = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    1e-45,
    1e-38,
    1e38,
    1e300,
    -1e300,
    float("inf"),
    float("-inf"),
    float("nan"),
    0.5,
    65536.0,
)
WORDS = (
    *(b"0", b"-1", b"1e999", b"nan", b"inf", b"-inf", b"0.0", b"99999999999999999999", b"true", b"false", b"null"),
    *(b'""', b"[]", b"{}", b"[[[[[[]]]]]]", b"[1,2,3]", b"'", b'"', b"\\", b"\\u0000", b"\xff\xfe", b"\xe2\x80\xae"),
    *(b"../../x", b"/dev/zero", b"/proc/self/mem", b"con", b"a" * 300, b"%s%n", b"\x1b[31m", b"1979-05-27T07:32:00Z"),
)
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
WORD = re.compile(rb"[A-Za-z_][\w-]*|\"[^\"\n]*\"|-?\d[\d.]*")
LONGEST = 1 << 16
"""Bytes of an input."""


def number(rng: random.Random, size: int) -> int:
    """A number that fits so many bytes, likely one at an edge.

    Args:
        rng: Source of randomness.
        size: 1, 2, 4 or 8.
    """
    choice = rng.random()
    found = rng.choice(NUMBERS) if choice < 0.45 else rng.choice(LARGE) if choice < 0.85 else rng.getrandbits(8 * size)
    return found & ((1 << 8 * size) - 1)


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Bytes with one or two plain changes: bits, numbers, pieces left out, doubled, moved or cut off."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if not content:
            return bytes([rng.randrange(256)])
        place = rng.randrange(len(content))
        length = min(rng.choice((1, 2, 4, 8, 16, 64, 512)), len(content) - place)
        match rng.randrange(7):
            case 0:
                content[place] ^= 1 << rng.randrange(8)
            case 1:
                size = rng.choice((1, 2, 4, 8))
                order = rng.choice(("little", "big"))
                content[place : place + size] = number(rng, size).to_bytes(size, order)  # type: ignore[arg-type]
            case 2:
                del content[place : place + length]
            case 3:
                content[place:place] = content[place : place + length]
            case 4:
                content[place : place + length] = bytes(rng.getrandbits(8) for _ in range(length))
            case 5:
                other = rng.randrange(len(content))
                content[place : place + length] = content[other : other + length]
            case _:
                if rng.random() < 0.3:
                    del content[place:]
                else:
                    content[place : place + length] = bytes([rng.choice((0, 255))]) * length
    return bytes(content[:LONGEST])


def mutate_text(data: bytes, rng: random.Random) -> bytes:
    """A text with a word, a number or a line changed, left out, doubled or moved."""
    found = list(WORD.finditer(data))
    match rng.randrange(6):
        case 0 | 1 if found:
            one = rng.choice(found)
            other = rng.choice(WORDS) if rng.random() < 0.6 else rng.choice(found).group()
            return data[: one.start()] + other + data[one.end() :]
        case 2 if numbers := list(NUMBER.finditer(data)):
            one = rng.choice(numbers)
            value = rng.choice((*NUMBERS, *LARGE, -1, *FLOATS, 10**400))
            return data[: one.start()] + str(value).encode() + data[one.end() :]
        case 3:
            lines = data.splitlines(keepends=True)
            if lines:
                line = lines.pop(rng.randrange(len(lines)))
                if rng.random() < 0.6:
                    lines[rng.randrange(len(lines) + 1) : 0] = [line] * rng.choice((1, 2))
            return b"".join(lines)
        case 4:
            place = rng.randrange(len(data) + 1)
            return data[:place] + rng.choice(WORDS) + data[place:]
        case _:
            return mutate_bytes(data, rng)


def put(content: bytearray, form: str, place: int, value: int) -> None:
    """Write a number into bytes, where they reach so far.

    Args:
        content: The bytes.
        form: As `struct` has it, as ">H".
        place: Where.
        value: The number; what does not fit is cut off.
    """
    size = struct.calcsize(form)
    if 0 <= place <= len(content) - size:
        struct.pack_into(form, content, place, value & ((1 << 8 * size) - 1))
