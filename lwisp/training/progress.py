"""Telling of work that takes minutes or hours: bars on a terminal, else a line from time to time."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from lwisp.errors import printable

INTERVAL = 30.0
"""Seconds from one line to the next."""


class Reporter:
    """Tells on stderr what is being worked on, at least every `interval` seconds, from a thread of its own.

    Lines are printed inside a `with` block, where neither a bar nor a spinner shows the same.

    Args:
        interval: Seconds from one line to the next.
        quiet: Print no lines and show no bars.
    """

    def __init__(self, interval: float = INTERVAL, quiet: bool = False) -> None:
        self.interval = interval
        self.has_bars = not quiet and Console(stderr=True).is_terminal
        """Whether bars are shown."""
        self._quiet = quiet
        self._text = "beginning"
        self._shown = 0
        self._ended = threading.Event()

    def __enter__(self) -> "Reporter":
        if not self._quiet:
            threading.Thread(target=self._print_lines, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Print no more lines, as in all processes of a training but the first."""
        self._ended.set()

    def tell(self, text: str) -> None:
        """Set what the next lines say.

        Args:
            text: What is being done, as "photo: step 4 of 9".
        """
        self._text = text

    def note(self, text: str) -> None:
        """Print a line at once, and say the same until something else is told.

        Args:
            text: The line.
        """
        self.tell(text)
        if not self._quiet:
            self._print(text)

    @contextmanager
    def bar(self) -> Iterator[None]:
        """A block in which a bar or a spinner is shown, where `has_bars`."""
        self._shown += self.has_bars
        try:
            yield
        finally:
            self._shown -= self.has_bars

    def _print_lines(self) -> None:
        began = time.monotonic()
        while not self._ended.wait(self.interval):
            if not self._shown:
                self._print(f"{self._text} ({time.monotonic() - began:.0f} s so far)")

    def _print(self, text: str) -> None:
        Console(stderr=True).print(printable(text), highlight=False, markup=False, soft_wrap=True)
