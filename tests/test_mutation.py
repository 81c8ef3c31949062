"""The report of mutation testing counts what it should; the reasons in it are about functions that exist."""

import ast
import tomllib
from pathlib import Path

import pytest

from tests import mutation
from tests.conftest import ROOT
from tests.mutation import Mutant, describe, read_reasons, too_few

COLOR = "lwisp/imaging/color.py"


def mutants(*statuses: str, path: str = COLOR) -> list[Mutant]:
    return [Mutant(f"lwisp.imaging.color.x__malvar__mutmut_{n}", path, status) for n, status in enumerate(statuses)]


def test_functions_are_named_as_in_their_module() -> None:
    assert mutants("killed")[0].function == "_malvar"
    assert Mutant("lwisp.files.writing.xǁ_Checkedǁfileno__mutmut_3", "", "").function == "_Checked.fileno"


def test_a_module_of_which_too_little_is_seen_is_told() -> None:
    seen = ["killed"] * 7 + ["timeout", "segfault"]
    assert too_few(mutants(*seen, "survived")) == []
    assert too_few(mutants(*seen, "survived", "not checked", "not checked")) == []
    assert too_few(mutants(*seen, "survived", "no tests")) == [COLOR]
    assert too_few(mutants(*seen, "suspicious", "skipped") + mutants("killed", path="other.py")) == [COLOR]


def test_what_no_test_saw_stands_on_the_page_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutation, "changed_lines", lambda mutant: ("a | b", "a & b | c"))
    page = describe(mutants("killed", "survived", "not checked"), {(COLOR, "_malvar", "a & b | c"): "it is the same"})
    assert "| `lwisp/imaging/color.py` | 3 | 2 | 1 | 50.0 % |" in page
    assert "| `color._malvar` | `a & b \\| c` | it is the same |" in page
    assert "not explained" in describe(mutants("survived"), {})


def test_reasons_are_about_modules_that_are_changed_and_functions_that_exist() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
    for path in [*settings["only_mutate"], *settings["pytest_add_cli_args_test_selection"]]:
        assert Path(ROOT, path).is_file(), path
    reasons = read_reasons()
    assert reasons
    for path, function, _ in reasons:
        assert path in settings["only_mutate"]
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert function.rpartition(".")[2] in names, function
