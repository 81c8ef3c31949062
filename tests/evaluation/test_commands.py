import sys
from pathlib import Path

import pytest

from lwisp.evaluation.commands import Finished, run_command
from lwisp.files.writing import temporary_beside


def test_a_program_sees_none_of_the_users_settings(tmp_path: Path) -> None:
    code = "import os, sys; print(os.environ['HOME'], os.environ['XDG_CONFIG_HOME']); sys.exit(3)"
    finished = run_command([sys.executable, "-c", code], tmp_path)
    assert finished.exit_code == 3
    assert finished.output.split() == [str(tmp_path)] * 2


def test_a_program_that_hangs_is_stopped(tmp_path: Path) -> None:
    finished = run_command([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, seconds=0.2)
    assert finished.exit_code is None
    assert finished.summary == f"{sys.executable} was given up after 0.2 s"


@pytest.mark.parametrize("system", ["/tmp", "/tmp/my own", "/var/tmp"])
def test_what_a_program_says_names_no_temporary_folder(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/tmp/my own" if "own" in system else "/tmp")
    path = temporary_beside(Path(system) / "x") / "in" / "00000.dng"
    said = f"could not open `/usr/share/x' for '{path}', given {path}: no"
    finished = Finished("darktable-cli", 1, said)
    expected = "could not open `/usr/share/x' for 'in/00000.dng', given in/00000.dng: no"
    assert finished.summary == f"darktable-cli (exit code 1): {expected}"
    assert Finished("darktable-cli", 1, "x" * 10**6).summary.endswith("x" * 300)  # quickly
