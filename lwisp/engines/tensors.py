"""Engines for those who have tensors."""

import torch
from torch import Tensor

from lwisp.engines.engine import prepare_engine
from lwisp.engines.names import Backend, Precision
from lwisp.engines.runners import Network


def run_network(
    network: Network,
    planes: Tensor,
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: float | None = None,
    passes: int = 1,
) -> Tensor:
    """Run a network on one picture: `prepare_engine` and the engine's call in one, for tensors.

    Args:
        network: As for `prepare_engine`, like the arguments after `planes`.
        planes: (C, h, w), finite.
        precision: Likewise.
        backend: Likewise.
        memory: Likewise, in GB.
        passes: Likewise.

    Returns:
        The picture (C, H, W), float32 in [0, 1].

    Raises:
        InputError: As `prepare_engine` and `Engine`.
    """
    engine = prepare_engine(network, backend, precision, memory, passes)
    return torch.from_numpy(engine(planes.float().numpy())).permute(2, 0, 1)
