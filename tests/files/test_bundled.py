"""The list of what comes with lwisp, and what is said where a file is another one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lwisp.collection import altered_weights
from lwisp.files.bundled import SUMS, assets_folder, fault_of, read_sums
from tests.conftest import ROOT, SAMPLE


def test_every_bundled_file_that_nobody_can_read_is_as_listed() -> None:
    folder = assets_folder()
    binary = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".safetensors", ".zip", ".png")
    }
    assert set(read_sums(folder)) == binary, "`make sums` writes the list anew"
    assert {name: fault for name in sorted(binary) if (fault := fault_of(folder / name))} == {}, "`make sums`"
    assert altered_weights() == []


def test_a_file_that_is_changed_or_not_listed_is_told(tmp_path: Path) -> None:
    (tmp_path / "listed").write_bytes(b"abc")
    (tmp_path / "other").write_bytes(b"abc")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / SUMS).write_text(f"{abc}  listed\n")
    assert fault_of(tmp_path / "listed", tmp_path) == ""
    assert "not in lwisp's list" in fault_of(tmp_path / "other", tmp_path)
    (tmp_path / "listed").write_bytes(b"abd")
    assert "SHA-256 differs" in fault_of(tmp_path / "listed", tmp_path)
    (tmp_path / SUMS).unlink()
    assert "not in lwisp's list" in fault_of(tmp_path / "listed", tmp_path)


@pytest.mark.parametrize("command", [("weights", "list", "--json"), ("doctor", str(SAMPLE), "--json")])
def test_weights_in_the_place_of_shipped_ones_are_told(command: tuple[str, ...], tmp_path: Path) -> None:
    """Whole weights with a card and digest of their own, which `load` cannot find fault with."""
    package = shutil.copytree(ROOT / "lwisp", tmp_path / "lwisp", ignore=shutil.ignore_patterns("__pycache__"))
    weights = package / "assets" / "weights"
    shutil.copy(weights / "photo-fast.safetensors", weights / "photo.safetensors")
    done = subprocess.run(
        [sys.executable, "-m", "lwisp", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    (line,) = done.stderr.splitlines()
    assert line.startswith("lwisp: weights 'photo', ")
    assert "SHA-256 differs" in line
