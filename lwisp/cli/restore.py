"""`lwisp denoise`, `lwisp enhance` and `lwisp denoise-raw`."""

from collections.abc import Callable
from typing import Annotated, Literal

import typer

from lwisp.cli.commands import app
from lwisp.cli.options import (
    Backend,
    Crop,
    Finished,
    FinishedFormat,
    KeepHotPixels,
    MaxPixels,
    Memory,
    Output,
    Overwrite,
    Passes,
    Precision,
    Raws,
    Shipped,
    Verbose,
)
from lwisp.cli.progress import follow
from lwisp.cli.terminal import show_tracebacks


def _restoration(name: str, word: str, mark: str, summary: str) -> Callable[..., None]:
    """A verb for finished pictures, registered: it differs from others in its default weights, named as itself."""

    def restore(
        sources: Finished,
        output: Output = None,
        format: FinishedFormat = None,
        weights: Shipped = name,
        precision: Precision = "auto",
        backend: Backend = "auto",
        memory: Memory = None,
        passes: Passes = 4,
        max_pixels: MaxPixels = 200e6,
        overwrite: Overwrite = False,
        verbose: Verbose = False,
    ) -> None:
        from lwisp.batch import plan
        from lwisp.files.encoding import SUFFIX_FORMATS
        from lwisp.files.pictures import own_format
        from lwisp.restoration import restore_files
        from lwisp.weights import load

        show_tracebacks(verbose)
        jobs = plan(sources, output, format, frozenset(SUFFIX_FORMATS), own_format, mark)
        outcomes = restore_files(load(weights), jobs, precision, overwrite, backend, memory, passes, max_pixels)
        follow(outcomes, jobs, word)

    return app.command(name, help=summary)(restore)


denoise = _restoration(
    "denoise",
    "denoising",
    "-denoised",
    "Take the noise out of finished pictures: NAME-denoised beside each, or where --output says.",
)
enhance = _restoration(
    "enhance",
    "enhancing",
    "-enhanced",
    "Brighten pictures taken in low light: NAME-enhanced beside each, or where --output says.",
)


@app.command()
def denoise_raw(
    sources: Raws,
    output: Output = None,
    format: Annotated[
        Literal["dng", "jpg", "png", "png16", "tiff"] | None,
        typer.Option(help="dng: a RAW again, for any tool; else a picture; dng, or what the output's suffix says."),
    ] = None,
    weights: Shipped = "denoise-raw",
    develop_weights: Annotated[str, typer.Option(help="Weights that develop pictures.")] = "photo",
    crop: Crop = "camera",
    keep_hot_pixels: KeepHotPixels = False,
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: Memory = None,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Take the noise out of RAW files: NAME-denoised.dng beside each, or a finished picture."""
    from lwisp.batch import plan
    from lwisp.restoration import denoise_raw_files
    from lwisp.weights import load

    show_tracebacks(verbose)
    jobs = plan(sources, output, format, default=lambda file: "dng", mark="-denoised")
    chosen, developing = load(weights), load(develop_weights)
    outcomes = denoise_raw_files(chosen, jobs, developing, precision, overwrite, backend, memory, crop, keep_hot_pixels)
    follow(outcomes, jobs, "denoising")
