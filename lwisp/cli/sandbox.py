"""`--sandbox`: readers of files that run in processes which can open nothing else."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from lwisp.cli.options import RUNNING
from lwisp.errors import InputError

Within = Callable[[Callable[..., Any]], Callable[..., Any]]
"""What turns a reader into the one that is called."""

T = TypeVar("T")

Sandboxed = Annotated[
    bool,
    typer.Option(
        "--sandbox",
        help="Read each file in a process of its own, which can open no other file and no connection (Linux).",
        rich_help_panel=RUNNING,
    ),
]


def or_else(read: Callable[[Path], T], other: Callable[[Path], T]) -> Callable[[Path], T]:
    """A reader that never fails: what goes wrong with a file is said when it is worked on.

    Args:
        read: The reader, which in a sandbox may fail for any file.
        other: Called where it does.
    """

    def read_or_else(path: Path) -> T:
        try:
            return read(path)
        except InputError:
            return other(path)

    return read_or_else


def within_sandbox(is_asked: bool) -> Within:
    """What turns a reader into one that runs in the sandbox, or leaves it as it is.

    Args:
        is_asked: Whether there is to be a sandbox.

    Raises:
        InputError: This system has none.
    """
    if not is_asked:
        return lambda read: read
    from lwisp.sandbox.reader import Sandbox

    sandbox = Sandbox()
    return lambda read: functools.partial(sandbox.call, read)
