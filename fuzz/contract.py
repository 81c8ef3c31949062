"""What every reader promises of any input: it returns or refuses, in bounded time and memory, and leaves nothing."""

import contextlib
import os
import re
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from fuzz.records import Finding
from fuzz.targets import Target
from lwisp.errors import InputError

SECONDS = 10.0
"""Processor time of an input."""
OPEN_FILES = Path("/proc/self/fd")
MEBIBYTES = 1024
"""By which an input may raise the process's peak of memory."""


class Contract:
    """Runs inputs in this process, each in an empty folder.

    Args:
        target: The reader.
        folder: A private folder, where the input that is being read lies meanwhile.
    """

    def __init__(self, target: Target, folder: Path) -> None:
        self.target, self.folder = target, folder
        self.work = folder / "work"
        self.temporary = folder / "tmp"
        for place in (self.work, self.temporary):
            place.mkdir(parents=True, exist_ok=True)
        self.open_files: int | None = None

    def check(self, data: bytes) -> Finding | None:
        """Read one input.

        Args:
            data: The input.

        Returns:
            The promise that it broke, if any.
        """
        _forget_peak()
        before, began = _peak(), time.process_time()
        finding = None
        try:
            self.target.read(data, self.work)
        except InputError as error:
            if "\n" in str(error):
                finding = Finding(f"{self.target.name}: a refusal of more than one line", str(error))
        except Exception as error:
            finding = Finding(f"{self.target.name}: {_place(error)}", traceback.format_exc())
        seconds, grown = time.process_time() - began, _peak() - before
        if finding is None and seconds > SECONDS:
            finding = Finding(f"{self.target.name}: time", f"{seconds:.1f} s")
        if finding is None and grown > MEBIBYTES:
            finding = Finding(f"{self.target.name}: memory", f"{grown} MiB")
        return self._swept() or finding

    def _swept(self) -> Finding | None:
        """Empty the folder; what an input left elsewhere, or holds open, is a finding."""
        expected = {"photo.dng", "photo.jpg", "photo.tif", "photo.xmp", "weights.safetensors", "weights.onnx"}
        expected |= {"recipe.toml", "lwisp.toml", "sensor.toml", "mosaic.raw"}
        left = []
        for path in self.work.iterdir():
            left += [] if path.name in expected else [path.name]
            path.unlink()
        if self.target.name != "server":  # which keeps files until it is asked to forget them
            left += [f"tmp/{path.name}" for path in self.temporary.iterdir()]
        held = sum(1 for _ in OPEN_FILES.iterdir()) if OPEN_FILES.is_dir() else 0
        leaks = self.open_files is not None and held > self.open_files + 8
        if self.open_files is None or leaks:
            self.open_files = held
        if left:
            return Finding(f"{self.target.name}: files left", ", ".join(left))
        return Finding(f"{self.target.name}: open files", str(held)) if leaks else None


@contextlib.contextmanager
def contract(target: Target, folder: Path | None = None) -> Iterator[Contract]:
    """A contract whose temporary files, and those of everything it calls, lie in a folder that goes with it.

    Args:
        target: The reader.
        folder: The folder, if it is to stay.
    """
    with contextlib.ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fuzz-")))
        found = Contract(target, place)
        before = tempfile.tempdir
        tempfile.tempdir = str(found.temporary)
        try:
            yield found
        finally:
            tempfile.tempdir = before


def _place(error: BaseException) -> str:
    """The type of an error, and the innermost line of lwisp that it went through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}lwisp{os.sep}" in frame.filename] or frames
    return f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].name}"


def _peak() -> int:
    """The most memory that this process has had, in MiB; 0 where that is not told."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(found[1]) // 1024 if found else 0
    return 0


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
