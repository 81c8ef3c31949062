"""One report in three forms: Markdown, a self-contained HTML page, and its pictures as one PNG."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

GAP, LINE = 6, 16  # px between panels, and a line of text in the PNG
STYLE = """body{background:#222;color:#ddd;font:14px/1.4 sans-serif;margin:2em}
table{border-collapse:collapse;margin:1em 0}
td,th{padding:2px 10px;text-align:left;border-bottom:1px solid #444}figure{margin:0;white-space:pre-line}
.row{display:flex;gap:6px;margin-bottom:6px;width:max-content}figcaption{font-size:12px}img{display:block}"""


@dataclass(frozen=True)
class Table:
    """Cells of text under a head."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Panel:
    """A picture (H, W, 3) with what is said below it, a line each."""

    picture: NDArray[np.uint8]
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Rows of panels under a title, a column for each tool."""

    title: str
    rows: Sequence[Sequence[Panel]]


Block = str | Table | Gallery


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """Title, paragraphs and tables; galleries have no place in it."""
    parts = [f"# {title}"]
    for block in blocks:
        if isinstance(block, str):
            parts.append(block)
        elif isinstance(block, Table):
            lines = [block.head, ["---"] * len(block.head), *block.rows]
            parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts) + "\n"


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """The whole page; pictures are inside as JPEG."""
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for block in blocks:
        if isinstance(block, str):
            parts.append(f"<p>{html.escape(block)}</p>")
        elif isinstance(block, Table):
            parts.append(f"<table>{_html_row('th', block.head)}{''.join(_html_row('td', row) for row in block.rows)}")
            parts.append("</table>")
        else:
            parts.append(f"<h2>{html.escape(block.title)}</h2>")
            parts += [f'<div class="row">{"".join(map(_html_panel, row))}</div>' for row in block.rows]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
    return f"{head}<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</html>\n"


def to_picture(blocks: Sequence[Block]) -> Image.Image:
    """The galleries, one below the other."""
    galleries = [block for block in blocks if isinstance(block, Gallery)]
    rows = [row for gallery in galleries for row in gallery.rows]
    width = max((sum(panel.picture.shape[1] + GAP for panel in row) for row in rows), default=0) + GAP
    height = sum(_row_height(row) for row in rows) + len(galleries) * 3 * LINE
    page = Image.new("RGB", (max(width, 320), max(height, 2 * LINE)), "#222")
    draw, top = ImageDraw.Draw(page), 0
    title_font, font = ImageFont.load_default(16), ImageFont.load_default(12)
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
