"""Telling of many files while they are worked on."""

import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lwisp.cli.commands import FAILED_WORK
from lwisp.cli.stopping import Stopped
from lwisp.cli.terminal import complain, say, say_above, stop

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from lwisp.batch import Outcome
    from lwisp.files.logs import JsonLines
    from lwisp.planning import Job

NAMED = 5
"""Files that failed of which the last line tells the names."""


@dataclass(frozen=True)
class Telling:
    """How much is told, and where."""

    quiet: bool = False
    """Nothing but what goes wrong."""
    as_json: bool = False
    """Each file as a JSON object on stdout, in place of a line of text."""
    log: Path | None = None
    """A file to which the same JSON objects are appended."""


def carry_out(
    begin: "Callable[[], Iterator[Outcome]]", jobs: "list[Job]", word: str, telling: Telling, dry_run: bool
) -> None:
    """Do jobs and tell of them as `follow` does; or print what would be done, and do nothing.

    Args:
        begin: Begins the work: what becomes of each file, in the order of `jobs`.
        jobs: All files.
        word: What is done to them, as "developing".
        telling: How much is told, and where.
        dry_run: Print alone.
    """
    if dry_run:
        _list_jobs(jobs, telling)
    else:
        follow(begin(), jobs, word, telling)


def _list_jobs(jobs: "list[Job]", telling: Telling) -> None:
    for job in jobs:
        if telling.as_json:
            _print_json({"event": "plan", "source": str(job.source), "output": str(job.output)})
        else:
            say(f"{job.source} -> {job.output}")


def follow(outcomes: "Iterator[Outcome]", jobs: "list[Job]", word: str, telling: Telling = Telling()) -> None:
    """Tell of every file as it is done; files that failed make the exit code 1.

    Files that were made go to stdout, one line each; all else goes to stderr. Where both are a terminal there is a bar,
    and the lines stand above it.

    Args:
        outcomes: What becomes of each file, in the order of `jobs`.
        jobs: All files.
        word: What is done to them, as "developing".
        telling: How much is told, and where.
    """
    from rich.console import Console

    console = Console(stderr=True)
    has_bar = console.is_terminal and sys.stdout.isatty() and not telling.quiet and not telling.as_json
    began = time.time()
    with _opened(telling.log) as log:
        teller = _Teller(word, len(jobs), telling, console if has_bar else None, log)
        try:
            with _progress(console, has_bar) as progress:
                for outcome in progress.track(outcomes, total=len(jobs), description=word):
                    teller.tell(outcome)
        except Stopped as stopped:
            if isinstance(outcomes, Generator):
                outcomes.close()  # what is being written is finished
            made = max(teller.made, sum(_is_newer(job.output, began) for job in jobs))
            done = teller.done_before + made
            stopped.add_note(f"{done} of {len(jobs)} files are done; the same command makes the others")
            raise
        teller.sum_up()


def follow_endless(outcomes: "Iterator[Outcome]", word: str, telling: Telling) -> None:
    """Tell of files as they are done, until a signal ends it; files that failed are told of and forgotten.

    Args:
        outcomes: What becomes of each file, without an end.
        word: What is done to them, as "developing".
        telling: How much is told, and where.
    """
    with _opened(telling.log) as log:
        teller = _Teller(word, 0, telling, None, log)
        try:
            for outcome in outcomes:
                teller.tell(outcome)
                teller.failed.clear()
        except Stopped as stopped:
            if isinstance(outcomes, Generator):
                outcomes.close()  # what is being written is finished
            stopped.add_note(f"{teller.made} pictures were made; the same command goes on")
            raise


def _progress(console: "Console", has_bar: bool) -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not has_bar)


def _opened(path: Path | None) -> "AbstractContextManager[JsonLines | None]":
    from lwisp.files.logs import JsonLines

    return nullcontext() if path is None else closing(JsonLines(path))


def _is_newer(path: Path, began: float) -> bool:
    try:
        return path.stat().st_mtime >= began - 1  # file systems count seconds, some of them two
    except OSError:
        return False


