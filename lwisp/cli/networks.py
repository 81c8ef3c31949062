"""Networks that are not of lwisp, on the command line."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from lwisp.baselines.config import OwnConfig

Network = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:CLASS",
        help="A network of your own, a torch.nn.Module of a module that Python finds here (docs/researchers.md).",
        show_default=False,
    ),
]


def import_network(name: str) -> OwnConfig:
    """Import a network by `module:Class`; the current folder is searched first, as `python -m` does.

    Raises:
        InputError: It cannot be used.
    """
    from lwisp.baselines.own import import_own

    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return import_own(name)
    finally:
        sys.path.remove(here)
