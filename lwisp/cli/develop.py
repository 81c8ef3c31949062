"""`lwisp develop`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lwisp.cli.ahead import read_ahead
from lwisp.cli.commands import WRONG_REQUEST, app
from lwisp.cli.options import (
    Backend,
    Crop,
    KeepHotPixels,
    MaxPixels,
    Memory,
    Output,
    Overwrite,
    Precision,
    Raws,
    Verbose,
)
from lwisp.cli.progress import follow
from lwisp.cli.terminal import show_tracebacks, stop

if TYPE_CHECKING:
    from lwisp.files.raw import RawImage


@app.command()
def develop(
    sources: Raws,
    output: Output = None,
    format: Annotated[
        Literal["jpg", "png", "png16", "tiff"] | None,
        typer.Option(help="JPEG, PNG of 8 or 16 bits, TIFF of 16; jpg, or what the output's suffix says."),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(help="A name or a safetensors file; auto: those learned from the RAW's camera, else photo."),
    ] = "auto",
    fast: Annotated[
        bool, typer.Option("--fast", help="Weights photo-fast: a third of the time, a little less detail.")
    ] = False,
    exposure: Annotated[float, typer.Option(help="EV on top of the exposure rule, -5 to 5.")] = 0.0,
    crop: Crop = "camera",
    keep_hot_pixels: KeepHotPixels = False,
    precision: Precision = "auto",
    backend: Backend = "auto",
    memory: Memory = None,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
    cfa: Annotated[
        Literal["RGGB", "BGGR", "GRBG", "GBRG"] | None,
        typer.Option(help="The files are bare 16-bit grayscale mosaics of this pattern; needs both levels."),
    ] = None,
    black_level: Annotated[float | None, typer.Option(help="Black of bare mosaics, in DN.")] = None,
    white_level: Annotated[float | None, typer.Option(help="White of bare mosaics, in DN.")] = None,
    max_pixels: MaxPixels = 200e6,
) -> None:
    """Develop RAW files into finished pictures: NAME-lwisp beside each, or NAME where --output says."""
    from lwisp.files.raw import MOSAIC_SUFFIXES, RAW_SUFFIXES, read_mosaic, read_raw

    show_tracebacks(verbose)
    if fast and weights != "auto":
        stop(f"--fast and --weights {weights} disagree; drop one of them", WRONG_REQUEST)
    if len({value is None for value in (cfa, black_level, white_level)}) > 1:
        stop("--cfa, --black-level and --white-level go together", WRONG_REQUEST)

    def read(path: Path) -> "RawImage":
        if cfa is None or black_level is None or white_level is None:
            return read_raw(path)
        return read_mosaic(path, cfa, black_level, white_level, max_pixels=max_pixels)

    read_first = read_ahead(read, sources[0])  # while the rest is imported
    from lwisp.batch import plan
    from lwisp.pipeline import develop_files, pick
    from lwisp.weights import load

    jobs = plan(sources, output, format, RAW_SUFFIXES if cfa is None else MOSAIC_SUFFIXES)
    chosen = load("photo-fast") if fast else pick if weights == "auto" else load(weights)
    outcomes = develop_files(
        chosen, jobs, exposure, precision, overwrite, read_first, backend, memory, crop, keep_hot_pixels
    )
    follow(outcomes, jobs, "developing")
