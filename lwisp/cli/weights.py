"""`lwisp weights`: list, show, remove."""

from typing import Annotated

import typer

from lwisp.cli.commands import app
from lwisp.cli.terminal import say, show
from lwisp.errors import InputError

weights_app = typer.Typer(no_args_is_help=True, help="Look at weights, delete learned ones.")
app.add_typer(weights_app, name="weights")


@weights_app.command("list")
def list_weights() -> None:
    """Names of the shipped weights and of those that were learned here, with their camera."""
    from lwisp.weights import learned_names, names, read_card, user_folder

    for name in names():
        say(name)
    for name in learned_names():
        try:
            camera = read_card(user_folder() / f"{name}.safetensors").camera
        except InputError as error:  # which is no reason not to list the others
            say(f"{name}  (damaged: {error})")
            continue
        whose = [camera.name, camera.style] if camera else []
        say(f"{name}  {', '.join(filter(None, whose))}".rstrip())


@weights_app.command("remove")
def remove_weights(name: Annotated[str, typer.Argument(help="Name of weights that were learned here.")]) -> None:
    """Delete learned weights from the user's folder."""
    from lwisp.weights import remove

    say(f"{remove(name)} is deleted")


@weights_app.command("show")
def show_weights(weights: Annotated[str, typer.Argument(help="Name of weights, or a safetensors file.")]) -> None:
    """The card of weights as a page of Markdown."""
    from lwisp.weights import describe

    show(describe(weights).removesuffix("\n"))
