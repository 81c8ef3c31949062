"""Writes the tables of gains in the pages of studies again, from the scores of every picture beside them.

    python benchmarks/verdicts.py docs/results

For pages whose runs are gone. What else a page says stays as it is; words that the tables no longer bear out are for
the reader of the tables to correct.
"""

import argparse
from pathlib import Path

from lwisp.errors import InputError
from lwisp.files.report import to_markdown
from lwisp.files.writing import write_text
from lwisp.training.study_page import gains_blocks, read_rows
from lwisp.training.variants import STUDIES, Study

BEGINNINGS = ("Largest spread between seeds", "| the paper's order", "Gains are the second variant's")
"""How the part that is replaced may begin."""
END = "![validation curves]"
"""What follows it."""


def main() -> None:
    """Rewrite the pages of all studies in a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    for name, study in STUDIES.items():
        page = folder / f"{name}.md"
        if page.is_file():
            write_text(page, rewritten(page.read_text(encoding="utf-8"), study, folder / f"{name}.csv"))
            print(page)


def rewritten(text: str, study: Study, table: Path) -> str:
    """A page with new tables of gains.

    Args:
        text: the page.
        study: what it is of.
        table: scores of every picture.

    Raises:
        InputError: where the table cannot be read, or the page has no curves, above which its tables end.
    """
    before, end, after = text.partition(END)
    if not end:
        raise InputError(f"{study.title}: expected a page that `lwisp reproduce` wrote")
    places = [before.find(f"\n{beginning}") for beginning in BEGINNINGS]
    found = [place for place in places if place >= 0]
    kept = before[: min(found)] if found else before
    blocks = to_markdown("", gains_blocks(study, read_rows(table)), rule="---")
    return f"{kept.rstrip()}\n\n{blocks}\n{end}{after}"


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"verdicts: {error}") from error
