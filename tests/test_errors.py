"""Every failure is one sentence, and no text makes a terminal do anything."""

import unicodedata
from pathlib import Path

import pytest

from lwisp.errors import InputError, printable, tell_failure


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("photo 1.dng", "photo 1.dng"),
        ("caf\xe9 \u96ea \U0001f4f7.dng", "caf\xe9 \u96ea \U0001f4f7.dng"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("a\nlwisp: all is well\r", r"a\nlwisp: all is well\r"),
        ("gpj.\u202egnd", r"gpj.\u202egnd"),
        ("a\u2028b\u2029c\u200bd\ufeff\x9b31m", r"a\u2028b\u2029c\u200bd\ufeff\x9b31m"),
        ("\udcff\udc80 \ud800", r"\xff\x80 \ud800"),
        ("\U000e0041", r"\U000e0041"),
        (r"C:\photos\x1b", r"C:\photos\x1b"),
    ],
    ids=ascii,
)
def test_what_a_terminal_would_obey_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_nothing_shown_is_a_control_or_format_character() -> None:
    shown = printable("".join(map(chr, (*range(0x11000), *range(0xE0000, 0xE0100)))))
    assert not {unicodedata.category(letter) for letter in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    shown.encode()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (InputError("x.jpg: no picture"), "x.jpg: no picture"),
        (OSError(28, "No space left on device"), "a.jpg: No space left on device"),
        (MemoryError(), "a.jpg: there is not enough memory for it"),
        (RuntimeError("can't allocate memory: 9 bytes"), "a.jpg: there is not enough memory for it"),
        (RuntimeError("one\ntwo"), "a.jpg: failed for an unforeseen reason (RuntimeError: one two)"),
        (AssertionError(), "a.jpg: failed for an unforeseen reason (AssertionError: no more is known)"),
    ],
    ids=str,
)
def test_a_failure_names_its_file(error: Exception, sentence: str) -> None:
    assert tell_failure(Path("a.jpg"), error) == sentence
