"""The site's pages that are made, and its list of pages; `make docs` builds it."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType, SimpleNamespace

import pytest
import typer

import lwisp
from lwisp.cli import app
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = spec_from_file_location("site_hooks", ROOT / "docs" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_verb_has_a_page_with_all_its_options(hooks: ModuleType) -> None:
    group = typer.main.get_command(app)
    assert hasattr(group, "commands")
    pages = hooks.verb_pages()
    assert set(pages) == set(group.commands)
    for name, command in group.commands.items():
        assert pages[name].startswith(f"# lwisp {name}\n")
        for option in re.findall(r"--[a-z][\w-]+", " ".join(o for p in command.params for o in p.opts)):
            assert option in pages[name], f"{name} {option}"
    assert "## lwisp weights show" in pages["weights"]


def test_the_api_has_every_public_name(hooks: ModuleType) -> None:
    page = hooks.api_page()
    for name in set(lwisp.__all__) - {"__version__"}:
        assert f"## lwisp.{name}\n" in page


def test_links_out_of_the_docs_become_names(hooks: ModuleType) -> None:
    def shown(text: str, source: str) -> str:
        return str(hooks.on_page_markdown(text, SimpleNamespace(file=SimpleNamespace(src_uri=source)), None, None))

    assert shown("[a](../CITATION.cff) [b](use.md)", "researchers.md") == "a (`CITATION.cff`) [b](use.md)"
    assert shown("[a](../use.md#x) [b](../../NOTICE.md#y)", "models/photo.md") == "[a](../use.md#x) b (`NOTICE.md`)"
    assert shown("- a\n  - b\n    - c\n      d", "log.md") == "- a\n    - b\n        - c\n      d"


def test_the_pages_of_the_site_exist() -> None:
    named = re.findall(r"^ +- [^:]+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(named) > 20
    missing = [page for page in named if not (ROOT / "docs" / page).exists() and page != "api.md"]
    assert missing == []
