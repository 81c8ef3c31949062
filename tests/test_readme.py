"""What the README shows, runs."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lwisp.cli import app
from tests.conftest import ROOT, SAMPLE

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the bundled RAW under the README's name."""
    shutil.copy(SAMPLE, tmp_path / "photo.dng")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_of_the_readme_runs(here: Path) -> None:
    assert blocks("python")
    for block in blocks("python"):
        names: dict[str, object] = {}
        exec(block, names)
        assert names["rgb"].shape == (1440, 1920, 3)  # type: ignore[attr-defined]


def test_the_commands_of_the_readme_run(here: Path) -> None:
    commands = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    develop = [command[1:] for command in commands if command[:2] == ["lwisp", "develop"]]
    assert len(develop) == 3
    for arguments in develop:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert {"photo.jpg", "photo.png", "finished"} <= {path.name for path in here.iterdir()}
    assert [path.name for path in (here / "finished").iterdir()] == ["photo.tif"]


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {command.split()[1] for block in blocks("sh") for command in block.splitlines() if "make " in command}
    assert targets == {"demo", "test"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_every_file_that_the_readme_names_exists() -> None:
    for name in re.findall(r"`((?:docs|recipes)/[\w./]+|[A-Z]+\.md)`", README):
        assert (ROOT / name).exists(), name
