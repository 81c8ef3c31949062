"""Imports only go down, and run in no circles (docs/architecture.md)."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

from tests.conftest import ROOT

FLOORS = [
    "errors architecture",
    "imaging",
    "model",
    "files baselines",
    "sandbox",
    "engines",
    "records downloads weights interchange hub collection sequences planning provenance batch planes linear_planes "
    "pipeline development watching restoration conversion verification diagnosis model_cards repositories",
    "data",
    "training evaluation",
    "camera",
    "serve cluster",
    "cli",
    "__init__ __main__",
]
SPINE = FLOORS[6].split()


def imports_of(file: Path) -> set[str]:
    """The modules of lwisp that a file imports, wherever in it, as "files.raw"."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lwisp":
            for alias in node.names:
                path = ROOT.joinpath(*(node.module or "").split("."), alias.name)
                is_module = path.is_dir() or path.with_suffix(".py").exists()
                found.add(".".join(((node.module or "") + (f".{alias.name}" if is_module else "")).split(".")[1:]))
    return found - {""}


def test_imports_only_go_down_and_run_in_no_circles() -> None:
    height = {wing: floor for floor, wings in enumerate(FLOORS) for wing in wings.split()}
    package = ROOT / "lwisp"
    graph = {}
    for file in package.rglob("*.py"):
        name = ".".join(file.relative_to(package).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = imports_of(file)
        wing = name.split(".")[0]
        for imported in graph[name]:
            other = imported.split(".")[0]
            beside = other == wing or {wing, other} <= set(SPINE)
            assert beside or height[other] < height[wing], f"{name} imports {imported}"
    TopologicalSorter(graph).prepare()  # raises CycleError
