"""The command on many files: what it tells, where, and how it goes on after being stopped or killed."""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner, Result

from lwisp.cli.commands import app
from lwisp.cli.defaults import CONNECTING, RUNNING, read_defaults
from lwisp.errors import InputError
from tests.conftest import WriteDng

RNG = np.random.default_rng(11)
LWISP = [sys.executable, "-m", "lwisp"]
COLOR = r"\x1b\[(?:\d+;)*[349]\d"
"""A code that colors text on a terminal; bold has none."""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def photos(write_dng: WriteDng, tmp_path: Path) -> Path:
    """A folder with two RAWs, one of them in a folder below, and a file that is none."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.dng", "sub/b.dng"):
        written = write_dng(RNG.integers(64, 4000, (40, 60), dtype=np.uint16))
        written.rename(folder / name)
    (folder / "bad.dng").write_text("no")
    return folder


@pytest.fixture(autouse=True)
def no_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working folder and a folder of settings of the test's own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "here"


def test_made_files_go_to_stdout_and_all_else_to_stderr(photos: Path, toy_file: Path, tmp_path: Path) -> None:
    result = call("develop", photos, "-o", tmp_path / "out", "--weights", toy_file)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert [line.rsplit(" (", 1)[0] for line in lines] == [
        f"{photos / 'a.dng'} -> {tmp_path / 'out' / 'a.jpg'}",
        f"{photos / 'sub/b.dng'} -> {tmp_path / 'out' / 'sub/b.jpg'}",
    ]
    assert all(line.endswith(" s)") for line in lines)
    assert "lwisp: 1 of 3 files failed: bad.dng" in result.stderr
    assert "the network took" in result.stderr
    again = call("develop", photos, "-o", tmp_path / "out", "--weights", toy_file)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "2 of 3 files were done before" in again.stderr
    (photos / "bad.dng").unlink()
    assert call("develop", photos, "-o", tmp_path / "out", "--weights", toy_file).exit_code == 0


def test_each_file_as_json_on_stdout_and_in_a_log(photos: Path, toy_file: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    result = call("develop", photos, "-o", tmp_path / "out", "--weights", toy_file, "--json", "--log", log)
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["status"] for record in told[:-1]] == ["made", "failed", "made"]
    assert told[0]["output"] == str(tmp_path / "out" / "a.jpg")
    assert told[0]["seconds"] >= told[0]["network_seconds"] > 0
    assert "bad.dng" in told[1]["error"]
    assert {key: told[-1][key] for key in ("event", "made", "done_before", "failed")} == {
        "event": "end",
        "made": 2,
        "done_before": 0,
        "failed": 1,
    }
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(record.pop("time") for record in logged)
    assert logged == told
    call("develop", photos, "-o", tmp_path / "out", "--weights", toy_file, "-q", "--log", log)
    assert len(log.read_text().splitlines()) == 2 * len(told)  # appended


@pytest.mark.parametrize("content", ["a letter\n", "[1]\n", '{"cut": "sho'])
def test_a_log_never_touches_another_file(content: str, photos: Path, toy_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "letter.txt"
    other.write_text(content)
    result = call("develop", photos, "-o", tmp_path / "out", "--weights", toy_file, "--log", other)
    assert result.exit_code == 2
    assert "expected a log of JSON lines" in result.stderr
    assert other.read_text() == content
    assert not (tmp_path / "out").exists()


def test_quiet_tells_of_failures_alone(photos: Path, toy_file: Path, tmp_path: Path) -> None:
    result = call("develop", photos, "-o", tmp_path / "out", "--weights", toy_file, "-q")
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 2  # the file, and the count


def test_a_dry_run_makes_nothing(photos: Path, tmp_path: Path) -> None:
    result = call("develop", photos, "-o", tmp_path / "out", "--dry-run", "--no-recursive", "--name", "{number}")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{photos / 'a.dng'} -> {tmp_path / 'out' / '1.jpg'}",
        f"{photos / 'bad.dng'} -> {tmp_path / 'out' / '2.jpg'}",
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_pictures_are_the_same_however_many_are_made_at_once(
    jobs: str, write_dng: WriteDng, toy_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(5):
        written = write_dng(np.random.default_rng(index).integers(64, 4000, (40, 60), dtype=np.uint16))
        written.rename(folder / f"{index}.dng")
    for name, count in (("alone", "1"), ("out", jobs)):
        result = call("develop", folder, "-o", tmp_path / name, "--weights", toy_file, "--jobs", count)
        assert result.exit_code == 0, result.stderr
    pixels = [[path.read_bytes()[-500:] for path in sorted((tmp_path / name).iterdir())] for name in ("alone", "out")]
    assert pixels[0] == pixels[1]


def test_defaults_come_from_a_file_and_options_go_before_them(
    photos: Path, toy_file: Path, no_defaults: Path, tmp_path: Path
) -> None:
    (photos / "bad.dng").unlink()
    own = tmp_path / "config" / "lwisp"
    own.mkdir(parents=True)
    (own / "lwisp.toml").write_text(f'quality = 50\n[develop]\nformat = "tiff"\nweights = "{toy_file}"\n')
    assert call("develop", photos, "-o", tmp_path / "a").exit_code == 0
    assert (tmp_path / "a" / "a.tif").exists()
    (no_defaults / "lwisp.toml").write_text('[develop]\nformat = "png"\n')
    assert call("develop", photos, "-o", tmp_path / "b").exit_code == 0
    assert (tmp_path / "b" / "a.png").exists()
    assert call("develop", photos, "-o", tmp_path / "c", "--format", "jpg").exit_code == 0
    assert (tmp_path / "c" / "a.jpg").exists()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("quality = ", "TOML"),
        ("colour = 1\n", "--colour"),
        ("[develop]\npasses = 1\n", "develop has no option --passes"),
        ("[paint]\nquality = 1\n", "no verb paint"),
        ("quality = 1000\n", "equal to 100"),
        ("quality = 1000\n", "lwisp.toml"),
        ("quality = [1, 2]\n", "lwisp.toml"),
        ("[develop.quality]\nbest = 1\n", "lwisp.toml"),
        ("quality = " + "[" * 5000, "TOML"),
        ("quality = 90\n" + "#" * 2**16, "at most 65536 bytes"),
        ('[develop]\nformat = "bmp"\n', "bmp"),
    ],
)
def test_wrong_defaults_are_refused(content: str, word: str, photos: Path, no_defaults: Path, tmp_path: Path) -> None:
    (no_defaults / "lwisp.toml").write_text(content)
    result = call("develop", photos, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert word in result.stderr
    assert not (tmp_path / "out").exists()


def _options() -> list[tuple[str, Any]]:
    commands = cast(TyperGroup, get_command(app)).commands
    return [(verb, parameter) for verb, command in commands.items() for parameter in command.params]


def test_every_option_that_can_connect_or_run_code_is_known() -> None:
    """By what its help and its metavar say: a new one belongs into `CONNECTING` or `RUNNING`, or takes addresses."""
    told = re.compile(r"hf://|cluster|address|under which browsers|network of your own", re.IGNORECASE)
    found = {
        parameter.name
        for _, parameter in _options()
        if parameter.param_type_name == "option"
        and told.search(f"{getattr(parameter, 'help', '')} {parameter.metavar}")
    }
    assert found == {*CONNECTING, *RUNNING, "weights"}


@pytest.mark.parametrize(
    "address", ["hf://me/toy", "tcp://10.0.0.1:8786", "S3://bucket/a", "a,hf://me/toy", "//host/a"]
)
def test_no_option_takes_an_address_from_the_working_folder(address: str, no_defaults: Path) -> None:
    commands = cast(TyperGroup, get_command(app))
    for verb, parameter in _options():
        if parameter.param_type_name == "option":
            name = next(option for option in parameter.opts if option.startswith("--")).removeprefix("--")
            for value in (f'"{address}"', f'["a", "{address}"]'):
                (no_defaults / "lwisp.toml").write_text(f"[{verb}]\n{name} = {value}\n")
                with pytest.raises(InputError, match=r"connects to a network|runs code"):
                    read_defaults(commands)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[develop]\ncluster = "local"\n', "--cluster connects"),
        ('cluster = "10.0.0.1:8786"\n', "--cluster connects"),
        ('[serve]\nhost = "0.0.0.0"\n', "--host connects"),
        ('[serve]\nallow-host = ["elsewhere.example"]\n', "--allow-host connects"),
        ('[train]\nnetwork = "theirs:Net"\n', "--network runs code"),
        ('[evaluate]\nnetwork = "theirs:Net"\n', "--network runs code"),
    ],
)
def test_only_your_own_settings_connect_or_run_code(content: str, said: str, no_defaults: Path, tmp_path: Path) -> None:
    commands = cast(TyperGroup, get_command(app))
    (no_defaults / "lwisp.toml").write_text(content)
    own = tmp_path / "config" / "lwisp"
    with pytest.raises(InputError) as caught:
        read_defaults(commands)
    assert said in str(caught.value)
    assert str(own / "lwisp.toml") in str(caught.value)
    own.mkdir(parents=True)
    (no_defaults / "lwisp.toml").rename(own / "lwisp.toml")
    assert any(read_defaults(commands).values())


@pytest.mark.parametrize("empty", [[""], ["a.dng", "-o", ""], ["a.dng", "--output="]])
def test_an_empty_argument_is_not_the_working_folder(empty: list[str]) -> None:
    result = call("develop", *empty)
    assert result.exit_code == 2
    assert "empty" in result.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_among_the_files_hold_nothing_up(photos: Path, toy_file: Path, tmp_path: Path) -> None:
    """Nothing waits for a writer: neither the search, nor the hash, nor the tags for a name, nor the output."""
    os.mkfifo(photos / "pipe.dng")
    os.mkfifo(photos / "a.xmp")
    (tmp_path / "out" / "unknown").mkdir(parents=True)
    os.mkfifo(tmp_path / "out" / "unknown" / "a.jpg")
    told: list[str | Path] = ["-o", tmp_path / "out", "--weights", toy_file, "--name", "{date}/{stem}"]
    command = [*LWISP, "develop", photos, *told]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "got a pipe or a device" in result.stderr
    assert "3 of 4 files failed: a.dng, bad.dng, pipe.dng" in result.stderr


def test_two_processes_on_one_folder_do_not_fail_by_each_other(photos: Path, toy_file: Path, tmp_path: Path) -> None:
    (photos / "bad.dng").unlink()
    for number in range(8):
        (photos / f"c{number}.dng").write_bytes((photos / "a.dng").read_bytes())
    command = [*LWISP, "develop", str(photos), "-o", str(tmp_path / "out"), "--weights", str(toy_file)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    told = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], told
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 10


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_lines_that_find_the_disk_full_end_the_program_kindly(photos: Path, toy_file: Path, tmp_path: Path) -> None:
    command = [*LWISP, "develop", str(photos), "-o", str(tmp_path / "out"), "--weights", str(toy_file)]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("lwisp: nothing more can be written: No space left")
    assert "unforeseen" not in result.stderr


def test_switches_in_the_help_take_no_value() -> None:
    result = call("develop", "-h")
    assert result.exit_code == 0
    assert "<bool>" not in result.stdout
    assert "Exit codes: 0 all is done" in call("-h").stdout
    assert call("-V").stdout.startswith("lwisp ")


def test_a_reader_that_has_read_enough_ends_the_program_quietly(photos: Path, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*LWISP, "develop", str(photos), "-o", str(tmp_path / "out"), "--dry-run"]
    try:
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert done.stderr == ""


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_a_batch_that_is_killed_again_and_again_comes_to_the_same(
    write_dng: WriteDng, toy_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(300):
        written = write_dng(np.random.default_rng(index).integers(64, 4000, (40, 60), dtype=np.uint16))
        written.rename(folder / f"{index:03}.dng")
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    command = [*LWISP, "develop", str(folder), "--weights", str(toy_file), "-o"]
    subprocess.run([*command, str(undisturbed)], check=True, capture_output=True)
    killed.mkdir()
    moments = random.Random(3)
    for part in range(1, 11):
        process = subprocess.Popen([*command, str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(list(killed.glob("*.jpg"))) < 25 * part and process.poll() is None:
            time.sleep(moments.uniform(0, 0.01))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert all(path.stat().st_size > 0 for path in killed.glob("*.jpg"))
    last = subprocess.run([*command, str(killed)], check=True, capture_output=True, text=True)
    assert "were done before" in last.stderr
    assert digests(killed) == digests(undisturbed)
    assert len(digests(killed)) == 300


@pytest.mark.parametrize("arguments", [("-h",), ("develop", "-h")], ids=" ".join)
def test_no_color_is_heeded(arguments: tuple[str, ...]) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    forced = {**kept, "FORCE_COLOR": "1", "TERM": "xterm-256color"}  # as on a terminal
    command = [*LWISP, *arguments]
    plain = subprocess.run(command, env={**forced, "NO_COLOR": "1"}, capture_output=True, text=True, check=True)
    assert not re.search(COLOR, plain.stdout)
    colored = subprocess.run(command, env=forced, capture_output=True, text=True, check=True)
    assert re.search(COLOR, colored.stdout)


def test_pictures_that_lwisp_made_are_left_out_of_folders_and_taken_by_name(
    photos: Path, toy_file: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    assert call("develop", photos / "a.dng", "-o", mixed / "a-lwisp.jpg", "--weights", toy_file).exit_code == 0
    Image.fromarray(RNG.integers(0, 256, (32, 40, 3), dtype=np.uint8)).save(mixed / "b.jpg")
    (mixed / "c.jpg").write_bytes((mixed / "a-lwisp.jpg").read_bytes())  # whatever its name
    os.mkfifo(mixed / "d.jpg")  # is not waited for

    def planned(*sources: Path, more: tuple[str, ...] = ()) -> tuple[list[str], str]:
        result = call("denoise", *sources, "-o", tmp_path / "out", "--dry-run", *more)
        assert result.exit_code == 0, result.output
        return [Path(line.split(" -> ")[0]).name for line in result.stdout.splitlines()], result.stderr

    assert planned(mixed) == (
        ["b.jpg", "d.jpg"],
        "left out 2 pictures that lwisp made; one that is named is taken\n",
    )
    assert planned(mixed, more=("-q",))[1] == ""
    names, said = planned(mixed, mixed / "c.jpg")
    assert (names, "left out 1 picture that" in said) == (["b.jpg", "c.jpg", "d.jpg"], True)
    assert planned(mixed / "c.jpg") == (["c.jpg"], "")
    for name in ("b.jpg", "d.jpg"):
        (mixed / name).unlink()
    result = call("enhance", mixed, "-o", tmp_path / "out")
    assert (result.exit_code, "lwisp made all pictures in this folder" in result.stderr) == (2, True)


def test_dng_tells_programs_and_logs_as_the_other_verbs_do(tmp_path: Path) -> None:
    mosaic = tmp_path / "a.npy"
    np.save(mosaic, np.random.default_rng(0).integers(64, 900, (40, 60), dtype=np.uint16))
    told = call(
        *("dng", mosaic, "--cfa", "RGGB", "--black-level", 64, "--white-level", 1023),
        *("--json", "--log", tmp_path / "log.jsonl"),
    )
    assert told.exit_code == 0, told.output
    made, end = (json.loads(line) for line in told.stdout.splitlines())
    assert (made["status"], made["output"]) == ("made", str(tmp_path / "a.dng"))
    assert (end["event"], end["made"], end["failed"]) == ("end", 1, 0)
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["event"] for entry in logged] == ["file", "end"]
