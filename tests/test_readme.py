"""What the README shows, runs."""

import json
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
    assert {"photo-lwisp.jpg", "photo.png", "finished"} <= {path.name for path in here.iterdir()}
    assert [path.name for path in (here / "finished").iterdir()] == ["photo.tif"]


def test_the_tiny_recipe_of_the_readme_trains_teacher_and_student(here: Path) -> None:
    commands = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    (tiny,) = [command[1:] for command in commands if "recipes/tiny.toml" in command]
    shutil.copytree(ROOT / "recipes", here / "recipes")
    result = CliRunner().invoke(app, tiny)
    assert result.exit_code == 0, result.output
    run = here / "tiny.safetensors.run"
    for folder in (run, run / "teacher.safetensors.run"):
        rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["psnr"] > 15  # the teacher has seen the answer


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {command.split()[1] for block in blocks("sh") for command in block.splitlines() if "make " in command}
    assert targets == {"demo", "test"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_every_file_that_the_readme_names_exists() -> None:
    for name in re.findall(r"`((?:docs|recipes)/[\w./]+|[A-Z]+\.md)`", README):
        assert (ROOT / name).exists(), name
