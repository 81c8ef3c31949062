"""Telling of sequences: the option `--same-as`, the pass before the first frame, frames per second."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lwisp.cli.terminal import say, say_above

if TYPE_CHECKING:
    from lwisp.batch import Outcome
    from lwisp.sequences import Reference

SameAs = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|first|median",
        help="One exposure and white balance for all files, as a sequence needs: those of a file, of the first, or the "
        "median over all.",
    ),
]


def parse_reference(text: str | None) -> "Reference | None":
    """What `--same-as` names: "first", "median", or a file."""
    if text is None:
        return None
    if text == "first":
        return "first"
    return "median" if text == "median" else Path(text)


@contextmanager
def measuring(reference: "Reference | None") -> Iterator[Callable[[int, int], None]]:
    """A block in which the files of a sequence are measured, with a progress bar for a median.

    Args:
        reference: What `--same-as` names.

    Yields:
        What is to be called with (files measured, files to measure).
    """
    if reference != "median":
        yield lambda done, count: None
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    say_above(console, "reading all files for their exposure and white balance, before the first is developed")
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("measuring", total=None)
        yield lambda done, count: progress.update(task, completed=done, total=count)


def frame_rate(outcomes: "Iterator[Outcome]") -> "Generator[Outcome, None, None]":
    """Outcomes as they come; after the last a line with the frames per second, reading and writing included."""
    began, frames, pixels = time.monotonic(), 0, 0
    try:
        for outcome in outcomes:
            frames += not outcome.error
            pixels += outcome.pixels
            yield outcome
    finally:  # also where the user stops it: what is being written is finished
        if isinstance(outcomes, Generator):
            outcomes.close()
    took = time.monotonic() - began
    if frames:
        size = pixels / frames / 1e6
        say(f"{frames} frames in {took:.1f} s: {frames / took:.2f} frames per second at {size:.1f} MP", err=True)
