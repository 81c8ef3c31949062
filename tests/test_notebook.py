"""The notebook runs as it stands: its cells, one after the other, as a program, as `jupyter` would run them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

NOTEBOOK = ROOT / "examples" / "own_network.ipynb"


def run(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "cells.py").write_text(text)
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        [sys.executable, "cells.py"],
        cwd=folder,
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
        check=False,
    )


def cells() -> str:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return "\n\n".join("".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code")


@pytest.mark.slow
def test_the_notebook_runs_as_it_stands(tmp_path: Path) -> None:
    result = run(cells(), tmp_path)
    assert result.returncode == 0, result.stderr
    assert "dB ahead, p = " in result.stdout


@pytest.mark.slow
def test_the_notebook_says_where_data_are_missing(tmp_path: Path) -> None:
    text = cells()
    assert "DATA = None" in text
    result = run(text.replace("DATA = None", 'DATA = "nowhere"'), tmp_path)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("lwisp.errors.InputError: nowhere: no such folder")


def test_the_notebook_holds_no_results() -> None:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
