"""Mutation testing: change the arithmetic of a few modules a little, and count the changes that their tests see.

    pip install -c constraints.txt 'lwisp[mutation]'
    python -m tests.mutation [--report] [MUTANT ...]

mutmut makes the changes, as `[tool.mutmut]` of `pyproject.toml` says, and runs the tests of each; it goes on where it
was stopped. Patterns of names, such as "lwisp.imaging.mosaic*", leave the others out; with --report nothing is run.
Then docs/results/mutation.md is written: how many changes of each module were seen, and every other one with the reason
why no test can see it, which stands in tests/mutation.toml. It fails where a module has less than 90 %.
"""

import json
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lwisp.files.report import Block, Command, Heading, Table, to_markdown
from lwisp.files.writing import write_text

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "results" / "mutation.md"
REASONS = ROOT / "tests" / "mutation.toml"
GOAL = 0.9
"""Share of a module's changes that its tests must see."""
SEEN = {"killed", "timeout", "segfault"}
"""What becomes of a change that tests see: one fails, never ends, or Python itself dies."""


@dataclass(frozen=True)
class Mutant:
    """A change to a function."""

    name: str
    """mutmut's."""
    path: str
    """The module's file."""
    status: str
    """What became of it, in mutmut's words."""

    @property
    def function(self) -> str:
        """The function's name in its module; a method's with its class."""
        mangled = self.name.rpartition(".")[2].rpartition("__mutmut_")[0]
        return mangled[2:].replace("ǁ", ".")  # x_function, or xǁClassǁmethod


def read_mutants(root: Path = ROOT) -> list[Mutant]:
    """All changes, with what became of them.

    Args:
        root: Where mutmut ran.
    """
    from mutmut.stats import status_by_exit_code

    found = []
    with (root / "pyproject.toml").open("rb") as file:
        paths = tomllib.load(file)["tool"]["mutmut"]["only_mutate"]
    for path in paths:
        codes = json.loads((root / "mutants" / f"{path}.meta").read_text(encoding="utf-8"))["exit_code_by_key"]
        found += [Mutant(name, path, status_by_exit_code[code]) for name, code in codes.items()]
    return found


def changed_lines(mutant: Mutant) -> tuple[str, str]:
    """A function's lines that a change replaces, and those that take their place; in each case as one line."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    lines = get_diff_for_mutant(mutant.name, path=mutant.path).splitlines()[2:]
    before, after = (" ".join(line[1:].strip() for line in lines if line[:1] == sign) for sign in "-+")
    return before, after


def read_reasons(path: Path = REASONS) -> dict[tuple[str, str, str], str]:
    """Why no test can see a change, by the module's file, the function and the changed line.

    Args:
        path: The TOML file.
    """
    reasons = {}
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["unseen"]:
        for line in entry["lines"]:
            reasons[entry["module"], entry["function"], line] = entry["reason"]
    return reasons


def describe(mutants: Sequence[Mutant], reasons: dict[tuple[str, str, str], str]) -> str:
    """The page: a table of the modules, and the changes that no test saw.

    Args:
        mutants: All changes.
        reasons: From `read_reasons`.
    """
    rows = []
    for path in dict.fromkeys(mutant.path for mutant in mutants):
        counts = Counter(mutant.status for mutant in mutants if mutant.path == path)
        seen = sum(counts[status] for status in SEEN)
        tried = counts.total() - counts["not checked"]
        share = f"{100 * seen / tried:.1f} %" if tried else "-"
        rows.append([f"`{path}`", str(counts.total()), str(tried), str(seen), share])
    unseen = [[f"`{name}`", f"`{line}`", reason] for name, line, reason in _unseen(mutants, reasons)]
    blocks: list[Block] = [
        Command("python -m tests.mutation"),
        "mutmut changes one operator, number, text, argument or assignment of a function at a time, and the module's "
        "tests are run; a change is seen where one of them fails. It changes neither constants of a module nor "
        "functions with decorators (`quiet`, `whole_folder`, `temporary_folder` and `_machine` in `writing.py`).",
        Table(["module", "changes", "tried", "seen", "share"], rows),
        Heading("Changes that no test saw"),
        Table(["function", "changed line", "why"], unseen),
    ]
    return to_markdown("Mutation testing", blocks, rule="---")


def _unseen(mutants: Sequence[Mutant], reasons: dict[tuple[str, str, str], str]) -> Iterator[tuple[str, str, str]]:
    for mutant in mutants:
        if mutant.status not in SEEN and mutant.status != "not checked":
            _, after = changed_lines(mutant)
            module = Path(mutant.path).stem
            reason = reasons.get((mutant.path, mutant.function, after), "not explained")
            yield f"{module}.{mutant.function}", after.replace("|", "\\|"), reason


def too_few(mutants: Sequence[Mutant]) -> list[str]:
    """Modules of whose changes tests see less than `GOAL`.

    Args:
        mutants: All changes; those that were not tried are left out.
    """
    found = []
    for path in dict.fromkeys(mutant.path for mutant in mutants):
        tried = [mutant for mutant in mutants if mutant.path == path and mutant.status != "not checked"]
        if sum(mutant.status in SEEN for mutant in tried) < GOAL * len(tried):
            found.append(path)
    return found


def main(arguments: Sequence[str]) -> int:
    """Run the mutants, write the page, and return the exit code."""
    names = [argument for argument in arguments if argument != "--report"]
    if "--report" not in arguments:
        subprocess.run([sys.executable, "-m", "mutmut", "run", "--max-children", "1", *names], cwd=ROOT, check=True)
    mutants = read_mutants()
    page = describe(mutants, read_reasons())
    write_text(PAGE, page)
    sys.stdout.write(page)
    bad = too_few(mutants)
    if bad:
        sys.stderr.write(f"tests see less than {GOAL:.0%} of the changes of {', '.join(bad)}\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
