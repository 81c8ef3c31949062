"""`lwisp watch`."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lwisp.cli.commands import app
from lwisp.cli.options import (
    FILES,
    PICTURE,
    RUNNING,
    Backend,
    Exact,
    Exposure,
    Jobs,
    Json,
    Log,
    Memory,
    NameTemplate,
    NoiseReduction,
    PictureFormat,
    Precision,
    Profile,
    Quality,
    Quiet,
    Recursive,
    Size,
    Strip,
    Verbose,
    precision_of,
)
from lwisp.cli.progress import Telling, follow_endless
from lwisp.cli.terminal import say, show_tracebacks

if TYPE_CHECKING:
    from lwisp.batch import Outcome
    from lwisp.pipeline import Developer
    from lwisp.planning import Job


@app.command()
def watch(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to watch.", readable=False)],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DEST", help="The folder of the pictures.", readable=False, rich_help_panel=FILES
        ),
    ],
    format: PictureFormat = None,
    quality: Quality = 95,
    size: Size = None,
    profile: Profile = "srgb",
    strip: Strip = False,
    weights: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="A name, a safetensors file or hf://OWNER/NAME, or auto.", rich_help_panel=PICTURE
        ),
    ] = "auto",
    fast: Annotated[
        bool, typer.Option("--fast", help="Weights photo-fast: less than half the time.", rich_help_panel=PICTURE)
    ] = False,
    exposure: Exposure = 0.0,
    noise_reduction: NoiseReduction = 1.0,
    every: Annotated[
        float,
        typer.Option(
            metavar="S",
            min=0.1,
            help="Seconds between looks at the folder, and for which a file must have stayed the same.",
            rich_help_panel=RUNNING,
        ),
    ] = 2.0,
    recursive: Recursive = True,
    name: NameTemplate = "",
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace pictures that lwisp made of another version of a file, or with other settings.",
            rich_help_panel=FILES,
        ),
    ] = False,
    precision: Precision = "auto",
    exact: Exact = False,
    backend: Backend = "auto",
    memory: Memory = None,
    jobs: Jobs = 1,
    quiet: Quiet = False,
    as_json: Json = False,
    log: Log = None,
    verbose: Verbose = False,
) -> None:
    """Develop the RAW files of a folder, and what appears in it, until Ctrl-C; nothing is made twice (docs/use.md)."""
    show_tracebacks(verbose)
    precision = precision_of(precision, exact)
    from lwisp.batch import checked
    from lwisp.development import Settings, develop_files, pick, pick_fast
    from lwisp.files.encoding import Finish
    from lwisp.planning import Job
    from lwisp.watching import Pace, Watch
    from lwisp.weights import load

    chosen = pick_fast if fast else pick if weights == "auto" else load(weights)
    finish = Finish(quality, size, profile)
    settings = Settings(exposure, noise_reduction=noise_reduction, finish=finish, strip=strip)
    checked([Job(folder, output, format or "jpg")], finish)  # what is wrong is said now, not when a file comes
    prepared: list[Developer] = []

    def develop(planned: "Sequence[Job]", overwrite: bool) -> "Iterable[Outcome]":
        return develop_files(chosen, planned, settings, precision, backend, memory, jobs, overwrite, prepared=prepared)

    list(develop([], False))
    watched = Watch(folder, output, develop, format, recursive, name, overwrite, Pace(every, every)).run()
    if not quiet:
        say(f"watching {folder}; Ctrl-C ends it", err=True)
    follow_endless(watched, "developing", Telling(quiet, as_json, log))
