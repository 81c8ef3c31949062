"""One command, again and again, each time with another fault: what is left, and what the next run makes of it."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from lwisp.files.writing import TEMPORARY
from tests.faults.preload import Control, Fault, Mode
from tests.faults.scenarios import Scenario

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT)
MOST = 600.0
"""Seconds after which a run is taken to hang; on a busy machine even a short one may take long."""
REASONS = {number: os.strerror(number) for number in ERRORS}


@dataclass(frozen=True)
class Finding:
    """Something that should not be."""

    scenario: str
    fault: Fault
    call: str
    """The call that failed, and its path."""
    what: str
    said: str

    def __str__(self) -> str:
        how = f"{self.fault.mode.name} {errno.errorcode.get(self.fault.error, '')} at call {self.fault.nth}"
        return f"{self.scenario}: {how} ({self.call}): {self.what}\n    {self.said[-700:]}"


@dataclass
class Report:
    """The result of one sweep."""

    scenario: str
    calls: int = 0
    """Counted in an undisturbed run."""
    runs: int = 0
    findings: list[Finding] = field(default_factory=list)


class Place:
    """A folder in which one command is run by a warm process; faults happen to all that is written in it.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.run = self.folder / "run"
        self.template = self.folder / "template"
        self.said = self.folder / "said.txt"
        self.control = Control(self.folder, self.run)
        variables = {**self.control.variables, "OMP_NUM_THREADS": "1", "GIT_DIR": os.devnull}  # cards tell of commits
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=variables,
            text=True,
        )
        assert self._read() == "ready"

    def close(self) -> None:
        """End the warm process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def here(self) -> Path:
        """The working folder."""
        return self.run / "here"

    def prepare(self, scenario: Scenario) -> None:
        """Make a scenario's input, from which `begin` copies."""
        shutil.rmtree(self.template, ignore_errors=True)
        for name in ("here", "home", "tmp"):
            (self.template / name).mkdir(parents=True)
        scenario.prepare(self.template / "here")

    def begin(self) -> None:
        """Make the folder what it was in the beginning."""
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(self.template, self.run)

    def call(
        self,
        scenario: Scenario,
        fault: Fault = Fault(),
        variables: Mapping[str, str | None] = {},  # it is not changed
        seconds: float = MOST,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> tuple[int, str]:
        """Run the command.

        Args:
            scenario: The command.
            fault: What goes wrong.
            variables: Environment variables that are set otherwise; None for those that are not set.
            seconds: After which it is killed.
            meanwhile: Called while it runs.

        Returns:
            The exit code, and all that it printed.
        """
        request = {
            "arguments": scenario.arguments,
            "function": scenario.function,
            "folder": str(self.here),
            "variables": {**surroundings(self.run), **variables},
            "output": str(self.said),
            "seconds": seconds,
        }
        self.control.arm(fault)
        stdin: IO[str] | None = self._process.stdin
        assert stdin is not None
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        meanwhile()
        code = int(self._read())
        return code, self.said.read_text(errors="replace")

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def surroundings(run: Path) -> dict[str, str]:
    """Environment variables by which a command keeps below a folder whatever it keeps."""
    home = run / "home"
    kinds = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    return {**kinds, "HOME": str(home), "TMPDIR": str(run / "tmp")}


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path there."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def leftovers(run: Path) -> list[str]:
    """Unfinished files, and whatever lies among temporary files."""
    hidden = [path for path in run.rglob("*") if TEMPORARY.fullmatch(path.name)]
    return sorted({path.relative_to(run).as_posix() for path in [*hidden, *(run / "tmp").iterdir()]})


class Sweep:
    """One command in one place: undisturbed first, then with any fault.

    Args:
        place: Where it runs.
        scenario: The command.
    """

    def __init__(self, place: Place, scenario: Scenario) -> None:
        self.place, self.scenario = place, scenario
        self.report = Report(scenario.name)
        place.prepare(scenario)
        place.begin()
        self.before = digests(place.here)
        began = time.monotonic()
        code, said = place.call(scenario)
        self.seconds = time.monotonic() - began
        assert code == 0, said
        self.report.calls = place.control.count
        self.after = digests(place.here)
        assert not leftovers(place.run), leftovers(place.run)

    def faults(self, modes: Iterable[Mode], step: int = 1) -> Iterator[Fault]:
        """A fault of each mode at every `step`-th call, each of `ERRORS` in its turn."""
        for mode in modes:
            for number, nth in enumerate(range(1, self.report.calls + 1, step)):
                yield Fault(mode, nth, 0 if mode is Mode.KILL else ERRORS[number % len(ERRORS)])

    def try_one(self, fault: Fault) -> list[Finding]:
        """Run the command with a fault and then without; what should not be."""
        place, scenario = self.place, self.scenario
        place.begin()
        code, said = place.call(scenario, fault)
        call = place.control.what
        self.report.runs += 1
        if not call and fault.mode is not Mode.SLOW:
            return []  # threads made fewer calls this time
        wrong = [*self._judge_end(code, said, fault), *self.judge_files(code, fault)]
        wrong += self.judge_sum(*place.call(scenario))
        found = [Finding(scenario.name, fault, call, what, said) for what in wrong]
        self.report.findings += found
        return found

    def _judge_end(self, code: int, said: str, fault: Fault) -> Iterator[str]:
        if fault.mode is Mode.KILL:
            if code != -9:
                yield f"exit code {code} of a killed process"
            return
        if code not in (0, 1, 2):
            yield f"exit code {code}"
        for word in ("Traceback", "unforeseen"):
            if word in said:
                yield f"{word} was told"
        if code and not any(line.startswith("lwisp: ") for line in said.splitlines()):
            yield "no sentence"
        if code and REASONS.get(fault.error, "") not in said and "make room" not in said:
            yield "the reason is not told"

    def judge_sum(self, code: int, said: str) -> list[str]:
        """What is wrong after the same command was run again, without a fault."""
        wrong = []
        if code != 0 and "exists already" not in said:  # as of commands that replace nothing
            wrong.append(f"the same command then ended with {code}: {said[-300:]}")
        now = digests(self.place.here)
        wrong += [f"afterwards not as undisturbed: {name}" for name in self._differing(now, self.after)]
        return wrong + [f"left for good: {name}" for name in leftovers(self.place.run)]

    def judge_files(self, code: int, fault: Fault) -> list[str]:
        """What is wrong with the files that a command left."""
        return list(self._judge_files(code, fault))

    def _judge_files(self, code: int, fault: Fault) -> Iterator[str]:
        found = digests(self.place.here)
        if code == 0:
            yield from (f"told as done, but not as undisturbed: {name}" for name in self._differing(found, self.after))
        if fault.mode is Mode.KILL or fault.removing:
            found = {name: value for name, value in found.items() if not TEMPORARY.fullmatch(_first_hidden(name))}
        else:
            yield from (f"left: {name}" for name in leftovers(self.place.run))
        for name, value in found.items():
            if not self.scenario.is_underway(name) and value not in (self.before.get(name), self.after.get(name)):
                yield f"half: {name}"
        yield from (f"lost: {name}" for name in self.before if name not in found)

    def _differing(self, found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
        return [
            name
            for name in sorted({*found, *expected})
            if found.get(name) != expected.get(name) and not self.scenario.is_untold(name)
        ]


def _first_hidden(name: str) -> str:
    return next((part for part in Path(name).parts if part.startswith(".")), "")
