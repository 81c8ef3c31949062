"""What the README and the pages of docs/ show, runs; what would need data that cannot be shipped is parsed at least."""

import json
import re
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from lwisp.cli.commands import app
from tests.conftest import ROOT, SAMPLE

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.name != "log.md"),  # which tells of the past
]
RUN = [ROOT / "README.md", ROOT / "docs" / "use.md"]
"""The pages whose commands are run as they stand."""
NEEDS_MORE = ("ZURICH", "~/Pictures")
"""Marks of commands that need data which cannot be shipped."""
SLOW = ("lwisp train", "lwisp export", "lwisp compare")
TINY = "recipes/tiny.toml"
MAKE = {"demo", "test"}
"""Targets that the README shows first."""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def shell_lines(page: Path) -> list[str]:
    """Lines of ```sh blocks and of indented code; one that ends in a backslash goes on."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    fenced = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    return fenced + re.findall(r"^ {4}(\S.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)


def inline_code(page: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)]


def words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # prose with an apostrophe
        return []


def arguments(line: str) -> list[str]:
    """What follows `lwisp` in a command, which may be in an environment of its own or run by torchrun."""
    found = words(line)
    if found[:1] == ["torchrun"] and "-m" in found:
        return found[found.index("-m") + 2 :]
    return found[1:] if found and re.fullmatch(r"(\S+/bin/)?lwisp", found[0]) else []


def verb(given: list[str]) -> tuple[Any, Any, list[str]]:
    """The command of the CLI that these arguments call, the context it lies in, and the arguments left for it."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("lwisp", [], resilient_parsing=True)
    while hasattr(command, "commands") and given and not given[0].startswith("-"):
        assert given[0] in command.commands, f"there is no verb {given[0]}"
        command, given = command.commands[given[0]], given[1:]
    return command, context, given


