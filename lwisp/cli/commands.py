"""The `lwisp` command: where verbs are registered, errors become exit codes, and signals end the program."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from lwisp.cli.defaults import NAME as DEFAULTS
from lwisp.cli.defaults import read_defaults
from lwisp.cli.stopping import handle_signals
from lwisp.cli.terminal import say, show_tracebacks, stop
from lwisp.errors import InputError, log, one_line

WRONG_REQUEST = 2
"""Exit code for a command that cannot be carried out as it was given."""
FAILED_WORK = 1
"""Exit code for work that was begun and failed."""

EXTRAS = {
    "train": "train",
    "reproduce": "train",
    "compare": "evaluate",
    "evaluate": "evaluate",
    "synthesize": "evaluate",
    "charts": "evaluate",
    "export": "export",
    "hub": "export",
    "serve": "serve",
}
"""Extras of the package that verbs need; others need no more than torch."""


F = TypeVar("F", bound=Callable[..., Any])


@contextlib.contextmanager
def exit_on_error(code: int) -> Iterator[None]:
    """A block in which an `InputError` ends the program, with one sentence on stderr.

    Every command runs in a block of `WRONG_REQUEST`; where its work begins it opens one of `FAILED_WORK`.

    Args:
        code: The exit code.

    Raises:
        typer.Exit: An `InputError` came out of the block.
    """
    try:
        yield
    except InputError as error:
        stop(str(error), code)


class _Verbs(TyperGroup):
    def invoke(self, ctx: Any) -> Any:  # typer brings a click of its own, whose types have no public name
        try:
            with exit_on_error(WRONG_REQUEST):
                return super().invoke(ctx)
        except ModuleNotFoundError as error:
            extra = EXTRAS.get(ctx.invoked_subcommand or "", "torch")
            stop(f"this needs {error.name}, which is not installed; pip install 'lwisp[{extra}]'", WRONG_REQUEST)
        except BrokenPipeError:  # what reads our lines has read enough, as `head`
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  # nothing more to be flushed there
            raise typer.Exit(FAILED_WORK) from None
        except OSError as error:
            if isinstance(error.filename, str | bytes) and error.strerror:
                log.debug("lwisp", exc_info=error)
                stop(f"{os.fsdecode(error.filename)}: {error.strerror}", FAILED_WORK)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                self._stop_unforeseen(error)
            with contextlib.suppress(OSError):
                sys.stdout.close()  # what it holds still cannot be written either
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
            stop(f"nothing more can be written: {error.strerror}; the same command goes on", FAILED_WORK)
        except Exception as error:
            if type(error).__module__.split(".")[0] in ("click", "typer"):  # its own ways to end
                raise
            self._stop_unforeseen(error)

    def _stop_unforeseen(self, error: Exception) -> NoReturn:
        log.debug("lwisp", exc_info=error)
        reason = one_line(error) or "no more is known"
        stop(
            f"failed for an unforeseen reason ({type(error).__name__}: {reason}); "
            "lwisp --verbose VERB ... shows where, for a report of it",
            FAILED_WORK,
        )


class _Verb(TyperCommand):
    """A verb that refuses empty arguments, and whose help shows switches without a type, as they take no value."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        for parameter in self.params:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        for before, argument in zip(["", *args], args, strict=False):
            if argument in ("", "--output=") and before != "--name":  # it would stand for the working folder
                stop(
                    "one of the arguments is empty, as an unset variable of a script makes it; . is this folder",
                    WRONG_REQUEST,
                )
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            source = ctx.get_parameter_source(error.param.name) if error.param is not None else None
            if source is not None and source.name == "DEFAULT_MAP":
                error.message += f" (the default in {DEFAULTS})"
            raise

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)
        if option is not None:
            option.metavar = ""
        return option


class App(typer.Typer):
    """A command with verbs, whose help has no types of switches."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[F], F]:
        """Register a function as a verb.

        Args:
            name: The verb, if it is not the function's name.
            settings: As `typer.Typer.command` takes them.
        """
        return super().command(name, cls=_Verb, **settings)


EXIT_CODES = """Exit codes: 0 all is done; 1 some files failed; 2 the command cannot be carried out as it was given;
128 and a signal's number: stopped by it, the same command goes on."""

app = App(
    cls=_Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        import lwisp

        say(f"lwisp {lwisp.__version__}")
        raise typer.Exit


@app.callback(
    help="RAW photos to finished pictures with one two-million-parameter network (LW-ISP).", epilog=EXIT_CODES
)
def _options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", metavar="", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", metavar="", help="Show where an unforeseen failure came from.")
    ] = False,
) -> None:
    show_tracebacks(verbose)
    context.default_map = read_defaults(context.command)  # type: ignore[arg-type]


def main() -> None:
    """Entry point of the `lwisp` command."""
    received = handle_signals()
    sys.modules["openvino.tools.ovc"] = None  # type: ignore[assignment]  # OpenVINO's converter, 0.2 s that we don't need
    try:
        app()
    except BaseException:  # typer ends by an exit code of its own
        if not received:
            raise
        with contextlib.suppress(OSError):  # the terminal may be gone
            notes = getattr(received[0], "__notes__", ())
            say("; ".join([f"lwisp: stopped by {received[0]}", *notes]), err=True)
        sys.exit(128 + received[0].number)
