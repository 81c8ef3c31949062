"""`lwisp train`."""

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from lwisp.cli.commands import FAILED_WORK, WRONG_REQUEST, app, exit_on_error
from lwisp.cli.networks import Network, import_network
from lwisp.cli.options import Data, Device, Quiet, Verbose
from lwisp.cli.stopping import clear_leftovers, resumable
from lwisp.cli.terminal import complain, say, show_tracebacks, stop


@app.command()
def train(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RECIPE|FOLDER",
            help="A recipe in TOML, or the name of one of lwisp's, such as photo; or a folder of RAW files with their "
            "camera's JPEGs, whose look is learned (docs/camera.md).",
            readable=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The safetensors file to write; for a folder by default where develop finds it.",
            readable=False,
        ),
    ] = None,
    data: Data = None,
    device: Device = "auto",
    report: Annotated[
        Path | None, typer.Option(help="Folder for a camera's report; beside the weights if not given.", readable=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a camera's weights that exist.")] = False,
    network: Network = None,
    logger: Annotated[
        Literal["tensorboard", "csv", "mlflow", "wandb"],
        typer.Option(help="Where curves of a recipe's run are shown, in its folder; none connects to anything."),
    ] = "tensorboard",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train weights by a recipe, or learn a camera's look; the same command goes on where it was stopped."""
    show_tracebacks(verbose)
    if source.is_dir():
        if data is not None or device != "auto" or network is not None or logger != "tensorboard":
            stop(
                "--data, --device, --network and --logger belong to recipes; leave them out for a folder", WRONG_REQUEST
            )
        _learn_look(source, output, report, overwrite, quiet)
        return
    if output is None or report is not None or overwrite:
        stop("a recipe takes --output, and neither --report nor --overwrite", WRONG_REQUEST)
    _train_by_recipe(source, output, data, device, network, logger, quiet)


def _train_by_recipe(
    recipe: Path,
    output: Path,
    data: Path | None,
    device: Literal["auto", "cpu", "cuda"],
    network: str | None,
    logger: Literal["tensorboard", "csv", "mlflow", "wandb"],
    quiet: bool,
) -> None:
    from lwisp.files.optional import import_dynamo
    from lwisp.training.progress import Reporter
    from lwisp.training.recipe import read_stages
    from lwisp.training.runs import train_stages

    stages = read_stages(recipe)
    if network is not None:
        stages = tuple(stage.with_network(import_network(network)) for stage in stages)
    clear_leftovers(output.parent)
    import_dynamo()
    with exit_on_error(FAILED_WORK), resumable(), Reporter(quiet=quiet) as reporter:
        began = time.monotonic()
        train_stages(stages, output, data, device, reporter, logger)
        minutes, seconds = divmod(round(time.monotonic() - began), 60)
    if not quiet:
        say(f"trained in {minutes} min {seconds} s" if minutes else f"trained in {seconds} s", err=True)
    say(f"{output}")


def _learn_look(folder: Path, output: Path | None, report: Path | None, overwrite: bool, quiet: bool) -> None:
    from lwisp.camera.learning import learn
    from lwisp.collection import OWN
    from lwisp.files.optional import import_dynamo
    from lwisp.training.progress import Reporter
    from lwisp.weights import user_folder

    clear_leftovers(output.parent if output else user_folder(), report)
    import_dynamo()
    with exit_on_error(FAILED_WORK), resumable(), Reporter(quiet=quiet) as reporter:
        results, refusals = learn(folder, output, report, overwrite=overwrite, reporter=reporter)
    for refusal in refusals:
        complain(f"left out: {refusal.reason}")
    for result in results:
        if result.weights is None or result.report is None:
            complain(result.reason)
            continue
        distance = f"{result.report.mean(OWN):.2f} dE2000 from the camera's JPEG"
        photos = f"{len(result.report.photos)} held-out photos"
        say(f"{result.weights}: {distance} on {photos}; {result.page}")
    if all(result.weights is None for result in results):
        stop(f"{folder}: no look was learned", FAILED_WORK)
