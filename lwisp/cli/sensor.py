"""Options that describe a sensor whose bare mosaics are read, and `lwisp dng`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lwisp.cli.commands import app
from lwisp.cli.options import MOSAICS, Json, Log, MaxPixels, Output, Overwrite, Quiet, Recursive, Verbose
from lwisp.cli.progress import Telling, carry_out
from lwisp.cli.sandbox import Within
from lwisp.cli.terminal import show_tracebacks
from lwisp.errors import InputError

if TYPE_CHECKING:
    from lwisp.batch import Finished, Outcome
    from lwisp.files.linear import AnyRaw
    from lwisp.files.raw import RawImage
    from lwisp.files.sensor import Sensor
    from lwisp.planning import Job

Cfa = Annotated[
    Literal["RGGB", "BGGR", "GRBG", "GBRG"] | None,
    typer.Option(
        metavar="RGGB",
        rich_help_panel=MOSAICS,
        help="Pattern of bare mosaics (or BGGR, GRBG, GBRG): PNG, TIFF, .npy, or --packing.",
    ),
]
BlackLevel = Annotated[
    str | None,
    typer.Option(
        metavar="DN",
        rich_help_panel=MOSAICS,
        help="Black of bare mosaics in DN: one number, or four of the top-left 2x2, row by row.",
    ),
]
WhiteLevel = Annotated[
    float | None, typer.Option(metavar="DN", rich_help_panel=MOSAICS, help="White of bare mosaics, in DN.")
]
ColorMatrix = Annotated[
    str | None,
    typer.Option(
        metavar="MATRIX",
        rich_help_panel=MOSAICS,
        help="Camera RGB to XYZ (D65) of bare mosaics: nine numbers with commas, row by row.",
    ),
]
Packing = Annotated[
    Literal["raw10", "raw12", "raw16le", "raw16be"] | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=MOSAICS,
        help="raw10, raw12 (MIPI), raw16le, raw16be: packed so, without a header; needs --width and --height.",
    ),
]
Width = Annotated[
    int | None, typer.Option(metavar="N", rich_help_panel=MOSAICS, help="Photosites of a row of packed mosaics.")
]
Height = Annotated[int | None, typer.Option(metavar="N", rich_help_panel=MOSAICS, help="Their rows.")]
Stride = Annotated[
    int | None,
    typer.Option(
        metavar="N", rich_help_panel=MOSAICS, help="Their bytes from row to row; without padding if not given."
    ),
]


def sensor_of(
    cfa: str | None = None,
    black_level: str | None = None,
    white_level: float | None = None,
    color_matrix: str | None = None,
    packing: str | None = None,
    width: int | None = None,
    height: int | None = None,
    stride: int | None = None,
) -> "Sensor":
    """The sensor that options tell of.

    Raises:
        InputError: An option cannot be used.
    """
    from lwisp.files.sensor import KEYS, Sensor

    told = {
        "cfa": cfa,
        "black_level": _numbers("--black-level", black_level),
        "white_level": white_level,
        "color_matrix": _numbers("--color-matrix", color_matrix),
        "packing": packing,
        "width": width,
        "height": height,
        "stride": stride,
    }
    facts = {}
    for key, value in told.items():
        if value is not None:
            try:
                facts[key] = KEYS[key][1](value)
            except ValueError as error:
                raise InputError(f"--{key.replace('_', '-')}: {error}") from error
    return Sensor(**facts)


def read_any(
    sensor: "Sensor | None" = None,
    max_pixels: float = 200e6,
    are_bare: bool = False,
    within: Within = lambda read: read,
) -> "Callable[[Path], AnyRaw]":
    """What reads a camera's RAW of any kind, or a bare mosaic that a TOML beside it describes.

    Args:
        sensor: What is told of bare mosaics beside their TOML.
        max_pixels: A bare mosaic of more is refused.
        are_bare: Take all files for bare mosaics.
        within: What turns readers into those that are called, as `sandbox.within_sandbox`.
    """
    from lwisp.files import linear
    from lwisp.files.raw import read_mosaic
    from lwisp.files.sensor import Sensor

    told = sensor or Sensor()

    def read(path: Path) -> "AnyRaw":
        if are_bare or is_bare(path):
            bare: RawImage = within(read_mosaic)(path, max_pixels=max_pixels, sensor=told)
            return bare
        raw: AnyRaw = within(linear.read_any)(path)
        return raw

    return read


def _numbers(option: str, text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"{option}: expected numbers with commas between, got {text!r}") from error


def is_described(path: Path) -> bool:
    """Whether a TOML describes the sensor of a file, or of the files in a folder."""
    from lwisp.files.sensor import SENSOR_FILE, sensor_files

    try:
        return bool(sensor_files(path) or sensor_files(path / SENSOR_FILE))
    except InputError:  # as of too long a name, which is said where its turn comes
        return False


def is_bare(path: Path) -> bool:
    """Whether a file is one of a sensor that a TOML beside it describes, and no camera's RAW."""
    from lwisp.files.raw import MOSAIC_SUFFIXES

    return path.suffix.lower() in MOSAIC_SUFFIXES and is_described(path)


