"""Telling of many files while they are worked on."""

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lwisp.cli.commands import FAILED_WORK
from lwisp.cli.stopping import Stopped
from lwisp.cli.terminal import complain, say_above, stop

if TYPE_CHECKING:
    from lwisp.batch import Outcome
    from lwisp.planning import Job


def _is_newer(path: Path, began: float) -> bool:
    try:
        return path.stat().st_mtime >= began - 1  # file systems count seconds, some of them two
    except OSError:
        return False


def follow(outcomes: "Iterator[Outcome]", jobs: "list[Job]", word: str) -> None:
    """Tell of every file as it is done, and at the end of those that failed, with exit code 1.

    Args:
        outcomes: What becomes of each file, in the order of `jobs`.
        jobs: All files.
        word: What is done to them, as "developing".
    """
    from rich.console import Console
    from rich.progress import Progress

    console, failures = Console(stderr=True), []
    count, began = len(jobs), time.time()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        engine, used = "", ""

        try:
            for outcome in progress.track(outcomes, total=count, description=word):
                if outcome.error:
                    failures.append(outcome)
                    continue
                if outcome.engine != engine:
                    engine = outcome.engine
                    say_above(console, f"{word} with {engine}")
                if outcome.weights != used and (used or outcome.camera):
                    look = f", the look of {outcome.camera.name}" if outcome.camera else ""
                    say_above(console, f"weights {outcome.weights}{look}")
                used = outcome.weights
                say_above(console, f"{outcome.source} -> {outcome.output}")
                for note in outcome.notes:
                    say_above(console, f"  {outcome.source.name}: {note}")
        except Stopped as stopped:
            if isinstance(outcomes, Generator):
                outcomes.close()  # what is being written is finished
            done = sum(_is_newer(job.output, began) for job in jobs)
            stopped.add_note(f"{done} of {count} files are done; the same command makes the others")
            raise
    for outcome in failures:
        complain(outcome.error)
    if failures:
        stop(f"{len(failures)} of {count} files failed", FAILED_WORK)
