"""The one writer of reports: blocks as Markdown, as a self-contained HTML page, and their pictures as one PNG.

It lies in `files`, below everything that reports: engines (Table 3), training (studies), evaluation and camera.
"""

import base64
import csv
import html
import io
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lwisp.errors import InputError
from lwisp.files.writing import read_regular

GAP = 6  # px between panels of the PNG
LINE = 16  # px of a line of text in the PNG
MIN_WIDTH = 320  # px of a PNG
LATEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{letter: f"${letter}$" for letter in "<>"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
}  # what letters are in LaTeX
STYLE = """body{background:#222;color:#ddd;font:14px/1.4 sans-serif;margin:2em}
table{border-collapse:collapse;margin:1em 0}
td,th{padding:2px 10px;text-align:left;border-bottom:1px solid #444}figure{margin:0;white-space:pre-line}
.row{display:flex;gap:6px;margin-bottom:6px;width:max-content}figcaption{font-size:12px}img{display:block}"""


@dataclass(frozen=True)
class Heading:
    """A heading of the second level."""

    text: str


@dataclass(frozen=True)
class Command:
    """A command line, shown as code."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of short sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Cells of text under a header row; a row may be shorter than the header."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Panel:
    """A picture (H, W, 3), sRGB, with a caption of one or more lines."""

    picture: NDArray[np.uint8]
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Rows of panels under a title, one column for each tool."""

    title: str
    rows: Sequence[Sequence[Panel]]


Block = str | Heading | Command | Bullets | Table | Gallery
"""A part of a report; a plain `str` is a paragraph."""


def to_markdown(title: str, blocks: Sequence[Block], rule: str = " --- ") -> str:
    """A report as Markdown. Galleries are left out.

    Args:
        title: Heading of the first level; none if empty.
        blocks: Parts of the report, from top to bottom.
        rule: What stands under each column's name, between two `|`.

    Returns:
        The text, with a blank line between blocks and one line feed at the end.
    """
    parts = [f"# {title}"] if title else []
    parts += [_block_to_markdown(block, rule) for block in blocks if not isinstance(block, Gallery)]
    return "\n\n".join(parts) + "\n"


def _block_to_markdown(block: str | Heading | Command | Bullets | Table, rule: str) -> str:
    if isinstance(block, Heading):
        return f"## {block.text}"
    if isinstance(block, Command):
        return f"    {block.text}"
    if isinstance(block, Bullets):
        return "\n".join(f"- {item}" for item in block.items)
    if isinstance(block, Table):
        head = _markdown_row(block.head)
        below = f"|{'|'.join([rule] * len(block.head))}|"
        return "\n".join([head, below, *map(_markdown_row, block.rows)])
    return block


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def to_csv(table: Table) -> str:
    """A table as CSV, its cells as they are printed.

    Args:
        table: The table.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.head, *table.rows])
    return text.getvalue()


def to_latex(table: Table) -> str:
    """A table as a LaTeX `tabular` that needs no package.

    Args:
        table: The table.

    Returns:
        The environment, one line of text for each row.
    """
    lines = [" & ".join(map(_latex_text, row)) + r" \\" for row in (table.head, *table.rows)]
    columns = "l" + "r" * (len(table.head) - 1)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\hline",
            lines[0],
            r"\hline",
            *lines[1:],
            r"\hline",
            r"\end{tabular}",
            "",
        ]
    )


def _latex_text(cell: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in cell)


def is_facts(path: Path, keys: Collection[str]) -> bool:
    """Whether a file is a report's JSON object, which has these keys."""
    try:
        content = json.loads(read_regular(path))
    except (InputError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and set(keys) <= set(content)


def is_page(path: Path, title: str) -> bool:
    """Whether a file is a page that `to_markdown` made.

    Args:
        path: The file.
        title: Beginning of the page's title.

    Returns:
        False for another title, another kind of file, or a file that cannot be read.
    """
    try:
        return read_regular(path).decode().startswith(f"# {title}")
    except (InputError, ValueError):
        return False


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """A report as one HTML page that needs no other file: pictures are inside as JPEG.

    Args:
        title: Title and heading of the page.
        blocks: Parts of the report, from top to bottom. Their text is shown as it is, not read as Markdown.

    Returns:
        The page.
    """
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for block in blocks:
        parts += _block_to_html(block)
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
    return f"{head}<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</html>\n"


def _block_to_html(block: Block) -> list[str]:
    if isinstance(block, str):
        return [f"<p>{html.escape(block)}</p>"]
    if isinstance(block, Heading):
        return [f"<h2>{html.escape(block.text)}</h2>"]
    if isinstance(block, Command):
        return [f"<pre>{html.escape(block.text)}</pre>"]
    if isinstance(block, Bullets):
        return [f"<ul>{''.join(f'<li>{html.escape(item)}</li>' for item in block.items)}</ul>"]
    if isinstance(block, Table):
        body = "".join(_html_row("td", row) for row in block.rows)
        return [f"<table>{_html_row('th', block.head)}{body}", "</table>"]
    rows = [f'<div class="row">{"".join(map(_html_panel, row))}</div>' for row in block.rows]
    return [f"<h2>{html.escape(block.title)}</h2>", *rows]


def to_picture(blocks: Sequence[Block]) -> Image.Image:
    """The galleries of a report as one picture, one below the other; other blocks are left out.

    Args:
        blocks: Parts of the report, from top to bottom.

    Returns:
        An RGB picture, `MIN_WIDTH` px wide at least.
    """
    galleries = [block for block in blocks if isinstance(block, Gallery)]
    rows = [row for gallery in galleries for row in gallery.rows]
    width = max((sum(panel.picture.shape[1] + GAP for panel in row) for row in rows), default=0) + GAP
    height = sum(_row_height(row) for row in rows) + len(galleries) * 3 * LINE
    page = Image.new("RGB", (max(width, MIN_WIDTH), max(height, 2 * LINE)), "#222")
    draw = ImageDraw.Draw(page)
    title_font = ImageFont.load_default(16)
    font = ImageFont.load_default(12)
    top = 0
    for gallery in galleries:
        draw.text((GAP, top + LINE), gallery.title, "#fff", title_font)
        top += 3 * LINE
        for row in gallery.rows:
            left = GAP
            for panel in row:
                page.paste(Image.fromarray(panel.picture), (left, top))
                draw.text((left, top + panel.picture.shape[0] + 2), panel.caption, "#ddd", font)
                left += panel.picture.shape[1] + GAP
            top += _row_height(row)
    return page


def _row_height(row: Sequence[Panel]) -> int:
    return max(len(panel.picture) + LINE * len(panel.caption.splitlines()) + GAP for panel in row)


def _html_row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _html_panel(panel: Panel) -> str:
    file = io.BytesIO()
    Image.fromarray(panel.picture).save(file, "JPEG", quality=92, subsampling=0)
    source = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    height, width = panel.picture.shape[:2]
    caption = html.escape(panel.caption)
    return (
        f'<figure><img src="{source}" width="{width}" height="{height}" alt="{caption}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
