import subprocess
from pathlib import Path

import pytest

from lwisp.training.provenance import code_commit, versions
from tests.conftest import ROOT


def run_git(folder: Path, *words: str) -> str:
    settings = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    return subprocess.run(("git", *settings, *words), cwd=folder, check=True, capture_output=True, text=True).stdout


def test_the_commit_is_that_of_the_packages_own_checkout(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    try:
        run_git(tmp_path, "init", "-q")
    except FileNotFoundError:
        pytest.skip("git is not installed")
    assert code_commit(package) == ""  # installed into somebody else's checkout
    run_git(tmp_path, "add", ".")
    run_git(tmp_path, "commit", "-q", "-m", "first")
    commit = run_git(tmp_path, "rev-parse", "HEAD").strip()
    code_commit.cache_clear()
    assert code_commit(package) == commit
    (package / "__init__.py").write_text("1")
    code_commit.cache_clear()
    assert code_commit(package) == f"{commit}+changes"
    code_commit.cache_clear()


def test_versions_name_the_code() -> None:
    assert {"lwisp", "torch"} <= set(versions())
    assert ("commit" in versions()) == bool(code_commit(ROOT / "lwisp"))
