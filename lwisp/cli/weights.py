"""`lwisp weights`: list, show, remove; bare tensors out and in."""

from pathlib import Path
from typing import Annotated

import typer

from lwisp.cli.commands import app
from lwisp.cli.networks import Network, import_network
from lwisp.cli.stopping import clear_leftovers
from lwisp.cli.terminal import complain, say, show
from lwisp.errors import printable

weights_app = typer.Typer(no_args_is_help=True, help="Look at weights, delete learned ones.")
app.add_typer(weights_app, name="weights")


@weights_app.command("list")
def list_weights(
    as_json: Annotated[
        bool, typer.Option("--json", help="As JSON: a list of objects, with null for what is not known.")
    ] = False,
) -> None:
    """The shipped weights and those that were learned here: task, camera, style, photos, error, date."""
    from lwisp.collection import altered_weights, list_weights

    for sentence in altered_weights():
        complain(sentence)
    entries = list_weights()
    if as_json:
        import json
        from dataclasses import asdict

        typer.echo(json.dumps([asdict(entry) for entry in entries], indent=2))
        return
    head = ("name", "task", "camera", "style", "photos", "error dE2000", "date")
    rows = [
        (
            entry.name,
            entry.task,
            entry.camera,
            entry.style,
            str(entry.photos or ""),
            "" if entry.error is None else f"{entry.error:.2f}",
            entry.date or "shipped",
        )
        for entry in entries
        if not entry.damage
    ]
    for line in _columns([head, *rows]):
        say(line)
    for entry in entries:
        if entry.damage:
            say(f"{entry.name}  (damaged: {entry.damage})")


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows of cells as lines, each column as wide as its widest cell on a terminal."""
    from rich.cells import cell_len

    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*shown, strict=True)]
    return [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    ]


@weights_app.command("remove")
def remove_weights(name: Annotated[str, typer.Argument(help="Name of weights that were learned here.")]) -> None:
    """Delete learned weights with all that belongs to them: their report, run folder, and what is cached for them."""
    from lwisp.collection import remove
    from lwisp.files.optional import cache_folder

    removed = remove(name)
    for path in removed.files:
        say(f"{path} is deleted")
    if removed.cached:
        say(f"{len(removed.cached)} files for them in {cache_folder()} are deleted")
    for path in removed.kept:
        say(f"{path} is kept: it holds other files")


@weights_app.command("show")
def show_weights(weights: Annotated[str, typer.Argument(help="Name of weights, or a safetensors file.")]) -> None:
    """The card of weights as a page of Markdown."""
    from lwisp.weights import describe

    show(describe(weights).removesuffix("\n"))


@weights_app.command("bare")
def write_bare(
    weights: Annotated[str, typer.Argument(help="Name of weights, or a safetensors file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write, .safetensors or .pth.", readable=False)
    ],
    network: Network = None,
) -> None:
    """Write the tensors of weights without their card: a state dict, for programs that know the network."""
    from lwisp.files.writing import check_output
    from lwisp.interchange import bare_tensors, write_state_dict
    from lwisp.weights import load

    clear_leftovers(output.parent)
    check_output(output, overwrite=False)
    if network is not None:
        import_network(network)
    write_state_dict(output, bare_tensors(load(weights).network))
    say(f"{output}")


@weights_app.command("wrap")
def wrap(
    tensors: Annotated[Path, typer.Argument(help="A state dict, .safetensors or .pth.", readable=False)],
    recipe: Annotated[
        Path, typer.Option(help="Recipe that says architecture, convention, name and licence.", readable=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The weights to write.", readable=False)],
    network: Network = None,
) -> None:
    """Give a state dict that was trained elsewhere a card, so that all verbs take it."""
    from lwisp.files.writing import check_output
    from lwisp.interchange import build_from, read_state_dict, save_weights
    from lwisp.training.recipe import read_stages
    from lwisp.weights import Card

    clear_leftovers(output.parent)
    check_output(output, overwrite=False)
    plan = read_stages(recipe)[-1]
    if network is not None:
        plan = plan.with_network(import_network(network))
    card = Card(plan.name, plan.architecture, plan.convention, plan.licence, training={"from": tensors.name})
    save_weights(output, build_from(read_state_dict(tensors), card), card)
    say(f"{output}")
