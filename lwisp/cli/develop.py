"""`lwisp develop`."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from lwisp.cli.ahead import read_ahead
from lwisp.cli.cluster import Cluster, check_cluster, develop_there, request_of
from lwisp.cli.commands import WRONG_REQUEST, app
from lwisp.cli.options import (
    PICTURE,
    Backend,
    Crop,
    DryRun,
    Exact,
    Exposure,
    Jobs,
    Json,
    KeepHotPixels,
    Log,
    MaxPixels,
    Memory,
    NameTemplate,
    NoiseReduction,
    Output,
    Overwrite,
    PictureFormat,
    Precision,
    Profile,
    Quality,
    Quiet,
    Raws,
    Recursive,
    Size,
    Strip,
    Verbose,
    precision_of,
)
from lwisp.cli.progress import Telling, carry_out
from lwisp.cli.sandbox import Sandboxed, or_else, within_sandbox
from lwisp.cli.sensor import (
    BlackLevel,
    Cfa,
    ColorMatrix,
    Height,
    Packing,
    Stride,
    WhiteLevel,
    Width,
    is_described,
    read_any,
    sensor_of,
)
from lwisp.cli.sequences import SameAs, frame_rate, measuring, parse_reference
from lwisp.cli.terminal import show_tracebacks, stop

if TYPE_CHECKING:
    from lwisp.batch import Outcome


@app.command()
def develop(
    sources: Raws,
    output: Output = None,
    format: PictureFormat = None,
    quality: Quality = 95,
    size: Size = None,
    profile: Profile = "srgb",
    strip: Strip = False,
    weights: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="A name, a safetensors file or hf://OWNER/NAME; auto: those learned from the RAW's camera, else "
            "photo; photo-linear where there is no Bayer mosaic.",
            rich_help_panel=PICTURE,
        ),
    ] = "auto",
    fast: Annotated[
        bool,
        typer.Option(
            "--fast", help="Weights photo-fast: less than half the time, a little more noise.", rich_help_panel=PICTURE
        ),
    ] = False,
    exposure: Exposure = 0.0,
    white_balance: Annotated[
        str,
        typer.Option(
            metavar="BALANCE",
            help="as-shot, auto, daylight, KELVIN, KELVIN,TINT, or gains R,G,B.",
            rich_help_panel=PICTURE,
        ),
    ] = "as-shot",
    look: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A look that was learned from any camera, by the name of this camera or of its weights "
            "(lwisp weights list).",
            rich_help_panel=PICTURE,
        ),
    ] = None,
    highlights: Annotated[
        float,
        typer.Option(
            metavar="0..1", help="How much of the light above white is kept from it.", rich_help_panel=PICTURE
        ),
    ] = 1.0,
    noise_reduction: NoiseReduction = 1.0,
    same_as: SameAs = None,
    crop: Crop = "camera",
    keep_hot_pixels: KeepHotPixels = False,
    precision: Precision = "auto",
    exact: Exact = False,
    backend: Backend = "auto",
    memory: Memory = None,
    sandbox: Sandboxed = False,
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
    recursive: Recursive = True,
    name: NameTemplate = "",
    jobs: Jobs = 1,
    cluster: Cluster = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    as_json: Json = False,
    log: Log = None,
) -> None:
    """Develop RAW files into finished pictures: NAME-lwisp beside each, or NAME where --output says."""
    from lwisp.files.raw import MOSAIC_SUFFIXES, RAW_SUFFIXES

    show_tracebacks(verbose)
    precision = precision_of(precision, exact)
    if fast and weights != "auto":
        stop(f"--fast and --weights {weights} disagree; drop one of them", WRONG_REQUEST)
    if look is not None and (fast or weights != "auto"):
        stop(f"--look names the weights, as {'--fast' if fast else '--weights'} does; drop one of them", WRONG_REQUEST)
    within = within_sandbox(sandbox)
    told = (cfa, black_level, white_level, color_matrix, packing, width, height, stride)
    are_bare = any(value is not None for value in told)
    read = read_any(sensor_of(*told), max_pixels, are_bare, within)
    is_described_beside = any(is_described(source) for source in sources)
    if are_bare and None in told[:3] and not is_described_beside:
        stop("--cfa, --black-level and --white-level go together, or stand in a sensor.toml", WRONG_REQUEST)

    places = [*sources, *([output] if output else [])]
    check_cluster(cluster, places, jobs, are_bare or is_described_beside, sandbox)
    read_first = read if dry_run or cluster is not None else read_ahead(read, sources[0])  # while the rest is imported
    from lwisp.development import Settings, develop_files, pick, pick_fast
    from lwisp.files.encoding import Finish
    from lwisp.files.shots import Shot, read_shot
    from lwisp.planning import plan
    from lwisp.weights import load

    read_tags = or_else(within(read_shot), lambda path: Shot())
    suffixes = MOSAIC_SUFFIXES if are_bare else RAW_SUFFIXES
    if is_described_beside:
        suffixes |= MOSAIC_SUFFIXES
    if cluster is None:
        planned = plan(sources, output, format, suffixes, recursive=recursive, name=name, read_tags=read_tags)
    else:
        from lwisp.cluster.sources import plan as plan_there

        planned = plan_there(sources, output, format, recursive, name)

    def begin() -> "Iterator[Outcome]":
        chosen = pick_fast if fast else pick if weights == "auto" else load(weights)
        if look is not None:
            from lwisp.collection import load_look

            chosen = load_look(look)
        reference = parse_reference(same_as)
        finish = Finish(quality, size, profile)
        settings = Settings(
            exposure, white_balance, reference, crop, keep_hot_pixels, highlights, noise_reduction, finish, strip
        )
        if cluster is not None:
            asked = replace(
                request_of(chosen, weights),
                settings=settings,
                precision=precision,
                backend=backend,
                memory=memory,
                overwrite=overwrite,
            )
            return develop_there(cluster, asked, planned, jobs)
        with measuring(reference) as watch:
            outcomes = develop_files(
                chosen,
                planned,
                settings,
                precision,
                backend,
                memory,
                jobs,
                overwrite,
                read_first,
                watch,
                read_tags=read_tags,
            )
        return frame_rate(outcomes) if reference else outcomes

    carry_out(begin, planned, "developing", Telling(quiet, as_json, log), dry_run)
