"""`lwisp sample` writes the RAW that the other verbs can be tried with."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lwisp.cli.commands import app
from tests.conftest import SAMPLE


def test_the_sample_is_written_and_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["sample"])
    assert (done.exit_code, done.stdout) == (0, "photo.dng\n")
    assert Path("photo.dng").read_bytes() == SAMPLE.read_bytes()
    Path("photo.dng").write_text("mine")
    again = CliRunner().invoke(app, ["sample"])
    assert (again.exit_code, "exists already" in again.stderr) == (1, True)
    assert Path("photo.dng").read_text() == "mine"
    assert CliRunner().invoke(app, ["sample", "--overwrite", "-o", "photo.dng"]).exit_code == 0
    assert Path("photo.dng").read_bytes() == SAMPLE.read_bytes()
    nowhere = CliRunner().invoke(app, ["sample", "-o", "photo.dng/inside.dng"])
    assert (nowhere.exit_code, nowhere.exception.__class__) == (1, SystemExit)