@app.command()
def dng(
    sources: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Bare mosaics, or folders.", readable=False)],
    output: Output = None,
    overwrite: Overwrite = False,
    recursive: Recursive = True,
    verbose: Verbose = False,
    cfa: Cfa = None,
    black_level: BlackLevel = None,
    white_level: WhiteLevel = None,
    white_balance: Annotated[
        str,
        typer.Option(
            metavar="BALANCE",
            help="As for develop; kelvin needs a color matrix. as-shot: the sensor.toml's, else gray on average.",
        ),
    ] = "as-shot",
    color_matrix: ColorMatrix = None,
    packing: Packing = None,
    width: Width = None,
    height: Height = None,
    stride: Stride = None,
    max_pixels: MaxPixels = 200e6,
    quiet: Quiet = False,
    as_json: Json = False,
    log: Log = None,
) -> None:
    """Wrap bare mosaics of one's own sensor as DNGs that any tool opens: NAME.dng beside each."""
    from lwisp.files.raw import MOSAIC_SUFFIXES
    from lwisp.planning import plan

    show_tracebacks(verbose)
    sensor = sensor_of(cfa, black_level, white_level, color_matrix, packing, width, height, stride)
    jobs = plan(sources, output, None, MOSAIC_SUFFIXES, lambda file: "dng", mark="", recursive=recursive)

    def begin() -> "Iterator[Outcome]":
        return _wrap(jobs, sensor, white_balance, max_pixels, overwrite)

    carry_out(begin, jobs, "wrapping", Telling(quiet, as_json, log), dry_run=False)


def _wrap(
    jobs: "list[Job]", sensor: "Sensor", white_balance: str, max_pixels: float, overwrite: bool
) -> "Iterator[Outcome]":
    """Wrap mosaics; a DNG that was made of the same file by the same facts is left as it is, unless `overwrite`."""
    from lwisp.batch import Made, was_made, work
    from lwisp.files.dng import write_dng
    from lwisp.files.raw import read_mosaic
    from lwisp.files.sensor import find_sensor
    from lwisp.files.white_balance import AS_SHOT, parse_balance, with_balance
    from lwisp.provenance import NO_WEIGHTS

    balance = parse_balance(white_balance)
    asked = {} if balance.words == AS_SHOT else {"white-balance": balance.words}

    def facts(job: "Job") -> dict[str, str]:
        return sensor.over(find_sensor(job.source)).settings() | asked

    def write(finished: "Finished[RawImage]") -> None:
        job = finished.job
        told = finished.properties("dng", facts(job))
        write_dng(job.output, finished.source, overwrite=finished.replaces, properties=told)

    def is_done(job: "Job") -> bool:
        return was_made(job, "dng", facts(job), lambda: NO_WEIGHTS)

    def read(path: Path) -> "RawImage":
        return with_balance(read_mosaic(path, max_pixels=max_pixels, sensor=sensor), balance, str(path))

    return work(jobs, read, lambda raw, job: Made(raw.mosaic), write, overwrite=overwrite, is_done=is_done)
