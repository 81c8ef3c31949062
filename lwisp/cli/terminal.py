"""The one place where messages leave the program: nothing in them can make a terminal do anything."""

import logging
from typing import TYPE_CHECKING, NoReturn

import typer

from lwisp.errors import log, printable

if TYPE_CHECKING:
    from rich.console import Console


def say(message: str, err: bool = False) -> None:
    """Print one line; control characters, such as a file's name may hold, are shown and not sent.

    Args:
        message: The line, without its end.
        err: To stderr.
    """
    typer.echo(printable(message), err=err)


def show(page: str, err: bool = False) -> None:
    """Print a text of several lines, each as `say` prints one.

    Args:
        page: The lines, with "\\n" between.
        err: To stderr.
    """
    for line in page.split("\n"):
        say(line, err)


def say_above(console: "Console", message: str) -> None:
    """Print one line, as `say` does, above a progress bar.

    Args:
        console: rich's console that shows the bar.
        message: The line, without its end; brackets in it are not read as markup.
    """
    console.print(printable(message), markup=False, emoji=False, highlight=False, soft_wrap=True)


def complain(message: str) -> None:
    """Print one line about something that went wrong, to stderr."""
    say(f"lwisp: {message}", err=True)


def stop(message: str, code: int) -> NoReturn:
    """End the program with one sentence on stderr and an exit code.

    Args:
        message: The sentence, which `complain` prints.
        code: The exit code.

    Raises:
        typer.Exit: Always.
    """
    complain(message)
    raise typer.Exit(code)


class _LogToStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        show(self.format(record), err=True)


def show_tracebacks(verbose: bool) -> None:
    """Show the package's log, which has the tracebacks of unforeseen failures, on stderr if asked to."""
    if verbose and not any(isinstance(handler, _LogToStderr) for handler in log.handlers):
        log.addHandler(_LogToStderr())
        log.setLevel(logging.DEBUG)
