"""Options that several verbs have, as types of their parameters."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from lwisp.errors import ArgumentError, InputError

FILES, PICTURE, MOSAICS, RUNNING = "Files", "Picture", "Bare mosaics", "Running"
"""Panels of the help."""

Precision = Annotated[
    Literal["auto", "fp32", "bf16"],
    typer.Option(metavar="NAME", help="fp32 or bf16; auto: bf16 where the processor has it.", rich_help_panel=RUNNING),
]
Exact = Annotated[
    bool,
    typer.Option(
        "--exact", help="Compute in fp32, so that all machines give the same to a rounding.", rich_help_panel=RUNNING
    ),
]
Exposure = Annotated[
    float, typer.Option(metavar="EV", help="EV on top of the exposure rule, -5 to 5.", rich_help_panel=PICTURE)
]
Backend = Annotated[
    Literal["auto", "torch", "openvino", "onnxruntime"],
    typer.Option(
        metavar="NAME",
        help="What runs the network: openvino, onnxruntime or torch; auto: the first that is installed.",
        rich_help_panel=RUNNING,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="A file name for one picture, else a folder.",
        readable=False,
        metavar="PATH",
        rich_help_panel=FILES,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace pictures that lwisp wrote before; with --output FILE whatever lies there.",
        rich_help_panel=FILES,
    ),
]
Shipped = Annotated[
    str,
    typer.Option(
        help="Name of shipped weights, a safetensors file, or hf://OWNER/NAME.", metavar="NAME", rich_help_panel=PICTURE
    ),
]
Finished = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="JPEG, PNG, TIFF or HEIF files, or folders.", readable=False)
]
Formats = Literal["jpg", "png", "png16", "tiff", "avif", "heif", "jxl"]
FinishedFormat = Annotated[
    Formats | None,
    typer.Option(
        metavar="FORMAT",
        help="jpg, png, tiff (16 bits), png16 (PNG of 16 bits), avif, heif, jxl; the file's own, or what the output's "
        "suffix says.",
        rich_help_panel=PICTURE,
    ),
]
PictureFormat = Annotated[
    Formats | None,
    typer.Option(
        metavar="FORMAT",
        help="jpg, png, tiff (16 bits), png16 (PNG of 16 bits), avif, heif, jxl; jpg, or as the output's suffix says.",
        rich_help_panel=PICTURE,
    ),
]
Quality = Annotated[
    int, typer.Option(help="Of JPEG, AVIF, HEIF and JPEG XL.", min=1, max=100, metavar="N", rich_help_panel=PICTURE)
]
Size = Annotated[
    int | None,
    typer.Option(
        metavar="PX", help="Long side of the pictures; smaller ones stay as they are.", min=1, rich_help_panel=PICTURE
    ),
]
Profile = Annotated[
    Literal["srgb", "p3", "rec2020"],
    typer.Option(
        metavar="NAME", help="Color space: srgb; p3 or rec2020 in formats of 16 bits.", rich_help_panel=PICTURE
    ),
]
Passes = Annotated[
    int,
    typer.Option(
        help="1, 2 or 4: the mean over mirror images, cleaner, in as many times the time.",
        metavar="N",
        rich_help_panel=PICTURE,
    ),
]
MaxPixels = Annotated[
    float,
    typer.Option(
        help="Pictures of more pixels are refused before they are decoded.",
        show_default="200e6",
        metavar="N",
        rich_help_panel=RUNNING,
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show where an unforeseen failure came from.", rich_help_panel=RUNNING)
]
Memory = Annotated[
    float | None,
    typer.Option(help="Bound on the memory of the whole process, in GB.", metavar="GB", rich_help_panel=RUNNING),
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        help="Pictures made at once, each by its share of the threads.",
        min=1,
        metavar="N",
        rich_help_panel=RUNNING,
    ),
]
Recursive = Annotated[
    bool,
    typer.Option("--recursive/--no-recursive", help="Search the folders below a folder, too.", rich_help_panel=FILES),
]
NameTemplate = Annotated[
    str,
    typer.Option(
        "--name",
        help="Names of the pictures, as '{date}/{stem}': stem, suffix, folder, number, date, time, year, month, day, "
        "camera, iso.",
        show_default=False,
        metavar="TEMPLATE",
        rich_help_panel=FILES,
    ),
]
Strip = Annotated[
    bool,
    typer.Option(
        "--strip",
        help="Leave out what names people and places: texts, serial numbers, GPS.",
        rich_help_panel=FILES,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Tell what would be made of which file, and make nothing.", rich_help_panel=FILES),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Tell of nothing but what goes wrong.", rich_help_panel=RUNNING)
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Tell of each file by a JSON object on stdout, one a line.", rich_help_panel=RUNNING),
]
Log = Annotated[
    Path | None,
    typer.Option(
        "--log",
        help="Append the same JSON objects to this file.",
        show_default=False,
        metavar="FILE",
        rich_help_panel=RUNNING,
    ),
]
Crop = Annotated[
    Literal["camera", "none"],
    typer.Option(
        metavar="NAME",
        help="camera: what the camera's own pictures show; none: all photosites of the visible area.",
        rich_help_panel=PICTURE,
    ),
]
KeepHotPixels = Annotated[
    bool,
    typer.Option(
        "--keep-hot-pixels", help="Leave single hot and dead photosites as they are.", rich_help_panel=PICTURE
    ),
]
NoiseReduction = Annotated[
    float,
    typer.Option(metavar="0..2", help="How much noise is taken away; 1 as much as there is.", rich_help_panel=PICTURE),
]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="auto: a GPU where there is one.")]
Data = Annotated[Path | None, typer.Option(help="Folder of the data, in place of the recipe's.", readable=False)]
Raws = Annotated[list[Path], typer.Argument(metavar="FILE...", help="RAW files, or folders.", readable=False)]


def precision_of(precision: Literal["auto", "fp32", "bf16"], is_exact: bool) -> Literal["auto", "fp32", "bf16"]:
    """The precision that --precision and --exact ask for together.

    Args:
        precision: What --precision says.
        is_exact: Whether --exact is given, which is --precision fp32.

    Raises:
        ArgumentError: They disagree.
    """
    if is_exact and precision == "bf16":
        raise ArgumentError("--exact computes in fp32, --precision bf16 does not; drop one of them")
    return "fp32" if is_exact else precision


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
