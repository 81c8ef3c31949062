"""`lwisp doctor` and `lwisp verify`: looking at files and pictures without making any."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lwisp.cli.commands import FAILED_WORK, WRONG_REQUEST, app
from lwisp.cli.options import PICTURE, RUNNING, Backend, MaxPixels, Memory, Precision, Raws, Recursive, Verbose
from lwisp.cli.sensor import is_described, read_any
from lwisp.cli.terminal import complain, say, show_tracebacks

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

AsObjects = Annotated[
    bool, typer.Option("--json", help="As JSON objects on stdout, one a line.", rich_help_panel=RUNNING)
]
VERDICTS = {"same": "the same picture", "other": "not the same", "unknown": "cannot be said"}
"""Verdicts in words."""
CODES = {"same": 0, "other": FAILED_WORK, "unknown": WRONG_REQUEST}
"""Exit codes of `verify`."""


@app.command()
def doctor(
    sources: Raws,
    weights: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="A name or a safetensors file; auto: those that develop would take.",
            rich_help_panel=PICTURE,
        ),
    ] = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: Memory = None,
    recursive: Recursive = True,
    as_json: AsObjects = False,
    verbose: Verbose = False,
) -> None:
    """Tell of RAW files what they hold, which weights serve, what it takes here, or why they are refused."""
    from lwisp.collection import altered_weights
    from lwisp.development import pick
    from lwisp.diagnosis import Examiner, tell
    from lwisp.files.raw import MOSAIC_SUFFIXES, RAW_SUFFIXES
    from lwisp.planning import plan
    from lwisp.weights import load

    show_tracebacks(verbose)
    suffixes = RAW_SUFFIXES | MOSAIC_SUFFIXES if any(map(is_described, sources)) else RAW_SUFFIXES
    files = [job.source for job in plan(sources, None, None, suffixes, recursive=recursive)]
    for sentence in altered_weights():
        complain(sentence)
    chosen = pick if weights == "auto" else load(weights)
    examiner = Examiner(chosen, read_any(), backend, precision, memory)
    refused = 0
    for number, file in enumerate(files):
        found = examiner.examine(file)
        refused += bool(found.error)
        if as_json:
            _print_json(found)
            continue
        if number:
            say("")
        for line in tell(found):
            say(line)
    if refused:
        raise typer.Exit(FAILED_WORK)


def _print_json(record: "DataclassInstance", **more: str) -> None:
    from dataclasses import asdict

    from lwisp.files.logs import json_line

    told = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(record).items()}
    say(json_line({**more, **told}))


@app.command(epilog="Exit codes: 0 the same picture; 1 not the same; 2 it cannot be said.")
def verify(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="What lwisp made.", readable=False)],
    source: Annotated[Path, typer.Argument(metavar="RAW", help="The file it was made of.", readable=False)],
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="A file of weights to look at, or hf://OWNER/NAME, beside the shipped and the learned ones.",
        ),
    ] = None,
    memory: Memory = None,
    max_pixels: MaxPixels = 200e6,
    as_json: AsObjects = False,
    verbose: Verbose = False,
) -> None:
    """Make a picture again as it tells that it was made, and say whether it is the same: edited since, or not."""
    from lwisp.verification import verify as verify_picture

    show_tracebacks(verbose)
    verdict = verify_picture(picture, source, weights or (), read_any(), memory, max_pixels)
    if as_json:
        _print_json(verdict, picture=str(picture), source=str(source))
    else:
        say(f"{picture}: {VERDICTS[verdict.status]}: {verdict.reason}")
    raise typer.Exit(CODES[verdict.status])
