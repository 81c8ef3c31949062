"""`lwisp verify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lwisp.cli.commands import FAILED_WORK, WRONG_REQUEST, app
from lwisp.cli.options import RUNNING, MaxPixels, Memory, Verbose
from lwisp.cli.sensor import is_bare, reader
from lwisp.cli.terminal import say, show_tracebacks

if TYPE_CHECKING:
    from lwisp.files.raw import RawImage

AsObjects = Annotated[
    bool, typer.Option("--json", help="As JSON objects on stdout, one a line.", rich_help_panel=RUNNING)
]
VERDICTS = {"same": "the same picture", "other": "not the same", "unknown": "cannot be said"}
"""Verdicts in words."""
CODES = {"same": 0, "other": FAILED_WORK, "unknown": WRONG_REQUEST}
"""Exit codes of `verify`."""


def _read(path: Path) -> "RawImage":
    """A RAW, or a bare mosaic that a TOML beside it describes."""
    from lwisp.files.raw import read_raw

    return reader()(path) if is_bare(path) else read_raw(path)


@app.command(epilog="Exit codes: 0 the same picture; 1 not the same; 2 it cannot be said.")
def verify(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="What lwisp made.", readable=False)],
    source: Annotated[Path, typer.Argument(metavar="RAW", help="The file it was made of.", readable=False)],
    weights: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A file of weights to look at, beside the shipped and the learned ones."),
    ] = None,
    memory: Memory = None,
    max_pixels: MaxPixels = 200e6,
    as_json: AsObjects = False,
    verbose: Verbose = False,
) -> None:
    """Make a picture again as it tells that it was made, and say whether it is the same: edited since, or not."""
    from lwisp.verification import verify as verify_picture

    show_tracebacks(verbose)
    verdict = verify_picture(picture, source, weights or (), _read, memory, max_pixels)
    if as_json:
        from dataclasses import asdict

        from lwisp.files.logs import json_line

        say(json_line({"picture": str(picture), "source": str(source), **asdict(verdict)}))
    else:
        say(f"{picture}: {VERDICTS[verdict.status]}: {verdict.reason}")
    raise typer.Exit(CODES[verdict.status])
