"""`lwisp export`."""

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from lwisp.cli.commands import FAILED_WORK, app, exit_on_error
from lwisp.cli.options import parse_size
from lwisp.cli.stopping import clear_leftovers
from lwisp.cli.terminal import say


@app.command()
def export(
    weights: Annotated[str, typer.Argument(help="Name of shipped weights, or a safetensors file.")],
    format: Annotated[Literal["onnx", "openvino", "litert", "executorch"], typer.Option(help="docs/export.md.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file ending in .onnx, .xml, .tflite or .pte.", readable=False)
    ],
    precision: Annotated[
        Literal["fp32", "fp16"], typer.Option(help="What ONNX computes in, and OpenVINO's IR stores.")
    ] = "fp32",
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="One size of the planes, half the picture's; else any.")
    ] = None,
    pixels: Annotated[
        Literal["uint8", "uint16", "float32"] | None,
        typer.Option(help="Type of the picture's values, where the file takes a RAW's mosaic; uint8 if not given."),
    ] = None,
    planes: Annotated[bool, typer.Option("--planes", help="Take planes (docs/export.md), not a RAW's mosaic.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Write weights as a file for another engine, kept only where it gives what torch gives."""
    from lwisp.conversion import check
    from lwisp.conversion import export as convert
    from lwisp.weights import load

    sides = None if size is None else parse_size(size)
    loaded = load(weights)
    check(loaded, output, format, precision, sides, overwrite, pixels, planes)
    clear_leftovers(output.parent)
    with exit_on_error(FAILED_WORK), quiet():
        report = convert(loaded, output, format, precision, sides, overwrite, pixels, planes)
    for path in report.files:
        say(f"{path}  {path.stat().st_size:,} bytes")
    say(f"{report.contract}; largest differences from torch, {report.tolerance:.1g} allowed:")
    for picture, difference in report.errors.items():
        say(f"  {difference:.1e}  {picture}")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide what converters log and print, which is none of a user's business, in a `with` block."""
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
