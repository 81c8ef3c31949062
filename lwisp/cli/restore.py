"""`lwisp denoise`, `lwisp enhance` and `lwisp denoise-raw`."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lwisp.cli.commands import app
from lwisp.cli.options import (
    PICTURE,
    Backend,
    Crop,
    DryRun,
    Exact,
    Finished,
    FinishedFormat,
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
    Passes,
    Precision,
    Profile,
    Quality,
    Quiet,
    Raws,
    Recursive,
    Shipped,
    Size,
    Strip,
    Verbose,
    precision_of,
)
from lwisp.cli.progress import Telling, carry_out
from lwisp.cli.sandbox import Sandboxed, or_else, within_sandbox
from lwisp.cli.terminal import say, show_tracebacks

if TYPE_CHECKING:
    from lwisp.batch import Outcome


def _restoration(name: Literal["denoise", "enhance"], word: str, mark: str, summary: str) -> Callable[..., None]:
    """A verb for finished pictures, registered: it differs from others in its default weights, named as itself."""

    def restore(
        sources: Finished,
        output: Output = None,
        format: FinishedFormat = None,
        quality: Quality = 95,
        size: Size = None,
        profile: Profile = "srgb",
        strip: Strip = False,
        noise_reduction: NoiseReduction = 1.0,
        weights: Shipped = name,
        precision: Precision = "auto",
        exact: Exact = False,
        backend: Backend = "auto",
        memory: Memory = None,
        passes: Passes = 4,
        max_pixels: MaxPixels = 200e6,
        sandbox: Sandboxed = False,
        overwrite: Overwrite = False,
        verbose: Verbose = False,
        recursive: Recursive = True,
        template: NameTemplate = "",
        jobs: Jobs = 1,
        dry_run: DryRun = False,
        quiet: Quiet = False,
        as_json: Json = False,
        log: Log = None,
    ) -> None:
        from lwisp.files.decoding import PICTURE_SUFFIXES
        from lwisp.files.encoding import Finish
        from lwisp.files.pictures import named_format, own_format, read_picture
        from lwisp.files.shots import Shot, read_shot
        from lwisp.planning import plan
        from lwisp.provenance import was_made_by_lwisp
        from lwisp.restoration import restore_files
        from lwisp.weights import load

        show_tracebacks(verbose)
        asked = precision_of(precision, exact)
        within = within_sandbox(sandbox)
        was_made = or_else(within(was_made_by_lwisp), lambda file: False)
        left_out: list[Path] = []

        def is_left_out(file: Path) -> bool:
            is_made: bool = was_made(file)
            if is_made:
                left_out.append(file)
            return is_made

        planned = plan(
            sources,
            output,
            format,
            PICTURE_SUFFIXES,
            or_else(within(own_format), named_format),
            mark,
            recursive,
            template,
            is_left_out,
            or_else(within(read_shot), lambda file: Shot()),
        )
        if left_out and not quiet:
            plural = "" if len(left_out) == 1 else "s"
            say(f"left out {len(left_out)} picture{plural} that lwisp made; one that is named is taken", err=True)

        def begin() -> "Iterator[Outcome]":
            return restore_files(
                name,
                load(weights),
                planned,
                asked,
                overwrite,
                backend,
                memory,
                passes,
                max_pixels,
                jobs,
                Finish(quality, size, profile),
                strip,
                noise_reduction,
                within(read_picture),
            )

        carry_out(begin, planned, word, Telling(quiet, as_json, log), dry_run)

    if name == "enhance":
        whole = inspect.signature(restore)
        kept = [parameter for parameter in whole.parameters.values() if parameter.name != "noise_reduction"]
        restore.__signature__ = whole.replace(parameters=kept)  # type: ignore[attr-defined]
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
        Literal["dng", "jpg", "png", "png16", "tiff", "avif", "heif", "jxl"] | None,
        typer.Option(
            metavar="FORMAT",
            help="dng: a RAW again, for any tool; else a picture; dng, or what the output's suffix says.",
            rich_help_panel=PICTURE,
        ),
    ] = None,
    quality: Quality = 95,
    size: Size = None,
    profile: Profile = "srgb",
    strip: Strip = False,
    weights: Shipped = "denoise-raw",
    develop_weights: Annotated[
        str, typer.Option(metavar="NAME", help="Weights that develop pictures.", rich_help_panel=PICTURE)
    ] = "photo",
    crop: Crop = "camera",
    keep_hot_pixels: KeepHotPixels = False,
    noise_reduction: NoiseReduction = 1.0,
    precision: Precision = "auto",
    exact: Exact = False,
    backend: Backend = "auto",
    memory: Memory = None,
    sandbox: Sandboxed = False,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
    recursive: Recursive = True,
    name: NameTemplate = "",
    jobs: Jobs = 1,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    as_json: Json = False,
    log: Log = None,
) -> None:
    """Take the noise out of RAW files: NAME-denoised.dng beside each, or a finished picture."""
    from lwisp.files.encoding import Finish
    from lwisp.files.raw import read_raw
    from lwisp.files.shots import Shot, read_shot
    from lwisp.planning import plan
    from lwisp.restoration import denoise_raw_files
    from lwisp.weights import load

    show_tracebacks(verbose)
    precision = precision_of(precision, exact)
    within = within_sandbox(sandbox)
    planned = plan(
        sources,
        output,
        format,
        default=lambda file: "dng",
        mark="-denoised",
        recursive=recursive,
        name=name,
        read_tags=or_else(within(read_shot), lambda file: Shot()),
    )

    def begin() -> "Iterator[Outcome]":
        return denoise_raw_files(
            load(weights),
            planned,
            load(develop_weights),
            precision,
            overwrite,
            backend,
            memory,
            jobs,
            Finish(quality, size, profile),
            strip,
            crop,
            keep_hot_pixels,
            noise_reduction,
            within(read_raw),
        )

    carry_out(begin, planned, "denoising", Telling(quiet, as_json, log), dry_run)
