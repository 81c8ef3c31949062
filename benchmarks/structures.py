"""Write the structures of the shipped weights into the package; run it after a change of the network or of what is
before it: `python benchmarks/structures.py`.
"""

from dataclasses import replace
from pathlib import Path

from lwisp.architecture import LWISPConfig
from lwisp.camera.settings import LookFit
from lwisp.engines.tracing import write_structures
from lwisp.weights import load, names

FOLDER = Path(__file__).parent.parent / "lwisp" / "assets" / "structures"


def shipped() -> list[LWISPConfig]:
    """Architectures of the shipped weights, and of those that are learned from them for a camera."""
    found: dict[LWISPConfig, None] = {}
    for name in names():
        architecture = load(name).card.architecture
        assert isinstance(architecture, LWISPConfig)
        found[architecture] = None
        if architecture.takes == "raw":
            found[replace(architecture, look=LookFit().channels)] = None
    return list(found)


if __name__ == "__main__":
    write_structures(shipped(), FOLDER)
