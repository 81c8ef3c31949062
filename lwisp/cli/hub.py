"""`lwisp hub`: weights as repositories for Hugging Face's hub."""

from pathlib import Path
from typing import Annotated

import typer

from lwisp.cli.commands import FAILED_WORK, app, exit_on_error
from lwisp.cli.stopping import clear_leftovers
from lwisp.cli.terminal import say

hub_app = typer.Typer(no_args_is_help=True, help="Weights as repositories for Hugging Face's hub, in folders.")
app.add_typer(hub_app, name="hub")


@hub_app.callback()
def _hub() -> None:
    """Without this, typer would take the only command for the group itself."""


@hub_app.command()
def pack(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder to write the repositories' folders to.", readable=False)
    ],
    weights: Annotated[
        list[str] | None,
        typer.Argument(metavar="WEIGHTS...", help="Names of weights, or safetensors files; the shipped ones if none."),
    ] = None,
    owner: Annotated[
        str, typer.Option(metavar="NAME", help="Who will own them on the hub, for the commands on their pages.")
    ] = "OWNER",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace folders that this command wrote.")] = False,
) -> None:
    """Write weights as repositories: model card, safetensors, ONNX, config. Nothing is uploaded (docs/hub.md)."""
    from lwisp.cli.export import quiet
    from lwisp.repositories import pack as pack_weights
    from lwisp.weights import names

    clear_leftovers(output)
    packing = pack_weights(weights or names(), output, owner, overwrite)
    while True:
        with exit_on_error(FAILED_WORK), quiet():
            packed = next(packing, None)
        if packed is None:
            return
        size = sum(path.stat().st_size for path in packed.folder.iterdir())
        say(f"{packed.folder}  {size / 1e6:.1f} MB, for {packed.address}")
        if packed.is_changed:
            say("  the card had paths of this machine; here it has the files' names alone", err=True)
        if packed.is_page_kept:
            say("  its README.md was changed by somebody, and stays; without it a new one is written", err=True)
