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
from lwisp.cli.sensor import (
    BlackLevel,
    Cfa,
    ColorMatrix,
    Height,
    Packing,
    Stride,
    WhiteLevel,
    Width,
    is_bare,
    is_described,
    reader,
)
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
    cfa: Cfa = None,
    black_level: BlackLevel = None,
    white_level: WhiteLevel = None,
    color_matrix: ColorMatrix = None,
    packing: Packing = None,
    width: Width = None,
    height: Height = None,
    stride: Stride = None,
    max_pixels: MaxPixels = 200e6,
) -> None:
    """Develop RAW files into finished pictures: NAME-lwisp beside each, or NAME where --output says."""
    from lwisp.files.raw import MOSAIC_SUFFIXES, RAW_SUFFIXES, read_raw

    show_tracebacks(verbose)
    if fast and weights != "auto":
        stop(f"--fast and --weights {weights} disagree; drop one of them", WRONG_REQUEST)
    told = (cfa, black_level, white_level, color_matrix, packing, width, height, stride)
    are_bare = any(value is not None for value in told)
    read_bare = reader(*told, max_pixels=max_pixels)
    is_described_beside = any(is_described(source) for source in sources)
    if are_bare and None in told[:3] and not is_described_beside:
        stop("--cfa, --black-level and --white-level go together, or stand in a sensor.toml", WRONG_REQUEST)

    def read(path: Path) -> "RawImage":
        return read_bare(path) if are_bare or is_bare(path) else read_raw(path)

    read_first = read_ahead(read, sources[0])  # while the rest is imported
    from lwisp.batch import plan
    from lwisp.pipeline import develop_files, pick
    from lwisp.weights import load

    suffixes = MOSAIC_SUFFIXES if are_bare else RAW_SUFFIXES
    if is_described_beside:
        suffixes |= MOSAIC_SUFFIXES
    jobs = plan(sources, output, format, suffixes)
    chosen = load("photo-fast") if fast else pick if weights == "auto" else load(weights)
    outcomes = develop_files(
        chosen, jobs, exposure, precision, overwrite, read_first, backend, memory, crop, keep_hot_pixels
    )
    follow(outcomes, jobs, "developing")
