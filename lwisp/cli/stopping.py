"""Commands that are stopped or killed: nothing half done is left, and the user is told how to go on."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn


class Stopped(KeyboardInterrupt):
    """A signal that ends the program, raised where it works, so that what it began is put away."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def handle_signals() -> list[Stopped]:
    """End as Ctrl-C ends by all signals that ask for it; one that is ignored (`nohup`) stays so, a second one kills.

    Returns:
        A list that will hold what has come.
    """
    received: list[Stopped] = []
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]

    def raise_stopped(number: int, _: FrameType | None) -> NoReturn:
        for other in heeded:
            signal.signal(other, signal.SIG_DFL)
        received.append(Stopped(number))
        raise received[0]

    for number in heeded:
        signal.signal(number, raise_stopped)
    return received


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """Work that goes on where it was stopped, which the user is told if it is stopped in the block."""
    try:
        yield
    except Stopped as stopped:
        stopped.add_note("the same command goes on")
        raise


def clear_leftovers(*folders: Path | None) -> None:
    """Delete what killed processes have left unfinished in the folders that this one will write to."""
    from lwisp.files import writing

    for folder in folders:
        if folder is not None:
            writing.clear_leftovers(folder)
