"""The load test itself, for a few seconds: the figures of minutes are in docs/reliability.md."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "benchmarks" / "serve_load.py"
pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="it reads /proc, as Linux has it")


@pytest.mark.slow
def test_under_load_each_file_gets_its_own_answer_and_nothing_is_left() -> None:
    command = [sys.executable, str(SCRIPT), "--clients", "6", "--seconds", "6"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 wrong answers" in done.stdout
    assert "no file, no process" in done.stdout


def test_the_slope_of_the_memory_is_that_of_a_line() -> None:
    slope = runpy.run_path(str(SCRIPT))["slope"]
    assert slope([0.0, 1.0, 2.0, 3.0], [5.0, 7.0, 9.0, 11.0]) == pytest.approx((2, 0))
    assert slope([0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 1.0]) == (0, 0)
    steep, error = slope([0.0, 1.0, 2.0], [0.0, 2.0, 1.0])
    assert (steep, error) == pytest.approx((0.5, 0.75**0.5))  # by hand: residuals -1/2, 1, -1/2; spread 2
