"""`lwisp sample`."""

from pathlib import Path
from typing import Annotated

import typer

from lwisp.cli.commands import FAILED_WORK, app, exit_on_error
from lwisp.cli.options import Overwrite
from lwisp.cli.stopping import clear_leftovers
from lwisp.cli.terminal import say

SAMPLE = "gopro_hero6_mural.dng"
"""A crop of 1920x1440 px of a GoPro HERO6 RAW (`NOTICE.md`)."""


@app.command()
def sample(
    output: Annotated[Path, typer.Option("--output", "-o", help="The DNG to write.", readable=False)] = Path(
        "photo.dng"
    ),
    overwrite: Overwrite = False,
) -> None:
    """Write the RAW photo that comes with lwisp, to try the other verbs with: photo.dng."""
    from lwisp.files.places import bundled_folder
    from lwisp.files.writing import write_whole

    content = (bundled_folder("samples") / SAMPLE).read_bytes()
    clear_leftovers(output.parent)
    with exit_on_error(FAILED_WORK):
        write_whole(output, lambda file: file.write(content), overwrite)
    say(f"{output}")
