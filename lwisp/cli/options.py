"""Options that several verbs have, as types of their parameters."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from lwisp.errors import InputError

Precision = Annotated[Literal["auto", "fp32", "bf16"], typer.Option(help="auto: bf16 where the processor has it.")]
Backend = Annotated[
    Literal["auto", "torch", "openvino", "onnxruntime"],
    typer.Option(help="What runs the network; auto: OpenVINO where it is installed, else torch."),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="A file name for one picture, else a folder.", readable=False)
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace pictures that lwisp wrote before; with --output FILE whatever lies there."
    ),
]
Shipped = Annotated[str, typer.Option(help="Name of shipped weights, or a safetensors file.")]
Finished = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="JPEG, PNG or TIFF files, or folders.", readable=False)
]
FinishedFormat = Annotated[
    Literal["jpg", "png", "png16", "tiff"] | None,
    typer.Option(help="JPEG, PNG of 8 or 16 bits, TIFF of 16; the file's own, or what the output's suffix says."),
]
Passes = Annotated[
    int, typer.Option(help="1, 2 or 4: the mean over mirror images, cleaner, in as many times the time.")
]
MaxPixels = Annotated[
    float, typer.Option(help="Pictures of more pixels are refused before they are decoded.", show_default="200e6")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show where an unforeseen failure came from.")]
Crop = Annotated[
    Literal["camera", "none"],
    typer.Option(help="camera: what the camera's own pictures show; none: all photosites of the visible area."),
]
KeepHotPixels = Annotated[
    bool, typer.Option("--keep-hot-pixels", help="Leave single hot and dead photosites as they are.")
]
Memory = Annotated[float | None, typer.Option(help="Bound on the memory of the whole process, in GB.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="auto: a GPU where there is one.")]
Data = Annotated[Path | None, typer.Option(help="Folder of the data, in place of the recipe's.", readable=False)]
Raws = Annotated[list[Path], typer.Argument(metavar="FILE...", help="RAW files, or folders.", readable=False)]


def split(text: str) -> list[str]:
    """The words of a list with commas between: "a,b" -> ["a", "b"]."""
    return [part for part in text.split(",") if part]


def parse_size(text: str) -> tuple[int, int]:
    """A size of "HEIGHTxWIDTH" -> (height, width).

    Raises:
        InputError: The text is no such size.
    """
    height, x, width = text.partition("x")
    if not (height.isdecimal() and x and width.isdecimal()):
        raise InputError(f"expected a size of HEIGHTxWIDTH, as 736x992, got {text!r}")
    return int(height), int(width)
