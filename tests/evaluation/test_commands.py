import sys
from pathlib import Path

from lwisp.evaluation.commands import run_command


def test_a_program_sees_none_of_the_users_settings(tmp_path: Path) -> None:
    code = "import os, sys; print(os.environ['HOME'], os.environ['XDG_CONFIG_HOME']); sys.exit(3)"
    finished = run_command([sys.executable, "-c", code], tmp_path)
    assert finished.exit_code == 3
    assert finished.output.split() == [str(tmp_path)] * 2


def test_a_program_that_hangs_is_stopped(tmp_path: Path) -> None:
    finished = run_command([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, seconds=0.2)
    assert finished.exit_code is None
    assert finished.summary == f"{sys.executable} was given up after 0.2 s"
