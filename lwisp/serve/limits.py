"""What a server takes and keeps at most."""

from dataclasses import dataclass

from lwisp.engines.memory import installed_memory
from lwisp.engines.names import Backend, Precision

MOST_SHARE = 0.8
"""Of the machine's memory, that all workers together may reserve where no bound is told."""
LEAST_SPACE = 8 * 10**9
"""Bytes of address space for a worker: engines reserve several times what they use."""


@dataclass(frozen=True)
class Limits:
    """Bounds of a server, and the engine that its pictures are made with."""

    jobs: int = 1
    """Pictures that are made at once, each in a process of its own."""
    upload: int = 200 * 10**6
    """Bytes of a file."""
    uploads: int = 32
    """Files that are received at once."""
    queue: int = 16
    """Pictures that wait for their turn."""
    renewal: int = 1000
    """Tasks after which a worker is started anew, so that what libraries lose of memory does not add up."""
    seconds: float = 300.0
    """Time for one picture; the process that takes longer is ended."""
    memory: float | None = None
    """Bound on the memory of each worker in GB, as `--memory` of `develop`."""
    keep_seconds: float = 1800.0
    """Time that a photo and its pictures are kept after they were last asked for."""
    keep_photos: int = 64
    """Photos that are kept; the one not asked for longest goes first."""
    disk: int = 8 * 10**9
    """Bytes of all files that are received or kept."""
    patience: float = 30.0
    """Seconds that sending a file may take beside what its bytes take at `slowest`; or an answer may lie unread."""
    slowest: int = 50_000
    """Bytes a second."""
    connections: int = 192
    """Connections at once; one without a request gives way to a new one."""
    head_seconds: float = 30.0
    """Time in which the head of a request must come."""
    grace: float = 6.0
    """Seconds after which what a closed page waited for is cancelled."""
    backend: Backend = "auto"
    precision: Precision = "auto"

    @property
    def address_space(self) -> int:
        """Bytes that a worker may map: a bound above what `memory` allows, for what is mapped and never used."""
        if self.memory is not None:
            return int(self.memory * 1e9) + LEAST_SPACE
        return max(int(MOST_SHARE * installed_memory()) // self.jobs, LEAST_SPACE)
