"""Logs of JSON lines are appended to, whatever a power cut left of them, and nothing else is."""

import json
from pathlib import Path

import pytest

from lwisp.errors import InputError, OutputError
from lwisp.files.logs import JsonLines


def append(path: Path, **record: object) -> None:
    log = JsonLines(path)
    log.write(record)
    log.close()


def events(path: Path) -> list[str]:
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line)["event"])
        except ValueError:
            found.append("cut")
    return found


def test_each_line_begins_with_the_time(tmp_path: Path) -> None:
    append(tmp_path / "log", event="a")
    append(tmp_path / "log", event="b")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [list(line) for line in lines] == [["time", "event"]] * 2


@pytest.mark.parametrize("count", [1, 2])
def test_a_log_cut_at_any_byte_of_its_last_line_is_gone_on_with(count: int, tmp_path: Path) -> None:
    path = tmp_path / "log"
    for _ in range(count):
        append(path, event="a")
    whole = path.read_bytes()
    length = len(whole) // count
    for end in range((count - 1) * length + 1, count * length):
        path.write_bytes(whole[:end])
        append(path, event="b")
        assert path.read_bytes().startswith(whole[:end] + b"\n{")  # left as it is
        last = "a" if end == count * length - 1 else "cut"  # of the last only its end is missing
        assert events(path) == ["a"] * (count - 1) + [last, "b"]


def test_an_empty_file_is_a_log(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    append(tmp_path / "log", event="a")
    assert events(tmp_path / "log") == ["a"]


@pytest.mark.parametrize(
    "content", [b"text", b"text\n", b'{"a": 1}', b'{\n"a": 1}\n', b"[1]\n", b"\x89PNG\r\n", b"{}x\n"]
)
def test_what_is_no_log_is_left_alone(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match="expected a log of JSON lines"):
        JsonLines(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content


def test_a_log_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        JsonLines(tmp_path / "none" / "log")