def _print_json(record: dict[str, Any]) -> None:
    from lwisp.files.logs import json_line

    say(json_line(record))


class _Teller:
    """Tells of outcomes, and counts them."""

    def __init__(
        self, word: str, count: int, telling: Telling, console: "Console | None", log: "JsonLines | None"
    ) -> None:
        self.word, self.count, self.telling, self.console, self.log = word, count, telling, console, log
        self.failed: list[Outcome] = []
        self.made = 0
        self.done_before = 0
        self.making = 0.0
        self.began = time.monotonic()
        self.engine, self.weights = "", ""

    def tell(self, outcome: "Outcome") -> None:
        """Tell of one file."""
        self._record(_as_record(outcome))
        if outcome.error:
            self.failed.append(outcome)
            self._complain(outcome.error)
        elif outcome.is_done_before:
            self.done_before += 1
        else:
            self.made += 1
            self.making += outcome.making
            self._tell_made(outcome)

    def _tell_made(self, outcome: "Outcome") -> None:
        if self.telling.quiet:
            return
        if outcome.engine != self.engine:
            self._remark(f"{self.word} with {outcome.engine}")
        if outcome.weights != self.weights and (self.weights or outcome.camera):
            look = f", the look of {outcome.camera.name}" if outcome.camera else ""
            self._remark(f"weights {outcome.weights}{look}")
        self.engine, self.weights = outcome.engine, outcome.weights
        line = f"{outcome.source} -> {outcome.output} ({outcome.seconds:.1f} s)"
        if self.console is not None:
            say_above(self.console, line)
        elif not self.telling.as_json:
            say(line)
        for note in outcome.notes:
            self._remark(f"  {outcome.source.name}: {note}")

    def sum_up(self) -> None:
        """Tell of all files in one line; ends the program with exit code 1 where some failed."""
        seconds = time.monotonic() - self.began
        counts = {"made": self.made, "done_before": self.done_before, "failed": len(self.failed)}
        self._record({"event": "end", **counts, "seconds": round(seconds, 3), "network_seconds": round(self.making, 3)})
        parts = []
        if self.made and self.count > 1:
            share = min(100 * self.making / seconds, 100) if seconds else 0
            each = f"{seconds:.1f} s, {seconds / self.made:.2f} s each; the network took {share:.0f} % of the time"
            parts.append(f"{self.made} files in {each}")
        if self.done_before:
            parts.append(f"{self.done_before} of {self.count} files were done before; --overwrite makes them again")
        if parts and not self.telling.quiet:
            self._remark("; ".join(parts))
        if self.failed:
            names = ", ".join(outcome.source.name for outcome in self.failed[:NAMED])
            more = ", ..." if len(self.failed) > NAMED else ""
            listed = f": {names}{more}" if self.count > 1 else ""
            stop(f"{len(self.failed)} of {self.count} files failed{listed}", FAILED_WORK)

    def _record(self, record: dict[str, Any]) -> None:
        if self.telling.as_json:
            _print_json(record)
        if self.log is not None:
            self.log.write(record)

    def _remark(self, message: str) -> None:
        if self.console is not None:
            say_above(self.console, message)
        else:
            say(message, err=True)

    def _complain(self, message: str) -> None:
        if self.console is not None:
            say_above(self.console, f"lwisp: {message}")
        else:
            complain(message)


def _as_record(outcome: "Outcome") -> dict[str, Any]:
    """What became of a file, for JSON; paths that are no text have their odd bytes as surrogates."""
    status = "failed" if outcome.error else "done before" if outcome.is_done_before else "made"
    record: dict[str, Any] = {"event": "file", "status": status, "source": str(outcome.source)}
    if outcome.error:
        return record | {"error": outcome.error, "kind": outcome.kind}
    record["output"] = str(outcome.output)
    if outcome.is_done_before:
        return record
    return record | {
        "seconds": round(outcome.seconds, 3),
        "network_seconds": round(outcome.making, 3),
        "weights": outcome.weights,
        "engine": outcome.engine,
        "notes": list(outcome.notes),
        **({"worker": outcome.worker} if outcome.worker else {}),
    }
