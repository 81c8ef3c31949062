"""The site's pages that are made, and its list of pages; `make docs` builds it."""

import re
import xml.etree.ElementTree as ElementTree
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
import typer

import lwisp
from lwisp.cli import app
from lwisp.model import LWISP
from tests.conftest import ROOT


def read_module(path: Path) -> ModuleType:
    spec = spec_from_file_location(f"docs_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    return read_module(ROOT / "docs" / "site.py")


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


def test_the_figures_are_as_their_script_draws_them() -> None:
    figures = read_module(ROOT / "docs" / "figures.py").FIGURES
    assert set(figures) == {"network.svg", "fgam.svg", "ccb.svg"}
    for name, draw in figures.items():
        drawn = draw()
        ElementTree.fromstring(drawn)
        assert (ROOT / "docs" / "images" / name).read_text(encoding="utf-8") == drawn, "python docs/figures.py"
        assert name in (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")


def test_the_figure_of_the_network_has_its_counts() -> None:
    network = LWISP()
    drawn = (ROOT / "docs" / "images" / "network.svg").read_text(encoding="utf-8")
    assert f"{sum(values.numel() for values in network.parameters()):,} parameters" in drawn
    shapes = {name: out.shape for name, out in network.blocks(torch.zeros(1, 4, 64, 64)).items()}
    channels = {name: shape[1] for name, shape in shapes.items()}
    told = re.findall(r">(down\d|up\d)</text>\s*<text[^>]*>[^<:]*: (\d+)</text>", drawn)
    assert {name: int(count) for name, count in told} == channels
