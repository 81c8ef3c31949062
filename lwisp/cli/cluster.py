"""`--cluster`: developing on several machines."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lwisp.cli.commands import FAILED_WORK, WRONG_REQUEST, exit_on_error
from lwisp.cli.options import RUNNING
from lwisp.cli.terminal import say_above, stop

if TYPE_CHECKING:
    from lwisp.batch import Outcome
    from lwisp.cluster.worker import Request
    from lwisp.development import Photo
    from lwisp.planning import Job
    from lwisp.weights import Weights

Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS|local",
        help="Develop on a Dask cluster, or by --jobs workers on this machine; files may be manifests and URLs.",
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]


def check_cluster(cluster: str | None, places: Sequence[Path], jobs: int, are_bare: bool, sandbox: bool) -> None:
    """End the program where options do not go with a cluster, or URLs without one.

    Args:
        cluster: The option.
        places: Sources and output.
        jobs: The option.
        are_bare: Whether mosaics of one's own sensor are among the files.
        sandbox: The option.
    """
    from lwisp.cluster.urls import Url, place

    urls = [found for path in places if isinstance(found := place(path), Url)]
    if cluster is None and urls:
        stop(f"{urls[0]} lies in a store, which --cluster reads, on this machine by --cluster local", WRONG_REQUEST)
    if cluster is not None and are_bare:
        stop("--cluster develops RAW files of cameras; wrap mosaics of your own sensor by lwisp dng", WRONG_REQUEST)
    if cluster is not None and sandbox:
        stop("--sandbox and --cluster disagree; a cluster's workers read files without one", WRONG_REQUEST)
    if cluster not in (None, "local") and jobs != 1:
        stop("--jobs and an address disagree; dask worker --nworkers says how many work on a machine", WRONG_REQUEST)


def request_of(weights: "Weights | Callable[[Photo], Weights]", named: str) -> "Request":
    """What is asked of all workers, with the defaults.

    Args:
        weights: Weights, `pick` or `pick_fast`.
        named: Value of `--weights`, which may be a file.
    """
    from lwisp.cluster import worker

    file = Path(named)
    return worker.request_of(weights, file.absolute() if file.is_file() else None)


def develop_there(cluster: str, request: "Request", planned: "list[Job]", jobs: int) -> "Iterator[Outcome]":
    """Develop files on a cluster, and tell on stderr what happens to it.

    Args:
        cluster: The option.
        request: What is asked of all workers.
        planned: The files.
        jobs: The option.

    Returns:
        What becomes of each file, as it is done; ends the program where the cluster is lost.
    """
    from rich.console import Console

    from lwisp.cluster.running import develop_on

    console = Console(stderr=True)
    outcomes = develop_on(cluster, request, planned, jobs, lambda message: say_above(console, f"lwisp: {message}"))
    return _to_the_end(outcomes)


def _to_the_end(outcomes: "Iterator[Outcome]") -> "Iterator[Outcome]":
    with exit_on_error(FAILED_WORK):
        yield from outcomes
