"""The one place where other programs are started, and what all tools share: a failure is one file's failure."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import rawpy
from PIL import Image

from lwisp.errors import OutputError, one_line, tell_failure
from lwisp.files.writing import without_temporary_folders, write_whole
from lwisp.planning import Job

Failures = dict[Path, str]
"""RAW file -> why there is no picture of it, as one sentence."""

HOME_VARIABLES = ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "RT_SETTINGS", "RT_CACHE")
"""Environment variables by which darktable, RawTherapee and lwisp find a user's settings and caches."""


@dataclass(frozen=True)
class TimeLimit:
    """Seconds after which a program is stopped.

    It only keeps a program that hangs from stopping the comparison: darktable 4.2.1 and RawTherapee 5.9 took 0.08 to
    0.29 s for a picture of 512 px on two cores (docs/results/truth.md).
    """

    start: float = 120
    each_picture: float = 120

    def of(self, pictures: int) -> float:
        """Seconds for a run that makes so many pictures."""
        return self.start + self.each_picture * pictures


@dataclass(frozen=True)
class Finished:
    """A program that has ended, or was stopped."""

    program: str
    exit_code: int | None
    """None where it was stopped after its time limit."""
    output: str
    """What it wrote to stdout and then to stderr."""
    error_output: str = ""
    """What it wrote to stderr."""
    seconds: float = 0.0
    """The time limit, where it was stopped."""

    @property
    def summary(self) -> str:
        """Program, exit code and the last three lines of its output, as one line."""
        if self.exit_code is None:
            return f"{self.program} was given up after {self.seconds:g} s"
        lines = self.output.strip().splitlines()[-3:]
        said = without_temporary_folders(" / ".join(lines))
        return f"{self.program} (exit code {self.exit_code}): {one_line(ValueError(said))}"


def run_command(command: Sequence[str], home: Path, seconds: float | None = None) -> Finished:
    """Run a program apart from the user's settings, and wait for it.

    Args:
        command: Program and arguments.
        home: Folder that it takes for the user's home; its configuration and caches go there.
        seconds: Time limit, after which it is stopped; none if not given.

    Returns:
        Exit code and output; an exit code other than 0 is no error here, for some programs use it carelessly.
    """
    environment = {**os.environ, **dict.fromkeys(HOME_VARIABLES, str(home))}
    try:
        ended = subprocess.run(list(command), capture_output=True, env=environment, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return Finished(command[0], None, "", seconds=seconds or 0.0)
    said = (ended.stdout + ended.stderr).decode(errors="replace")
    return Finished(command[0], ended.returncode, said, ended.stderr.decode(errors="replace"))


def read_version(program: str, option: str) -> str:
    """The version that a program states: the first word of its output that begins with a digit, else "unknown".

    Args:
        program: Name of an installed program.
        option: Its option that prints the version.
    """
    said = subprocess.run([program, option], capture_output=True, text=True, check=False)
    words = said.stdout.replace(",", " ").split()
    return next((word for word in words if word[:1].isdigit()), "unknown")


def for_each(jobs: list[Job], make: Callable[[Job], None]) -> Failures:
    """Why jobs failed that were done one after another; whatever is wrong with one file, the others are done.

    Args:
        jobs: RAW files with the pictures that are wanted of them.
        make: Does one job; may raise anything.

    Raises:
        OutputError: A picture cannot be written, which is neither the file's fault nor the tool's.
    """
    failures = {}
    for job in jobs:
        try:
            make(job)
        except OutputError:
            raise
        except (rawpy.LibRawError, rawpy.NotSupportedError) as error:
            failures[job.source] = f"{job.source}: {one_line(error)}"
        except Exception as error:
            failures[job.source] = tell_failure(job.source, error)
    return failures


def collect(jobs: list[Job], folder: Path, finished: Finished) -> Failures:
    """Move the pictures that a program made to where the jobs want them.

    Args:
        jobs: RAW files with the pictures that are wanted of them.
        folder: Where the program wrote `00000.png` for the first job, and so on.
        finished: The program's run.

    Returns:
        For each job without a picture, what the program said last.
    """
    failures = {}
    for index, job in enumerate(jobs):
        made = folder / f"{index:05d}.png"
        if made.is_file():
            shutil.move(made, job.output)
        else:
            failures[job.source] = f"{job.source}: {finished.summary}"
    return failures


def write_png(path: Path, picture: Image.Image) -> None:
    """Write a picture as a PNG, quickly rather than small; a file of this name is replaced.

    Args:
        path: The file.
        picture: The picture, in a mode that PNG can hold.

    Raises:
        OutputError: It cannot be written.
    """
    write_whole(path, lambda file: picture.save(file, "PNG", compress_level=1))
