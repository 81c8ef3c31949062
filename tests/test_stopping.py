"""A command that is stopped or killed in the middle of its work leaves nothing half done, and says how to go on."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lwisp.cli.commands import app
from lwisp.files.writing import TEMPORARY, temporary_folder
from lwisp.weights import Weights, save
from tests.conftest import ROOT, WriteDng, heed_signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
COUNT = 8
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def raws(write_dng: WriteDng, tmp_path: Path) -> Path:
    """A folder of RAWs whose pictures take a while to be written."""
    folder = tmp_path / "raws"
    folder.mkdir()
    first = write_dng(np.random.default_rng(0).integers(64, 4000, (700, 1000), dtype=np.uint16))
    for index in range(COUNT):
        (folder / f"{index}.dng").symlink_to(first)
    return folder


def begin(raws: Path, weights: Path, output: Path) -> "subprocess.Popen[str]":
    arguments = ["develop", raws, "--weights", weights, "-o", output, "--format", "png16", "--backend", "torch"]
    command = [sys.executable, "-m", "lwisp", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment, preexec_fn=heed_signals
    )


def half_written(folder: Path) -> list[Path]:
    found = folder.iterdir() if folder.is_dir() else ()
    return [path for path in found if TEMPORARY.fullmatch(path.name)]


def wait_for_half_a_file(folder: Path) -> None:
    for _ in range(60_000):
        if half_written(folder):
            return
        time.sleep(0.001)
    raise AssertionError("nothing was written")


def test_signals_end_a_batch_tidily(raws: Path, toy_file: Path, tmp_path: Path) -> None:
    running = [(number, tmp_path / number.name) for number in SIGNALS]
    processes = [begin(raws, toy_file, folder) for _, folder in running]
    waiting = dict(zip(running, processes, strict=True))
    while waiting:  # whichever comes first: on a busy machine one may be done before another has begun
        for (number, folder), process in list(waiting.items()):
            assert process.poll() is None, process.communicate()
            if half_written(folder):
                process.send_signal(number)
                del waiting[number, folder]
        time.sleep(0.001)
    ends = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
    for (number, folder), (said, code) in zip(running, ends, strict=True):
        assert code == 128 + number
        made = [path.name for path in folder.iterdir()]
        assert not half_written(folder), made
        line = said.splitlines()[-1]
        pattern = rf"lwisp: stopped by {number.name}; {len(made)} of {COUNT} files are done; the same command makes.*"
        assert re.fullmatch(pattern, line), (said, made)
        assert 0 < len(made) < COUNT
        assert "Traceback" not in said


def test_what_a_killed_command_left_the_next_one_deletes(raws: Path, toy_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = begin(raws, toy_file, output)
    wait_for_half_a_file(output)
    process.kill()
    process.communicate()
    assert len(half_written(output)) == 1
    result = CliRunner().invoke(app, ["develop", str(tmp_path / "none.dng"), "-o", str(output), "--backend", "torch"])
    assert result.exit_code == 1  # even this one
    assert not half_written(output)


def test_a_signal_that_is_ignored_stays_so(toy: Weights, tmp_path: Path) -> None:
    """`nohup lwisp ...` goes on when the terminal is closed."""
    code = """
import signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from lwisp.cli.stopping import handle_signals
handle_signals()
print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
    save(tmp_path / "toy.safetensors", toy.network, toy.card)
    before = [signal.getsignal(number) for number in SIGNALS]
    CliRunner().invoke(app, ["weights", "show", str(tmp_path / "toy.safetensors")])
    assert [signal.getsignal(number) for number in SIGNALS] == before  # only the command itself handles signals


def test_temporary_folders_of_killed_processes_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = """
import os, signal, sys, tempfile
tempfile.tempdir = sys.argv[1]
from lwisp.files.writing import temporary_folder
with temporary_folder() as folder:
    (folder / "file").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    (left,) = tmp_path.iterdir()
    with temporary_folder() as folder:
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]
        assert folder.stat().st_mode & 0o777 == 0o700
        os.utime(folder, (0, 0))
        with temporary_folder():
            assert folder.is_dir()  # it may be in use for days
    assert not left.exists()
    assert list(tmp_path.iterdir()) == []
