"""axe-core in a page of a real browser."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

MODULES = Path(os.environ.get("LWISP_NODE_MODULES", ROOT / "node_modules"))
AXE = MODULES / "axe-core" / "axe.min.js"


def complaints_of(page: Any) -> list[str]:
    """What axe-core objects to in a page as it is now."""
    if not AXE.is_file():
        pytest.skip(f"there is no axe-core in {MODULES} (LWISP_NODE_MODULES)")
    page.evaluate(AXE.read_text())  # not a script of the page, which its policy would refuse
    found = page.evaluate(
        "async () => (await axe.run()).violations.flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html}`))"
    )
    return [str(complaint) for complaint in found]
