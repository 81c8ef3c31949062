"""A network as a file holds it: its architecture and tensors, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from lwisp.baselines.config import Architecture


@dataclass(frozen=True, eq=False)
class Stored:
    """A network that is not built; back ends that run ONNX need no more."""

    config: Architecture
    tensors: Mapping[str, NDArray[Any]]
    """By the names of the network's `state_dict`."""
