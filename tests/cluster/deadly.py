"""Loaded into the workers of a test: a file of this name ends its worker, as one that breaks a decoder would."""

import os
from collections.abc import Callable
from typing import Any

from lwisp.cluster import worker


def with_deadly_file(develop_in: Callable[..., Any]) -> Callable[..., Any]:
    def develop(folder: Any, ready: Any, request: Any, job: Any) -> Any:
        if job.source.name == "deadly.dng":
            os._exit(1)
        return develop_in(folder, ready, request, job)

    return develop


worker._develop_in = with_deadly_file(worker._develop_in)