COMMANDS = {
    (name(page), line): given for page in PAGES for line in shell_lines(page) if len(given := arguments(line)) > 0
}
SHORT = {
    (name(page), code): given
    for page in PAGES
    for code in inline_code(page)
    if len(given := arguments(code)) > 0 and not {"VERB", "NAME"} & set(given)
}
USAGE = {key: given for key, given in {**COMMANDS, **SHORT}.items() if "[" in key[1] or key in SHORT}
WHOLE = {key: given for key, given in COMMANDS.items() if key not in USAGE and "VERB" not in given}
LINES = {" ".join(arguments(line)): line for page in reversed(RUN) for line in shell_lines(page) if arguments(line)}
"""The README's where both pages show the same command."""
RUNNABLE = [
    pytest.param(line, id=command, marks=[pytest.mark.slow] if line.startswith(SLOW) else [])
    for command, line in LINES.items()
    if not any(mark in command for mark in NEEDS_MORE)
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the bundled RAW, in a tree too, and two pictures under the README's names."""
    shutil.copy(SAMPLE, tmp_path / "photo.dng")
    (tmp_path / "Photos" / "2025").mkdir(parents=True)
    shutil.copy(SAMPLE, tmp_path / "Photos" / "2025" / "IMG_1.dng")
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    with Image.open(ROOT / "docs" / "images" / "before_after.jpg") as picture:
        small = picture.resize((96, 64))
    for file in ("photo.jpg", "dark.jpg"):
        small.save(tmp_path / file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_the_python_of_the_pages_runs(page: Path, here: Path) -> None:
    for block in blocks(page, "python"):
        names: dict[str, Any] = {}
        exec(block, names)
        if "rgb" in block:  # else it asserts for itself
            assert names["rgb"].shape == (1440, 1920, 3)
        for written in re.findall(r'write_\w+\("(.+?)"', block):
            assert (here / written).stat().st_size > 0


@pytest.mark.parametrize("line", RUNNABLE)
def test_the_commands_of_the_first_pages_run(line: str, here: Path) -> None:
    given = arguments(line)
    if given == ["sample"]:
        (here / "photo.dng").unlink()  # which it writes
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    if "--output" in given:
        assert (here / given[given.index("--output") + 1]).exists()
    for made in re.findall(r"[\w./-]+\.(?:jpg|dng|tif)\b", line.partition("#")[2]):
        assert (here / made).is_file(), f"{made} is promised by: {line}"
    if TINY in given:
        check_tiny(here / "tiny.safetensors.run")


def check_tiny(run: Path) -> None:
    """Teacher and student have learned."""
    for folder in (run, run / "teacher.safetensors.run"):
        rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["psnr"] > 15  # the teacher has seen the answer


def test_the_tiny_recipe_of_the_readme_is_among_the_commands_that_run() -> None:
    (tiny,) = {" ".join(given) for (page, _), given in WHOLE.items() if page == "README.md" and TINY in given}
    assert tiny in {each.id for each in RUNNABLE}


def test_there_are_commands_of_every_kind_on_the_pages() -> None:
    shown = [given[0] for given in WHOLE.values()]
    for expected in ("develop", "denoise", "enhance", "denoise-raw", "train", "compare", "export", "evaluate", "bench"):
        assert expected in shown
    assert len(RUNNABLE) >= 10


@pytest.mark.parametrize("key", WHOLE, ids=" ".join)
def test_every_command_of_the_pages_is_one_that_the_cli_takes(key: tuple[str, str]) -> None:
    command, context, given = verb(WHOLE[key])
    command.make_context(command.name, list(given), parent=context)  # raises where it would be refused as written


@pytest.mark.parametrize("key", USAGE, ids=" ".join)
def test_every_verb_and_option_that_the_pages_name_exists(key: tuple[str, str]) -> None:
    command, _, given = verb(USAGE[key])
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    for word in given:
        option = word.strip("[],.")
        assert not option.startswith("-") or option.split("=")[0] in options, option


def test_a_wrong_command_would_be_noticed() -> None:
    for wrong in ("lwisp develope a.dng", "lwisp develop a.dng --outptu b.jpg", "lwisp develop a.dng --format gif"):
        with pytest.raises(Exception, match=r"develope|outptu|gif"):  # what typer raises has no public name
            command, context, given = verb(arguments(wrong))
            command.make_context(command.name, given, parent=context)


def test_every_make_target_of_the_pages_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set()
    for page in PAGES:
        for line in [*shell_lines(page), *inline_code(page)]:
            if words(line)[:1] == ["make"]:
                targets |= set(words(line)[1:])
    assert targets > MAKE
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    readme = {words(line)[1] for line in shell_lines(ROOT / "README.md") if words(line)[:1] == ["make"]}
    assert readme == MAKE


def test_every_extra_that_the_pages_install_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    found = {
        extra
        for page in PAGES
        for group in re.findall(r"'(?:lwisp|\.)\[([\w,]+)\]'", page.read_text(encoding="utf-8"))
        for extra in group.split(",")
    }
    assert {"onnxruntime", "torch", "train", "export"} <= found <= set(extras)


def test_every_script_that_the_pages_run_takes_its_options() -> None:
    found = 0
    for page in PAGES:
        for line in [*shell_lines(page), *inline_code(page)]:
            script = re.match(r"(?:\S+/)?python (benchmarks/\S+\.py|demo\.py)(.*)", line)
            if script:
                found += 1
                source = (ROOT / script[1]).read_text(encoding="utf-8")
                for option in re.findall(r"(?<=\s)--[a-z][\w-]*", script[2]):
                    assert f'"{option}"' in source, f"{name(page)}: {line}"
    assert found >= 2


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        assert "://" in target or (page.parent / target).exists(), target
    for code in [*inline_code(page), *(word for line in shell_lines(page) for word in words(line))]:
        if re.fullmatch(r"(docs|recipes|lwisp|tests|benchmarks|samples)/[\w./-]+|[A-Z]{4,}\.(md|cff)", code):
            assert (ROOT / code).exists(), code


def test_the_tree_in_the_docs_is_the_tree() -> None:
    lines = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines()
    told = {entry[1] for line in lines if (entry := re.match(r"      (\w+(?:\.py|/)) +\S", line))}
    others = {"__init__.py", "__main__.py", "__pycache__", "py.typed"}
    there = {path.name + "/" * path.is_dir() for path in (ROOT / "lwisp").iterdir() if path.name not in others}
    assert told == there


def test_the_version_is_the_same_wherever_it_stands() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [version]
    assert re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0] == version
