"""The log of a run: rows in `log.jsonl`, curves and pictures for a board, notes on the terminal."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor

from lwisp.errors import OutputError, one_line, printable
from lwisp.files.writing import is_regular, write_text
from lwisp.training.boards import Board, Logger, open_board


class Log:
    """`log.jsonl` and a board's files in a run folder; does nothing in all processes but the first.

    Rows after the step that a run goes on from, and a row that a killed process wrote only half of, are dropped.
    The board is a convenience: the first failure is reported, then nothing more is written there.

    Args:
        run: the run folder.
        active: whether this is the first process.
        start: step that the run goes on from.
        logger: the board (`boards.open_board`).
        name: the run's name there.
    """

    def __init__(self, run: Path, active: bool, start: int, logger: Logger = "tensorboard", name: str = "run") -> None:
        self.path, self.active, self.start, self.logger, self.name = run / "log.jsonl", active, start, logger, name
        self.last = 0
        """Step of the last row."""
        self.board: Board | None = None

    def __enter__(self) -> "Log":
        if not self.active:
            return self
        try:
            known = is_regular(self.path)
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines() if known else []
            kept = [line for line in lines if 0 < _step_of(line) <= self.start]
            if kept != lines:
                write_text(self.path, "".join(f"{line}\n" for line in kept))
            self.last = _step_of(kept[-1]) if kept else 0
            self.file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self.board = open_board(self.logger, self.path.parent, self.name)
        except Exception as error:
            self._give_up(error)
        return self

    def __exit__(self, *_: object) -> None:
        if not self.active:
            return
        with suppress(OSError):  # every row was flushed
            self.file.close()
        self._on_board(lambda board: board.close())

    def write(self, row: dict[str, Any]) -> None:
        """Append a row to `log.jsonl`, and its values to the board's curves.

        Args:
            row: values by name, one of them `step`.

        Raises:
            OutputError: where `log.jsonl` cannot be written.
        """
        try:
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()
        except OSError as error:
            raise self._unwritable(error) from error
        self.last = row["step"]
        values = {name: value for name, value in row.items() if name != "step"}
        self._on_board(lambda board: board.write(values, row["step"]))

    def show(self, name: str, image: Tensor, step: int) -> None:
        """Write an image for the board.

        Args:
            name: its title.
            image: RGB (3, H, W) or planes (4, H, W), of which R, Gr and B are shown; clipped to [0, 1].
            step: the step it belongs to.
        """
        rgb = image if len(image) == 3 else image[[0, 1, 3]]
        rgb = rgb.clamp(0, 1).cpu()
        self._on_board(lambda board: board.show(name, rgb, step))

    def _on_board(self, action: Callable[[Board], object]) -> None:
        if self.board is None:
            return
        try:
            action(self.board)
        except Exception as error:  # also of its thread, for whatever became of its files
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.board = None
        print_note(f"{self.path.with_name(self.logger)}: no more is written there: {one_line(error)}")

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(f"{self.path}: cannot be written: {error.strerror or error}")


def last_step(path: Path) -> int:
    """Step of the last whole row of a `log.jsonl`; 0 where there is none.

    Args:
        path: the log; it need not exist.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    whole_lines = text.rpartition("\n")[0]
    return _step_of(whole_lines.rpartition("\n")[2])


def _step_of(line: str) -> int:
    """Step of a row; 0 for a line that is none."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, TypeError, LookupError):
        return 0


def print_note(note: str) -> None:
    """Print one line to stderr, as it is.

    Args:
        note: the line, without markup.
    """
    Console(stderr=True).print(printable(note), highlight=False, markup=False, soft_wrap=True)
