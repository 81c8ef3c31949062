"""Names and inputs of the modules that engines run; `modules` has them, `structures` their ONNX.

"light" with "b" for balance, "h" for highlights and "m" for mixing, "colors", "gain", "expose"; of demosaiced pictures
"linear" and "encode"; "whole" with the type of the picture's values; and the stages that `tiles` runs.
"""

import hashlib
import json

from lwisp.architecture import LWISPConfig
from lwisp.baselines.config import Architecture, fields_of
from lwisp.engines.names import PIXELS

PREFIX = "network."
"""Of the names of weights in a structure, before their name in the file of weights."""
LIGHTS = ("light-", "light-b", "light-m", "light-bm", "light-g", "light-gm", "light-h", "light-hm")
"""Levels alone; with white balance, where clipped cells turn neutral (b), where none is clipped (g) or highlights are
rebuilt (h); and with the camera's matrix (m)."""
EXPOSES = ("expose-", "expose-n")
"""Gain and shoulder; with the plane that tells the noise (n)."""
LINEARS = ("linear-g", "linear-h", "linear-colors")
"""Of demosaiced pictures: levels, balance and matrix where none is clipped (g), or with rebuilt highlights (h); and the
colors of bright light."""
ENCODES = ("encode-", "encode-n")
"""`EXPOSES` of demosaiced pictures, then encoded as they are seen."""
SHAPES = "tensors.json"
"""Name of the shapes of a network's tensors beside its structures."""
STAGES: dict[str, tuple[str, ...]] = {
    "p0": ("planes",),
    "p1": ("p0", "map0"),
    "p2": ("p1", "map1"),
    "p3": ("p2", "map2"),
    "bottom": ("p3", "map3"),
    "low": ("p1", "p2", "map1", "map2", "vector"),
    "high": ("planes", "p1", "low", "map0", "map1"),
}
"""Inputs of the stages, which stand in their order and are named for their outputs (p0 to p3: the four poolings)."""


def can_tile(architecture: Architecture) -> bool:
    """Whether a network can be run by stages, tile by tile.

    Args:
        architecture: That of the network.

    Returns:
        True for LW-ISP with both of its blocks, FGAM and CCB, as the paper describes them.
    """
    if not isinstance(architecture, LWISPConfig) or architecture.is_studied:
        return False
    return architecture.fgam and architecture.ccb


def names_of(architecture: Architecture | None) -> list[str]:
    """Names of the structures of an architecture; of the steps before the network for None."""
    if architecture is None:
        return [*LIGHTS, "colors", "gain", *EXPOSES, *LINEARS, *ENCODES]
    names = [f"whole-{pixels}" for pixels in PIXELS]
    if can_tile(architecture):
        names += [*STAGES][:-1] + [f"high-{pixels}" for pixels in PIXELS]
        names += [f"map{level}" for level in range(4)] + ["vector"]
    return names


def file_of(architecture: Architecture | None) -> str:
    """Name of the file with the structures of an architecture."""
    if architecture is None:
        return "light.zip"
    content = json.dumps([type(architecture).__name__, fields_of(architecture)], sort_keys=True)
    return f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.zip"
