"""A module imports only from floors below its own (docs/architecture.md)."""

import ast

from tests.conftest import ROOT

FLOORS = [
    {
        "errors",
        "files",
        "mosaic",
        "color",
        "model",
        "metrics",
        "restoration",
        "translation",
        "isps",
        "baselines",
        "page",
        "registration",
        "makernotes",
        "exif",
        "simulation",
        "pixels",
        "provenance",
        "tensors",
    },
    {"runtimes", "pictures", "libraw", "damage", "leaves"},
    {"raw", "image", "unprocess", "checkpoint", "stages", "losses", "formats", "lpips", "charts", "look", "rivals"},
    {"backends", "recapture", "alignment", "scores"},
    {"inference"},
    {"pairs"},
    {"jobs"},
    {"pipeline"},
    {"datasets", "developers", "retouching", "workshop"},
    {"data", "proof"},
    {"benchmark", "export", "protocols", "recipe", "synthetic"},
    {"evaluation"},
    {"bench", "compare", "training"},
    {"reproduce", "camera"},
    {"cli", "__init__"},
    {"__main__"},
]
ALLOWED = {("metrics", "color"), ("color", "mosaic"), ("files", "errors")} | {
    ("baselines", network) for network in ("model", "restoration", "translation", "isps")
}


def test_every_module_imports_from_below() -> None:
    height = {name: floor for floor, names in enumerate(FLOORS) for name in names}
    files = list((ROOT / "lwisp").glob("*.py"))
    assert {file.stem for file in files} == set(height)
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("lwisp"):
                continue
            parts = (node.module or "").split(".")
            imported = parts[1:2] or [alias.name for alias in node.names if alias.name in height]
            for name in imported:
                below = height[name] < height[file.stem] or (file.stem, name) in ALLOWED
                assert below, f"{file.stem} imports {name}"
